//! Addresses of peers as they are exchanged (SPECIFICATION §3.2).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use alloc::boxed::Box;

use super::cbor::{DecodeError, Field, Reader, Writer};
use super::circuit::CIRCUIT_SLOT;
use crate::id::{NodeKey, RelaySlotId};
use crate::io::Transport;

/// Longest name of an enum value in an address.
const WORD_MAX: usize = 16;

// What lies between the values of an address as everybody writes it. Answers of the DHT have dozens of addresses, so
// this form is written and read piece by piece and only others item by item.
const V4: &[u8] = b"\x62ip\xa1\x62V4";
const V6: &[u8] = b"\x62ip\xa1\x62V6";
const PORT: &[u8] = b"\x64port";
const QUIC: &[u8] = b"\x69transport\x64quic\x6bpubkey_hint";
const TCP: &[u8] = b"\x69transport\x63tcp\x6bpubkey_hint";

/// Where a peer can be reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAddr {
    /// Its address.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// Over which transport.
    pub transport: Transport,
    /// The key it must have, if whoever wrote this knew.
    pub key: Option<NodeKey>,
    /// The relay it is reached through. The address above is informational then.
    pub relay_via: Option<Box<RelayRoute>>,
}

/// A place at a relay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayRoute {
    /// The relay.
    pub relay: PeerAddr,
    /// The slot that the peer has there.
    pub slot: RelaySlotId,
}

impl PeerAddr {
    /// How many relays are to be passed, one after another. More than one is never followed.
    pub fn relay_depth(&self) -> u32 {
        let mut depth = 0;
        let mut via = &self.relay_via;
        while let Some(route) = via {
            depth += 1;
            via = &route.relay.relay_via;
        }
        depth
    }

    /// The relay of ours that connects to the peer by a circuit, and its key; `None` for an address without a relay,
    /// and for one behind a deployed relay or several.
    pub fn circuit(&self) -> Option<(&PeerAddr, NodeKey)> {
        let via = self.relay_via.as_ref()?;
        let is_circuit = via.slot == CIRCUIT_SLOT && via.relay.relay_via.is_none();
        let key = via.relay.key.filter(|_| is_circuit)?;
        Some((&via.relay, key))
    }

    /// The slot at a deployed relay through which the peer is asked; `None` for an address without a relay, behind a relay
    /// of ours, or behind several.
    pub fn tunnel(&self) -> Option<&RelayRoute> {
        let route = self.relay_via.as_deref()?;
        let is_tunnel = route.slot != CIRCUIT_SLOT && route.relay.relay_via.is_none();
        is_tunnel.then_some(route)
    }

    /// Whether one host can be dialled there: the address is neither unspecified nor a multicast or broadcast one, the
    /// port is not 0, and no relay stands before it.
    pub fn is_dialable(&self) -> bool {
        let ip = self.ip.to_canonical();
        let is_one = !ip.is_unspecified() && !ip.is_multicast() && ip != Ipv4Addr::BROADCAST;
        is_one && self.port != 0 && self.relay_via.is_none()
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.map(if self.relay_via.is_some() { 5 } else { 4 });
        match self.ip {
            IpAddr::V4(ip) => w.raw(V4).octets(&ip.octets()),
            IpAddr::V6(ip) => w.raw(V6).octets(&ip.octets()),
        };
        w.raw(PORT).uint(self.port);
        w.raw(match self.transport {
            Transport::Quic => QUIC,
            Transport::Tcp => TCP,
        });
        w.octets_or_null(self.key.as_ref().map(NodeKey::as_bytes));
        if let Some(route) = &self.relay_via {
            w.text("relay_via").map(2);
            w.text("relay_addr");
            route.relay.write(w);
            w.text("slot_id").uint(route.slot.0);
        }
    }

    /// Reads an address. Nesting ends where that of CBOR ends.
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<PeerAddr, DecodeError> {
        if let Some(addr) = r.attempt(PeerAddr::read_usual) {
            return Ok(addr);
        }
        let (mut ip, mut port, mut transport) = (
            Field::new("ip"),
            Field::new("port"),
            Field::new("transport"),
        );
        let (mut key, mut relay_via) = (Field::new("pubkey_hint"), Field::new("relay_via"));
        r.text_map(|name, r| match name {
            "ip" => ip.once(r, |r, _| read_ip(r)),
            "port" => port.once(r, Reader::u16),
            "transport" => transport.once(r, |r, _| read_transport(r)),
            "pubkey_hint" => key.once(r, Reader::octets),
            "relay_via" => relay_via.once(r, |r, _| read_route(r)),
            _ => r.skip(),
        })?;
        Ok(PeerAddr {
            ip: ip.required()?,
            port: port.required()?,
            transport: transport.required()?,
            key: key.optional().map(NodeKey),
            relay_via: relay_via.optional().map(Box::new),
        })
    }

