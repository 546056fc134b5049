//! A whole world by choice.

use crate::choices::Choices;
use crate::generate::{Options, from_choices};
use crate::run;

/// Runs the world that the bytes choose, of two to five nodes for some minutes: seeds choose theirs by the same
/// questions.
///
/// # Panics
/// If the run has a violation, with its report and scenario.
pub fn world(bytes: &[u8]) {
    let mut choices = Choices::from_bytes(bytes);
    let options = Options::draw(2..=5, &mut choices);
    let report = run(&from_choices(0, &options, &mut choices));
    let scenario = report.scenario.to_text();
    assert!(report.is_clean(), "{}\n{scenario}", report.text());
}
