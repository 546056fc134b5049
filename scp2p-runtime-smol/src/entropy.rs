//! The only place that asks the system for randomness.

use crate::options::StartError;

/// Thirty-two bytes that nobody can guess.
pub(crate) fn seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| StartError::System {
        reason: format!("no entropy: {error}"),
    })?;
    Ok(seed)
}
