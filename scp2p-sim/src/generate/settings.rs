//! Nodes that are set up otherwise than by default.

use scp2p_proto::io::Transport;

use super::{HUBS, Made};
use crate::scenario::Span;

impl Made<'_, '_> {
    /// In some runs half of the nodes get settings of their own. Those that listen by one transport only listen by the
    /// same one, so that each has a way to each other; the hubs have both.
    pub(super) fn settings(&mut self) {
        if !self.choices.percent(40) {
            return;
        }
        let missing = self
            .choices
            .one_of([None, Some(Transport::Tcp), Some(Transport::Quic)]);
        for number in 0..self.options.nodes {
            if !self.choices.percent(50) {
                continue;
            }
            let choices = &mut *self.choices;
            let mut span = |secs: [u64; 2]| {
                let [some, other] = secs.map(|secs| Some(Span::secs(secs)));
                choices.one_of([None, some, other])
            };
            let (poll, republish) = (span([10, 120]), span([60, 300]));
            let mut number_of = |[some, other]: [u32; 2]| {
                let all = [None, Some(some), Some(other)];
                self.choices.one_of(all)
            };
            let (items, uploads) = (number_of([0, 2]), number_of([1, 16]));
            let (files, sessions) = (number_of([1, 4]), number_of([2, 6]));
            let lacks = |transport| number >= HUBS && missing == Some(transport);
            let node = &mut self.scenario.hosts[number as usize].node;
            node.poll_interval = poll;
            node.republish_interval = republish;
            node.item_records_max = items;
            node.uploads_per_peer_max = uploads;
            node.files_at_once_max = files;
            node.sessions_kept = sessions;
            node.no_quic = lacks(Transport::Quic);
            node.no_tcp = lacks(Transport::Tcp);
        }
    }
}
