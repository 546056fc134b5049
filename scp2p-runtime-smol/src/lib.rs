//! Drives the SCP2P core on real sockets and disks.

mod disk;

pub use disk::{PAGE_MAX, SearchError, SearchHit, SearchPage, SearchQuery};
