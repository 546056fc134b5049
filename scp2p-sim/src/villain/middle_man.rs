//! Somebody who ends TLS on both sides and passes on everything inside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use scp2p_proto::id::LinkId;
use scp2p_proto::io::{Lane, Transport};
use scp2p_proto::limits::FRAME_MAX;
use scp2p_proto::wire::{Envelope, FrameReader, PeerAddr, Request};

use super::Target;
use super::talker::{Policy, Talker, Way, addrs_of};

/// Frames that wait for the other link to come up.
const HELD_MAX: usize = 16;

/// Sits in between.
#[derive(Debug, Default)]
pub(super) struct MiddleMan {
    /// Each link of a pair, and the other.
    other: BTreeMap<LinkId, Half>,
    turns: u64,
}

#[derive(Debug)]
struct Half {
    other: LinkId,
    /// Whether this end can be sent to.
    is_up: bool,
    /// What waits for that.
    held: Vec<(Lane, Bytes)>,
    /// What this end said.
    said: BTreeMap<Lane, FrameReader>,
}

impl Half {
    fn new(other: LinkId, is_up: bool) -> Half {
        Half {
            other,
            is_up,
            held: Vec::new(),
            said: BTreeMap::new(),
        }
    }
}

impl Policy for MiddleMan {
    fn pace(&self) -> Duration {
        Duration::from_secs(3)
    }

    fn turn(&mut self, talker: &mut Talker) {
        self.turns += 1;
        talker.keep_sessions(Way::Ours);
        // It says that others are where it is, so that it is dialled in their stead.
        if let (Some(link), Some(own)) = (talker.session(), talker.own()) {
            let places = addrs_of(&own);
            let targets: BTreeSet<_> = talker
                .known
                .targets
                .iter()
                .map(|target| target.key)
                .collect();
            let stolen = targets.into_iter().take(16).flat_map(|key| {
                places.iter().map(move |place| PeerAddr {
                    key: Some(key),
                    ..place.clone()
                })
            });
            let stolen = stolen.collect();
            talker.ask(link, Request::PexOffer(stolen));
            talker.deed("names taken");
        }
    }

    fn accepts(&mut self, talker: &mut Talker, near: LinkId) -> Way {
        let Some(info) = talker.info(near).cloned() else {
            return Way::Raw;
        };
        let at = |target: &Target| match info.transport {
            Transport::Quic => target.quic,
            Transport::Tcp => target.tcp,
        };
        let others = talker
            .known
            .targets
            .iter()
            .filter_map(|target| Some((target.key, at(target)?)));
        let others: Vec<_> = others
            .filter(|(_, at)| at.ip() != info.remote.ip())
            .collect();
        let Some((key, at)) = talker.rng.pick(&others).copied() else {
            return Way::Ours;
        };
        if let Some(far) = talker.dial_at(info.transport, at, Some(key), Way::Raw) {
            self.other.insert(near, Half::new(far, true));
            self.other.insert(far, Half::new(near, false));
            talker.deed("callers taken");
        }
        Way::Raw
    }

    fn opened(&mut self, talker: &mut Talker, far: LinkId) {
        if let Some(half) = self.other.get_mut(&far) {
            half.is_up = true;
            for (lane, bytes) in half.held.drain(..) {
                talker.send(far, lane, bytes);
            }
        }
    }

    fn raw(&mut self, talker: &mut Talker, from: LinkId, lane: Lane, bytes: Bytes) {
        let Some(half) = self.other.get_mut(&from) else {
            return;
        };
        let reader = half.said.entry(lane);
        let reader = reader.or_insert_with(|| FrameReader::new(FRAME_MAX));
        reader.push(bytes.clone());
        while let Ok(Some(body)) = reader.next() {
            let is_session = Envelope::decode(&body).is_ok();
            talker.deed(if is_session {
                "frames overheard"
            } else {
                "hellos passed on"
            });
        }
        let to = half.other;
        let Some(half) = self.other.get_mut(&to) else {
            return;
        };
        if half.is_up {
            talker.send(to, lane, bytes);
        } else if half.held.len() < HELD_MAX {
            half.held.push((lane, bytes));
        }
    }

    fn gone(&mut self, talker: &mut Talker, link: LinkId) {
        if let Some(half) = self.other.remove(&link) {
            talker.close(half.other);
            talker.deed("callers lost");
        }
    }
}
