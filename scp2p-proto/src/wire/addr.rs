//! Addresses of peers as they are exchanged (SPECIFICATION §3.2).

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use alloc::boxed::Box;

use super::cbor::{DecodeError, Field, Reader, Writer};
use crate::id::NodeKey;
use crate::io::Transport;

/// Longest name of an enum value in an address.
const WORD_MAX: usize = 16;

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
    pub slot: u64,
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

    pub(crate) fn write(&self, w: &mut Writer) {
        w.map(if self.relay_via.is_some() { 5 } else { 4 });
        w.text("ip").map(1);
        match self.ip {
            IpAddr::V4(ip) => w.text("V4").octets(&ip.octets()),
            IpAddr::V6(ip) => w.text("V6").octets(&ip.octets()),
        };
        w.text("port").uint(self.port);
        w.text("transport").text(match self.transport {
            Transport::Quic => "quic",
            Transport::Tcp => "tcp",
        });
        w.text("pubkey_hint")
            .octets_or_null(self.key.as_ref().map(NodeKey::as_bytes));
        if let Some(route) = &self.relay_via {
            w.text("relay_via").map(2);
            w.text("relay_addr");
            route.relay.write(w);
            w.text("slot_id").uint(route.slot);
        }
    }

    /// Reads an address. Nesting ends where that of CBOR ends.
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<PeerAddr, DecodeError> {
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
            Some(route) => write!(f, " via {}#{}", route.relay, route.slot),
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
        slot: slot.required()?,
    })
}
