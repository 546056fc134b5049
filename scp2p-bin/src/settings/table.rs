//! The settings and the names under which they are given.

/// Defines the settings: each has a field in the file, an option, a variable, and may be one that a running node takes anew.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident = $field:literal, $option:literal, $variable:literal, $when:ident;)*) => {
        /// A setting of `scp2p node` and `scp2p relay`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Setting {
            $($(#[$doc])* $name,)*
        }

        impl Setting {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Setting] = &[$(Setting::$name),*];

            /// Its name in a settings file.
            pub fn field(self) -> &'static str {
                match self {
                    $(Setting::$name => $field,)*
                }
            }

            /// The option of the command line.
            pub fn option(self) -> &'static str {
                match self {
                    $(Setting::$name => $option,)*
                }
            }

            /// The environment variable.
            pub fn variable(self) -> &'static str {
                match self {
                    $(Setting::$name => $variable,)*
                }
            }

            /// When a running node that reads its settings again takes a new value.
            pub fn takes_effect(self) -> TakesEffect {
                match self {
                    $(Setting::$name => TakesEffect::$when,)*
                }
            }
        }
    };
}

/// When a new value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakesEffect {
    /// When the settings are read again.
    AtOnce,
    /// When the node is started again.
    AtStart,
}

settings! {
    /// Where the node's key, store and control socket are.
    DataDir = "data_dir", "--data-dir", "SCP2P_DATA_DIR", AtStart;
    /// Addresses to listen on for QUIC.
    BindQuic = "bind_quic", "--bind-quic", "SCP2P_BIND_QUIC", AtStart;
    /// Addresses to listen on for TLS over TCP.
    BindTcp = "bind_tcp", "--bind-tcp", "SCP2P_BIND_TCP", AtStart;
    /// Peers to start from.
    Bootstrap = "bootstrap", "--bootstrap", "SCP2P_BOOTSTRAP", AtStart;
    /// Relays to be found through before any other.
    UseRelay = "use_relay", "--use-relay", "SCP2P_USE_RELAY", AtStart;
    /// Where the node is reached from outside.
    Announce = "announce", "--announce", "SCP2P_ANNOUNCE_ADDRS", AtStart;
    /// Whether peers must be bound to their channel.
    RequireBinding = "require_binding", "--require-binding", "SCP2P_REQUIRE_BINDING", AtStart;
    /// Whether relays that can read what they relay are refused.
    NoReadableRelays = "no_readable_relays", "--no-readable-relays", "SCP2P_NO_READABLE_RELAYS", AtStart;
    /// Whether the node relays for others.
    Relay = "relay", "--relay", "SCP2P_RELAY", AtStart;
    /// Circuits at a time.
    MaxTunnels = "max_tunnels", "--max-tunnels", "SCP2P_MAX_TUNNELS", AtOnce;
    /// Circuits of one client.
    MaxTunnelsPerClient = "max_tunnels_per_client", "--max-tunnels-per-client", "SCP2P_MAX_TUNNELS_PER_CLIENT", AtOnce;
    /// Circuits opened from one address.
    MaxTunnelsPerIp = "max_tunnels_per_ip", "--max-tunnels-per-ip", "SCP2P_MAX_TUNNELS_PER_IP", AtOnce;
    /// Circuits opened from one network.
    MaxTunnelsPerNetwork = "max_tunnels_per_network", "--max-tunnels-per-network", "SCP2P_MAX_TUNNELS_PER_NETWORK", AtOnce;
    /// Places at a time.
    MaxPlaces = "max_places", "--max-places", "SCP2P_MAX_PLACES", AtOnce;
    /// Places of one address.
    MaxPlacesPerIp = "max_places_per_ip", "--max-places-per-ip", "SCP2P_MAX_PLACES_PER_IP", AtOnce;
    /// Places of one network.
    MaxPlacesPerNetwork = "max_places_per_network", "--max-places-per-network", "SCP2P_MAX_PLACES_PER_NETWORK", AtOnce;
    /// Bytes per second of all circuits and tunnels.
    MaxRate = "max_rate", "--max-rate", "SCP2P_MAX_RATE", AtOnce;
    /// Bytes per second of those that are used from one address.
    MaxRatePerIp = "max_rate_per_ip", "--max-rate-per-ip", "SCP2P_MAX_RATE_PER_IP", AtOnce;
    /// Bytes per hour of all circuits and tunnels.
    MaxHourly = "max_hourly", "--max-hourly", "SCP2P_MAX_HOURLY", AtOnce;
    /// Bytes per hour of those that are used from one address.
    MaxHourlyPerIp = "max_hourly_per_ip", "--max-hourly-per-ip", "SCP2P_MAX_HOURLY_PER_IP", AtOnce;
    /// Bytes of one circuit.
    MaxTunnelBytes = "max_tunnel_bytes", "--max-tunnel-bytes", "SCP2P_MAX_TUNNEL_BYTES", AtOnce;
    /// How long a circuit may be idle.
    IdleSecs = "idle_secs", "--idle-secs", "SCP2P_IDLE_SECS", AtOnce;
    /// Who may be relayed for.
    Allow = "allow", "--allow", "SCP2P_ALLOW", AtOnce;
    /// Whether circuits are for content too.
    RelayContent = "relay_content", "--relay-content", "SCP2P_RELAY_CONTENT", AtOnce;
    /// What the relay says of its bandwidth.
    BandwidthClass = "bandwidth_class", "--bandwidth-class", "SCP2P_BANDWIDTH_CLASS", AtStart;
    /// How often the relay says that it is there.
    AnnounceIntervalSecs = "announce_interval_secs", "--announce-interval-secs", "SCP2P_ANNOUNCE_INTERVAL_SECS", AtStart;
    /// How long circuits may go on after the relay is told to stop.
    DrainSecs = "drain_secs", "--drain-secs", "SCP2P_DRAIN_SECS", AtStart;
    /// Where health and counters are served.
    Metrics = "metrics", "--metrics", "SCP2P_METRICS", AtStart;
    /// What is logged.
    LogLevel = "log_level", "--log-level", "SCP2P_LOG", AtOnce;
    /// How it is logged.
    LogFormat = "log_format", "--log-format", "SCP2P_LOG_FORMAT", AtStart;
}
