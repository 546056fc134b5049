//! Peers that a test plays itself, on the public wire types: deployed ones, which know nothing of
//! channel binding, and ones like ours.

use std::collections::BTreeMap;
use std::io::{self, Error};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::SystemTime;

use bytes::Bytes;
use scp2p_proto::id::{ContentId, NodeKey, ShareId, ShareKey};
use scp2p_proto::io::Frame;
use scp2p_proto::keys::Keys;
use scp2p_proto::limits::FRAME_MAX;
use scp2p_proto::record::{Item, Manifest, ShareHead, ShareLink, Visibility};
use scp2p_proto::session::{Initiator, NonceMemory, Params, Responder};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{
    Answer, Capabilities, Envelope, FoundValue, FrameReader, Have, HeadAnnounce, Hello,
    HelloFields, Observed, Profile, Request,
};

use super::tls::Channel;

/// A session that a test speaks.
pub struct Peer {
    channel: Channel,
    frames: FrameReader,
    next: u32,
    /// Who is at the other end.
    pub other: NodeKey,
}

impl Peer {
    /// Dials as a deployed peer does.
    pub fn dial_deployed(to: SocketAddr, keys: &Keys, profile: Profile) -> io::Result<Peer> {
        let mut peer = Peer::over(Channel::dial(to)?);
        let nonce = random();
        peer.channel
            .send(&deployed_hello(keys, profile, nonce, None))?;
        let reply = peer.hello()?;
        if reply.echoed_nonce != Some(nonce) || reply.profile() != Some(profile) {
            return Err(Error::other("not the answer to this hello"));
        }
        let ack = deployed_hello(keys, profile, nonce, Some(reply.nonce));
        peer.channel.send(&ack)?;
        peer.other = reply.key;
        Ok(peer)
    }

    /// Accepts as a deployed peer of this profile does.
    pub fn accept_deployed(channel: Channel, keys: &Keys, profile: Profile) -> io::Result<Peer> {
        let mut peer = Peer::over(channel);
        let hello = peer.hello()?;
        if hello.profile() != Some(profile) {
            return Err(Error::other("another profile"));
        }
        let nonce = random();
        let reply = deployed_hello(keys, profile, nonce, Some(hello.nonce));
        peer.channel.send(&reply)?;
        if peer.hello()?.echoed_nonce != Some(nonce) {
            return Err(Error::other("not the answer to this hello"));
        }
        peer.other = hello.key;
        Ok(peer)
    }

    /// Dials as a node of ours does.
    pub fn dial(to: SocketAddr, keys: &Keys) -> io::Result<Peer> {
        let mut peer = Peer::over(Channel::dial(to)?);
        let exporter = peer.channel.exporter();
        let (initiator, hello) = Initiator::start(params(keys, exporter), Profile::C, now());
        peer.channel.send(&hello)?;
        let body = peer.frame()?;
        let (established, ack) = initiator.on_hello(&body, now()).map_err(Error::other)?;
        peer.channel.send(&ack)?;
        peer.other = established.key;
        Ok(peer)
    }

    /// Accepts as a node of ours does.
    pub fn accept(channel: Channel, keys: &Keys) -> io::Result<Peer> {
        let mut peer = Peer::over(channel);
        let params = params(keys, peer.channel.exporter());
        let body = peer.frame()?;
        let mut memory = NonceMemory::new();
        let (responder, reply) =
            Responder::on_client_hello(params, &body, now(), &mut memory).map_err(Error::other)?;
        peer.channel.send(&reply)?;
        let body = peer.frame()?;
        let established = responder.on_ack(&body, now()).map_err(Error::other)?;
        peer.other = established.key;
        Ok(peer)
    }

    /// Refuses a node of ours for its time: shows what a clock shows that is so far ahead, and closes.
    pub fn refuse_clock(channel: Channel, keys: &Keys, ahead_secs: u64) -> io::Result<()> {
        let mut peer = Peer::over(channel);
        let exporter = peer.channel.exporter();
        let clock = now().plus(ahead_secs);
        let body = peer.frame()?;
        let refused = Responder::on_client_hello(
            params(keys, exporter),
            &body,
            clock,
            &mut NonceMemory::new(),
        );
        let error = refused.err().ok_or(Error::other("the clocks agree"))?;
        let hello = Responder::warning(params(keys, exporter), &body, &error, clock);
        peer.send(&hello.ok_or(Error::other(error))?)?;
        peer.closed();
        Ok(())
    }

