//! Read-only views of a node, for applications.

mod clock;
mod stats;
mod why;

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::id::{DownloadId, ManifestId, NodeId, NodeKey, RelaySlotId, ShareId};
use crate::io::Transport;
use crate::record::Visibility;
use crate::storage::LocalPath;
use crate::time::UnixTime;
use crate::wire::{PeerAddr, Profile};

pub use clock::ClockDoubt;
pub use stats::{LookupCounts, LookupKind, LookupView, Stats};
pub use why::{Cause, DownloadCause, PeerCause, ShareCause, Subject, SubscriptionCause};

/// The node at a glance.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Our key.
    pub key: NodeKey,
    /// Our place in the DHT.
    pub id: NodeId,
    /// Peers with a session.
    pub connected: u32,
    /// Those of them whose session a relay carries.
    pub relayed: u32,
    /// Peers in the address book.
    pub known: u32,
    /// Contacts in the routing table.
    pub contacts: u32,
    /// DHT values held.
    pub values: u32,
    /// Own shares.
    pub shares: u32,
    /// Subscriptions.
    pub subscriptions: u32,
    /// Unfinished downloads.
    pub downloads: u32,
    /// Those of them that are paused.
    pub paused: u32,
    /// Contents served.
    pub sources: u32,
    /// Payload bytes of chunks received and verified since the start.
    pub downloaded: u64,
    /// Payload bytes of chunks sent since the start.
    pub uploaded: u64,
    /// Where others can reach us, as far as we know.
    pub addresses: Vec<PeerAddr>,
    /// Whether others can dial us.
    pub reachability: Reachability,
    /// Who tried to dial us, by transport, in the order in which they did; at most 10 (SPECIFICATION §9.6).
    pub attempts: Vec<AttemptView>,
    /// Where peers see us, what most networks say first; at most 64 (SPECIFICATION §9.3).
    pub observed: Vec<ObservedView>,
    /// Why our clock may be wrong, if it may be.
    pub clock: Option<ClockDoubt>,
}

/// That a peer tried to dial this node, which speaks for or against its being reached (SPECIFICATION §9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptView {
    /// The peer.
    pub peer: NodeKey,
    /// Where it is: peers of one network are one voice, that of the last.
    pub from: IpAddr,
    /// What it dialled over.
    pub transport: Transport,
    /// Whether it reached us.
    pub reached: bool,
    /// How long ago that was.
    pub ago: Duration,
}

/// An address at which peers see this node (SPECIFICATION §9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObservedView {
    /// The address.
    pub ip: IpAddr,
    /// So many networks say so.
    pub networks: u32,
    /// Whether it counts. What one network says alone does not where two agree on something else.
    pub is_believed: bool,
}

/// Whether others can dial this node, as they say that were asked to (SPECIFICATION §9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reachability {
    /// Over QUIC.
    pub quic: Reach,
    /// Over TCP.
    pub tcp: Reach,
    /// So many tried.
    pub voices: u32,
    /// So many relays lead here, deployed ones included (SPECIFICATION §9.7, §11.1).
    pub relays: u32,
}

/// How others get to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReachState {
    /// Nobody tried yet.
    Unknown,
    /// They dial it.
    Direct,
    /// They find it through relays.
    Relayed,
    /// Not at all: it has to dial them.
    OutboundOnly,
}

/// What those say who tried to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nobody tried yet.
    Unknown,
    /// Those of most networks could.
    Reached,
    /// They could not, or we do not listen.
    NotReached,
}

impl Reachability {
    /// Whether no relay is needed to reach this node; `None` while nothing is known. QUIC alone being unknown counts as
    /// not reached: few peers can tell.
    pub fn is_direct(&self) -> Option<bool> {
        match (self.quic, self.tcp) {
            (Reach::Reached, _) | (_, Reach::Reached) => Some(true),
            (_, Reach::NotReached) => Some(false),
            (_, Reach::Unknown) => None,
        }
    }

