//! A report as one page that needs nothing else.

use super::figures::figures;
use super::html::escape;
use super::{Report, Spread, Violation, amount};

const STYLE: &str = include_str!("page.css");

impl Report {
    /// The report as one HTML page that opens without a network: plots, percentiles, violations and the
    /// scenario's text. It has no scripts, follows the reader's choice of light or dark, and is the same for
    /// the same report. All text from the scenario is escaped.
    pub fn page(&self) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>SCP2P simulation, seed {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
            self.scenario.seed
        );
        page.push_str(&self.header());
        page.push_str(&self.tiles());
        if !self.violations.is_empty() {
            page.push_str(&self.violation_table());
        }
        page.push_str("<h2>Over the run</h2>\n<div class=\"plots\">\n");
        for figure in figures(self) {
            page.push_str(&figure.html());
        }
        page.push_str("</div>\n");
        page.push_str(&self.percentile_table());
        page.push_str(&format!(
            "<details class=\"sheet\">\n<summary>The scenario</summary>\n<pre>{}</pre>\n</details>\n",
            escape(&self.scenario.to_text())
        ));
        page.push_str("</main>\n</body>\n</html>\n");
        page
    }

    fn header(&self) -> String {
        let verdict = match self.violations_total {
            0 => "<span class=\"verdict good\">No violation</span>".to_owned(),
            total => format!(
                "<span class=\"verdict bad\">{}</span>",
                amount::count(total, "violation", "violations")
            ),
        };
        format!(
            "<header>\n<h1>Simulation of seed {}</h1>\n<p>{verdict} · {} · {}</p>\n\
             <p>digest <code>{}</code></p>\n</header>\n",
            self.scenario.seed,
            escape(&self.title()),
            amount::count(self.steps, "step", "steps"),
            scp2p_proto::id::hex(&self.digest)
        )
    }

    fn tiles(&self) -> String {
        let bytes = self.bytes_per_host();
        let tiles = [
            (
                "Lookups done",
                or_dash(amount::percent(self.lookups_found, self.lookups)),
                format!("of {}{}", amount::number(self.lookups), self.cut_off_text()),
            ),
            tile("Lookup time", &self.lookup_ms, amount::millis),
            tile("Hops of a lookup", &self.lookup_hops, amount::number),
            tile("Update time", &self.update_ms, amount::millis),
            (
                "Downloads done",
                amount::number(self.download_ms.len() as u64),
                format!("of {}", amount::number(self.downloads)),
            ),
            tile("Download time", &self.download_ms, amount::millis),
            (
                "Bytes of a host",
                or_dash(bytes.percentile(50).map(amount::bytes)),
                format!("max {}", or_dash(bytes.percentile(100).map(amount::bytes))),
            ),
        ];
        let tiles: Vec<String> = tiles
            .iter()
            .map(|(name, value, note)| {
                format!("<div><dt>{name}</dt><dd>{value}</dd><dd>{note}</dd></div>\n")
            })
            .collect();
        format!("<dl class=\"tiles\">\n{}</dl>\n", tiles.concat())
    }

    fn violation_table(&self) -> String {
        let shown = self.violations.len() as u64;
        let heading = match self.violations_total {
            total if total > shown => {
                format!("The first {shown} of {} violations", amount::number(total))
            }
            _ => "Violations".to_owned(),
        };
        let rows: Vec<String> = self.violations.iter().map(violation_row).collect();
        format!(
            "<h2>{heading}</h2>\n<div class=\"sheet\"><table>\n\
             <tr><th>when</th><th>hosts</th><th>rule</th><th>what was seen</th></tr>\n{}</table></div>\n",
            rows.concat()
        )
    }

    fn percentile_table(&self) -> String {
        let rows = [
            percentile_row("Lookup time", &self.lookup_ms, amount::millis),
            percentile_row("Hops of a lookup", &self.lookup_hops, amount::number),
            percentile_row("Update propagation", &self.update_ms, amount::millis),
            percentile_row("Download time", &self.download_ms, amount::millis),
            percentile_row("Bytes of a host", &self.bytes_per_host(), amount::bytes),
        ];
        format!(
            "<h2>Percentiles</h2>\n<div class=\"sheet\"><table class=\"numbers\">\n<tr><th>measure</th><th>count</th>\
             <th>min</th><th>p50</th><th>p95</th><th>p99</th><th>max</th></tr>\n{}</table></div>\n",
            rows.concat()
        )
    }
}

/// The middle of some numbers, and below it the 95th percentile.
fn tile(
    name: &'static str,
    spread: &Spread,
    show: fn(u64) -> String,
) -> (&'static str, String, String) {
    let shown = |percent| or_dash(spread.percentile(percent).map(show));
    (name, shown(50), format!("p95 {}", shown(95)))
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

fn violation_row(violation: &Violation) -> String {
    let before = match violation.before.as_slice() {
        [] => String::new(),
        before => format!(
            "<details><summary>{} before</summary><pre>{}</pre></details>",
            amount::count(before.len() as u64, "event", "events"),
            escape(&before.join("\n"))
        ),
    };
    format!(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}{before}</td></tr>\n",
        violation.at,
        escape(&violation.hosts.join(", ")),
        escape(violation.rule),
        escape(&violation.what)
    )
}

fn percentile_row(name: &str, spread: &Spread, show: fn(u64) -> String) -> String {
    let cells: Vec<String> = [0, 50, 95, 99, 100]
        .map(|percent| or_dash(spread.percentile(percent).map(show)))
        .map(|cell| format!("<td>{cell}</td>"))
        .to_vec();
    format!(
        "<tr><th>{name}</th><td>{}</td>{}</tr>\n",
        amount::number(spread.len() as u64),
        cells.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::super::html::complaint;
    use super::super::samples;

    #[test]
    fn pages_of_small_and_large_runs_are_well_formed_and_complete_in_themselves() {
        for report in [
            samples::empty(),
            samples::full(1),
            samples::full(50),
            samples::full(2000),
        ] {
            let page = report.page();
            assert_eq!(complaint(&page), None);
            assert!(!page.contains("NaN") && !page.contains("inf,"));
            assert!(page.matches("<figure>").count() >= 10);
            assert!(page.len() < 1 << 20, "{}", page.len());
            assert_eq!(page, report.page());
        }
    }

    #[test]
    fn what_hosts_are_called_cannot_change_the_page() {
        let mut report = samples::full(3);
        report.scenario.hosts[0].name = "</pre><script>alert(1)</script>".to_owned();
        report.traffic[0].host = "\"><script>".to_owned();
        let page = report.page();
        assert_eq!(complaint(&page), None);
        assert!(!page.contains("<script") && !page.contains('\u{1b}'));
        assert!(page.contains("&lt;script&gt;alert(1)"));
    }

    #[test]
    fn only_a_run_with_violations_shows_a_table_of_them() {
        let page = samples::full(3).page();
        assert!(page.contains("The first 1 of 2 violations"));
        assert!(page.contains("2 events before"));
        let page = samples::empty().page();
        assert!(page.contains("No violation<"));
        assert!(!page.contains("<th>rule</th>"));
    }
}
