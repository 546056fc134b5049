//! The circuits that pass through this node: who opened them, what they took and how much more they may take
//! (SPECIFICATION §11.5). What goes through tunnels of deployed peers is counted with it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::config::RelayLimits;
use crate::id::NodeKey;
use crate::limits::RELAY_ACCOUNTS_MAX;
use crate::lru::Lru;
use crate::netgroup::{Netgroup, subscriber};
use crate::time::Time;
use crate::view::{CircuitView, RelayTotals};

/// How far ahead of its rate somebody may be who was idle.
const AHEAD: Duration = Duration::from_secs(1);
/// Bytes per second of a circuit that is for control only, and how far ahead of that it may be: a mebibyte.
const CONTROL_RATE: u32 = 16_384;
const CONTROL_AHEAD: Duration = Duration::from_secs(64);
/// The time that hourly quotas are for.
const HOUR: Duration = Duration::from_secs(3600);
/// Why somebody is refused for whom there are no bytes left.
const USED_UP: &str = "rate limit: the relay's quota is used up";

/// One of the circuits that pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PassageId(u64);

/// When a piece of data may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Booking {
    Now,
    At(Time),
    /// Never: a quota is used up.
    Over,
}

/// All circuits that pass.
pub(super) struct Passages {
    next: u64,
    passages: BTreeMap<PassageId, Passage>,
    total: Account,
    /// What those at an address took, whatever keys they have.
    accounts: Lru<IpAddr, Account>,
    totals: RelayTotals,
}

struct Passage {
    opener: NodeKey,
    target: NodeKey,
    /// Where the opener is, as [`subscriber`] tells it.
    ip: IpAddr,
    /// Whether its ends are told that it is for content too.
    content: bool,
    /// False until the target has taken it.
    is_up: bool,
    since: Time,
    /// When something went through last.
    used: Time,
    bytes: u64,
    control: Pace,
}

impl Passage {
    /// Whether there is room for it beside others.
    fn fits(&self, limits: &RelayLimits, others: &[&Passage]) -> bool {
        let network = Netgroup::of(self.ip);
        let count =
            |which: &dyn Fn(&Passage) -> bool| others.iter().filter(|it| which(it)).count() as u64;
        let of = |client| move |it: &Passage| it.opener == client || it.target == client;
        let of_network = |it: &Passage| Netgroup::of(it.ip) == network;
        let per_client = u64::from(limits.circuits_per_client_max);
        let is_full = others.len() as u64 >= limits.circuits_max.into()
            || count(&of(self.opener)) >= per_client
            || count(&of(self.target)) >= per_client
            // Nobody alone takes all circuits to somebody.
            || count(&|it| it.target == self.target && of_network(it)) >= per_client.div_ceil(2)
            || count(&|it| it.ip == self.ip) >= limits.circuits_per_ip_max.into()
            || count(&of_network) >= limits.circuits_per_network_max.into();
        !is_full
    }
}

/// What somebody takes of a relay.
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    pace: Pace,
    hour: Time,
    /// Bytes since `hour`.
    taken: u64,
}

/// Keeps to a rate by giving everybody who asks a time of its own, in the order in which they ask.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    /// Until when the rate is used up.
    booked: Time,
}

impl Pace {
    /// When so many bytes may go.
    fn book(&mut self, now: Time, bytes: u64, per_second: u32, ahead: Duration) -> Time {
        let micros = bytes.saturating_mul(1_000_000);
        let span = Duration::from_micros(micros.div_ceil(u64::from(per_second.max(1))));
        let begin = self.booked.max(now);
        self.booked = begin + span;
        now + begin.since(now).saturating_sub(ahead)
    }

    /// When more may go, if nobody asks before.
    fn free(&self, now: Time, ahead: Duration) -> Time {
        now + self.booked.since(now).saturating_sub(ahead)
    }
}

impl Account {
    fn is_used_up(&self, now: Time, hourly: Option<u64>) -> bool {
        now.since(self.hour) < HOUR && hourly.is_some_and(|most| self.taken >= most)
    }

