//! A deployed peer: it answers the messages of the registry, and only on sessions that others opened and on tunnels.

pub mod relay;

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use scp2p_proto::id::{ContentId, DhtKey, LinkId};
use scp2p_proto::io::{Dial, Frame, Input, Lane, LinkEvent, Output};
use scp2p_proto::keys::Keys;
use scp2p_proto::limits::{CHUNK_LEN, FRAME_MAX};
use scp2p_proto::record::RelayAnnouncement;
use scp2p_proto::time::Now;
use scp2p_proto::wire::{
    Answer, Capabilities, ChunkHashes, Envelope, FoundValue, FrameReader, Hello, HelloFields,
    PeerAddr, Profile, Request, StoreRecord,
};

use self::relay::Relaying;

/// What it serves, honestly or not.
pub struct Deployed {
    keys: Keys,
    /// The bytes that it gives out as a content.
    pub contents: BTreeMap<ContentId, Vec<u8>>,
    /// Whether it answers requests for chunks.
    pub gives_chunks: bool,
    /// Chunk lists that it gave.
    pub lists: u32,
    /// Chunks that it gave.
    pub chunks: u32,
    /// Whether it reads what it is sent.
    pub reads: bool,
    /// What it was answered, by the number of its request.
    pub answers: BTreeMap<u32, Result<Answer, String>>,
    /// DHT values that it keeps, if it does.
    pub values: Option<BTreeMap<DhtKey, StoreRecord>>,
    /// The profile in which it dials, and in which it verifies what relays say.
    pub profile: Profile,
    /// Whom it names when it is asked for peers.
    pub named: Vec<PeerAddr>,
    /// Requests that came over sessions which it opened itself; it leaves them.
    pub unanswered: u32,
    /// Requests that it answered.
    pub answered: u32,
    /// Values that it was given to store, those that it refused too.
    pub stores: u32,
    /// Answers that it would give on its tunnels are held back while there is a list.
    pub held: Option<Vec<Output>>,
    /// Whether and how it relays.
    pub relaying: Option<Relaying>,
    asked: Vec<u16>,
    /// Sessions that it opened and on which it is asked.
    tunnels: BTreeSet<LinkId>,
    hellos: u8,
    links: BTreeMap<LinkId, (FrameReader, u32)>,
    /// Sessions that it opened.
    dialled: BTreeSet<LinkId>,
}

impl Deployed {
    pub fn new(seed: u8) -> Deployed {
        Deployed {
            keys: Keys::from_seed([seed; 32]),
            contents: BTreeMap::new(),
            gives_chunks: true,
            lists: 0,
            chunks: 0,
            reads: true,
            answers: BTreeMap::new(),
            values: None,
            profile: Profile::C,
            named: Vec::new(),
            unanswered: 0,
            answered: 0,
            stores: 0,
            held: None,
            relaying: None,
            asked: Vec::new(),
            tunnels: BTreeSet::new(),
            hellos: 0,
            links: BTreeMap::new(),
            dialled: BTreeSet::new(),
        }
    }

    /// How many sessions it has.
    pub fn sessions(&self) -> usize {
        let up = self.links.values().filter(|(_, frames)| *frames > 1);
        up.count()
    }

    /// Asks over its first session. The number of the first request is the number of those before.
    pub fn ask(&mut self, requests: &[Request]) -> Vec<Output> {
        let link = *self.links.keys().next().expect("a session");
        self.ask_on(link, requests)
    }

    /// Asks over a session. Whoever asks for a tunnel there answers on it from then on.
    pub fn ask_on(&mut self, link: LinkId, requests: &[Request]) -> Vec<Output> {
        let is_tunnel =
            |request: &Request| matches!(request, Request::RelayRegister(it) if it.tunnel);
        if requests.iter().any(is_tunnel) {
            self.tunnels.insert(link);
        }
        let frames = requests.iter().map(|request| {
            self.asked.push(request.kind());
            let frame = request.to_frame(self.asked.len() as u32 - 1);
            Output::Send(link, Lane::Control, frame)
        });
        frames.collect()
    }

    /// How many requests it made, the number of the next one.
    pub fn requests(&self) -> u32 {
        self.asked.len() as u32
    }

    /// Opens a session.
    pub fn dial(&mut self, dial: Dial) -> (LinkId, Output) {
        let link = LinkId(1 << 62 | self.dialled.len() as u64);
        self.dialled.insert(link);
        (link, Output::Dial(link, dial))
    }

