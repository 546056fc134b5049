//! Where outputs wait for the driver, and what circuits are asked for the relay's part of the node.

use alloc::collections::VecDeque;

use crate::id::LinkId;
use crate::io::{Frame, Lane, Output};

/// Outputs in the order of their causes. Links that are circuits have no driver: what they are asked goes to
/// [`Relay`](crate::relay::Relay), by way of the node.
#[derive(Default)]
pub(crate) struct Outbox {
    driver: VecDeque<Output>,
    circuits: VecDeque<(LinkId, ForCircuit)>,
}

/// What a link that is a circuit is asked.
#[derive(Debug)]
pub(crate) enum ForCircuit {
    Send(Frame),
    Grant(u32),
    Close,
}

impl Outbox {
    pub(crate) fn push_back(&mut self, output: Output) {
        match output {
            Output::Send(link, _, frame) if link.is_circuit() => {
                self.circuits.push_back((link, ForCircuit::Send(frame)));
            }
            Output::Grant(link, lane, bytes) if link.is_circuit() => {
                // A circuit has one lane.
                if lane == Lane::Control {
                    self.circuits.push_back((link, ForCircuit::Grant(bytes)));
                }
            }
            Output::Close(link, _) if link.is_circuit() => {
                self.circuits.push_back((link, ForCircuit::Close));
            }
            output @ (Output::Dial(..)
            | Output::Send(..)
            | Output::Grant(..)
            | Output::Close(..)
            | Output::Load(..)
            | Output::Write(..)
            | Output::Commit(..)
            | Output::Done(..)
            | Output::Event(_)) => self.driver.push_back(output),
        }
    }

    /// The next for the driver.
    pub(crate) fn pop_front(&mut self) -> Option<Output> {
        self.driver.pop_front()
    }

    /// The next for a circuit.
    pub(crate) fn pop_circuit(&mut self) -> Option<(LinkId, ForCircuit)> {
        self.circuits.pop_front()
    }

    /// Whether the driver has nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.driver.is_empty()
    }
}
