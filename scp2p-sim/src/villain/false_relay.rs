//! A relay that does to what it carries all that a relay can.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use scp2p_proto::id::{CircuitId, LinkId, NodeKey};
use scp2p_proto::wire::{
    Answer, AnswerError, CircuitEnd, CircuitFrame, DialedBack, NewCircuit, Observed, Request,
    Reservation,
};

use super::talker::{Asked, Policy, Talker, Way};

/// Circuits at a time.
const CIRCUITS_MAX: usize = 128;
/// Data of one circuit that is kept to be sent later.
const KEPT_MAX: usize = 8;

/// What it does to a circuit.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Drop,
    /// All of them, from one on: nothing tells the ends.
    Swallow,
    Delay,
    Reorder,
    Duplicate,
    Truncate,
    Alter,
    Swap,
    Replay,
    Cut,
}

const HARMS: [(Harm, &str); 10] = [
    (Harm::Drop, "records dropped"),
    (Harm::Swallow, "records swallowed"),
    (Harm::Delay, "records delayed"),
    (Harm::Reorder, "records reordered"),
    (Harm::Duplicate, "records duplicated"),
    (Harm::Truncate, "records truncated"),
    (Harm::Alter, "records altered"),
    (Harm::Swap, "records put on other circuits"),
    (Harm::Replay, "records replayed"),
    (Harm::Cut, "circuits cut"),
];

type At = (LinkId, CircuitId);

/// Carries what it gets, for a while.
#[derive(Debug, Default)]
pub(super) struct FalseRelay {
    places: BTreeMap<NodeKey, LinkId>,
    /// Who waits for a circuit to be taken, by the circuit.
    waiting: BTreeMap<At, Asked>,
    pipes: BTreeMap<At, Pipe>,
    circuits: u32,
}

/// One direction of a circuit.
#[derive(Debug)]
struct Pipe {
    to: At,
    harm: (Harm, &'static str),
    /// So many records go before it does harm.
    honest: u32,
    kept: Vec<Bytes>,
}

impl FalseRelay {
    pub fn new(talker: &mut Talker) -> FalseRelay {
        talker.capabilities.relay = true;
        FalseRelay::default()
    }

    fn fresh(&mut self, talker: &Talker, link: LinkId) -> NewCircuit {
        self.circuits = self.circuits.wrapping_add(2) & !1;
        let is_greater = talker
            .peer(link)
            .is_some_and(|peer| talker.keys.public() > peer);
        NewCircuit {
            circuit: CircuitId(self.circuits | u32::from(is_greater)),
            content: true,
        }
    }

    fn reserve(&mut self, talker: &mut Talker, asked: &Asked) {
        if let Some(peer) = talker.peer(asked.link) {
            self.places.insert(peer, asked.link);
        }
        let place = Reservation {
            lease_secs: 600,
            circuits_max: 16,
            content: true,
        };
        talker.answer(asked, &Answer::Reserved(place));
        talker.deed("places given");
    }

    fn connect(&mut self, talker: &mut Talker, asked: Asked, target: &NodeKey) {
        let Some(link) = self.places.get(target).copied() else {
            return talker.refuse(&asked, "no reservation");
        };
        if self.pipes.len() >= 2 * CIRCUITS_MAX {
            return talker.refuse(&asked, "rate limit: too many circuits");
        }
        if talker.rng.below(8) == 0 {
            return talker.deed("circuits asked for without an answer");
        }
        let new = self.fresh(talker, link);
        self.waiting.insert((link, new.circuit), asked);
        talker.ask(link, Request::Incoming(new));
    }

    fn taken(&mut self, talker: &mut Talker, far: At) {
        let Some(asked) = self.waiting.remove(&far) else {
            return;
        };
        let new = self.fresh(talker, asked.link);
        let near = (asked.link, new.circuit);
        for (at, to) in [(near, far), (far, near)] {
            let harm = talker.rng.pick(&HARMS).copied();
            let pipe = Pipe {
                to,
                harm: harm.unwrap_or((Harm::Drop, "records dropped")),
                honest: talker.rng.below(40) as u32,
                kept: Vec::new(),
            };
            self.pipes.insert(at, pipe);
        }
        talker.answer(&asked, &Answer::Circuit(new));
        talker.deed("circuits carried");
    }

