use std::fs;

use super::*;

const KEY: &str = "0101010101010101010101010101010101010101010101010101010101010101";

/// Options with these values, and a data directory.
fn flags(values: &[(Setting, &[&str])]) -> Flags {
    let given = values.iter().map(|(setting, values)| {
        let values = values.iter().map(|value| (*value).to_owned());
        (*setting, values.collect())
    });
    Flags::new(None, given).or(Flags::new(
        None,
        [(Setting::DataDir, vec!["/data".to_owned()])],
    ))
}

fn resolve_as(role: Role, flags: &Flags, env: &[(&str, &str)]) -> Result<Settings, SettingError> {
    Settings::resolve(role, flags, |name| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.into())
    })
}

fn resolve(flags: &Flags, env: &[(&str, &str)]) -> Result<Settings, SettingError> {
    resolve_as(Role::Node, flags, env)
}

/// The settings of a relay with this settings file.
fn in_file(text: &str) -> Result<Settings, SettingError> {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("relay.toml");
    fs::write(&file, text).expect("written");
    let named = Flags::new(Some(&file), []);
    resolve_as(Role::Relay, &named.or(flags(&[])), &[])
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    let addresses = texts.iter().map(|text| text.parse().expect("an address"));
    addresses.collect()
}

#[test]
fn by_default_both_families_are_listened_on_and_nothing_is_relayed() {
    let settings = resolve(&flags(&[]), &[]).expect("settings");
    assert_eq!(
        settings.bind_quic,
        addresses(&["[::]:7000", "0.0.0.0:7000"])
    );
    assert_eq!(settings.bind_tcp, addresses(&["[::]:7001", "0.0.0.0:7001"]));
    assert!(settings.bootstrap.is_empty());
    assert_eq!(settings.relay, None);
    assert_eq!(settings.metrics, None);
}

#[test]
fn a_relay_has_the_limits_of_the_library_and_carries_control_alone() {
    let settings = resolve_as(Role::Relay, &flags(&[]), &[]).expect("settings");
    let limits = settings.relay.expect("a relay");
    assert_eq!((limits.circuits_max, limits.content), (64, false));
    assert_eq!(limits, RelayLimits::default());
    assert_eq!(settings.announce_interval, Duration::from_secs(1800));
    let node = resolve(&flags(&[(Setting::Relay, &["true"])]), &[]).expect("settings");
    assert_eq!(node.relay, Some(RelayLimits::default()));
}

