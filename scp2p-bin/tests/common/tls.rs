//! TLS 1.3 over TCP as peers speak it, blocking, for peers that a test plays itself.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, ServerConfig,
    ServerConnection, SignatureScheme,
};
use scp2p_proto::session::EXPORTER_LABEL;

/// The name that clients ask for.
const NAME: &str = "localhost";
/// Nobody whom a test talks to is silent for so long, unless it means to.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// One end of a TLS connection.
pub struct Channel {
    tls: Connection,
    tcp: TcpStream,
}

impl Channel {
    /// Dials.
    pub fn dial(to: SocketAddr) -> io::Result<Channel> {
        let name = ServerName::try_from(NAME).expect("a name");
        let tls = ClientConnection::new(client_config(), name).map_err(other)?;
        Channel::open(tls.into(), TcpStream::connect(to)?)
    }

    /// The other end of one that was dialled.
    pub fn accept(tcp: TcpStream) -> io::Result<Channel> {
        let tls = ServerConnection::new(configs().server.clone()).map_err(other)?;
        Channel::open(tls.into(), tcp)
    }

    fn open(mut tls: Connection, mut tcp: TcpStream) -> io::Result<Channel> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(SILENCE_MAX))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(Channel { tls, tcp })
    }

    /// What both ends of this connection know and nobody else.
    pub fn exporter(&self) -> [u8; 32] {
        self.tls
            .export_keying_material([0; 32], EXPORTER_LABEL.as_bytes(), None)
            .expect("the handshake is over")
    }

    /// The other end.
    pub fn remote(&self) -> SocketAddr {
        self.tcp.peer_addr().expect("connected")
    }

    /// Waits for nothing from now on: what would is [`ErrorKind::WouldBlock`].
    pub fn set_nonblocking(&self) -> io::Result<()> {
        self.tcp.set_nonblocking(true)
    }

    /// Sends all of these bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(bytes)?;
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.tcp) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// The next bytes, as many as are there; none at the end.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        loop {
            match self.tls.reader().read(&mut buffer) {
                Ok(len) => {
                    buffer.truncate(len);
                    return Ok(buffer);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.tls.read_tls(&mut self.tcp)?;
            self.tls.process_new_packets().map_err(other)?;
        }
    }
}

/// The bytes with which a client opens a TLS connection.
pub fn client_hello() -> Vec<u8> {
    let name = ServerName::try_from(NAME).expect("a name");
    let mut tls = ClientConnection::new(client_config(), name).expect("a client");
    let mut bytes = Vec::new();
    tls.write_tls(&mut bytes).expect("a vector takes all");
    bytes
}

/// That of a client that takes any certificate.
pub fn client_config() -> Arc<ClientConfig> {
    configs().client.clone()
}

struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

fn configs() -> &'static Configs {
    static CONFIGS: OnceLock<Configs> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let provider = Arc::new(ring::default_provider());
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .expect("the key is the certificate's");
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        Configs {
            client: Arc::new(client),
            server: Arc::new(server),
        }
    })
}

fn other(error: Error) -> io::Error {
    io::Error::other(error)
}

/// Takes every certificate and every signature.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
