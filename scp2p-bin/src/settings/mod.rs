//! The settings of a node: an option beats an environment variable, which beats the settings file, which beats the default.

mod error;
mod layers;
mod table;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use scp2p_proto::config::RelayLimits;
use scp2p_proto::limits::RESERVATIONS_MAX;
use scp2p_proto::record::BandwidthClass;
use scp2p_proto::wire::BootstrapAddr;
use tracing_subscriber::EnvFilter;

use crate::dirs;

pub use error::SettingError;
pub use layers::{Flags, Given, Layers, Origin, variables};
pub use table::{Setting, TakesEffect};
pub use values::is_announceable;

/// The UDP port that QUIC listens on if nothing else is said.
pub const QUIC_PORT: u16 = 7000;
/// The TCP port that TLS listens on if nothing else is said.
pub const TCP_PORT: u16 = 7001;
/// What is logged if nothing else is said.
const LOG_LEVEL: &str = "info";
/// How often a relay says that it is there if nothing else is said.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(1800);
/// How long circuits may go on after a relay is told to stop if nothing else is said.
const DRAIN: Duration = Duration::from_secs(10);

const COUNT_TAKES: &str = "a number from 0 to 4294967295";
const PLACES_TAKES: &str = "a number from 0 to 512";
const IDLE_TAKES: &str = "a number of seconds from 1 to 86400";
const INTERVAL_TAKES: &str = "a number of seconds from 60 to 86400";
const DRAIN_TAKES: &str = "a number of seconds from 0 to 600";
const RELAY_TAKES: &str = "true, as `scp2p relay` relays; run `scp2p node` to not relay";

/// Which command runs the node; only defaults differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `scp2p node`.
    Node,
    /// `scp2p relay`.
    Relay,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object a line.
    Json,
}

/// What a node is started with.
#[derive(Debug)]
pub struct Settings {
    /// Where its key, its store and its control socket are; absolute.
    pub data_dir: PathBuf,
    /// Addresses to listen on for QUIC; none if empty.
    pub bind_quic: Vec<SocketAddr>,
    /// Addresses to listen on for TLS over TCP; none if empty.
    pub bind_tcp: Vec<SocketAddr>,
    /// Peers to start from.
    pub bootstrap: Vec<BootstrapAddr>,
    /// Relays to be found through before any other.
    pub use_relay: Vec<BootstrapAddr>,
    /// Where others reach the node; each has a transport and no key.
    pub announce: Vec<BootstrapAddr>,
    /// Refuse peers that are not bound to their channel.
    pub require_binding: bool,
    /// Refuse tunnels of deployed peers, which their relays read.
    pub no_readable_relays: bool,
    /// What is relayed for others, if anything.
    pub relay: Option<RelayLimits>,
    /// What the relay says of its bandwidth.
    pub bandwidth: BandwidthClass,
    /// How often the relay says that it is there.
    pub announce_interval: Duration,
    /// How long circuits may go on after the relay is told to stop.
    pub drain: Duration,
    /// Where health and counters are served, if anywhere: on loopback.
    pub metrics: Option<SocketAddr>,
    /// What to log.
    pub log: EnvFilter,
    /// How to log it.
    pub log_format: LogFormat,
    /// The values that were given, whichever way, to be compared with later ones.
    pub given: BTreeMap<Setting, Vec<String>>,
}

