//! What the clocks of peers say of ours: a hello whose time differs by too much is refused (SPECIFICATION §3.3), so whose clock
//! is wrong has no sessions and should be told why.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::Peers;
use crate::cx::Cx;
use crate::event::Event;
use crate::id::NodeKey;
use crate::limits::{CLOCK_SKEW_SECS, CLOCK_VOICES_MAX, CLOCK_VOICES_PER_NETWORK_MAX};
use crate::lru::Lru;
use crate::netgroup::Netgroup;
use crate::session::Roster;
use crate::time::{Now, Time, UnixTime};
use crate::view::ClockDoubt;

/// How long counts what a peer showed that is not connected.
const VOICE_LIFE: Duration = Duration::from_secs(3600);

/// What peers showed of their clocks.
pub(super) struct Clocks {
    voices: Lru<NodeKey, Voice>,
    /// Networks of peers that closed when they had read our hello, and when.
    closed: Lru<Netgroup, Time>,
    /// Whether the doubt that the user was told of last was likely, if there was one.
    told: Option<bool>,
}

struct Voice {
    network: Netgroup,
    /// What the peer's clock showed.
    theirs: UnixTime,
    at: Now,
}

impl Default for Clocks {
    fn default() -> Clocks {
        Clocks {
            voices: Lru::new(CLOCK_VOICES_MAX),
            closed: Lru::new(CLOCK_VOICES_MAX),
            told: None,
        }
    }
}

impl Voice {
    /// How far our clock is ahead of the peer's by now, 0 if that is not too much. None if it was not too much when the
    /// peer showed it and is now: then our clock was set since, or stood still, and the next hello tells.
    fn off_secs(&self, now: Now) -> Option<i64> {
        let theirs = self.theirs.plus(now.mono.since(self.at.mono).as_secs());
        let off_secs = ahead_secs(now.unix, theirs);
        match (
            is_refused(ahead_secs(self.at.unix, self.theirs)),
            is_refused(off_secs),
        ) {
            (_, false) => Some(0),
            (true, true) => Some(off_secs),
            (false, true) => None,
        }
    }
}

impl Clocks {
    fn hear(&mut self, peer: NodeKey, ip: IpAddr, theirs: UnixTime, now: Now) {
        self.voices.remove(&peer);
        let network = Netgroup::of(ip);
        let others = self.voices.iter();
        let same: Vec<(Time, NodeKey)> = others
            .filter(|(_, voice)| voice.network == network)
            .map(|(other, voice)| (voice.at.mono, *other))
            .collect();
        if same.len() >= CLOCK_VOICES_PER_NETWORK_MAX
            && let Some((_, oldest)) = same.into_iter().min()
        {
            self.voices.remove(&oldest);
        }
        let at = now;
        self.voices.insert(
            peer,
            Voice {
                network,
                theirs,
                at,
            },
        );
    }

    /// Whether our clock may be wrong. Each network counts once, by the peer whose clock is nearest to ours; more than
    /// half of them must agree by how much it is.
    pub(super) fn doubt(&self, roster: &Roster, now: Now) -> Option<ClockDoubt> {
        let mut networks: BTreeMap<Netgroup, i64> = BTreeMap::new();
        let mut refused: Vec<i64> = Vec::new();
        for (peer, voice) in self.voices.iter() {
            let is_over = now.mono.since(voice.at.mono) > VOICE_LIFE;
            if is_over && roster.session(peer).is_none() {
                continue;
            }
            if let Some(off_secs) = voice.off_secs(now) {
                let nearest = networks.entry(voice.network).or_insert(off_secs);
                if off_secs.unsigned_abs() < nearest.unsigned_abs() {
                    *nearest = off_secs;
                }
                refused.extend(is_refused(off_secs).then_some(off_secs));
            }
        }
        if networks.is_empty() && roster.len() == 0 {
            let since = |at: &Time| now.mono.since(*at);
            let closed = self.closed.iter().filter(|(_, at)| since(at) <= VOICE_LIFE);
            let closed = closed.count() as u32;
            return (closed > 0).then_some(ClockDoubt {
                off_secs: None,
                peers: closed,
                networks: closed,
            });
        }
        let mut sorted: Vec<i64> = networks.values().copied().collect();
        sorted.sort_unstable();
        let off_secs = *sorted.get(sorted.len() / 2)?;
        let agrees = |other: &&i64| !is_refused(other.saturating_sub(off_secs));
        let agreeing = sorted.iter().filter(agrees).count();
        (is_refused(off_secs) && agreeing * 2 > sorted.len()).then(|| ClockDoubt {
            off_secs: Some(off_secs),
            peers: refused.iter().filter(agrees).count() as u32,
            networks: agreeing as u32,
        })
    }

    /// What the user is to be told that was not told before.
    fn news(&mut self, roster: &Roster, now: Now) -> Option<ClockDoubt> {
        let doubt = self.doubt(roster, now);
        let is_likely = doubt.map(|doubt| doubt.is_likely());
        let is_news = is_likely > self.told;
        if is_news || is_likely.is_none() {
            self.told = is_likely;
        }
        doubt.filter(|_| is_news)
    }
}

impl Peers {
    /// A peer showed its clock, in a hello that was made for the connection with it.
    pub(super) fn hear_clock(
        &mut self,
        cx: &mut Cx<'_>,
        peer: NodeKey,
        ip: IpAddr,
        theirs: UnixTime,
    ) {
        self.clocks.hear(peer, ip, theirs, cx.now);
        let doubt = self.clocks.doubt(cx.roster, cx.now);
        if doubt.is_some_and(|doubt| doubt.is_likely()) {
            self.tell_clock(cx);
        }
    }

