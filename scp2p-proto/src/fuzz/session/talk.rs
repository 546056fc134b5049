//! Conversations of an authenticated peer with a whole node.

mod catalog;
mod disk;
mod peer;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;

use bytes::Bytes;

use self::catalog::Catalog;
use self::disk::Disk;
use self::peer::Peer;
use crate::Node;
use crate::command::{Command, Get, GetWhat, Publish};
use crate::config::Config;
use crate::id::{ContentId, DownloadId, LinkId, NodeId, OpId, RelaySlotId};
use crate::io::{
    DialError, HostEvent, Input, Lane, LinkError, LinkEvent, LinkInfo, Output, Transport,
};
use crate::keys::Keys;
use crate::record::{ShareLink, Visibility, head_key, providers_key};
use crate::storage::LocalPath;
use crate::time::{Now, Time};
use crate::wire::{
    HeadAnnounce, Listening, Profile, RelayRegister, RelayStream, Request, StoreRecord,
};

/// Steps of a conversation; longer ones find nothing that two short ones do not.
const STEPS_MAX: u32 = 96;
/// Inputs that one step may cause. A node that wants more never rests.
const INPUTS_MAX: u32 = 20_000;
const EXPORTER: [u8; 32] = [7; 32];
const PEER_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER_PORT: u16 = 7000;

/// The first byte says who opens the link (its bit 2) and how the peer greets (its lowest two bits:
/// profile A, B or C as a deployed peer, or as a node of ours). All others are steps: what the peer
/// or the node's own user does next. The node publishes a share and follows one of the peer's.
pub(super) fn talk(data: &[u8]) {
    let mut script = Script(data);
    let way = script.byte();
    let profile = match way & 3 {
        0 => Some(Profile::A),
        1 => Some(Profile::B),
        2 => Some(Profile::C),
        _ => None,
    };
    let mut talk = Talk::new(profile, way & 4 == 0);
    for _ in 0..STEPS_MAX {
        if script.0.is_empty() {
            break;
        }
        talk.step(&mut script);
    }
    talk.command(Command::Shutdown);
    talk.disk.fails = false;
    talk.pass(Duration::ZERO);
}

/// What is left of the input. It ends in zeros.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *byte
    }

    fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// As many bytes as the next two say, or all that are left.
    fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.short()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }
}

/// A node, its peer, its disk and the time.
struct Talk {
    node: Node,
    now: Now,
    starts: u8,
    config: Config,
    disk: Disk,
    peer: Peer,
    inputs: VecDeque<Input>,
    ops: u64,
}

impl Talk {
    fn new(profile: Option<Profile>, peer_dials: bool) -> Talk {
        let mut config = Config {
            quic_port: Some(PEER_PORT),
            bound_ips: Vec::from([Ipv4Addr::new(192, 0, 2, 2).into()]),
            ..Config::default()
        };
        let addr = alloc::format!("quic://{PEER_IP}:{PEER_PORT}");
        config
            .bootstrap
            .extend((!peer_dials).then(|| addr.parse().expect("an address")));
        let now = Now {
            mono: Time(1),
            unix: super::NOW,
        };
        let disk = Disk::default();
        let mut talk = Talk {
            node: start(&config, &disk, 0, now),
            now,
            starts: 0,
            config,
            disk,
            peer: Peer::new(profile),
            inputs: VecDeque::new(),
            ops: 0,
        };
        talk.disk.got = Some(talk.peer.catalog.large());
        talk.settle();
        talk.command(Command::Publish(Publish {
            name: "share".into(),
            paths: Vec::from([LocalPath("/file".into())]),
            title: None,
            description: None,
            tags: None,
            visibility: Some(Visibility::Public),
        }));
        talk.command(Command::Subscribe(ShareLink {
            key: talk.peer.catalog.key(),
            bootstrap: Vec::new(),
        }));
        if peer_dials {
            talk.connect();
        }
        talk.pass(Duration::from_secs(20));
        talk
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 16 {
            0 => self.peer.ask_payload(script.short(), script.bytes()),
            1 => self.peer.reply_payload(script.byte(), script.bytes()),
            2 => self.peer.reply(script.byte(), None),
            3 => self.peer.reply(script.byte(), Some(script.bytes())),
            4 => self.peer.write(script.byte(), script.bytes()),
            5 => return self.pass(Duration::from_millis(1 << (script.byte() % 28))),
            6 => return self.user(script.byte()),
            7 => {
                let request = self.request(script.byte(), script.byte());
                self.peer.ask(&request);
            }
            8 => self.peer.catalog.turn_to((script.byte() % 4).into()),
            9 => self.disk.fails = script.byte() % 2 == 1,
            10 => self.disk.damage(script.short(), script.byte()),
            11 => self.disk.wrong = script.byte() % 2 == 1,
            12 => self.peer.reads(script.byte().is_multiple_of(2)),
            13 => return self.connect(),
            14 => self.hang_up(),
            _ => return self.restart(),
        }
        self.pass(Duration::from_millis(20));
    }