#[test]
fn an_option_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("relay.toml");
    let text = "max_tunnels = 1\nmax_tunnels_per_ip = 1\nmax_places = 1\nbind_tcp = [\"127.0.0.1:1\", \"[::1]:2\"]\n";
    fs::write(&file, text).expect("written");
    let path = file.to_str().expect("UTF-8");
    let env = [
        ("SCP2P_CONFIG", path),
        ("SCP2P_MAX_TUNNELS", "2"),
        ("SCP2P_MAX_TUNNELS_PER_IP", "2"),
        ("SCP2P_BIND_QUIC", "127.0.0.1:1, [::1]:2"),
        ("SCP2P_DATA_DIR", "/env"),
    ];
    let given = flags(&[(Setting::MaxTunnels, &["3"]), (Setting::BindQuic, &[""])]);
    let settings = resolve_as(Role::Relay, &given, &env).expect("settings");
    let limits = settings.relay.expect("a relay");
    assert_eq!(limits.circuits_max, 3);
    assert_eq!(limits.circuits_per_ip_max, 2);
    assert_eq!(limits.reservations_max, 1);
    assert_eq!(limits.circuits_per_network_max, 48);
    assert_eq!(settings.data_dir, PathBuf::from("/data"));
    assert!(settings.bind_quic.is_empty());
    assert_eq!(settings.bind_tcp, addresses(&["127.0.0.1:1", "[::1]:2"]));

    let settings = resolve_as(Role::Relay, &Flags::default(), &env).expect("settings");
    assert_eq!(settings.data_dir, PathBuf::from("/env"));
    assert_eq!(settings.bind_quic, addresses(&["127.0.0.1:1", "[::1]:2"]));
    let missing = Flags::new(Some(&dir.path().join("none.toml")), []);
    match resolve(&missing, &env) {
        Err(SettingError::File { path, .. }) => assert_eq!(path, dir.path().join("none.toml")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn peers_come_from_repeated_options_and_commas() {
    let given: &[&str] = &[
        "example.org:7001,quic://127.0.0.1:9",
        "tcp://[::1]:7001",
        "tcp://[::1]:7001",
    ];
    let settings = resolve(&flags(&[(Setting::Bootstrap, given)]), &[]).expect("settings");
    assert_eq!(settings.bootstrap.len(), 3);
}

#[test]
fn all_limits_can_be_set() {
    let text = format!(
        "max_tunnels_per_client = 2\nmax_tunnels_per_network = 3\nmax_places_per_ip = 4\nmax_places_per_network = 5\n\
         max_rate = \"10 MiB\"\nmax_rate_per_ip = 1024\nmax_hourly = \"1TiB\"\nmax_hourly_per_ip = \"none\"\n\
         max_tunnel_bytes = \"2GiB\"\nidle_secs = 60\nallow = [\"{KEY}\"]\nrelay_content = true\nbandwidth_class = \"high\"\n\
         announce_interval_secs = 60\ndrain_secs = 0\nmetrics = \"[::1]:9100\"\nlog_format = \"json\"\n"
    );
    let settings = in_file(&text).expect("settings");
    let limits = RelayLimits {
        circuits_per_client_max: 2,
        circuits_per_network_max: 3,
        reservations_per_ip_max: 4,
        reservations_per_network_max: 5,
        rate_total: Some(10 << 20),
        rate_per_ip: Some(1024),
        hourly_total: Some(1 << 40),
        hourly_per_ip: None,
        bytes_per_circuit: Some(2 << 30),
        idle_time: Duration::from_secs(60),
        allowed: Some([scp2p_proto::id::NodeKey([1; 32])].into()),
        content: true,
        ..RelayLimits::default()
    };
    assert_eq!(settings.relay, Some(limits));
    assert_eq!(settings.bandwidth, BandwidthClass::High);
    assert_eq!(settings.announce_interval, Duration::from_secs(60));
    assert_eq!(settings.drain, Duration::ZERO);
    assert_eq!(settings.metrics, Some(addresses(&["[::1]:9100"])[0]));
    assert_eq!(settings.log_format, LogFormat::Json);
}

#[test]
fn a_file_that_means_nothing_is_refused_with_its_line_and_field() {
    for (text, line, named) in [
        ("\nmax_tunnel = 5\n", 2, "max_tunnel is not a setting"),
        ("max_tunnels = 5\nmax_tunnels = 6\n", 2, "duplicate"),
        ("max_tunnels = 5\n\nidle_secs = 1.5\n", 3, "idle_secs"),
        ("[relay]\nmax_tunnels = 5\n", 1, "relay"),
        ("max_tunnels 5\n", 1, ""),
    ] {
        match in_file(text) {
            Err(SettingError::Line {
                line: found,
                message,
                ..
            }) => {
                assert_eq!(found, line, "{text}: {message}");
                assert!(message.contains(named), "{text}: {message}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let error = in_file("# limits\nmax_tunnels = -1\n")
        .expect_err("no count")
        .to_string();
    for part in ["relay.toml, line 2", "max_tunnels", "\"-1\""] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_value_that_is_not_of_its_form_is_named_and_never_dropped() {
    for (setting, given, value) in [
        (Setting::BindQuic, "7000", "7000"),
        (Setting::BindTcp, "127.0.0.1:5,", ""),
        (Setting::BindTcp, "localhost:7001", "localhost:7001"),
        (Setting::Bootstrap, "udp://a:1", "udp://a:1"),
        (
            Setting::Announce,
            "relay.example.org:7001",
            "relay.example.org:7001",
        ),
        (
            Setting::Announce,
            "tcp://0.0.0.0:7001",
            "tcp://0.0.0.0:7001",
        ),
        (Setting::Announce, "quic://[::]:7000", "quic://[::]:7000"),
        (Setting::RequireBinding, "yes", "yes"),
        (Setting::MaxTunnels, "many", "many"),
        (Setting::MaxTunnels, "4294967296", "4294967296"),
        (Setting::MaxPlaces, "513", "513"),
        (Setting::MaxRate, "0", "0"),
        (Setting::MaxRate, "4GiB", "4GiB"),
        (Setting::MaxHourly, "1 MB", "1 MB"),
        (Setting::MaxHourly, "99999999999TiB", "99999999999TiB"),
        (Setting::IdleSecs, "0", "0"),
        (Setting::Allow, "", ""),
        (Setting::Allow, "0101", "0101"),
        (Setting::BandwidthClass, "fast", "fast"),
        (Setting::AnnounceIntervalSecs, "59", "59"),
        (Setting::DrainSecs, "601", "601"),
        (Setting::Metrics, "0.0.0.0:9100", "0.0.0.0:9100"),
        (Setting::Metrics, "192.0.2.1:9100", "192.0.2.1:9100"),
        (Setting::LogLevel, "loud", "loud"),
        (Setting::LogLevel, "info,scp2p=loud", "info,scp2p=loud"),
        (Setting::LogFormat, "xml", "xml"),
    ] {
        let variable = setting.variable();
        match resolve_as(Role::Relay, &flags(&[]), &[(variable, given)]) {
            Err(SettingError::Value {
                origin,
                value: found,
                ..
            }) => {
                assert_eq!(origin, Origin::Variable(variable));
                assert_eq!(found, value, "{variable}");
            }
            other => panic!("{variable}={given}: {other:?}"),
        }
    }
    let not_a_relay = resolve_as(Role::Relay, &flags(&[]), &[("SCP2P_RELAY", "false")]);
    assert!(not_a_relay.is_err(), "{not_a_relay:?}");
}

#[test]
fn everybody_is_allowed_where_an_option_says_any() {
    let given = flags(&[(Setting::Allow, &["any"])]);
    let settings = resolve_as(Role::Relay, &given, &[("SCP2P_ALLOW", KEY)]).expect("settings");
    assert_eq!(settings.relay.expect("a relay").allowed, None);
}

#[test]
fn names_of_a_setting_belong_together() {
    for setting in Setting::ALL {
        let (field, option) = (setting.field(), setting.option());
        assert_eq!(option, format!("--{}", field.replace('_', "-")));
        let as_field = format!("SCP2P_{}", field.to_uppercase());
        // These two have their names since before there were files.
        let older = [
            (Setting::LogLevel, "SCP2P_LOG"),
            (Setting::Announce, "SCP2P_ANNOUNCE_ADDRS"),
        ];
        let older = older.iter().find(|(of, _)| of == setting);
        let variable = older.map_or(&*as_field, |(_, name)| name);
        assert_eq!(setting.variable(), variable);
    }
}

/// What operators are told is what there is.
#[test]
fn the_documentation_and_the_settings_file_delivered_have_every_setting() {
    let docs = include_str!("../../../docs/relay.md");
    let delivered = include_str!("../../dist/relay.toml");
    for setting in Setting::ALL {
        let (option, field) = (setting.option(), setting.field());
        let row = format!("| `{option}` | `{}` | `{field}` |", setting.variable());
        // `scp2p relay` is a relay, and has its data where the service says.
        if *setting != Setting::Relay {
            assert!(docs.contains(&row), "{row}");
        }
        if !matches!(setting, Setting::Relay | Setting::DataDir) {
            let line = format!("\n#{field} = ");
            assert_eq!(delivered.matches(&line).count(), 1, "{field}");
        }
    }
    let untouched = in_file(delivered).expect("settings");
    assert!(untouched.given.keys().eq([&Setting::DataDir]));
    let all = delivered.lines().map(|line| {
        line.strip_prefix('#')
            .filter(|rest| rest.contains(" = ") && !rest.starts_with(' '))
            .unwrap_or(line)
    });
    let all = all.collect::<Vec<_>>().join("\n");
    let defaults = in_file(&all).expect("settings");
    assert_eq!(defaults.relay, untouched.relay);
    assert_eq!(defaults.bind_quic, untouched.bind_quic);
    assert_eq!(defaults.bind_tcp, untouched.bind_tcp);
    assert_eq!(defaults.drain, untouched.drain);
    assert_eq!(defaults.metrics, untouched.metrics);
    assert_eq!(defaults.announce_interval, untouched.announce_interval);
    assert_eq!(defaults.bandwidth, untouched.bandwidth);
}
