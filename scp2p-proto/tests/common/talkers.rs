//! A node and peers that are none: they open sessions with it and send whatever a test has them send, at once and as
//! many as it likes.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use scp2p_proto::Node;
use scp2p_proto::config::Config;
use scp2p_proto::id::{CircuitId, LinkId, NodeKey};
use scp2p_proto::io::{
    DialError, Frame, Input, Lane, LinkError, LinkEvent, LinkInfo, Output, Transport,
};
use scp2p_proto::keys::Keys;
use scp2p_proto::limits::FRAME_MAX;
use scp2p_proto::rng::Rng;
use scp2p_proto::session::{Initiator, Params};
use scp2p_proto::storage::Saved;
use scp2p_proto::time::{Now, Time, UnixTime};
use scp2p_proto::wire::{
    Answer, Capabilities, CircuitFrame, Envelope, FrameReader, Profile, Request,
};

use super::{Disk, START};

/// What the transport holds of what a peer has not read.
const SOCKET: u32 = 1 << 20;

/// The node, and all who talk to it.
pub struct Hub {
    pub node: Node,
    pub now: Now,
    /// Bytes of circuits that the node was sent and has not sent on.
    pub held: i64,
    /// Whether talkers keep the node waiting that asks whether a session may end.
    pub leaves_parts: bool,
    disk: Disk,
    rng: Rng,
    talkers: BTreeMap<LinkId, Talker>,
    links: u64,
    /// What the node is told next.
    inputs: VecDeque<Input>,
}

struct Talker {
    stage: Stage,
    frames: FrameReader,
    heard: Vec<Envelope>,
    reads: bool,
    granted: u64,
    asked: BTreeMap<u32, u16>,
    next: u32,
}

enum Stage {
    Opening(Box<Initiator>),
    Up,
}

/// What a peer heard of a circuit or of its requests.
pub enum Heard {
    Circuit(CircuitId, CircuitFrame),
    /// Somebody opened a circuit to it, which it took.
    Incoming(CircuitId),
    /// The node asked whether the session may end, with this number.
    Part(u32),
    /// An answer, by the number of the request.
    Answer(u32, Result<Answer, String>),
}

impl Hub {
    pub fn new(config: Config) -> Hub {
        let now = Now {
            mono: Time(1),
            unix: UnixTime(START),
        };
        let keys = Keys::from_seed([1; 32]);
        Hub {
            node: Node::new(config, keys, [2; 32], Saved::default(), now),
            now,
            held: 0,
            leaves_parts: false,
            disk: Disk::default(),
            rng: Rng::new(&[3; 32], "talkers"),
            talkers: BTreeMap::new(),
            links: 0,
            inputs: VecDeque::new(),
        }
    }

    /// The key that a peer of this number has.
    pub fn key(number: u32) -> NodeKey {
        keys(number).public()
    }

    /// A peer opens a session over TLS, which the node may close at once. If it does not read, what the node sends stays
    /// in the transport, and when that is full in the node; the test sees it all the same.
    pub fn meet(&mut self, number: u32, ip: IpAddr, reads: bool) -> LinkId {
        self.links += 1;
        let link = LinkId(1 << 63 | self.links);
        let mut random = [0; 32 + 11 + 32];
        self.rng.fill(&mut random);
        let (exporter, rest) = random.split_first_chunk().expect("enough");
        let (nonce_random, rest) = rest.split_first_chunk().expect("enough");
        let params = Params {
            keys: &keys(number),
            capabilities: Capabilities::node(),
            exporter: *exporter,
            nonce_random: *nonce_random,
            ephemeral: rest.try_into().expect("as many"),
            expected: None,
        };
        let (initiator, hello) = Initiator::start(params, Profile::C, self.now.unix);
        let talker = Talker {
            stage: Stage::Opening(Box::new(initiator)),
            frames: FrameReader::new(FRAME_MAX),
            heard: Vec::new(),
            reads,
            granted: 0,
            asked: BTreeMap::new(),
            next: 0,
        };
        self.talkers.insert(link, talker);
        let info = LinkInfo {
            transport: Transport::Tcp,
            remote: SocketAddr::new(ip, 40_000),
            exporter: *exporter,
        };
        let room = LinkEvent::Room(Lane::Control, SOCKET);
        for event in [LinkEvent::Accepted(info), room] {
            self.inputs.push_back(Input::Link(link, event));
        }
        self.settle();
        self.bytes(link, hello);
        link
    }

