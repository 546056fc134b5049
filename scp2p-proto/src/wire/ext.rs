//! What messages between nodes of ours are made of, types 600 to 699 (SPECIFICATION §10): integer-keyed
//! maps and true byte strings.

use core::net::IpAddr;

use alloc::vec::Vec;
use bytes::Bytes;

use super::cbor::{DecodeError, Field, Reader, Writer};
use crate::id::{ContentId, ShareKey};
use crate::limits::{HEAD_BYTES_MAX, IDS_MAX, PUNCH_ENDPOINTS_MAX};
use crate::record::ShareHead;
use crate::storage::OUTBOARD_PAGE;

/// The ports a node listens on, on the address that the other side sees it at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Listening {
    /// For QUIC.
    pub quic_port: Option<u16>,
    /// For TLS over TCP.
    pub tcp_port: Option<u16>,
}

impl Listening {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(2).uint(0_u8).uint_or_null(self.quic_port);
        w.uint(1_u8).uint_or_null(self.tcp_port);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Listening, DecodeError> {
        let (mut quic_port, mut tcp_port) = (Field::new("quic port"), Field::new("tcp port"));
        r.int_map(|key, r| match key {
            0 => quic_port.first(r, Reader::u16),
            1 => tcp_port.first(r, Reader::u16),
            _ => r.skip(),
        })?;
        Ok(Listening {
            quic_port: quic_port.optional(),
            tcp_port: tcp_port.optional(),
        })
    }
}

/// Where the answering side sees the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// The address.
    pub ip: IpAddr,
    /// The port, which is not one it listens on if it dialled over TCP.
    pub port: u16,
}

impl Observed {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(2).uint(0_u8);
        match self.ip {
            IpAddr::V4(ip) => w.bytes(&ip.octets()),
            IpAddr::V6(ip) => w.bytes(&ip.octets()),
        };
        w.uint(1_u8).uint(self.port);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Observed, DecodeError> {
        let (mut ip, mut port) = (Field::new("ip"), Field::new("port"));
        r.int_map(|key, r| match key {
            0 => ip.first(r, read_ip),
            1 => port.first(r, Reader::u16),
            _ => r.skip(),
        })?;
        Ok(Observed {
            ip: ip.required()?,
            port: port.required()?,
        })
    }
}

fn read_ip(r: &mut Reader<'_>, name: &'static str) -> Result<IpAddr, DecodeError> {
    let bytes = r.bytes(name, 16)?;
    if let Ok(octets) = <[u8; 4]>::try_from(bytes.as_ref()) {
        return Ok(octets.into());
    }
    let octets: [u8; 16] = bytes
        .as_ref()
        .try_into()
        .map_err(|_| DecodeError::Length(name))?;
    Ok(octets.into())
}

/// Where the QUIC links of one end of a circuit go out from, as others see it, at most [`PUNCH_ENDPOINTS_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoints(pub Vec<Observed>);

impl Endpoints {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(1).uint(0_u8).list(&self.0, |w, place| place.write(w));
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Endpoints, DecodeError> {
        let mut places = Field::new("endpoints");
        r.int_map(|key, r| match key {
            0 => places.first(r, Endpoints::read_list),
            _ => r.skip(),
        })?;
        places.required()
    }

    fn read_list(r: &mut Reader<'_>, _name: &'static str) -> Result<Endpoints, DecodeError> {
        r.list_cut(PUNCH_ENDPOINTS_MAX, Observed::read)
            .map(Endpoints)
    }
}

/// Where one end of a circuit is to be dialled, and when (SPECIFICATION §11.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Punch {
    /// Where its QUIC links go out from.
    pub endpoints: Endpoints,
    /// How long after this came the other end is to dial, in milliseconds; 0 if it was left out.
    pub wait_ms: u16,
}

impl Punch {
    pub(super) fn write(&self, w: &mut Writer) {
        let places = &self.endpoints.0;
        w.map(2).uint(0_u8).list(places, |w, place| place.write(w));
        w.uint(1_u8).uint(self.wait_ms);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Punch, DecodeError> {
        let (mut places, mut wait_ms) = (Field::new("endpoints"), Field::new("wait"));
        r.int_map(|key, r| match key {
            0 => places.first(r, Endpoints::read_list),
            1 => wait_ms.first(r, Reader::u16),
            _ => r.skip(),
        })?;
        Ok(Punch {
            endpoints: places.required()?,
            wait_ms: wait_ms.optional().unwrap_or(0),
        })
    }
}

/// Whether somebody was reached where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DialedBack {
    /// Over QUIC.
    pub quic: bool,
    /// Over TCP.
    pub tcp: bool,
}

