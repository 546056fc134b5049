//! Bootstrap addresses as people write them (SPECIFICATION §3.2).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use alloc::vec::Vec;

use crate::id::NodeKey;
use crate::io::{Dial, Host, Transport};

/// Longest host name, by DNS.
const HOST_NAME_MAX: usize = 253;

/// A peer to start from: `[tcp://|quic://]host:port[@key]`. IPv6 addresses are in brackets, the
/// key is 64 hex digits. Without a scheme the port is the TCP port, and QUIC is expected one below.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootstrapAddr {
    /// The transport, or both.
    pub transport: Option<Transport>,
    /// The host.
    pub host: Host,
    /// The port, not 0.
    pub port: u16,
    /// The key the peer must have.
    pub key: Option<NodeKey>,
}

impl BootstrapAddr {
    /// What to dial, in order of preference.
    pub fn dials(&self) -> Vec<Dial> {
        let dial = |transport, port| Dial {
            transport,
            host: self.host.clone(),
            port,
        };
        match self.transport {
            Some(transport) => Vec::from([dial(transport, self.port)]),
            None => {
                let quic = (self.port > 1).then(|| dial(Transport::Quic, self.port - 1));
                quic.into_iter()
                    .chain([dial(Transport::Tcp, self.port)])
                    .collect()
            }
        }
    }
}

impl fmt::Display for BootstrapAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(transport) = self.transport {
            write!(f, "{transport}://")?;
        }
        match &self.host {
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}")?,
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]")?,
            Host::Name(name) => f.write_str(name)?,
        }
        write!(f, ":{}", self.port)?;
        match self.key {
            Some(key) => write!(f, "@{key}"),
            None => Ok(()),
        }
    }
}

/// Why a text is not a bootstrap address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseBootstrapError {
    /// A scheme other than `tcp` and `quic`.
    Scheme,
    /// Not an IPv4 address, an IPv6 address in brackets, or a host name.
    Host,
    /// No port, or not a number from 1 to 65,535.
    Port,
    /// The key is not 64 hex digits.
    Key,
}

impl fmt::Display for ParseBootstrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParseBootstrapError::Scheme => "the scheme is neither tcp:// nor quic://",
            ParseBootstrapError::Host => {
                "the host is not an IPv4 address, an IPv6 address in brackets or a host name"
            }
            ParseBootstrapError::Port => "the port is missing or not a number from 1 to 65535",
            ParseBootstrapError::Key => "the key after the @ is not 64 hex digits",
        })
    }
}

impl core::error::Error for ParseBootstrapError {}

impl FromStr for BootstrapAddr {
    type Err = ParseBootstrapError;

    fn from_str(text: &str) -> Result<BootstrapAddr, ParseBootstrapError> {
        let (transport, rest) = match text.split_once("://") {
            Some(("tcp", rest)) => (Some(Transport::Tcp), rest),
            Some(("quic", rest)) => (Some(Transport::Quic), rest),
            Some(_) => return Err(ParseBootstrapError::Scheme),
            None => (None, text),
        };
        let (place, key) = match rest.split_once('@') {
            Some((place, key)) => (
                place,
                Some(key.parse().map_err(|_| ParseBootstrapError::Key)?),
            ),
            None => (rest, None),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (ip, port) = rest.split_once(']').ok_or(ParseBootstrapError::Host)?;
                let ip: Ipv6Addr = ip.parse().map_err(|_| ParseBootstrapError::Host)?;
                (
                    Host::Ip(ip.into()),
                    port.strip_prefix(':').ok_or(ParseBootstrapError::Port)?,
                )
            }
            None => {
                let (host, port) = place.rsplit_once(':').ok_or(ParseBootstrapError::Port)?;
                (parse_host(host)?, port)
            }
        };
        Ok(BootstrapAddr {
            transport,
            host,
            port: parse_port(port)?,
            key,
        })
    }
}

fn parse_host(host: &str) -> Result<Host, ParseBootstrapError> {
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(ip.into()));
    }
    let labels_fit = host
        .split('.')
        .all(|label| !label.is_empty() && label.len() <= 63 && label.bytes().all(is_label_byte));
    // A name of digits and dots alone is a misspelt address.
    let named = host.bytes().any(|byte| byte.is_ascii_alphabetic());
    if host.len() <= HOST_NAME_MAX && labels_fit && named {
        Ok(Host::Name(host.into()))
    } else {
        Err(ParseBootstrapError::Host)
    }
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn parse_port(port: &str) -> Result<u16, ParseBootstrapError> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(ParseBootstrapError::Port),
    }
}
