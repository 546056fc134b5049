use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::net::mtu::Mtus;
use crate::net::{BULK_ROOM, CONTROL_ROOM, HALF_OPEN_PER_IP_MAX, ROOM_PARTS};
use scp2p_proto::io::{LinkError, LinkInfo};

/// One end of the test network.
struct Peer {
    links: QuicLinks,
    addr: SocketAddr,
    events: Vec<(LinkId, LinkEvent)>,
    granted: bool,
}

/// Two ends and what travels between them.
struct Net {
    now: Instant,
    peers: [Peer; 2],
    /// When, to whom, an index that keeps the order of sending, and what.
    wire: BTreeMap<(Instant, u64), (usize, SocketAddr, Vec<u8>)>,
    sent: u64,
    latency: Duration,
    mtu: usize,
    /// Of a thousand datagrams, how many are lost, and how many come late.
    lost: u32,
    late: u32,
    /// Where the datagrams of the first peer seem to come from, if it is not where it is.
    forged: Option<SocketAddr>,
    dice: u32,
    received: BTreeMap<(usize, Lane), Vec<u8>>,
}

impl Net {
    fn new(ip: [u8; 4]) -> Net {
        let identity = Identity::generate().expect("a certificate");
        let identity = identity.remembered(SECRET);
        let peers = [1u8, 2].map(|n| Peer {
            links: QuicLinks::new(
                &identity,
                Mtus::of_interfaces(),
                AcceptedIds::default(),
                [n; 32],
            ),
            addr: SocketAddr::from((Ipv4Addr::from(ip), 7000 + u16::from(n))),
            events: Vec::new(),
            granted: true,
        });
        Net {
            now: Instant::now(),
            peers,
            wire: BTreeMap::new(),
            sent: 0,
            latency: Duration::from_millis(5),
            mtu: 65_507,
            lost: 0,
            late: 0,
            forged: None,
            dice: 0x2545_f491,
            received: BTreeMap::new(),
        }
    }

