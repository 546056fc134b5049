//! What the transports do with nothing above them: one QUIC stream driven over quinn-proto and one
//! TLS stream by rustls, each between two threads over loopback.

use std::future::{Future, poll_fn};
use std::io::{self, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Instant;

use async_io::{Async, Timer};
use bytes::{Bytes, BytesMut};
use quinn_proto::congestion::CubicConfig;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig,
    Event, ServerConfig, StreamEvent, StreamId, TransportConfig, VarInt,
};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use rustls::pki_types::ServerName;
use socket2::{Domain, Socket, Type};

use super::tls;

/// Bytes written at a time, as many as a chunk of content has.
const PIECE: usize = 256 << 10;
/// What a stream may hold unread, as nodes have it.
const WINDOW: u32 = 4 << 20;
/// IPv6 and UDP headers.
const HEADERS: u16 = 48;

/// Moves so many bytes over one unidirectional QUIC stream.
pub fn quic(bytes: u64, packet_max: u16) {
    let server = QuicServerConfig::try_from(tls::server()).expect("an initial suite");
    let mut server = ServerConfig::with_crypto(Arc::new(server));
    server.transport_config(transport(packet_max));
    let client = QuicClientConfig::try_from(tls::client()).expect("an initial suite");
    let mut client = ClientConfig::new(Arc::new(client));
    client.transport_config(transport(packet_max));

    let receiver = Peer::new(Some(server));
    let to = receiver.socket.get_ref().local_addr().expect("bound");
    let sender = Peer::new(None);
    let sending = thread::spawn(move || sender.send(to, client, bytes));
    receiver.receive(bytes);
    sending.join().expect("the sender");
}

fn transport(packet_max: u16) -> Arc<TransportConfig> {
    let mtu = packet_max - HEADERS;
    let mut cubic = CubicConfig::default();
    cubic.initial_window(10 * u64::from(mtu));
    let mut config = TransportConfig::default();
    config
        .initial_mtu(mtu)
        .mtu_discovery_config(None)
        .congestion_controller_factory(Arc::new(cubic))
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .send_window(3 * u64::from(WINDOW));
    Arc::new(config)
}

/// One end of a bare QUIC connection.
struct Peer {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    socket: Async<UdpSocket>,
    state: UdpSocketState,
    received: Vec<u8>,
    unsent: Option<(quinn_proto::Transmit, Vec<u8>)>,
    timer: Timer,
}

impl Peer {
    fn new(server: Option<ServerConfig>) -> Peer {
        let mut config = EndpointConfig::default();
        config
            .max_udp_payload_size(u16::MAX - 8)
            .expect("what UDP takes");
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let state = UdpSocketState::new((&socket).into()).expect("a socket");
        let _ = state.set_recv_buffer_size((&socket).into(), 4 << 20);
        let _ = state.set_send_buffer_size((&socket).into(), 4 << 20);
        Peer {
            endpoint: Endpoint::new(Arc::new(config), server.map(Arc::new), true, None),
            connection: None,
            socket: Async::new(socket).expect("a socket"),
            state,
            received: vec![0; 65_535 * BATCH_SIZE],
            unsent: None,
            timer: Timer::never(),
        }
    }

    fn send(mut self, to: SocketAddr, config: ClientConfig, bytes: u64) {
        self.connection = Some(
            self.endpoint
                .connect(Instant::now(), config, to, "localhost")
                .expect("a dial"),
        );
        let piece = Bytes::from(vec![7; PIECE]);
        let mut left = bytes;
        let mut stream = None;
        let mut rest = [Bytes::new()];
        self.run(|connection, event| match event {
            Some(Event::ConnectionLost { .. }) => true,
            Some(Event::Connected) => {
                stream = connection.streams().open(Dir::Uni);
                false
            }
            _ => {
                while let Some(id) = stream {
                    if rest[0].is_empty() {
                        rest[0] = piece.slice(..piece.len().min(left as usize));
                        left -= rest[0].len() as u64;
                    }
                    if rest[0].is_empty() {
                        let _ = connection.send_stream(id).finish();
                        stream = None;
                    } else if connection.send_stream(id).write_chunks(&mut rest).is_err() {
                        break;
                    }
                }
                false
            }
        });
    }

