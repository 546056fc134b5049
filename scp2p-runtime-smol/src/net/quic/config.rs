//! What our QUIC endpoints announce and allow.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::congestion::CubicConfig;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::crypto::{CryptoError, HmacKey};
use quinn_proto::{
    ClientConfig, EndpointConfig, HashedConnectionIdGenerator, IdleTimeout, MtuDiscoveryConfig,
    ServerConfig, TransportConfig, VarInt,
};

use super::super::half_open::is_loopback;
use super::super::mtu::Mtus;
use super::super::tls::Identity;
use super::path::Watching;

/// Silence after which a connection is given up, as deployed peers announce it.
const IDLE: Duration = Duration::from_secs(30);
/// Deployed clients send no keep-alive of their own.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// What a stream may hold unread: 40 MiB/s at a round trip of 100 ms.
const STREAM_WINDOW: u32 = 4 << 20;
/// What a new connection may hold unread. Handshakes need a few KiB, and strangers get no more.
const FIRST_WINDOW: u32 = 256 << 10;
/// What a connection may hold unread once the node reads from it in earnest: both
/// streams' windows, so that a full bulk lane does not stop control.
pub(super) const FULL_WINDOW: u32 = 2 * STREAM_WINDOW + FIRST_WINDOW;
/// Unacknowledged bytes kept for retransmission. More than a peer of ours has window for on its
/// bulk lane, so that control frames always find a place.
const SEND_WINDOW: u64 = 12 << 20;
/// Packets that may be under way before anything was acknowledged.
const INITIAL_PACKETS: u64 = 10;
/// The largest datagram payload that is accepted; the protocol's own limit.
const PAYLOAD_MAX: u16 = 65_527;
/// IPv6 and UDP headers.
const HEADERS: u16 = 48;

/// The settings of one endpoint.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) endpoint: Arc<EndpointConfig>,
    server: [Arc<ServerConfig>; 2],
    client: [ClientConfig; 2],
}

impl Settings {
    /// The seed makes connection ids and the like reproducible.
    pub(super) fn new(identity: &Identity, mtus: Mtus, seed: [u8; 32]) -> Settings {
        let server = QuicServerConfig::try_from(identity.server.clone())
            .expect("the identity has the suite of initial packets");
        let client = QuicClientConfig::try_from(identity.client.clone())
            .expect("the identity has the suite of initial packets");
        let (server, client) = (Arc::new(server), Arc::new(client));
        let kinds = [(mtus.loopback, true), (mtus.network, false)]
            .map(|(mtu, is_loopback)| (mtu.saturating_sub(HEADERS), is_loopback));

        let mut endpoint = EndpointConfig::default();
        endpoint.rng_seed(Some(seed));
        if let Some(secret) = identity.memory {
            remember(&mut endpoint, secret);
        }
        endpoint
            .max_udp_payload_size(PAYLOAD_MAX)
            .expect("the protocol's limit is within its bounds");
        Settings {
            endpoint: Arc::new(endpoint),
            server: kinds.map(|(payload_max, is_loopback)| {
                let mut config = ServerConfig::with_crypto(server.clone());
                config.transport_config(Arc::new(transport(payload_max, is_loopback, 1)));
                Arc::new(config)
            }),
            client: kinds.map(|(payload_max, is_loopback)| {
                let mut config = ClientConfig::new(client.clone());
                config.transport_config(Arc::new(transport(payload_max, is_loopback, 0)));
                config
            }),
        }
    }

    /// For a connection that this address opens.
    pub(super) fn server(&self, remote: IpAddr) -> Arc<ServerConfig> {
        self.server[usize::from(!is_loopback(remote))].clone()
    }

    /// For a connection that we open to this address.
    pub(super) fn client(&self, remote: IpAddr) -> ClientConfig {
        self.client[usize::from(!is_loopback(remote))].clone()
    }
}

/// Has the endpoint know its connections of other runs with this secret: their ids, and the tokens by which their other
/// ends believe that they are over (RFC 9000 §10.3).
fn remember(endpoint: &mut EndpointConfig, secret: [u8; 32]) {
    let key = blake3::derive_key("scp2p 2026 QUIC connection ids", &secret);
    let [a, b, c, d, e, f, g, h, ..] = key;
    let key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    endpoint.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)));
    let key = blake3::derive_key("scp2p 2026 QUIC stateless resets", &secret);
    endpoint.reset_key(Arc::new(ResetKey(key)));
}

/// Makes the tokens of stateless resets.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        let mut bytes = blake3::Hasher::new_keyed(&self.0);
        bytes.update(data).finalize_xof().fill(signature);
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let right = blake3::keyed_hash(&self.0, data);
        // In constant time.
        let given = <[u8; blake3::OUT_LEN]>::try_from(signature).map_err(|_| CryptoError)?;
        match right == given {
            true => Ok(()),
            false => Err(CryptoError),
        }
    }
}

/// `bidi` is how many bidirectional streams the remote may open: the initiator opens the control
/// lane. The largest packets of loopback are known and need not be searched for.
fn transport(payload_max: u16, is_loopback: bool, bidi: u32) -> TransportConfig {
    let idle = IdleTimeout::try_from(IDLE).expect("the idle time is in range");
    let mut config = TransportConfig::default();
    let mut cubic = CubicConfig::default();
    if is_loopback {
        // The default window may be smaller than one such packet, which then never leaves.
        cubic.initial_window(INITIAL_PACKETS * u64::from(payload_max));
        config.initial_mtu(payload_max).mtu_discovery_config(None);
    } else {
        let mut mtu_discovery = MtuDiscoveryConfig::default();
        mtu_discovery.upper_bound(payload_max);
        config.mtu_discovery_config(Some(mtu_discovery));
    }
    config
        .congestion_controller_factory(Arc::new(Watching(Arc::new(cubic))))
        .max_concurrent_bidi_streams(VarInt::from_u32(bidi))
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(FIRST_WINDOW))
        .send_window(SEND_WINDOW)
        .initial_rtt(Duration::from_millis(100));
    config
}
