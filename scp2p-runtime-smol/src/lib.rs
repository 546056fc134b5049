//! Runs a SCP2P [`Node`](scp2p_proto::Node) on real sockets, disks and clocks, with smol and
//! quinn-proto.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use scp2p_runtime_smol::{Options, Runtime};
//!
//! let runtime = Runtime::start(Options::new("/var/lib/scp2p")).await?;
//! let status = runtime.handle().status().await?;
//! println!("{} peers", status.connected);
//! runtime.handle().shutdown().await?;
//! runtime.stopped().await;
//! # Ok(())
//! # }
//! ```
//!
//! The runtime brings its own threads, so its futures can be awaited from any executor.
#![forbid(unsafe_code)]

mod addresses;
mod clock;
mod disk;
mod driver;
mod entropy;
mod event_log;
mod events;
mod handle;
mod net;
mod node_key;
mod options;
pub mod quic;
mod runtime;

pub use disk::{OpenError, PAGE_MAX, SearchError, SearchHit, SearchPage, SearchQuery};
pub use events::{EventStream, Numbered, Streamed};
pub use handle::{Handle, Published, Started, Subscribed, Synced};
pub use options::{DEFAULT_QUIC_PORT, DEFAULT_TCP_PORT, Listening, Options, StartError};
pub use runtime::Runtime;
