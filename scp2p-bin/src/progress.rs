//! Telling how long work gets on: with a bar on a terminal, in lines elsewhere, not at all for programs.

use std::future::Future;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use smol::Timer;

use crate::api::{Client, Download, DownloadState};
use crate::failure::Failure;
use crate::output;

/// The first and the longest pause between two looks at a download.
const POLL_MIN: Duration = Duration::from_millis(20);
const POLL_MAX: Duration = Duration::from_millis(250);
/// How often a bar or spinner moves by itself.
const TICK: Duration = Duration::from_millis(100);
/// Percent between two lines.
const LINE_STEP: u64 = 10;

/// Where progress is told.
pub enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// On standard error that is no terminal.
    Lines {
        /// The last percentage told.
        percent: Option<u64>,
        /// The last reason to wait that was told.
        waiting: Option<String>,
    },
    /// To nobody.
    Silent,
}

impl Progress {
    /// As fits standard error; programs that read JSON are not told.
    pub fn new(json: bool) -> Progress {
        if json {
            Progress::Silent
        } else if std::io::stderr().is_terminal() {
            Progress::Bar(bar())
        } else {
            Progress::Lines {
                percent: None,
                waiting: None,
            }
        }
    }

    /// On a terminal or not at all.
    pub fn on_terminal() -> Progress {
        Progress::new(!std::io::stderr().is_terminal())
    }

    /// Tells how a download stands.
    pub fn tell(&mut self, download: &Download) {
        match self {
            Progress::Bar(bar) => {
                bar.set_length(download.total);
                bar.set_position(download.done);
                let files = format!("{}/{} files", download.items_done, download.items);
                bar.set_message(match &download.waiting {
                    Some(waiting) => format!("{files}, {}", output::start(waiting)),
                    None => format!(
                        "{files}, {}{}",
                        output::count(download.peers.len() as u64, "peer", "peers"),
                        output::readable(&download.peers)
                    ),
                });
            }
            Progress::Lines { percent, waiting } => {
                let step = step(download);
                if *percent != Some(step) {
                    *percent = Some(step);
                    eprintln!(
                        "{step} %, {} of {}, {}/{} files, {}",
                        output::size(download.done),
                        output::size(download.total),
                        download.items_done,
                        download.items,
                        output::rate(download.rate)
                    );
                }
                if *waiting != download.waiting {
                    waiting.clone_from(&download.waiting);
                    if let Some(waiting) = waiting {
                        eprintln!("{}", output::shown(waiting));
                    }
                }
            }
            Progress::Silent => {}
        }
    }

    fn end(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// The percentage done, in steps.
fn step(download: &Download) -> u64 {
    let steps = 100 / LINE_STEP;
    let done = match download.total {
        0 => steps,
        total => u64::try_from(u128::from(download.done) * u128::from(steps) / u128::from(total))
            .unwrap_or(steps),
    };
    done.min(steps) * LINE_STEP
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:30} {percent:>3} % {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} {wide_msg}",
    )
    .expect("the template is a constant");
    let bar = ProgressBar::new(0).with_style(style);
    bar.enable_steady_tick(TICK);
    bar
}

/// Waits until a download is complete.
///
/// # Errors
/// It failed, was cancelled, or the node went away.
pub async fn wait(client: &Client, id: u64, progress: &mut Progress) -> Result<Download, Failure> {
    let mut pause = POLL_MIN;
    let ended = loop {
        match client.download(id).await {
            Ok(Some(download)) => {
                progress.tell(&download);
                match download.state {
                    DownloadState::Running | DownloadState::Paused => {}
                    DownloadState::Finished => break Ok(download),
                    DownloadState::Failed => {
                        let reason = download
                            .waiting
                            .unwrap_or_else(|| "see the node's log".to_owned());
                        break Err(Failure::Download { id, reason });
                    }
                }
            }
            Ok(None) => break Err(Failure::Cancelled(id)),
            Err(error) => break Err(error.into()),
        }
        Timer::after(pause).await;
        pause = (pause * 3 / 2).min(POLL_MAX);
    };
    progress.end();
    ended
}

/// Shows a spinner on a terminal while the node reads and hashes files.
pub async fn while_hashing<T>(json: bool, work: impl Future<Output = T>) -> T {
    if json || !std::io::stderr().is_terminal() {
        return work.await;
    }
    let spinner = ProgressBar::new_spinner().with_message("reading and hashing");
    spinner.enable_steady_tick(TICK);
    let done = work.await;
    spinner.finish_and_clear();
    done
}
