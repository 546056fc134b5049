//! Sessions that are tunnels of deployed peers (SPECIFICATION §9.7).

use alloc::collections::VecDeque;

use super::{SessionEvent, Sessions, State};
use crate::id::LinkId;
use crate::io::{CloseCode, Frame, Lane};
use crate::outbox::Outbox;
use crate::view::Tunnel;

impl Sessions {
    /// The peer's session is its tunnel from now on: we ask and it answers. It must wait for nothing else, as whatever
    /// we sent would be taken for a request.
    pub(crate) fn turn(
        &mut self,
        id: LinkId,
        heard: &mut VecDeque<SessionEvent>,
        out: &mut Outbox,
    ) {
        let Some(State::Up(up)) = self.links.get(&id).map(|link| &link.state) else {
            return;
        };
        if up.tickets > 0 {
            return self.close(id, CloseCode::Offence, heard, out);
        }
        if let Some(session) = self.roster.by_link(&up.key, id) {
            session.tunnel = Some(Tunnel::Relay);
        }
    }

    /// Sends something on a session that is a tunnel.
    pub(crate) fn send_tunnel(
        &mut self,
        id: LinkId,
        frame: Frame,
        heard: &mut VecDeque<SessionEvent>,
        out: &mut Outbox,
    ) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        match link.push(Lane::Control, frame) {
            Ok(()) => self.pump(id, out),
            Err(_) => self.close(id, CloseCode::Busy, heard, out),
        }
    }
}
