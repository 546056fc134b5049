//! Hellos, as a node of ours or as a deployed peer.

use bytes::{BufMut, Bytes, BytesMut};
use scp2p_proto::id::LinkId;
use scp2p_proto::io::Lane;
use scp2p_proto::keys::Keys;
use scp2p_proto::session::{Initiator, Params, Responder};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{Hello, HelloFields, Profile};

use super::{Stage, Talker, Way};

impl Talker {
    /// The clock as hellos show it.
    pub fn told_time(&self) -> UnixTime {
        UnixTime(self.now.unix.0.saturating_add_signed(self.lie))
    }

    /// What somebody brings into a handshake on a link.
    pub fn params<'a>(&mut self, keys: &'a Keys, exporter: [u8; 32]) -> Params<'a> {
        Params {
            keys,
            capabilities: self.capabilities,
            exporter,
            nonce_random: self.random(),
            ephemeral: self.random(),
            expected: None,
        }
    }

    /// The frame of a hello that is bound to nothing, as deployed peers make it.
    pub fn deployed_hello(&mut self, keys: &Keys, echoed_nonce: Option<[u8; 32]>) -> Bytes {
        let fields = HelloFields {
            capabilities: self.capabilities,
            nonce: self.random(),
            echoed_nonce,
            timestamp: self.told_time(),
            // Any public key that is not weak; the secret is used for nothing.
            ephemeral: [9; 32],
        };
        framed(&Hello::sign(keys.signing(), Profile::C, fields).encode())
    }

    /// Says the first hello on a link that it dialled.
    pub(super) fn greet(&mut self, id: LinkId) {
        let keys = self.keys.clone();
        let Some((way, exporter)) = self.way(id) else {
            return;
        };
        let (initiator, hello) = match way {
            Way::Ours => {
                let params = self.params(&keys, exporter);
                let (initiator, hello) = Initiator::start(params, Profile::C, self.told_time());
                (Some(Box::new(initiator)), hello)
            }
            Way::Deployed | Way::Raw => (None, self.deployed_hello(&keys, None)),
        };
        self.turn_to(id, Stage::Opened(initiator));
        self.send(id, Lane::Control, hello);
    }

    /// Takes a frame of a handshake.
    pub(super) fn hello(&mut self, id: LinkId, body: &Bytes) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let done = match core::mem::replace(&mut link.stage, Stage::Dialing) {
            Stage::Opened(initiator) => self.on_server_hello(id, initiator, body),
            Stage::Accepted => self.on_client_hello(id, body),
            Stage::Answered(responder) => self.on_ack(id, responder, body),
            Stage::Dialing | Stage::Raw | Stage::Up => None,
        };
        if done.is_none() {
            self.close(id);
        }
    }

    fn on_server_hello(
        &mut self,
        id: LinkId,
        initiator: Option<Box<Initiator>>,
        body: &Bytes,
    ) -> Option<()> {
        let keys = self.keys.clone();
        let (key, ack) = match initiator {
            Some(initiator) => {
                let (established, ack) = initiator.on_hello(body, self.told_time()).ok()?;
                (established.key, ack)
            }
            None => {
                let theirs = Hello::decode(body).ok()?;
                (theirs.key, self.deployed_hello(&keys, Some(theirs.nonce)))
            }
        };
        self.send(id, Lane::Control, ack);
        self.turn_to(id, Stage::Up);
        self.up(id, key);
        // The ack waited for the stage to be one that sends.
        self.pump(id);
        Some(())
    }

    fn on_client_hello(&mut self, id: LinkId, body: &Bytes) -> Option<()> {
        let keys = self.keys.clone();
        let (way, exporter) = self.way(id)?;
        let theirs = Hello::decode(body).ok()?;
        let (responder, hello) = match way {
            Way::Ours => {
                let params = self.params(&keys, exporter);
                let now = self.told_time();
                let answered = Responder::on_client_hello(params, body, now, &mut self.nonces);
                let (responder, hello) = answered.ok()?;
                (Some(Box::new(responder)), hello)
            }
            Way::Deployed | Way::Raw => (None, self.deployed_hello(&keys, Some(theirs.nonce))),
        };
        self.links.get_mut(&id)?.key = Some(theirs.key);
        self.turn_to(id, Stage::Answered(responder));
        self.send(id, Lane::Control, hello);
        Some(())
    }

    fn on_ack(
        &mut self,
        id: LinkId,
        responder: Option<Box<Responder>>,
        body: &Bytes,
    ) -> Option<()> {
        let key = match responder {
            Some(responder) => responder.on_ack(body, self.told_time()).ok()?.key,
            None => Hello::decode(body).ok()?.key,
        };
        self.up(id, key);
        Some(())
    }

    /// Decides how to speak with somebody who dialled.
    pub(super) fn accept(&mut self, id: LinkId, way: Way) {
        if let Some(link) = self.links.get_mut(&id) {
            link.way = way;
            if way == Way::Raw {
                link.stage = Stage::Raw;
                link.grants.authenticated();
            }
        }
        self.pump(id);
    }

    fn way(&self, id: LinkId) -> Option<(Way, [u8; 32])> {
        let link = self.links.get(&id)?;
        Some((link.way, link.info.as_ref()?.exporter))
    }

    fn turn_to(&mut self, id: LinkId, stage: Stage) {
        if let Some(link) = self.links.get_mut(&id) {
            link.stage = stage;
        }
    }
}

/// A frame of this body.
pub(crate) fn framed(body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(body.len() + 4);
    frame.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(body);
    frame.freeze()
}
