//! Catalogs with every bad path and number.

mod tricks;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use scp2p_proto::id::{ContentId, LinkId, ManifestId};
use scp2p_proto::limits::{CONTENT_LEN_MAX, MANIFEST_ITEMS_MAX};
use scp2p_proto::record::{Item, Manifest, ShareHead, ShareLink};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{Answer, AnswerError, Have, Request};

use super::loot::store_head;
use super::own_share::{OwnShare, item};
use super::talker::{Asked, Policy, Talker, Way};

pub use tricks::{COLLISIONS, HARMLESS, tricks};

/// A new revision after so many turns.
const REVISION: u64 = 60;

/// Publishes what should not be followed blindly.
#[derive(Debug)]
pub(super) struct HostilePublisher {
    own: OwnShare,
    current: Option<Revision>,
    contents: BTreeMap<ContentId, Bytes>,
    turns: u64,
}

#[derive(Debug)]
struct Revision {
    id: ManifestId,
    bytes: Bytes,
    head: ShareHead,
}

impl HostilePublisher {
    pub fn new(talker: &mut Talker) -> HostilePublisher {
        HostilePublisher {
            own: OwnShare::new(talker),
            current: None,
            contents: BTreeMap::new(),
            turns: 0,
        }
    }

    fn revise(&mut self, talker: &mut Talker) {
        let number = self.turns / REVISION;
        let seq = number + 1;
        let now = talker.now.unix;
        let (manifest, bytes) = match number % 6 {
            0 => self.plain(seq, now, self.bad_places()),
            1 => self.plain(seq, now, self.bad_numbers()),
            2 => self.plain(seq, now, too_many()),
            3 => {
                let (manifest, bytes) = self.plain(seq, now, self.bad_places());
                let broken = break_cbor(&bytes, number / 6);
                (manifest, broken)
            }
            4 => self.plain(seq, now, vec![item("fine", b"fine")]),
            _ => self.untrue(seq, now, number / 6),
        };
        let head = self.own.head(&manifest, seq, now);
        for link in talker.sessions() {
            talker.ask(link, Request::HeadAnnounce(self.own.announce(head.clone())));
            talker.ask(link, store_head(&head, Some(self.own.key()), 604_800));
        }
        self.current = Some(Revision {
            id: manifest.id(),
            bytes,
            head,
        });
        talker.deed("revisions");
    }

    fn plain(&self, seq: u64, now: UnixTime, items: Vec<Item>) -> (Manifest, Bytes) {
        let manifest = self.own.manifest(seq, now, items);
        let bytes = manifest.encode_compact().into();
        (manifest, bytes)
    }

    /// Every place that no file is written to, between some that are fine.
    fn bad_places(&self) -> Vec<Item> {
        let bad = tricks().into_iter();
        let places = HARMLESS.map(str::to_owned).into_iter().chain(bad);
        let places = places.chain(COLLISIONS.map(str::to_owned));
        places
            .map(|place| item(&*place, content(&place).as_bytes()))
            .collect()
    }

    fn bad_numbers(&self) -> Vec<Item> {
        let base = |name: &str| item(name, content(name).as_bytes());
        let sized = |name: &str, size: u64, chunk_count: u32| Item {
            size,
            chunk_count,
            ..base(name)
        };
        let mut twin = base("twin");
        twin.content = base("harmless").content;
        twin.size = twin.size.wrapping_add(1);
        vec![
            base("harmless"),
            twin,
            sized("largest", u64::MAX, u32::MAX),
            sized("largest too", u64::MAX, 0),
            sized("half", 1 << 63, 1),
            sized("longest", CONTENT_LEN_MAX, 4_194_304),
            sized("longer", CONTENT_LEN_MAX + 1, 4_194_305),
            sized("empty", 0, 5),
            sized("nothing", 0, 0),
            sized("few", 10 << 20, 1),
            sized("many", 10, 40),
            sized("wrapped", 262_144, u32::MAX),
            Item {
                chunk_list_hash: [0; 32],
                ..sized("unlisted", 600_000, 3)
            },
        ]
    }