    fn receive(mut self, bytes: u64) {
        let mut stream: Option<StreamId> = None;
        let mut got = 0;
        self.run(|connection, event| {
            if let Some(Event::Stream(StreamEvent::Opened { dir: Dir::Uni })) = event {
                stream = connection.streams().accept(Dir::Uni);
            }
            if let Some(id) = stream
                && let Ok(mut chunks) = connection.recv_stream(id).read(true)
            {
                while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                    got += chunk.bytes.len() as u64;
                }
                let _ = chunks.finalize();
            }
            let done = got == bytes;
            if done {
                connection.close(Instant::now(), VarInt::from_u32(0), Bytes::new());
            }
            done
        });
    }

    /// Drives the connection until the application says that it is done.
    fn run(&mut self, mut app: impl FnMut(&mut Connection, Option<Event>) -> bool) {
        smol::block_on(poll_fn(|cx| {
            loop {
                let now = Instant::now();
                let mut blocked = false;
                match self.take(now) {
                    Ok(()) => {}
                    Err(_) => blocked = self.socket.poll_readable(cx).is_pending(),
                }
                let Some((handle, connection)) = &mut self.connection else {
                    if blocked {
                        return Poll::Pending;
                    }
                    continue;
                };
                connection.handle_timeout(now);
                let mut done = false;
                loop {
                    while let Some(event) = connection.poll_endpoint_events() {
                        if let Some(event) = self.endpoint.handle_event(*handle, event) {
                            connection.handle_event(event);
                        }
                    }
                    let event = connection.poll();
                    let last = event.is_none();
                    done |= app(connection, event);
                    if last || done {
                        break;
                    }
                }
                let sent = self.put(now);
                if done {
                    return Poll::Ready(());
                }
                if !sent && self.socket.poll_writable(cx).is_ready() {
                    continue;
                }
                if blocked {
                    let Some((_, connection)) = &mut self.connection else {
                        continue;
                    };
                    if let Some(due) = connection.poll_timeout() {
                        self.timer.set_at(due);
                        if Pin::new(&mut self.timer).poll(cx).is_ready() {
                            continue;
                        }
                    }
                    return Poll::Pending;
                }
            }
        }));
    }

    /// Receives one batch.
    fn take(&mut self, now: Instant) -> std::io::Result<()> {
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let mut parts = self.received.chunks_mut(65_535);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
        let count = self
            .state
            .recv(self.socket.get_ref().into(), &mut slices, &mut meta)?;
        for (meta, part) in meta.iter().zip(self.received.chunks(65_535)).take(count) {
            for datagram in part[..meta.len].chunks(meta.stride.max(1)) {
                let mut answer = Vec::new();
                let data = BytesMut::from(datagram);
                match self
                    .endpoint
                    .handle(now, meta.addr, meta.dst_ip, None, data, &mut answer)
                {
                    Some(DatagramEvent::ConnectionEvent(_, event)) => {
                        if let Some((_, connection)) = &mut self.connection {
                            connection.handle_event(event);
                        }
                    }
                    Some(DatagramEvent::NewConnection(incoming)) => {
                        let accepted = self.endpoint.accept(incoming, now, &mut answer, None);
                        self.connection = accepted.ok();
                    }
                    Some(DatagramEvent::Response(_)) | None => {}
                }
            }
        }
        Ok(())
    }

    /// Sends what there is. False if the socket is full.
    fn put(&mut self, now: Instant) -> bool {
        let Some((_, connection)) = &mut self.connection else {
            return true;
        };
        loop {
            if self.unsent.is_none() {
                let mut buffer = Vec::with_capacity(65_535);
                let segments = (65_507 / usize::from(connection.current_mtu())).max(1);
                let segments = segments.min(self.state.max_gso_segments());
                let Some(transmit) = connection.poll_transmit(now, segments, &mut buffer) else {
                    return true;
                };
                self.unsent = Some((transmit, buffer));
            }
            let Some((transmit, buffer)) = &self.unsent else {
                return true;
            };
            let datagrams = quinn_udp::Transmit {
                destination: transmit.destination,
                ecn: None,
                contents: &buffer[..transmit.size],
                segment_size: transmit.segment_size,
                src_ip: transmit.src_ip,
            };
            match self
                .state
                .try_send(self.socket.get_ref().into(), &datagrams)
            {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
                Ok(()) | Err(_) => self.unsent = None,
            }
        }
    }
}

/// Moves so many bytes over one TLS stream.
pub fn tls(bytes: u64) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let to = listener.local_addr().expect("bound");
    let sending = thread::spawn(move || {
        let mut stream = dial_tls(to).expect("a connection");
        let piece = vec![7; PIECE];
        let mut left = bytes;
        while left > 0 {
            let len = left.min(PIECE as u64);
            stream.write_all(&piece[..len as usize]).expect("open");
            left -= len;
        }
        stream.flush().expect("open");
    });
    let (socket, _) = listener.accept().expect("a connection");
    let server = rustls::ServerConnection::new(tls::server()).expect("a server");
    let mut stream = rustls::StreamOwned::new(server, socket);
    let mut buffer = vec![0; PIECE];
    let mut got = 0;
    while got < bytes {
        got += stream.read(&mut buffer).expect("open") as u64;
    }
    sending.join().expect("the sender");
}

/// Opens a TLS stream.
pub fn dial_tls(
    to: SocketAddr,
) -> io::Result<rustls::StreamOwned<rustls::ClientConnection, TcpStream>> {
    dial_tls_from(Ipv4Addr::LOCALHOST, to)
}

/// Opens a TLS stream from an address of this host.
pub fn dial_tls_from(
    from: Ipv4Addr,
    to: SocketAddr,
) -> io::Result<rustls::StreamOwned<rustls::ClientConnection, TcpStream>> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&to.into())?;
    let socket = TcpStream::from(socket);
    socket.set_nodelay(true)?;
    let name = ServerName::try_from(tls::NAME).map_err(io::Error::other)?;
    let client = rustls::ClientConnection::new(tls::client(), name).map_err(io::Error::other)?;
    let mut stream = rustls::StreamOwned::new(client, socket);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}
