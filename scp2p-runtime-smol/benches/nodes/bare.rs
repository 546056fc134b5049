//! What the transports do with nothing above them: one QUIC stream of quinn, one TLS stream of
//! rustls, each between two threads.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AsyncTimer, AsyncUdpSocket, ClientConfig, Endpoint, EndpointConfig, ServerConfig, SmolRuntime,
    TransportConfig, VarInt,
};
use rustls::pki_types::ServerName;
use smol::Executor;
use socket2::SockRef;

use super::tls;

/// Bytes written at a time, as many as a chunk of content has.
const PIECE: usize = 256 << 10;
/// What a stream may hold unread, as nodes have it.
const WINDOW: u32 = 4 << 20;
/// The most that UDP over IPv6 takes of a packet.
const HEADERS: u16 = 48;

/// Moves so many bytes over one unidirectional QUIC stream.
pub fn quic(bytes: u64, packet_max: u16) {
    let (told, address) = std::sync::mpsc::channel();
    let receiving = thread::spawn(move || {
        end(|runtime| async move {
            let crypto = QuicServerConfig::try_from(tls::server()).expect("an initial suite");
            let mut server = ServerConfig::with_crypto(Arc::new(crypto));
            server.transport_config(transport(packet_max));
            let endpoint = endpoint(runtime, Some(server), packet_max);
            told.send(endpoint.local_addr().expect("bound"))
                .expect("the sender");
            let connection = endpoint
                .accept()
                .await
                .expect("open")
                .await
                .expect("a peer");
            let mut stream = connection.accept_uni().await.expect("a stream");
            let mut got = 0;
            while let Some(chunk) = stream.read_chunk(usize::MAX, true).await.expect("bytes") {
                got += chunk.bytes.len() as u64;
            }
            assert_eq!(got, bytes);
            connection.close(VarInt::from_u32(0), b"");
            endpoint.wait_idle().await;
        });
    });
    let to = address.recv().expect("the receiver");
    end(|runtime| async move {
        let endpoint = endpoint(runtime, None, packet_max);
        let connection = endpoint
            .connect_with(quic_client(packet_max), to, tls::NAME)
            .expect("a dial")
            .await
            .expect("a connection");
        let mut stream = connection.open_uni().await.expect("a stream");
        let piece = Bytes::from(vec![7; PIECE]);
        let mut left = bytes;
        while left > 0 {
            let len = left.min(PIECE as u64);
            let piece = piece.slice(..len as usize);
            stream.write_chunk(piece).await.expect("an open stream");
            left -= len;
        }
        stream.finish().expect("an open stream");
        connection.closed().await;
    });
    receiving.join().expect("the receiver");
}

/// A client's settings.
pub fn quic_client(packet_max: u16) -> ClientConfig {
    let crypto = QuicClientConfig::try_from(tls::client()).expect("an initial suite");
    let mut client = ClientConfig::new(Arc::new(crypto));
    client.transport_config(transport(packet_max));
    client
}

fn transport(packet_max: u16) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .initial_mtu(packet_max - HEADERS)
        .mtu_discovery_config(None)
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .send_window(3 * u64::from(WINDOW));
    Arc::new(config)
}

/// A socket on loopback with large buffers, as nodes have them.
pub fn endpoint(runtime: OneThread, server: Option<ServerConfig>, packet_max: u16) -> Endpoint {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let _ = SockRef::from(&socket).set_recv_buffer_size(WINDOW as usize);
    let _ = SockRef::from(&socket).set_send_buffer_size(WINDOW as usize);
    let mut config = EndpointConfig::default();
    config
        .max_udp_payload_size(packet_max - 8)
        .expect("what UDP takes");
    Endpoint::new(config, server, socket, Arc::new(runtime)).expect("a socket")
}

/// Runs one end, with all that the library starts for it, on this thread.
pub fn end<F: Future<Output = ()>>(run: impl FnOnce(OneThread) -> F) {
    let executor = Arc::new(Executor::new());
    let app = run(OneThread(executor.clone()));
    smol::block_on(executor.run(app));
}

/// Gives the library's tasks to one executor.
#[derive(Debug, Clone)]
pub struct OneThread(Arc<Executor<'static>>);

impl quinn::Runtime for OneThread {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        SmolRuntime.new_timer(at)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(task).detach();
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        SmolRuntime.wrap_udp_socket(socket)
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
    let socket = TcpStream::connect(to)?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from(tls::NAME).map_err(io::Error::other)?;
    let client = rustls::ClientConnection::new(tls::client(), name).map_err(io::Error::other)?;
    let mut stream = rustls::StreamOwned::new(client, socket);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}