    fn take(&mut self, now: Time, bytes: u64) {
        if now.since(self.hour) >= HOUR {
            self.hour = now;
            self.taken = 0;
        }
        self.taken = self.taken.saturating_add(bytes);
    }
}

impl Default for Passages {
    fn default() -> Passages {
        Passages {
            next: 0,
            passages: BTreeMap::new(),
            total: Account::default(),
            accounts: Lru::new(RELAY_ACCOUNTS_MAX),
            totals: RelayTotals::default(),
        }
    }
}

impl Passages {
    /// How many there are, with those that wait to be taken.
    pub(super) fn len(&self) -> usize {
        self.passages.len()
    }

    /// Somebody at an address wants a circuit to somebody else.
    ///
    /// # Errors
    /// Which limit is reached.
    pub(super) fn begin(
        &mut self,
        limits: &RelayLimits,
        opener: NodeKey,
        target: NodeKey,
        ip: IpAddr,
        now: Time,
    ) -> Result<PassageId, &'static str> {
        let ip = subscriber(ip);
        if self.is_used_up(ip, limits, now) {
            return Err(USED_UP);
        }
        let passage = Passage {
            opener,
            target,
            ip,
            content: limits.content,
            is_up: false,
            since: now,
            used: now,
            bytes: 0,
            control: Pace::default(),
        };
        let others: Vec<&Passage> = self.passages.values().collect();
        if !passage.fits(limits, &others) {
            return Err("rate limit: too many circuits");
        }
        self.next += 1;
        let id = PassageId(self.next);
        self.passages.insert(id, passage);
        Ok(id)
    }

    /// Those that these limits would refuse if each were asked for again, in the same order.
    pub(super) fn refused_by(&self, limits: &RelayLimits) -> BTreeSet<PassageId> {
        let mut kept = Vec::new();
        let refused = self.passages.iter().filter(|(_, passage)| {
            let is_kept = limits.allows(&passage.target)
                && (limits.content || !passage.content)
                && passage.fits(limits, &kept);
            if is_kept {
                kept.push(*passage);
            }
            !is_kept
        });
        refused.map(|(id, _)| *id).collect()
    }

    /// Whether its ends are told that it is for content too.
    pub(super) fn is_for_content(&self, id: PassageId) -> bool {
        let passage = self.passages.get(&id);
        passage.is_some_and(|passage| passage.content)
    }

    /// The target has taken it.
    pub(super) fn up(&mut self, id: PassageId) {
        if let Some(passage) = self.passages.get_mut(&id) {
            passage.is_up = true;
            self.totals.circuits += 1;
        }
    }

    pub(super) fn end(&mut self, id: PassageId) {
        self.passages.remove(&id);
    }

    /// Somebody was refused something.
    pub(super) fn refused(&mut self) {
        self.totals.refused += 1;
    }

    /// Books so many bytes of a circuit.
    pub(super) fn book(
        &mut self,
        id: PassageId,
        bytes: u64,
        limits: &RelayLimits,
        now: Time,
    ) -> Booking {
        let Some(passage) = self.passages.get_mut(&id) else {
            return Booking::Over;
        };
        let Some(account) = account(&mut self.accounts, passage.ip) else {
            return Booking::Over;
        };
        let is_over = limits
            .bytes_per_circuit
            .is_some_and(|most| passage.bytes >= most);
        if is_over
            || self.total.is_used_up(now, limits.hourly_total)
            || account.is_used_up(now, limits.hourly_per_ip)
        {
            return Booking::Over;
        }
        let of_all = limits
            .rate_total
            .map(|rate| self.total.pace.book(now, bytes, rate, AHEAD));
        let of_ip = limits
            .rate_per_ip
            .map(|rate| account.pace.book(now, bytes, rate, AHEAD));
        let of_control = (!limits.content).then(|| {
            let pace = &mut passage.control;
            pace.book(now, bytes, CONTROL_RATE, CONTROL_AHEAD)
        });
        let at = [of_all, of_ip, of_control].into_iter().flatten().max();
        at.filter(|at| *at > now).map_or(Booking::Now, Booking::At)
    }

    /// So many bytes went on.
    pub(super) fn passed(&mut self, id: PassageId, bytes: u64, now: Time) {
        if let Some(passage) = self.passages.get_mut(&id) {
            passage.used = now;
            passage.bytes = passage.bytes.saturating_add(bytes);
            self.total.take(now, bytes);
            if let Some(account) = self.accounts.get(&passage.ip) {
                account.take(now, bytes);
            }
            self.totals.bytes = self.totals.bytes.saturating_add(bytes);
        }
    }

    /// Whether there are no bytes left for those at an address, as [`subscriber`] tells it.
    fn is_used_up(&self, ip: IpAddr, limits: &RelayLimits, now: Time) -> bool {
        let account = self.accounts.peek(&ip);
        self.total.is_used_up(now, limits.hourly_total)
            || account.is_some_and(|it| it.is_used_up(now, limits.hourly_per_ip))
    }

    /// When somebody at an address, as [`subscriber`] tells it, may have something go through a tunnel, as far as its own
    /// rate says.
    pub(super) fn tunnel_at(&self, ip: IpAddr, limits: &RelayLimits, now: Time) -> Time {
        let account = self.accounts.peek(&ip);
        let paced = account.filter(|_| limits.rate_per_ip.is_some());
        paced.map_or(now, |it| it.pace.free(now, AHEAD))
    }

    /// Whether a request of somebody at an address may go through a tunnel now.
    ///
    /// # Errors
    /// If a quota is used up.
    pub(super) fn admit_tunnelled(
        &mut self,
        ip: IpAddr,
        limits: &RelayLimits,
        now: Time,
    ) -> Result<(), &'static str> {
        if self.is_used_up(ip, limits, now) {
            self.refused();
            return Err(USED_UP);
        }
        Ok(())
    }

    /// So many bytes went through a tunnel for somebody at an address; when more may go through it. How long an answer is
    /// is not known before, so whoever comes next waits for it.
    pub(super) fn tunnelled(
        &mut self,
        ip: IpAddr,
        bytes: u64,
        limits: &RelayLimits,
        now: Time,
    ) -> Time {
        self.totals.bytes = self.totals.bytes.saturating_add(bytes);
        self.totals.tunnelled = self.totals.tunnelled.saturating_add(bytes);
        self.total.take(now, bytes);
        if let Some(account) = account(&mut self.accounts, ip) {
            account.take(now, bytes);
            if let Some(rate) = limits.rate_per_ip {
                account.pace.book(now, bytes, rate, AHEAD);
            }
        }
        let rate = limits.rate_total;
        rate.map_or(now, |rate| {
            self.total.pace.book(now, bytes, rate, AHEAD);
            self.total.pace.free(now, AHEAD)
        })
    }

    /// Whether nothing went through for so long.
    pub(super) fn is_idle(&self, id: PassageId, now: Time, span: Duration) -> bool {
        let passage = self.passages.get(&id);
        passage.is_some_and(|passage| now.since(passage.used) >= span)
    }

    pub(super) fn views(&self, now: Time) -> Vec<CircuitView> {
        let up = self.passages.values().filter(|passage| passage.is_up);
        up.map(|passage| CircuitView {
            opener: passage.opener,
            target: passage.target,
            bytes: passage.bytes,
            age: now.since(passage.since),
            idle: now.since(passage.used),
        })
        .collect()
    }

    pub(super) fn totals(&self) -> RelayTotals {
        self.totals
    }
}