    fn data(&mut self, talker: &mut Talker, from: At, bytes: Bytes) {
        let others: Vec<At> = self.pipes.keys().copied().collect();
        let Some(pipe) = self.pipes.get_mut(&from) else {
            return;
        };
        let (to, is_kept) = (pipe.to, !pipe.kept.is_empty());
        let is_never_again = matches!(pipe.harm.0, Harm::Swallow);
        let is_honest = pipe.honest > 0 || (talker.rng.below(4) > 0 && !is_never_again);
        pipe.honest = pipe.honest.saturating_sub(1);
        let (harm, deed) = pipe.harm;
        if is_honest && !(is_kept && matches!(harm, Harm::Delay)) {
            send(talker, to, bytes.clone());
            if let Harm::Reorder = harm {
                for late in pipe.kept.drain(..) {
                    send(talker, to, late);
                }
            }
            if let Harm::Replay = harm {
                pipe.kept.clear();
                pipe.kept.push(bytes);
            }
            return;
        }
        talker.deed(deed);
        match harm {
            Harm::Drop | Harm::Swallow => {}
            Harm::Delay | Harm::Reorder => {
                if pipe.kept.len() < KEPT_MAX {
                    pipe.kept.push(bytes);
                }
            }
            Harm::Duplicate => {
                send(talker, to, bytes.clone());
                send(talker, to, bytes);
            }
            Harm::Truncate => send(talker, to, bytes.slice(..bytes.len().div_ceil(2))),
            Harm::Alter => {
                let mut altered = bytes.to_vec();
                if let Some(byte) = altered.last_mut() {
                    *byte ^= 1;
                }
                send(talker, to, altered.into());
            }
            Harm::Swap => {
                let other = talker.rng.pick(&others).copied();
                send(talker, other.unwrap_or(to), bytes);
            }
            Harm::Replay => {
                for old in pipe.kept.drain(..) {
                    send(talker, to, old);
                }
                send(talker, to, bytes);
            }
            Harm::Cut => self.cut(talker, from),
        }
    }

    fn cut(&mut self, talker: &mut Talker, at: At) {
        let Some(pipe) = self.pipes.remove(&at) else {
            return;
        };
        self.pipes.remove(&pipe.to);
        for (link, circuit) in [at, pipe.to] {
            let end = CircuitFrame::Close(CircuitEnd::Closed);
            let lane = talker.bulk_lane(link);
            talker.send_frame(link, lane, end.to_frame(circuit));
        }
    }
}

/// What it makes up of addresses.
fn lie(talker: &mut Talker, request: &Request) -> Option<Answer> {
    if let Request::DialBack(_) = request {
        return Some(Answer::DialedBack(DialedBack {
            quic: talker.rng.below(2) == 0,
            tcp: talker.rng.below(2) == 0,
        }));
    }
    let Request::Listening(_) = request else {
        return None;
    };
    let other = talker.target()?.quic?;
    Some(Answer::Observed(Observed {
        ip: other.ip(),
        port: other.port(),
    }))
}

fn send(talker: &mut Talker, (link, circuit): At, bytes: Bytes) {
    let lane = talker.bulk_lane(link);
    let frame = CircuitFrame::Data(bytes).to_frame(circuit);
    talker.send_frame(link, lane, frame);
}

impl Policy for FalseRelay {
    fn pace(&self) -> Duration {
        Duration::from_secs(3)
    }

    fn turn(&mut self, talker: &mut Talker) {
        talker.keep_sessions(Way::Ours);
        for pipe in self.pipes.values_mut() {
            if let Harm::Delay = pipe.harm.0 {
                for late in pipe.kept.drain(..) {
                    send(talker, pipe.to, late);
                }
            }
        }
    }

    fn request(&mut self, talker: &mut Talker, asked: Asked) {
        if asked.request == Request::Reserve {
            self.reserve(talker, &asked);
        } else if let Request::Connect(target) = asked.request {
            self.connect(talker, asked, &target);
        } else if let Some(lie) = lie(talker, &asked.request) {
            talker.answer(&asked, &lie);
            talker.deed("lies told");
        } else {
            talker.answer_well(&asked);
        }
    }

    fn reply(
        &mut self,
        talker: &mut Talker,
        link: LinkId,
        request: Request,
        answer: Result<Answer, AnswerError>,
    ) {
        let Request::Incoming(new) = request else {
            return;
        };
        let at = (link, new.circuit);
        if answer == Ok(Answer::Ack) {
            self.taken(talker, at);
        } else if let Some(asked) = self.waiting.remove(&at) {
            talker.refuse(&asked, "unreachable");
        }
    }

    fn circuit(
        &mut self,
        talker: &mut Talker,
        link: LinkId,
        circuit: CircuitId,
        frame: CircuitFrame,
    ) {
        let at = (link, circuit);
        match frame {
            CircuitFrame::Data(bytes) => self.data(talker, at, bytes),
            CircuitFrame::Close(_) => self.cut(talker, at),
            CircuitFrame::Credit(_) => {
                if let Some(pipe) = self.pipes.get(&at) {
                    let (link, circuit) = pipe.to;
                    let lane = scp2p_proto::io::Lane::Control;
                    talker.send_frame(link, lane, frame.to_frame(circuit));
                }
            }
        }
    }

    fn gone(&mut self, talker: &mut Talker, link: LinkId) {
        self.places.retain(|_, place| *place != link);
        self.waiting
            .retain(|at, asked| at.0 != link && asked.link != link);
        let on_link: Vec<At> = self
            .pipes
            .keys()
            .copied()
            .filter(|at| at.0 == link)
            .collect();
        for at in on_link {
            self.cut(talker, at);
        }
    }
}
