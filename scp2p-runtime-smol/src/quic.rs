//! QUIC links apart from sockets and clocks, for other drivers: datagrams and instants in, datagrams and link events out.
//!
//! [`QuicLinks`] are all QUIC links of one UDP socket. Its owner gives it received datagrams, what a node asks for, and
//! the time; pops events until there are none, then datagrams to send until there are none; and comes back with the next
//! input or at [`QuicLinks::deadline`]. Of instants only the differences matter, so time may be made up.
//!
//! ```
//! use std::net::SocketAddr;
//! use std::time::Instant;
//!
//! use bytes::BytesMut;
//! use scp2p_proto::id::LinkId;
//! use scp2p_proto::io::LinkEvent;
//! use scp2p_runtime_smol::quic::{AcceptedIds, Datagram, Identity, Mtus, OPENING_TIME_MAX, QuicLinks};
//!
//! let identity = Identity::generate()?;
//! let mtus = Mtus { loopback: 1500, network: 1500 };
//! let addrs: [SocketAddr; 2] = ["192.0.2.1:7000".parse()?, "192.0.2.2:7000".parse()?];
//! let mut ends = [1, 2].map(|seed| QuicLinks::new(&identity, mtus, AcceptedIds::default(), [seed; 32]));
//!
//! let now = Instant::now();
//! ends[0].dial(now, LinkId(7), addrs[1], now + OPENING_TIME_MAX);
//! let mut buffer = Vec::new();
//! let dialed = loop {
//!     if let Some((id, event)) = ends[0].poll_event(now) {
//!         break (id, event);
//!     }
//!     for from in [0, 1] {
//!         while let Some(transmit) = ends[from].poll_transmit(now, 1, &mut buffer) {
//!             let payload = BytesMut::from(&buffer[..transmit.size]);
//!             let datagram = Datagram { remote: addrs[from], local: None, ecn: None, payload };
//!             ends[1 - from].receive(now, datagram);
//!             buffer.clear();
//!         }
//!     }
//! };
//! assert!(matches!(dialed, (LinkId(7), LinkEvent::Dialed(_))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use quinn_proto::{EcnCodepoint, Transmit};

pub use crate::net::mtu::Mtus;
pub use crate::net::quic::{Datagram, QuicLinks};
pub use crate::net::tls::{Identity, IdentityError};
pub use crate::net::{AcceptedIds, OPENING_TIME_MAX};