/// What those at an address took, from now on if it is not known.
fn account(accounts: &mut Lru<IpAddr, Account>, ip: IpAddr) -> Option<&mut Account> {
    if accounts.get(&ip).is_none() {
        accounts.insert(ip, Account::default());
    }
    accounts.get(&ip)
}

#[cfg(any(test, feature = "check"))]
impl Passages {
    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        self.accounts
            .check("addresses with circuits lately", broken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn key(byte: u8) -> NodeKey {
        NodeKey([byte; 32])
    }

    fn ip(network: u8, host: u8) -> IpAddr {
        Ipv4Addr::new(10, network, 0, host).into()
    }

    fn limits() -> RelayLimits {
        RelayLimits {
            circuits_max: 10,
            circuits_per_client_max: 6,
            circuits_per_ip_max: 4,
            circuits_per_network_max: 5,
            ..RelayLimits::default()
        }
    }

    /// Opens circuits to one target each, and counts those admitted.
    fn admitted(passages: &mut Passages, from: impl Iterator<Item = (u8, IpAddr)>) -> usize {
        let mut targets = 100..;
        from.filter(|(opener, ip)| {
            let target = targets.next().expect("enough");
            let begun = passages.begin(&limits(), key(*opener), key(target), *ip, Time(0));
            begun.is_ok()
        })
        .count()
    }

    #[test]
    fn new_keys_buy_no_more_circuits_at_an_address_and_in_a_network() {
        let mut passages = Passages::default();
        let of_one = (0..9).map(|opener| (opener, ip(1, 1)));
        assert_eq!(admitted(&mut passages, of_one), 4);
        let of_others = (10..19).map(|opener| (opener, ip(1, opener)));
        assert_eq!(admitted(&mut passages, of_others), 1);
        let of_all = (20..40).map(|opener| (opener, ip(opener, 1)));
        assert_eq!(admitted(&mut passages, of_all), 5);
    }

    #[test]
    fn nobody_takes_all_circuits_to_somebody() {
        let mut passages = Passages::default();
        let mut to_one = |opener, at| {
            let limits = RelayLimits {
                circuits_per_ip_max: 100,
                circuits_per_network_max: 100,
                ..limits()
            };
            passages.begin(&limits, key(opener), key(100), at, Time(0))
        };
        let of_one = (0..9).filter(|opener| to_one(*opener, ip(1, *opener)).is_ok());
        assert_eq!(of_one.count(), 3);
        let of_others = (0..9).filter(|opener| to_one(*opener, ip(2, *opener)).is_ok());
        assert_eq!(of_others.count(), 3);
    }

    #[test]
    fn a_quota_is_used_up_whatever_the_key_and_there_again_after_an_hour() {
        let mut passages = Passages::default();
        let limits = RelayLimits {
            hourly_per_ip: Some(1000),
            content: true,
            ..limits()
        };
        let begin = |passages: &mut Passages, opener, now| {
            passages.begin(&limits, key(opener), key(100), ip(1, 1), now)
        };
        let first = begin(&mut passages, 1, Time(0)).expect("room");
        assert_eq!(passages.book(first, 1000, &limits, Time(0)), Booking::Now);
        passages.passed(first, 1000, Time(0));
        assert_eq!(passages.book(first, 1, &limits, Time(0)), Booking::Over);
        assert!(begin(&mut passages, 2, Time(0)).is_err());
        assert!(begin(&mut passages, 2, Time(0) + HOUR).is_ok());
    }

    #[test]
    fn circuits_and_tunnels_share_a_quota() {
        let mut passages = Passages::default();
        let limits = RelayLimits {
            hourly_total: Some(1000),
            content: true,
            ..limits()
        };
        let (one, other) = (ip(1, 1), ip(2, 2));
        let circuit = passages
            .begin(&limits, key(1), key(100), one, Time(0))
            .expect("room");
        passages.passed(circuit, 600, Time(0));
        assert_eq!(passages.admit_tunnelled(other, &limits, Time(0)), Ok(()));
        passages.tunnelled(other, 400, &limits, Time(0));
        assert!(passages.admit_tunnelled(other, &limits, Time(0)).is_err());
        assert_eq!(passages.book(circuit, 1, &limits, Time(0)), Booking::Over);
    }

    proptest! {
        // In no time does more go than the rate and what may be ahead of it, and at the rate all go at last.
        #[test]
        fn a_rate_is_kept(rate in 1_u32..100_000, sizes in vec((1_u64..70_000, 0_u64..500_000), 1..100)) {
            let (mut pace, mut now, mut sent) = (Pace::default(), Time(0), 0_u64);
            for (bytes, pause) in sizes {
                let at = pace.book(now, bytes, rate, AHEAD);
                prop_assert!(at >= now);
                let allowed = u128::from(rate) * u128::from(at.0 + 1_000_000);
                prop_assert!(u128::from(sent) * 1_000_000 <= allowed);
                sent += bytes;
                now = at + Duration::from_micros(pause);
            }
        }
    }
}
