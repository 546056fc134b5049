//! What a component may do: look around and ask for effects. Components never see each other; what
//! one needs of another is a [`Wish`].

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::command::{CommandError, Reply};
use crate::config::Config;
use crate::event::Event;
use crate::id::{CircuitId, LinkId, NodeKey, OpId};
use crate::io::{CloseCode, Dial, Frame, Lane, LinkEvent};
use crate::keys::Keys;
use crate::session::{Carriage, DialPlan, Roster, Ticket};
use crate::storage::{
    Batch, IndexOp, Load, Loaded, PartRef, PieceWrite, RowOp, StoreError, Table, WriteError,
};
use crate::time::Now;
use crate::wire::{Answer, CircuitFrame, PeerAddr, Request};
use crate::wish::{Found, Wish};
use crate::{catalogs, dht, peers, relay, transfers};

/// The view and the means that a component gets with every call.
pub(crate) struct Cx<'a> {
    pub now: Now,
    pub config: &'a Config,
    pub keys: &'a Keys,
    /// Who is connected.
    pub roster: &'a Roster,
    pub acts: &'a mut Acts,
}

/// What the components asked for and the node has not carried out yet. Empty between inputs.
#[derive(Default)]
pub(crate) struct Acts {
    pub queue: VecDeque<Act>,
    /// The batch of this step.
    pub batch: Batch,
    /// Rows of the batch whose failure nobody would learn of.
    pub loose: Vec<RowOp>,
    /// So many of them are not of the call that goes on.
    earlier: usize,
    /// Who waits for this step's batch.
    pub after: Vec<Tag>,
}

/// One effect.
pub(crate) enum Act {
    Call {
        peer: NodeKey,
        request: Request,
        within: Duration,
        tag: Tag,
    },
    /// Something of a circuit, over the session of this link.
    Circuit(LinkId, CircuitId, CircuitFrame),
    /// The session on this link becomes the tunnel of its peer, for whom we relay.
    Turn(LinkId),
    /// Something goes out on a session that is a tunnel.
    Tunnel(LinkId, Frame),
    /// The owner of a slot, known by this name, can be asked through the relay at an address on this link.
    OpenTunnel {
        link: LinkId,
        name: NodeKey,
        relay: NodeKey,
        at: PeerAddr,
    },
    /// What happened on a link that is a circuit, and which relay carries it if it is new.
    Link(LinkId, Option<Carriage>, LinkEvent),
    /// Opens a link that is a circuit.
    DialCircuit {
        link: LinkId,
        relay: NodeKey,
        target: NodeKey,
        plan: DialPlan,
    },
    Load(Load, Tag),
    Write(PieceWrite, Tag),
    Answer(Ticket, Answer),
    Refuse(Ticket, String),
    Release(Receipt),
    Close {
        link: LinkId,
        code: CloseCode,
    },
    Dial {
        link: LinkId,
        dial: Dial,
        plan: DialPlan,
    },
    Reach {
        addr: PeerAddr,
        tag: Tag,
    },
    /// No session with this peer can be had; the calls that wait for it end.
    Unconnected(NodeKey, ConnectError),
    /// What the roster shows as our own addresses.
    OwnAddrs(Vec<PeerAddr>),
    Wish(Wish),
    Outcome(Tag, Outcome),
    Done(OpId, Result<Reply, CommandError>),
    Event(Event),
}

/// Who gets an outcome, and what it meant to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {
    /// The node itself, stopping.
    Stop(OpId),
    Peers(peers::Tag),
    Dht(dht::Tag),
    Catalogs(catalogs::Tag),
    Transfers(transfers::Tag),
    Relay(relay::Tag),
}

macro_rules! tag_from {
    ($($component:ident => $variant:ident),*) => {$(
        impl From<$component::Tag> for Tag {
            fn from(tag: $component::Tag) -> Tag {
                Tag::$variant(tag)
            }
        }
    )*};
}
tag_from!(peers => Peers, dht => Dht, catalogs => Catalogs, relay => Relay);

/// How something asked for ended. Each call, load, write, commit, reach and lookup ends exactly once.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A call was answered.
    Answer {
        from: NodeKey,
        answer: Result<Answer, CallError>,
        receipt: Receipt,
    },
    Loaded(Result<Loaded, StoreError>),
    Written(Result<(), WriteError>),
    Committed(Result<(), StoreError>),
    /// A session with somebody at the address is up.
    Reached(Result<NodeKey, ConnectError>),
    /// A DHT lookup ended.
    Found(Found),
    /// A DHT store ended; how many nodes took the value.
    Stored(u32),
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CallError {
    /// No session could be had.
    Connect(ConnectError),
    /// The session ended first.
    Lost,
    /// No answer in time.
    TimedOut,
    /// Too many calls wait for this peer already.
    Busy,
    /// The peer answered with an error.
    Refused { rate_limited: bool },
    /// The answer cannot be decoded or is of another type.
    Malformed,
}

