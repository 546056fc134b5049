//! Connections on which nothing is said.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint};
use scp2p_proto::io::Transport;
use socket2::{Domain, Socket, Type};
use tokio::runtime::{Builder, Runtime};

use crate::played::tls;

/// A connection on which nothing is said as long as this is there.
pub enum Silent {
    /// Not even TLS.
    Tcp(TcpStream),
    /// QUIC's own handshake is done; no stream is opened.
    Quic {
        /// The connection.
        connection: Connection,
        /// Its socket.
        endpoint: Endpoint,
        /// Answers what keeps it up.
        runtime: Runtime,
    },
}

impl Silent {
    /// Connects from this address of loopback.
    pub fn connect(from: IpAddr, to: SocketAddr, transport: Transport) -> Silent {
        let from = SocketAddr::new(from, 0);
        match transport {
            Transport::Tcp => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
                socket.bind(&from.into()).expect("an address of loopback");
                socket.connect(&to.into()).expect("it listens");
                Silent::Tcp(socket.into())
            }
            Transport::Quic => {
                let mut runtime = Builder::new_multi_thread();
                let runtime = runtime.worker_threads(1).enable_all().build();
                let runtime = runtime.expect("a runtime");
                let tls = QuicClientConfig::try_from(tls::client_config()).expect("TLS 1.3");
                let config = ClientConfig::new(Arc::new(tls));
                let (endpoint, connection) = runtime.block_on(async {
                    let endpoint = Endpoint::client(from).expect("an address of loopback");
                    let connecting = endpoint.connect_with(config, to, "localhost");
                    let connection = connecting.expect("an address").await;
                    (endpoint, connection.expect("it listens"))
                });
                Silent::Quic {
                    connection,
                    endpoint,
                    runtime,
                }
            }
        }
    }

    /// Ends it, and says so where the transport can.
    pub fn close(self) {
        match self {
            Silent::Tcp(_) => {}
            Silent::Quic {
                connection,
                endpoint,
                runtime,
            } => {
                connection.close(0_u8.into(), b"");
                runtime.block_on(endpoint.wait_idle());
            }
        }
    }
}