    /// Reads an address as [`PeerAddr::write`] writes one with a key and without a relay.
    fn read_usual(r: &mut Reader<'_>) -> Option<PeerAddr> {
        if !r.eat(b"\xa4") {
            return None;
        }
        let ip = if r.eat(V4) {
            IpAddr::from(r.plain::<4>()?)
        } else if r.eat(V6) {
            IpAddr::from(r.plain::<16>()?)
        } else {
            return None;
        };
        let port = r.eat(PORT).then(|| r.u16("port").ok())??;
        let transport = if r.eat(QUIC) {
            Transport::Quic
        } else if r.eat(TCP) {
            Transport::Tcp
        } else {
            return None;
        };
        Some(PeerAddr {
            ip,
            port,
            transport,
            key: Some(NodeKey(r.plain()?)),
            relay_via: None,
        })
    }
}

/// `transport://ip:port`, then `@key` and `via relay#slot` where there are any.
impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}",
            self.transport,
            SocketAddr::new(self.ip, self.port)
        )?;
        if let Some(key) = self.key {
            write!(f, "@{key}")?;
        }
        match &self.relay_via {
            Some(route) => write!(f, " via {}#{}", route.relay, route.slot.0),
            None => Ok(()),
        }
    }
}

fn read_ip(r: &mut Reader<'_>) -> Result<IpAddr, DecodeError> {
    let mut ip = Field::new("ip");
    r.text_map(|variant, r| match variant {
        "V4" => ip.once(r, |r, name| r.octets::<4>(name).map(IpAddr::from)),
        "V6" => ip.once(r, |r, name| r.octets::<16>(name).map(IpAddr::from)),
        _ => Err(DecodeError::Value("ip")),
    })?;
    ip.required()
}

fn read_transport(r: &mut Reader<'_>) -> Result<Transport, DecodeError> {
    match r.text("transport", WORD_MAX)?.as_ref() {
        "quic" => Ok(Transport::Quic),
        "tcp" => Ok(Transport::Tcp),
        _ => Err(DecodeError::Value("transport")),
    }
}

fn read_route(r: &mut Reader<'_>) -> Result<RelayRoute, DecodeError> {
    let (mut relay, mut slot) = (Field::new("relay_addr"), Field::new("slot_id"));
    r.text_map(|name, r| match name {
        "relay_addr" => relay.once(r, |r, _| PeerAddr::read(r)),
        "slot_id" => slot.once(r, Reader::u64),
        _ => r.skip(),
    })?;
    Ok(RelayRoute {
        relay: relay.required()?,
        slot: RelaySlotId(slot.required()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::net::Ipv6Addr;
    use proptest::prelude::*;

    fn addr() -> impl Strategy<Value = PeerAddr> {
        let v4 = any::<[u8; 4]>().prop_map(|ip| IpAddr::from(Ipv4Addr::from(ip)));
        let v6 = any::<[u8; 16]>().prop_map(|ip| IpAddr::from(Ipv6Addr::from(ip)));
        let transport = prop_oneof![Just(Transport::Quic), Just(Transport::Tcp)];
        let key = prop_oneof![3 => any::<[u8; 32]>().prop_map(Some), 1 => Just(None)];
        let parts = (prop_oneof![v4, v6], any::<u16>(), transport, key);
        parts.prop_map(|(ip, port, transport, key)| PeerAddr {
            ip,
            port,
            transport,
            key: key.map(NodeKey),
            relay_via: None,
        })
    }

    fn written(addr: &PeerAddr) -> Vec<u8> {
        let mut w = Writer::new();
        addr.write(&mut w);
        w.finish()
    }

    proptest! {
        /// The usual form, and one with a field more that nobody knows, read as the same address, and no further.
        #[test]
        fn all_forms_read_alike(addr in addr()) {
            let usual = written(&addr);
            let mut longer = usual.clone();
            longer[0] += 1;
            longer.extend(b"\x61x\x07");
            for mut form in [usual, longer] {
                let len = form.len();
                form.push(0x05);
                let mut r = Reader::new(&form);
                prop_assert_eq!(PeerAddr::read(&mut r), Ok(addr.clone()));
                prop_assert_eq!(r.u8("next"), Ok(5));
                form.truncate(len - 1);
                prop_assert!(PeerAddr::read(&mut Reader::new(&form)).is_err());
            }
        }
    }

    #[test]
    fn nobody_dials_everybody_or_nobody() {
        let addr = |ip: &str, port| PeerAddr {
            ip: ip.parse().expect(ip),
            port,
            transport: Transport::Quic,
            key: None,
            relay_via: None,
        };
        for ip in [
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "ff02::1",
            "::ffff:0.0.0.0",
        ] {
            assert!(!addr(ip, 7000).is_dialable(), "{ip}");
        }
        let one = addr("5.5.5.5", 7000);
        assert!(one.is_dialable() && addr("2001:db8::1", 7000).is_dialable());
        assert!(!addr("5.5.5.5", 0).is_dialable());
        let route = RelayRoute {
            relay: one.clone(),
            slot: RelaySlotId(1),
        };
        let behind = PeerAddr {
            relay_via: Some(Box::new(route)),
            ..one
        };
        assert!(!behind.is_dialable());
    }
}
