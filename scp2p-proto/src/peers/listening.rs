//! Telling peers where we listen, and being told where they do (SPECIFICATION §9.3).

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::{Peers, Tag};
use crate::cx::Cx;
use crate::dht::Contact;
use crate::id::NodeKey;
use crate::io::Transport;
use crate::netgroup::{Scope, scope};
use crate::session::Ticket;
use crate::view::{Reach, Reachability};
use crate::wire::{Answer, Listening, Observed, PeerAddr, Request};
use crate::wish::Wish;

impl Peers {
    /// Tells a peer of ours where we listen; it answers where it sees us.
    pub(super) fn greet(&self, cx: &mut Cx<'_>, peer: NodeKey, within: Duration) {
        let Some(session) = cx.roster.session(&peer) else {
            return;
        };
        let reach = self.reachability(cx.config);
        let listening = self.ports_for(cx, session.remote.ip(), reach);
        cx.call(peer, Request::Listening(listening), within, Tag::Greeted);
    }

    /// Tells those of other ports than before what others found out about us.
    pub(super) fn greet_anew(&self, cx: &mut Cx<'_>, before: Reachability) {
        let now = self.reachability(cx.config);
        let is_other = |ip| {
            let ports = |reach| self.ports_for(cx, ip, reach);
            ports(before) != ports(now)
        };
        let direct = cx.roster.iter().filter(|(_, it)| it.is_direct());
        let others = direct.filter(|(_, session)| is_other(session.remote.ip()));
        let others: Vec<NodeKey> = others.map(|(peer, _)| *peer).collect();
        for peer in others {
            self.greet(cx, peer, super::ANSWER_TIME);
        }
    }

    /// The ports where a peer at this address can reach us. Where those outside cannot, only who is on our own network is
    /// told of any: others would hand on what is of no use.
    fn ports_for(&self, cx: &Cx<'_>, ip: IpAddr, reach: Reachability) -> Listening {
        // Where TCP is not let in QUIC is not either, as a rule. Who has no TCP may never hear of QUIC.
        let is_hidden = cx.config.tcp_port.is_some() && reach.is_direct() == Some(false);
        let is_near = self.own.is_near(cx.config, cx.roster, ip);
        let port = |transport, reach| {
            let is_told = is_near || (!is_hidden && reach != Reach::NotReached);
            cx.config.outer_port(transport).filter(|_| is_told)
        };
        Listening {
            quic_port: port(Transport::Quic, reach.quic),
            tcp_port: port(Transport::Tcp, reach.tcp),
        }
    }

    /// A peer says where it listens. It is believed when it was reached there, which is tried at the
    /// address it was seen at only, so that nobody can point us at a third party.
    pub(crate) fn on_listening(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        listening: Listening,
    ) {
        let Some(session) = cx
            .roster
            .all(&from)
            .iter()
            .find(|session| session.link == ticket.link())
        else {
            return cx.refuse(ticket, "not connected");
        };
        if session.via.is_some() {
            return cx.refuse(ticket, "over a relay");
        }
        let (remote, ours) = (session.remote, session.level.is_some());
        let in_dht = session.capabilities.dht;
        cx.answer(
            ticket,
            Answer::Observed(Observed {
                ip: remote.ip(),
                port: remote.port(),
            }),
        );
        if !ours {
            return;
        }
        let ports = [
            (Transport::Quic, listening.quic_port),
            (Transport::Tcp, listening.tcp_port),
        ];
        let addrs = ports.into_iter().filter_map(|(transport, port)| {
            Some(PeerAddr {
                ip: remote.ip(),
                port: port.filter(|port| *port != 0)?,
                transport,
                key: Some(from),
                relay_via: None,
            })
        });
        let addrs: Vec<PeerAddr> = addrs.collect();
        if scope(&remote.ip()) == Scope::World {
            let is_told = |of| addrs.iter().any(|addr| addr.transport == of);
            let untold = [Transport::Quic, Transport::Tcp].map(|of| (!is_told(of)).then_some(of));
            self.forget_untold(cx, from, untold);
        }
        if in_dht {
            cx.wish(Wish::Candidate(Contact::new(from, addrs)));
        } else {
            self.probe(cx, addrs);
        }
    }

    /// A peer that told no ports of these transports cannot be reached over them: others are not told that it can,
    /// though we may have reached it.
    fn forget_untold(&mut self, cx: &mut Cx<'_>, peer: NodeKey, untold: [Option<Transport>; 2]) {
        let record = self.book.entry(peer);
        if record.untold == untold {
            return;
        }
        record.untold = untold;
        cx.wish(Wish::Unlisted(peer));
        self.contact(cx, peer);
    }
}
