//! A link and how far it has come.

use alloc::boxed::Box;
use core::net::SocketAddr;

use bytes::Bytes;

use super::super::calls::Calls;
use super::super::credit::{Grants, Room};
use super::super::handshake::{Initiator, Responder};
use super::super::roster::Carriage;
use super::super::seal::Seal;
use super::DialPlan;
use crate::id::NodeKey;
use crate::io::{Frame, Lane, LinkInfo};
use crate::limits::HANDSHAKE_FRAME_MAX;
use crate::pending::CallId;
use crate::wire::FrameReader;

pub(super) struct Link {
    pub state: State,
    pub inbound: bool,
    pub remote: Option<SocketAddr>,
    /// What carries it, if it is a circuit.
    pub via: Option<Carriage>,
    /// What makes a circuit private once its handshake is over.
    pub seal: Option<Seal>,
    pub control: FrameReader,
    pub bulk: FrameReader,
    pub room: Room,
    pub grants: Grants,
}

pub(super) enum State {
    Dialing(DialPlan),
    /// We sent our hello.
    Offered(LinkInfo, DialPlan, Box<Initiator>),
    /// Somebody dialled and has not spoken yet.
    Accepted(LinkInfo),
    /// We answered a hello.
    Answered(LinkInfo, Box<Responder>),
    Up(Up),
    /// Between two states, inside one call.
    Moving,
}

pub(super) struct Up {
    pub key: NodeKey,
    pub calls: Calls<CallId>,
    /// Requests of the peer that have no answer yet.
    pub tickets: u32,
}

impl Link {
    pub(super) fn new(inbound: bool, state: State) -> Link {
        Link {
            state,
            inbound,
            remote: None,
            via: None,
            seal: None,
            control: FrameReader::new(HANDSHAKE_FRAME_MAX),
            bulk: FrameReader::new(HANDSHAKE_FRAME_MAX),
            room: Room::new(),
            grants: Grants::new(),
        }
    }

    /// Queues a frame, sealed if the link is a circuit past its handshake. Gives it back when too much waits.
    pub(super) fn push(&mut self, lane: Lane, frame: Frame) -> Result<(), Frame> {
        let Some(seal) = &mut self.seal else {
            return self.room.push(lane, frame);
        };
        let records = Seal::records(&frame);
        if !self.room.takes(lane, records, Seal::sealed_len(&frame)) {
            return Err(frame);
        }
        for record in seal.seal(&frame) {
            let record = Frame {
                head: record,
                body: Bytes::new(),
            };
            self.room.push(lane, record)?;
        }
        Ok(())
    }

    /// The lane for what is large: the second one, where there is one.
    pub(super) fn large_lane(&self) -> Lane {
        if self.room.is_open(Lane::Bulk) {
            Lane::Bulk
        } else {
            Lane::Control
        }
    }

    pub(super) fn reader(&mut self, lane: Lane) -> &mut FrameReader {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Bulk => &mut self.bulk,
        }
    }
}
