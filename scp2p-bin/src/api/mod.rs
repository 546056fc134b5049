//! The control API: HTTP/1.1 and JSON over a Unix socket in the data directory, described in
//! `docs/control-api.md`. Here are the forms that requests and answers have; strings that come
//! from others are in them as they came.

mod client;
mod convert;
mod event;
pub mod http;
mod node;
mod query;
mod relay;
pub mod routes;
mod server;
mod text;

use std::net::{IpAddr, SocketAddr};

use scp2p_proto::id::{ContentId, ManifestId, NodeId, NodeKey, ShareId};
use scp2p_proto::wire::BootstrapAddr;
use serde::{Deserialize, Serialize};

pub use client::{Client, ClientError};
pub use event::{EventLine, Happened, Rejection};
pub use node::Node;
pub use relay::{Circuit, Place, Relay, Slot, Tunnel};
pub use server::{Server, ServerError};
pub use text::Text;

/// The part of every path before the route.
pub const PREFIX: &str = "/v1/";
/// The longest request body in bytes: as long as a publish request with many paths needs.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// Where a node listens.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Listening {
    /// For QUIC.
    pub quic: Vec<SocketAddr>,
    /// For TLS over TCP.
    pub tcp: Vec<SocketAddr>,
}

/// What `scp2p node --json` and `scp2p relay --json` print when they are ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// As `GET status` answers.
    #[serde(flatten)]
    pub status: Status,
    /// What others can start from, with the node's key; empty while it does not know where it is reached.
    pub bootstrap: Vec<String>,
}

impl Ready {
    /// A node that stands so and is announced at these addresses. They are told as its user wrote them, with names of
    /// hosts; without them the addresses are those that the node knows of.
    pub fn new(status: Status, announce: &[BootstrapAddr]) -> Ready {
        let announced = announce.iter().map(|address| {
            let pinned = BootstrapAddr {
                key: Some(status.key.0),
                ..address.clone()
            };
            pinned.to_string()
        });
        let mut bootstrap: Vec<String> = announced.collect();
        if bootstrap.is_empty() {
            // Nobody starts from an address that is behind a relay itself.
            let direct = |address: &&String| address.parse::<BootstrapAddr>().is_ok();
            bootstrap = status.addresses.iter().filter(direct).cloned().collect();
        }
        Ready { status, bootstrap }
    }
}

/// `GET status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The node's process.
    pub pid: u32,
    /// Its data directory.
    pub data_dir: String,
    /// Its control socket.
    pub control: String,
    /// Its key.
    pub key: Text<NodeKey>,
    /// Its place in the DHT.
    pub id: Text<NodeId>,
    /// Where it listens.
    pub listening: Listening,
    /// Where others can reach it, as far as it knows.
    pub addresses: Vec<String>,
    /// Those of the addresses that lead through tunnels of deployed peers, which their relays can read.
    pub tunnels: Vec<String>,
    /// Whether others can dial it.
    pub reachability: Reachability,
    /// Why its clock may be wrong, if it may be.
    #[serde(default)]
    pub clock: Option<ClockDoubt>,
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
    /// Content bytes received and verified since the start.
    pub downloaded: u64,
    /// Content bytes sent since the start.
    pub uploaded: u64,
}

/// Whether others can dial a node, as those say that tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reachability {
    /// `direct`, `relayed` (others find it through relays), `outbound-only` (nobody can reach it) or `unknown`.
    pub state: String,
    /// Over QUIC: `reached`, `not-reached` or `unknown`.
    pub quic: String,
    /// Over TCP, in the same words.
    pub tcp: String,
    /// So many tried.
    pub voices: u32,
    /// Each of them, at most 10.
    pub attempts: Vec<Attempt>,
    /// Where peers see the node, what most networks say first.
    pub observed: Vec<Observed>,
}

/// That a peer tried to dial a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The peer's key.
    pub peer: Text<NodeKey>,
    /// Where it is.
    pub from: IpAddr,
    /// `quic` or `tcp`.
    pub transport: String,
    /// Whether it reached the node.
    pub reached: bool,
    /// So many seconds ago.
    pub ago_secs: u64,
}

/// An address at which peers see a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The address.
    pub ip: IpAddr,
    /// So many networks say so.
    pub networks: u32,
    /// Whether the node takes it for its own: not what one network says alone where two agree on something else.
    pub believed: bool,
}

