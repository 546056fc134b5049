//! Reading the values of settings.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use scp2p_proto::id::NodeKey;
use scp2p_proto::io::Host;
use scp2p_proto::record::BandwidthClass;
use scp2p_proto::wire::BootstrapAddr;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::{Given, LogFormat, SettingError};

const BIND_TAKES: &str =
    "an IP address with a port, such as 0.0.0.0:7000 or [::]:7000, or \"\" alone to not listen";
const BOOTSTRAP_TAKES: &str = "a peer of the form [tcp://|quic://]HOST:PORT[@KEY]";
const ANNOUNCE_TAKES: &str = "an address under which others reach this node, such as tcp://relay.example.org:7001 or quic://203.0.113.5:7000";
const LOG_TAKES: &str =
    "off, error, warn, info, debug, trace, or a filter such as info,scp2p_proto=debug";
const METRICS_TAKES: &str = "a loopback address with a port, such as 127.0.0.1:9100: counters tell who uses the node how much and have no password, \
     so that from elsewhere they are reached through a tunnel or a proxy of yours";
const ALLOW_TAKES: &str = "a node's key of 64 hex digits, or \"any\" alone for everybody";
const AMOUNT_TAKES: &str =
    "a number of bytes from 1 on, also with KiB, MiB, GiB or TiB, or \"none\" for no limit";

/// What a limit is given as that is to be none.
const NO_LIMIT: &str = "none";
/// Who is allowed if it is everybody.
const ANYBODY: &str = "any";

impl Given {
    /// The values of all places, split at commas.
    fn split(&self) -> impl Iterator<Item = &str> {
        let values = self.values.iter().flat_map(|value| value.split(','));
        values.map(str::trim)
    }

    /// The value of a setting that has one.
    fn one(&self, takes: &'static str) -> Result<&str, SettingError> {
        match self.values.as_slice() {
            [value] => Ok(value.trim()),
            values => Err(self.wrong(&values.join(","), takes)),
        }
    }

    /// The error that says that this value is not what the setting takes.
    pub fn wrong(&self, value: &str, takes: &'static str) -> SettingError {
        SettingError::Value {
            origin: self.origin.clone(),
            value: value.to_owned(),
            takes,
        }
    }

    fn parsed<T: FromStr>(&self, value: &str, takes: &'static str) -> Result<T, SettingError> {
        value.parse().map_err(|_| self.wrong(value, takes))
    }