    fn roll(&mut self) -> u32 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 17;
        self.dice ^= self.dice << 5;
        self.dice % 1000
    }

    fn dial(&mut self, id: LinkId) {
        let to = self.peers[1].addr;
        let until = self.now + OPENING;
        self.peers[0].links.dial(self.now, id, to, until);
    }

    /// Carries out everything that is possible now.
    fn settle(&mut self) {
        for n in 0..2 {
            while let Some((id, event)) = self.peers[n].links.poll_event(self.now) {
                if let LinkEvent::Bytes(lane, bytes) = &event {
                    self.received
                        .entry((n, *lane))
                        .or_default()
                        .extend_from_slice(bytes);
                    if self.peers[n].granted {
                        self.peers[n].links.grant(id, *lane, bytes.len() as u32);
                    }
                } else {
                    self.peers[n].events.push((id, event));
                }
            }
            let mut buffer = Vec::new();
            while let Some(transmit) = self.peers[n].links.poll_transmit(self.now, 8, &mut buffer) {
                let size = transmit.segment_size.unwrap_or(transmit.size);
                for payload in buffer[..transmit.size].chunks(size) {
                    self.carry(n, transmit.destination, payload.to_vec());
                }
                buffer.clear();
            }
        }
    }

    fn carry(&mut self, from: usize, destination: SocketAddr, payload: Vec<u8>) {
        let is_there = destination == self.peers[1 - from].addr;
        if !is_there || payload.len() > self.mtu || self.roll() < self.lost {
            return;
        }
        let mut at = self.now + self.latency;
        if self.roll() < self.late {
            at += self.latency * 2;
        }
        self.sent += 1;
        self.wire
            .insert((at, self.sent), (1 - from, self.source(from), payload));
    }

    /// Where a peer's datagrams seem to come from.
    fn source(&self, from: usize) -> SocketAddr {
        let forged = self.forged.filter(|_| from == 0);
        forged.unwrap_or(self.peers[from].addr)
    }

    /// Whether bytes of both ends come through.
    fn is_alive(&mut self, (dialled, accepted): (LinkId, LinkId)) -> bool {
        self.grant_all((dialled, accepted), 1000);
        let before = [0, 1].map(|n| self.got(n, Lane::Control).len());
        // The initiator speaks first: its stream is how the other end learns of the lane.
        for (n, id) in [(0, dialled), (1, accepted)] {
            self.peers[n].links.send(id, Lane::Control, frame(1, 100));
            self.run(Duration::from_secs(10), |net| {
                net.got(1 - n, Lane::Control).len() == before[1 - n] + 112
            });
        }
        self.has_closed(0).or(self.has_closed(1)).is_none()
    }

    /// Where the accepting end was told that the other is now.
    fn moves(&self) -> Vec<SocketAddr> {
        let events = self.peers[1].events.iter();
        let moves = events.filter_map(|(_, event)| {
            let LinkEvent::Moved(remote) = event else {
                return None;
            };
            Some(*remote)
        });
        moves.collect()
    }

    /// Runs until the condition holds; panics after `limit` of the network's time.
    fn run(&mut self, limit: Duration, mut until: impl FnMut(&Net) -> bool) {
        let end = self.now + limit;
        loop {
            self.settle();
            if until(self) {
                return;
            }
            let arrival = self.wire.first_key_value().map(|((at, _), _)| *at);
            let due = self
                .peers
                .iter()
                .filter_map(|peer| peer.links.deadline())
                .min();
            let past = end + Duration::from_millis(1);
            let next = arrival.into_iter().chain(due).fold(past, Instant::min);
            assert!(self.now <= end, "the condition never held");
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry()
                && entry.key().0 <= self.now
            {
                let (to, remote, payload) = entry.remove();
                let payload = BytesMut::from(&payload[..]);
                let datagram = Datagram {
                    remote,
                    local: None,
                    ecn: None,
                    payload,
                };
                self.peers[to].links.receive(self.now, datagram);
            }
            for peer in &mut self.peers {
                peer.links.timeout(self.now);
            }
        }
    }

    /// Both ends of a link that is up.
    fn open(&mut self) -> (LinkId, LinkId) {
        let id = LinkId(1);
        self.dial(id);
        self.run(OPENING, |net| {
            info(net, 0).is_some() && info(net, 1).is_some()
        });
        let accepted = self.peers[1]
            .events
            .iter()
            .find_map(|(id, event)| matches!(event, LinkEvent::Accepted(_)).then_some(*id));
        (id, accepted.expect("the link was accepted"))
    }

    fn grant_all(&mut self, ids: (LinkId, LinkId), bytes: u32) {
        for lane in [Lane::Control, Lane::Bulk] {
            self.peers[0].links.grant(ids.0, lane, bytes);
            self.peers[1].links.grant(ids.1, lane, bytes);
        }
    }

    fn room(&self, peer: usize, lane: Lane) -> u64 {
        self.peers[peer]
            .events
            .iter()
            .filter_map(|(_, event)| {
                let LinkEvent::Room(of, room) = event else {
                    return None;
                };
                (*of == lane).then_some(u64::from(*room))
            })
            .sum()
    }

    fn has_closed(&self, peer: usize) -> Option<LinkError> {
        self.peers[peer].events.iter().find_map(|(_, event)| {
            let LinkEvent::Closed(why) = event else {
                return None;
            };
            Some(*why)
        })
    }

    fn got(&self, peer: usize, lane: Lane) -> &[u8] {
        self.received.get(&(peer, lane)).map_or(&[], Vec::as_slice)
    }
}

/// A program that was killed says nothing, and the one that is started after it has no such connection.
#[test]
fn a_restarted_endpoint_ends_connections_of_before() {
    let mut net = Net::new([203, 0, 113, 1]);
    let (id, _) = net.open();
    let identity = Identity::generate().expect("a certificate");
    let identity = identity.remembered(SECRET);
    net.peers[1].links = QuicLinks::new(
        &identity,
        Mtus::of_interfaces(),
        AcceptedIds::default(),
        [7; 32],
    );
    let frame = Frame {
        head: Bytes::from(vec![1; 100]),
        body: Bytes::new(),
    };
    net.peers[0].links.send(id, Lane::Control, frame);
    net.run(Duration::from_secs(1), |net| net.has_closed(0).is_some());
}

