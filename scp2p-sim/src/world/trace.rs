//! What a run did, a line for each step.

use std::fmt::{self, Write};

use scp2p_proto::io::{Input, Output};

use crate::scenario::Span;

/// Characters of a line's input, and of each of its outputs.
const SHOWN_MAX: usize = 160;

/// One input of one host and what its program asked for in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Inputs of all hosts before this one.
    pub number: u64,
    /// When it was, since the start of the run.
    pub at: Span,
    /// The host's name.
    pub host: String,
    /// The input, its start if it is long.
    pub input: String,
    /// The outputs in their order, their starts if they are long.
    pub outputs: Vec<String>,
    /// BLAKE3 over all of the input and the outputs.
    pub hash: [u8; 32],
}

/// A step of which not all outputs are known yet.
pub(super) struct Begun {
    step: Step,
    hasher: blake3::Hasher,
    text: String,
}

impl Begun {
    pub(super) fn new(number: u64, at: Span, host: &str, input: &Input) -> Begun {
        let mut begun = Begun {
            step: Step {
                number,
                at,
                host: host.to_owned(),
                input: String::new(),
                outputs: Vec::new(),
                hash: [0; 32],
            },
            hasher: blake3::Hasher::new(),
            text: String::new(),
        };
        begun.step.input = begun.note(input);
        begun
    }

    pub(super) fn output(&mut self, output: &Output) {
        let text = self.note(output);
        self.step.outputs.push(text);
    }

    pub(super) fn end(self) -> Step {
        Step {
            hash: *self.hasher.finalize().as_bytes(),
            ..self.step
        }
    }

    fn note(&mut self, what: &impl fmt::Debug) -> String {
        self.text.clear();
        // Writing into a String cannot fail.
        let _ = write!(self.text, "{what:?}");
        self.hasher.update(self.text.as_bytes());
        match self.text.char_indices().nth(SHOWN_MAX) {
            Some((end, _)) => format!("{}…", &self.text[..end]),
            None => self.text.clone(),
        }
    }
}

/// One line: number, time, host, a hash over the step, input and outputs.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.number, self.at, self.host)?;
        for byte in &self.hash[..8] {
            write!(f, "{byte:02x}")?;
        }
        write!(f, " {}", self.input)?;
        self.outputs
            .iter()
            .try_for_each(|output| write!(f, " -> {output}"))
    }
}
