//! Sessions that neither end has a use for.

mod common;

use std::time::Duration;

use common::talkers::{Heard, Hub};
use scp2p_proto::config::Config;
use scp2p_proto::wire::{Answer, Request};

/// Each has the other's question under way when it is asked, and nothing else.
#[test]
fn two_who_would_part_at_one_time_part() {
    let mut hub = Hub::new(Config {
        sessions_kept: 0,
        ..Config::default()
    });
    hub.leaves_parts = true;
    let link = hub.meet(1, [192, 0, 2, 1].into(), true);
    let part = |heard: Heard| match heard {
        Heard::Part(number) => Some(number),
        Heard::Circuit(..) | Heard::Incoming(_) | Heard::Answer(..) => None,
    };
    let asked = (0..300).find_map(|_| {
        hub.pass(Duration::from_secs(1));
        hub.heard(link).into_iter().find_map(part)
    });
    let asked = asked.expect("the node has more sessions than it keeps");
    assert_eq!(hub.asked(link, &Request::Part), Ok(Answer::Ack));
    let ack = Answer::Ack.to_frame(Request::Part.kind(), asked);
    hub.send(link, [ack]);
    assert!(!hub.is_up(link));
    hub.check();
}
