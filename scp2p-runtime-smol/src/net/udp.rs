//! A UDP socket and the QUIC links on it.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::Async;
use bytes::BytesMut;
use quinn_proto::EcnCodepoint;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tracing::debug;

use super::quic::{Datagram, QuicLinks};

/// Socket buffers asked for, in bytes; the system may give less.
const SOCKET_BUFFER: usize = 4 << 20;
/// The largest datagram, or batch of datagrams that the system joined.
const RECEIVE_MAX: usize = 65_535;
/// Batches received before what they caused is looked after.
const RECEIVES_AT_ONCE: usize = 4;
/// Batches sent before other sockets have their turn.
const SENDS_AT_ONCE: usize = 32;

/// A UDP socket and the QUIC links on it.
pub(crate) struct UdpEndpoint {
    /// The links.
    pub(crate) links: QuicLinks,
    socket: Async<UdpSocket>,
    state: UdpSocketState,
    addr: SocketAddr,
    received: Vec<u8>,
    sending: Vec<u8>,
    /// What the socket had no place for; its payload is in `sending`.
    blocked: Option<quinn_proto::Transmit>,
}

impl UdpEndpoint {
    /// Binds a socket, of one family only so that both can have the same port.
    pub(crate) fn bind(addr: SocketAddr, links: QuicLinks) -> io::Result<UdpEndpoint> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&addr.into())?;
        let socket = UdpSocket::from(socket);
        let state = UdpSocketState::new((&socket).into())?;
        // The defaults work too, only not as fast.
        let _ = SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER);
        let _ = SockRef::from(&socket).set_send_buffer_size(SOCKET_BUFFER);
        Ok(UdpEndpoint {
            links,
            addr: socket.local_addr()?,
            socket: Async::new(socket)?,
            state,
            received: vec![0; RECEIVE_MAX * BATCH_SIZE],
            sending: Vec::with_capacity(RECEIVE_MAX),
            blocked: None,
        })
    }

    /// Where it is bound, port included.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether a datagram to this address can be sent from here.
    pub(crate) fn reaches(&self, remote: SocketAddr) -> bool {
        self.addr.is_ipv4() == remote.is_ipv4()
    }

    /// Gives the links what has arrived. Ready if there may be more; else the task is woken when
    /// there is.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        for _ in 0..RECEIVES_AT_ONCE {
            match self.receive(now) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.socket.poll_readable(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) | Poll::Pending => return Poll::Pending,
                    }
                }
                // Errors of earlier datagrams, as ICMP tells them: QUIC finds out by itself.
                Err(error) => debug!(%error, "receiving datagrams"),
            }
        }
        Poll::Ready(())
    }

    /// Sends what the links have to send. Ready if there may be more; pending if not, or if the
    /// socket has no place, in which case the task is woken when it has.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        for _ in 0..SENDS_AT_ONCE {
            let transmit = match self.blocked.take() {
                Some(transmit) => transmit,
                None => {
                    self.sending.clear();
                    let segments_max = self.state.max_gso_segments();
                    match self
                        .links
                        .poll_transmit(now, segments_max, &mut self.sending)
                    {
                        Some(transmit) => transmit,
                        None => return Poll::Pending,
                    }
                }
            };
            match self.send(&transmit) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = Some(transmit);
                    match self.socket.poll_writable(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) | Poll::Pending => return Poll::Pending,
                    }
                }
                // Lost, as any datagram may be: too large a probe, an unreachable network.
                Err(error) => debug!(%error, to = %transmit.destination, "sending datagrams"),
            }
        }
        Poll::Ready(())
    }

    /// Whether nothing waits to be sent or delivered.
    pub(crate) fn is_quiet(&self) -> bool {
        self.blocked.is_none() && self.links.is_quiet()
    }

    /// Receives one batch.
    fn receive(&mut self, now: Instant) -> io::Result<()> {
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let mut chunks = self.received.chunks_mut(RECEIVE_MAX);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let count = self
            .state
            .recv(self.socket.get_ref().into(), &mut slices, &mut meta)?;
        for (meta, buffer) in meta
            .iter()
            .zip(self.received.chunks(RECEIVE_MAX))
            .take(count)
        {
            let joined = &buffer[..meta.len.min(buffer.len())];
            for payload in joined.chunks(meta.stride.max(1)) {
                self.links.receive(
                    now,
                    Datagram {
                        remote: meta.addr,
                        local: meta.dst_ip,
                        ecn: meta.ecn.map(to_proto),
                        payload: BytesMut::from(payload),
                    },
                );
            }
        }
        Ok(())
    }

    fn send(&self, transmit: &quinn_proto::Transmit) -> io::Result<()> {
        let contents = &self.sending[..transmit.size];
        let transmit = Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.map(to_udp),
            contents,
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        self.state.try_send(self.socket.get_ref().into(), &transmit)
    }
}

fn to_proto(ecn: quinn_udp::EcnCodepoint) -> EcnCodepoint {
    match ecn {
        quinn_udp::EcnCodepoint::Ect0 => EcnCodepoint::Ect0,
        quinn_udp::EcnCodepoint::Ect1 => EcnCodepoint::Ect1,
        quinn_udp::EcnCodepoint::Ce => EcnCodepoint::Ce,
    }
}

fn to_udp(ecn: EcnCodepoint) -> quinn_udp::EcnCodepoint {
    match ecn {
        EcnCodepoint::Ect0 => quinn_udp::EcnCodepoint::Ect0,
        EcnCodepoint::Ect1 => quinn_udp::EcnCodepoint::Ect1,
        EcnCodepoint::Ce => quinn_udp::EcnCodepoint::Ce,
    }
}

#[cfg(test)]
mod tests;
