//! Peers that a test plays itself, as the tests of the command do.

#[path = "../../scp2p-bin/tests/common/peer.rs"]
pub mod peer;
#[path = "../../scp2p-bin/tests/common/tls.rs"]
pub mod tls;
