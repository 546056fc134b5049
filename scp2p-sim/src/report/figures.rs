//! What the plots of a report show.

use super::axis::{Axis, Unit};
use super::plot::{Bar, Figure, Series, Shape, cumulative};
use super::{Report, Sample, Spread, Traffic, amount};

/// Intervals that rates and parts are measured in, at most: a lookup more or less should not show.
const INTERVALS_MAX: usize = 48;
/// Bars of hosts, at most; with more hosts each stands for several.
const BARS_MAX: usize = 60;

/// The plots of a report, in the order in which one reads them.
pub(super) fn figures(report: &Report) -> Vec<Figure> {
    vec![
        online(report),
        traffic_over_time(report),
        lookup_success(report),
        lookup_time(report),
        hops(report),
        subscriptions(report),
        update_time(report),
        transfers(report),
        transfer_time(report),
        host_bytes(report),
    ]
}

fn online(report: &Report) -> Figure {
    over_time(
        report,
        "Nodes online",
        Unit::Count,
        vec![Series {
            name: "online",
            shape: Shape::Area(points(report, |sample| sample.online.into())),
        }],
    )
}

fn traffic_over_time(report: &Report) -> Figure {
    let rate = intervals(report)
        .map(|(from, to)| {
            let bytes = to.bytes.saturating_sub(from.bytes);
            let micros = to.at.0.saturating_sub(from.at.0).max(1);
            (to.at.0 as f64, Some(bytes as f64 * 1e6 / micros as f64))
        })
        .collect();
    let series = Series {
        name: "sent",
        shape: Shape::Area(rate),
    };
    let mut figure = over_time(report, "Traffic", Unit::Rate, vec![series]);
    figure.note = "Bytes per second that all hosts send.".to_owned();
    figure
}

fn lookup_success(report: &Report) -> Figure {
    let parts: Vec<(f64, Option<f64>)> = intervals(report)
        .map(|(from, to)| {
            let ended = to.lookups.saturating_sub(from.lookups);
            let found = to.lookups_found.saturating_sub(from.lookups_found);
            let part = (ended > 0).then(|| 100.0 * found as f64 / ended as f64);
            (to.at.0 as f64, part)
        })
        .collect();
    let worst = parts
        .iter()
        .filter_map(|(_, part)| *part)
        .fold(100.0, f64::min);
    let series = Series {
        name: "succeeded",
        shape: Shape::Line(parts),
    };
    let mut figure = over_time(report, "Lookup success", Unit::Percent, vec![series]);
    figure.y = Axis::percent("");
    // What happens just below 100 % would not be seen on an axis from zero.
    if worst >= 90.0 {
        figure.y.low = 90.0;
        figure.note = "Of the lookups that ended; the axis begins at 90 %.".to_owned();
    } else {
        figure.note = "Of the lookups that ended.".to_owned();
    }
    figure
}

fn lookup_time(report: &Report) -> Figure {
    distribution(
        "Lookup latency",
        "from asking to the end",
        &report.lookup_ms,
    )
}

fn hops(report: &Report) -> Figure {
    let mut counts: Vec<u64> = Vec::new();
    for hops in report.lookup_hops.sorted() {
        let at = usize::try_from(*hops).unwrap_or(usize::MAX).min(BARS_MAX);
        if counts.len() <= at {
            counts.resize(at + 1, 0);
        }
        if let Some(count) = counts.get_mut(at) {
            *count += 1;
        }
    }
    let total = report.lookup_hops.len().max(1) as f64;
    let bars: Vec<Bar> = counts
        .iter()
        .enumerate()
        .map(|(at, count)| Bar {
            x: [at as f64 - 0.4, at as f64 + 0.4],
            y: [0.0, 100.0 * *count as f64 / total],
            tip: format!(
                "{}: {}",
                amount::count(at as u64, "hop", "hops"),
                amount::count(*count, "lookup", "lookups")
            ),
        })
        .collect();
    let high = bars.iter().map(|bar| bar.y[1]).fold(1.0, f64::max);
    Figure {
        title: "Hops",
        note: "How many nodes one learned of the next until the answer; part of the lookups."
            .to_owned(),
        x: Axis {
            low: -0.6,
            rounded: false,
            ..Axis::up_to("hops", Unit::Count, counts.len().max(1) as f64 - 0.4)
        },
        y: Axis::up_to("", Unit::Percent, high),
        series: vec![Series {
            name: "lookups",
            shape: Shape::Bars(bars),
        }],
        mark: None,
    }
}

fn subscriptions(report: &Report) -> Figure {
    let all = points(report, |sample| sample.subscriptions.into());
    let current = points(report, |sample| sample.current.into());
    over_time(
        report,
        "Subscriptions",
        Unit::Count,
        vec![
            Series {
                name: "all",
                shape: Shape::Line(all),
            },
            Series {
                name: "with the newest revision",
                shape: Shape::Area(current),
            },
        ],
    )
}

fn update_time(report: &Report) -> Figure {
    distribution(
        "Update propagation",
        "from publishing to a subscriber",
        &report.update_ms,
    )
}

fn transfers(report: &Report) -> Figure {
    let begun = points(report, |sample| sample.downloads);
    let done = points(report, |sample| sample.downloads_done);
    over_time(
        report,
        "Downloads",
        Unit::Count,
        vec![
            Series {
                name: "begun",
                shape: Shape::Line(begun),
            },
            Series {
                name: "done",
                shape: Shape::Area(done),
            },
        ],
    )
}

fn transfer_time(report: &Report) -> Figure {
    distribution(
        "Download time",
        "from asking to the last byte",
        &report.download_ms,
    )
}

