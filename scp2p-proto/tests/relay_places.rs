//! Places at a relay, as peers have them who keep to the protocol and no more.

mod common;

use std::time::Duration;

use common::talkers::{Heard, Hub};
use scp2p_proto::config::{Config, RelayLimits};
use scp2p_proto::wire::{Answer, Request};

/// Two dials of one peer may cross; the session that came first ends then, and its place may be on it.
#[test]
fn a_place_is_on_the_session_that_is_left() {
    let mut config = Config {
        relay: Some(RelayLimits::default()),
        ..Config::default()
    };
    config.capabilities.relay = true;
    let mut hub = Hub::new(config);
    let first = hub.meet(1, [192, 1, 2, 1].into(), true);
    let reserved = hub.asked(first, &Request::Reserve);
    assert!(matches!(reserved, Ok(Answer::Reserved(_))), "{reserved:?}");
    let second = hub.meet(1, [192, 1, 2, 1].into(), true);
    hub.pass(Duration::from_secs(30));
    assert!(!hub.is_up(first) && hub.is_up(second));
    let opener = hub.meet(2, [192, 2, 2, 1].into(), true);
    hub.ask(opener, &Request::Connect(Hub::key(1)));
    let heard = hub.heard(second);
    let is_incoming = |heard: &Heard| matches!(heard, Heard::Incoming(_));
    assert!(heard.iter().any(is_incoming), "{} things", heard.len());
    hub.check();
    hub.hang_up(second);
    hub.pass(Duration::from_secs(1));
    let asked = hub.asked(opener, &Request::Connect(Hub::key(1)));
    assert!(asked.is_err(), "{asked:?}: nobody is there");
}