    /// A manifest that its signature, its share or its time speaks against.
    fn untrue(&self, seq: u64, now: UnixTime, which: u64) -> (Manifest, Bytes) {
        let (mut manifest, _) = self.plain(seq, now, vec![item("fine", b"fine")]);
        match which % 5 {
            0 => manifest.signature = None,
            1 => manifest.title = Some("Another title".into()),
            2 => {
                manifest = self.own.sign(Manifest {
                    share: scp2p_proto::id::ShareId([7; 32]),
                    ..manifest
                })
            }
            3 => {
                let expires_at = Some(UnixTime(1));
                let created_at = UnixTime(0);
                manifest = self.own.sign(Manifest {
                    expires_at,
                    created_at,
                    ..manifest
                });
            }
            _ => {
                manifest = self.own.sign(Manifest {
                    seq: seq + 7,
                    ..manifest
                })
            }
        }
        let bytes = manifest.encode().into();
        (manifest, bytes)
    }
}

impl Policy for HostilePublisher {
    fn pace(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn turn(&mut self, talker: &mut Talker) {
        if self.contents.is_empty() {
            let items = [self.bad_places(), self.bad_numbers()].concat();
            let bytes = |item: &Item| (item.content, Bytes::from(content(&item.name)));
            self.contents = items.iter().map(bytes).collect();
            let fine = item("fine", b"fine");
            self.contents
                .insert(fine.content, Bytes::from_static(b"fine"));
        }
        talker.keep_sessions(Way::Ours);
        if self.turns.is_multiple_of(REVISION) {
            self.revise(talker);
        }
        self.turns += 1;
    }

    fn up(&mut self, talker: &mut Talker, link: LinkId) {
        if let Some(current) = &self.current {
            let head = current.head.clone();
            talker.ask(link, Request::HeadAnnounce(self.own.announce(head)));
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what it has no mischief for is answered as anybody would"
    )]
    fn request(&mut self, talker: &mut Talker, asked: Asked) {
        let answer = match &asked.request {
            Request::GetManifest(id) => {
                let current = self.current.as_ref().filter(|current| current.id == *id);
                current.map(|current| {
                    talker.deed("manifests given");
                    Answer::Manifest {
                        id: *id,
                        bytes: current.bytes.clone(),
                    }
                })
            }
            Request::Have(contents) => Some(Answer::Have(Have {
                sizes: contents
                    .iter()
                    .map(|id| Some(self.contents.get(id)?.len() as u64))
                    .collect(),
            })),
            Request::GetChunk { content, index } => {
                let data = self.contents.get(content).cloned();
                data.map(|data| {
                    talker.deed("chunks given");
                    Answer::Chunk {
                        content: *content,
                        index: *index,
                        data,
                    }
                })
            }
            request => self
                .current
                .as_ref()
                .and_then(|current| self.own.show(talker, request, &current.head)),
        };
        match answer {
            Some(answer) => talker.answer(&asked, &answer),
            None => talker.answer_well(&asked),
        }
    }

    fn reply(
        &mut self,
        talker: &mut Talker,
        _link: LinkId,
        request: Request,
        answer: Result<Answer, AnswerError>,
    ) {
        if let (Request::HeadAnnounce(_), Ok(_)) = (request, answer) {
            talker.deed("heads announced");
        }
    }

    fn share(&self, talker: &Talker) -> Option<ShareLink> {
        Some(self.own.link(talker))
    }
}

/// What the file of a place has.
fn content(place: &str) -> String {
    format!("this is {place:?}")
}

/// One file more than a catalog may list.
fn too_many() -> Vec<Item> {
    let empty = item("", b"");
    let named = |n: usize| Item {
        name: n.to_string(),
        path: None,
        ..empty.clone()
    };
    (0..=MANIFEST_ITEMS_MAX).map(named).collect()
}

/// The bytes of a manifest, so that no decoder should take them, or should take what is left.
fn break_cbor(bytes: &Bytes, which: u64) -> Bytes {
    let rest = bytes.get(1..).unwrap_or_default();
    let key = |text: &str| [&[0x60 | text.len() as u8][..], text.as_bytes()].concat();
    let with = |extra: &[u8]| [&[0xae][..], extra, rest].concat();
    match which % 7 {
        // One key twice.
        0 => with(&[&key("version")[..], &[1]].concat()),
        // Without a length, and without an end.
        1 => [&[0xbf][..], rest].concat(),
        // A float and a tag where nobody looks, and deeper than anybody looks.
        2 => with(&[&key("x")[..], &[0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]].concat()),
        3 => with(&[&key("x")[..], &[0xc1, 0x00]].concat()),
        4 => with(&[&key("x")[..], &[0x81; 100_000], &[0x80]].concat()),
        5 => bytes.get(..bytes.len() / 2).unwrap_or_default().to_vec(),
        _ => [&bytes[..], b"and more"].concat(),
    }
    .into()
}