    pub fn is_up(&self, link: LinkId) -> bool {
        self.talkers.contains_key(&link)
    }

    /// What a peer heard since it was asked last.
    pub fn heard(&mut self, link: LinkId) -> Vec<Heard> {
        let Some(talker) = self.talkers.get_mut(&link) else {
            return Vec::new();
        };
        let heard = std::mem::take(&mut talker.heard).into_iter();
        let heard = heard.filter_map(|envelope| match CircuitFrame::decode(&envelope) {
            Ok(Some(frame)) => Some(Heard::Circuit(CircuitId(envelope.req_id), frame)),
            _ if envelope.is_response() => {
                let kind = talker.asked.remove(&envelope.req_id)?;
                let answer = Answer::decode(kind, &envelope);
                let answer = answer.map_err(|error| error.to_string());
                Some(Heard::Answer(envelope.req_id, answer))
            }
            _ => match Request::decode(envelope.kind, &envelope.payload) {
                Ok(Request::Incoming(new)) => Some(Heard::Incoming(new.circuit)),
                Ok(Request::Part) => Some(Heard::Part(envelope.req_id)),
                _ => None,
            },
        });
        heard.collect()
    }

    /// A peer asks; with the number of the request.
    pub fn ask(&mut self, link: LinkId, request: &Request) -> u32 {
        let Some(talker) = self.talkers.get_mut(&link) else {
            return 0;
        };
        talker.next += 1;
        let number = talker.next;
        talker.asked.insert(number, request.kind());
        self.send(link, [request.to_frame(number)]);
        number
    }

    /// A peer asks and gets an answer.
    pub fn asked(&mut self, link: LinkId, request: &Request) -> Result<Answer, String> {
        let number = self.ask(link, request);
        let heard = self.heard(link).into_iter();
        let answers = heard.filter_map(|heard| match heard {
            Heard::Answer(asked, answer) if asked == number => Some(answer),
            Heard::Answer(..) | Heard::Circuit(..) | Heard::Incoming(_) | Heard::Part(_) => None,
        });
        answers.last().expect("nobody is waited for")
    }

