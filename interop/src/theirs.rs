//! Nodes of the published releases, which run in this process as the published programs run them: each with a runtime
//! of its own, which ends with it.

mod relaying;
mod v0_3;
mod v0_4;
mod v0_6;

use std::any::Any;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use scp2p_proto::id::{ContentId, NodeKey, ShareId, ShareKey};
use scp2p_proto::io::Transport;
use scp2p_proto::record::ShareLink;
use scp2p_proto::wire::{PeerAddr, Profile};

pub use relaying::{Held, Relaying};

/// A release of the published crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// 0.3.2, which speaks profile A.
    V0_3,
    /// 0.4.0, which speaks profile B.
    V0_4,
    /// 0.6.0, which speaks profile C.
    V0_6,
}

impl Release {
    /// All of them.
    pub const ALL: [Release; 3] = [Release::V0_3, Release::V0_4, Release::V0_6];

    /// The profile that it speaks.
    pub fn profile(self) -> Profile {
        match self {
            Release::V0_3 => Profile::A,
            Release::V0_4 => Profile::B,
            Release::V0_6 => Profile::C,
        }
    }

    /// Starts a node on ports that the kernel chooses.
    pub fn start(self, setup: Setup) -> Box<dyn Published> {
        match self {
            Release::V0_3 => Box::new(v0_3::Node::start(&setup)),
            Release::V0_4 => Box::new(v0_4::Node::start(&setup)),
            Release::V0_6 => Box::new(v0_6::Node::start(&setup)),
        }
    }
}

/// How a published node is started.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// What it listens on; a client listens on nothing.
    pub listens: Vec<Transport>,
    /// The peers it starts from, which it stores to and looks things up at.
    pub seeds: Vec<PeerAddr>,
    /// Where it cannot dial, as if its network did not let it.
    pub walls: Vec<SocketAddr>,
    /// It answers and asks as much as comes, where the release lets that be set.
    pub unlimited: bool,
}

impl Setup {
    /// That listens over one transport.
    pub fn listening(transport: Transport) -> Setup {
        Setup {
            listens: vec![transport],
            ..Setup::default()
        }
    }

    /// With these peers to start from.
    pub fn seeds(self, seeds: impl Into<Vec<PeerAddr>>) -> Setup {
        Setup {
            seeds: seeds.into(),
            ..self
        }
    }

    /// That cannot dial this peer.
    pub fn walled_off(mut self, peer: &PeerAddr) -> Setup {
        self.walls.push(SocketAddr::new(peer.ip, peer.port));
        self
    }

    /// With no limits of how much it answers and asks.
    pub fn without_limits(self) -> Setup {
        Setup {
            unlimited: true,
            ..self
        }
    }
}

/// A running node of a published release. What it says of a failure is its own text.
pub trait Published: Relaying + Send + Sync {
    /// Its key.
    fn key(&self) -> NodeKey;

    /// Where it listens over this transport, its key included.
    fn addr(&self, transport: Transport) -> PeerAddr;

    /// Tells others this address instead of its own from now on.
    fn tell_addr(&mut self, addr: PeerAddr);

    /// Joins a community of this key, and is announced as a member where it stores what it holds, if the release does that.
    fn join(&self, community: ShareKey);

    /// Dials a peer, insisting on the key in the address if there is one.
    fn dial(&self, peer: &PeerAddr) -> Result<Session, String>;

    /// Publishes these files, the next revision if the label was used before. With a base, their paths in the share
    /// are those below it.
    fn publish(&self, label: &str, files: &[PathBuf], base: Option<&Path>) -> ShareLink;

    /// Stores all it holds at its seeds, as it does every minute; how many values were taken.
    fn republish(&self) -> Result<usize, String>;

    /// Follows a share.
    fn subscribe(&self, link: &ShareLink);

    /// Follows a share whose key it does not know.
    fn subscribe_by_id(&self, share: ShareId);

    /// Looks for new revisions, as it does every minute.
    fn sync(&self) -> Result<(), String>;

    /// The revision it has of a share it follows; 0 is none yet.
    fn revision(&self, share: ShareId) -> u64;

    /// What is in a share that it follows.
    fn items(&self, share: ShareId) -> Vec<Item>;

    /// The names of what a search in the shares it follows finds.
    fn search(&self, text: &str) -> Vec<String>;

    /// Downloads a content from whoever has it. It serves it from there afterwards.
    fn download(&self, content: ContentId, to: &Path) -> Result<(), String>;
}

/// A session of a published node, which ends when this is dropped.
pub struct Session {
    /// The key of who is at the other end.
    pub with: NodeKey,
    _stream: Box<dyn Any + Send>,
}

/// A file in a share, as a published node lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its content.
    pub content: ContentId,
    /// In bytes.
    pub size: u64,
    /// Its path in the share, or its name if it has none.
    pub path: String,
}
