//! QUIC links without IO: datagrams and instants in, datagrams and link events out.
//!
//! The run loop: give [`QuicLinks`] datagrams, timeouts and the node's wishes; pop events until
//! there are none, pop datagrams until there are none; sleep until [`QuicLinks::deadline`] or the
//! next input.

mod config;
mod conn;
mod lane;
mod path;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ConnectError, ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, Incoming, Transmit,
};
use scp2p_proto::id::LinkId;
use scp2p_proto::io::{CloseCode, DialError, Frame, Lane, LinkEvent};

use self::config::Settings;
use self::conn::Conn;
use super::AcceptedIds;
use super::half_open::HalfOpen;
use super::mtu::Mtus;
use super::tls::{Identity, SERVER_NAME};

/// Half-open links from where on a remote must first prove that it has its address.
const HALF_OPEN_UNPROVEN_MAX: usize = 128;
/// Answers of the endpoint itself that wait to be sent; more are dropped, as a network would.
const RESPONSES_MAX: usize = 256;
/// Bytes in one batch of equally sized datagrams; the most that a UDP header can tell.
const BATCH_BYTES_MAX: usize = 65_507;

/// All QUIC links of one UDP socket.
pub struct QuicLinks {
    endpoint: Endpoint,
    settings: Settings,
    ids: AcceptedIds,
    conns: HashMap<ConnectionHandle, Conn>,
    links: HashMap<LinkId, ConnectionHandle>,
    half_open: HalfOpen,
    /// When which connection wants to be woken, as its `timer` says.
    timers: BTreeSet<(Instant, usize)>,
    /// Connections that something happened to, each once.
    touched: VecDeque<ConnectionHandle>,
    /// Connections that may have bytes for the node, each once, longest waiting first.
    readable: VecDeque<ConnectionHandle>,
    events: VecDeque<(LinkId, LinkEvent)>,
    responses: VecDeque<(Transmit, Vec<u8>)>,
    scratch: Vec<Bytes>,
}

/// A received datagram.
pub struct Datagram {
    /// Where it came from.
    pub remote: SocketAddr,
    /// Which of our addresses it was sent to, if known.
    pub local: Option<IpAddr>,
    /// Congestion marks.
    pub ecn: Option<EcnCodepoint>,
    /// Its payload.
    pub payload: BytesMut,
}

impl QuicLinks {
    /// The seed makes connection ids and the like reproducible.
    pub fn new(identity: &Identity, mtus: Mtus, ids: AcceptedIds, seed: [u8; 32]) -> QuicLinks {
        let settings = Settings::new(identity, mtus, seed);
        let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let server = Some(settings.server(any));
        QuicLinks {
            endpoint: Endpoint::new(settings.endpoint.clone(), server, true, None),
            settings,
            ids,
            conns: HashMap::new(),
            links: HashMap::new(),
            half_open: HalfOpen::default(),
            timers: BTreeSet::new(),
            touched: VecDeque::new(),
            readable: VecDeque::new(),
            events: VecDeque::new(),
            responses: VecDeque::new(),
            scratch: Vec::new(),
        }
    }

    /// Opens a link. Answered by [`LinkEvent::Dialed`] or [`LinkEvent::Failed`], the latter no
    /// later than `until`.
    pub fn dial(&mut self, now: Instant, id: LinkId, remote: SocketAddr, until: Instant) {
        let config = self.settings.client(remote.ip());
        match self.endpoint.connect(now, config, remote, SERVER_NAME) {
            Ok((handle, quic)) => {
                self.links.insert(id, handle);
                self.insert(handle, Conn::dialing(quic, id, until));
            }
            Err(error) => {
                let error = match error {
                    ConnectError::InvalidRemoteAddress(_)
                    | ConnectError::CidsExhausted
                    | ConnectError::EndpointStopping => DialError::Unreachable,
                    ConnectError::InvalidServerName(_)
                    | ConnectError::NoDefaultClientConfig
                    | ConnectError::UnsupportedVersion => DialError::Tls,
                };
                self.events.push_back((id, LinkEvent::Failed(error)));
            }
        }
    }