impl Settings {
    /// From options, the environment and the settings file that one of them names.
    ///
    /// # Errors
    /// The first that is not of its form.
    pub fn resolve(
        role: Role,
        flags: &Flags,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Settings, SettingError> {
        let layers = Layers::read(flags, env)?;
        let read = Read(&layers);
        let data_dir = layers.given(Setting::DataDir).map(|given| {
            let dir = PathBuf::from(given.values.concat());
            (given.origin.clone(), dir)
        });
        Ok(Settings {
            data_dir: dirs::absolute_data_dir(data_dir)?,
            bind_quic: read
                .value(Setting::BindQuic, Given::addresses)?
                .unwrap_or_else(|| values::any_address(QUIC_PORT)),
            bind_tcp: read
                .value(Setting::BindTcp, Given::addresses)?
                .unwrap_or_else(|| values::any_address(TCP_PORT)),
            bootstrap: read
                .value(Setting::Bootstrap, Given::peers)?
                .unwrap_or_default(),
            use_relay: read
                .value(Setting::UseRelay, Given::peers)?
                .unwrap_or_default(),
            announce: read
                .value(Setting::Announce, Given::announced)?
                .unwrap_or_default(),
            require_binding: read
                .value(Setting::RequireBinding, Given::flag)?
                .unwrap_or(false),
            no_readable_relays: read
                .value(Setting::NoReadableRelays, Given::flag)?
                .unwrap_or(false),
            relay: relay(role, &read)?,
            bandwidth: read
                .value(Setting::BandwidthClass, Given::bandwidth)?
                .unwrap_or(BandwidthClass::Medium),
            announce_interval: read
                .value(Setting::AnnounceIntervalSecs, |given| {
                    given.secs(60..=86_400, INTERVAL_TAKES)
                })?
                .unwrap_or(ANNOUNCE_INTERVAL),
            drain: read
                .value(Setting::DrainSecs, |given| given.secs(0..=600, DRAIN_TAKES))?
                .unwrap_or(DRAIN),
            metrics: read.value(Setting::Metrics, Given::metrics)?.flatten(),
            log: read
                .value(Setting::LogLevel, Given::log_filter)?
                .or_else(|| values::log_filter(LOG_LEVEL))
                .unwrap_or_default(),
            log_format: read
                .value(Setting::LogFormat, Given::log_format)?
                .unwrap_or(LogFormat::Text),
            given: layers.into_values(),
        })
    }
}

/// Reads settings of layers.
struct Read<'a>(&'a Layers);

impl Read<'_> {
    /// The value of a setting if it was given.
    fn value<T>(
        &self,
        setting: Setting,
        read: impl FnOnce(&Given) -> Result<T, SettingError>,
    ) -> Result<Option<T>, SettingError> {
        self.0.given(setting).map(read).transpose()
    }

    /// Puts the value of a setting in the place of a default if it was given.
    fn put<T>(
        &self,
        place: &mut T,
        setting: Setting,
        read: impl FnOnce(&Given) -> Result<T, SettingError>,
    ) -> Result<(), SettingError> {
        if let Some(value) = self.value(setting, read)? {
            *place = value;
        }
        Ok(())
    }
}

/// What is relayed for others. The limits are read even where nothing is, so that a wrong one is not found the day that
/// something is.
fn relay(role: Role, read: &Read<'_>) -> Result<Option<RelayLimits>, SettingError> {
    let is_relay = match (role, read.0.given(Setting::Relay)) {
        (Role::Node, given) => given.map(Given::flag).transpose()?.unwrap_or(false),
        (Role::Relay, None) => true,
        (Role::Relay, Some(given)) => match given.flag()? {
            true => true,
            false => return Err(given.wrong("false", RELAY_TAKES)),
        },
    };
    let mut limits = RelayLimits::default();
    let count = |given: &Given| given.count(0..=u32::MAX, COUNT_TAKES);
    let places = |given: &Given| given.count(0..=RESERVATIONS_MAX as u32, PLACES_TAKES);
    let idle = |given: &Given| given.secs(1..=86_400, IDLE_TAKES);
    for (place, setting) in [
        (&mut limits.circuits_max, Setting::MaxTunnels),
        (
            &mut limits.circuits_per_client_max,
            Setting::MaxTunnelsPerClient,
        ),
        (&mut limits.circuits_per_ip_max, Setting::MaxTunnelsPerIp),
        (
            &mut limits.circuits_per_network_max,
            Setting::MaxTunnelsPerNetwork,
        ),
        (&mut limits.reservations_per_ip_max, Setting::MaxPlacesPerIp),
        (
            &mut limits.reservations_per_network_max,
            Setting::MaxPlacesPerNetwork,
        ),
    ] {
        read.put(place, setting, count)?;
    }
    read.put(&mut limits.reservations_max, Setting::MaxPlaces, places)?;
    read.put(&mut limits.rate_total, Setting::MaxRate, Given::amount)?;
    read.put(
        &mut limits.rate_per_ip,
        Setting::MaxRatePerIp,
        Given::amount,
    )?;
    read.put(&mut limits.hourly_total, Setting::MaxHourly, Given::amount)?;
    read.put(
        &mut limits.hourly_per_ip,
        Setting::MaxHourlyPerIp,
        Given::amount,
    )?;
    read.put(
        &mut limits.bytes_per_circuit,
        Setting::MaxTunnelBytes,
        Given::amount,
    )?;
    read.put(&mut limits.idle_time, Setting::IdleSecs, idle)?;
    read.put(&mut limits.allowed, Setting::Allow, Given::allowed)?;
    read.put(&mut limits.content, Setting::RelayContent, Given::flag)?;
    Ok(is_relay.then_some(limits))
}