/// Why a peer cannot be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// No address is known, or none that may be dialled.
    NoAddress,
    /// Nobody answered at any of them.
    Unreachable,
    /// It was tried lately without success.
    BackOff,
    /// The node has as many links as it may.
    Busy,
    /// Somebody answered, but not whom we wanted or not as it must.
    Refused,
}

/// The bytes that an answer took of a link's read window. Given back by
/// [`Cx::release`] when they are worked off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub link: LinkId,
    pub lane: Lane,
    pub bytes: u32,
}

impl Receipt {
    /// For an outcome that took no bytes.
    pub(crate) const NONE: Receipt = Receipt {
        link: LinkId(0),
        lane: Lane::Control,
        bytes: 0,
    };
}

impl Acts {
    /// A component is called.
    pub(crate) fn begin_call(&mut self) -> &mut Acts {
        self.earlier = self.loose.len();
        self
    }
}

impl Cx<'_> {
    /// Asks a peer, dialling first if need be. The outcome is [`Outcome::Answer`].
    pub(crate) fn call(
        &mut self,
        peer: NodeKey,
        request: Request,
        within: Duration,
        tag: impl Into<Tag>,
    ) {
        self.push(Act::Call {
            peer,
            request,
            within,
            tag: tag.into(),
        });
    }

    /// Connects whoever is at an address. The outcome is [`Outcome::Reached`].
    pub(crate) fn reach(&mut self, addr: PeerAddr, tag: impl Into<Tag>) {
        self.push(Act::Reach {
            addr,
            tag: tag.into(),
        });
    }

    /// The outcome is [`Outcome::Loaded`].
    pub(crate) fn load(&mut self, load: Load, tag: impl Into<Tag>) {
        self.push(Act::Load(load, tag.into()));
    }

    /// The outcome is [`Outcome::Written`].
    pub(crate) fn write(&mut self, piece: PieceWrite, tag: impl Into<Tag>) {
        self.push(Act::Write(piece, tag.into()));
    }

    pub(crate) fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.row(RowOp::Put(table, key.into(), value.into()));
    }

    pub(crate) fn delete(&mut self, table: Table, key: impl Into<Bytes>) {
        self.row(RowOp::Delete(table, key.into()));
    }

    pub(crate) fn sync(&mut self, part: PartRef) {
        self.acts.batch.sync.push(part);
    }

    pub(crate) fn finish(&mut self, part: PartRef) {
        self.acts.batch.finish.push(part);
    }

    pub(crate) fn discard(&mut self, part: PartRef) {
        self.acts.batch.discard.push(part);
    }

    pub(crate) fn index(&mut self, op: IndexOp) {
        self.acts.batch.index.push(op);
    }

    /// This step's batch is made durable; then, or when it failed, the outcome is
    /// [`Outcome::Committed`]. What promises durability waits for it. Rows that the component changed
    /// in this call before are not tried again on their own: they are the business of the outcome.
    pub(crate) fn commit(&mut self, tag: impl Into<Tag>) {
        self.acts.batch.urgent = true;
        self.commit_soft(tag);
    }

    /// This step's batch is made durable at once, although nobody waits for it.
    pub(crate) fn make_durable(&mut self) {
        self.acts.batch.urgent = true;
    }

    /// Like [`Cx::commit`], without haste.
    pub(crate) fn commit_soft(&mut self, tag: impl Into<Tag>) {
        self.acts.loose.truncate(self.acts.earlier);
        self.acts.after.push(tag.into());
    }

    /// Opens a link; only Peers does. Ends with `on_link_failed`, `on_probed` or `on_up`.
    pub(crate) fn dial(&mut self, link: LinkId, dial: Dial, plan: DialPlan) {
        self.push(Act::Dial { link, dial, plan });
    }

    /// Opens a link that is a circuit to `target`; only Peers does. Ends like [`Cx::dial`].
    pub(crate) fn dial_circuit(
        &mut self,
        link: LinkId,
        relay: NodeKey,
        target: NodeKey,
        plan: DialPlan,
    ) {
        self.push(Act::DialCircuit {
            link,
            relay,
            target,
            plan,
        });
    }

    /// Sends something of a circuit; only Relay does.
    pub(crate) fn circuit(&mut self, link: LinkId, circuit: CircuitId, frame: CircuitFrame) {
        self.push(Act::Circuit(link, circuit, frame));
    }

    /// The session on this link becomes the tunnel of its peer after what was sent on it, and nothing is sent on it any
    /// more but by [`Cx::tunnel`]; only Relay does.
    pub(crate) fn turn(&mut self, link: LinkId) {
        self.push(Act::Turn(link));
    }

    /// Sends something on a session that is a tunnel; only Relay does.
    pub(crate) fn tunnel(&mut self, link: LinkId, frame: Frame) {
        self.push(Act::Tunnel(link, frame));
    }

    /// The owner of a slot can be asked on this link by a name that is nobody's key; only Relay says so.
    pub(crate) fn open_tunnel(
        &mut self,
        link: LinkId,
        name: NodeKey,
        relay: NodeKey,
        at: PeerAddr,
    ) {
        self.push(Act::OpenTunnel {
            link,
            name,
            relay,
            at,
        });
    }

    /// Something happened on a link that is a circuit; only Relay says so.
    pub(crate) fn link(&mut self, link: LinkId, event: LinkEvent) {
        self.push(Act::Link(link, None, event));
    }

    /// A link that is a circuit is up; only Relay says so.
    pub(crate) fn circuit_up(&mut self, link: LinkId, carriage: Carriage, event: LinkEvent) {
        self.push(Act::Link(link, Some(carriage), event));
    }

    /// Ends all calls that wait for a session with this peer; only Peers does.
    pub(crate) fn unconnected(&mut self, peer: NodeKey, error: ConnectError) {
        self.push(Act::Unconnected(peer, error));
    }

    /// Shows these addresses in the roster; only Peers does.
    pub(crate) fn own_addrs(&mut self, addrs: Vec<PeerAddr>) {
        self.push(Act::OwnAddrs(addrs));
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.push(Act::Answer(ticket, answer));
    }

    /// Answers a request with an error, worded as deployed peers do (SPECIFICATION §4.2).
    pub(crate) fn refuse(&mut self, ticket: Ticket, text: impl Into<String>) {
        self.push(Act::Refuse(ticket, text.into()));
    }

    /// Gives the bytes of an answer back to the link's read window.
    pub(crate) fn release(&mut self, receipt: Receipt) {
        if receipt.bytes > 0 {
            self.push(Act::Release(receipt));
        }
    }

    pub(crate) fn close(&mut self, link: LinkId, code: CloseCode) {
        self.push(Act::Close { link, code });
    }

    pub(crate) fn wish(&mut self, wish: Wish) {
        self.push(Act::Wish(wish));
    }

    /// Delivers an outcome that this component owes to another.
    pub(crate) fn outcome(&mut self, tag: Tag, outcome: Outcome) {
        self.push(Act::Outcome(tag, outcome));
    }

    pub(crate) fn done(&mut self, op: OpId, result: Result<Reply, CommandError>) {
        self.push(Act::Done(op, result));
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.push(Act::Event(event));
    }

    fn row(&mut self, row: RowOp) {
        self.acts.loose.push(row.clone());
        self.acts.batch.rows.push(row);
    }

    fn push(&mut self, act: Act) {
        self.acts.queue.push_back(act);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Time, UnixTime};

    #[test]
    fn a_commit_takes_charge_of_the_rows_of_its_own_call_alone() {
        let (config, keys) = (Config::default(), Keys::from_seed([1; 32]));
        let (roster, mut acts) = (Roster::default(), Acts::default());
        let mut call = |act: &dyn Fn(&mut Cx<'_>)| {
            act(&mut Cx {
                now: Now {
                    mono: Time(0),
                    unix: UnixTime(0),
                },
                config: &config,
                keys: &keys,
                roster: &roster,
                acts: acts.begin_call(),
            });
        };
        let put = |cx: &mut Cx<'_>, key: &'static [u8]| cx.put(Table::Meta, key, key);
        call(&|cx| put(cx, b"before"));
        call(&|cx| {
            put(cx, b"promised");
            cx.commit(Tag::Stop(OpId(1)));
        });
        call(&|cx| put(cx, b"after"));
        let row = |key: &'static [u8]| RowOp::Put(Table::Meta, key.into(), key.into());
        assert_eq!(acts.loose, [row(b"before"), row(b"after")]);
        assert_eq!(acts.batch.rows.len(), 3);
    }
}
