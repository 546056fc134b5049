//! Dialling: QUIC first, TCP a moment later, each in the profiles that may fit; the first that
//! authenticates wins (SPECIFICATION §3.2).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::rests::Rests;
use crate::cx::{ConnectError, Tag};
use crate::id::{LinkId, NodeKey};
use crate::io::{Dial, Host};
use crate::limits::DIALS_MAX;
use crate::session::{DialPlan, HandshakeError, LinkFailure, ProfileMemory, Purpose};
use crate::time::Time;
use crate::wire::{PeerAddr, Profile};

/// The head start that one way gets before the next is tried too.
const HEAD_START: Duration = Duration::from_millis(250);
/// What it gets when its link is there: then most often somebody answers, and a second link would be for nothing.
const OPEN_START: Duration = Duration::from_secs(1);

/// What an attempt is after.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Goal {
    /// A session with this peer.
    Peer(NodeKey),
    /// A session with this peer that no relay carries.
    Direct(NodeKey),
    /// A session with this peer over another relay than that which carries it.
    OtherRelay(NodeKey),
    /// A session with this peer, for which no relay is asked, only to know more of the network.
    Unasked(NodeKey),
    /// A session with whoever is at the address.
    Addr(PeerAddr),
    /// A session with the bootstrap peer of this number.
    Bootstrap(usize),
}

/// One way to the goal.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub dial: Dial,
    pub expected: Option<NodeKey>,
    /// The relay that is there, if that is to connect us to whom we expect.
    pub relay: Option<NodeKey>,
    /// Whether it is gone however lately others were dialled there: the peer was met there, or the
    /// user named the address.
    pub is_vouched: bool,
    /// Profiles still to try over it.
    pub profiles: VecDeque<Profile>,
}

/// All attempts under way.
#[derive(Default)]
pub(super) struct Dials {
    attempts: BTreeMap<Goal, Attempt>,
    /// What each link is opened for.
    links: BTreeMap<LinkId, Goal>,
    rests: Rests,
    next_link: u64,
}

struct Attempt {
    /// Ways still to go.
    ways: VecDeque<Way>,
    /// Ways being gone.
    open: BTreeMap<LinkId, Way>,
    /// When the next way is tried although others are still open.
    next_at: Time,
    waiters: Vec<Tag>,
    /// [`ConnectError::BackOff`] until something is dialled.
    error: ConnectError,
}

/// What came of an attempt that is over.
pub(super) struct Ended {
    pub goal: Goal,
    pub waiters: Vec<Tag>,
    pub error: ConnectError,
}

/// What to do next.
pub(super) enum Next {
    Dial(LinkId, Dial, DialPlan),
    /// Have a relay open a circuit.
    Circuit {
        link: LinkId,
        relay: PeerAddr,
        target: NodeKey,
        plan: DialPlan,
    },
    Ended(Ended),
}

impl Dials {
    /// Whether so many links are opening that no attempt should be begun.
    pub(super) fn is_full(&self) -> bool {
        self.attempts.len() >= DIALS_MAX || self.has_no_link()
    }

    /// Whether an attempt must wait for a link of another to end.
    fn has_no_link(&self) -> bool {
        self.links.len() >= DIALS_MAX
    }

    pub(super) fn is_under_way(&self, goal: &Goal) -> bool {
        self.attempts.contains_key(goal)
    }

    /// Until when a way must not be gone, as others were dialled at its address.
    pub(super) fn rests_until(&self, way: &Way, now: Time) -> Option<Time> {
        self.rests.until(way, now)
    }

    /// Until when a peer must not be dialled at an address where it was never reached.
    pub(super) fn addr_rests_until(
        &self,
        addr: &PeerAddr,
        peer: NodeKey,
        now: Time,
    ) -> Option<Time> {
        self.rests.addr_until(addr, peer, now)
    }

    /// Begins an attempt; what it needs comes from [`Dials::next`].
    pub(super) fn begin(&mut self, goal: Goal, ways: Vec<Way>, now: Time) {
        let attempt = Attempt {
            ways: ways.into(),
            open: BTreeMap::new(),
            next_at: now,
            waiters: Vec::new(),
            error: ConnectError::BackOff,
        };
        self.attempts.entry(goal).or_insert(attempt);
    }

