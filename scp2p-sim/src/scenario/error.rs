//! What can be wrong with a scenario.

use std::fmt;

use super::Span;
use super::check::{CONTENT_BYTES_MAX, EDGE_DEPTH_MAX, LENGTH_MAX, NAME_CHARS_MAX};

/// What is wrong with a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScenarioError {
    /// It is no TOML, or not of this shape. The error has the place in the text.
    Text(Box<toml::de::Error>),
    /// There are more hosts, edges or events than can be.
    TooMany {
        /// Of what.
        part: Part,
        /// How many there are.
        number: usize,
        /// How many there can be.
        max: usize,
    },
    /// There is no host.
    NoHosts,
    /// It has no length, or one beyond [`LENGTH_MAX`].
    Length(Span),
    /// Faults would end after the end.
    Heal {
        /// When they would end.
        heal: Span,
        /// When the run ends.
        length: Span,
    },
    /// A part of it is wrong.
    At(Box<Place>, Fault),
}

/// Of what there are several in a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The network, of which there is one.
    Network,
    /// An edge.
    Edge,
    /// A host.
    Host,
    /// An event.
    Event,
}

/// Where in a scenario something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Of what kind it is.
    pub part: Part,
    /// The how manieth of its kind it is, from 1.
    pub number: usize,
    /// What it is called; of an event, when and to which host it happens.
    pub name: String,
    /// The line of the text where it begins, from 1, if the scenario was a text.
    pub line: Option<usize>,
}

/// What is wrong with a part of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A name that is not 1 to [`NAME_CHARS_MAX`] plain characters.
    Name(String),
    /// A name that another one of its kind has.
    Twice {
        /// The number of the first one.
        first: usize,
    },
    /// A host that there is not.
    UnknownHost(String),
    /// An edge that there is not.
    UnknownEdge(String),
    /// Edges that are behind one another in a ring; the first is the last, too.
    Cycle(Vec<String>),
    /// An edge with more than [`EDGE_DEPTH_MAX`] behind one another, itself included.
    TooDeep,
    /// A time after the end.
    AfterEnd {
        /// The time.
        at: Span,
        /// When the run ends.
        length: Span,
    },
    /// A number that cannot be.
    OutOfRange {
        /// Of what.
        field: &'static str,
        /// The number.
        value: String,
        /// The least that can be.
        min: String,
        /// The most that can be.
        max: String,
    },
    /// Two latencies in the wrong order.
    Reversed {
        /// Of what.
        field: &'static str,
        /// The first.
        low: Span,
        /// The second, which is shorter.
        high: Span,
    },
    /// With this event more than [`CONTENT_BYTES_MAX`] are published or downloaded.
    Content {
        /// Which of the two.
        verb: &'static str,
        /// How many bytes.
        bytes: u64,
    },
    /// Neither QUIC nor TCP.
    NoTransport,
    /// Links of real QUIC, which this build does not have.
    NoQuic,
    /// A field that this event does not have.
    UnknownField {
        /// Its name.
        field: String,
        /// Those that it has.
        known: Vec<&'static str>,
    },
}

impl Place {
    pub(super) fn new(part: Part, at: usize, name: String) -> Place {
        Place {
            part,
            number: at + 1,
            name,
            line: None,
        }
    }

    pub(super) fn has(self, fault: Fault) -> ScenarioError {
        ScenarioError::At(Box::new(self), fault)
    }
}

impl std::error::Error for ScenarioError {}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScenarioError::Text(error) => f.write_str(error.to_string().trim_end()),
            ScenarioError::TooMany { part, number, max } => {
                write!(f, "there are {number} {part}s; at most {max} can be run")
            }
            ScenarioError::NoHosts => {
                f.write_str("there are no hosts; add one: [[hosts]] with a name")
            }
            ScenarioError::Length(length) => {
                write!(f, "length: {length} is not above 0s and up to {LENGTH_MAX}")
            }
            ScenarioError::Heal { heal, length } => write!(
                f,
                "heal: {heal} is after the end at {length}; it must be earlier, by as long as everything needs to recover"
            ),
            ScenarioError::At(place, fault) => write!(f, "{place}: {fault}"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Network => "network",
            Part::Edge => "edge",
            Part::Host => "host",
            Part::Event => "event",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        match self.part {
            Part::Network => f.write_str("network"),
            Part::Edge | Part::Host => write!(f, "{} {:?}", self.part, self.name),
            Part::Event => write!(f, "event {} ({})", self.number, self.name.escape_debug()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Name(name) => write!(
                f,
                "{name:?} is no name; use 1 to {NAME_CHARS_MAX} of the characters a-z A-Z 0-9 - _ ."
            ),
            Fault::Twice { first } => {
                write!(f, "number {first} has this name already; choose another")
            }
            Fault::UnknownHost(name) => {
                write!(f, "there is no host {name:?}; add it or correct the name")
            }
            Fault::UnknownEdge(name) => {
                write!(f, "there is no edge {name:?}; add it or correct the name")
            }
            Fault::Cycle(way) => write!(
                f,
                "edges are in a ring ({}); one of them must be behind none",
                way.join(", behind ").escape_debug()
            ),
            Fault::TooDeep => write!(
                f,
                "more than {EDGE_DEPTH_MAX} edges are behind one another; put some of them behind none"
            ),
            Fault::AfterEnd { at, length } => write!(
                f,
                "{at} is after the end at {length}; choose an earlier time or a greater length"
            ),
            Fault::OutOfRange {
                field,
                value,
                min,
                max,
            } => {
                write!(f, "{field}: {value} is not from {min} to {max}")
            }
            Fault::Reversed { field, low, high } => {
                write!(
                    f,
                    "{field}: {low} is longer than {high}; the shorter one comes first"
                )
            }
            Fault::Content { verb, bytes } => write!(
                f,
                "{bytes} bytes would be {verb} with this event; at most {CONTENT_BYTES_MAX} can be in all, so make files smaller or fewer"
            ),
            Fault::NoTransport => {
                f.write_str("node: no_quic and no_tcp leave nothing to connect by; remove one")
            }
            Fault::NoQuic => f.write_str(
                "links: this program was built without real QUIC; choose \"modelled\", or build scp2p-sim with the feature `quic`",
            ),
            Fault::UnknownField { field, known } => write!(
                f,
                "{field:?} is no field of this event; it has {}",
                known.join(", ")
            ),
        }
    }
}
