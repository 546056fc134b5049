//! Hellos and requests that were said before.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use scp2p_proto::id::LinkId;
use scp2p_proto::io::Lane;
use scp2p_proto::limits::HANDSHAKE_FRAME_MAX;
use scp2p_proto::session::Initiator;
use scp2p_proto::time::Time;
use scp2p_proto::wire::{Envelope, FrameReader, Profile, Request};

use super::talker::{Asked, Policy, Talker, Way};

/// Conversations and requests that it remembers.
const KEPT_MAX: usize = 32;
/// A call that it took and said nothing on is ended after this time.
const LISTENING_MAX: Duration = Duration::from_secs(20);

/// Says again what it heard or said.
#[derive(Debug, Default)]
pub(super) struct Replayer {
    turns: u64,
    links: BTreeMap<LinkId, Recording>,
    /// All that an initiator said until its session was up, in one piece.
    conversations: VecDeque<Bytes>,
    /// Answers to hellos.
    answers: VecDeque<Bytes>,
    requests: VecDeque<Request>,
}

#[derive(Debug)]
enum Recording {
    /// It makes a genuine session, to say the same again later.
    Genuine(Option<Box<Initiator>>, Bytes),
    /// Somebody dialled, whose hello it wants.
    Caller(Time),
    /// It repeats a conversation, and looks at what comes of it.
    Repeat(FrameReader),
}

impl Policy for Replayer {
    fn turn(&mut self, talker: &mut Talker) {
        self.turns += 1;
        talker.keep_sessions(Way::Ours);
        let now = talker.now.mono;
        let is_over = |recording: &Recording| match recording {
            Recording::Caller(since) => now >= *since + LISTENING_MAX,
            Recording::Genuine(..) | Recording::Repeat(_) => false,
        };
        let over: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, it)| is_over(it))
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            talker.close(id);
        }
        if let Some(target) = talker.target()
            && self.links.len() < KEPT_MAX
        {
            talker.dial(&target, Way::Raw);
        }
        let requests: Vec<Request> = self.requests.iter().cloned().collect();
        if let (Some(link), Some(request)) = (talker.session(), talker.rng.pick(&requests)) {
            // Twice at once, under the same number.
            for _ in 0..2 {
                talker.send_frame(link, Lane::Control, request.to_frame(7));
            }
            talker.deed("requests repeated");
        }
    }

    fn accepts(&mut self, talker: &mut Talker, link: LinkId) -> Way {
        if talker.rng.chance(1, 2) {
            return Way::Ours;
        }
        self.links.insert(link, Recording::Caller(talker.now.mono));
        Way::Raw
    }

    fn opened(&mut self, talker: &mut Talker, link: LinkId) {
        let Some(exporter) = talker.info(link).map(|info| info.exporter) else {
            return;
        };
        let repeated = (!self.turns.is_multiple_of(4))
            .then(|| {
                let index = talker.rng.below(self.conversations.len() as u64);
                self.conversations.get(index as usize).cloned()
            })
            .flatten();
        if let Some(conversation) = repeated {
            let reader = FrameReader::new(HANDSHAKE_FRAME_MAX);
            self.links.insert(link, Recording::Repeat(reader));
            talker.send(link, Lane::Control, conversation);
            return talker.deed("conversations repeated");
        }
        let keys = talker.keys.clone();
        let (initiator, hello) = if talker.rng.chance(1, 2) {
            let params = talker.params(&keys, exporter);
            let (initiator, hello) = Initiator::start(params, Profile::C, talker.told_time());
            (Some(Box::new(initiator)), hello)
        } else {
            (None, talker.deployed_hello(&keys, None))
        };
        talker.send(link, Lane::Control, hello.clone());
        self.links
            .insert(link, Recording::Genuine(initiator, hello));
    }

    fn raw(&mut self, talker: &mut Talker, link: LinkId, _lane: Lane, bytes: Bytes) {
        match self.links.get_mut(&link) {
            Some(Recording::Genuine(initiator, hello)) => {
                let hello = hello.clone();
                let initiator = initiator.take();
                self.end_genuine(talker, link, initiator, &hello, &bytes);
            }
            Some(Recording::Caller(_)) => {
                self.keep(bytes);
                talker.deed("hellos recorded");
                // An answer that was made for another.
                let answer = self.answers.front().cloned();
                if let Some(answer) = answer {
                    talker.send(link, Lane::Control, answer);
                    talker.deed("answers repeated");
                }
            }
            Some(Recording::Repeat(reader)) => {
                reader.push(bytes);
                while let Ok(Some(body)) = reader.next() {
                    let is_reply = Envelope::decode(&body).is_ok();
                    let deed = if is_reply {
                        "repeats accepted"
                    } else {
                        "repeats answered"
                    };
                    talker.deed(deed);
                }
            }
            None => {}
        }
    }

    fn request(&mut self, talker: &mut Talker, asked: Asked) {
        if matches!(asked.request, Request::Store(_) | Request::HeadAnnounce(_)) {
            self.requests.push_back(asked.request.clone());
            if self.requests.len() > KEPT_MAX {
                self.requests.pop_front();
            }
        }
        talker.answer_well(&asked);
    }

    fn gone(&mut self, _talker: &mut Talker, link: LinkId) {
        self.links.remove(&link);
    }
}

impl Replayer {
    /// Ends a genuine handshake with a request, and hangs up.
    fn end_genuine(
        &mut self,
        talker: &mut Talker,
        link: LinkId,
        initiator: Option<Box<Initiator>>,
        hello: &Bytes,
        answer: &Bytes,
    ) {
        let keys = talker.keys.clone();
        let body = answer.slice(4.min(answer.len())..);
        let ack = match initiator {
            Some(initiator) => initiator
                .on_hello(&body, talker.told_time())
                .ok()
                .map(|(_, ack)| ack),
            None => scp2p_proto::wire::Hello::decode(&body)
                .ok()
                .map(|theirs| talker.deployed_hello(&keys, Some(theirs.nonce))),
        };
        let Some(ack) = ack else {
            return talker.close(link);
        };
        self.answers.push_front(answer.clone());
        self.answers.truncate(KEPT_MAX);
        let request = Request::PexRequest { max_peers: 9 }.to_frame(1);
        let rest = [&ack[..], &request.head, &request.body].concat();
        talker.send(link, Lane::Control, rest.clone());
        self.keep([hello, &rest[..]].concat().into());
        talker.deed("conversations recorded");
        talker.close(link);
    }

    fn keep(&mut self, conversation: Bytes) {
        self.conversations.push_front(conversation);
        self.conversations.truncate(KEPT_MAX);
    }
}
