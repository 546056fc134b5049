//! What all villains can do: everything that a node does on the wire, without its scruples.

mod actor;
mod greet;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use scp2p_proto::id::{CircuitId, LinkId, NodeKey};
use scp2p_proto::io::{CloseCode, Dial, Frame, Host, Lane, LinkEvent, LinkInfo, Output, Transport};
use scp2p_proto::keys::Keys;
use scp2p_proto::limits::{FRAME_MAX, HANDSHAKE_FRAME_MAX};
use scp2p_proto::rng::Rng;
use scp2p_proto::session::{Grants, Initiator, NonceMemory, Responder, Room};
use scp2p_proto::time::{Now, Time};
use scp2p_proto::wire::{
    Answer, AnswerError, Capabilities, CircuitFrame, Envelope, FrameReader, Have, Listening,
    Observed, PeerAddr, Request,
};

use super::{Deeds, Knowledge, Target};

pub(super) use actor::{Actor, Policy};
pub(super) use greet::framed;

/// Links of a villain at a time.
const LINKS_MAX: usize = 256;
/// Requests of a villain that wait for an answer, per link.
const CALLS_MAX: usize = 512;
/// A link that is not up after this time is given up.
const OPENING_MAX: Duration = Duration::from_secs(15);
/// A target is dialled again after this time.
const REDIAL: Duration = Duration::from_secs(10);
/// Where it assumes to listen if nobody says.
const PORTS: (u16, u16) = (7000, 7001);

/// What is spoken on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The protocol, as a node of ours.
    Ours,
    /// The protocol, as a deployed peer of the newest profile.
    Deployed,
    /// Bytes that the policy makes and reads itself.
    Raw,
}

/// A request of an honest node.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Over which link.
    pub link: LinkId,
    /// Its number.
    pub req_id: u32,
    /// What.
    pub request: Request,
}

/// What the policy is told.
#[derive(Debug)]
enum Heard {
    /// Somebody dialled; how to speak is to be decided.
    Accepted(LinkId),
    /// A link dialled to be raw is up.
    Opened(LinkId),
    Raw(LinkId, Lane, Bytes),
    Up(LinkId),
    Request(Asked),
    Reply(LinkId, Request, Result<Answer, AnswerError>),
    Circuit(LinkId, CircuitId, CircuitFrame),
    Gone(LinkId),
}

#[derive(Debug)]
enum Stage {
    Dialing,
    /// The bytes are the policy's.
    Raw,
    /// It said hello; a node of ours remembers how.
    Opened(Option<Box<Initiator>>),
    /// Somebody dialled.
    Accepted,
    /// It answered a hello.
    Answered(Option<Box<Responder>>),
    Up,
}

#[derive(Debug)]
struct Link {
    way: Way,
    stage: Stage,
    /// Who was dialled, or who it turned out to be.
    key: Option<NodeKey>,
    info: Option<LinkInfo>,
    since: Time,
    control: FrameReader,
    bulk: FrameReader,
    room: Room,
    grants: Grants,
    reads: bool,
    calls: BTreeMap<u32, Request>,
    next_call: u32,
}

/// Links, sessions, requests and answers of a villain.
#[derive(Debug)]
pub(super) struct Talker {
    pub keys: Keys,
    pub rng: Rng,
    pub now: Now,
    pub known: Knowledge,
    /// What it says in hellos that it does.
    pub capabilities: Capabilities,
    /// Added to the clock where it is written into hellos.
    pub lie: i64,
    links: BTreeMap<LinkId, Link>,
    last_link: u64,
    /// When targets were dialled for a session.
    dialled: BTreeMap<NodeKey, Time>,
    nonces: NonceMemory,
    own_ip: Option<IpAddr>,
    heard: VecDeque<Heard>,
    out: VecDeque<Output>,
    deeds: Deeds,
}

impl Talker {
    pub fn new(keys: Keys, rng: Rng, known: Knowledge) -> Talker {
        Talker {
            keys,
            rng,
            now: Now::default(),
            known,
            capabilities: Capabilities::node(),
            lie: 0,
            links: BTreeMap::new(),
            last_link: 0,
            dialled: BTreeMap::new(),
            nonces: NonceMemory::new(),
            own_ip: None,
            heard: VecDeque::new(),
            out: VecDeque::new(),
            deeds: Deeds::default(),
        }
    }

    /// Notes that something was done.
    pub fn deed(&mut self, deed: &'static str) {
        self.deeds.add(deed);
    }

    /// So many random bytes.
    pub fn noise(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.rng.fill(&mut bytes);
        bytes
    }