    /// Somebody wants to hear of the end of an attempt under way.
    pub(super) fn wait(&mut self, goal: &Goal, waiter: Tag) {
        if let Some(attempt) = self.attempts.get_mut(goal) {
            attempt.waiters.push(waiter);
        }
    }

    /// Until when an attempt's last link has a head start before others that lead to the same peer; none if there is
    /// no such attempt, or it had its time.
    pub(super) fn head_start(&self, goal: &Goal, now: Time) -> Option<Time> {
        let attempt = self.attempts.get(goal)?;
        let until = match attempt.open.is_empty() {
            true => now + HEAD_START,
            false => attempt.next_at,
        };
        (until > now).then_some(until)
    }

    /// What the ends of attempts are waited for.
    pub(super) fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.attempts.values().flat_map(|attempt| &attempt.waiters)
    }

    /// Links that are being opened for a goal.
    pub(super) fn open(&self, goal: &Goal) -> usize {
        self.attempts
            .get(goal)
            .map_or(0, |attempt| attempt.open.len())
    }

    pub(super) fn fresh_link(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link)
    }

    /// The next thing that is due: a way to dial, or an attempt that has no way left.
    pub(super) fn next(&mut self, now: Time) -> Option<Next> {
        loop {
            let goal = self.due(now)?;
            let fresh = self.fresh_link();
            let attempt = self.attempts.get_mut(&goal)?;
            let Some(mut way) = attempt.ways.pop_front() else {
                let attempt = self.attempts.remove(&goal)?;
                return Some(Next::Ended(Ended {
                    goal,
                    waiters: attempt.waiters,
                    error: attempt.error,
                }));
            };
            if self.rests.until(&way, now).is_some() {
                continue;
            }
            self.rests.dialled(&way, now);
            if attempt.error == ConnectError::BackOff {
                attempt.error = ConnectError::Unreachable;
            }
            attempt.next_at = now + HEAD_START;
            let profile = way.profiles.pop_front().unwrap_or(Profile::C);
            let plan = DialPlan {
                profile,
                expected: way.expected,
                purpose: Purpose::Session,
            };
            let (link, next) = way.next(fresh, plan);
            attempt.open.insert(link, way);
            self.links.insert(link, goal);
            return Some(next);
        }
    }

    /// An attempt that has something to do.
    fn due(&self, now: Time) -> Option<Goal> {
        let may_dial = !self.has_no_link();
        let is_due = |(_, attempt): &(&Goal, &Attempt)| {
            let is_idle = attempt.open.is_empty();
            match attempt.ways.is_empty() {
                true => is_idle,
                false => may_dial && (is_idle || attempt.next_at <= now),
            }
        };
        let (goal, _) = self.attempts.iter().find(is_due)?;
        Some(goal.clone())
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let may_dial = !self.has_no_link();
        let due = self.attempts.values().filter(|attempt| {
            // Without a way left there is an end to be told of, also if there never was a way.
            if attempt.ways.is_empty() {
                attempt.open.is_empty()
            } else {
                may_dial
            }
        });
        due.map(|attempt| attempt.next_at).min()
    }

    /// A link is there and its handshake begins.
    pub(super) fn opened(&mut self, link: LinkId, now: Time) {
        let goal = self.links.get(&link);
        if let Some(attempt) = goal.and_then(|goal| self.attempts.get_mut(goal)) {
            attempt.next_at = attempt.next_at.max(now + OPEN_START);
        }
    }

    /// A link is up. Gives its goal, who waits for it, and the attempt's other links.
    pub(super) fn up(&mut self, link: LinkId) -> Option<Won> {
        let goal = self.links.remove(&link)?;
        let (waiters, mut others) = self.moot(&goal);
        others.retain(|other| *other != link);
        Some(Won {
            goal,
            waiters,
            others,
        })
    }

    /// The goal's other links are of no use any more: the peer came by itself.
    pub(super) fn moot(&mut self, goal: &Goal) -> (Vec<Tag>, Vec<LinkId>) {
        let Some(attempt) = self.attempts.remove(goal) else {
            return (Vec::new(), Vec::new());
        };
        for link in attempt.open.keys() {
            self.links.remove(link);
        }
        (attempt.waiters, attempt.open.into_keys().collect())
    }

    /// A link failed; if another profile may fit, the same way is tried in it at once. Gives what it was
    /// dialled for, and whether that is so.
    pub(super) fn failed(&mut self, link: LinkId, failure: &LinkFailure) -> Option<(Goal, bool)> {
        let goal = self.links.remove(&link)?;
        let attempt = self.attempts.get_mut(&goal)?;
        let mut way = attempt.open.remove(&link)?;
        let retry = match failure {
            LinkFailure::Handshake(error) => {
                if let (HandshakeError::WrongKey { found, .. }, None) = (error, way.relay) {
                    self.rests.found(&way.dial, *found);
                }
                attempt.error = ConnectError::Refused;
                way.profiles
                    .retain(|profile| error.worth_trying().contains(profile));
                !way.profiles.is_empty()
            }
            // A deployed peer refuses a hello that it cannot read by closing.
            LinkFailure::Closed => !way.profiles.is_empty(),
            LinkFailure::Dial(_) | LinkFailure::TimedOut => false,
            LinkFailure::Unbound(_) => {
                attempt.error = ConnectError::Refused;
                false
            }
        };
        if retry {
            // It is still the same try.
            way.is_vouched = true;
            attempt.ways.push_front(way);
        }
        Some((goal, retry))
    }
}