    /// Addresses to listen on, each once; none if there is only an empty value.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, SettingError> {
        if self.values.is_empty() || self.split().eq([""]) {
            return Ok(Vec::new());
        }
        let mut addresses = Vec::new();
        for value in self.split() {
            let address = self.parsed(value, BIND_TAKES)?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    /// Peers to start from, each once.
    pub fn peers(&self) -> Result<Vec<BootstrapAddr>, SettingError> {
        let mut peers = Vec::new();
        for value in self.split().filter(|value| !value.is_empty()) {
            let peer = self.parsed(value, BOOTSTRAP_TAKES)?;
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        Ok(peers)
    }

    /// Where others reach the node: one transport each and no key, and nothing that is everywhere or nowhere.
    pub fn announced(&self) -> Result<Vec<BootstrapAddr>, SettingError> {
        let mut addresses = Vec::new();
        for value in self.split().filter(|value| !value.is_empty()) {
            let address: BootstrapAddr = self.parsed(value, ANNOUNCE_TAKES)?;
            let is_one = match &address.host {
                Host::Ip(ip) => is_announceable(*ip),
                Host::Name(_) => true,
            };
            if address.transport.is_none() || address.key.is_some() || !is_one {
                return Err(self.wrong(value, ANNOUNCE_TAKES));
            }
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    /// True or false.
    pub fn flag(&self) -> Result<bool, SettingError> {
        const TAKES: &str = "true or false";
        self.parsed(self.one(TAKES)?, TAKES)
    }

    /// A number in this range.
    pub fn count(
        &self,
        range: RangeInclusive<u32>,
        takes: &'static str,
    ) -> Result<u32, SettingError> {
        let value = self.one(takes)?;
        let number = self.parsed(value, takes)?;
        if range.contains(&number) {
            Ok(number)
        } else {
            Err(self.wrong(value, takes))
        }
    }

    /// Seconds in this range.
    pub fn secs(
        &self,
        range: RangeInclusive<u32>,
        takes: &'static str,
    ) -> Result<Duration, SettingError> {
        let secs = self.count(range, takes)?;
        Ok(Duration::from_secs(secs.into()))
    }

    /// Bytes up to the largest number of the type, or no limit.
    pub fn amount<T: TryFrom<u64>>(&self) -> Result<Option<T>, SettingError> {
        let value = self.one(AMOUNT_TAKES)?;
        if value == NO_LIMIT {
            return Ok(None);
        }
        let bytes = bytes(value).filter(|bytes| *bytes > 0);
        let bytes = bytes.and_then(|bytes| T::try_from(bytes).ok());
        bytes
            .map(Some)
            .ok_or_else(|| self.wrong(value, AMOUNT_TAKES))
    }

    /// Keys, or everybody.
    pub fn allowed(&self) -> Result<Option<BTreeSet<NodeKey>>, SettingError> {
        if self.split().eq([ANYBODY]) {
            return Ok(None);
        }
        if self.values.is_empty() {
            return Err(self.wrong("", ALLOW_TAKES));
        }
        let keys = self.split().map(|value| self.parsed(value, ALLOW_TAKES));
        keys.collect::<Result<_, _>>().map(Some)
    }

    /// How fast a relay says that it is.
    pub fn bandwidth(&self) -> Result<BandwidthClass, SettingError> {
        const TAKES: &str = "low, medium or high";
        match self.one(TAKES)? {
            "low" => Ok(BandwidthClass::Low),
            "medium" => Ok(BandwidthClass::Medium),
            "high" => Ok(BandwidthClass::High),
            other => Err(self.wrong(other, TAKES)),
        }
    }

    /// Where health and counters are served, if anywhere.
    pub fn metrics(&self) -> Result<Option<SocketAddr>, SettingError> {
        let value = self.one(METRICS_TAKES)?;
        if value.is_empty() {
            return Ok(None);
        }
        let address: SocketAddr = self.parsed(value, METRICS_TAKES)?;
        if address.ip().to_canonical().is_loopback() {
            Ok(Some(address))
        } else {
            Err(self.wrong(value, METRICS_TAKES))
        }
    }

    /// The form of log lines.
    pub fn log_format(&self) -> Result<LogFormat, SettingError> {
        const TAKES: &str = "text or json";
        match self.one(TAKES)? {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(self.wrong(other, TAKES)),
        }
    }

    /// What is logged.
    pub fn log_filter(&self) -> Result<EnvFilter, SettingError> {
        let value = self.one(LOG_TAKES)?;
        log_filter(value).ok_or_else(|| self.wrong(value, LOG_TAKES))
    }
}

/// Both families.
pub fn any_address(port: u16) -> Vec<SocketAddr> {
    vec![
        (Ipv6Addr::UNSPECIFIED, port).into(),
        (Ipv4Addr::UNSPECIFIED, port).into(),
    ]
}

/// Whether others can be told of an address.
pub fn is_announceable(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    !ip.is_unspecified() && !ip.is_multicast() && ip != Ipv4Addr::BROADCAST
}

/// A level alone is for our crates; others are heard from warnings on.
pub fn log_filter(value: &str) -> Option<EnvFilter> {
    let directives = if value.contains(['=', ',', '[']) {
        value.to_owned()
    } else {
        let level: LevelFilter = value.parse().ok()?;
        let others = level.min(LevelFilter::WARN);
        format!("{others},scp2p={level},scp2p_proto={level},scp2p_runtime_smol={level}")
    };
    EnvFilter::builder().parse(directives).ok()
}

fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 4] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    let in_unit = |(name, size)| Some((text.strip_suffix(name)?, size));
    let (number, size) = UNITS.into_iter().find_map(in_unit).unwrap_or((text, 1));
    let number: u64 = number.trim_end().parse().ok()?;
    number.checked_mul(size)
}
