//! Handshakes without end, each by somebody else.

use std::time::Duration;

use scp2p_proto::id::LinkId;
use scp2p_proto::io::Lane;
use scp2p_proto::keys::Keys;
use scp2p_proto::session::Initiator;
use scp2p_proto::wire::{Hello, Profile};
use std::collections::BTreeMap;

use bytes::Bytes;

use super::talker::{Policy, Talker, Way, framed};

/// Links whose handshake it left open.
const OPEN_MAX: usize = 64;

/// Makes others sign and verify.
#[derive(Debug, Default)]
pub(super) struct HandshakeFlooder {
    /// Handshakes that it may end, by the link.
    open: BTreeMap<LinkId, Option<Initiator>>,
}

impl Policy for HandshakeFlooder {
    fn pace(&self) -> Duration {
        Duration::from_millis(200)
    }

    fn turn(&mut self, talker: &mut Talker) {
        if self.open.len() >= OPEN_MAX
            && let Some((oldest, _)) = self.open.pop_first()
        {
            talker.close(oldest);
        }
        if let Some(target) = talker.target() {
            talker.dial(&target, Way::Raw);
        }
    }

    fn opened(&mut self, talker: &mut Talker, link: LinkId) {
        let Some(exporter) = talker.info(link).map(|info| info.exporter) else {
            return;
        };
        let stranger = Keys::from_seed(talker.random());
        let params = talker.params(&stranger, exporter);
        let (initiator, hello) = Initiator::start(params, Profile::C, talker.told_time());
        talker.deed("hellos");
        let (initiator, hello) = match talker.rng.below(4) {
            // The signature is wrong, which takes as long to find out.
            0 => (None, spoilt(&hello)),
            _ => (Some(initiator), hello),
        };
        self.open.insert(link, initiator);
        talker.send(link, Lane::Control, hello);
    }

    fn raw(&mut self, talker: &mut Talker, link: LinkId, _lane: Lane, bytes: Bytes) {
        let Some(Some(initiator)) = self.open.get_mut(&link).map(Option::take) else {
            return;
        };
        talker.deed("hellos answered");
        match talker.rng.below(3) {
            // Half a handshake.
            0 => {}
            // A whole one, by somebody who leaves at once.
            1 => {
                let body = bytes.slice(4.min(bytes.len())..);
                if let Ok((_, ack)) = initiator.on_hello(&body, talker.told_time()) {
                    talker.send(link, Lane::Control, ack);
                    talker.deed("sessions of a moment");
                }
                talker.close(link);
            }
            // One that ends in nonsense.
            _ => {
                let noise = talker.noise(200);
                talker.send(link, Lane::Control, framed(&noise));
            }
        }
    }

    fn gone(&mut self, _talker: &mut Talker, link: LinkId) {
        self.open.remove(&link);
    }
}

/// The frame of a hello with another signature.
fn spoilt(frame: &Bytes) -> Bytes {
    let body = frame.slice(4.min(frame.len())..);
    match Hello::decode(&body) {
        Ok(mut hello) => {
            hello.signature[40] ^= 1;
            framed(&hello.encode())
        }
        Err(_) => frame.clone(),
    }
}
