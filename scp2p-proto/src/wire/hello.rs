//! Hellos: the three messages of a handshake (SPECIFICATION §3.3).

use core::fmt;

use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::cbor::{DecodeError, Field, Reader, Writer};
use super::{Capabilities, Profile};
use crate::id::NodeKey;
use crate::limits::CAPABILITY_BYTES_MAX;
use crate::time::UnixTime;

/// A hello, signed by the key it names.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// Who says hello.
    pub key: NodeKey,
    /// What it says it does.
    pub capabilities: Capabilities,
    /// Its nonce, in which our nodes hide their channel binding.
    pub nonce: [u8; 32],
    /// The nonce of the hello that this one answers.
    pub echoed_nonce: Option<[u8; 32]>,
    /// When it was made.
    pub timestamp: UnixTime,
    /// The protocol version.
    pub version: u16,
    /// An X25519 public key of this handshake alone.
    pub ephemeral: [u8; 32],
    /// Ed25519 signature over all the others.
    pub signature: [u8; 64],
    /// The capability map as it was signed, which may hold more than we know.
    signed_capabilities: Box<[u8]>,
    /// Keys in that map.
    capability_keys: u32,
}

/// What the sender of a hello chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloFields {
    /// What it says it does; profile A has only the first five.
    pub capabilities: Capabilities,
    /// Its nonce.
    pub nonce: [u8; 32],
    /// The nonce of the hello that this one answers.
    pub echoed_nonce: Option<[u8; 32]>,
    /// The time.
    pub timestamp: UnixTime,
    /// An X25519 public key of this handshake alone.
    pub ephemeral: [u8; 32],
}

impl Hello {
    /// A hello of this profile, signed.
    pub fn sign(key: &SigningKey, profile: Profile, fields: HelloFields) -> Hello {
        let mut w = Writer::new();
        fields.capabilities.write(&mut w, profile.capability_keys());
        let mut hello = Hello {
            key: NodeKey(key.verifying_key().to_bytes()),
            capabilities: fields.capabilities,
            nonce: fields.nonce,
            echoed_nonce: fields.echoed_nonce,
            timestamp: fields.timestamp,
            version: profile.version(),
            ephemeral: fields.ephemeral,
            signature: [0; 64],
            signed_capabilities: w.finish().into(),
            capability_keys: profile.capability_keys() as u32,
        };
        hello.signature = key.sign(&hello.signed_bytes()).to_bytes();
        hello
    }

    /// The body of this hello's frame.
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::with_capacity(640);
        w.map(8);
        w.text("node_pubkey").octets(&self.key.0);
        w.text("capabilities").raw(&self.signed_capabilities);
        w.text("nonce").octets(&self.nonce);
        w.text("echoed_nonce")
            .octets_or_null(self.echoed_nonce.as_ref());
        w.text("timestamp_unix_secs").uint(self.timestamp.0);
        w.text("protocol_version").uint(self.version);
        w.text("ephemeral_pubkey").octets(&self.ephemeral);
        w.text("signature").octets(&self.signature);
        w.finish().into()
    }

    /// Reads a frame's body. Nothing is verified.
    ///
    /// # Errors
    /// If the body is no hello.
    pub fn decode(body: &Bytes) -> Result<Hello, DecodeError> {
        let (mut key, mut capabilities) = (Field::new("node_pubkey"), Field::new("capabilities"));
        let (mut nonce, mut echoed_nonce) = (Field::new("nonce"), Field::new("echoed_nonce"));
        let (mut timestamp, mut version) = (
            Field::new("timestamp_unix_secs"),
            Field::new("protocol_version"),
        );
        let (mut ephemeral, mut signature) =
            (Field::new("ephemeral_pubkey"), Field::new("signature"));
        Reader::new(body).text_map(|name, r| match name {
            "node_pubkey" => key.once(r, Reader::octets),
            "capabilities" => capabilities.once(r, |r, _| r.with_source(Capabilities::read)),
            "nonce" => nonce.once(r, Reader::octets),
            "echoed_nonce" => echoed_nonce.once(r, Reader::octets),
            "timestamp_unix_secs" => timestamp.once(r, Reader::time),
            "protocol_version" => version.once(r, Reader::u16),
            "ephemeral_pubkey" => ephemeral.once(r, Reader::octets),
            "signature" => signature.once(r, Reader::loose_exact),
            _ => r.skip(),
        })?;
        let ((capabilities, capability_keys), signed_capabilities) = capabilities.required()?;
        if signed_capabilities.len() > CAPABILITY_BYTES_MAX {
            return Err(DecodeError::Length("capabilities"));
        }
        Ok(Hello {
            key: NodeKey(key.required()?),
            capabilities,
            nonce: nonce.required()?,
            echoed_nonce: echoed_nonce.optional(),
            timestamp: timestamp.required()?,
            version: version.required()?,
            ephemeral: ephemeral.required()?,
            signature: signature.required()?,
            signed_capabilities: signed_capabilities.into(),
            capability_keys,
        })
    }

    /// The profile this hello is of, by its version and the number of its capability keys.
    pub fn profile(&self) -> Option<Profile> {
        Profile::from_parts(self.version, self.capability_keys as usize)
    }

    /// Whether the signature is right, by the strict rules, over the capabilities exactly as they came.
    pub fn verify(&self) -> bool {
        let signature = Signature::from_bytes(&self.signature);
        VerifyingKey::from_bytes(&self.key.0)
            .is_ok_and(|key| key.verify_strict(&self.signed_bytes(), &signature).is_ok())
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(512);
        w.array(7)
            .octets(&self.key.0)
            .raw(&self.signed_capabilities)
            .octets(&self.nonce);
        w.octets_or_null(self.echoed_nonce.as_ref());
        w.uint(self.timestamp.0)
            .uint(self.version)
            .octets(&self.ephemeral);
        w.finish()
    }
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("key", &self.key)
            .field("profile", &self.profile())
            .field("answers", &self.echoed_nonce.is_some())
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}