    /// A peer closed when it had read our hello. It does not say why; the clock is a possible reason.
    pub(super) fn closed_on_hello(&mut self, ip: IpAddr, now: Time) {
        self.clocks.closed.insert(Netgroup::of(ip), now);
    }

    /// Tells the user if the clock may be wrong. What is only possible is told in rounds, so that others have had time to say otherwise.
    pub(super) fn tell_clock(&mut self, cx: &mut Cx<'_>) {
        if let Some(doubt) = self.clocks.news(cx.roster, cx.now) {
            cx.event(Event::ClockDoubt(doubt));
        }
    }

    /// How far a peer's clock was ahead of ours, if that is why its hello was refused last.
    pub(super) fn clock_ahead_secs(&self, peer: &NodeKey, now: Now) -> Option<i64> {
        let off_secs = self.clocks.voices.peek(peer)?.off_secs(now)?;
        is_refused(off_secs).then(|| off_secs.saturating_neg())
    }
}

/// How far one clock is ahead of another.
fn ahead_secs(one: UnixTime, other: UnixTime) -> i64 {
    let secs = |span: u64| i64::try_from(span).unwrap_or(i64::MAX);
    secs(one.since(other)) - secs(other.since(one))
}

/// Whether hellos are refused for such a difference.
fn is_refused(off_secs: i64) -> bool {
    off_secs.unsigned_abs() > CLOCK_SKEW_SECS
}

#[cfg(any(test, feature = "check"))]
impl Clocks {
    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        self.voices.check("peers whose clocks are known", broken);
        self.closed.check("networks of peers that closed", broken);
        let mut networks: BTreeMap<Netgroup, usize> = BTreeMap::new();
        for (_, voice) in self.voices.iter() {
            *networks.entry(voice.network).or_default() += 1;
        }
        let most = networks.into_values().max().unwrap_or_default();
        broken.at_most("clocks of one network", most, CLOCK_VOICES_PER_NETWORK_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn at(mono_secs: u64, unix: u64) -> Now {
        Now {
            mono: Time(mono_secs * 1_000_000),
            unix: UnixTime(unix),
        }
    }

    /// Peers whose clocks differ so from ours, each in a network of its own.
    fn heard(offs: &[i64], now: Now) -> Clocks {
        let mut clocks = Clocks::default();
        for (number, off) in offs.iter().enumerate() {
            let ip = IpAddr::from([10, number as u8, 0, 1]);
            let theirs = UnixTime(now.unix.0.saturating_add_signed(*off));
            clocks.hear(NodeKey([number as u8; 32]), ip, theirs, now);
        }
        clocks
    }

    #[test]
    fn a_clock_is_wrong_if_most_networks_agree_by_how_much() {
        let now = at(9, 1_000_000_000);
        let day = DAY as i64;
        let doubt = |offs: &[i64]| heard(offs, now).doubt(&Roster::default(), now);
        let by = |offs: &[i64]| doubt(offs).map(|doubt| (doubt.off_secs, doubt.is_likely()));
        assert_eq!(by(&[]), None);
        assert_eq!(by(&[day]), Some((Some(-day), false)), "one voice is little");
        assert_eq!(by(&[day, day + 9]), Some((Some(-day), true)));
        assert_eq!(by(&[-day, 0, -day]), Some((Some(day), true)));
        let not = [
            &[day, 0][..],
            &[day, 0, 9],
            &[day, -day],
            &[day, 9 * day, -day],
        ];
        for offs in not.into_iter().chain([&[i64::MAX, i64::MIN][..]]) {
            assert_eq!(by(offs), None, "{offs:?}");
        }
    }

    #[test]
    fn a_clock_that_was_set_right_is_not_doubted_any_more() {
        let wrong = at(9, 1_000_000_000);
        let clocks = heard(&[DAY as i64; 3], wrong);
        let later = at(9 + 600, wrong.unix.0 + 600);
        let doubt = clocks.doubt(&Roster::default(), later);
        assert_eq!(doubt.map(|doubt| doubt.off_secs), Some(Some(-(DAY as i64))));
        let right = at(9 + 600, wrong.unix.0 + 600 + DAY);
        assert_eq!(clocks.doubt(&Roster::default(), right), None);
    }

    #[test]
    fn peers_that_agreed_say_nothing_against_a_clock_that_was_set_since() {
        let before = at(9, 1_000_000_000);
        let clocks = heard(&[0; 3], before);
        assert_eq!(clocks.doubt(&Roster::default(), at(10, 1)), None);
    }

    #[test]
    fn one_network_with_many_keys_is_one_voice_and_does_not_drive_out_others() {
        let now = at(9, 1_000_000_000);
        let mut clocks = heard(&[0, 0], now);
        for number in 0..2 * CLOCK_VOICES_MAX {
            let mut key = [255; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            let ip = IpAddr::from([203, 0, 113, number as u8]);
            clocks.hear(NodeKey(key), ip, now.unix.plus(DAY), now);
        }
        assert_eq!(clocks.doubt(&Roster::default(), now), None);
        let mut broken = crate::check::Broken::default();
        clocks.check(&mut broken);
        assert_eq!(broken.into_sentences(), Vec::<alloc::string::String>::new());
    }
}