    pub fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill(&mut bytes);
        bytes
    }

    /// One of the targets.
    pub fn target(&mut self) -> Option<Target> {
        self.rng.pick(&self.known.targets).cloned()
    }

    /// Opens a link to a target, over either of its transports.
    pub fn dial(&mut self, target: &Target, way: Way) -> Option<LinkId> {
        let quic = target.quic.map(|at| (Transport::Quic, at));
        let tcp = target.tcp.map(|at| (Transport::Tcp, at));
        let places: Vec<_> = quic.into_iter().chain(tcp).collect();
        let (transport, at) = *self.rng.pick(&places)?;
        self.dial_at(transport, at, Some(target.key), way)
    }

    /// Opens a link.
    pub fn dial_at(
        &mut self,
        transport: Transport,
        at: SocketAddr,
        key: Option<NodeKey>,
        way: Way,
    ) -> Option<LinkId> {
        if self.links.len() >= LINKS_MAX {
            return None;
        }
        self.last_link += 1;
        let id = LinkId(self.last_link);
        let link = Link::new(way, Stage::Dialing, key, self.now.mono);
        self.links.insert(id, link);
        let host = Host::Ip(at.ip());
        let port = at.port();
        let dial = Dial {
            transport,
            host,
            port,
        };
        self.out.push_back(Output::Dial(id, dial));
        Some(id)
    }

    /// Dials the targets that it has no session with and did not dial lately.
    pub fn keep_sessions(&mut self, way: Way) {
        let have: BTreeSet<NodeKey> = self.links.values().filter_map(|link| link.key).collect();
        let now = self.now.mono;
        for target in self.known.targets.clone() {
            let lately = |at: &Time| now < *at + REDIAL;
            if have.contains(&target.key) || self.dialled.get(&target.key).is_some_and(lately) {
                continue;
            }
            self.dialled.insert(target.key, now);
            self.dial(&target, way);
        }
    }

    /// Links with a session.
    pub fn sessions(&self) -> Vec<LinkId> {
        let up = |(id, link): (&LinkId, &Link)| matches!(link.stage, Stage::Up).then_some(*id);
        self.links.iter().filter_map(up).collect()
    }

    /// One of the sessions.
    pub fn session(&mut self) -> Option<LinkId> {
        let sessions = self.sessions();
        self.rng.pick(&sessions).copied()
    }

    pub fn is_open(&self, id: LinkId) -> bool {
        self.links.contains_key(&id)
    }

    pub fn info(&self, id: LinkId) -> Option<&LinkInfo> {
        self.links.get(&id)?.info.as_ref()
    }

    /// Asks over a session.
    pub fn ask(&mut self, id: LinkId, request: Request) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if matches!(link.stage, Stage::Up) && link.calls.len() < CALLS_MAX {
            link.next_call += 1;
            let frame = request.to_frame(link.next_call);
            link.calls.insert(link.next_call, request);
            self.send_frame(id, Lane::Control, frame);
        }
    }

    /// Sends any bytes.
    pub fn send(&mut self, id: LinkId, lane: Lane, bytes: impl Into<Bytes>) {
        let frame = Frame {
            head: bytes.into(),
            body: Bytes::new(),
        };
        self.send_frame(id, lane, frame);
    }

    pub fn send_frame(&mut self, id: LinkId, lane: Lane, frame: Frame) {
        if let Some(link) = self.links.get_mut(&id) {
            // What does not fit is not sent: villains are bounded too.
            let _ = link.room.push(lane, frame);
            self.pump(id);
        }
    }

    /// Answers a request.
    pub fn answer(&mut self, asked: &Asked, answer: &Answer) {
        let lane = self.lane_of(asked.link, answer);
        let frame = answer.to_frame(asked.request.kind(), asked.req_id);
        self.send_frame(asked.link, lane, frame);
    }

    pub fn refuse(&mut self, asked: &Asked, text: &str) {
        let frame = Answer::error_frame(asked.request.kind(), asked.req_id, text);
        self.send_frame(asked.link, Lane::Control, frame);
    }

    /// The lane that a node of ours would take.
    pub fn lane_of(&self, id: LinkId, answer: &Answer) -> Lane {
        match matches!(answer, Answer::Chunk { .. } | Answer::Subtrees(_)) {
            true => self.bulk_lane(id),
            false => Lane::Control,
        }
    }

    /// Where a node of ours sends what is large.
    pub fn bulk_lane(&self, id: LinkId) -> Lane {
        let is_open = |link: &&Link| link.room.is_open(Lane::Bulk) && link.way == Way::Ours;
        match self.links.get(&id).filter(is_open) {
            Some(_) => Lane::Bulk,
            None => Lane::Control,
        }
    }

    /// Who is at the other end of a link, or is expected there.
    pub fn peer(&self, id: LinkId) -> Option<NodeKey> {
        self.links.get(&id)?.key
    }

    /// Answers as a node that has nothing would.
    pub fn answer_well(&mut self, asked: &Asked) {
        match self.good_faith(asked) {
            Some(answer) => self.answer(asked, &answer),
            None => self.refuse(asked, "not found"),
        }
    }

    fn good_faith(&self, asked: &Asked) -> Option<Answer> {
        Some(match &asked.request {
            Request::PexOffer(_)
            | Request::Store(_)
            | Request::HaveContent(_)
            | Request::Ping
            | Request::Part
            | Request::HeadAnnounce(_) => Answer::Ack,
            Request::PexRequest { .. } | Request::FindNode(_) => Answer::Peers(self.peers()),
            Request::FindValue(_) => Answer::Found(scp2p_proto::wire::FoundValue {
                record: None,
                peers: self.peers(),
            }),
            Request::ListPublicShares { .. } => Answer::PublicShares(Vec::new()),
            Request::Listening(_) => {
                let remote = self.info(asked.link)?.remote;
                Answer::Observed(Observed {
                    ip: remote.ip(),
                    port: remote.port(),
                })
            }
            Request::Watch(_) => Answer::Heads(Vec::new()),
            Request::Have(contents) => Answer::Have(Have {
                sizes: vec![None; contents.len()],
            }),
            Request::GetManifest(_)
            | Request::DialBack(_)
            | Request::Punch(_)
            | Request::Reserve
            | Request::Connect(_)
            | Request::Incoming(_)
            | Request::RelayRegister(_)
            | Request::RelayConnect(_)
            | Request::RelayStream(_)
            | Request::ListRelays { .. }
            | Request::GetChunk { .. }
            | Request::GetChunkHashes(_)
            | Request::GetSubtrees { .. } => return None,
        })
    }

    /// The addresses of targets and its own, as a node would tell them.
    pub fn peers(&self) -> Vec<PeerAddr> {
        let targets = self.known.targets.iter().take(20);
        targets.flat_map(addrs_of).chain(self.own_addrs()).collect()
    }

    /// Where it listens, as far as it knows.
    pub fn own_addrs(&self) -> Vec<PeerAddr> {
        self.own().iter().flat_map(addrs_of).collect()
    }

    pub fn own(&self) -> Option<Target> {
        let assumed = |ip: IpAddr| Target {
            key: self.keys.public(),
            quic: Some(SocketAddr::new(ip, PORTS.0)),
            tcp: Some(SocketAddr::new(ip, PORTS.1)),
        };
        self.known.own.clone().or_else(|| self.own_ip.map(assumed))
    }

    /// Whether what it reads on a link makes room for more.
    pub fn read(&mut self, id: LinkId, reads: bool) {
        if let Some(link) = self.links.get_mut(&id) {
            link.reads = reads;
        }
        self.pump(id);
    }

    pub fn close(&mut self, id: LinkId) {
        if self.links.remove(&id).is_some() {
            self.out.push_back(Output::Close(id, CloseCode::Done));
            self.heard.push_back(Heard::Gone(id));
        }
    }

    /// How many links it has.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    fn on_link(&mut self, id: LinkId, event: LinkEvent) {
        match event {
            LinkEvent::Accepted(info) => {
                if self.links.len() >= LINKS_MAX {
                    return self.out.push_back(Output::Close(id, CloseCode::Busy));
                }
                let mut link = Link::new(Way::Raw, Stage::Accepted, None, self.now.mono);
                link.info = Some(info);
                self.links.insert(id, link);
                self.heard.push_back(Heard::Accepted(id));
            }
            LinkEvent::Dialed(info) => self.dialed(id, info),
            LinkEvent::Bytes(lane, bytes) => self.bytes(id, lane, bytes),
            LinkEvent::Room(lane, bytes) => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.room.add(lane, bytes);
                }
            }
            LinkEvent::Moved(_) => {}
            LinkEvent::Failed(_) | LinkEvent::Closed(_) => {
                if self.links.remove(&id).is_some() {
                    self.heard.push_back(Heard::Gone(id));
                }
            }
        }
        self.pump(id);
    }

    fn dialed(&mut self, id: LinkId, info: LinkInfo) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.info = Some(info);
        match link.way {
            Way::Raw => {
                link.stage = Stage::Raw;
                link.grants.authenticated();
                self.heard.push_back(Heard::Opened(id));
            }
            Way::Ours | Way::Deployed => self.greet(id),
        }
    }

    fn bytes(&mut self, id: LinkId, lane: Lane, bytes: Bytes) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.consumed(lane, bytes.len());
        if let Stage::Raw = link.stage {
            return self.heard.push_back(Heard::Raw(id, lane, bytes));
        }
        link.reader(lane).push(bytes);
        while let Some(link) = self.links.get_mut(&id) {
            match link.reader(lane).next() {
                Ok(Some(body)) => self.frame(id, &body),
                Ok(None) => break,
                Err(_) => self.close(id),
            }
        }
    }

    fn frame(&mut self, id: LinkId, body: &Bytes) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if !matches!(link.stage, Stage::Up) {
            return self.hello(id, body);
        }
        let Ok(envelope) = Envelope::decode(body) else {
            return self.close(id);
        };
        if envelope.is_response() {
            if let Some(request) = link.calls.remove(&envelope.req_id) {
                let answer = Answer::decode(request.kind(), &envelope);
                if let Ok(Answer::Observed(observed)) = &answer {
                    self.own_ip.get_or_insert(observed.ip);
                }
                self.heard.push_back(Heard::Reply(id, request, answer));
            }
        } else if let Ok(Some(frame)) = CircuitFrame::decode(&envelope) {
            let circuit = CircuitId(envelope.req_id);
            self.heard.push_back(Heard::Circuit(id, circuit, frame));
        } else if let Ok(request) = Request::decode(envelope.kind, &envelope.payload) {
            self.heard.push_back(Heard::Request(Asked {
                link: id,
                req_id: envelope.req_id,
                request,
            }));
        }
    }

    /// A session is up.
    fn up(&mut self, id: LinkId, key: NodeKey) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.stage = Stage::Up;
        link.key = Some(key);
        link.control.set_limit(FRAME_MAX);
        link.bulk.set_limit(FRAME_MAX);
        link.grants.authenticated();
        let ours = link.way == Way::Ours;
        self.deed("sessions");
        self.heard.push_back(Heard::Up(id));
        if ours {
            let own = self.own();
            let port = |of: fn(&Target) -> Option<SocketAddr>| match &own {
                Some(own) => of(own).map(|at| at.port()),
                None => None,
            };
            let listening = Listening {
                quic_port: port(|own| own.quic).or(Some(PORTS.0)),
                tcp_port: port(|own| own.tcp).or(Some(PORTS.1)),
            };
            self.ask(id, Request::Listening(listening));
        }
    }

    fn pump(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if matches!(link.stage, Stage::Dialing) {
            return;
        }
        while let Some((lane, bytes)) = link.grants.pop() {
            self.out.push_back(Output::Grant(id, lane, bytes));
        }
        while let Some((lane, frame)) = link.room.pop() {
            self.out.push_back(Output::Send(id, lane, frame));
        }
    }

    /// Gives up links that came to nothing.
    fn give_up(&mut self) {
        let now = self.now.mono;
        let is_late = |link: &Link| match link.stage {
            Stage::Dialing | Stage::Opened(_) | Stage::Accepted | Stage::Answered(_) => {
                now >= link.since + OPENING_MAX
            }
            Stage::Raw | Stage::Up => false,
        };
        let late: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| is_late(link))
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.close(id);
        }
    }
}

