//! The commands that run a node.

use std::path::{Path, PathBuf};

use argh::FromArgs;

use super::Common;
use crate::settings::{Flags, Setting};

/// The values of an option that is given at most once.
fn once(value: &Option<String>) -> Vec<String> {
    value.iter().cloned().collect()
}

/// The values of a switch.
fn switch(is_given: bool) -> Vec<String> {
    Vec::from_iter(is_given.then(|| true.to_string()))
}

/// Defines the arguments of a command that has the settings of a node: these, and its own.
macro_rules! node_args {
    ($(#[$doc:meta])* $name:ident = $command:tt { $($own:tt)* }) => {
        $(#[$doc])*
        #[derive(FromArgs, Debug, PartialEq)]
        #[argh(subcommand, name = $command, help_triggers("-h", "--help"))]
        pub struct $name {
            /// read settings from a TOML file; options and variables beat it (SCP2P_CONFIG)
            #[argh(option, short = 'c', arg_name = "file")]
            pub config: Option<PathBuf>,

            /// listen for QUIC on IP:PORT; repeat for more, "" for none; default UDP 7000 on IPv4 and IPv6 (SCP2P_BIND_QUIC, comma separated)
            #[argh(option, arg_name = "ip:port")]
            pub bind_quic: Vec<String>,

            /// listen for TLS on IP:PORT; repeat for more, "" for none; default TCP 7001 on IPv4 and IPv6 (SCP2P_BIND_TCP, comma separated)
            #[argh(option, arg_name = "ip:port")]
            pub bind_tcp: Vec<String>,

            /// peers to start from, `[tcp://|quic://]HOST:PORT[@KEY]`; repeat or separate by commas (SCP2P_BOOTSTRAP)
            #[argh(option, short = 'b', arg_name = "peer")]
            pub bootstrap: Vec<String>,

            /// relays to be found through before any other where nobody can dial the node, in the form of peers; repeat or separate by commas (SCP2P_USE_RELAY)
            #[argh(option, arg_name = "peer")]
            pub use_relay: Vec<String>,

            /// where others reach the node if it cannot see that itself, tcp://HOST:PORT or quic://HOST:PORT; repeat or separate by commas (SCP2P_ANNOUNCE_ADDRS)
            #[argh(option, short = 'a', arg_name = "address")]
            pub announce: Vec<String>,

            /// refuse peers that cannot prove that nobody sits between us and them (SCP2P_REQUIRE_BINDING)
            #[argh(switch)]
            pub require_binding: bool,

            /// do not use relays of deployed peers, which read what they relay, and if this node relays be none for them either (SCP2P_NO_READABLE_RELAYS)
            #[argh(switch)]
            pub no_readable_relays: bool,

            /// relay content too; without this circuits are for meeting and for catalogs (SCP2P_RELAY_CONTENT)
            #[argh(switch)]
            pub relay_content: bool,

            /// serve /healthz and /metrics at this loopback IP:PORT; default nowhere (SCP2P_METRICS)
            #[argh(option, arg_name = "ip:port")]
            pub metrics: Option<String>,

            /// off, error, warn, info, debug, trace, or a filter such as info,scp2p_proto=debug; default info (SCP2P_LOG)
            #[argh(option, arg_name = "level")]
            pub log_level: Option<String>,

            /// text or json; default text (SCP2P_LOG_FORMAT)
            #[argh(option, arg_name = "form")]
            pub log_format: Option<String>,

            $($own)*
        }

        impl $name {
            fn node_flags(&self) -> Flags {
                Flags::new(self.config.as_deref(), [
                    (Setting::BindQuic, self.bind_quic.clone()),
                    (Setting::BindTcp, self.bind_tcp.clone()),
                    (Setting::Bootstrap, self.bootstrap.clone()),
                    (Setting::UseRelay, self.use_relay.clone()),
                    (Setting::Announce, self.announce.clone()),
                    (Setting::RequireBinding, switch(self.require_binding)),
                    (Setting::NoReadableRelays, switch(self.no_readable_relays)),
                    (Setting::RelayContent, switch(self.relay_content)),
                    (Setting::Metrics, once(&self.metrics)),
                    (Setting::LogLevel, once(&self.log_level)),
                    (Setting::LogFormat, once(&self.log_format)),
                ])
            }
        }
    };
}

/// Defines the arguments of a command that has the settings of a relay: those of a node, these, and its own.
macro_rules! relay_args {
    ($(#[$doc:meta])* $name:ident = $command:tt { $($own:tt)* }) => {
        node_args! {
            $(#[$doc])*
            $name = $command {
                /// circuits at a time; default 64 (SCP2P_MAX_TUNNELS)
                #[argh(option, arg_name = "n")]
                pub max_tunnels: Option<String>,

                /// circuits at a time that one client has an end of; default 16 (SCP2P_MAX_TUNNELS_PER_CLIENT)
                #[argh(option, arg_name = "n")]
                pub max_tunnels_per_client: Option<String>,

                /// circuits at a time opened from one address; default 32 (SCP2P_MAX_TUNNELS_PER_IP)
                #[argh(option, arg_name = "n")]
                pub max_tunnels_per_ip: Option<String>,

                /// circuits at a time opened from one network, /16 of IPv4 and /32 of IPv6; default 48 (SCP2P_MAX_TUNNELS_PER_NETWORK)
                #[argh(option, arg_name = "n")]
                pub max_tunnels_per_network: Option<String>,

                /// clients at a time that can be reached through the relay, up to 512; default 512 (SCP2P_MAX_PLACES)
                #[argh(option, arg_name = "n")]
                pub max_places: Option<String>,

                /// those of them at one address; default 8 (SCP2P_MAX_PLACES_PER_IP)
                #[argh(option, arg_name = "n")]
                pub max_places_per_ip: Option<String>,

                /// those of them in one network; default 64 (SCP2P_MAX_PLACES_PER_NETWORK)
                #[argh(option, arg_name = "n")]
                pub max_places_per_network: Option<String>,

                /// bytes per second of all circuits and tunnels together, such as 10MiB; default none (SCP2P_MAX_RATE)
                #[argh(option, arg_name = "bytes")]
                pub max_rate: Option<String>,

                /// bytes per second of those that are used from one address; default none (SCP2P_MAX_RATE_PER_IP)
                #[argh(option, arg_name = "bytes")]
                pub max_rate_per_ip: Option<String>,

                /// bytes per hour of all circuits and tunnels together; default none (SCP2P_MAX_HOURLY)
                #[argh(option, arg_name = "bytes")]
                pub max_hourly: Option<String>,

                /// bytes per hour of those that are used from one address; default none (SCP2P_MAX_HOURLY_PER_IP)
                #[argh(option, arg_name = "bytes")]
                pub max_hourly_per_ip: Option<String>,

                /// bytes after which a circuit is ended; default none (SCP2P_MAX_TUNNEL_BYTES)
                #[argh(option, arg_name = "bytes")]
                pub max_tunnel_bytes: Option<String>,

                /// seconds after which a circuit is ended through which nothing goes; default 600 (SCP2P_IDLE_SECS)
                #[argh(option, arg_name = "secs")]
                pub idle_secs: Option<String>,

                /// relay only for nodes with these keys; repeat or separate by commas; default any (SCP2P_ALLOW)
                #[argh(option, arg_name = "key")]
                pub allow: Vec<String>,

                /// how fast the relay says that it is: low, medium or high; default medium (SCP2P_BANDWIDTH_CLASS)
                #[argh(option, arg_name = "class")]
                pub bandwidth_class: Option<String>,

                /// how often the relay says that it is there, 60 or more; default 1800 (SCP2P_ANNOUNCE_INTERVAL_SECS)
                #[argh(option, arg_name = "secs")]
                pub announce_interval_secs: Option<String>,

                /// how long circuits and requests in tunnels may go on after the relay is told to stop, up to 600; default 10 (SCP2P_DRAIN_SECS)
                #[argh(option, arg_name = "secs")]
                pub drain_secs: Option<String>,

                $($own)*
            }
        }

        impl $name {
            fn relay_flags(&self) -> Flags {
                let own = Flags::new(None, [
                    (Setting::MaxTunnels, once(&self.max_tunnels)),
                    (Setting::MaxTunnelsPerClient, once(&self.max_tunnels_per_client)),
                    (Setting::MaxTunnelsPerIp, once(&self.max_tunnels_per_ip)),
                    (Setting::MaxTunnelsPerNetwork, once(&self.max_tunnels_per_network)),
                    (Setting::MaxPlaces, once(&self.max_places)),
                    (Setting::MaxPlacesPerIp, once(&self.max_places_per_ip)),
                    (Setting::MaxPlacesPerNetwork, once(&self.max_places_per_network)),
                    (Setting::MaxRate, once(&self.max_rate)),
                    (Setting::MaxRatePerIp, once(&self.max_rate_per_ip)),
                    (Setting::MaxHourly, once(&self.max_hourly)),
                    (Setting::MaxHourlyPerIp, once(&self.max_hourly_per_ip)),
                    (Setting::MaxTunnelBytes, once(&self.max_tunnel_bytes)),
                    (Setting::IdleSecs, once(&self.idle_secs)),
                    (Setting::Allow, self.allow.clone()),
                    (Setting::BandwidthClass, once(&self.bandwidth_class)),
                    (Setting::AnnounceIntervalSecs, once(&self.announce_interval_secs)),
                    (Setting::DrainSecs, once(&self.drain_secs)),
                ]);
                own.or(self.node_flags())
            }
        }
    };
}

/// The value of `--data-dir`; the command line is UTF-8.
fn data_dir(dir: Option<&Path>) -> Vec<String> {
    Vec::from_iter(dir.map(|dir| dir.display().to_string()))
}

node_args! {
    /// Run a node until it is told to stop. Options beat environment variables (in parentheses),
    /// which beat the settings file, which beats defaults.
    NodeArgs = "node" {
        /// carry circuits between peers that cannot dial each other; what passes is sealed and cannot be read here; `scp2p relay` has more to set (SCP2P_RELAY)
        #[argh(switch)]
        pub relay: bool,

        /// stop when standard input ends, for programs that start a node
        #[argh(switch)]
        pub stop_on_stdin_eof: bool,

        /// the node's data directory (SCP2P_DATA_DIR)
        #[argh(option, arg_name = "dir")]
        pub data_dir: Option<PathBuf>,

        /// print JSON
        #[argh(switch)]
        pub json: bool,
    }
}

impl NodeArgs {
    /// The arguments that all commands take.
    pub fn common(&self) -> Common {
        Common {
            data_dir: self.data_dir.clone(),
            json: self.json,
        }
    }

    /// What they say about settings.
    pub fn flags(&self) -> Flags {
        let own = [
            (Setting::Relay, switch(self.relay)),
            (Setting::DataDir, data_dir(self.data_dir.as_deref())),
        ];
        Flags::new(None, own).or(self.node_flags())
    }
}

relay_args! {
    /// Run a relay until it is told to stop: a node that carries circuits between peers that cannot dial each other. What
    /// passes is sealed and cannot be read here. Options beat environment variables (in parentheses), which beat the settings
    /// file, which beats defaults. SIGHUP reads file and limits again.
    RelayArgs = "relay" {
        /// stop when standard input ends, for programs that start a relay
        #[argh(switch)]
        pub stop_on_stdin_eof: bool,

        /// the relay's data directory (SCP2P_DATA_DIR)
        #[argh(option, arg_name = "dir")]
        pub data_dir: Option<PathBuf>,

        /// print JSON
        #[argh(switch)]
        pub json: bool,

        /// what to do instead of running a relay
        #[argh(subcommand)]
        pub command: Option<RelayCommand>,
    }
}

impl RelayArgs {
    /// The arguments that all commands take.
    pub fn common(&self) -> Common {
        let own = Common {
            data_dir: self.data_dir.clone(),
            json: self.json,
        };
        match &self.command {
            None => own,
            Some(RelayCommand::Circuits(args)) => {
                let of_list = args.common();
                Common {
                    data_dir: of_list.data_dir.or(own.data_dir),
                    json: of_list.json || own.json,
                }
            }
            Some(RelayCommand::Install(_) | RelayCommand::Uninstall(_)) => own,
        }
    }

    /// Whether there are no settings of a relay that is to be started.
    pub fn has_no_settings(&self) -> bool {
        self.relay_flags().is_empty()
    }

    /// What they say about settings.
    pub fn flags(&self) -> Flags {
        let own = [(Setting::DataDir, data_dir(self.data_dir.as_deref()))];
        Flags::new(None, own).or(self.relay_flags())
    }
}

/// What to do with a relay.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum RelayCommand {
    /// `scp2p relay circuits`
    Circuits(RelayCircuitsArgs),
    /// `scp2p relay install`
    Install(RelayInstallArgs),
    /// `scp2p relay uninstall`
    Uninstall(RelayUninstallArgs),
}

command_args! {
    /// List who has a place at the relay and whose circuits pass.
    RelayCircuitsArgs = "circuits" {}
}

relay_args! {
    /// Make a relay a service of systemd: write its unit, and a settings file with what is given here and in the environment
    /// if there is none. Starts nothing. Needs root.
    RelayInstallArgs = "install" {
        /// print what would be written
        #[argh(switch)]
        pub dry_run: bool,

        /// write below this directory instead of /
        #[argh(option, arg_name = "dir")]
        pub root: Option<PathBuf>,
    }
}

impl RelayInstallArgs {
    /// What they say about settings.
    pub fn flags(&self) -> Flags {
        self.relay_flags()
    }
}

/// Remove the service that `scp2p relay install` made. Settings and data stay. Needs root.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "uninstall", help_triggers("-h", "--help"))]
pub struct RelayUninstallArgs {
    /// remove below this directory instead of /
    #[argh(option, arg_name = "dir")]
    pub root: Option<PathBuf>,
}
