//! A relay among many who mean it ill: nobody gets at circuits of others, and who reads slowly holds nobody up.

mod common;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeFrom;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use common::talkers::{Heard, Hub};
use scp2p_proto::config::{Config, RelayLimits};
use scp2p_proto::id::{CircuitId, LinkId, NodeKey};
use scp2p_proto::io::Frame;
use scp2p_proto::limits::{CIRCUIT_COST, CIRCUIT_WINDOW, STRAYS_BURST};
use scp2p_proto::rng::Rng;
use scp2p_proto::wire::{Answer, CircuitEnd, CircuitFrame, NewCircuit, Request};

fn relay(rate_total: Option<u32>) -> Hub {
    let mut config = Config {
        relay: Some(RelayLimits {
            content: true,
            rate_total,
            ..RelayLimits::default()
        }),
        ..Config::default()
    };
    config.capabilities.relay = true;
    Hub::new(config)
}

fn ip(network: u8, host: u8) -> IpAddr {
    [192, network, 2, host].into()
}

fn cost(bytes: &Bytes) -> u64 {
    bytes.len() as u64 + CIRCUIT_COST
}

/// A circuit as two peers have it who keep to the protocol, and check that they read what the other wrote.
struct Honest {
    ends: [End; 2],
}

struct End {
    link: LinkId,
    circuit: CircuitId,
    /// How much it may send.
    credit: u64,
    /// The length of what it sends at a time.
    piece: usize,
    writes: Rng,
    reads: Rng,
    read: u64,
}

impl Honest {
    fn open(hub: &mut Hub, piece: usize) -> Honest {
        let owner = hub.meet(1, ip(1, 1), true);
        let opener = hub.meet(2, ip(2, 1), true);
        assert!(matches!(
            hub.asked(owner, &Request::Reserve),
            Ok(Answer::Reserved(_))
        ));
        let target = Hub::key(1);
        let (near, far) = circuit(hub, opener, owner, target).expect("a circuit");
        let one = End::new(opener, near, piece, ["one", "other"]);
        let other = End::new(owner, far, piece, ["other", "one"]);
        Honest { ends: [one, other] }
    }

    /// Both read what there is, and write what they may, up to so many pieces.
    fn turn(&mut self, hub: &mut Hub, pieces: usize) {
        for end in &mut self.ends {
            end.turn(hub);
            for _ in 0..pieces {
                end.write(hub);
            }
        }
    }

    fn read(&self) -> u64 {
        self.ends.iter().map(|end| end.read).sum()
    }
}

