//! The addresses that a node announces because its user says so.

use scp2p_proto::io::Host;
use scp2p_proto::wire::{BootstrapAddr, PeerAddr};

use crate::settings::{SettingError, is_announceable};

/// Looks up the names among the addresses to announce.
///
/// # Errors
/// A name leads nowhere, or to an address that cannot be announced.
pub async fn resolve(announce: &[BootstrapAddr]) -> Result<Vec<PeerAddr>, SettingError> {
    let mut found = Vec::new();
    for address in announce {
        let failed = |reason: String| SettingError::Unresolved {
            address: address.to_string(),
            reason,
        };
        let ips = match &address.host {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => {
                let sockets = smol::net::resolve((&**name, address.port)).await;
                let sockets = sockets.map_err(|error| failed(error.to_string()))?;
                sockets.iter().map(|socket| socket.ip()).collect()
            }
        };
        if let Some(ip) = ips.iter().find(|ip| !is_announceable(**ip)) {
            return Err(failed(format!(
                "its address is {ip}, which nobody can dial"
            )));
        }
        if ips.is_empty() {
            return Err(failed("the name has no address".to_owned()));
        }
        let transports = address.transport.into_iter();
        found.extend(transports.flat_map(|transport| {
            ips.iter().map(move |ip| PeerAddr {
                ip: *ip,
                port: address.port,
                transport,
                key: None,
                relay_via: None,
            })
        }));
    }
    Ok(found)
}