/// A router chose another port, or the host has another address: the link goes on, and the node is told where its other
/// end is.
#[test]
fn a_remote_that_moved_is_told_of_and_keeps_its_link() {
    for to in [([203, 0, 113, 1], 40_000), ([198, 51, 100, 1], 7001)] {
        let mut net = Net::new([203, 0, 113, 1]);
        let ids = net.open();
        assert!(net.is_alive(ids));
        assert!(net.moves().is_empty());
        net.peers[0].addr = to.into();
        assert!(net.is_alive(ids));
        net.run(Duration::from_secs(1), |net| !net.moves().is_empty());
        assert!(net.is_alive(ids));
        assert_eq!(net.moves(), [to.into()]);
    }
}

/// Datagrams that only seem to come from an address say nothing of who is there, and do not end the link.
#[test]
fn nobody_is_taken_to_be_where_datagrams_only_seem_to_come_from() {
    for forged in [([203, 0, 113, 1], 40_000), ([198, 51, 100, 1], 7001)] {
        let mut net = Net::new([203, 0, 113, 1]);
        let ids = net.open();
        assert!(net.is_alive(ids));
        net.forged = Some(forged.into());
        for _ in 0..5 {
            net.peers[0].links.send(ids.0, Lane::Control, frame(2, 100));
            let until = net.now + Duration::from_millis(500);
            net.run(Duration::from_secs(1), |net| net.now >= until);
        }
        net.forged = None;
        net.received.clear();
        let until = net.now + Duration::from_secs(5);
        net.run(Duration::from_secs(10), |net| net.now >= until);
        assert!(net.is_alive(ids));
        assert!(net.moves().is_empty(), "{:?}", net.moves());
    }
}

const SECRET: [u8; 32] = [5; 32];
const OPENING: Duration = Duration::from_secs(5);

fn info(net: &Net, peer: usize) -> Option<&LinkInfo> {
    net.peers[peer].events.iter().find_map(|(_, event)| {
        let (LinkEvent::Dialed(info) | LinkEvent::Accepted(info)) = event else {
            return None;
        };
        Some(info)
    })
}

fn frame(n: u8, len: usize) -> Frame {
    Frame {
        head: Bytes::copy_from_slice(&[n; 12]),
        body: pattern(n, len),
    }
}

fn pattern(n: u8, len: usize) -> Bytes {
    (0..len)
        .map(|i| (i as u8).wrapping_mul(31).wrapping_add(n))
        .collect()
}

fn flat(frames: &[Frame]) -> Vec<u8> {
    frames
        .iter()
        .flat_map(|frame| [frame.head.to_vec(), frame.body.to_vec()].concat())
        .collect()
}

/// Both ends of a link derive the same 32 bytes, and another link other ones.
#[test]
fn exporters_agree_on_a_link_and_differ_between_links() {
    let mut net = Net::new([127, 0, 0, 1]);
    net.open();
    let (a, b) = (
        info(&net, 0).expect("open").clone(),
        info(&net, 1).expect("open").clone(),
    );
    assert_eq!(a.exporter, b.exporter);
    assert_eq!(a.remote, net.peers[1].addr);
    assert_eq!(b.remote, net.peers[0].addr);
    let mut other = Net::new([127, 0, 0, 1]);
    other.open();
    assert_ne!(info(&other, 0).expect("open").exporter, a.exporter);
}