/// An attempt that came to its goal.
pub(super) struct Won {
    pub goal: Goal,
    pub waiters: Vec<Tag>,
    pub others: Vec<LinkId>,
}

impl Way {
    /// To an address, in the profiles that `memory` thinks best.
    pub(super) fn to_addr(
        addr: &PeerAddr,
        expected: Option<NodeKey>,
        ours: bool,
        memory: &ProfileMemory,
    ) -> Way {
        let dial = Dial {
            transport: addr.transport,
            host: Host::Ip(addr.ip),
            port: addr.port,
        };
        Way::new(dial, expected, ours, memory)
    }

    /// `ours`: the peer is known to be like us, so that there is only one profile to speak.
    pub(super) fn new(
        dial: Dial,
        expected: Option<NodeKey>,
        ours: bool,
        memory: &ProfileMemory,
    ) -> Way {
        let profiles = match &dial.host {
            _ if ours => VecDeque::from([Profile::C]),
            Host::Ip(ip) => memory
                .order(expected, SocketAddr::new(*ip, dial.port))
                .into(),
            Host::Name(_) => VecDeque::from([Profile::C, Profile::A, Profile::B]),
        };
        Way {
            dial,
            expected,
            relay: None,
            is_vouched: false,
            profiles,
        }
    }

    /// To a peer of ours, through a relay that is at this address and has this key.
    pub(super) fn through(addr: &PeerAddr, relay: NodeKey, target: NodeKey) -> Way {
        Way {
            relay: Some(relay),
            // What is dialled is the relay, if it must be, by an attempt of its own.
            is_vouched: true,
            ..Way::to_addr(addr, Some(target), true, &ProfileMemory::new())
        }
    }

    fn next(&self, fresh: LinkId, plan: DialPlan) -> (LinkId, Next) {
        if let (Some(relay), Some(target), Host::Ip(ip)) =
            (self.relay, self.expected, &self.dial.host)
        {
            let link = LinkId::circuit(fresh.0);
            let relay = PeerAddr {
                ip: *ip,
                port: self.dial.port,
                transport: self.dial.transport,
                key: Some(relay),
                relay_via: None,
            };
            let next = Next::Circuit {
                link,
                relay,
                target,
                plan,
            };
            return (link, next);
        }
        (fresh, Next::Dial(fresh, self.dial.clone(), plan))
    }
}

