//! The text form of scenarios: TOML.

use toml::de::{DeTable, DeValue};

use super::error::{Fault, Part, Place, ScenarioError};
use super::{Action, Event, Scenario};

impl Scenario {
    /// Reads the text form, and checks it as [`check`](Scenario::check) does.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
        let scenario: Scenario =
            toml::from_str(text).map_err(|error| ScenarioError::Text(Box::new(error)))?;
        let lines = Lines::of(text)?;
        scenario
            .check()
            .and_then(|()| check_fields(&scenario.events, &lines))
            .map_err(|error| lines.locate(error))?;
        Ok(scenario)
    }

    /// The text form: [`parse`](Scenario::parse) makes the same scenario of it if that is one that can be run.
    /// What is as usual is left out.
    pub fn to_text(&self) -> String {
        toml::to_string(self)
            .expect("names of fields are strings, and TOML has strings, numbers, truth values and lists of them")
    }
}

/// Where in a text its parts begin, and which fields its events have.
struct Lines {
    edges: Vec<usize>,
    hosts: Vec<usize>,
    events: Vec<usize>,
    network: Option<usize>,
    fields: Vec<Vec<String>>,
}

impl Lines {
    fn of(text: &str) -> Result<Lines, ScenarioError> {
        let table = DeTable::parse(text).map_err(|error| ScenarioError::Text(Box::new(error)))?;
        let table = table.get_ref();
        // Line ends before each line's first byte, to find lines by halving.
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let line = |at: usize| ends.partition_point(|end| *end < at) + 1;
        let items = |key: &str| match table.get(key).map(|value| value.get_ref()) {
            Some(DeValue::Array(items)) => items.iter().collect(),
            Some(_) | None => Vec::new(),
        };
        let lines = |key: &str| -> Vec<usize> {
            items(key)
                .iter()
                .map(|item| line(item.span().start))
                .collect()
        };
        let fields = |item: &DeValue<'_>| match item {
            DeValue::Table(fields) => fields.keys().map(|key| key.get_ref().to_string()).collect(),
            DeValue::Array(_)
            | DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => Vec::new(),
        };
        Ok(Lines {
            edges: lines("edges"),
            hosts: lines("hosts"),
            events: lines("events"),
            network: table.get("network").map(|value| line(value.span().start)),
            fields: items("events")
                .iter()
                .map(|item| fields(item.get_ref()))
                .collect(),
        })
    }

    fn locate(&self, error: ScenarioError) -> ScenarioError {
        match error {
            ScenarioError::At(mut place, fault) => {
                let nth = |lines: &[usize]| lines.get(place.number - 1).copied();
                place.line = match place.part {
                    Part::Network => self.network,
                    Part::Edge => nth(&self.edges),
                    Part::Host => nth(&self.hosts),
                    Part::Event => nth(&self.events),
                };
                ScenarioError::At(place, fault)
            }
            error @ (ScenarioError::Text(_)
            | ScenarioError::TooMany { .. }
            | ScenarioError::NoHosts
            | ScenarioError::Length(_)
            | ScenarioError::Heal { .. }) => error,
        }
    }
}

/// Refuses fields that events do not have, which serde passes over where structures are flattened.
fn check_fields(events: &[Event], lines: &Lines) -> Result<(), ScenarioError> {
    for (at, (event, given)) in events.iter().zip(&lines.fields).enumerate() {
        let known = [&["at", "host", "do"], fields(&event.action)].concat();
        if let Some(field) = given.iter().find(|field| !known.contains(&field.as_str())) {
            let which = format!("at {}, host {}", event.at, event.host);
            let field = field.clone();
            return Err(
                Place::new(Part::Event, at, which).has(Fault::UnknownField { field, known })
            );
        }
    }
    Ok(())
}

