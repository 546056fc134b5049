//! The addresses of the host's interfaces.

use std::future::pending;
use std::io;
use std::net::IpAddr;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::OwnedFd;
use std::time::Duration;

use async_channel::Sender;
#[cfg(any(target_os = "linux", target_os = "android"))]
use async_io::Async;
use async_io::Timer;
use futures_lite::FutureExt;
#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::net::RecvFlags;
use scp2p_proto::io::HostEvent;

/// How often the addresses are looked at if nobody tells that they changed.
const INTERVAL: Duration = Duration::from_secs(30);
/// A host that goes from one network to another loses and gets several within a moment.
const SETTLING: Duration = Duration::from_millis(200);

/// Tells the addresses that others may reach, now and whenever they change.
pub(crate) async fn watch(events: Sender<HostEvent>) {
    let changes = Changes::listen()
        .inspect_err(|error| tracing::debug!(%error, "changes of addresses are not told"))
        .ok();
    let mut last = None;
    loop {
        match list() {
            Ok(mut found) => {
                found.retain(|ip| is_useful(*ip));
                found.sort_unstable();
                found.dedup();
                if last.as_ref() != Some(&found) {
                    last = Some(found.clone());
                    if events.send(HostEvent::Addresses(found)).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "cannot list the interfaces' addresses"),
        }
        let told = async {
            match &changes {
                Some(changes) => changes.next().await,
                None => pending().await,
            }
        };
        let looked = async {
            Timer::after(INTERVAL).await;
        };
        told.or(looked).await;
        Timer::after(SETTLING).await;
    }
}

/// What the kernel tells of addresses that come and go.
#[cfg(any(target_os = "linux", target_os = "android"))]
struct Changes(Async<OwnedFd>);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Changes {
    fn listen() -> io::Result<Changes> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, netlink, socket_with};
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // The routing protocol, which is number 0.
            None,
        )?;
        bind(
            &socket,
            &netlink::SocketAddrNetlink::new(0, rtnetlink::ADDRESS_GROUPS),
        )?;
        Async::new(socket).map(Changes)
    }

    /// Resolves after the next change; what was told until then is one.
    async fn next(&self) {
        if self.0.readable().await.is_err() {
            return pending().await;
        }
        let mut buffer = [0; 4096];
        // An error other than that there is no more says that something was missed, which is told this way too.
        while rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::DONTWAIT).is_ok() {}
    }
}

/// Elsewhere nobody tells.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
struct Changes;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Changes {
    fn listen() -> io::Result<Changes> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn next(&self) {
        pending().await
    }
}

/// Whether another host could reach the address.
fn is_useful(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(link_local || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
}

/// Asks the kernel over a netlink socket.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn list() -> io::Result<Vec<IpAddr>> {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // The routing protocol, which is number 0.
        None,
    )?;
    send(&socket, &rtnetlink::request(), SendFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let (len, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if len == 0 || rtnetlink::parse(&buffer[..len], &mut found) {
            return Ok(found);
        }
    }
}

/// Elsewhere: the addresses that packets to the world would come from. Nothing is sent.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn list() -> io::Result<Vec<IpAddr>> {
    use std::net::UdpSocket;
    let ways = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let mut found = Vec::new();
    for (from, to) in ways {
        let Ok(socket) = UdpSocket::bind(from) else {
            continue;
        };
        if socket.connect(to).is_ok() {
            found.push(socket.local_addr()?.ip());
        }
    }
    Ok(found)
}

/// The few messages of the kernel's routing protocol that are needed.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod rtnetlink {
    use std::net::IpAddr;

    /// Those that hear of addresses of IPv4 and IPv6.
    pub(super) const ADDRESS_GROUPS: u32 = 0x10 | 0x100;

    const HEADER: usize = 16;
    const ADDRESS_HEADER: usize = 8;
    const DONE: u16 = 3;
    const ERROR: u16 = 2;
    const NEW_ADDRESS: u16 = 20;
    const GET_ADDRESS: u16 = 22;
    const REQUEST_DUMP: u16 = 0x301;
    const ATTRIBUTE_ADDRESS: u16 = 1;
    const ATTRIBUTE_LOCAL: u16 = 2;
    /// Not usable yet, or not any more.
    const TENTATIVE_OR_DEPRECATED: u8 = 0x60;

    /// Asks for all addresses of all families.
    pub(super) fn request() -> [u8; HEADER + ADDRESS_HEADER] {
        let mut request = [0; HEADER + ADDRESS_HEADER];
        let len = u32::try_from(request.len()).unwrap_or(0);
        request[0..4].copy_from_slice(&len.to_ne_bytes());
        request[4..6].copy_from_slice(&GET_ADDRESS.to_ne_bytes());
        request[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
        request
    }

    /// Adds the addresses of one datagram of the answer. Whether it is the last.
    pub(super) fn parse(mut messages: &[u8], found: &mut Vec<IpAddr>) -> bool {
        while let Some((kind, body, rest)) = message(messages) {
            match kind {
                DONE | ERROR => return true,
                NEW_ADDRESS => found.extend(address(body)),
                _ => {}
            }
            messages = rest;
        }
        false
    }

    fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
        let len = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let body = bytes.get(HEADER..len)?;
        Some((
            kind,
            body,
            bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]),
        ))
    }

    fn address(body: &[u8]) -> Option<IpAddr> {
        if body.get(2)? & TENTATIVE_OR_DEPRECATED != 0 {
            return None;
        }
        let mut attributes = body.get(ADDRESS_HEADER..)?;
        let mut address = None;
        while let Some((kind, value, rest)) = attribute(attributes) {
            // On a point-to-point interface `ADDRESS` is the other end, `LOCAL` ours.
            if kind == ATTRIBUTE_LOCAL || (kind == ATTRIBUTE_ADDRESS && address.is_none()) {
                address = ip(value);
            }
            attributes = rest;
        }
        address
    }

    fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
        let len = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
        let value = bytes.get(4..len)?;
        Some((
            kind,
            value,
            bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]),
        ))
    }

    fn ip(value: &[u8]) -> Option<IpAddr> {
        let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from))
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loopback is there on every host and listed, and never told to others.
    #[test]
    #[cfg(target_os = "linux")]
    fn interfaces_are_listed() {
        let found = list().expect("a list");
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert!(found.contains(&loopback), "{found:?}");
        assert!(!is_useful(loopback));
        assert!(!is_useful("fe80::1".parse().expect("an address")));
        assert!(is_useful("10.1.2.3".parse().expect("an address")));
    }
}