    /// Sends these bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.channel.send(bytes)
    }

    /// Asks and waits for the answer; what is asked meanwhile is refused.
    pub fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        self.next += 1;
        self.send_frame(&request.to_frame(self.next))?;
        loop {
            let envelope = self.envelope()?;
            if envelope.is_response() {
                return Answer::decode(request.kind(), &envelope).map_err(Error::other);
            }
            let refusal = Answer::error_frame(envelope.kind, envelope.req_id, "not now");
            self.send_frame(&refusal)?;
        }
    }

    /// Answers until the other end is gone.
    pub fn serve(&mut self, answer: impl Fn(&Request) -> Option<Answer>) -> io::Result<()> {
        loop {
            let envelope = self.envelope()?;
            if envelope.is_response() {
                continue;
            }
            let request = Request::decode(envelope.kind, &envelope.payload);
            let frame = match request.ok().and_then(|request| answer(&request)) {
                Some(answer) => answer.to_frame(envelope.kind, envelope.req_id),
                None => Answer::error_frame(envelope.kind, envelope.req_id, "not served"),
            };
            self.send_frame(&frame)?;
        }
    }

    /// Waits until the other end closes.
    pub fn closed(&mut self) {
        while self.frame().is_ok() {}
    }

    fn over(channel: Channel) -> Peer {
        Peer {
            channel,
            frames: FrameReader::new(FRAME_MAX),
            next: 0,
            other: NodeKey([0; 32]),
        }
    }

    fn send_frame(&mut self, frame: &Frame) -> io::Result<()> {
        self.channel.send(&[&frame.head[..], &frame.body].concat())
    }

    fn frame(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(body) = self.frames.next().map_err(Error::other)? {
                return Ok(body);
            }
            let bytes = self.channel.receive()?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.frames.push(bytes.into());
        }
    }

    fn hello(&mut self) -> io::Result<Hello> {
        let hello = Hello::decode(&self.frame()?).map_err(Error::other)?;
        if hello.verify() {
            Ok(hello)
        } else {
            Err(Error::other("the signature is wrong"))
        }
    }

    fn envelope(&mut self) -> io::Result<Envelope> {
        Envelope::decode(&self.frame()?).map_err(Error::other)
    }
}

/// Listens on loopback and gives every TLS connection a thread of its own.
pub fn listen(serve: impl Fn(Channel) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    listen_at(Ipv4Addr::LOCALHOST, serve)
}

/// The same at another address.
pub fn listen_at(
    ip: Ipv4Addr,
    serve: impl Fn(Channel) -> io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).expect("a port");
    let addr = listener.local_addr().expect("bound");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let serve = serve.clone();
            // What fails here is told by the nodes under test.
            thread::spawn(move || serve(Channel::accept(tcp?)?));
        }
    });
    addr
}

/// A share whose publisher is played by the test.
pub struct Publisher {
    /// What subscribers take.
    pub link: ShareLink,
}

impl Publisher {
    /// Signs a catalog of these places and small contents, and serves all of it.
    pub fn start(seed: u8, files: &[(&str, &[u8])]) -> Publisher {
        let (node, share) = (Keys::from_seed([seed; 32]), Keys::from_seed([!seed; 32]));
        let key = ShareKey(share.public().0);
        let manifest = manifest(key, files).sign(share.signing());
        let head = ShareHead {
            share: key.share_id(),
            latest_seq: manifest.seq,
            latest_manifest: manifest.id(),
            updated_at: now(),
            signature: [0; 64],
        };
        let head = head.sign(share.signing());
        let contents: BTreeMap<ContentId, Bytes> = files
            .iter()
            .map(|(_, bytes)| (content_id(bytes), Bytes::copy_from_slice(bytes)))
            .collect();
        let bytes = Bytes::from(manifest.encode());
        let key_of_node = node.public();
        let addr = listen(move |channel| {
            let remote = channel.remote();
            let announce = HeadAnnounce {
                key,
                head: head.clone(),
            };
            Peer::accept(channel, &node)?.serve(|request| {
                let served = Served {
                    announce: &announce,
                    manifest: &bytes,
                    contents: &contents,
                    remote,
                };
                served.answer(request)
            })
        });
        let hint = format!("tcp://{addr}@{key_of_node}");
        Publisher {
            link: ShareLink {
                key,
                bootstrap: vec![hint.parse().expect("a hint")],
            },
        }
    }
}

/// What a publisher answers from.
struct Served<'a> {
    announce: &'a HeadAnnounce,
    manifest: &'a Bytes,
    contents: &'a BTreeMap<ContentId, Bytes>,
    remote: SocketAddr,
}