impl End {
    /// What it writes, and what it is to read, are named.
    fn new(
        link: LinkId,
        circuit: CircuitId,
        piece: usize,
        [writes, reads]: [&'static str; 2],
    ) -> End {
        End {
            link,
            circuit,
            // The relay grants the rest of its window as soon as the circuit is there.
            credit: CIRCUIT_WINDOW,
            piece,
            writes: Rng::new(&[5; 32], writes),
            reads: Rng::new(&[5; 32], reads),
            read: 0,
        }
    }

    fn turn(&mut self, hub: &mut Hub) {
        let mut used = 0;
        for heard in hub.heard(self.link) {
            match heard {
                Heard::Circuit(circuit, frame) if circuit == self.circuit => match frame {
                    CircuitFrame::Data(bytes) => {
                        let mut expected = vec![0; bytes.len()];
                        self.reads.fill(&mut expected);
                        assert!(bytes == expected, "altered, lost or from elsewhere");
                        self.read += bytes.len() as u64;
                        used += cost(&bytes);
                    }
                    CircuitFrame::Credit(more) => self.credit += u64::from(more),
                    CircuitFrame::Close(end) => panic!("closed: {end:?}"),
                },
                Heard::Circuit(..) | Heard::Incoming(_) | Heard::Answer(..) | Heard::Part(_) => {}
            }
        }
        if used > 0 {
            let credit = CircuitFrame::Credit(used as u32).to_frame(self.circuit);
            hub.send(self.link, [credit]);
        }
    }

    /// One piece more; false if it may not yet.
    fn write(&mut self, hub: &mut Hub) -> bool {
        let Some(left) = self.credit.checked_sub(self.piece as u64 + CIRCUIT_COST) else {
            return false;
        };
        self.credit = left;
        let mut bytes = vec![0; self.piece];
        self.writes.fill(&mut bytes);
        hub.data(self.link, self.circuit, bytes.into());
        true
    }
}

/// The two numbers of a new circuit, or why there is none.
fn circuit(
    hub: &mut Hub,
    opener: LinkId,
    owner: LinkId,
    target: NodeKey,
) -> Result<(CircuitId, CircuitId), String> {
    hub.heard(owner);
    let answer = hub.asked(opener, &Request::Connect(target))?;
    let Answer::Circuit(NewCircuit { circuit: near, .. }) = answer else {
        panic!("{answer:?}")
    };
    let far = hub.heard(owner).into_iter().find_map(|heard| match heard {
        Heard::Incoming(circuit) => Some(circuit),
        Heard::Circuit(..) | Heard::Answer(..) | Heard::Part(_) => None,
    });
    Ok((near, far.unwrap_or(CircuitId(0))))
}

/// Somebody with a few addresses and as many keys as it likes.
struct Attacker {
    rng: Rng,
    sessions: Vec<Session>,
    /// Numbers that circuits have or had, of whomsoever.
    numbers: Vec<CircuitId>,
    /// The next key that nobody saw yet.
    fresh: u32,
    /// How often the relay ended a session, and how often it refused a request for too much of it.
    ended: u32,
    limited: u32,
    /// Keys that were let in no more.
    shunned: BTreeSet<u32>,
}

struct Session {
    link: LinkId,
    key: u32,
    ip: IpAddr,
}

const ADDRESSES: u8 = 4;
const SESSIONS_PER_ADDRESS: u8 = 4;

impl Attacker {
    fn new(hub: &mut Hub, numbers: Vec<CircuitId>) -> Attacker {
        let places = (0..ADDRESSES).flat_map(|at| [at; SESSIONS_PER_ADDRESS as usize]);
        let sessions = (100..).zip(places).map(|(key, at)| {
            let ip = ip(50 + at % 2, at);
            let link = hub.meet(key, ip, true);
            Session { link, key, ip }
        });
        let sessions: Vec<Session> = sessions.collect();
        Attacker {
            rng: Rng::new(&[6; 32], "attacker"),
            fresh: 1000,
            sessions,
            numbers,
            ended: 0,
            limited: 0,
            shunned: BTreeSet::new(),
        }
    }

    /// Tries a few things on one session; says how many.
    fn attack(&mut self, hub: &mut Hub) -> u32 {
        let place = self.rng.below(self.sessions.len() as u64) as usize;
        let link = self.sessions[place].link;
        let tries = 1 + self.rng.below(64) as u32;
        // An answer to what it was not asked ends a session, so some leave that be.
        let answers = place.is_multiple_of(4);
        let frames = (0..tries).map(|_| match answers && self.rng.chance(1, 200) {
            true => self.unasked_answer(),
            false => self.guess(),
        });
        let frames: Vec<Frame> = frames.collect();
        hub.send(link, frames);
        if self.rng.chance(1, 10) {
            let request = self.request();
            hub.ask(link, &request);
        }
        self.listen(hub, link);
        if !hub.is_up(link) {
            self.ended += 1;
            self.come_back(hub, place);
        }
        tries
    }

    /// What goes out on circuits, for a circuit of anybody.
    fn guess(&mut self) -> Frame {
        const ENDS: [CircuitEnd; 4] = [
            CircuitEnd::Closed,
            CircuitEnd::Lost,
            CircuitEnd::Limited,
            CircuitEnd::Offence,
        ];
        let frame = match self.rng.below(5) {
            0 => CircuitFrame::Credit(self.rng.u32()),
            1 => CircuitFrame::Close(ENDS[self.rng.below(4) as usize]),
            _ => {
                let mut bytes = vec![0; 1 + self.rng.below(256) as usize];
                self.rng.fill(&mut bytes);
                CircuitFrame::Data(bytes.into())
            }
        };
        frame.to_frame(self.circuit())
    }

    fn circuit(&mut self) -> CircuitId {
        match self.rng.below(4) {
            0 => CircuitId(self.rng.u32()),
            1 => CircuitId(self.rng.below(4096) as u32),
            _ => self.numbers[self.rng.below(self.numbers.len() as u64) as usize],
        }
    }

