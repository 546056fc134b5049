//! IPv4 packets of UDP or TCP, whose endpoints a translator replaces.

use std::net::{Ipv4Addr, SocketAddrV4};

use scp2p_proto::io::Transport;

/// Where the checksum of the IPv4 header is.
const SUM_AT: usize = 10;
const SOURCE_AT: usize = 12;
const DESTINATION_AT: usize = 16;

/// A whole packet; fragments, whose ports nobody can tell, are none.
#[derive(Debug)]
pub struct Packet<'a> {
    bytes: &'a mut [u8],
    transport: Transport,
    /// Where the header of UDP or TCP is, which begins with the two ports.
    ports_at: usize,
    /// Where its checksum is; none if the sender made none, as UDP allows.
    inner_sum_at: Option<usize>,
}

impl<'a> Packet<'a> {
    /// The packet that the bytes begin with, if it is one of these.
    pub fn parse(bytes: &'a mut [u8]) -> Option<Packet<'a>> {
        let word = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let (version, words) = (bytes.first()? >> 4, bytes.first()? & 15);
        let ports_at = usize::from(words) * 4;
        let length = usize::from(word(2)?);
        let is_whole = word(6)? & 0x3fff == 0;
        let (transport, sum_at, header) = match bytes.get(9)? {
            17 => (Transport::Quic, ports_at + 6, 8),
            6 => (Transport::Tcp, ports_at + 16, 20),
            _ => return None,
        };
        if version != 4 || ports_at < 20 || !is_whole || length < ports_at + header {
            return None;
        }
        let has_sum = transport == Transport::Tcp || word(sum_at)? != 0;
        Some(Packet {
            bytes: bytes.get_mut(..length)?,
            transport,
            ports_at,
            inner_sum_at: has_sum.then_some(sum_at),
        })
    }

    /// All of it, as it is sent on.
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// That of QUIC stands for all of UDP.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Who sent it.
    pub fn source(&self) -> SocketAddrV4 {
        self.endpoint(SOURCE_AT, self.ports_at)
    }

    /// Whom it is for.
    pub fn destination(&self) -> SocketAddrV4 {
        self.endpoint(DESTINATION_AT, self.ports_at + 2)
    }

    /// From now on it comes from there.
    pub fn set_source(&mut self, endpoint: SocketAddrV4) {
        self.replace(SOURCE_AT, self.ports_at, endpoint);
    }

    /// From now on it is for this one.
    pub fn set_destination(&mut self, endpoint: SocketAddrV4) {
        self.replace(DESTINATION_AT, self.ports_at + 2, endpoint);
    }

    fn endpoint(&self, address_at: usize, port_at: usize) -> SocketAddrV4 {
        let [a, b] = self.word(address_at).to_be_bytes();
        let [c, d] = self.word(address_at + 2).to_be_bytes();
        SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), self.word(port_at))
    }

    fn replace(&mut self, address_at: usize, port_at: usize, endpoint: SocketAddrV4) {
        let [a, b, c, d] = endpoint.ip().octets();
        for (at, word) in [(address_at, [a, b]), (address_at + 2, [c, d])] {
            let word = u16::from_be_bytes(word);
            self.adjust(Some(SUM_AT), at, word);
            self.adjust(self.inner_sum_at, at, word);
            self.set(at, word);
        }
        self.adjust(self.inner_sum_at, port_at, endpoint.port());
        self.set(port_at, endpoint.port());
    }

    /// Makes a checksum that was right right again for a word that is to be replaced (RFC 1624), so that damage done
    /// before stays detectable.
    fn adjust(&mut self, sum_at: Option<usize>, at: usize, word: u16) {
        let Some(sum_at) = sum_at else { return };
        let parts = [!self.word(sum_at), !self.word(at), word];
        let mut sum: u32 = parts.into_iter().map(u32::from).sum();
        while let high @ 1.. = sum >> 16 {
            sum = (sum & 0xffff) + high;
        }
        let adjusted = !(sum as u16);
        // In UDP zero says that there is none; both are zero in ones' complement.
        let is_udp = sum_at != SUM_AT && self.transport == Transport::Quic;
        self.set(
            sum_at,
            if is_udp && adjusted == 0 {
                0xffff
            } else {
                adjusted
            },
        );
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn set(&mut self, at: usize, word: u16) {
        self.bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ones' complement sum of the words, as RFC 1071 has it; of something with its right checksum all ones.
    fn sum(bytes: &[u8]) -> u16 {
        let mut sum = 0;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// What the checksum of UDP or TCP is made over.
    fn inner(packet: &[u8]) -> Vec<u8> {
        let length = packet.len() as u16 - 20;
        let mut all = packet[SOURCE_AT..20].to_vec();
        all.extend([0, packet[9]]);
        all.extend(length.to_be_bytes());
        all.extend(&packet[20..]);
        all
    }

    fn packet(protocol: u8, header: usize, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 20 + header];
        bytes.extend(payload);
        bytes[0] = 0x45;
        let length = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes[9] = protocol;
        bytes[SOURCE_AT..20].copy_from_slice(&[192, 168, 1, 2, 198, 18, 1, 1]);
        bytes[20..24].copy_from_slice(&[0x1b, 0x58, 0x1b, 0x59]);
        let sum_at = if protocol == 17 { 26 } else { 36 };
        let inner_sum = !sum(&inner(&bytes));
        bytes[sum_at..sum_at + 2].copy_from_slice(&inner_sum.to_be_bytes());
        let header_sum = !sum(&bytes[..20]);
        bytes[SUM_AT..SUM_AT + 2].copy_from_slice(&header_sum.to_be_bytes());
        bytes
    }

    #[test]
    fn checksums_stay_right() {
        for (protocol, header, transport) in [(17, 8, Transport::Quic), (6, 20, Transport::Tcp)] {
            for salt in 0..=u16::MAX {
                let mut bytes = packet(protocol, header, b"odd");
                let mut parsed = Packet::parse(&mut bytes).expect("whole");
                assert_eq!(parsed.transport(), transport);
                assert_eq!(parsed.source().to_string(), "192.168.1.2:7000");
                assert_eq!(parsed.destination().to_string(), "198.18.1.1:7001");
                let [high, low] = salt.to_be_bytes();
                let source = SocketAddrV4::new(Ipv4Addr::new(198, 18, high, low), salt ^ 0x5555);
                let destination = SocketAddrV4::new(Ipv4Addr::new(low, 0, 255, high), salt);
                parsed.set_source(source);
                parsed.set_destination(destination);
                assert_eq!(
                    (parsed.source(), parsed.destination()),
                    (source, destination)
                );
                assert_eq!((sum(&bytes[..20]), sum(&inner(&bytes))), (0xffff, 0xffff));
                assert!(protocol == 6 || bytes[26..28] != [0, 0]);
            }
        }
    }

    #[test]
    fn a_missing_checksum_stays_missing() {
        let mut bytes = packet(17, 8, b"payload");
        bytes[26..28].fill(0);
        let mut parsed = Packet::parse(&mut bytes).expect("whole");
        parsed.set_source("198.18.2.1:9".parse().expect("an endpoint"));
        assert_eq!(bytes[26..28], [0, 0]);
    }

    #[test]
    fn what_is_no_whole_packet_is_refused() {
        let whole = packet(17, 8, b"payload");
        for (at, byte) in [(0, 0x65), (0, 0x44), (3, 27), (6, 0x20), (7, 1), (9, 1)] {
            let mut other = whole.clone();
            other[at] = byte;
            assert!(Packet::parse(&mut other).is_none(), "{at}");
        }
        for length in 0..whole.len() {
            assert!(Packet::parse(&mut whole[..length].to_vec()).is_none());
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert_eq!(Packet::parse(&mut longer).expect("whole").bytes(), whole);
    }
}