/// What is sent on a lane arrives whole and in order on that lane, in both
/// directions, whatever the network does.
#[test]
fn lanes_carry_bytes_through_a_bad_network() {
    for (ip, mtu, lost, late) in [
        ([127, 0, 0, 1], 65_507, 0, 0),
        ([10, 0, 0, 1], 1452, 20, 100),
        ([127, 0, 0, 1], 1400, 50, 200),
    ] {
        let mut net = Net::new(ip);
        (net.mtu, net.lost, net.late) = (mtu, lost, late);
        let ids = net.open();
        net.grant_all(ids, 64 << 10);
        let control: Vec<Frame> = (0..20).map(|n| frame(n, 500)).collect();
        let bulk: Vec<Frame> = (0..6).map(|n| frame(n, 256 << 10)).collect();
        // The initiator speaks first: its stream is how the other end learns of the lane.
        for sent in &control {
            net.peers[0].links.send(ids.0, Lane::Control, sent.clone());
        }
        net.run(Duration::from_secs(60), |net| {
            net.room(1, Lane::Control) > 0
        });
        for sent in &control {
            net.peers[1].links.send(ids.1, Lane::Control, sent.clone());
        }
        for sent in &bulk {
            net.peers[0].links.send(ids.0, Lane::Bulk, sent.clone());
            net.peers[1].links.send(ids.1, Lane::Bulk, sent.clone());
        }
        let (control, bulk) = (flat(&control), flat(&bulk));
        net.run(Duration::from_secs(120), |net| {
            (0..2).all(|n| {
                net.got(n, Lane::Control).len() == control.len()
                    && net.got(n, Lane::Bulk).len() == bulk.len()
            })
        });
        for n in 0..2 {
            assert!(net.got(n, Lane::Control) == control && net.got(n, Lane::Bulk) == bulk);
            assert_eq!(net.has_closed(n), None);
        }
    }
}

/// Nobody gets more bytes than were granted, and a stalled bulk lane does not stop control.
#[test]
fn grants_bound_what_is_read() {
    let mut net = Net::new([127, 0, 0, 1]);
    let ids = net.open();
    net.peers[1].granted = false;
    net.peers[1].links.grant(ids.1, Lane::Bulk, 300_000);
    for n in 0..64 {
        net.peers[0]
            .links
            .send(ids.0, Lane::Bulk, frame(n, 256 << 10));
    }
    net.run(Duration::from_secs(10), |net| {
        net.got(1, Lane::Bulk).len() >= 300_000
    });
    let later = net.now + Duration::from_secs(2);
    net.peers[1].links.grant(ids.1, Lane::Control, 1000);
    net.peers[0].links.send(ids.0, Lane::Control, frame(9, 600));
    net.run(Duration::from_secs(10), |net| {
        net.got(1, Lane::Control).len() == 612
    });
    net.run(Duration::from_secs(20), |net| net.now >= later);
    assert_eq!(net.got(1, Lane::Bulk).len(), 300_000);
}

/// Room that was used comes back once the bytes are on their way, but for less than a part of it,
/// and no more.
#[test]
fn room_is_given_back() {
    let mut net = Net::new([127, 0, 0, 1]);
    let ids = net.open();
    net.grant_all(ids, 1 << 20);
    net.run(OPENING, |net| {
        net.room(0, Lane::Bulk) == u64::from(BULK_ROOM)
    });
    assert_eq!(net.room(0, Lane::Control), u64::from(CONTROL_ROOM));
    // An accepted link has no control lane until its stream is there.
    assert_eq!(net.room(1, Lane::Control), 0);
    let sent: Vec<Frame> = (0..40).map(|n| frame(n, 200_000)).collect();
    for frame in &sent {
        net.peers[0].links.send(ids.0, Lane::Bulk, frame.clone());
    }
    let total = flat(&sent).len();
    net.run(Duration::from_secs(30), |net| {
        net.got(1, Lane::Bulk).len() == total
    });
    let all = u64::from(BULK_ROOM) + total as u64;
    let part = u64::from(BULK_ROOM / ROOM_PARTS);
    net.run(OPENING, |net| net.room(0, Lane::Bulk) > all - part);
    assert!(net.room(0, Lane::Bulk) <= all);
}