    /// As if it had been asked to take a circuit, or for one.
    fn unasked_answer(&mut self) -> Frame {
        let req_id = self.rng.below(1000) as u32;
        let circuit = NewCircuit {
            circuit: self.circuit(),
            content: true,
        };
        match self.rng.below(2) {
            0 => Answer::Ack.to_frame(Request::Incoming(circuit).kind(), req_id),
            _ => Answer::Circuit(circuit).to_frame(Request::Connect(Hub::key(1)).kind(), req_id),
        }
    }

    fn request(&mut self) -> Request {
        let someone = self.rng.below(self.sessions.len() as u64) as usize;
        match self.rng.below(8) {
            0..2 => Request::Reserve,
            2 => Request::Connect(Hub::key(1)),
            3 => Request::Connect(Hub::key(2)),
            4..6 => Request::Connect(Hub::key(self.sessions[someone].key)),
            6 => Request::Connect(Hub::key(self.rng.u32())),
            _ => Request::Incoming(NewCircuit {
                circuit: self.circuit(),
                content: true,
            }),
        }
    }

    /// Learns the numbers of circuits that it has an end of.
    fn listen(&mut self, hub: &mut Hub, link: LinkId) {
        for heard in hub.heard(link) {
            match heard {
                Heard::Incoming(circuit) => self.learn(circuit),
                Heard::Answer(_, Ok(Answer::Circuit(new))) => self.learn(new.circuit),
                Heard::Answer(_, Err(text)) if text.contains("rate limit") => self.limited += 1,
                Heard::Answer(..) | Heard::Circuit(..) | Heard::Part(_) => {}
            }
        }
    }

    /// The first are those of the honest circuit; of its own it remembers the latest, whether they still are or not.
    fn learn(&mut self, circuit: CircuitId) {
        self.numbers.push(circuit);
        if self.numbers.len() > 64 {
            self.numbers.remove(2);
        }
    }

    /// With the key that it had, or if the relay has enough of that with another.
    fn come_back(&mut self, hub: &mut Hub, place: usize) {
        let session = &mut self.sessions[place];
        session.link = hub.meet(session.key, session.ip, true);
        if !hub.is_up(session.link) {
            self.shunned.insert(session.key);
            session.key = self.fresh;
            self.fresh += 1;
            session.link = hub.meet(session.key, session.ip, true);
        }
        assert!(hub.is_up(session.link), "a stranger is let in");
    }
}

#[test]
fn nobody_gets_at_a_circuit_of_others_in_a_million_tries() {
    const TRIES: u32 = 1_000_000;
    let mut hub = relay(None);
    let mut honest = Honest::open(&mut hub, 999);
    let numbers = honest.ends.each_ref().map(|end| end.circuit);
    let mut attacker = Attacker::new(&mut hub, numbers.to_vec());
    let mut tries = 0;
    let mut turns = 0_u64;
    while tries < TRIES {
        tries += attacker.attack(&mut hub);
        honest.turn(&mut hub, 1);
        hub.pass(Duration::from_micros(100));
        turns += 1;
        if turns.is_multiple_of(100) {
            hub.check();
        }
    }
    honest.turn(&mut hub, 0);
    assert_eq!(honest.read(), 2 * turns * 999, "all that was written");
    let sent_astray = STRAYS_BURST * u32::from(ADDRESSES * SESSIONS_PER_ADDRESS);
    assert!(
        sent_astray < TRIES / 2 && attacker.ended > 50,
        "{}",
        attacker.ended
    );
    assert!(attacker.limited > 1000, "{}", attacker.limited);
    assert!(attacker.shunned.len() > 5, "{:?}", attacker.shunned);
    let again = *attacker.shunned.last().expect("one of them");
    let again = hub.meet(again, ip(50, 0), true);
    assert!(!hub.is_up(again), "a key that was shunned stays so");
    for session in &attacker.sessions {
        hub.hang_up(session.link);
    }
    let view = hub.node.relay();
    let ours: Vec<_> = view
        .circuits
        .iter()
        .map(|it| (it.opener, it.target))
        .collect();
    assert_eq!(
        ours,
        [(Hub::key(2), Hub::key(1))],
        "the relay keeps nothing else"
    );
    assert_eq!(view.places.len(), 1);
    hub.check();
}

/// Peers that have a relay hold all that it can for them: they write what they may and take nothing.
struct SlowReaders {
    circuits: Vec<End>,
    /// Those who ask and read no answers.
    askers: Vec<LinkId>,
    keys: RangeFrom<u32>,
}

impl SlowReaders {
    /// As many circuits as there may be. One half of the peers read what comes and grant nothing on circuits, the other
    /// half grant whatever they can and read nothing.
    fn new(hub: &mut Hub) -> SlowReaders {
        const PEERS: usize = 16;
        let mut keys = 100..;
        let peers = keys.by_ref().zip(0..PEERS as u8).map(|(key, at)| {
            let link = hub.meet(key, ip(50 + at % 8, at), at % 2 == 0);
            assert!(hub.asked(link, &Request::Reserve).is_ok());
            (link, Hub::key(key))
        });
        let peers: Vec<(LinkId, NodeKey)> = peers.collect();
        let mut circuits = Vec::new();
        for (place, step) in (0..PEERS).flat_map(|place| (1..6).map(move |step| (place, step))) {
            let (opener, _) = peers[place];
            let (owner, target) = peers[(place + step) % PEERS];
            if let Ok((near, far)) = circuit(hub, opener, owner, target) {
                circuits.extend([(opener, near), (owner, far)]);
            }
        }
        let readers = peers.iter().step_by(2).map(|(link, _)| *link);
        let readers: BTreeSet<LinkId> = readers.collect();
        let ends = circuits.into_iter().map(|(link, circuit)| {
            if !readers.contains(&link) {
                let credit = CircuitFrame::Credit(u32::MAX);
                hub.send(link, [credit.to_frame(circuit)]);
            }
            End::new(
                link,
                circuit,
                8192 - CIRCUIT_COST as usize,
                ["slow", "slow"],
            )
        });
        SlowReaders {
            circuits: ends.collect(),
            askers: Vec::new(),
            keys,
        }
    }

