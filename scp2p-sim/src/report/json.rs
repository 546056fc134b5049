//! A report for programs, line by line.

use std::io;

use scp2p_proto::id;
use serde::Serialize;

use super::{Report, Sample, Spread, Violation};

/// A line.
#[derive(Serialize)]
struct Line<'a> {
    line: &'static str,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_us: Option<u64>,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What<'a> {
    Sample(&'a Sample),
    Violation(&'a Violation),
    Summary(Box<Summary>),
}

#[derive(Serialize)]
struct Summary {
    hosts: u64,
    villains: u64,
    length_us: u64,
    heal_us: u64,
    digest: String,
    steps: u64,
    violations: u64,
    lookups: u64,
    lookups_found: u64,
    lookups_cut_off: u64,
    lookup_ms: Percentiles,
    lookup_hops: Percentiles,
    update_ms: Percentiles,
    downloads: u64,
    downloads_done: u64,
    download_ms: Percentiles,
    host_bytes: Percentiles,
}

#[derive(Serialize)]
struct Percentiles {
    count: u64,
    min: Option<u64>,
    p50: Option<u64>,
    p95: Option<u64>,
    p99: Option<u64>,
    max: Option<u64>,
}

impl Report {
    /// Writes the report as lines of JSON, each an object with `line`, what it is, and `seed`, of which run:
    ///
    /// - `"sample"`, for each moment: `at_us`, microseconds since the start, and the fields of [`Sample`];
    /// - `"violation"`, for each that was kept: `at_us` and the fields of [`Violation`];
    /// - `"summary"`, the last: `hosts`, `villains`, `length_us`, `heal_us`, `digest` (64 hex digits), `steps`, `violations` (in all), `lookups`, `lookups_found`,
    ///   `lookups_cut_off`, `downloads`, `downloads_done`, and as objects `{count, min, p50, p95, p99, max}`, with null where nothing was counted: `lookup_ms`, `lookup_hops`,
    ///   `update_ms`, `download_ms`, `host_bytes` (sent and received by a host).
    ///
    /// # Errors
    /// What the writer says.
    pub fn json_lines(&self, out: &mut impl io::Write) -> io::Result<()> {
        let mut write = |line, at_us, what| {
            let seed = self.scenario.seed;
            serde_json::to_writer(
                &mut *out,
                &Line {
                    line,
                    seed,
                    at_us,
                    what,
                },
            )?;
            out.write_all(b"\n")
        };
        for sample in &self.samples {
            write("sample", Some(sample.at.0), What::Sample(sample))?;
        }
        for violation in &self.violations {
            write(
                "violation",
                Some(violation.at.0),
                What::Violation(violation),
            )?;
        }
        write("summary", None, What::Summary(Box::new(self.summary())))
    }

    fn summary(&self) -> Summary {
        let hosts = &self.scenario.hosts;
        Summary {
            hosts: hosts.len() as u64,
            villains: hosts.iter().filter(|host| host.villain.is_some()).count() as u64,
            length_us: self.scenario.length.0,
            heal_us: self.scenario.heal.0,
            digest: id::hex(&self.digest),
            steps: self.steps,
            violations: self.violations_total,
            lookups: self.lookups,
            lookups_found: self.lookups_found,
            lookups_cut_off: self.lookups_cut_off,
            lookup_ms: Percentiles::of(&self.lookup_ms),
            lookup_hops: Percentiles::of(&self.lookup_hops),
            update_ms: Percentiles::of(&self.update_ms),
            downloads: self.downloads,
            downloads_done: self.download_ms.len() as u64,
            download_ms: Percentiles::of(&self.download_ms),
            host_bytes: Percentiles::of(&self.bytes_per_host()),
        }
    }
}

impl Percentiles {
    fn of(spread: &Spread) -> Percentiles {
        Percentiles {
            count: spread.len() as u64,
            min: spread.percentile(0),
            p50: spread.percentile(50),
            p95: spread.percentile(95),
            p99: spread.percentile(99),
            max: spread.percentile(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Report, SAMPLES_MAX, samples};

    fn lines(report: &Report) -> Vec<Value> {
        let mut out = Vec::new();
        report
            .json_lines(&mut out)
            .expect("memory takes everything");
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        assert!(text.ends_with('\n'));
        text.lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect()
    }

    #[test]
    fn a_run_of_nothing_is_a_summary() {
        let lines = lines(&samples::empty());
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["line"], "summary");
        assert_eq!(lines[0]["digest"], "ab".repeat(32));
        assert_eq!(
            lines[0]["update_ms"],
            json!({ "count": 0, "min": null, "p50": null, "p95": null, "p99": null, "max": null })
        );
    }

    #[test]
    fn samples_and_violations_come_before_the_summary() {
        let lines = lines(&samples::full(10));
        let kinds: Vec<&str> = lines
            .iter()
            .filter_map(|line| line["line"].as_str())
            .collect();
        let samples = SAMPLES_MAX as usize + 1;
        assert!(kinds[..samples].iter().all(|kind| *kind == "sample"));
        assert_eq!(kinds[samples..], ["violation", "summary"]);
        assert!(lines.iter().all(|line| line["seed"] == 1));
        assert_eq!(lines[1]["at_us"], 15_000_000);
        assert_eq!(lines[1]["at"], "15s");
        assert_eq!(lines[samples]["hosts"][0], "host-1");
        let summary = &lines[samples + 1];
        assert_eq!(summary["violations"], 2);
        assert_eq!(summary["villains"], 2);
        assert_eq!(summary["host_bytes"]["count"], 10);
        assert_eq!(summary["downloads_done"], 40);
    }
}
