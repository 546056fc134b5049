//! TLS 1.3 as SCP2P uses it: certificates carry no trust, the SCP2P handshake does.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};

/// The name that clients ask for and certificates carry (SPECIFICATION §1).
pub(crate) const SERVER_NAME: &str = "localhost";

/// Both sides' TLS settings with a certificate made for this run.
#[derive(Debug, Clone)]
pub struct Identity {
    /// For links that others open.
    pub(crate) server: Arc<ServerConfig>,
    /// For links that we open.
    pub(crate) client: Arc<ClientConfig>,
    /// See [`Identity::remembered`].
    pub(crate) memory: Option<[u8; 32]>,
}

/// Why no certificate could be made; the text is the library's.
#[derive(Debug)]
pub struct IdentityError(String);

impl std::error::Error for IdentityError {}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no TLS certificate could be made: {}", self.0)
    }
}

impl Identity {
    /// With a secret that outlives the process: by it QUIC endpoints know the connections of runs before, whose other ends
    /// are told that they are over when they send something, instead of waiting until they are idle for too long.
    pub fn remembered(self, secret: [u8; 32]) -> Identity {
        Identity {
            memory: Some(secret),
            ..self
        }
    }

    /// Makes a certificate: ECDSA P-256, self-signed.
    ///
    /// # Errors
    /// The library's, if it finds no entropy.
    pub fn generate() -> Result<Identity, IdentityError> {
        let made = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()])
            .map_err(|error| IdentityError(error.to_string()))?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(provider());
        let failed = |error: Error| IdentityError(error.to_string());

        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .map_err(failed)?;
        // Sessions are never resumed: a resumed one has no fresh key exchange to bind to.
        server.send_tls13_tickets = 0;

        let verifier = Arc::new(AnyCertificate(provider.clone()));
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        Ok(Identity {
            server: Arc::new(server),
            client: Arc::new(client),
            memory: None,
        })
    }
}

/// Ring with the cheapest of the strong suites first.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![
        TLS13_AES_128_GCM_SHA256,
        TLS13_AES_256_GCM_SHA384,
        TLS13_CHACHA20_POLY1305_SHA256,
    ];
    provider
}

/// Takes every certificate whose key signed this handshake. Who the peer is, is
/// settled by the SCP2P handshake, which is bound to this channel.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