    fn turn(&mut self, hub: &mut Hub) {
        for end in &mut self.circuits {
            while end.write(hub) {}
        }
        self.askers.retain(|link| hub.is_up(*link));
        while self.askers.len() < 8 {
            let key = self.keys.next().expect("one more");
            self.askers.push(hub.meet(key, ip(60, 1), false));
        }
        for asker in &self.askers {
            for _ in 0..16 {
                hub.ask(*asker, &Request::PexRequest { max_peers: 64 });
                hub.ask(*asker, &Request::Reserve);
            }
        }
    }
}

/// What others do in each turn beside an honest circuit.
type Beside = Box<dyn FnMut(&mut Hub)>;

/// What came of an honest circuit in ten seconds beside others.
struct Moved {
    bytes: u64,
    /// The most that the relay held meanwhile.
    held: i64,
    /// Circuits in the end.
    circuits: usize,
}

const TURN: Duration = Duration::from_millis(20);

fn moved(rate: Option<u32>, beside: impl FnOnce(&mut Hub) -> Option<Beside>) -> Moved {
    let mut hub = relay(rate);
    let mut honest = Honest::open(&mut hub, 16_384);
    let mut beside = beside(&mut hub);
    let (mut before, mut held) = (0, 0);
    for turn in 0..600 {
        if turn == 100 {
            before = honest.read();
        }
        if let Some(beside) = &mut beside {
            beside(&mut hub);
        }
        honest.turn(&mut hub, 8);
        held = held.max(hub.held);
        hub.pass(TURN);
        if turn % 50 == 0 {
            hub.check();
        }
    }
    Moved {
        bytes: honest.read() - before,
        held,
        circuits: hub.node.relay().circuits.len(),
    }
}

#[test]
fn slow_readers_take_bounded_memory_and_none_of_the_rate_of_others() {
    let circuits_max = RelayLimits::default().circuits_max;
    let most = u64::from(circuits_max) * 2 * CIRCUIT_WINDOW;
    for rate in [None, Some(4 << 20)] {
        let alone = moved(rate, |_| None);
        assert_eq!(alone.circuits, 1);
        let beside = moved(rate, |hub| {
            let mut slow = SlowReaders::new(hub);
            Some(Box::new(move |hub| slow.turn(hub)))
        });
        assert_eq!(beside.circuits, circuits_max as usize);
        let (one, other) = (alone.bytes, beside.bytes);
        assert!(other * 10 >= one * 9, "{other} of {one} bytes");
        let held = u64::try_from(beside.held).expect("no more comes out than goes in");
        assert!(held < most, "{held} bytes");
        assert!(held > most / 2, "{held} bytes: they are held up");
    }
}

/// Many keys at few addresses that ask for places and circuits, of each other and of honest peers, without end.
struct Beggars {
    rng: Rng,
    sessions: Vec<Session>,
    /// The next key that nobody saw yet.
    fresh: u32,
    asked: u32,
    /// Answers that were no refusal.
    granted: u32,
}

impl Beggars {
    const SESSIONS: u32 = 64;
    /// All of them ask for this much in a second.
    const PER_SECOND: u32 = 10_000;