fn host_bytes(report: &Report) -> Figure {
    let total = |traffic: &Traffic| traffic.sent.saturating_add(traffic.received);
    let mut hosts: Vec<&Traffic> = report.traffic.iter().collect();
    hosts.sort_by(|a, b| total(b).cmp(&total(a)).then_with(|| a.host.cmp(&b.host)));
    let group = hosts.len().div_ceil(BARS_MAX).max(1);
    let (mut sent, mut received) = (Vec::new(), Vec::new());
    let mut high = 1.0;
    for (at, hosts) in hosts.chunks(group).enumerate() {
        let mean = |of: fn(&Traffic) -> u64| {
            let sum: u128 = hosts.iter().map(|traffic| u128::from(of(traffic))).sum();
            (sum / hosts.len().max(1) as u128) as u64
        };
        let [up, down] = [
            mean(|traffic| traffic.sent),
            mean(|traffic| traffic.received),
        ];
        let name = match hosts {
            [traffic] => traffic.host.clone(),
            hosts => format!("mean of {} hosts", hosts.len()),
        };
        let tip = format!(
            "{name}: sent {}, received {}",
            amount::bytes(up),
            amount::bytes(down)
        );
        let first = (at * group) as f64;
        let x = [first + 0.6, first + 0.4 + hosts.len() as f64];
        let top = up as f64 + down as f64;
        sent.push(Bar {
            x,
            y: [0.0, up as f64],
            tip: tip.clone(),
        });
        received.push(Bar {
            x,
            y: [up as f64, top],
            tip,
        });
        high = f64::max(high, top);
    }
    Figure {
        title: "Bytes per node",
        note: match group {
            1 => "Each bar is a host, the busiest first.".to_owned(),
            group => format!("Each bar is the mean of {group} hosts, the busiest first."),
        },
        x: Axis {
            low: 0.5,
            rounded: false,
            ..Axis::up_to("hosts", Unit::Count, hosts.len().max(1) as f64 + 0.5)
        },
        y: Axis::up_to("", Unit::Bytes, high),
        series: vec![
            Series {
                name: "sent",
                shape: Shape::Bars(sent),
            },
            Series {
                name: "received",
                shape: Shape::Bars(received),
            },
        ],
        mark: None,
    }
}

/// Something over the time of the run, with the end of the faults.
fn over_time(report: &Report, title: &'static str, unit: Unit, series: Vec<Series>) -> Figure {
    let high = series.iter().map(Series::highest).fold(1.0, f64::max);
    Figure {
        title,
        note: String::new(),
        x: Axis::time(report.scenario.length.0 as f64),
        y: Axis::up_to("", unit, high),
        series,
        mark: Some((report.scenario.heal.0 as f64, "faults end")),
    }
}

/// The part of some times that are not longer than another, in percent.
fn distribution(title: &'static str, label: &'static str, spread: &Spread) -> Figure {
    let [low, high] = [0, 100].map(|percent| spread.percentile(percent).unwrap_or_default());
    let note = match (spread.percentile(50), spread.percentile(95)) {
        (Some(middle), Some(most)) => format!(
            "Part that took at most so long; half within {}, 95 % within {}.",
            amount::millis(middle),
            amount::millis(most)
        ),
        (None, _) | (_, None) => String::new(),
    };
    Figure {
        title,
        note,
        x: Axis::millis(label, low, high),
        y: Axis::percent(""),
        series: vec![Series {
            name: "part",
            shape: Shape::Steps(cumulative(spread.sorted())),
        }],
        mark: None,
    }
}

fn points(report: &Report, of: fn(&Sample) -> u64) -> Vec<(f64, Option<f64>)> {
    let point = |sample: &Sample| (sample.at.0 as f64, Some(of(sample) as f64));
    report.samples.iter().map(point).collect()
}

/// First and last sample of at most [`INTERVALS_MAX`] intervals.
fn intervals(report: &Report) -> impl Iterator<Item = (&Sample, &Sample)> {
    let samples = &report.samples;
    let step = samples.len().div_ceil(INTERVALS_MAX).max(1);
    let from = samples.iter().step_by(step);
    let to = samples.iter().skip(step).step_by(step);
    from.zip(to)
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn each_plot_of_a_run_of_nothing_says_that_there_is_nothing() {
        for figure in figures(&samples::empty()) {
            let title = figure.title;
            assert!(figure.html().contains("nothing to show"), "{title}");
        }
    }

    #[test]
    fn each_plot_of_a_full_run_shows_something() {
        for figure in figures(&samples::full(5)) {
            let title = figure.title;
            let html = figure.html();
            assert!(
                html.contains("class=\"line\"") || html.contains("class=\"bar\""),
                "{title}"
            );
        }
    }

    #[test]
    fn many_hosts_share_bars() {
        let html = host_bytes(&samples::full(2000)).html();
        assert!(html.contains("Each bar is the mean of 34 hosts"));
        assert_eq!(html.matches("<rect").count(), 2 * 2000_usize.div_ceil(34));
        let html = host_bytes(&samples::full(60)).html();
        assert!(
            html.contains("<title>host-59: sent 13.5 MiB, received 59 MiB</title>"),
            "{html}"
        );
    }

    #[test]
    fn success_is_measured_between_samples() {
        let mut report = samples::empty();
        for (lookups, lookups_found) in [(0, 0), (10, 10), (10, 10), (20, 15)] {
            let at = crate::scenario::Span::secs(report.samples.len() as u64 * 60);
            report.samples.push(Sample {
                at,
                lookups,
                lookups_found,
                ..Sample::default()
            });
        }
        let Shape::Line(points) = &lookup_success(&report).series[0].shape else {
            panic!("not a line")
        };
        let parts: Vec<Option<f64>> = points.iter().map(|(_, part)| *part).collect();
        assert_eq!(parts, [Some(100.0), None, Some(50.0)]);
    }
}