    /// Whether a session that it opened is up.
    pub fn is_up(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|(_, frames)| *frames > 0)
    }

    /// Gives the answers that it held back.
    pub fn release(&mut self) -> Vec<Output> {
        self.held.take().unwrap_or_default()
    }

    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Output> {
        let Input::Link(link, event) = input else {
            panic!("it asks for nothing")
        };
        let mut out = Vec::new();
        match event {
            LinkEvent::Accepted(_) => {
                self.links.insert(link, (FrameReader::new(FRAME_MAX), 0));
                out.push(Output::Grant(link, Lane::Control, u32::MAX));
            }
            LinkEvent::Dialed(_) => {
                self.links.insert(link, (FrameReader::new(FRAME_MAX), 0));
                out.push(Output::Grant(link, Lane::Control, u32::MAX));
                let hello = self.sign(now, self.profile, None);
                out.push(Output::Send(link, Lane::Control, hello));
            }
            LinkEvent::Bytes(_, bytes) => {
                let Some((reader, _)) = self.links.get_mut(&link) else {
                    return out;
                };
                reader.push(bytes);
                while let Some((reader, frames)) = self.links.get_mut(&link) {
                    let Some(body) = reader.next().expect("frames") else {
                        break;
                    };
                    *frames += 1;
                    match *frames {
                        1 => {
                            let hello = self.hello(now, &body);
                            out.push(Output::Send(link, Lane::Control, hello));
                        }
                        2 if !self.dialled.contains(&link) => {}
                        _ => {
                            let envelope = Envelope::decode(&body).expect("an envelope");
                            out.extend(self.message(now, link, envelope));
                        }
                    }
                }
            }
            LinkEvent::Moved(_) => {}
            LinkEvent::Closed(_) => {
                self.links.remove(&link);
                if let Some(relaying) = &mut self.relaying {
                    out.extend(relaying.down(link));
                }
            }
            LinkEvent::Failed(_) | LinkEvent::Room(..) => {}
        }
        out
    }

    fn message(&mut self, now: Now, link: LinkId, envelope: Envelope) -> Vec<Output> {
        if let Some(relaying) = &mut self.relaying
            && let Some(out) = relaying.message(now, link, &envelope)
        {
            return out;
        }
        let is_asked = self.tunnels.contains(&link);
        if self.dialled.contains(&link) && !is_asked && !envelope.is_response() {
            self.unanswered += 1;
            return Vec::new();
        }
        let answer = self.answer(&envelope);
        let answer = answer.map(|frame| Output::Send(link, Lane::Control, frame));
        match &mut self.held {
            Some(held) if is_asked => {
                held.extend(answer);
                Vec::new()
            }
            _ => answer.into_iter().collect(),
        }
    }

    fn hello(&mut self, now: Now, body: &Bytes) -> Frame {
        let theirs = Hello::decode(body).expect("a hello");
        let profile = theirs.profile().unwrap_or(Profile::C);
        self.sign(now, profile, Some(theirs.nonce))
    }

    fn sign(&mut self, now: Now, profile: Profile, echoed_nonce: Option<[u8; 32]>) -> Frame {
        let mut ephemeral = [0; 32];
        ephemeral[0] = 9;
        self.hellos += 1;
        let mut nonce = self.keys.public().0;
        nonce[0] = self.hellos;
        let fields = HelloFields {
            capabilities: Capabilities::default(),
            nonce,
            echoed_nonce,
            timestamp: now.unix,
            ephemeral,
        };
        let body = Hello::sign(self.keys.signing(), profile, fields).encode();
        let mut head = BytesMut::new();
        head.put_u32(body.len() as u32);
        Frame {
            head: head.freeze(),
            body,
        }
    }

    /// Nothing if it lets the asker wait.
    fn answer(&mut self, envelope: &Envelope) -> Option<Frame> {
        let (kind, id) = (envelope.kind, envelope.req_id);
        if envelope.is_response() {
            let answer = Answer::decode(self.asked[id as usize], envelope);
            let answer = answer.map_err(|error| error.to_string());
            assert!(self.answers.insert(id, answer).is_none(), "answered once");
            return None;
        }
        self.answered += 1;
        assert!(kind < 600, "our extensions are not for deployed peers");
        let answer = match Request::decode(kind, &envelope.payload) {
            Ok(Request::GetChunkHashes(content)) => self.contents.get(&content).map(|bytes| {
                self.lists += 1;
                let chunks = bytes.chunks(CHUNK_LEN as usize);
                let hashes: Vec<u8> = chunks
                    .flat_map(|chunk| *blake3::hash(chunk).as_bytes())
                    .collect();
                Answer::ChunkHashes(ChunkHashes {
                    content,
                    hashes: hashes.into(),
                })
            }),
            Ok(Request::GetChunk { .. }) if !self.gives_chunks => return None,
            Ok(Request::GetChunk { content, index }) => {
                self.contents.get(&content).and_then(|bytes| {
                    let chunk = bytes.chunks(CHUNK_LEN as usize).nth(index as usize)?;
                    self.chunks += 1;
                    Some(Answer::Chunk {
                        content,
                        index,
                        data: Bytes::copy_from_slice(chunk),
                    })
                })
            }
            Ok(Request::Store(record)) if self.values.is_some() => {
                self.stores += 1;
                let relay = RelayAnnouncement::decode(&record.value);
                if relay.is_ok_and(|relay| !relay.suits(self.profile)) {
                    return Some(Answer::error_frame(kind, id, "signature error"));
                }
                self.values.iter_mut().for_each(|values| {
                    values.insert(record.key, record.clone());
                });
                Some(Answer::Ack)
            }
            Ok(Request::FindValue(key)) if self.values.is_some() => {
                let values = self.values.as_ref();
                Some(Answer::Found(FoundValue {
                    record: values.and_then(|values| values.get(&key).cloned()),
                    peers: self.named.clone(),
                }))
            }
            Ok(Request::PexOffer(_) | Request::HaveContent(_) | Request::Store(_)) => {
                Some(Answer::Ack)
            }
            Ok(Request::FindNode(_) | Request::PexRequest { .. }) => {
                Some(Answer::Peers(self.named.clone()))
            }
            Ok(_) | Err(_) => None,
        };
        Some(match answer {
            Some(answer) => answer.to_frame(kind, id),
            None => Answer::error_frame(kind, id, "not found"),
        })
    }
}