    fn new() -> Beggars {
        Beggars {
            rng: Rng::new(&[7; 32], "beggars"),
            sessions: Vec::new(),
            fresh: 1000,
            asked: 0,
            granted: 0,
        }
    }

    fn turn(&mut self, hub: &mut Hub) {
        // One more key in each turn, beside those whose sessions the relay ended.
        let gone = self.rng.below(u64::from(Beggars::SESSIONS)) as usize;
        if gone < self.sessions.len() {
            hub.hang_up(self.sessions.swap_remove(gone).link);
        }
        self.sessions.retain(|session| hub.is_up(session.link));
        while self.sessions.len() < Beggars::SESSIONS as usize {
            let key = self.fresh;
            self.fresh += 1;
            let at = (key % u32::from(ADDRESSES)) as u8;
            let ip = ip(50 + at % 2, at);
            let link = hub.meet(key, ip, true);
            self.sessions.push(Session { link, key, ip });
        }
        let requests = Beggars::PER_SECOND * TURN.as_millis() as u32 / 1000;
        for _ in 0..requests {
            let mut someone = || {
                let place = self.rng.below(u64::from(Beggars::SESSIONS));
                &self.sessions[place as usize]
            };
            let (link, other) = (someone().link, someone().key);
            let request = match self.rng.below(4) {
                0 | 1 => Request::Reserve,
                2 => Request::Connect(Hub::key(other)),
                _ => Request::Connect(Hub::key(1 + self.rng.below(2) as u32)),
            };
            self.asked += 1;
            hub.ask(link, &request);
        }
        for session in &self.sessions {
            let heard = hub.heard(session.link).into_iter();
            let is_granted = |heard: &Heard| matches!(heard, Heard::Answer(_, Ok(_)));
            self.granted += heard.filter(is_granted).count() as u32;
        }
    }
}

#[test]
fn ten_thousand_requests_a_second_take_none_of_the_rate_of_others() {
    let limits = RelayLimits::default();
    for rate in [None, Some(4 << 20)] {
        let alone = moved(rate, |_| None).bytes;
        let counts = Rc::new(Cell::new((0, 0)));
        let told = counts.clone();
        let limits = limits.clone();
        let beside = moved(rate, |_| {
            let mut beggars = Beggars::new();
            Some(Box::new(move |hub| {
                beggars.turn(hub);
                told.set((beggars.asked, beggars.granted));
                let view = hub.node.relay();
                assert!(view.circuits.len() <= limits.circuits_max as usize);
                let from = |at: u8| {
                    let places = view.places.iter();
                    places
                        .filter(|place| place.ip == ip(50 + at % 2, at))
                        .count()
                };
                let most = limits.reservations_per_ip_max as usize;
                assert!((0..ADDRESSES).all(|at| from(at) <= most));
            }))
        });
        let bytes = beside.bytes;
        assert!(bytes * 10 >= alone * 9, "{bytes} of {alone} bytes");
        let (asked, granted) = counts.get();
        assert_eq!(asked, 600 * Beggars::PER_SECOND / 50);
        assert!(granted > 0, "some of it is what anybody may ask for");
        assert!(granted < asked / 10, "{granted} of {asked} were granted");
        let held = u64::try_from(beside.held).expect("no more comes out than goes in");
        assert!(held < 4 * CIRCUIT_WINDOW, "{held} bytes");
    }
}