impl Served<'_> {
    fn answer(&self, request: &Request) -> Option<Answer> {
        let head = &self.announce.head;
        Some(match request {
            Request::Watch(shares) if shares.contains(&head.share) => {
                Answer::Heads(vec![self.announce.clone()])
            }
            Request::GetManifest(id) if *id == head.latest_manifest => Answer::Manifest {
                id: *id,
                bytes: self.manifest.clone(),
            },
            Request::Have(wanted) => {
                let size = |id| self.contents.get(id).map(|content| content.len() as u64);
                Answer::Have(Have {
                    sizes: wanted.iter().map(size).collect(),
                })
            }
            Request::GetChunk { content, index: 0 } => Answer::Chunk {
                content: *content,
                index: 0,
                data: self.contents.get(content)?.clone(),
            },
            Request::Listening(_) => Answer::Observed(Observed {
                ip: self.remote.ip(),
                port: self.remote.port(),
            }),
            Request::FindValue(_) => Answer::Found(FoundValue::default()),
            Request::PexRequest { .. } | Request::FindNode(_) => Answer::Peers(Vec::new()),
            Request::Watch(_) => Answer::Heads(Vec::new()),
            Request::Ping
            | Request::Part
            | Request::PexOffer(_)
            | Request::Store(_)
            | Request::HaveContent(_)
            | Request::HeadAnnounce(_) => Answer::Ack,
            Request::RelayRegister(_)
            | Request::RelayConnect(_)
            | Request::RelayStream(_)
            | Request::ListRelays { .. }
            | Request::GetManifest(_)
            | Request::ListPublicShares { .. }
            | Request::GetChunk { .. }
            | Request::GetChunkHashes(_)
            | Request::GetSubtrees { .. }
            | Request::DialBack(_)
            | Request::Punch(_)
            | Request::Reserve
            | Request::Connect(_)
            | Request::Incoming(_) => return None,
        })
    }
}

fn manifest(key: ShareKey, files: &[(&str, &[u8])]) -> Manifest {
    let item = |(place, bytes): &(&str, &[u8])| Item {
        content: content_id(bytes),
        size: bytes.len() as u64,
        name: (*place).to_owned(),
        path: Some((*place).to_owned()),
        mime: None,
        tags: Vec::new(),
        chunk_count: u32::from(!bytes.is_empty()),
        chunk_list_hash: blake3::hash(blake3::hash(bytes).as_bytes()).into(),
    };
    Manifest {
        version: 1,
        key,
        share: ShareId(key.share_id().0),
        seq: 1,
        created_at: now(),
        expires_at: None,
        title: Some("Gifts".to_owned()),
        description: None,
        visibility: Visibility::Private,
        communities: Vec::new(),
        items: files.iter().map(item).collect(),
        recommended_shares: Vec::new(),
        signature: None,
    }
}

fn content_id(bytes: &[u8]) -> ContentId {
    ContentId(blake3::hash(bytes).into())
}

/// The frame of a hello whose nonce is nothing but random.
pub fn deployed_hello(
    keys: &Keys,
    profile: Profile,
    nonce: [u8; 32],
    echoed_nonce: Option<[u8; 32]>,
) -> Vec<u8> {
    deployed_hello_at(keys, profile, nonce, echoed_nonce, now())
}

/// The same of somebody whose clock shows this.
pub fn deployed_hello_at(
    keys: &Keys,
    profile: Profile,
    nonce: [u8; 32],
    echoed_nonce: Option<[u8; 32]>,
    timestamp: UnixTime,
) -> Vec<u8> {
    let fields = HelloFields {
        capabilities: Capabilities::node(),
        nonce,
        echoed_nonce,
        timestamp,
        // A point whose secret nobody needs: nothing uses the session's secret yet.
        ephemeral: [9; 32],
    };
    let body = Hello::sign(keys.signing(), profile, fields).encode();
    let len = u32::try_from(body.len()).expect("a hello is short");
    [&len.to_be_bytes()[..], &body].concat()
}

fn params(keys: &Keys, exporter: [u8; 32]) -> Params<'_> {
    Params {
        keys,
        capabilities: Capabilities::node(),
        exporter,
        nonce_random: *random().first_chunk().expect("32 bytes"),
        ephemeral: random(),
        expected: None,
    }
}

/// The time as peers tell it to each other.
pub fn now() -> UnixTime {
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("it is later");
    UnixTime(since.as_secs())
}

/// Bytes that were not given before, in this process or another.
pub fn random() -> [u8; 32] {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("it is later");
    let seed = format!("{} {call} {}", std::process::id(), since.as_nanos());
    blake3::hash(seed.as_bytes()).into()
}
