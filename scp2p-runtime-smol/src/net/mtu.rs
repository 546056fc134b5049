//! The largest packets that this host sends.

use std::fs;
use std::path::Path;

/// What is assumed where an interface does not tell.
const ETHERNET: u16 = 1500;
/// What every IPv6 path takes, and QUIC needs.
const LEAST: u16 = 1280;

/// The largest IP packets towards loopback and towards everything else, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mtus {
    /// To this host itself.
    pub loopback: u16,
    /// To other hosts: the largest of all interfaces.
    pub network: u16,
}

impl Mtus {
    /// As the interfaces tell.
    pub fn of_interfaces() -> Mtus {
        let mut mtus = Mtus {
            loopback: ETHERNET,
            network: LEAST,
        };
        let Ok(interfaces) = fs::read_dir("/sys/class/net") else {
            mtus.network = ETHERNET;
            return mtus;
        };
        for interface in interfaces.flatten() {
            let mtu = mtu_of(&interface.path()).unwrap_or(ETHERNET).max(LEAST);
            if interface.file_name() == "lo" {
                mtus.loopback = mtu;
            } else {
                mtus.network = mtus.network.max(mtu);
            }
        }
        mtus
    }

    /// The same, but no larger than this.
    pub fn at_most(self, bytes: u16) -> Mtus {
        Mtus {
            loopback: self.loopback.min(bytes).max(LEAST),
            network: self.network.min(bytes).max(LEAST),
        }
    }
}

/// Loopback's is more than 16 bits hold.
fn mtu_of(interface: &Path) -> Option<u16> {
    let text = fs::read_to_string(interface.join("mtu")).ok()?;
    let mtu: u32 = text.trim().parse().ok()?;
    Some(u16::try_from(mtu).unwrap_or(u16::MAX))
}