impl DialedBack {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(2).uint(0_u8).bool(self.quic);
        w.uint(1_u8).bool(self.tcp);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<DialedBack, DecodeError> {
        let (mut quic, mut tcp) = (Field::new("quic"), Field::new("tcp"));
        r.int_map(|key, r| match key {
            0 => quic.first(r, Reader::bool),
            1 => tcp.first(r, Reader::bool),
            _ => r.skip(),
        })?;
        Ok(DialedBack {
            quic: quic.required()?,
            tcp: tcp.required()?,
        })
    }
}

/// A share's head with the key that verifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadAnnounce {
    /// The share's key.
    pub key: ShareKey,
    /// Its head, not verified.
    pub head: ShareHead,
}

impl HeadAnnounce {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(2)
            .uint(0_u8)
            .bytes(&self.key.0)
            .uint(1_u8)
            .bytes(&self.head.encode());
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<HeadAnnounce, DecodeError> {
        let (mut key, mut head) = (Field::new("share key"), Field::new("head"));
        r.int_map(|number, r| match number {
            0 => key.first(r, Reader::exact),
            1 => head.first(r, |r, name| {
                ShareHead::decode(&r.bytes(name, HEAD_BYTES_MAX)?)
            }),
            _ => r.skip(),
        })?;
        Ok(HeadAnnounce {
            key: ShareKey(key.required()?),
            head: head.required()?,
        })
    }
}

/// A page of the hashes of a content's subtrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtreePage {
    /// The content.
    pub content: ContentId,
    /// Its size in bytes.
    pub size: u64,
    /// The level of the tree, 0 or 1.
    pub level: u8,
    /// Which page of that level.
    pub page: u32,
    /// The hashes, 32 bytes each, at most [`OUTBOARD_PAGE`] of them.
    pub hashes: Bytes,
}

impl SubtreePage {
    /// Writes all but the hashes themselves, which follow.
    pub(super) fn write_head(&self, w: &mut Writer) {
        w.map(5).uint(0_u8).bytes(&self.content.0);
        w.uint(1_u8).uint(self.size);
        w.uint(2_u8).uint(self.level);
        w.uint(3_u8).uint(self.page);
        w.uint(4_u8).bytes_head(self.hashes.len());
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<SubtreePage, DecodeError> {
        let (mut content, mut size, mut level) = (
            Field::new("content"),
            Field::new("size"),
            Field::new("level"),
        );
        let (mut page, mut hashes) = (Field::new("page"), Field::new("hashes"));
        r.int_map(|key, r| match key {
            0 => content.first(r, Reader::exact),
            1 => size.first(r, Reader::u64),
            2 => level.first(r, read_level),
            3 => page.first(r, Reader::u32),
            4 => hashes.first(r, read_page),
            _ => r.skip(),
        })?;
        Ok(SubtreePage {
            content: ContentId(content.required()?),
            size: size.required()?,
            level: level.required()?,
            page: page.required()?,
            hashes: hashes.required()?,
        })
    }
}

/// A level of the tree that pages are asked of.
pub(super) fn read_level(r: &mut Reader<'_>, name: &'static str) -> Result<u8, DecodeError> {
    match r.u8(name)? {
        level @ (0 | 1) => Ok(level),
        _ => Err(DecodeError::Value(name)),
    }
}

fn read_page(r: &mut Reader<'_>, name: &'static str) -> Result<Bytes, DecodeError> {
    let hashes = r.bytes(name, OUTBOARD_PAGE as usize * 32)?;
    if hashes.len().is_multiple_of(32) {
        Ok(hashes)
    } else {
        Err(DecodeError::Length(name))
    }
}

/// Which contents are served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Have {
    /// In the order asked: the size of a content served whole, `None` for any other.
    pub sizes: Vec<Option<u64>>,
}

impl Have {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(1).uint(0_u8).list(&self.sizes, |w, size| {
            w.uint_or_null(*size);
        });
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Have, DecodeError> {
        let mut sizes = Field::new("sizes");
        r.int_map(|key, r| match key {
            0 => sizes.first(r, |r, name| {
                r.list(name, IDS_MAX, |r| r.nullable(|r| r.u64(name)))
            }),
            _ => r.skip(),
        })?;
        Ok(Have {
            sizes: sizes.required()?,
        })
    }
}