/// The addresses of a host as peers tell them.
pub(super) fn addrs_of(target: &Target) -> Vec<PeerAddr> {
    let quic = target.quic.map(|at| (Transport::Quic, at));
    let tcp = target.tcp.map(|at| (Transport::Tcp, at));
    let addr = |(transport, at): (Transport, SocketAddr)| PeerAddr {
        ip: at.ip(),
        port: at.port(),
        transport,
        key: Some(target.key),
        relay_via: None,
    };
    quic.into_iter().chain(tcp).map(addr).collect()
}

impl Link {
    fn new(way: Way, stage: Stage, key: Option<NodeKey>, since: Time) -> Link {
        Link {
            way,
            stage,
            key,
            info: None,
            since,
            control: FrameReader::new(HANDSHAKE_FRAME_MAX),
            bulk: FrameReader::new(HANDSHAKE_FRAME_MAX),
            room: Room::new(),
            grants: Grants::new(),
            reads: true,
            calls: BTreeMap::new(),
            next_call: 0,
        }
    }

    fn reader(&mut self, lane: Lane) -> &mut FrameReader {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Bulk => &mut self.bulk,
        }
    }

    fn consumed(&mut self, lane: Lane, bytes: usize) {
        if self.reads {
            self.grants
                .consumed(lane, u32::try_from(bytes).unwrap_or(u32::MAX));
        }
    }
}
