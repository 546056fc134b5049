//! Which component answers which request.

use super::Node;
use crate::cx::Cx;
use crate::id::NodeKey;
use crate::session::Ticket;
use crate::wire::{Answer, Request};

impl Node {
    pub(super) fn request(&mut self, from: NodeKey, ticket: Ticket, request: Request) {
        let cx = cx!(self);
        match request {
            Request::PexOffer(peers) => self.peers.on_pex_offer(cx, from, ticket, peers),
            Request::PexRequest { max_peers } => {
                self.peers.on_pex_request(cx, from, ticket, max_peers)
            }
            Request::Ping => cx.answer(ticket, Answer::Ack),
            Request::Part => self.on_part(from, ticket),
            Request::Listening(listening) => self.peers.on_listening(cx, from, ticket, listening),
            Request::DialBack(listening) => self.peers.on_dial_back(cx, from, ticket, listening),
            Request::Punch(punch) => self.peers.on_punch(cx, from, ticket, punch),
            Request::FindNode(target) => self.dht.on_find_node(cx, from, ticket, target),
            Request::FindValue(key) => self.dht.on_find_value(cx, from, ticket, key),
            Request::Store(record) => self.dht.on_store(cx, from, ticket, record),
            Request::GetManifest(id) => self.catalogs.on_get_manifest(cx, ticket, id),
            Request::ListPublicShares { max_entries } => {
                self.catalogs.on_list_public(cx, ticket, max_entries);
            }
            Request::Watch(shares) => self.catalogs.on_watch(cx, from, ticket, shares),
            Request::HeadAnnounce(announce) => {
                self.catalogs.on_head_announce(cx, from, ticket, announce);
            }
            Request::RelayRegister(register) => self.relay.on_register(cx, from, ticket, register),
            Request::RelayConnect(slot) => self.relay.on_slot_connect(cx, ticket, slot),
            Request::RelayStream(stream) => self.relay.on_stream(cx, from, ticket, &stream),
            Request::ListRelays { max_count } => {
                self.relay.on_list_relays(cx, from, ticket, max_count);
            }
            Request::HaveContent(_) => cx.answer(ticket, Answer::Ack),
            Request::GetChunk { content, index } => {
                self.transfers
                    .on_get_chunk(cx, from, ticket, content, index);
            }
            Request::GetChunkHashes(content) => {
                self.transfers
                    .on_get_chunk_hashes(cx, from, ticket, content);
            }
            Request::GetSubtrees {
                content,
                level,
                page,
            } => {
                self.transfers
                    .on_get_subtrees(cx, from, ticket, content, level, page);
            }
            Request::Have(contents) => self.transfers.on_have(cx, from, ticket, contents),
            Request::Reserve => self.relay.on_reserve(cx, from, ticket),
            Request::Connect(target) => self.relay.on_connect(cx, from, ticket, target),
            Request::Incoming(new) => self.relay.on_incoming(cx, from, ticket, new),
        }
    }

    /// A peer has no use for its session.
    fn on_part(&mut self, from: NodeKey, ticket: Ticket) {
        // Both ends may ask at one time.
        let is_upkeep = |call| self.is_upkeep(call);
        let is_busy = self.sessions.is_busy(ticket.link(), is_upkeep);
        if is_busy || self.needs(&from) {
            return cx!(self).refuse(ticket, "in use");
        }
        self.sessions.part(&from, ticket.link());
        cx!(self).answer(ticket, Answer::Ack);
    }
}