    /// Whether this link is one of these and not closed.
    pub fn has(&self, id: LinkId) -> bool {
        self.links.contains_key(&id)
    }

    /// Sends a frame, which is never copied.
    pub fn send(&mut self, id: LinkId, lane: Lane, frame: Frame) {
        self.with_link(id, |conn, _| conn.send(lane, frame));
    }

    /// Lets the node read so many more bytes.
    pub fn grant(&mut self, id: LinkId, lane: Lane, bytes: u32) {
        self.with_link(id, |conn, _| conn.grant(lane, bytes));
    }

    /// Closes a link after what was sent on it; no event of it follows.
    pub fn close(&mut self, now: Instant, id: LinkId, code: CloseCode) {
        self.with_link(id, |conn, _| conn.close(now, code));
        self.links.remove(&id);
        self.events.retain(|(of, _)| *of != id);
    }

    /// Takes a datagram.
    pub fn receive(&mut self, now: Instant, datagram: Datagram) {
        let Datagram {
            remote,
            local,
            ecn,
            payload,
        } = datagram;
        let mut buffer = Vec::new();
        match self
            .endpoint
            .handle(now, remote, local, ecn, payload, &mut buffer)
        {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(conn) = self.conns.get_mut(&handle) {
                    conn.quic.handle_event(event);
                    self.touch(handle);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.accept(now, incoming),
            Some(DatagramEvent::Response(transmit)) => self.respond(transmit, buffer),
            None => {}
        }
    }

    /// Does what is due.
    pub fn timeout(&mut self, now: Instant) {
        while let Some(&(due, handle)) = self.timers.first() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            let handle = ConnectionHandle(handle);
            if let Some(conn) = self.conns.get_mut(&handle) {
                conn.timer = None;
                conn.timeout(now);
                self.touch(handle);
            }
        }
    }

    /// When [`Self::timeout`] wants to be called, once there is neither event nor datagram to pop.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// The next event. Links take turns, a piece each.
    pub fn poll_event(&mut self, now: Instant) -> Option<(LinkId, LinkEvent)> {
        loop {
            if let Some((id, event)) = self.events.pop_front() {
                if matches!(event, LinkEvent::Failed(_) | LinkEvent::Closed(_)) {
                    self.links.remove(&id);
                }
                return Some((id, event));
            }
            let Some(handle) = self.readable.pop_front() else {
                // What happened may still make something readable.
                let touched = self.touched.len();
                for _ in 0..touched {
                    let Some(handle) = self.touched.pop_front() else {
                        break;
                    };
                    self.settle(now, handle);
                    self.touched.push_back(handle);
                }
                if self.events.is_empty() && self.readable.is_empty() {
                    return None;
                }
                continue;
            };
            let Some(conn) = self.conns.get_mut(&handle) else {
                continue;
            };
            conn.is_readable = false;
            let Some((id, event)) = conn.read(now, &mut self.scratch) else {
                continue;
            };
            if matches!(event, LinkEvent::Closed(_)) {
                self.links.remove(&id);
            } else {
                conn.is_readable = true;
                self.readable.push_back(handle);
            }
            self.touch(handle);
            return Some((id, event));
        }
    }