    /// What the peer may ask for in good faith.
    fn request(&self, which: u8, number: u8) -> Request {
        let catalog = &self.peer.catalog;
        let index = u32::from(number);
        let content = match number % 4 {
            0 => Disk::content(),
            1 => catalog.large(),
            2 => Catalog::small(),
            _ => ContentId([0; 32]),
        };
        let store = |key, value: Vec<u8>| {
            Request::Store(StoreRecord {
                key,
                value: value.into(),
                ttl_secs: u64::from(number) << 20,
                signer: number.is_multiple_of(2).then(|| catalog.key()),
            })
        };
        let share = catalog.key().share_id();
        if let Some(request) = relay_request(which, number, content) {
            return request;
        }
        match which % 17 {
            0 => Request::PexOffer(catalog.addrs()),
            1 => Request::PexRequest { max_peers: number },
            2 => Request::FindNode(content_target(&content)),
            3 => Request::FindValue(providers_key(&content)),
            4 => Request::FindValue(head_key(&share)),
            5 => store(head_key(&share), catalog.head().encode()),
            6 => store(
                providers_key(&content),
                catalog.providers(content, number).encode(),
            ),
            7 => Request::GetManifest(catalog.manifest().id()),
            8 => Request::ListPublicShares {
                max_entries: number.into(),
            },
            9 => Request::HaveContent(content),
            10 => Request::GetChunk {
                content,
                index: index / 4,
            },
            11 => Request::GetChunkHashes(content),
            12 => Request::Listening(Listening {
                quic_port: Some(PEER_PORT),
                tcp_port: Some(number.into()),
            }),
            13 => Request::Watch(Vec::from([share])),
            14 => Request::HeadAnnounce(HeadAnnounce {
                key: catalog.key(),
                head: catalog.head(),
            }),
            15 => Request::GetSubtrees {
                content,
                level: number / 4 % 3,
                page: index / 12,
            },
            _ => Request::Have(Vec::from([content; 3])),
        }
    }

    fn user(&mut self, which: u8) {
        let share = self.peer.catalog.key().share_id();
        let root = LocalPath(disk::ROOT.into());
        let get = |what| Command::Get(Get { what, root });
        let command = match which % 11 {
            0 => get(GetWhat::Share { share, path: None }),
            1 => get(GetWhat::Content(self.peer.catalog.large())),
            2 => Command::Sync(None),
            3 => Command::Browse(share),
            4 => Command::Unsubscribe(share),
            5 => Command::Subscribe(ShareLink {
                key: self.peer.catalog.key(),
                bootstrap: Vec::new(),
            }),
            6 => Command::Cancel(self.download()),
            7 => Command::Link(share),
            9 => Command::Pause(self.download()),
            10 => Command::Resume(self.download()),
            _ => {
                self.inputs.push_back(Input::Host(HostEvent::Resumed));
                Command::Sync(Some(share))
            }
        };
        self.command(command);
    }

    fn download(&self) -> DownloadId {
        let downloads = self.node.downloads();
        downloads.first().map_or(DownloadId(0), |view| view.id)
    }

    fn command(&mut self, command: Command) {
        self.ops += 1;
        self.inputs
            .push_back(Input::Command(OpId(self.ops), command));
        self.settle();
    }

    /// The peer opens a link, if it has none.
    fn connect(&mut self) {
        if let Some(link) = self.peer.connect(self.now.unix) {
            self.up(link, LinkEvent::Accepted);
        }
        self.settle();
    }

    fn up(&mut self, link: LinkId, event: fn(LinkInfo) -> LinkEvent) {
        let info = LinkInfo {
            transport: Transport::Quic,
            remote: SocketAddr::new(PEER_IP.into(), PEER_PORT),
            exporter: EXPORTER,
        };
        self.inputs.push_back(Input::Link(link, event(info)));
        for lane in [Lane::Control, Lane::Bulk] {
            let room = LinkEvent::Room(lane, 1 << 20);
            self.inputs.push_back(Input::Link(link, room));
        }
    }

    fn hang_up(&mut self) {
        if let Some(link) = self.peer.hang_up() {
            let closed = LinkEvent::Closed(LinkError::Lost);
            self.inputs.push_back(Input::Link(link, closed));
        }
    }

    /// The node is killed and starts from its disk.
    fn restart(&mut self) {
        self.peer.hang_up();
        self.inputs.clear();
        self.starts = self.starts.wrapping_add(1);
        self.node = start(&self.config, &self.disk, self.starts, self.now);
        self.settle();
        self.pass(Duration::from_secs(1));
    }

    /// Lets time pass, deadline by deadline as far as there are not too many of them.
    fn pass(&mut self, span: Duration) {
        let end = self.now.mono + span;
        self.settle();
        for _ in 0..64 {
            match self.node.deadline() {
                Some((at, _)) if at <= end => self.turn_to(at),
                Some(_) | None => break,
            }
        }
        self.turn_to(end);
    }

