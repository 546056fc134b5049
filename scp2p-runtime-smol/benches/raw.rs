//! What the transports do with nothing above them: one QUIC stream driven over quinn-proto and one
//! TLS stream by rustls, each between two threads over loopback.
//!
//! `cargo bench -p scp2p-runtime-smol --bench raw -- [MiB]`

use std::future::{Future, poll_fn};
use std::io::{IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use bytes::{Bytes, BytesMut};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig,
    Event, MtuDiscoveryConfig, ServerConfig, StreamEvent, StreamId, TransportConfig, VarInt,
};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

/// Bytes written at a time, as many as a chunk of content has.
const PIECE: usize = 256 << 10;

fn main() {
    let mib = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(1024u64);
    let bytes = mib << 20;
    report("quic, library defaults", mib, quic(bytes, false));
    report("quic, large datagrams and windows", mib, quic(bytes, true));
    report("tls", mib, tls(bytes));
}

fn report(name: &str, mib: u64, (wall, cpu): (Duration, f64)) {
    let rate = mib as f64 / wall.as_secs_f64();
    println!(
        "{name}: {rate:.0} MiB/s, {:.2} CPU seconds per GiB",
        cpu * 1024.0 / mib as f64
    );
}

/// How long the receiver took from its first byte, and the processor seconds of both ends.
fn timed(receive: impl FnOnce() -> Duration) -> (Duration, f64) {
    let before = cpu_seconds();
    let wall = receive();
    (wall, cpu_seconds() - before)
}

/// Processor seconds of this process so far.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Moves so many bytes over one unidirectional QUIC stream.
fn quic(bytes: u64, large: bool) -> (Duration, f64) {
    timed(|| {
        let (server, client) = crypto();
        let transport = Arc::new(transport(large));
        let server = QuicServerConfig::try_from(server).expect("a suite for initial packets");
        let mut server = ServerConfig::with_crypto(Arc::new(server));
        server.transport_config(transport.clone());
        let client = QuicClientConfig::try_from(client).expect("a suite for initial packets");
        let mut client = ClientConfig::new(Arc::new(client));
        client.transport_config(transport);

        let receiver = Peer::new(Some(server), large);
        let to = receiver.socket.get_ref().local_addr().expect("an address");
        let sender = Peer::new(None, large);
        let sending = thread::spawn(move || sender.send(to, client, bytes));
        let wall = receiver.receive(bytes);
        sending.join().expect("the sender");
        wall
    })
}

fn transport(large: bool) -> TransportConfig {
    let mut config = TransportConfig::default();
    if large {
        let mut mtu = MtuDiscoveryConfig::default();
        mtu.upper_bound(65_487);
        config
            .mtu_discovery_config(Some(mtu))
            .stream_receive_window(VarInt::from_u32(4 << 20))
            .send_window(12 << 20);
    }
    config
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
    fn new(server: Option<ServerConfig>, large: bool) -> Peer {
        let mut config = EndpointConfig::default();
        if large {
            config.max_udp_payload_size(65_527).expect("a valid size");
        }
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

    fn receive(mut self, bytes: u64) -> Duration {
        let mut stream: Option<StreamId> = None;
        let mut first = None;
        let mut got = 0;
        self.run(|connection, event| {
            if let Some(Event::Stream(StreamEvent::Opened { dir: Dir::Uni })) = event {
                stream = connection.streams().accept(Dir::Uni);
            }
            if let Some(id) = stream
                && let Ok(mut chunks) = connection.recv_stream(id).read(true)
            {
                while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                    first.get_or_insert_with(Instant::now);
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
        first.map_or(Duration::ZERO, |first| first.elapsed())
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
fn tls(bytes: u64) -> (Duration, f64) {
    timed(|| {
        let (server, client) = crypto();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let to = listener.local_addr().expect("an address");
        let sending = thread::spawn(move || {
            let socket = TcpStream::connect(to).expect("a connection");
            socket.set_nodelay(true).expect("a socket");
            let name = ServerName::try_from("localhost").expect("a name");
            let tls = rustls::ClientConnection::new(client, name).expect("a client");
            let mut stream = rustls::StreamOwned::new(tls, socket);
            let piece = vec![7; PIECE];
            let mut left = bytes;
            while left > 0 {
                let len = piece.len().min(left as usize);
                stream.write_all(&piece[..len]).expect("an open stream");
                left -= len as u64;
            }
            stream.flush().expect("an open stream");
        });
        let (socket, _) = listener.accept().expect("a connection");
        let tls = rustls::ServerConnection::new(server).expect("a server");
        let mut stream = rustls::StreamOwned::new(tls, socket);
        let mut buffer = vec![0; PIECE];
        let mut got = stream.read(&mut buffer).expect("an open stream") as u64;
        let first = Instant::now();
        while got < bytes {
            got += stream.read(&mut buffer).expect("an open stream") as u64;
        }
        let wall = first.elapsed();
        sending.join().expect("the sender");
        wall
    })
}

/// TLS 1.3 settings of both ends with a certificate made on the spot.
fn crypto() -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(ring::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a certificate");
    // Tickets that the sender never reads would make its close a reset.
    server.send_tls13_tickets = 0;
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// Takes any certificate: only speed is of interest here.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