/// A reason to think that a node's clock is wrong, so that handshakes are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClockDoubt {
    /// Whether peers of several networks agree; else it may be a peer's clock that is wrong.
    pub likely: bool,
    /// By about how many seconds the clock is ahead of those of peers, or behind if negative; none if peers only closed
    /// without saying why.
    pub off_secs: Option<i64>,
    /// How many peers say so; of those that said nothing, the networks they are in.
    pub peers: u32,
    /// In how many networks they are.
    pub networks: u32,
}

/// `GET id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The node's key.
    pub key: Text<NodeKey>,
    /// Its place in the DHT.
    pub id: Text<NodeId>,
    /// Where others can reach it, as far as it knows.
    pub addresses: Vec<String>,
    /// Those of the addresses that lead through tunnels of deployed peers, which their relays can read.
    pub tunnels: Vec<String>,
}

/// An entry of `GET peers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Its key.
    pub key: Text<NodeKey>,
    /// The session, if there is one.
    pub session: Option<Session>,
    /// Addresses it was reached at, newest first.
    pub addresses: Vec<String>,
    /// When it was last connected, in seconds since 1970.
    pub last_seen: Option<u64>,
    /// Experience with it, from -100 to 100.
    pub score: i32,
    /// Whether it was ever seen bound to its channel.
    pub ours: bool,
}

/// A session with a peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// `quic` or `tcp`.
    pub transport: String,
    /// The other end, which is the relay's if there is one.
    pub remote: SocketAddr,
    /// The relay that carries it; it sees ciphertext alone, unless this is a tunnel.
    pub via: Option<Text<NodeKey>>,
    /// Whether the peer dialled.
    pub inbound: bool,
    /// The hello profile: `A`, `B` or `C`.
    pub profile: String,
    /// Whether it is bound to its TLS channel.
    pub bound: bool,
    /// What the node is in this tunnel of deployed peers, `relay`, `owner` or `requester`: the relay reads what goes
    /// through it. None for other sessions.
    pub tunnel: Option<String>,
    /// The last round trip in microseconds.
    pub rtt_us: Option<u64>,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

/// Who may list a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Who has the link.
    Private,
    /// Everybody.
    Public,
}

/// An entry of `GET shares`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Its id.
    pub id: Text<ShareId>,
    /// Its local name.
    pub name: String,
    /// Its title.
    pub title: Option<String>,
    /// Its newest revision, 0 before the first.
    pub seq: u64,
    /// That revision's manifest.
    pub manifest: Option<Text<ManifestId>>,
    /// Items in it.
    pub items: u32,
    /// Bytes of all items.
    pub bytes: u64,
    /// Who may list it.
    pub visibility: Visibility,
    /// Peers connected now that follow it.
    pub followers: u32,
    /// Published files that changed and are not served.
    pub changed: Vec<String>,
}

/// An entry of `GET subscriptions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    /// The share.
    pub id: Text<ShareId>,
    /// The title of the newest catalog.
    pub title: Option<String>,
    /// The newest revision held, 0 before the first.
    pub seq: u64,
    /// Its manifest.
    pub manifest: Option<Text<ManifestId>>,
    /// Items in it.
    pub items: u32,
    /// Bytes of all items.
    pub bytes: u64,
    /// When somebody was last asked successfully, in seconds since 1970.
    pub checked: Option<u64>,
    /// Peers that serve it, as far as known.
    pub providers: u32,
}

/// An entry of `GET public`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublicShare {
    /// The share.
    pub id: Text<ShareId>,
    /// The title that peers tell.
    pub title: Option<String>,
    /// The description that peers tell.
    pub description: Option<String>,
    /// The newest revision told.
    pub seq: u64,
    /// How many peers told of it.
    pub peers: u32,
    /// What to subscribe with.
    pub link: String,
}

/// How a download stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DownloadState {
    /// Getting on, or looking for somebody who has it.
    Running,
    /// Paused by the user.
    Paused,
    /// Complete.
    Finished,
    /// It cannot go on by itself.
    Failed,
}

/// An entry of `GET downloads`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Download {
    /// Its number.
    pub id: u64,
    /// What it is called.
    pub name: String,
    /// Where it is written.
    pub folder: String,
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
    /// What peers gave to it.
    pub peers: Vec<Giver>,
    /// What it waits for, for people.
    pub waiting: Option<String>,
}