    /// A peer sends these frames, which arrive together.
    pub fn send(&mut self, link: LinkId, frames: impl IntoIterator<Item = Frame>) {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend_from_slice(&frame.head);
            bytes.extend_from_slice(&frame.body);
        }
        self.bytes(link, bytes.into());
    }

    /// A peer sends something on a circuit.
    pub fn data(&mut self, link: LinkId, circuit: CircuitId, bytes: Bytes) {
        self.held += bytes.len() as i64;
        self.send(link, [CircuitFrame::Data(bytes).to_frame(circuit)]);
    }

    pub fn hang_up(&mut self, link: LinkId) {
        if self.talkers.remove(&link).is_some() {
            let closed = LinkEvent::Closed(LinkError::Closed);
            self.inputs.push_back(Input::Link(link, closed));
            self.settle();
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now.mono + span;
        while let Some((at, _)) = self.node.deadline().filter(|(at, _)| *at <= end) {
            self.turn_to(at);
            self.inputs.push_back(Input::Tick);
            self.settle();
        }
        self.turn_to(end);
    }

    /// What is wrong with the node.
    pub fn check(&self) {
        assert_eq!(self.node.check(), Vec::<String>::new());
    }

    fn turn_to(&mut self, at: Time) {
        self.now.mono = self.now.mono.max(at);
        self.now.unix = UnixTime(START + self.now.mono.0 / 1_000_000);
    }

    fn bytes(&mut self, link: LinkId, bytes: Bytes) {
        let Some(talker) = self.talkers.get_mut(&link) else {
            return;
        };
        let left = talker.granted.checked_sub(bytes.len() as u64);
        talker.granted = left.expect("a driver reads no more than it may");
        let event = LinkEvent::Bytes(Lane::Control, bytes);
        self.inputs.push_back(Input::Link(link, event));
        self.settle();
    }

    /// Has the node deal with all that it is told.
    fn settle(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            self.node.handle(self.now, input);
            while let Some(output) = self.node.poll_output() {
                self.carry_out(output);
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send(link, _, frame) => self.read(link, frame),
            Output::Grant(link, _, bytes) => {
                if let Some(talker) = self.talkers.get_mut(&link) {
                    talker.granted += u64::from(bytes);
                }
            }
            Output::Close(link, _) => {
                self.talkers.remove(&link);
            }
            Output::Dial(link, _) => {
                let failed = LinkEvent::Failed(DialError::Refused);
                self.inputs.push_back(Input::Link(link, failed));
            }
            Output::Load(id, load) => {
                let loaded = self.disk.load(load);
                self.inputs.push_back(Input::Loaded(id, loaded));
            }
            Output::Write(id, piece) => {
                let written = self.disk.write(piece);
                self.inputs.push_back(Input::Written(id, written));
            }
            Output::Commit(id, batch) => {
                let committed = self.disk.commit(batch);
                self.inputs.push_back(Input::Committed(id, committed));
            }
            Output::Done(..) | Output::Event(_) => {}
        }
    }

    /// A peer gets a frame, which leaves the node whether it is read or not.
    fn read(&mut self, link: LinkId, frame: Frame) {
        let Some(talker) = self.talkers.get_mut(&link) else {
            return;
        };
        let len = frame.len() as u32;
        for piece in [frame.head, frame.body] {
            talker.frames.push(piece);
        }
        let body = talker.frames.next().expect("a frame");
        let body = body.expect("all of it");
        let mut replies = Vec::new();
        match std::mem::replace(&mut talker.stage, Stage::Up) {
            Stage::Opening(initiator) => {
                let established = initiator.on_hello(&body, self.now.unix);
                replies.push(established.expect("an honest node").1);
            }
            Stage::Up => {
                let envelope = Envelope::decode(&body).expect("an envelope");
                match CircuitFrame::decode(&envelope) {
                    Ok(Some(CircuitFrame::Data(bytes))) => self.held -= bytes.len() as i64,
                    Ok(Some(_)) | Err(_) => {}
                    Ok(None) if envelope.is_response() => {}
                    Ok(None) if self.leaves_parts && envelope.kind == Request::Part.kind() => {}
                    Ok(None) => replies.push(reply(&envelope)),
                }
                talker.heard.push(envelope);
            }
        }
        if talker.reads {
            let room = LinkEvent::Room(Lane::Control, len);
            self.inputs.push_back(Input::Link(link, room));
        }
        for bytes in replies {
            talker.granted = talker.granted.saturating_sub(bytes.len() as u64);
            let event = LinkEvent::Bytes(Lane::Control, bytes);
            self.inputs.push_back(Input::Link(link, event));
        }
    }
}

fn keys(number: u32) -> Keys {
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    Keys::from_seed(seed)
}

/// Circuits are taken, and nothing else is known.
fn reply(request: &Envelope) -> Bytes {
    let (kind, id) = (request.kind, request.req_id);
    let frame = match Request::decode(kind, &request.payload) {
        Ok(Request::Incoming(_)) => Answer::Ack.to_frame(kind, id),
        Ok(_) | Err(_) => Answer::error_frame(kind, id, "not found"),
    };
    [frame.head, frame.body].concat().into()
}