#[cfg(any(test, feature = "check"))]
impl Dials {
    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        self.rests.check(broken);
        broken.at_most("links being opened", self.links.len(), DIALS_MAX);
        let attempts_max = DIALS_MAX + crate::limits::BOOTSTRAPS_MAX;
        broken.at_most("peers being dialled", self.attempts.len(), attempts_max);
        for (link, goal) in &self.links {
            let attempt = self.attempts.get(goal);
            let is_after = attempt.is_some_and(|attempt| attempt.open.contains_key(link));
            broken.unless(is_after, || {
                alloc::format!("a link is opened for {goal:?}, which nobody is after")
            });
        }
        for (goal, attempt) in &self.attempts {
            let has_index = |link| self.links.get(link) == Some(goal);
            broken.unless(attempt.open.keys().all(has_index), || {
                alloc::format!("a link opened for {goal:?} is known to nobody else")
            });
            let mut ways = attempt.ways.iter().chain(attempt.open.values());
            let is_unasked = matches!(goal, Goal::Unasked(_));
            broken.unless(!is_unasked || ways.all(|way| way.relay.is_none()), || {
                alloc::format!("a relay is asked for {goal:?}")
            });
            let goes_on = !attempt.ways.is_empty() || !attempt.open.is_empty();
            broken.unless(goes_on || self.deadline().is_some(), || {
                alloc::format!("there is no way to {goal:?} left, and nobody was told")
            });
        }
    }

    pub(super) fn links(&self) -> impl Iterator<Item = LinkId> {
        self.links.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{DialError, Transport};
    use core::net::{IpAddr, Ipv4Addr};

    #[test]
    fn an_attempt_without_a_way_ends_at_once() {
        let mut dials = Dials::default();
        dials.begin(Goal::Bootstrap(0), Vec::new(), Time(7));
        assert_eq!(dials.deadline(), Some(Time(7)));
        assert!(matches!(dials.next(Time(7)), Some(Next::Ended(_))));
        assert_eq!(dials.deadline(), None);
    }

    #[test]
    fn a_way_whose_link_is_there_has_a_longer_head_start() {
        let mut dials = Dials::default();
        let way = |transport| Way {
            dial: Dial {
                transport,
                host: Host::Ip(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
                port: 7000,
            },
            expected: None,
            relay: None,
            is_vouched: true,
            profiles: VecDeque::from([Profile::C]),
        };
        let ways = [Transport::Quic, Transport::Tcp].map(way);
        dials.begin(Goal::Bootstrap(0), Vec::from(ways), Time(0));
        assert!(matches!(dials.next(Time(0)), Some(Next::Dial(..))));
        let first = dials.links().next().expect("the link that was dialled");
        assert_eq!(dials.deadline(), Some(Time(0) + HEAD_START));
        dials.opened(first, Time(7));
        assert!(dials.next(Time(7) + HEAD_START).is_none());
        let due = Time(7) + OPEN_START;
        assert_eq!(dials.deadline(), Some(due));
        assert!(matches!(dials.next(due), Some(Next::Dial(..))));
    }

    #[test]
    fn links_being_opened_are_bounded_however_many_attempts_begin_at_once() {
        let mut dials = Dials::default();
        for number in 0..2 * DIALS_MAX {
            let way = |last| Way {
                dial: Dial {
                    transport: Transport::Quic,
                    host: Host::Ip(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))),
                    port: 7000,
                },
                expected: None,
                relay: None,
                is_vouched: true,
                profiles: VecDeque::from([Profile::C]),
            };
            dials.begin(
                Goal::Bootstrap(number),
                Vec::from([way(1), way(2)]),
                Time(0),
            );
        }
        let mut open: VecDeque<LinkId> = VecDeque::new();
        let (mut dialled, mut ended, mut now) = (0, 0, Time(0));
        while ended < 2 * DIALS_MAX {
            while let Some(next) = dials.next(now) {
                match next {
                    Next::Dial(link, ..) | Next::Circuit { link, .. } => open.push_back(link),
                    Next::Ended(_) => ended += 1,
                }
                assert!(open.len() <= DIALS_MAX);
            }
            assert!(dials.deadline().is_none_or(|at| at > now));
            if let Some(link) = open.pop_front() {
                dialled += 1;
                dials.failed(link, &LinkFailure::Dial(DialError::Refused));
            }
            now = now + HEAD_START;
        }
        assert_eq!(dialled, 4 * DIALS_MAX);
    }
}