    /// How others get to this node.
    pub fn state(&self) -> ReachState {
        match self.is_direct() {
            None => ReachState::Unknown,
            Some(true) => ReachState::Direct,
            Some(false) if self.relays > 0 => ReachState::Relayed,
            Some(false) => ReachState::OutboundOnly,
        }
    }
}

/// What a node relays for others (SPECIFICATION §11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayView {
    /// Who can be asked for here, by key.
    pub places: Vec<PlaceView>,
    /// The circuits that are up, oldest first.
    pub circuits: Vec<CircuitView>,
    /// The slots of deployed peers (SPECIFICATION §9.7), oldest first.
    pub slots: Vec<SlotView>,
    /// All there was since the start.
    pub totals: RelayTotals,
}

/// A place that somebody has at this relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceView {
    /// Who has it.
    pub peer: NodeKey,
    /// From where: an IPv4 address, or the first half of an IPv6 one.
    pub ip: IpAddr,
    /// How long it is kept if it is not asked for again.
    pub expires_in: Duration,
}

/// A circuit that passes through this relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitView {
    /// Who opened it.
    pub opener: NodeKey,
    /// To whom.
    pub target: NodeKey,
    /// Sealed bytes that passed, both ways together.
    pub bytes: u64,
    /// How long ago it was opened.
    pub age: Duration,
    /// How long ago something passed.
    pub idle: Duration,
}

/// A slot that a deployed peer has at this relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotView {
    /// Its number.
    pub slot: RelaySlotId,
    /// Who has it.
    pub owner: NodeKey,
    /// From where it was registered: an IPv4 address, or the first half of an IPv6 one.
    pub ip: IpAddr,
    /// How long ago it was registered first.
    pub age: Duration,
    /// The tunnel on which its owner is asked; without one nobody can ask it.
    pub tunnel: Option<TunnelView>,
}

/// The tunnel of a slot. The relay can read what passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelView {
    /// How long ago it came up.
    pub age: Duration,
    /// How long ago something passed.
    pub idle: Duration,
    /// Requests that went to the owner.
    pub requests: u64,
    /// Bytes that passed, both ways together.
    pub bytes: u64,
    /// Who waits for an answer, first the one whose request the owner has.
    pub asking: Vec<AskerView>,
}

/// A request for the owner of a slot that is not answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskerView {
    /// Who asks.
    pub peer: NodeKey,
    /// How long ago it asked.
    pub age: Duration,
}

impl RelayView {
    /// How many circuits are up and requests in tunnels under way: what would be cut off if the relay were gone.
    pub fn under_way(&self) -> usize {
        let tunnels = self.slots.iter().filter_map(|slot| slot.tunnel.as_ref());
        let asking: usize = tunnels.map(|tunnel| tunnel.asking.len()).sum();
        self.circuits.len().saturating_add(asking)
    }
}

/// What a relay did since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayTotals {
    /// Circuits that came up.
    pub circuits: u64,
    /// Places and circuits that were refused, and requests of deployed peers for which a quota left no bytes.
    pub refused: u64,
    /// Bytes that passed, both ways together.
    pub bytes: u64,
    /// Those of them that passed through tunnels of deployed peers.
    pub tunnelled: u64,
}

/// A peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerView {
    /// Its key.
    pub key: NodeKey,
    /// The session, if there is one.
    pub session: Option<SessionView>,
    /// Addresses it was reached at, newest first.
    pub addresses: Vec<PeerAddr>,
    /// When it was last connected.
    pub last_seen: Option<UnixTime>,
    /// Our experience with it, from -100 to 100.
    pub score: i32,
    /// Whether it was ever seen bound, that is, whether it is a node like ours.
    pub ours: bool,
}

