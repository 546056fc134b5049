//! Every bound of the node, each with its reason.

use core::time::Duration;

use crate::record::RendezvousSlot;

/// Handshake frames, by SPECIFICATION §2.
pub const HANDSHAKE_FRAME_MAX: u32 = 65_536;
/// A sealed record of a circuit, by SPECIFICATION §11: enough that its envelope is nothing beside it and that four carry a
/// chunk with its head, little enough that one circuit does not keep others waiting.
pub const RECORD_MAX: usize = 66 << 10;
/// What may be sent on a circuit before anything was granted, by SPECIFICATION §11: more than a handshake takes.
pub const CIRCUIT_CREDIT_FIRST: u64 = 16_384;
/// What a relay holds of a circuit in one direction at most: as much as 5 MiB a second has under way in 100 ms.
pub const CIRCUIT_WINDOW: u64 = 512 << 10;
/// Credit of a circuit is told when it is so much: seldom, as each time wakes the other end, yet with enough of the window
/// left to go on sending.
pub const CREDIT_STEP: u64 = CIRCUIT_WINDOW / 4;
/// What a piece of data on a circuit counts more than it has bytes, by SPECIFICATION §11: else many small ones would take
/// more memory than they count.
pub const CIRCUIT_COST: u64 = 256;
/// Frames of circuits that are not there, of one session, at once and a second afterwards, by SPECIFICATION §11: what can be
/// under way on 16 circuits when they end, and on one each second, if a frame has 256 bytes.
pub const STRAYS_BURST: u32 = 16 * STRAYS_PER_SECOND;
/// See [`STRAYS_BURST`].
pub const STRAYS_PER_SECOND: u32 = (CIRCUIT_WINDOW / (CIRCUIT_COST + 256)) as u32;
/// Circuits that end here, of one relay.
pub const CIRCUITS_OF_RELAY_MAX: usize = 64;
/// Idle circuits that a node ends at a time: who is needed depends on who else is there, so that it is seen in between.
pub const CIRCUITS_PARTED_MAX: usize = 4;
/// How much the end of a circuit queues of its own before it waits: as much as a relay holds.
pub const CIRCUIT_ROOM: u32 = CIRCUIT_WINDOW as u32;
/// Circuits that end here, of all relays together.
pub const CIRCUITS_HERE_MAX: usize = 256;
/// Peers remembered, for each transport, for having tried to dial us.
pub const REACH_VOICES_MAX: usize = 5;
/// Peers remembered for how often a direct path to them was tried.
pub const PUNCHES_MAX: usize = 512;
/// Ends of circuits that may have us dial them, at once and a second afterwards: what they name may be a third party.
pub const PUNCH_BURST: u32 = 32;
/// See [`PUNCH_BURST`].
pub const PUNCHES_PER_SECOND: u32 = 1;
/// How often a direct path to a peer is tried until something changes: seldom does more help, and the last of six is a
/// quarter of an hour after the first.
pub const PUNCH_TRIES_MAX: u32 = 6;
/// Moments agreed with the other ends of circuits, not come yet: as many as may be dialled for it within the longest wait.
pub const MEETINGS_MAX: usize = 64;
/// How long the other end of a circuit may have us wait before we dial it: half a round trip that nobody waits for any
/// longer, and the head start of one end.
pub const PUNCH_WAIT_MAX: Duration = Duration::from_secs(3);
/// Peers asked where they see us before a direct path is tried again: more than could agree by chance.
pub const PUNCH_WITNESSES_MAX: usize = 8;
/// Endpoints told to the other end of a circuit: of two IP versions, and the local ones.
pub const PUNCH_ENDPOINTS_MAX: usize = 4;
/// Peers dialled at a time because they asked for it.
pub const DIAL_BACKS_MAX: usize = 16;
/// Addresses remembered as dialled lately because somebody there asked for it.
pub const DIAL_BACK_PAUSES_MAX: usize = 1024;
/// Places at relays that a node has which nobody can dial: with one dead and one busy there is still one.
pub const PLACES_WANTED: usize = 3;
/// How long a relay may be silent where a node has a place before it is pinged, as a mean: nothing else tells that it is gone
/// for up to a minute, in which nobody finds the node there. A ping and its answer are some 300 bytes with all their
/// headers: 30 bytes a second for a place, and 50 pings a second for a relay with all its places taken.
pub const PLACE_SILENCE: Duration = Duration::from_secs(10);
/// How long it has to answer each ping: several times as long as what was lost takes to be sent again.
pub const PLACE_PING_TIME: Duration = Duration::from_secs(2);
/// Pings without an answer after which it is given up, 12 to 17 s after it went silent.
pub const PLACE_PINGS_MAX: u32 = 2;
/// Circuits remembered for having ended otherwise than wanted.
pub const AILING_CIRCUITS_MAX: usize = 1024;
/// Relays remembered for giving no place.
pub const RELAYS_REFUSING_MAX: usize = 256;
/// Slots of deployed peers, as many as their relays have: each may be a session.
pub const SLOTS_MAX: usize = 64;
/// Slots of one owner, as many as deployed relays give.
pub const SLOTS_OF_OWNER_MAX: usize = 4;
/// How long a slot is kept that is not registered again, in seconds, by SPECIFICATION §9.7.
pub const SLOT_LIFE_SECS: u64 = 600;
/// Requests that wait for the owner of a slot, each up to 1 MiB, as with deployed relays.
pub const SLOT_QUEUE_MAX: usize = 32;
/// Requests for the owner of one slot, at once and a second afterwards: some MiB a second of chunks.
pub const SLOT_BURST: u32 = 64;
/// See [`SLOT_BURST`].
pub const SLOT_PER_SECOND: u32 = 16;
/// Requests to relay from one address, at once and a second afterwards: a deployed relay takes 180 a minute.
pub const ASKER_BURST: u32 = 64;
/// See [`ASKER_BURST`].
pub const ASKER_PER_SECOND: u32 = 8;
/// Requests of one session that may wait for owners of slots: so many of the longest replies fit its queue.
pub const ASKER_STREAMS_MAX: usize = 4;
/// Owners of slots asked at a time, relays being connected included.
pub const SLOTS_ASKED_MAX: usize = 64;
/// Slots remembered because their owners could not be asked.
pub const SLOTS_RESTING_MAX: usize = 1024;
/// What waits on its way to the owner of a slot, in bytes: some dozens of requests, of which one at a time goes out.
pub const TUNNEL_ROOM: u32 = 16_384;
/// A request that is relayed, in bytes: twice the longest value of the DHT, far more than any request for contents.
pub const RELAYED_REQUEST_MAX: usize = 2 * VALUE_MAX;
/// Requests that wait for owners of slots, all together: some dozens of MiB of the longest ones.
pub const SLOT_QUEUES_MAX: usize = 256;
/// Addresses remembered for what they had relayed lately.
pub const ASKERS_MAX: usize = 1024;
/// Reservations held for others: each is a session too.
pub const RESERVATIONS_MAX: usize = 512;
/// Addresses remembered with what those there took of a relay within an hour, and with how often they asked for places and
/// circuits: more than clients have that come and go in that time.
pub const RELAY_ACCOUNTS_MAX: usize = 4096;
/// Places and circuits that those at one address may ask a relay for at once, and each second: some dozens of peers that all
/// come back at the same time.
pub const RELAY_ASKS_BURST: u32 = 64;
/// See [`RELAY_ASKS_BURST`].
pub const RELAY_ASKS_PER_SECOND: u32 = 4;
/// Envelope frames, by SPECIFICATION §2.
pub const FRAME_MAX: u32 = 2_097_152;
/// Payloads, by SPECIFICATION §2.
pub const PAYLOAD_MAX: usize = 1_048_576;
/// A chunk of content, by SPECIFICATION §7.
pub const CHUNK_LEN: u32 = 262_144;
/// A content in bytes: 1024 hash pages of 1 GiB each,
/// so that the level above them is a short page itself.
pub const CONTENT_LEN_MAX: u64 = 1 << 40;
/// DHT values, by SPECIFICATION §6.
pub const VALUE_MAX: usize = 65_536;
/// Contacts in a bucket of the routing table, and closest nodes of a lookup: K, by SPECIFICATION §6.
pub const DHT_BUCKET_LEN: usize = 20;
/// Contacts of one IPv4 /24 or IPv6 /48 in a bucket, so that no network can fill it by itself.
pub const DHT_NETWORK_MAX: usize = 2;
/// Addresses kept of a DHT contact: both transports on both IP versions.
pub const CONTACT_ADDRS_MAX: usize = 4;
/// Queries of a lookup at a time: alpha, by SPECIFICATION §6. Slow ones are not counted.
pub const LOOKUP_PARALLEL_MAX: u32 = 3;
/// Queries of a lookup at a time, slow ones too: enough to pass by the dead among K nodes.
pub const LOOKUP_OPEN_MAX: u32 = 9;
/// Queries of a lookup in all. Honest networks of millions need about half of it.
pub const LOOKUP_QUERIES_MAX: u32 = 80;
/// Nodes that a lookup remembers: all that K nodes can name, less what they name in common.
pub const LOOKUP_CANDIDATES_MAX: usize = 256;
/// Items of a manifest, by SPECIFICATION §5.2.
pub const MANIFEST_ITEMS_MAX: usize = 3000;
/// A manifest's CBOR: it must fit a payload together with its wrapper.
pub const MANIFEST_BYTES_MAX: usize = PAYLOAD_MAX - 512;
/// An item's path in bytes, by SPECIFICATION §5.2.
pub const ITEM_PATH_MAX: usize = 1024;
/// An item's name or path in bytes when read: some deployed publisher may not know the limit.
pub const ITEM_NAME_MAX: usize = 4096;
/// An item's media type in bytes; twice what RFC 6838 allows.
pub const ITEM_MIME_MAX: usize = 256;
/// Tags of an item; people read them.
pub const ITEM_TAGS_MAX: usize = 64;
/// A tag in bytes; people read it.
pub const ITEM_TAG_MAX: usize = 256;
/// A share's title in bytes; people read it.
pub const TITLE_MAX: usize = 4096;
/// A share's description in bytes; people read it.
pub const DESCRIPTION_MAX: usize = 65_536;
/// Share ids in a manifest's list of communities or recommendations; about 64 KiB of octets.
pub const MANIFEST_SHARES_MAX: usize = 1024;
/// Bootstrap hints of a share link; more than anybody needs to find one peer.
pub const LINK_HINTS_MAX: usize = 16;
/// Addresses in a list from a peer; deployed peers send at most 64 and longer lists are cut.
pub const PEER_ADDRS_MAX: usize = 128;
/// Nesting of CBOR that is skipped or read.
pub const CBOR_DEPTH_MAX: u32 = 16;
/// A capability map that is kept as it was signed, in bytes; the longest deployed one has 121.
pub const CAPABILITY_BYTES_MAX: usize = 4096;
/// Hello timestamps further from our clock than this are refused, in seconds.
pub const CLOCK_SKEW_SECS: u64 = 300;
/// How long a hello's nonce is remembered, in seconds: both sides of the skew window.
pub const NONCE_MEMORY_SECS: u64 = 600;
/// Nonces remembered. Fills at 27 handshakes a second; from there on a repeated hello may cost
/// an answer, never a session. About 2 MiB.
pub const NONCES_MAX: usize = 16_384;
/// Node keys, and as many addresses, whose hello profile is remembered: more than a node
/// meets between two restarts; a forgotten one costs two dials.
pub const PROFILES_MAX: usize = 4096;
/// Calls without a reply per session. Deployed peers work them off one by one, so more
/// would only wait longer; a peer that owes so many is stuck.
pub const CALLS_MAX: usize = 1024;
/// Frames queued per lane of a link: what a peer may ask for at once without reading.
pub const SEND_QUEUE_FRAMES_MAX: usize = 1024;
/// Bytes queued per lane of a link: room for any one frame while another is on its way.
pub const SEND_QUEUE_BYTES_MAX: u64 = 2 * (FRAME_MAX as u64 + 4);
/// What a link may carry unread before authentication: the two frames an initiator sends,
/// each with its length prefix.
pub const HANDSHAKE_WINDOW: u32 = 2 * (HANDSHAKE_FRAME_MAX + 4);
/// What a lane of a session may carry unread. More than one frame, since a frame is dealt
/// with when it is complete; on TCP chunks and all else share one lane.
pub const LANE_WINDOW: u32 = 2 * (FRAME_MAX + 4);
/// From a link's start to an authenticated session.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// A name within a path in bytes: file systems take 255, and ".part" must fit.
pub const PATH_COMPONENT_MAX: usize = 250;
/// Components of a path: deeper trees serve nobody but make every walk long.
pub const PATH_DEPTH_MAX: usize = 32;
/// Public shares read from a list; longer lists are cut. Deployed clients ask for 64.
pub const PUBLIC_SHARES_MAX: usize = 1024;
/// Chunk hashes in a reply: in their compact form so many fit a payload.
pub const CHUNK_HASHES_MAX: usize = 30_800;
/// What is kept of a peer's error text, in bytes.
pub const ERROR_TEXT_MAX: usize = 256;
/// Ids in a request between nodes of ours: more shares are not followed, and the reply fits a payload.
pub const IDS_MAX: usize = 1024;
/// A share head's CBOR; the longest encoding we write has some 330 bytes.
pub const HEAD_BYTES_MAX: usize = 1024;
/// Calls that wait for a session with one peer; more means that the caller does not pace itself.
pub const WAITING_CALLS_MAX: usize = 4096;
/// Links open or opening at a time: a few hundred peers, and deployed clients that dial for each request.
pub const LINKS_MAX: usize = 1024;
/// Accepted links that are not authenticated, at a time. An honest peer is among them for two round
/// trips; strangers who say nothing push out each other and leave the other links to sessions.
pub const STRANGERS_MAX: usize = 256;
/// Requests of one session that may be without an answer: small-file downloads pipeline hundreds.
pub const TICKETS_MAX: u32 = 1024;
/// From a dial to a transport connection, host name included; drivers give up earlier.
pub const DIAL_TIME_MAX: Duration = Duration::from_secs(8);
/// Sessions of two nodes that came up within this time are taken for crossing dials. A dial
/// that starts when the other's session is up is none, so that round trips of a second still count.
pub const CROSSING_TIME: Duration = Duration::from_secs(2);
/// How long a circuit is kept beside the direct session that replaced it, for what is under way on it.
pub const REPLACED_TIME: Duration = Duration::from_secs(5);
/// Peers in the address book: some 200 bytes each; what was seen longest ago goes first.
pub const BOOK_PEERS_MAX: usize = 4096;
/// Addresses kept of one peer: as many as it tells of itself.
pub const BOOK_ADDRS_MAX: usize = OWN_ADDRS_MAX;
/// Bootstrap peers, configured and hinted at by links, that are kept connected.
pub const BOOTSTRAPS_MAX: usize = 64;
/// Links being opened at a time; more would look like a scan of the network.
pub const DIALS_MAX: usize = 64;
/// Addresses remembered as dialled lately: what a node dials in a minute at most, if nobody answers.
pub const RESTING_ADDRS_MAX: usize = 4096;
/// Links that probe whether a peer listens where it says, at a time.
pub const PROBES_MAX: usize = 32;
/// Peers whose clocks are remembered, and networks of peers that closed without a word.
pub const CLOCK_VOICES_MAX: usize = 256;
/// Those of one network, which count once together, so that nobody drives out all others.
pub const CLOCK_VOICES_PER_NETWORK_MAX: usize = 8;
/// Peers whose view of our address counts.
pub const VOTES_MAX: usize = 64;
/// Own IP addresses that are told to others: both families, observed and of interfaces.
pub const OWN_IPS_MAX: usize = 4;
/// Own addresses that are told to others: both transports on each IP address. Those through relays are among them, so that
/// nobody who keeps as many loses these.
pub const OWN_ADDRS_MAX: usize = 2 * OWN_IPS_MAX;
/// Addresses in one peer exchange, by SPECIFICATION §9.
pub const PEX_SAMPLE_MAX: usize = 64;
/// Addresses reached longer ago than this are not handed on, in seconds.
pub const PEX_FRESH_SECS: u64 = 86_400;
/// Below so many sessions, peers of the book are dialled to have more.
pub const SESSIONS_WANTED: usize = 8;
/// A share's local name in bytes; it is typed on command lines.
pub const SHARE_NAME_MAX: usize = 64;
/// Own shares: each is announced again and again.
pub const OWN_SHARES_MAX: usize = 1000;
/// Shares being published at a time; more would only share the same disk and cores.
pub const PUBLISHINGS_MAX: usize = 4;
/// Files hashed by one load, so that others get their turn.
pub const HASH_BATCH_FILES: usize = 64;
/// Bytes hashed by one load unless a single file has more: a fraction of a second's work.
pub const HASH_BATCH_BYTES: u64 = 64 << 20;
/// Hash loads of one publishing that are under way: two for each of two cores.
pub const HASH_LOADS_MAX: u32 = 4;
/// Hints in a link that we make: all our own addresses, while a link should fit a chat message.
pub const PUBLISHED_HINTS_MAX: usize = OWN_ADDRS_MAX;
/// Shares followed: each is polled, and all of them are listed to each peer.
pub const SUBSCRIPTIONS_MAX: usize = 200;
/// Heads of a share whose manifests we lack; the newest are kept.
pub const CANDIDATES_MAX: usize = 4;
/// Peers remembered as having shown a head.
pub const CANDIDATE_SOURCES_MAX: usize = 8;
/// Manifests of a share remembered as wrong; only its owner can make more.
pub const REFUSED_MANIFESTS_MAX: usize = 8;
/// Connected peers remembered as having a share; no more can be connected.
pub const SHARE_HOLDERS_MAX: usize = LINKS_MAX;
/// Peers whose refused heads of a share are remembered as reported; others are not reported.
pub const COMPLAINTS_MAX: usize = 16;
/// Heads of one lookup that are looked at: what a handful of hubs and the closest nodes hold.
pub const HEADS_MAX: usize = 32;
/// Providers of a share dialled after one lookup; unsigned lists may name anybody.
pub const SHARE_DIALS_MAX: usize = 8;
/// Providers being dialled for all subscriptions together.
pub const SHARE_DIALS_TOTAL_MAX: u32 = 64;
/// Peers asked for a manifest in one go.
pub const FETCH_PEERS_MAX: usize = 12;
/// How many of them are asked before the DHT is.
pub const FETCH_PEERS_FIRST: usize = 2;
/// For a manifest of up to 1 MiB over a slow line.
pub const FETCH_TIME: Duration = Duration::from_secs(15);
/// For the answer to our list of shares.
pub const WATCH_TIME: Duration = Duration::from_secs(10);
/// For the acknowledgement of a head.
pub const HEAD_ANNOUNCE_TIME: Duration = Duration::from_secs(10);
/// Syncs of the application at a time; one asks everybody already.
pub const SYNCS_MAX: usize = 16;
/// A sync ends after this time with what it found.
pub const SYNC_TIME_MAX: Duration = Duration::from_secs(30);
/// Lists of public shares of the application at a time.
pub const LISTINGS_MAX: usize = 16;
/// Peers asked for one of them; more would tell little that is new.
pub const LISTINGS_PEERS_MAX: usize = 64;
/// Shares in one of them; people read it.
pub const LISTINGS_SHARES_MAX: usize = 1024;
/// Public shares asked of a peer, as deployed clients do.
pub const PUBLIC_SHARES_ASKED: u16 = 64;
/// For a list of public shares.
pub const PUBLIC_TIME: Duration = Duration::from_secs(5);
/// Manifests kept in memory for peers that ask, each up to 1 MiB.
pub const MANIFESTS_CACHED_MAX: usize = 16;
/// Chunks and hashes that one session may have asked for and not got; its tickets are bounded by the same number.
pub const UPLOAD_QUEUE_MAX: usize = TICKETS_MAX as usize;
/// Small pieces being read for one session at a time: enough to keep the disk's threads busy.
pub const UPLOAD_LOADS_MAX: u32 = 32;
/// Bytes being read for one session at a time, one answer more: all of it fits the session's queue.
pub const UPLOAD_LINE_BYTES_MAX: u64 = 3 << 19;
/// Bytes being read for all sessions at a time, one answer more.
pub const UPLOAD_BYTES_MAX: u64 = 64 << 20;
/// Contents hashed at a time because their hashes are asked for; each is one pass over a file.
pub const UPLOAD_HASHINGS_MAX: usize = 2;
/// Contents that wait to be hashed because one session asked first.
pub const UPLOAD_HASHINGS_LINK_MAX: usize = 8;
/// Contents being hashed or waiting for it, for all sessions together.
pub const UPLOAD_HASHINGS_WAITING_MAX: usize = 128;
/// Contents of more than 1 GiB whose level 1 is kept in memory, each up to 32 KiB.
pub const LEVEL1_CACHED_MAX: usize = 64;
/// Providers kept of one content; a swarm needs no more, and a list fits a DHT value.
pub const PROVIDERS_MAX: usize = 64;
/// Addresses of one provider that speaks for itself: as many as it tells of itself.
pub const PROVIDER_ADDRS_MAX: usize = OWN_ADDRS_MAX;
/// How long a provider is believed to be there after it said so, in seconds.
pub const PROVIDER_LIFE_SECS: u64 = 86_400;
/// DHT values kept: an index entry has some 200 bytes.
pub const VALUES_MAX: usize = 20_000;
/// Keys of shares remembered beside those of kept heads, so that heads can be verified: some 200 bytes
/// each; a forgotten one comes with the next manifest or head.
pub const SIGNERS_MAX: usize = 8192;
/// Bytes of the DHT values kept on disk.
pub const VALUES_BYTES_MAX: u64 = 256 << 20;
/// Deployed bootstrap peers that are asked and stored to without being in the routing table.
pub const HUBS_MAX: usize = 64;
/// Lookups and stores under way at a time; each has at most nine queries open, and one per hub.
pub const SEARCHES_MAX: usize = 64;
/// Lookups and stores that wait for one of the former to end.
pub const SEARCHES_WAITING_MAX: usize = 1024;
/// Ended lookups that are remembered for whoever reads the counters now and then.
pub const LOOKUPS_REMEMBERED_MAX: usize = 64;
/// Heads kept as found by one lookup: the newest few of what anybody may claim.
pub const HEADS_FOUND_MAX: usize = 8;
/// Requests that wait for a value to be read or merged.
pub const VALUE_REQUESTS_MAX: usize = 512;
/// Downloads that run at a time; each has up to 3000 items in memory.
pub const DOWNLOADS_MAX: usize = 256;
/// Downloads that have ended and are still listed.
pub const DOWNLOADS_ENDED_MAX: usize = 100;
/// Peers remembered per download: more would not make it faster.
pub const JOB_PEERS_MAX: usize = 256;
/// Chunks asked of one peer at a time: enough tiny files for a few milliseconds.
pub const CHUNK_REQUESTS_MAX: u32 = 256;
/// Small files open at a time; larger ones are bound by the configuration.
pub const SMALL_FILES_OPEN_MAX: usize = 512;
/// Files that wait to be moved to their names at a time.
pub const FILES_FINISHING_MAX: usize = 4096;
/// Finished downloads hashed as a whole at a time; each is one pass over the file.
pub const CHECKS_MAX: usize = 2;
/// Providers being connected at a time for downloads.
pub const PROVIDER_REACHES_MAX: u32 = 16;
/// Contents looked up one by one in one round of a download.
pub const CONTENT_LOOKUPS_MAX: usize = 4;
/// A text in a row of ours, in bytes: a path of this host at most.
pub const ROW_TEXT_MAX: usize = 65_536;
/// What a RELAY_STREAM carries, in bytes: with the longest numbers before it, it fills a payload.
pub const RELAY_PAYLOAD_MAX: usize = PAYLOAD_MAX - 65;
/// Relay announcements read from a list, each of which costs a check of a signature; longer lists are cut.
pub const RELAY_ANNOUNCEMENTS_MAX: usize = 64;
/// Addresses of a relay announcement: both transports on both IP versions, four times.
pub const RELAY_ADDRS_MAX: usize = 16;
/// From the making of a relay announcement to its end in seconds, by SPECIFICATION §5.5.
pub const RELAY_ANNOUNCEMENT_LIFE_SECS_MAX: u64 = 21_600;
/// Relays kept under one rendezvous key; with 16 keys an hour more than anybody looks through.
pub const RENDEZVOUS_RELAYS_MAX: usize = 8;
/// Rendezvous keys of an hour and those beside it.
pub const RENDEZVOUS_KEYS_MAX: usize = 3 * RendezvousSlot::COUNT as usize;
/// Announcements that one lookup under a rendezvous key ends with: enough for who looks under several.
pub const RELAYS_FOUND_MAX: usize = 8;
/// Relays after which no further rendezvous keys are looked up: twice the places that a node wants.
pub const RELAYS_ENOUGH: usize = 2 * PLACES_WANTED;
/// Peers remembered as having been asked for relays lately: three a minute, for longer than each is left alone.
pub const RELAYS_ASKED_MAX: usize = 64;
/// Rendezvous keys looked up at a time.
pub const RENDEZVOUS_LOOKUPS_MAX: usize = 3;
