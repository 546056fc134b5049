//! The peer: one link at a time, its handshake, and what was asked over it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;
use x25519_dalek::{PublicKey, StaticSecret};

use super::catalog::Catalog;
use super::{EXPORTER, body};
use crate::fuzz::session::params;
use crate::id::LinkId;
use crate::io::{Frame, Input, Lane, LinkError, LinkEvent};
use crate::keys::Keys;
use crate::limits::{FRAME_MAX, LANE_WINDOW};
use crate::session::{Initiator, NonceMemory, Responder};
use crate::time::UnixTime;
use crate::wire::kind::reply_to;
use crate::wire::{
    Answer, AnswerError, Capabilities, Envelope, FrameReader, Hello, HelloFields, Profile, Request,
};

/// The ids of links that the peer opens.
const ACCEPTED: u64 = 1 << 63;

/// The other end.
pub(super) struct Peer {
    keys: Keys,
    /// As a deployed peer of this profile, or as a node of ours.
    profile: Option<Profile>,
    pub(super) catalog: Catalog,
    link: Option<Link>,
    links: u64,
    reads: bool,
    /// Room that the peer owes the node because it did not read.
    unread: Vec<(LinkId, Lane, u32)>,
    /// Links that it closed and of which the node has not heard.
    refused: Vec<LinkId>,
}

struct Link {
    id: LinkId,
    stage: Stage,
    readers: BTreeMap<Lane, FrameReader>,
    room: BTreeMap<Lane, i64>,
    lanes: BTreeMap<Lane, Outgoing>,
    /// What it asked and has no answer to, unless it wrote bytes of its own between.
    asked: BTreeMap<u32, u16>,
    is_wild: bool,
    /// Requests of the node.
    owed: VecDeque<(u32, Request)>,
    next: u32,
}

/// Bytes that wait for the node to read them.
#[derive(Default)]
struct Outgoing {
    granted: u64,
    waiting: VecDeque<Bytes>,
}

enum Stage {
    /// The peer said hello; a node of ours remembers how.
    Opened(Option<Initiator>),
    /// The node opened the link.
    Accepted,
    /// The peer answered the node's hello.
    Answered(Option<Responder>),
    Up,
}