/// What one peer gave to a download.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Giver {
    /// The peer.
    pub key: Text<NodeKey>,
    /// Verified bytes from it.
    pub bytes: u64,
    /// Whether it is asked through a tunnel of deployed peers, which its relay can read. The key is a name for it then.
    pub tunnel: bool,
}

/// `GET catalog?share=`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    /// The share.
    pub share: Text<ShareId>,
    /// The revision.
    pub seq: u64,
    /// Its title.
    pub title: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Who may list it.
    pub visibility: Visibility,
    /// When its owner made it, in seconds since 1970.
    pub created: u64,
    /// What is in it.
    pub items: Vec<Item>,
}

/// An item of a catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its path in the share, or its name.
    pub path: String,
    /// Its content.
    pub content: Text<ContentId>,
    /// Its size.
    pub size: u64,
    /// Its media type.
    pub mime: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
}

/// `GET link?share=`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The link.
    pub link: String,
}

/// `GET search?q=&share=&offset=&limit=`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Results in all.
    pub total: u64,
    /// The results asked for, best first.
    pub hits: Vec<Hit>,
}

/// A search result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Its place among all results; the first is 1.
    pub number: u64,
    /// The share.
    pub share: Text<ShareId>,
    /// The share's title.
    pub share_title: Option<String>,
    /// The item's path in the share, or its name.
    pub path: String,
    /// Its content.
    pub content: Text<ContentId>,
    /// Its size.
    pub size: u64,
    /// Its media type.
    pub mime: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// How well it matches, in thousandths.
    pub score_milli: u32,
}

/// What `POST publish` takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// The share's local name.
    pub name: String,
    /// Files and folders, absolute.
    pub paths: Vec<String>,
    /// Title; none keeps that of the last revision.
    pub title: Option<String>,
    /// Description; none keeps that of the last revision.
    pub description: Option<String>,
    /// Tags for every item; none keeps those of the last revision.
    pub tags: Option<Vec<String>>,
    /// Visibility; none keeps that of the last revision, private at first.
    pub visibility: Option<Visibility>,
}

/// What `POST publish` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// The share.
    pub share: Text<ShareId>,
    /// Its new sequence number.
    pub seq: u64,
    /// The manifest.
    pub manifest: Text<ManifestId>,
    /// How many items it lists.
    pub items: u32,
    /// How many bytes they have.
    pub bytes: u64,
    /// The link to give to others.
    pub link: String,
}

/// What `POST subscribe` takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscribeRequest {
    /// The link.
    pub link: String,
}

/// What `POST subscribe` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The share.
    pub share: Text<ShareId>,
    /// False if it was followed already.
    pub new: bool,
}

/// What `POST unsubscribe` and `unpublish` take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareRequest {
    /// The share.
    pub share: Text<ShareId>,
}

/// What `POST sync` takes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// The share; none for all.
    pub share: Option<Text<ShareId>>,
}

/// What `POST sync` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Synced {
    /// How many shares were looked up.
    pub shares: u32,
    /// How many of them got a newer revision.
    pub updated: u32,
}

/// What `POST get` takes: either a share, perhaps with a path, or a content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetRequest {
    /// The share.
    pub share: Option<Text<ShareId>>,
    /// An item's path or a folder in the share; none for all of it.
    pub path: Option<String>,
    /// The content.
    pub content: Option<Text<ContentId>>,
    /// The folder to write into, absolute.
    pub folder: String,
}

/// What `POST get` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The download.
    pub download: u64,
    /// Items that will be fetched.
    pub items: u32,
    /// Bytes they have.
    pub bytes: u64,
    /// Items refused for their names.
    pub refused: Vec<Refused>,
}

/// An item that is not downloaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// Its path in the catalog.
    pub path: String,
    /// Why, for people.
    pub reason: String,
}

/// What `POST pause`, `resume` and `cancel` take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DownloadRequest {
    /// The download.
    pub download: u64,
}

/// What `POST stop` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stopping {
    /// So many seconds at most the node waits for circuits that pass before it goes.
    pub drain_secs: u64,
}

/// The answer to what has nothing to tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {}

/// The body of every answer that is not 200.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ApiError,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// For programs, one word.
    pub code: String,
    /// For people.
    pub message: String,
}
