//! The numbers of the messages (SPECIFICATION §4.5).

pub(crate) const PEX_OFFER: u16 = 100;
pub(crate) const PEX_REQUEST: u16 = 101;
pub(crate) const FIND_NODE: u16 = 200;
pub(crate) const FIND_VALUE: u16 = 201;
pub(crate) const STORE: u16 = 202;
pub(crate) const GET_MANIFEST: u16 = 400;
pub(crate) const MANIFEST_DATA: u16 = 401;
pub(crate) const LIST_PUBLIC_SHARES: u16 = 402;
pub(crate) const PUBLIC_SHARE_LIST: u16 = 403;
pub(crate) const RELAY_REGISTER: u16 = 450;
pub(crate) const RELAY_REGISTERED: u16 = 451;
pub(crate) const RELAY_CONNECT: u16 = 452;
pub(crate) const RELAY_STREAM: u16 = 453;
pub(crate) const RELAY_LIST_REQUEST: u16 = 460;
pub(crate) const RELAY_LIST_RESPONSE: u16 = 461;
pub(crate) const PROVIDERS: u16 = 498;
pub(crate) const HAVE_CONTENT: u16 = 499;
pub(crate) const GET_CHUNK: u16 = 500;
pub(crate) const CHUNK_DATA: u16 = 501;
pub(crate) const GET_CHUNK_HASHES: u16 = 502;
pub(crate) const CHUNK_HASH_LIST: u16 = 503;
pub(crate) const PING: u16 = 600;
pub(crate) const LISTENING: u16 = 601;
pub(crate) const PART: u16 = 602;
pub(crate) const DIAL_BACK: u16 = 603;
pub(crate) const PUNCH: u16 = 604;
pub(crate) const WATCH: u16 = 610;
pub(crate) const HEAD_ANNOUNCE: u16 = 611;
pub(crate) const GET_SUBTREES: u16 = 620;
pub(crate) const HAVE: u16 = 621;
pub(crate) const RESERVE: u16 = 630;
pub(crate) const CONNECT: u16 = 631;
pub(crate) const INCOMING: u16 = 632;
pub(crate) const CIRCUIT_DATA: u16 = 633;
pub(crate) const CIRCUIT_CREDIT: u16 = 634;
pub(crate) const CIRCUIT_CLOSE: u16 = 635;

/// The type of a reply that is no error.
pub(crate) fn reply_to(request: u16) -> u16 {
    match request {
        PEX_REQUEST => PEX_OFFER,
        GET_MANIFEST => MANIFEST_DATA,
        LIST_PUBLIC_SHARES => PUBLIC_SHARE_LIST,
        RELAY_REGISTER => RELAY_REGISTERED,
        RELAY_LIST_REQUEST => RELAY_LIST_RESPONSE,
        GET_CHUNK => CHUNK_DATA,
        GET_CHUNK_HASHES => CHUNK_HASH_LIST,
        other => other,
    }
}

/// Whether a message of ours or of deployed peers has this number.
pub(crate) fn is_registered(kind: u16) -> bool {
    matches!(
        kind,
        PEX_OFFER..=PEX_REQUEST
            | FIND_NODE..=STORE
            | GET_MANIFEST..=407
            | 410..=417
            | RELAY_REGISTER..=RELAY_STREAM
            | RELAY_LIST_REQUEST..=RELAY_LIST_RESPONSE
            | PROVIDERS..=CHUNK_HASH_LIST
            | PING..=PUNCH
            | WATCH..=HEAD_ANNOUNCE
            | GET_SUBTREES..=HAVE
            | RESERVE..=CIRCUIT_CLOSE
    )
}