/// A session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionView {
    /// Over which transport.
    pub transport: Transport,
    /// The other end, which is the relay's if there is one.
    pub remote: SocketAddr,
    /// The relay that carries the session; it sees ciphertext.
    pub via: Option<NodeKey>,
    /// Whether the peer dialled us.
    pub inbound: bool,
    /// The hello profile spoken.
    pub profile: Profile,
    /// Whether the session is bound to its TLS channel.
    pub bound: bool,
    /// What this node has to do with it, if it or another one with the peer is a tunnel of deployed peers: the relay reads
    /// what goes through it.
    pub tunnel: Option<Tunnel>,
    /// The last round trip measured.
    pub rtt: Option<Duration>,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

/// What this node has to do with a tunnel of deployed peers. The relay reads all that goes through it and can alter it,
/// so whoever asks proves what comes by hashes and signatures (SPECIFICATION §9.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tunnel {
    /// It is the relay, and the peer is asked through it.
    Relay,
    /// It is asked through it, by whomever. The peer's key is a name for the slot, and nobody's.
    Owner,
    /// It asks through it. The peer's key is a name for the slot, and nobody's: who answers proves nothing by it.
    Requester,
}

/// An own share.
#[derive(Debug, Clone, PartialEq)]
pub struct ShareView {
    /// Its id.
    pub id: ShareId,
    /// Its local name.
    pub name: String,
    /// Its title.
    pub title: Option<String>,
    /// Its newest revision, 0 before the first is durable.
    pub seq: u64,
    /// That revision's manifest.
    pub manifest: Option<ManifestId>,
    /// Items in it.
    pub items: u32,
    /// Bytes of all items.
    pub bytes: u64,
    /// Who may list it.
    pub visibility: Visibility,
    /// Peers connected now that follow it.
    pub followers: u32,
    /// Published files that changed and are not served.
    pub changed: Vec<LocalPath>,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq)]
pub struct SubscriptionView {
    /// The share.
    pub id: ShareId,
    /// The title of the newest catalog.
    pub title: Option<String>,
    /// The newest revision we hold, 0 before the first.
    pub seq: u64,
    /// Its manifest.
    pub manifest: Option<ManifestId>,
    /// Items in it.
    pub items: u32,
    /// Bytes of all items.
    pub bytes: u64,
    /// When somebody was last asked successfully.
    pub checked: Option<UnixTime>,
    /// Peers that serve it, as far as we know.
    pub providers: u32,
}

/// A download.
#[derive(Debug, Clone, PartialEq)]
pub struct DownloadView {
    /// Its id.
    pub id: DownloadId,
    /// What it is called: the item's or the share's name, untrusted text.
    pub name: String,
    /// Where it is written.
    pub root: LocalPath,
    /// How it stands.
    pub state: DownloadState,
    /// Verified bytes on disk.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
    /// Items complete.
    pub items_done: u32,
    /// Items in all.
    pub items: u32,
    /// Bytes received per second, lately.
    pub rate: u64,
    /// Peers that serve it now.
    pub peers: Vec<DownloadPeer>,
    /// What it waits for, for people.
    pub waiting: Option<String>,
}

/// How a download stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadState {
    /// Getting on, or looking for somebody who has it.
    Running,
    /// The user paused it; nobody is asked for anything.
    Paused,
    /// All items are durable under their names.
    Finished,
    /// It cannot go on by itself.
    Failed,
}

impl DownloadState {
    /// Whether nothing more will come of it.
    pub fn has_ended(self) -> bool {
        match self {
            DownloadState::Running | DownloadState::Paused => false,
            DownloadState::Finished | DownloadState::Failed => true,
        }
    }
}

/// What one peer gave to a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadPeer {
    /// The peer.
    pub key: NodeKey,
    /// Verified bytes from it.
    pub bytes: u64,
    /// Whether it is asked through a tunnel of deployed peers, whose relay reads what it gives. Its key is a name for the
    /// slot then, and nobody's.
    pub tunnel: bool,
}