fn fields(action: &Action) -> &'static [&'static str] {
    match action {
        Action::Start
        | Action::Stop
        | Action::Kill
        | Action::Crash
        | Action::Wipe
        | Action::Heal
        | Action::DiskFree
        | Action::Sync
        | Action::Pause
        | Action::Resume
        | Action::Cancel => &[],
        Action::Roam { .. } => &["edge"],
        Action::Suspend { .. } | Action::Clog { .. } => &["span"],
        Action::ClockStep { .. } => &["secs"],
        Action::Partition { .. } => &["from", "one_way"],
        Action::DiskFull { .. } => &["writes"],
        Action::Publish { .. } => &["share", "files", "bytes"],
        Action::Edit { .. } => &["share", "file"],
        Action::Unpublish { .. } => &["share"],
        Action::Subscribe { .. }
        | Action::Unsubscribe { .. }
        | Action::Search { .. }
        | Action::Get { .. } => &["to", "share"],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::strategy::scenario;
    use super::super::{Host, Span};
    use super::*;

    const SMALL: &str = "seed = 1\nlength = \"1h\"\nheal = \"50m\"\n[[hosts]]\nname = \"a\"\n";

    fn refused(text: &str) -> String {
        Scenario::parse(text).expect_err(text).to_string()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// A scenario is read from its text as it was.
        #[test]
        fn what_is_written_is_read_as_it_was(scenario in scenario()) {
            let text = scenario.to_text();
            prop_assert_eq!(Scenario::parse(&text).map_err(|error| error.to_string()), Ok(scenario), "{}", text);
        }

        /// Any text is read or refused.
        #[test]
        fn no_text_is_too_much(text in "(?s).{0,200}") {
            let _ = Scenario::parse(&text);
            let _ = Scenario::parse(&format!("{SMALL}{text}"));
        }
    }

    #[test]
    fn the_example_is_read() {
        let text = include_str!("../../scenarios/smoke.toml");
        let smoke = Scenario::parse(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(smoke.hosts.len(), 5);
        let does = |wanted: fn(&Action) -> bool| {
            smoke
                .events
                .iter()
                .filter(|event| wanted(&event.action))
                .count()
        };
        assert_eq!(does(|action| matches!(action, Action::Publish { .. })), 2);
        assert_eq!(does(|action| matches!(action, Action::Crash)), 1);
        assert_eq!(Scenario::parse(&smoke.to_text()), Ok(smoke));
    }

    #[test]
    fn what_is_as_usual_is_left_out() {
        let mut scenario = Scenario::parse(SMALL).expect("it is right");
        assert_eq!(scenario.hosts, [Host::new("a")]);
        let text = scenario.to_text();
        assert!(
            !text.contains("disk") && !text.contains("clock") && !text.contains("network"),
            "{text}"
        );
        scenario.hosts[0].disk.latency[1] = Span::secs(1);
        scenario.seed = u64::MAX;
        let text = scenario.to_text();
        assert!(text.contains("[hosts.disk]"), "{text}");
        assert_eq!(Scenario::parse(&text), Ok(scenario));
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_its_place() {
        for (more, says) in [
            (
                "[[hosts]]\nname = \"a\"",
                "line 6, host \"a\": number 1 has this name already",
            ),
            (
                "[[hosts]]\nname = \"b c\"",
                "line 6, host \"b c\": \"b c\" is no name",
            ),
            (
                "[[hosts]]\nname = \"\"",
                "is no name; use 1 to 64 of the characters",
            ),
            (
                "[[hosts]]\nname = \"b\"\nedge = \"x\"",
                "line 6, host \"b\": there is no edge \"x\"",
            ),
            (
                "[[hosts]]\nname = \"b\"\nbootstrap = [\"a\", \"x\"]",
                "there is no host \"x\"",
            ),
            (
                "[[hosts]]\nname = \"b\"\nstart = \"61m\"",
                "1h 1m is after the end at 1h",
            ),
            (
                "[[hosts]]\nname = \"b\"\nup = 0",
                "up: 0 is not from 1 to 12500000000",
            ),
            (
                "[hosts.clock]\noffset_secs = -999999999",
                "clock.offset_secs: -999999999 is not from",
            ),
            (
                "[hosts.disk]\nlatency = [\"2s\", \"1s\"]",
                "disk.latency: 2s is longer than 1s",
            ),
            (
                "[hosts.disk]\nlatency = [\"2s\", \"2m\"]",
                "disk.latency: 2m is not from 0s to 1m",
            ),
            (
                "[hosts.node]\nno_quic = true\nno_tcp = true",
                "leave nothing to connect by",
            ),
            (
                "[hosts.node]\npoll_interval = \"1ms\"",
                "node.poll_interval: 1ms is not from 1s",
            ),
            (
                "[hosts.node]\npoll_intervall = \"1s\"",
                "unknown field `poll_intervall`",
            ),
            (
                "[network]\nloss_ppm = 1000001",
                "line 6, network: loss_ppm: 1000001 is not from 0 to 1000000",
            ),
            (
                "[[edges]]\nname = \"e\"\nfiltering = \"address\"\nbehind = \"e\"",
                "line 6, edge \"e\": edges are in a ring (e, behind e)",
            ),
            ("[[edges]]\nname = \"e\"\nfiltering = \"addres\"", "line 8"),
            (
                "[[events]]\nat = \"61m\"\nhost = \"a\"\ndo = \"sync\"",
                "line 6, event 1 (at 1h 1m, host a): 1h 1m is after the end",
            ),
            (
                "[[events]]\nat = \"1m\"\nhost = \"x\"\ndo = \"sync\"",
                "there is no host \"x\"",
            ),
            (
                "[[events]]\nat = \"1m\"\nhost = \"a\"\ndo = \"synch\"",
                "unknown variant `synch`",
            ),
            (
                "[[events]]\nat = \"1m\"\nhost = \"a\"\ndo = \"sync\"\nspan = \"1s\"",
                "\"span\" is no field of this event; it has at, host, do",
            ),
            (
                "[[events]]\nat = \"1m\"\nhost = \"a\"\ndo = \"roam\"\nedge = \"x\"",
                "there is no edge \"x\"",
            ),
            (
                "[[events]]\nat = \"1m\"\nhost = \"a\"\ndo = \"partition\"\nfrom = [\"x\"]",
                "there is no host \"x\"",
            ),
            (
                "[[events]]\nat = \"1m\"\nhost = \"a\"\ndo = \"get\"\nto = \"a\"\nshare = \"../x\"",
                "\"../x\" is no name",
            ),
            (
                "[[events]]\nat = \"1m\"\nhost = \"a\"\ndo = \"get\"\nshare = \"x\"",
                "missing field `to`",
            ),
            (
                "[[events]]\nat = \"soon\"\nhost = \"a\"\ndo = \"sync\"",
                "line 7",
            ),
            (
                "[[events]]\nat = \"1m\"\nhost = \"a\"\ndo = \"publish\"\nshare = \"s\"\nfiles = 3001\nbytes = 1",
                "files: 3001 is not from 1 to 3000",
            ),
            (
                "[[events]]\nat = \"1m\"\nhost = \"a\"\ndo = \"publish\"\nshare = \"s\"\nfiles = 5\nbytes = 1073741824",
                "5368709120 bytes would be published",
            ),
        ] {
            let message = refused(&format!("{SMALL}{more}"));
            assert!(message.contains(says), "{message:?} does not say {says:?}");
        }
        assert!(
            refused("seed = 1\nlength = \"0s\"\nheal = \"0s\"\nhosts = [{ name = \"a\" }]")
                .contains("length: 0s")
        );
        assert!(
            refused("seed = 1\nlength = \"1s\"\nheal = \"2s\"\nhosts = [{ name = \"a\" }]")
                .contains("heal: 2s is after the end")
        );
        assert!(
            refused("seed = 1\nlength = \"1s\"\nheal = \"1s\"\nhosts = []").contains("no hosts")
        );
    }

    #[test]
    fn real_quic_is_refused_where_it_is_not_built_in() {
        let text = format!("{SMALL}[network]\nlinks = \"quic\"");
        if cfg!(feature = "quic") {
            assert!(Scenario::parse(&text).is_ok());
        } else {
            assert!(refused(&text).contains("built without real QUIC"));
        }
        assert!(Scenario::parse(&format!("{SMALL}[network]\nlinks = \"modelled\"")).is_ok());
    }

    #[test]
    fn edges_in_a_ring_are_refused_and_in_a_chain_are_not() {
        let edges = |behind: [&str; 3]| -> String {
            ["e", "f", "g"]
                .iter()
                .zip(behind)
                .map(|(name, behind)| {
                    let behind = match behind {
                        "" => String::new(),
                        behind => format!("behind = \"{behind}\"\n"),
                    };
                    format!("[[edges]]\nname = \"{name}\"\nfiltering = \"address\"\n{behind}")
                })
                .collect()
        };
        let chain = format!("{SMALL}{}", edges(["f", "g", ""]));
        assert!(Scenario::parse(&chain).is_ok());
        let ring = refused(&format!("{SMALL}{}", edges(["f", "g", "f"])));
        assert!(
            ring.contains("edge \"e\": edges are in a ring (f, behind g, behind f)"),
            "{ring}"
        );
        let mut deep = Scenario::parse(&chain).expect("it is right");
        for at in 0..6 {
            let mut edge = deep.edges[0].clone();
            edge.behind = (at > 0)
                .then(|| format!("e{}", at - 1))
                .or(Some("e".to_owned()));
            edge.name = format!("e{at}");
            assert_eq!(deep.check(), Ok(()));
            deep.edges.push(edge);
        }
        assert!(refused(&deep.to_text()).contains("edge \"e5\": more than 8 edges"));
        let missing = refused(&format!("{SMALL}{}", edges(["f", "x", ""])));
        assert!(missing.contains("there is no edge \"x\""), "{missing}");
    }

    #[test]
    fn more_hosts_or_downloads_than_can_be_run_are_refused() {
        let mut scenario = Scenario::parse(SMALL).expect("it is right");
        scenario.hosts = (0..=2000).map(|at| Host::new(format!("h{at}"))).collect();
        let message = refused(&scenario.to_text());
        assert_eq!(message, "there are 2001 hosts; at most 2000 can be run");
        scenario.hosts.pop();
        assert_eq!(scenario.check(), Ok(()));
        let event = |host: u32, action| Event {
            at: Span::secs(1),
            host: format!("h{host}"),
            action,
        };
        let share = "s".to_owned();
        let publish = Action::Publish {
            share: share.clone(),
            files: 2,
            bytes: 1 << 20,
        };
        let get = |to: &str| Action::Get {
            to: to.to_owned(),
            share: share.clone(),
        };
        scenario.events.push(event(0, publish));
        scenario
            .events
            .extend((1..1900).map(|host| event(host, get("h0"))));
        assert_eq!(scenario.check(), Ok(()));
        scenario
            .events
            .extend((0..10_000).map(|_| event(1, get("h0"))));
        assert_eq!(scenario.check(), Ok(()));
        scenario.events[0].action = Action::Publish {
            share: share.clone(),
            files: 2,
            bytes: 2 << 20,
        };
        let message = refused(&scenario.to_text());
        assert!(
            message.contains("would be downloaded with this event"),
            "{message}"
        );
    }
}
