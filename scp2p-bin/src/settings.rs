//! The settings of a node: an option beats an environment variable, which beats the default.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use scp2p_proto::wire::BootstrapAddr;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::NodeArgs;
use crate::dirs;

/// The UDP port that QUIC listens on if nothing else is said.
pub const QUIC_PORT: u16 = 7000;
/// The TCP port that TLS listens on if nothing else is said.
pub const TCP_PORT: u16 = 7001;

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
    /// Refuse peers that are not bound to their channel.
    pub require_binding: bool,
    /// Relay for others.
    pub relay: bool,
    /// Use tunnels of deployed peers, which relays read.
    pub deployed_relays: bool,
    /// What to log.
    pub log: EnvFilter,
}

impl Settings {
    /// From the options of `scp2p node` and the environment.
    ///
    /// # Errors
    /// The first value that is not of its form.
    pub fn resolve(
        args: &NodeArgs,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Settings, SettingError> {
        let data_dir = dirs::data_dir(args.data_dir.as_deref(), &env)?;
        let bind_quic = Values::of(&args.bind_quic, "--bind-quic", "SCP2P_BIND_QUIC", &env)?;
        let bind_tcp = Values::of(&args.bind_tcp, "--bind-tcp", "SCP2P_BIND_TCP", &env)?;
        let bootstrap = Values::of(&args.bootstrap, "--bootstrap", "SCP2P_BOOTSTRAP", &env)?;
        let level = Vec::from_iter(args.log_level.clone());
        let level = Values::of(&level, "--log-level", "SCP2P_LOG", &env)?;
        Ok(Settings {
            data_dir,
            bind_quic: bind_quic.addresses(QUIC_PORT)?,
            bind_tcp: bind_tcp.addresses(TCP_PORT)?,
            bootstrap: bootstrap.peers()?,
            require_binding: args.require_binding,
            relay: args.relay,
            deployed_relays: !args.no_readable_relays,
            log: level.filter()?,
        })
    }
}

/// A setting that is not of its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingError {
    /// The value of this option or variable is not what it takes.
    Value {
        /// The option or variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it takes.
        takes: &'static str,
    },
    /// The environment variable is not UTF-8.
    NotUtf8(&'static str),
    /// The system knows no home directory to have a data directory in.
    NoHome,
    /// The current directory cannot be found out, so a relative path means nothing.
    NoCurrentDir(PathBuf),
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingError::Value { name, value, takes } => {
                write!(f, "{name}: {value:?} is not {takes}")
            }
            SettingError::NotUtf8(name) => write!(f, "{name}: the value is not UTF-8"),
            SettingError::NoHome => {
                f.write_str("there is no home directory; name a data directory with --data-dir")
            }
            SettingError::NoCurrentDir(path) => {
                write!(
                    f,
                    "{}: the current directory is gone; give an absolute path",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for SettingError {}

const BIND_TAKES: &str =
    "an IP address with a port, such as 0.0.0.0:7000 or [::]:7000, or \"\" alone to not listen";
const BOOTSTRAP_TAKES: &str = "a peer of the form [tcp://|quic://]HOST:PORT[@KEY]";
const LOG_TAKES: &str =
    "off, error, warn, info, debug, trace, or a filter such as info,scp2p_proto=debug";

/// The values given for one setting, and where they were given.
struct Values {
    name: &'static str,
    given: Option<Vec<String>>,
}

impl Values {
    fn of(
        given: &[String],
        option: &'static str,
        variable: &'static str,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Values, SettingError> {
        if !given.is_empty() {
            return Ok(Values {
                name: option,
                given: Some(given.to_vec()),
            });
        }
        let value = env(variable).map(|value| {
            value
                .into_string()
                .map_err(|_| SettingError::NotUtf8(variable))
        });
        Ok(Values {
            name: variable,
            given: value.transpose()?.map(|value| vec![value]),
        })
    }

    fn wrong(&self, value: &str, takes: &'static str) -> SettingError {
        SettingError::Value {
            name: self.name,
            value: value.to_owned(),
            takes,
        }
    }

    /// The values of all places, split at commas.
    fn split(&self) -> impl Iterator<Item = &str> {
        self.given
            .iter()
            .flatten()
            .flat_map(|value| value.split(','))
            .map(str::trim)
    }

    fn addresses(&self, default_port: u16) -> Result<Vec<SocketAddr>, SettingError> {
        if self.given.is_none() {
            return Ok(vec![
                (Ipv6Addr::UNSPECIFIED, default_port).into(),
                (Ipv4Addr::UNSPECIFIED, default_port).into(),
            ]);
        }
        if self.split().eq([""]) {
            return Ok(Vec::new());
        }
        let mut seen = BTreeSet::new();
        let mut addresses = Vec::new();
        for value in self.split() {
            let address = value.parse().map_err(|_| self.wrong(value, BIND_TAKES))?;
            if seen.insert(address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    fn peers(&self) -> Result<Vec<BootstrapAddr>, SettingError> {
        let mut peers: Vec<BootstrapAddr> = Vec::new();
        for value in self.split().filter(|value| !value.is_empty()) {
            let peer = value
                .parse()
                .map_err(|_| self.wrong(value, BOOTSTRAP_TAKES))?;
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        Ok(peers)
    }

    /// A level alone is for our crates; others are heard from warnings on.
    fn filter(&self) -> Result<EnvFilter, SettingError> {
        let value = self
            .given
            .iter()
            .flatten()
            .next()
            .map_or("info", |value| value.trim());
        let directives = if value.contains(['=', ',', '[']) {
            value.to_owned()
        } else {
            let level: LevelFilter = value.parse().map_err(|_| self.wrong(value, LOG_TAKES))?;
            let others = level.min(LevelFilter::WARN);
            format!("{others},scp2p={level},scp2p_proto={level},scp2p_runtime_smol={level}")
        };
        EnvFilter::builder()
            .parse(directives)
            .map_err(|_| self.wrong(value, LOG_TAKES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> NodeArgs {
        NodeArgs {
            bind_quic: Vec::new(),
            bind_tcp: Vec::new(),
            bootstrap: Vec::new(),
            require_binding: false,
            relay: false,
            no_readable_relays: false,
            log_level: None,
            stop_on_stdin_eof: false,
            data_dir: Some("/data".into()),
            json: false,
        }
    }

    fn resolve(args: &NodeArgs, env: &[(&str, &str)]) -> Result<Settings, SettingError> {
        Settings::resolve(args, |name| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.into())
        })
    }

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn by_default_both_families_are_listened_on() {
        let settings = resolve(&args(), &[]).expect("settings");
        assert_eq!(
            settings.bind_quic,
            [
                "[::]:7000".parse().expect("v6"),
                "0.0.0.0:7000".parse().expect("v4")
            ]
        );
        assert_eq!(
            settings.bind_tcp,
            [
                "[::]:7001".parse().expect("v6"),
                "0.0.0.0:7001".parse().expect("v4")
            ]
        );
        assert!(settings.bootstrap.is_empty());
    }

    #[test]
    fn an_option_beats_the_environment_which_beats_the_default() {
        let env = [
            ("SCP2P_BIND_QUIC", "127.0.0.1:1, [::1]:2"),
            ("SCP2P_BIND_TCP", ""),
            ("SCP2P_DATA_DIR", "/env"),
        ];
        let mut args = args();
        args.data_dir = None;
        let settings = resolve(&args, &env).expect("settings");
        assert_eq!(settings.data_dir, PathBuf::from("/env"));
        assert_eq!(
            settings.bind_quic,
            [
                "127.0.0.1:1".parse().expect("v4"),
                "[::1]:2".parse().expect("v6")
            ]
        );
        assert!(settings.bind_tcp.is_empty());

        args.data_dir = Some("/option".into());
        args.bind_quic = strings(&[""]);
        args.bind_tcp = strings(&["127.0.0.1:5", "127.0.0.1:5"]);
        let settings = resolve(&args, &env).expect("settings");
        assert_eq!(settings.data_dir, PathBuf::from("/option"));
        assert!(settings.bind_quic.is_empty());
        assert_eq!(settings.bind_tcp, ["127.0.0.1:5".parse().expect("v4")]);
    }

    #[test]
    fn peers_come_from_repeated_options_and_commas() {
        let mut args = args();
        args.bootstrap = strings(&[
            "example.org:7001,quic://127.0.0.1:9",
            "tcp://[::1]:7001",
            "tcp://[::1]:7001",
        ]);
        let settings = resolve(&args, &[]).expect("settings");
        assert_eq!(settings.bootstrap.len(), 3);
    }

    #[test]
    fn a_value_that_is_not_of_its_form_is_named_and_never_dropped() {
        for (setting, given, value) in [
            ("SCP2P_BIND_QUIC", "7000", "7000"),
            ("SCP2P_BIND_TCP", "127.0.0.1:5,", ""),
            ("SCP2P_BIND_TCP", "localhost:7001", "localhost:7001"),
            ("SCP2P_BOOTSTRAP", "udp://a:1", "udp://a:1"),
            ("SCP2P_LOG", "loud", "loud"),
            ("SCP2P_LOG", "info,scp2p=loud", "info,scp2p=loud"),
        ] {
            match resolve(&args(), &[(setting, given)]) {
                Err(SettingError::Value {
                    name, value: found, ..
                }) => {
                    assert_eq!((name, found.as_str()), (setting, value));
                }
                other => panic!("{setting}: {other:?}"),
            }
        }
    }
}
