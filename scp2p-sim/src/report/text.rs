//! A report for people on a terminal.

use std::fmt::Write;

use scp2p_proto::escape::printable;
use scp2p_proto::id;

use super::{Report, Spread, Violation, amount};

impl Report {
    /// A summary for people: what ran and its digest, what was measured, and what must not be, with
    /// the last events of the hosts concerned. Lines end with a line end; nothing in it steers a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("seed {}: {}\n", self.scenario.seed, self.title());
        let mut line = |name: &str, what: String| {
            text.write_fmt(format_args!("  {name:<11}{what}\n"))
                .expect("a string takes all that is written to it");
        };
        line("digest", id::hex(&self.digest));
        line("steps", amount::number(self.steps));
        line("lookups", self.lookups_text());
        line(
            "hops",
            middle_and_extreme(&self.lookup_hops, amount::number),
        );
        line("updates", measured(&self.update_ms, "arrived"));
        line("downloads", self.downloads_text());
        line("traffic", self.traffic_text());
        line("violations", self.violations_text());
        for violation in &self.violations {
            tell(&mut text, violation);
        }
        text
    }

    /// What was run, in a line.
    pub(super) fn title(&self) -> String {
        let hosts = &self.scenario.hosts;
        let villains = hosts.iter().filter(|host| host.villain.is_some()).count();
        let among = match villains {
            0 => String::new(),
            villains => format!(
                " ({})",
                amount::count(villains as u64, "villain", "villains")
            ),
        };
        format!(
            "{}{among} for {}, faults until {}",
            amount::count(hosts.len() as u64, "host", "hosts"),
            self.scenario.length,
            self.scenario.heal
        )
    }

    /// Bytes sent and received of all hosts, smallest first.
    pub(super) fn bytes_per_host(&self) -> Spread {
        let mut spread = Spread::default();
        for traffic in &self.traffic {
            spread.push(traffic.sent.saturating_add(traffic.received));
        }
        spread
    }

    fn lookups_text(&self) -> String {
        match amount::percent(self.lookups_found, self.lookups) {
            None => "none".to_owned(),
            Some(percent) => format!(
                "{percent} of {} succeeded{}, {}",
                amount::number(self.lookups),
                self.cut_off_text(),
                middle_and_extreme(&self.lookup_ms, amount::millis)
            ),
        }
    }

    /// How many more lookups there were of hosts that were cut off.
    pub(super) fn cut_off_text(&self) -> String {
        match self.lookups_cut_off {
            0 => String::new(),
            lookups => format!(" (and {} cut off)", amount::number(lookups)),
        }
    }

    fn downloads_text(&self) -> String {
        match self.downloads {
            0 => "none".to_owned(),
            downloads => format!(
                "{} of {} done, {}",
                amount::number(self.download_ms.len() as u64),
                amount::number(downloads),
                middle_and_extreme(&self.download_ms, amount::millis)
            ),
        }
    }

    fn traffic_text(&self) -> String {
        let spread = self.bytes_per_host();
        match (spread.percentile(50), spread.percentile(100)) {
            (Some(middle), Some(most)) => format!(
                "per host p50 {}, max {}",
                amount::bytes(middle),
                amount::bytes(most)
            ),
            (None, _) | (_, None) => "none".to_owned(),
        }
    }

    fn violations_text(&self) -> String {
        let shown = self.violations.len() as u64;
        match self.violations_total {
            0 => "none".to_owned(),
            total if total > shown => format!("{}, the first {shown}:", amount::number(total)),
            total => format!("{}:", amount::number(total)),
        }
    }
}

fn tell(text: &mut String, violation: &Violation) {
    let mut line = |indent: &str, line: &str| {
        text.push_str(indent);
        text.push_str(&printable(line));
        text.push('\n');
    };
    line("\n", &violation.to_string());
    for event in &violation.before {
        line("    ", event);
    }
}

fn measured(spread: &Spread, verb: &str) -> String {
    match spread.len() as u64 {
        0 => "none".to_owned(),
        count => format!(
            "{} {verb}, {}",
            amount::number(count),
            middle_and_extreme(spread, amount::millis)
        ),
    }
}

fn middle_and_extreme(spread: &Spread, show: fn(u64) -> String) -> String {
    match (spread.percentile(50), spread.percentile(95)) {
        (Some(middle), Some(most)) => format!("p50 {}, p95 {}", show(middle), show(most)),
        (None, _) | (_, None) => "none measured".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;

    #[test]
    fn a_run_of_nothing_is_told_in_words() {
        let text = samples::empty().text();
        assert!(
            text.starts_with("seed 1: 0 hosts for 1h, faults until 50m\n  digest     abab"),
            "{text}"
        );
        assert!(text.ends_with("  violations none\n"), "{text}");
        assert_eq!(text.lines().count(), 9);
    }

    #[test]
    fn what_was_measured_is_told_with_its_percentiles() {
        let text = samples::full(50).text();
        for line in [
            "seed 1: 50 hosts (10 villains) for 1h, faults until 50m",
            "  lookups    98.57 % of 1\u{202f}680 succeeded (and 3 cut off), p50 1.6 s, p95 5.6 s",
            "  hops       p50 2, p95 5",
            "  updates    500 arrived, p50 7.9 s, p95 53.4 s",
            "  downloads  40 of 48 done, p50 34.4 s, p95 2 min",
            "  traffic    per host p50 26.2 MiB, max 58.3 MiB",
            "  violations 2, the first 1:",
        ] {
            assert!(
                text.lines().any(|told| told == line),
                "{line:?} is not in\n{text}"
            );
        }
    }

    #[test]
    fn nothing_in_a_violation_steers_a_terminal() {
        let text = samples::full(2).text();
        assert!(
            text.contains("1m 1s 250ms host-1, <b>\\u{1b}[2J: no wrong byte"),
            "{text}"
        );
        assert!(
            text.ends_with("\n    1m host-1: <dial>\n    1m 1s host-1: crash\n"),
            "{text}"
        );
    }
}
