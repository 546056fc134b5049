//! What relays must never see: names, ids and contents of shares are canaries, and what honest hosts send on circuits, as
//! their ends and as their relays, is looked through for them. Relays hold nothing of circuits but what is sent on them.

use std::collections::BTreeMap;

use bytes::Bytes;
use scp2p_proto::id::CircuitId;
use scp2p_proto::io::Frame;
use scp2p_proto::wire::CircuitFrame;

use super::World;
use crate::id::HostId;

/// Bytes of a canary; so many random ones are nowhere by chance.
const LEN: usize = 32;
/// Bytes by which one is known at first sight.
const WINDOW: usize = 8;
/// How far apart the windows are that are looked at: a canary has one of them wherever it begins.
const STRIDE: usize = LEN - WINDOW + 1;
/// So many bits of a window tell of most that they are of no canary.
const FILTER_BITS: u32 = 20;
/// Bytes of a frame's length.
const LENGTH: usize = 4;

/// All canaries of a world.
#[derive(Debug)]
pub(super) struct Canaries {
    all: Vec<(&'static str, [u8; LEN])>,
    /// By each window of a canary which one it is of, and where it begins there.
    windows: BTreeMap<[u8; WINDOW], (usize, usize)>,
    filter: Vec<bool>,
    /// How data on circuits begins, after the length of the frame and before the circuit's number.
    data: Bytes,
}

impl Default for Canaries {
    fn default() -> Canaries {
        let head = |circuit| {
            CircuitFrame::Data(Bytes::new())
                .to_frame(CircuitId(circuit))
                .head
        };
        let (one, other) = (head(1), head(2));
        let same = one
            .iter()
            .zip(&other)
            .take_while(|(one, other)| one == other);
        Canaries {
            all: Vec::new(),
            windows: BTreeMap::new(),
            filter: vec![false; 1 << FILTER_BITS],
            data: one.slice(LENGTH..same.count()),
        }
    }
}

impl Canaries {
    /// From now on the first bytes of this are a canary, if there are as many.
    pub(super) fn plant(&mut self, what: &'static str, bytes: &[u8]) {
        let Some(canary) = bytes.first_chunk::<LEN>() else {
            return;
        };
        for (at, window) in canary.windows(WINDOW).enumerate() {
            let Some(window) = window.first_chunk() else {
                continue;
            };
            self.filter[bit(window)] = true;
            self.windows.entry(*window).or_insert((self.all.len(), at));
        }
        self.all.push((what, *canary));
    }

    /// What the first canary in these bytes is.
    fn find(&self, bytes: &[u8]) -> Option<&'static str> {
        let places = (0..bytes.len()).step_by(STRIDE);
        places.into_iter().find_map(|place| {
            let window = bytes[place..].first_chunk()?;
            if !self.filter[bit(window)] {
                return None;
            }
            let (number, at) = self.windows.get(window)?;
            let (what, canary) = self.all[*number];
            let begin = place.checked_sub(*at)?;
            bytes[begin..].starts_with(&canary).then_some(what)
        })
    }

    fn is_data(&self, frame: &Frame) -> bool {
        let head = frame.head.get(LENGTH..);
        head.is_some_and(|head| head.starts_with(&self.data))
    }
}

/// The place of a window in the filter.
fn bit(window: &[u8; WINDOW]) -> usize {
    // Names are text, so that all bits of the window must count.
    let mixed = u64::from_le_bytes(*window).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - FILTER_BITS)) as usize
}

impl World<'_> {
    /// A host sends something.
    pub(super) fn check_sent(&mut self, host: HostId, frame: &Frame) {
        if !self.canaries.is_data(frame) || self.hosts[host.index()].is_villain() {
            return;
        }
        if let Some(what) = self.canaries.find(&frame.body) {
            let what = format!("{what} is sent on a circuit for its relay to read");
            self.violate("relays cannot read what they carry", &[host], what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use scp2p_proto::rng::Rng;

    fn random(label: &str, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        Rng::new(&[1; 32], label).fill(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn a_canary_is_found_wherever_it_is(
            before in 0_usize..200,
            after in 0_usize..200,
            wrong in 0..LEN,
        ) {
            let mut canaries = Canaries::default();
            let [one, other] = ["one", "other"].map(|label| random(label, 100));
            canaries.plant("one", &one);
            canaries.plant("other", &other);
            let among = |canary: &[u8]| [&random("a", before), canary, &random("b", after)].concat();
            prop_assert_eq!(canaries.find(&among(&one[..LEN])), Some("one"));
            prop_assert_eq!(canaries.find(&among(&other[..LEN])), Some("other"));
            let mut like_one = one[..LEN].to_vec();
            like_one[wrong] ^= 1;
            prop_assert_eq!(canaries.find(&among(&like_one)), None);
        }
    }

    #[test]
    fn data_on_circuits_is_told_from_other_frames() {
        let canaries = Canaries::default();
        for circuit in [0, 7, 300, u32::MAX] {
            let to_frame = |frame: CircuitFrame| frame.to_frame(CircuitId(circuit));
            let data = CircuitFrame::Data(Bytes::from_static(b"data"));
            assert!(canaries.is_data(&to_frame(data)));
            assert!(!canaries.is_data(&to_frame(CircuitFrame::Credit(633))));
        }
    }
}