/// What was sent before a close arrives, and then the other end hears that the link is closed.
#[test]
fn a_close_delivers_what_was_sent() {
    let mut net = Net::new([10, 0, 0, 1]);
    (net.mtu, net.lost) = (1452, 20);
    let ids = net.open();
    net.grant_all(ids, 1 << 20);
    let last = frame(7, 200_000);
    net.peers[0].links.send(ids.0, Lane::Control, last.clone());
    net.peers[0].links.close(net.now, ids.0, CloseCode::Done);
    let before = net.peers[0].events.len();
    net.run(Duration::from_secs(10), |net| net.has_closed(1).is_some());
    assert!(net.got(1, Lane::Control) == flat(&[last]));
    assert_eq!(net.has_closed(1), Some(LinkError::Closed));
    assert_eq!(
        net.peers[0].events.len(),
        before,
        "no event follows a close"
    );
    net.run(Duration::from_secs(10), |net| net.peers[0].links.is_quiet());
}

/// A dial that nobody answers fails in time, and is gone.
#[test]
fn a_dial_into_silence_times_out() {
    let mut net = Net::new([10, 0, 0, 1]);
    net.lost = 1000;
    net.dial(LinkId(5));
    net.run(OPENING + Duration::from_secs(1), |net| {
        !net.peers[0].events.is_empty()
    });
    assert!(matches!(
        net.peers[0].events[0],
        (LinkId(5), LinkEvent::Failed(DialError::TimedOut))
    ));
    assert!(!net.peers[0].links.has(LinkId(5)));
}

/// A link whose peer vanished is lost within the idle time.
#[test]
fn a_vanished_peer_is_noticed() {
    let mut net = Net::new([10, 0, 0, 1]);
    net.open();
    net.lost = 1000;
    net.run(Duration::from_secs(40), |net| {
        net.has_closed(0).is_some() && net.has_closed(1).is_some()
    });
    assert_eq!(net.has_closed(0), Some(LinkError::Lost));
}

/// An idle link stays open: keep-alives go both ways.
#[test]
fn an_idle_link_lives() {
    let mut net = Net::new([10, 0, 0, 1]);
    net.open();
    let later = net.now + Duration::from_secs(120);
    net.run(Duration::from_secs(130), |net| net.now >= later);
    assert_eq!((net.has_closed(0), net.has_closed(1)), (None, None));
}

/// Begins handshakes with the second peer from these addresses and never goes on.
fn begin_handshakes(net: &mut Net, from: impl Iterator<Item = SocketAddr>) {
    let identity = Identity::generate().expect("a certificate");
    for from in from {
        let mut links = QuicLinks::new(
            &identity,
            Mtus::of_interfaces(),
            AcceptedIds::default(),
            [9; 32],
        );
        links.dial(net.now, LinkId(1), net.peers[1].addr, net.now + OPENING);
        let mut buffer = Vec::new();
        while let Some(transmit) = links.poll_transmit(net.now, 1, &mut buffer) {
            let datagram = Datagram {
                remote: from,
                local: None,
                ecn: None,
                payload: BytesMut::from(&buffer[..transmit.size]),
            };
            net.peers[1].links.receive(net.now, datagram);
            buffer.clear();
        }
    }
}

/// One stranger who only begins handshakes cannot hold more than his share and is forgotten in
/// time; somebody else still gets in.
#[test]
fn half_open_links_of_one_address_are_bounded() {
    let mut net = Net::new([127, 0, 0, 1]);
    let ports = 10_000..10_000 + HALF_OPEN_PER_IP_MAX as u16 * 3;
    let from = ports.map(|port| SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), port)));
    begin_handshakes(&mut net, from);
    assert_eq!(net.peers[1].links.half_open.total(), HALF_OPEN_PER_IP_MAX);
    net.open();
    let later = net.now + OPENING + Duration::from_secs(1);
    net.run(OPENING * 2, |net| net.now >= later);
    assert_eq!(net.peers[1].links.half_open.total(), 0);
}

/// Beyond a number of half-open links strangers must prove their address first, which those
/// who made theirs up cannot; an honest one can.
#[test]
fn made_up_addresses_do_not_fill_the_table() {
    let mut net = Net::new([127, 0, 0, 1]);
    let hosts = 0..HALF_OPEN_UNPROVEN_MAX as u32 * 3;
    let from = hosts.map(|n| SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + n), 7000)));
    begin_handshakes(&mut net, from);
    assert_eq!(net.peers[1].links.half_open.total(), HALF_OPEN_UNPROVEN_MAX);
    net.open();
}