impl Peer {
    pub(super) fn new(profile: Option<Profile>) -> Peer {
        let keys = Keys::from_seed([9; 32]);
        Peer {
            catalog: Catalog::new(keys.public()),
            keys,
            profile,
            link: None,
            links: 0,
            reads: true,
            unread: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Opens a link and says hello on it.
    pub(super) fn connect(&mut self, now: UnixTime) -> Option<LinkId> {
        if self.link.is_some() {
            return None;
        }
        self.links += 1;
        let id = LinkId(ACCEPTED | self.links);
        let (stage, hello) = match self.profile {
            Some(profile) => (Stage::Opened(None), self.hello(profile, None, now)),
            None => {
                let mut params = params(&self.keys, self.links as u8);
                params.exporter = EXPORTER;
                let (initiator, hello) = Initiator::start(params, Profile::C, now);
                (Stage::Opened(Some(initiator)), hello)
            }
        };
        let mut link = Link::new(id, stage);
        link.push(Lane::Control, hello);
        self.link = Some(link);
        Some(id)
    }

    /// Takes a link that the node opens.
    pub(super) fn accept(&mut self, id: LinkId) -> bool {
        if self.link.is_some() {
            return false;
        }
        self.links += 1;
        self.link = Some(Link::new(id, Stage::Accepted));
        true
    }

    pub(super) fn hang_up(&mut self) -> Option<LinkId> {
        self.unread.clear();
        self.link.take().map(|link| link.id)
    }

    /// The node closed a link.
    pub(super) fn closed(&mut self, id: LinkId) {
        if self.link.as_ref().is_some_and(|link| link.id == id) {
            self.hang_up();
        }
    }

    pub(super) fn granted(&mut self, id: LinkId, lane: Lane, bytes: u32) {
        if let Some(link) = self.link.as_mut().filter(|link| link.id == id) {
            let outgoing = link.lanes.entry(lane).or_default();
            outgoing.granted += u64::from(bytes);
            assert!(outgoing.granted <= LANE_WINDOW.into(), "too much granted");
        }
    }

    /// What the node may read now.
    pub(super) fn deliver(&mut self) -> Vec<Input> {
        let closed = |id| Input::Link(id, LinkEvent::Closed(LinkError::Closed));
        let mut inputs: Vec<Input> = self.refused.drain(..).map(closed).collect();
        if let Some(link) = &mut self.link {
            for (lane, outgoing) in &mut link.lanes {
                while let Some(bytes) = outgoing.take() {
                    inputs.push(Input::Link(link.id, LinkEvent::Bytes(*lane, bytes)));
                }
            }
        }
        inputs
    }

    /// Whether the peer makes room for more.
    pub(super) fn reads(&mut self, reads: bool) {
        self.reads = reads;
    }

    /// Takes a frame of the node's.
    pub(super) fn read(
        &mut self,
        id: LinkId,
        lane: Lane,
        frame: Frame,
        now: UnixTime,
    ) -> Vec<Input> {
        let Some(link) = self.link.as_mut().filter(|link| link.id == id) else {
            return Vec::new();
        };
        let len = frame.len() as u32;
        let room = link.room.entry(lane).or_insert(1 << 20);
        assert!(*room > 0, "sent without room");
        *room -= i64::from(len);
        let reader = link.readers.entry(lane);
        let reader = reader.or_insert_with(|| FrameReader::new(FRAME_MAX));
        for piece in [frame.head, frame.body] {
            reader.push(piece);
        }
        while let Some(link) = &mut self.link
            && let Some(reader) = link.readers.get_mut(&lane)
            && let Some(body) = reader.next().expect("the node's frames can be read")
        {
            self.take(&body, now);
        }
        self.unread.push((id, lane, len));
        let Some(link) = self.link.as_mut().filter(|_| self.reads) else {
            return Vec::new();
        };
        let given = core::mem::take(&mut self.unread).into_iter();
        given
            .map(|(id, lane, bytes)| {
                *link.room.entry(lane).or_default() += i64::from(bytes);
                Input::Link(id, LinkEvent::Room(lane, bytes))
            })
            .collect()
    }

    /// Asks what it likes.
    pub(super) fn ask(&mut self, request: &Request) {
        if let Some(link) = self.up() {
            link.next += 1;
            link.asked.insert(link.next, request.kind());
            let frame = request.to_frame(link.next);
            link.push_frame(frame);
        }
    }

    /// Asks with any payload.
    pub(super) fn ask_payload(&mut self, kind: u16, payload: &[u8]) {
        if let Some(link) = self.up() {
            link.next += 1;
            let kind = 100 + kind % 600;
            link.asked.insert(link.next, kind);
            link.push_frame(envelope(kind, link.next, 0, payload));
        }
    }

    /// Answers a request of the node's with any payload.
    pub(super) fn reply_payload(&mut self, which: u8, payload: &[u8]) {
        if let Some(link) = self.up()
            && let Some((id, request)) = link.owed(which)
        {
            let kind = reply_to(request.kind());
            link.push_frame(envelope(kind, id, 1, payload));
        }
    }

    /// Answers a request of the node's as a peer does; with edits: pairs of a place in the payload
    /// and the bits to change there.
    pub(super) fn reply(&mut self, which: u8, edits: Option<&[u8]>) {
        let Some((id, request)) = self.up().and_then(|link| link.owed(which)) else {
            return;
        };
        let kind = request.kind();
        let frame = match self.catalog.answer(&request) {
            Some(answer) => answer.to_frame(kind, id),
            None => Answer::error_frame(kind, id, "not found"),
        };
        let frame = match edits {
            Some(edits) => edit(frame, edits),
            None => frame,
        };
        if let Some(link) = self.up() {
            link.push_frame(frame);
        }
    }

    /// Writes any bytes, whole frames or not.
    pub(super) fn write(&mut self, lane: u8, bytes: &[u8]) {
        if let Some(link) = &mut self.link {
            link.is_wild = true;
            let lane = match lane % 2 {
                0 => Lane::Control,
                _ => Lane::Bulk,
            };
            link.push(lane, Bytes::copy_from_slice(bytes));
        }
    }

    fn up(&mut self) -> Option<&mut Link> {
        let link = self.link.as_mut()?;
        matches!(link.stage, Stage::Up).then_some(link)
    }

    fn take(&mut self, body: &Bytes, now: UnixTime) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        let stage = core::mem::replace(&mut link.stage, Stage::Up);
        match stage {
            Stage::Opened(Some(initiator)) => {
                if let Ok((_, ack)) = initiator.on_hello(body, now) {
                    link.push(Lane::Control, ack);
                }
            }
            Stage::Opened(None) => {
                let theirs = Hello::decode(body).expect("the node's hello");
                if let Some(profile) = self.profile {
                    assert_eq!(theirs.profile(), Some(profile), "not as it was addressed");
                    link.push(Lane::Control, self.hello(profile, Some(theirs.nonce), now));
                }
            }
            Stage::Accepted => match self.answer_hello(body, now) {
                Some((stage, reply)) => {
                    link.stage = stage;
                    link.push(Lane::Control, reply);
                }
                // Deployed peers hang up when they are addressed in another profile.
                None => return self.refused.push(link.id),
            },
            Stage::Answered(responder) => {
                if let Some(responder) = responder {
                    let up = responder.on_ack(body, now);
                    assert!(up.is_ok(), "the node's ack");
                }
            }
            Stage::Up => link.heard(body, self.profile),
        }
        self.link = Some(link);
    }

    fn answer_hello(&self, body: &Bytes, now: UnixTime) -> Option<(Stage, Bytes)> {
        let Some(profile) = self.profile else {
            let mut params = params(&self.keys, self.links as u8);
            params.exporter = EXPORTER;
            let memory = &mut NonceMemory::new();
            let answered = Responder::on_client_hello(params, body, now, memory);
            let (responder, reply) = answered.expect("the node's hello");
            return Some((Stage::Answered(Some(responder)), reply));
        };
        let theirs = Hello::decode(body).expect("the node's hello");
        (theirs.profile() == Some(profile)).then(|| {
            let reply = self.hello(profile, Some(theirs.nonce), now);
            (Stage::Answered(None), reply)
        })
    }

    /// The frame of a deployed peer's hello.
    fn hello(&self, profile: Profile, echoed_nonce: Option<[u8; 32]>, now: UnixTime) -> Bytes {
        let number = self.links as u8;
        let fields = HelloFields {
            capabilities: Capabilities::node(),
            nonce: [number; 32],
            echoed_nonce,
            timestamp: now,
            ephemeral: PublicKey::from(&StaticSecret::from([number; 32])).to_bytes(),
        };
        let body = Hello::sign(self.keys.signing(), profile, fields).encode();
        let mut frame = Vec::from((body.len() as u32).to_be_bytes());
        frame.extend_from_slice(&body);
        frame.into()
    }
}

impl Link {
    fn new(id: LinkId, stage: Stage) -> Link {
        Link {
            id,
            stage,
            readers: BTreeMap::new(),
            room: BTreeMap::new(),
            lanes: BTreeMap::new(),
            asked: BTreeMap::new(),
            is_wild: false,
            owed: VecDeque::new(),
            next: 0,
        }
    }

