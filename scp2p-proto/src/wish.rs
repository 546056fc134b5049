//! What one component needs of another. Each wish has exactly one handler, named with it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::command::GetWhat;
use crate::cx::Tag;
use crate::dht::Contact;
use crate::id::{ContentId, DhtKey, LinkId, NodeKey, OpId, ShareId};
use crate::netgroup::Netgroup;
use crate::record::{Manifest, Providers, RelayAnnouncement, ShareHead};
use crate::storage::{FileRef, LocalPath};
use crate::wire::{BootstrapAddr, PeerAddr, RelayRoute};

/// A need of a sibling.
pub(crate) enum Wish {
    /// Peers: have a session with this peer. Calls to it wait for the session or the failure.
    Connect(NodeKey),
    /// Peers: remember these addresses as places to try, not as reached ones.
    Hints(Vec<BootstrapAddr>),
    /// Peers: note how a peer behaved.
    Judge(NodeKey, Conduct),
    /// Peers: a connected peer may be gone: it owes an answer and is silent.
    Doubt(NodeKey),
    /// Dht: a peer was reached at these addresses and takes part in the DHT.
    Contact(Contact),
    /// Dht: a connected peer says that others do not reach it where it was reached.
    Unlisted(NodeKey),
    /// Node: sessions may end: those that are circuits, and others as long as there are so many too many. Of both the
    /// first were of no use for longest.
    Part {
        circuits: Vec<NodeKey>,
        idle: Vec<NodeKey>,
        too_many: usize,
    },
    /// Dht: a connected peer that takes part in the DHT says that it listens at these addresses.
    Candidate(Contact),
    /// Peers: find out whether a peer listens at these addresses, which have its key.
    Probe(Vec<PeerAddr>),
    /// Dht: a deployed peer among the bootstrap peers, to be asked and stored to although no routing
    /// table leads to it.
    Hub(NodeKey),
    /// Dht: a peer is no longer reachable.
    Unreachable(NodeKey),
    /// Dht: find what lies under a key. The outcome is [`Outcome::Found`](crate::cx::Outcome::Found).
    Lookup { key: DhtKey, want: Want, tag: Tag },
    /// Dht: keep a value at the nodes closest to its key and at the hubs.
    /// The outcome is [`Outcome::Stored`](crate::cx::Outcome::Stored).
    Store {
        key: DhtKey,
        value: Bytes,
        ttl_secs: u64,
        tag: Tag,
    },
    /// Dht: add our addresses to a provider record: it is read, merged and stored.
    Provide { content: ContentId, tag: Tag },
    /// Transfers: these files of an own share are served from now on, in place of what it had.
    Serve {
        share: ShareId,
        files: Vec<(ContentId, FileRef)>,
    },
    /// Transfers: files of a download, finished and durable, are served too.
    ServeFinished {
        share: Option<ShareId>,
        files: Vec<(ContentId, FileRef)>,
    },
    /// Dht: we serve these contents, so that their providers can be told on demand.
    Offered(Vec<ContentId>),
    /// Dht: we no longer serve these contents.
    Withdrawn(Vec<ContentId>),
    /// Peers: addresses that others name for third peers; places to try.
    Heard(Vec<PeerAddr>),
    /// Peers: connect this peer, of whom content is wanted, over a relay that takes content. Its session has none such.
    ContentPath(NodeKey),
    /// Transfers: download. The command is answered by the handler.
    Download(Box<DownloadWish>),
    /// Catalogs: a file of an own share is not what it was.
    Changed { share: ShareId, path: LocalPath },
    /// Relay: one more frame of a circuit may go out on the session of this link.
    Pump(LinkId),
    /// Relay: whether others can dial us.
    Reachable(bool),
    /// Relay: see to it that the owner of a deployed relay's slot can be asked. The outcome is
    /// [`Outcome::Reached`](crate::cx::Outcome::Reached).
    Tunnel { route: Box<RelayRoute>, tag: Tag },
    /// Peers: open another link to a deployed bootstrap peer for a tunnel of ours, to none of these.
    DialTunnel { but: Vec<NodeKey> },
    /// Peers: deployed peers ask us through this slot now, or through none.
    TunnelRoute(Option<Box<RelayRoute>>),
    /// Peers: others find us at these relays.
    Routes(Vec<NodeKey>),
    /// Peers: put these connected relays in an order by what they did.
    RankRelays(Vec<NodeKey>),
    /// Relay: connected relays in the order in which to ask them for places.
    RelaysRanked(Vec<NodeKey>),
    /// Peers: have a session with one or two more of the relays that are known.
    MoreRelays,
    /// Peers: relays announced themselves at places to try. All are verified.
    RelaysHeard(Vec<RelayAnnouncement>),
    /// Relay: nobody is left to dial of the relays that Peers knows.
    FindRelays,
    /// Relay: a relay announced itself here, from this network.
    Announced(Box<RelayAnnouncement>, Netgroup),
    /// Peers: be connected with the relays that the user named.
    NamedRelays,
    /// Relay: the user named this peer as a relay to prefer.
    NamedRelay(NodeKey),
    /// Catalogs: we serve (a part of) this subscribed share now; announce it.
    Serving(ShareId),
}

/// A download, resolved to its catalog.
pub(crate) struct DownloadWish {
    pub op: OpId,
    pub what: GetWhat,
    pub root: LocalPath,
    /// What to call it.
    pub name: String,
    /// The catalog, if one lists it.
    pub manifest: Option<Manifest>,
}

/// What a lookup is after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// The newest head of all that the closest nodes and hubs hold.
    Head,
    /// Any manifest of the id: the first one ends the lookup.
    Manifest,
    /// All providers named by any of them.
    Providers,
    /// Relays that announced themselves.
    Relays,
}

/// What a lookup found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    /// Nothing; `asked` nodes answered.
    Nothing {
        asked: u32,
    },
    /// The heads found, best first. Whoever knows the key verifies them.
    Heads(Vec<ShareHead>),
    Manifest(Box<Manifest>),
    Providers(Providers),
    /// Verified, each of another relay.
    Relays(Vec<RelayAnnouncement>),
}

/// How a peer behaved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// It gave what was asked.
    Good,
    /// It did not answer, or not in time.
    Slow,
    /// It sent content that does not hash to what it must.
    Corrupt,
    /// It broke the protocol.
    Offence,
}
