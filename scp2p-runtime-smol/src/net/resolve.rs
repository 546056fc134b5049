//! From the host part of a dial to addresses.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Instant;

use async_io::Timer;
use futures_lite::future;
use scp2p_proto::io::{Dial, DialError, Host};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// The addresses to try in turn, never none.
pub(crate) async fn resolve(dial: &Dial, until: Instant) -> Result<Vec<SocketAddr>, DialError> {
    let name = match &dial.host {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, dial.port)]),
        Host::Name(name) => name.to_string(),
    };
    let port = dial.port;
    let lookup = async {
        let found = smol::unblock(move || (name, port).to_socket_addrs()).await;
        // The system says in many ways that a name has no address; telling them apart helps nobody.
        let mut found: Vec<SocketAddr> = found.map_err(|_| DialError::NoSuchHost)?.collect();
        found.truncate(ADDRESSES_MAX);
        if found.is_empty() {
            Err(DialError::NoSuchHost)
        } else {
            Ok(found)
        }
    };
    let late = async {
        Timer::at(until).await;
        Err(DialError::TimedOut)
    };
    future::or(lookup, late).await
}

/// When to give up on the next of so many addresses, all of which must be tried until then.
pub(crate) fn share_of_time(now: Instant, until: Instant, addresses: usize) -> Instant {
    let left = until.saturating_duration_since(now);
    now + left / u32::try_from(addresses.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use scp2p_proto::io::Transport;
    use std::time::Duration;

    fn dial(host: Host) -> Dial {
        Dial {
            transport: Transport::Tcp,
            host,
            port: 7001,
        }
    }

    /// A literal address needs no resolver, `localhost` has an address, and nonsense has none.
    #[test]
    fn names_become_addresses() {
        smol::block_on(async {
            let until = Instant::now() + Duration::from_secs(20);
            let ip = "192.0.2.1".parse().expect("an address");
            let literal = resolve(&dial(Host::Ip(ip)), until).await;
            assert_eq!(literal, Ok(vec![SocketAddr::new(ip, 7001)]));
            let local = resolve(&dial(Host::Name("localhost".into())), until).await;
            assert!(
                local
                    .expect("localhost")
                    .iter()
                    .all(|addr| addr.ip().is_loopback())
            );
            let none = resolve(&dial(Host::Name("not a host name".into())), until).await;
            assert_eq!(none, Err(DialError::NoSuchHost));
        });
    }
}