    fn push(&mut self, lane: Lane, bytes: Bytes) {
        let outgoing = self.lanes.entry(lane).or_default();
        outgoing.waiting.push_back(bytes);
    }

    fn push_frame(&mut self, frame: Frame) {
        self.push(Lane::Control, frame.head);
        self.push(Lane::Control, frame.body);
    }

    /// Removes a request of the node's.
    fn owed(&mut self, which: u8) -> Option<(u32, Request)> {
        let count = self.owed.len();
        self.owed.remove(usize::from(which).checked_rem(count)?)
    }

    /// An envelope of the node's: an answer to what was asked, or a request that can be read.
    fn heard(&mut self, body: &Bytes, profile: Option<Profile>) {
        let envelope = Envelope::decode(body).expect("the node's envelope");
        if !envelope.is_response() {
            let request = Request::decode(envelope.kind, &envelope.payload);
            let request = request.expect("the node's request");
            assert!(
                profile.is_none() || !Request::is_extension(envelope.kind),
                "deployed peers do not know it"
            );
            return self.owed.push_back((envelope.req_id, request));
        }
        let Some(kind) = self.asked.remove(&envelope.req_id) else {
            return assert!(self.is_wild, "an answer to nothing");
        };
        match Answer::decode(kind, &envelope) {
            Ok(_) | Err(AnswerError::Refused { .. }) => {}
            Err(error) => assert!(self.is_wild, "{error}"),
        }
    }
}

impl Outgoing {
    fn take(&mut self) -> Option<Bytes> {
        while self.waiting.front().is_some_and(Bytes::is_empty) {
            self.waiting.pop_front();
        }
        let first = self.waiting.front_mut().filter(|_| self.granted > 0)?;
        let most = usize::try_from(self.granted).unwrap_or(usize::MAX);
        let bytes = first.split_to(first.len().min(most));
        self.granted -= bytes.len() as u64;
        Some(bytes)
    }
}

fn envelope(kind: u16, req_id: u32, flags: u16, payload: &[u8]) -> Frame {
    let envelope = Envelope {
        kind,
        req_id,
        flags,
        payload: Bytes::copy_from_slice(payload),
    };
    envelope.into_frame()
}

fn edit(frame: Frame, edits: &[u8]) -> Frame {
    let mut envelope = Envelope::decode(&body(frame)).expect("our own envelopes can be read");
    let mut payload = envelope.payload.to_vec();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]]));
        if edit[2] == 0 {
            payload.truncate(at);
        } else if let Some(byte) = payload.get_mut(at) {
            *byte ^= edit[2];
        }
    }
    envelope.payload = payload.into();
    envelope.into_frame()
}
