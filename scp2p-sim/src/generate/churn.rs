//! How long hosts stay and stay away, by published measurements.

use std::fmt;
use std::str::FromStr;

use crate::choices::Choices;
use crate::scenario::Span;

/// How hosts come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// They come and stay.
    #[default]
    Steady,
    /// Servers of a large public network: Weibull, shape 0.61, scale 3.66 hours.
    Ipfs,
    /// Clients of a file-sharing network: Weibull, shape 0.34, scale 21.3 minutes.
    Harsh,
    /// Computers of an office: log-normal with a median of four hours.
    Lan,
    /// Phones: 2 to 20 minutes, and another address after each.
    Mobile,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 5] = [
        Profile::Steady,
        Profile::Ipfs,
        Profile::Harsh,
        Profile::Lan,
        Profile::Mobile,
    ];

    /// The name by which it is chosen.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Steady => "steady",
            Profile::Ipfs => "ipfs",
            Profile::Harsh => "harsh",
            Profile::Lan => "lan",
            Profile::Mobile => "mobile",
        }
    }

    /// How long a host stays; none if for ever.
    pub(super) fn session(self, choices: &mut Choices<'_>) -> Option<Span> {
        match self {
            Profile::Steady => None,
            Profile::Ipfs => Some(weibull(choices, 0.61, 13_176.0)),
            Profile::Harsh => Some(weibull(choices, 0.34, 1278.0)),
            Profile::Lan => Some(log_normal(choices, 14_400.0, 0.8)),
            Profile::Mobile => Some(Span::secs(choices.between(120, 1200))),
        }
    }

    /// How long it stays away: half as long as another session would be.
    pub(super) fn absence(self, choices: &mut Choices<'_>) -> Span {
        let span = self.session(choices).unwrap_or_default();
        Span((span.0 / 2).max(Span::secs(5).0))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no profile's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownProfile(String);

impl fmt::Display for UnknownProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Profile::ALL.map(Profile::name).join(", ");
        write!(f, "no profile {:?}; there are {names}", self.0)
    }
}

impl std::error::Error for UnknownProfile {}

impl FromStr for Profile {
    type Err = UnknownProfile;
    fn from_str(text: &str) -> Result<Profile, UnknownProfile> {
        let named = Profile::ALL
            .into_iter()
            .find(|profile| profile.name() == text);
        named.ok_or_else(|| UnknownProfile(text.to_owned()))
    }
}

/// A number above 0 and up to 1.
fn unit(choices: &mut Choices<'_>) -> f64 {
    (choices.below(1 << 32) + 1) as f64 / (1_u64 << 32) as f64
}

/// Computed by `libm`, which gives the same bits on all machines and in all builds.
fn weibull(choices: &mut Choices<'_>, shape: f64, scale_secs: f64) -> Span {
    let drawn = libm::pow(-libm::log(unit(choices)), 1.0 / shape);
    span(scale_secs * drawn)
}

fn log_normal(choices: &mut Choices<'_>, median_secs: f64, sigma: f64) -> Span {
    let radius = libm::sqrt(-2.0 * libm::log(unit(choices)));
    let normal = radius * libm::cos(2.0 * core::f64::consts::PI * unit(choices));
    span(median_secs * libm::exp(sigma * normal))
}

/// Between a second and a month.
fn span(secs: f64) -> Span {
    Span::millis((secs.clamp(1.0, 2_592_000.0) * 1000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of the sessions are shorter than the median that the distribution's formula gives.
    #[test]
    fn medians_are_those_of_the_distributions() {
        for (profile, median_secs) in [
            (Profile::Ipfs, 7225),
            (Profile::Harsh, 435),
            (Profile::Lan, 14_400),
            (Profile::Mobile, 660),
        ] {
            let mut choices = Choices::from_seed(1);
            let shorter = (0..4000).filter(|_| {
                let session = profile.session(&mut choices);
                session.is_some_and(|session| session < Span::secs(median_secs))
            });
            let shorter = shorter.count();
            assert!((1850..2150).contains(&shorter), "{profile}: {shorter}");
        }
    }
}
