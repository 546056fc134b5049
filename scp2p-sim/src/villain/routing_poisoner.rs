//! Addresses of nobody, of private networks, and of others.

use std::net::IpAddr;
use std::time::Duration;

use scp2p_proto::id::{LinkId, NodeKey, RelaySlotId};
use scp2p_proto::limits::PEER_ADDRS_MAX;
use scp2p_proto::wire::{Answer, FoundValue, Listening, PeerAddr, RelayRoute, Request};

use super::loot::{NOWHERE, stranger};
use super::talker::{Asked, Policy, Talker, Way, addrs_of};

/// Sends others astray.
#[derive(Debug, Default)]
pub(super) struct RoutingPoisoner {
    turns: u64,
}

impl Policy for RoutingPoisoner {
    fn pace(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn turn(&mut self, talker: &mut Talker) {
        self.turns += 1;
        talker.keep_sessions(Way::Ours);
        let Some(link) = talker.session() else {
            return;
        };
        // Every now and then a list that is far too long.
        let len = if self.turns.is_multiple_of(8) {
            8 * PEER_ADDRS_MAX
        } else {
            60
        };
        let offer = poison(talker, len);
        talker.ask(link, Request::PexOffer(offer));
        talker.deed("poisoned offers");
        if self.turns.is_multiple_of(5) {
            let listening = Listening {
                quic_port: Some(talker.rng.below(65_536) as u16),
                tcp_port: Some([0, 22, 25, 80, 443][(self.turns / 5 % 5) as usize]),
            };
            talker.ask(link, Request::Listening(listening));
            talker.deed("false ports");
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what it has no mischief for is answered as anybody would"
    )]
    fn request(&mut self, talker: &mut Talker, asked: Asked) {
        let peers = poison(talker, PEER_ADDRS_MAX + 20);
        let answer = match &asked.request {
            Request::PexRequest { .. } | Request::FindNode(_) => Answer::Peers(peers),
            Request::FindValue(_) => Answer::Found(FoundValue {
                record: None,
                peers,
            }),
            _other => return talker.answer_well(&asked),
        };
        talker.answer(&asked, &answer);
        talker.deed("poisoned answers");
    }

    fn accepts(&mut self, _talker: &mut Talker, _link: LinkId) -> Way {
        Way::Ours
    }
}

/// A list of addresses that serve nobody, some of them nested.
fn poison(talker: &mut Talker, len: usize) -> Vec<PeerAddr> {
    let mut list: Vec<PeerAddr> = Vec::with_capacity(len);
    for _ in 0..len {
        let addr = match talker.rng.below(6) {
            0 | 1 => {
                let ip = talker.rng.pick(&NOWHERE).and_then(|ip| ip.parse().ok());
                stranger(talker, ip.unwrap_or(IpAddr::from([127, 0, 0, 1])), 7000)
            }
            // Somebody else's place, under a key that is not there.
            2 => victim(talker),
            3 => {
                let mut ip: [u8; 16] = talker.random();
                ip[0] = 0x20;
                let port = talker.rng.below(65_536) as u16;
                stranger(talker, IpAddr::from(ip), port)
            }
            4 => {
                let relay = stranger(talker, IpAddr::from([198, 18, 0, 1]), 7000);
                let route = RelayRoute {
                    relay: victim(talker),
                    slot: RelaySlotId(talker.rng.u64()),
                };
                PeerAddr {
                    relay_via: Some(Box::new(route)),
                    ..relay
                }
            }
            _ => {
                let [a, b, c, d] = talker.random();
                let port = talker.rng.below(65_536) as u16;
                stranger(talker, IpAddr::from([60 + a % 32, b, c, d]), port)
            }
        };
        list.push(addr);
    }
    list
}

fn victim(talker: &mut Talker) -> PeerAddr {
    let target = talker.target();
    let addrs: Vec<PeerAddr> = target.iter().flat_map(addrs_of).collect();
    let key = Some(NodeKey(talker.random()));
    match talker.rng.pick(&addrs).cloned() {
        Some(addr) => PeerAddr { key, ..addr },
        None => stranger(talker, IpAddr::from([60, 1, 1, 1]), 1),
    }
}