    /// The next datagrams to send: appends to the empty `buffer`, at most `segments_max` of equal
    /// size.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        segments_max: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        if let Some((transmit, payload)) = self.responses.pop_front() {
            buffer.extend_from_slice(&payload);
            return Some(transmit);
        }
        while let Some(handle) = self.touched.pop_front() {
            self.settle(now, handle);
            let Some(conn) = self.conns.get_mut(&handle) else {
                continue;
            };
            let segments = (BATCH_BYTES_MAX / usize::from(conn.quic.current_mtu()).max(1)).max(1);
            let transmit = conn
                .quic
                .poll_transmit(now, segments.min(segments_max), buffer);
            if transmit.is_some() {
                self.touched.push_back(handle);
                return transmit;
            }
            conn.is_touched = false;
            self.settle(now, handle);
        }
        None
    }

    /// Whether every link that the node closed is delivered or given up.
    pub fn is_quiet(&self) -> bool {
        self.touched.is_empty()
            && self.responses.is_empty()
            && !self.conns.values().any(Conn::is_closing)
    }

    fn accept(&mut self, now: Instant, incoming: Incoming) {
        let remote = incoming.remote_address().ip();
        let mut buffer = Vec::new();
        if self.half_open.total() >= HALF_OPEN_UNPROVEN_MAX && !incoming.remote_address_validated()
        {
            if let Ok(transmit) = self.endpoint.retry(incoming, &mut buffer) {
                self.respond(transmit, buffer);
            }
            return;
        }
        if self.half_open.is_full(remote) {
            let transmit = self.endpoint.refuse(incoming, &mut buffer);
            self.respond(transmit, buffer);
            return;
        }
        let config = self.settings.server(remote);
        match self
            .endpoint
            .accept(incoming, now, &mut buffer, Some(config))
        {
            Ok((handle, quic)) => {
                self.half_open.add(remote);
                self.insert(handle, Conn::accepted(quic, now));
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.respond(transmit, buffer);
                }
            }
        }
    }

    fn respond(&mut self, transmit: Transmit, mut payload: Vec<u8>) {
        payload.truncate(transmit.size);
        if self.responses.len() < RESPONSES_MAX {
            self.responses.push_back((transmit, payload));
        }
    }

    fn insert(&mut self, handle: ConnectionHandle, conn: Conn) {
        self.conns.insert(handle, conn);
        self.touch(handle);
    }

    fn with_link(&mut self, id: LinkId, act: impl FnOnce(&mut Conn, ConnectionHandle)) {
        let Some(&handle) = self.links.get(&id) else {
            return;
        };
        if let Some(conn) = self.conns.get_mut(&handle) {
            act(conn, handle);
            if conn.wants_read() && !conn.is_readable {
                conn.is_readable = true;
                self.readable.push_back(handle);
            }
            self.touch(handle);
        }
    }

    fn touch(&mut self, handle: ConnectionHandle) {
        if let Some(conn) = self.conns.get_mut(&handle)
            && !conn.is_touched
        {
            conn.is_touched = true;
            self.touched.push_back(handle);
        }
    }

    /// Carries events between quinn's two machines and from them to the node.
    fn settle(&mut self, now: Instant, handle: ConnectionHandle) {
        let Some(conn) = self.conns.get_mut(&handle) else {
            return;
        };
        while let Some(event) = conn.quic.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(handle, event) {
                conn.quic.handle_event(event);
            }
        }
        let was_half_open = conn.is_half_open();
        conn.settle(now, &self.ids, &mut self.events);
        if let Some(id) = conn.take_new_link() {
            self.links.insert(id, handle);
        }
        if was_half_open && !conn.is_half_open() {
            self.half_open.remove(conn.first_remote);
        }
        if conn.wants_read() && !conn.is_readable {
            conn.is_readable = true;
            self.readable.push_back(handle);
        }
        let timer = conn.next_timer();
        if timer != conn.timer {
            if let Some(old) = conn.timer {
                self.timers.remove(&(old, handle.0));
            }
            self.timers.extend(timer.map(|due| (due, handle.0)));
            conn.timer = timer;
        }
        if conn.quic.is_drained() {
            self.remove(handle);
        }
    }

    /// Forgets a connection whose machine is at its end; its last events are out already.
    fn remove(&mut self, handle: ConnectionHandle) {
        let Some(mut conn) = self.conns.remove(&handle) else {
            return;
        };
        if let Some(timer) = conn.timer {
            self.timers.remove(&(timer, handle.0));
        }
        if conn.is_half_open() {
            self.half_open.remove(conn.first_remote);
        }
        if let Some((id, event)) = conn.last_words() {
            self.events.push_back((id, event));
        }
    }
}

#[cfg(test)]
mod tests;
