//! `scp2p demo`: the whole job with real nodes on this machine.

mod error;
mod files;
mod nodes;
mod stage;
mod story;

use std::path::Path;

use async_signal::{Signal, Signals};
use futures_lite::{FutureExt, StreamExt};

pub use error::DemoError;

use crate::cli::DemoArgs;
use crate::failure::Failure;
use crate::output;

use stage::Stage;

/// Runs the demonstration. Whatever happens, the nodes are stopped and, unless they are to be kept,
/// the folders removed before it returns.
///
/// # Errors
/// Something was not as it should be, or a signal came.
pub async fn run(args: &DemoArgs) -> Result<(), Failure> {
    let mut signals = Signals::new([Signal::Int, Signal::Term])
        .map_err(|error| Failure::System("signals", error))?;
    let mut stage = Stage::new()?;
    let told = story::tell(&mut stage, args.path.as_deref())
        .or(interrupted(&mut signals))
        .await;
    if matches!(told, Err(Failure::Demo(_))) {
        stage.print_logs();
    }
    let dir = stage.clear(args.keep).await;
    if let Some(dir) = dir {
        say(&format!("The folders are kept in {}", shown(&dir)));
    }
    told
}

/// Resolves at the first signal.
async fn interrupted(signals: &mut Signals) -> Result<(), Failure> {
    while let Some(signal) = signals.next().await {
        if signal.is_ok() {
            return Err(Failure::Interrupted);
        }
    }
    smol::future::pending().await
}

/// Prints a line for people. That nobody reads it does not disturb the demonstration.
fn say(line: &str) {
    // There is nobody to tell if standard output is gone.
    let _ = output::print(&format!("{line}\n"));
}

fn shown(path: &Path) -> String {
    output::shown(&path.display().to_string())
}