    fn turn_to(&mut self, at: Time) {
        let secs = |time: Time| time.0 / 1_000_000;
        self.now.unix = self
            .now
            .unix
            .plus(secs(at).saturating_sub(secs(self.now.mono)));
        self.now.mono = self.now.mono.max(at);
        self.inputs.push_back(Input::Tick);
        self.settle();
    }

    /// Carries out what the node asks for until it asks for nothing more.
    fn settle(&mut self) {
        let mut inputs = 0;
        loop {
            while let Some(output) = self.node.poll_output() {
                self.carry_out(output);
            }
            self.inputs.extend(self.peer.deliver());
            let Some(input) = self.inputs.pop_front() else {
                assert_eq!(self.node.check(), Vec::<alloc::string::String>::new());
                return;
            };
            inputs += 1;
            assert!(inputs < INPUTS_MAX, "the node never rests");
            self.node.handle(self.now, input);
            if let Some((deadline, why)) = self.node.deadline() {
                assert!(deadline > self.now.mono, "{why:?} is due in the past");
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Dial(link, dial) => {
                if dial.transport == Transport::Quic && self.peer.accept(link) {
                    self.up(link, LinkEvent::Dialed);
                } else {
                    let failed = LinkEvent::Failed(DialError::Refused);
                    self.inputs.push_back(Input::Link(link, failed));
                }
            }
            Output::Send(link, lane, frame) => {
                let inputs = self.peer.read(link, lane, frame, self.now.unix);
                self.inputs.extend(inputs);
            }
            Output::Grant(link, lane, bytes) => self.peer.granted(link, lane, bytes),
            Output::Close(link, _) => self.peer.closed(link),
            Output::Load(id, load) => {
                let loaded = self.disk.load(load);
                self.inputs.push_back(Input::Loaded(id, loaded));
            }
            Output::Write(id, piece) => {
                let written = self.disk.write(&piece);
                self.inputs.push_back(Input::Written(id, written));
            }
            Output::Commit(id, batch) => {
                let committed = self.disk.commit(batch);
                self.inputs.push_back(Input::Committed(id, committed));
            }
            Output::Done(..) | Output::Event(_) => {}
        }
    }
}

fn start(config: &Config, disk: &Disk, starts: u8, now: Now) -> Node {
    let keys = Keys::from_seed([2; 32]);
    Node::new(config.clone(), keys, [starts; 32], disk.saved(), now)
}

fn content_target(content: &ContentId) -> NodeId {
    providers_key(content).target()
}

/// What the peer may ask a relay for. Few numbers, and the highest, so that inputs of the corpus that know nothing of
/// relays go on saying what they say.
fn relay_request(which: u8, number: u8, content: ContentId) -> Option<Request> {
    let slot = RelaySlotId(number.into());
    Some(match which {
        252 => Request::RelayRegister(RelayRegister {
            slot: number.is_multiple_of(2).then_some(slot),
            tunnel: number.is_multiple_of(3),
        }),
        253 => Request::RelayConnect(slot),
        254 => {
            let index = u32::from(number);
            let inner = Request::GetChunk { content, index }.to_envelope(index);
            Request::RelayStream(RelayStream::for_owner(slot, inner))
        }
        255 => Request::ListRelays {
            max_count: number.into(),
        },
        _ => return None,
    })
}

/// The body of a frame.
fn body(frame: crate::io::Frame) -> Bytes {
    let mut reader = crate::wire::FrameReader::new(crate::limits::FRAME_MAX);
    reader.push(frame.head);
    reader.push(frame.body);
    let body = reader.next().expect("our own frames can be read");
    body.expect("our own frames are complete")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::DownloadState;
    use proptest::prelude::*;

    const WAYS: [Option<Profile>; 4] = [Some(Profile::A), Some(Profile::B), Some(Profile::C), None];

    /// Answers everything in good faith for a while.
    fn answer_all(talk: &mut Talk) {
        for _ in 0..200 {
            for _ in 0..16 {
                talk.peer.reply(0, None);
            }
            talk.pass(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_session_comes_up_in_every_profile_whoever_dials() {
        for profile in WAYS {
            for peer_dials in [true, false] {
                let talk = Talk::new(profile, peer_dials);
                assert_eq!(talk.node.status().connected, 1, "{profile:?}, {peer_dials}");
                assert_eq!(talk.node.shares().len(), 1);
            }
        }
    }

    #[test]
    fn good_faith_leads_to_a_finished_download() {
        for profile in WAYS {
            let mut talk = Talk::new(profile, false);
            talk.user(2);
            answer_all(&mut talk);
            assert_eq!(talk.node.subscriptions()[0].seq, 1, "{profile:?}");
            talk.user(1);
            for _ in 0..20 {
                answer_all(&mut talk);
            }
            let view = talk.node.downloads().pop().expect("listed");
            assert_eq!(view.state, DownloadState::Finished, "{profile:?}: {view:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever a peer and a disk do, the node keeps its contract.
        #[test]
        fn any_steps(data in prop::collection::vec(any::<u8>(), 0..400)) {
            talk(&data);
        }
    }
}
