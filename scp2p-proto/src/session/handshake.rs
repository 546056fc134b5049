//! The three hellos that open a session (SPECIFICATION §3.3).
//!
//! ```text
//! Initiator::start ── ClientHello ─▶ Responder::on_client_hello
//! Initiator::on_hello ◀─ ServerHello ──┘
//!         └────────── ClientAck ───▶ Responder::on_ack
//! ```
//!
//! Each step consumes the state before it, so nothing can be repeated or skipped. A
//! refused hello is not answered, but for a bound one that shows an interception or a wrong clock: the link is closed.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use ed25519_dalek::VerifyingKey;
use x25519_dalek::{PublicKey, StaticSecret};

use super::binding::{self, Binding, Role};
use super::replay::NonceMemory;
use crate::id::NodeKey;
use crate::keys::Keys;
use crate::limits::CLOCK_SKEW_SECS;
use crate::time::UnixTime;
use crate::wire::{Capabilities, DecodeError, Hello, HelloFields, Profile};

const SECRET_CONTEXT: &str = "scp2p-handshake-session-secret-v1";

/// What one end brings into a handshake.
pub struct Params<'a> {
    /// Who this node is.
    pub keys: &'a Keys,
    /// What it announces; the community capabilities are left out in profile A.
    pub capabilities: Capabilities,
    /// The exporter value of the link's TLS connection.
    pub exporter: [u8; 32],
    /// Fresh randomness for the nonce.
    pub nonce_random: [u8; 11],
    /// Fresh randomness for the ephemeral X25519 secret.
    pub ephemeral: [u8; 32],
    /// Insist on this key at the other end.
    pub expected: Option<NodeKey>,
}

/// An authenticated remote.
#[derive(Clone, PartialEq, Eq)]
pub struct Established {
    /// Who it is.
    pub key: NodeKey,
    /// The profile that both ends spoke.
    pub profile: Profile,
    /// What it announced; advice only.
    pub capabilities: Capabilities,
    /// Whether the session is tied to its TLS connection.
    pub binding: Binding,
    /// What its clock showed in its first hello.
    pub clock: UnixTime,
    /// The secret that both ends share and no observer of the hellos knows.
    pub secret: [u8; 32],
}

/// Shows all but the secret.
impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established")
            .field("key", &self.key)
            .field("profile", &self.profile)
            .field("capabilities", &self.capabilities)
            .field("binding", &self.binding)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

/// Why a hello was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeError {
    /// The bytes are no hello.
    Bytes(DecodeError),
    /// The hello's time is more than [`CLOCK_SKEW_SECS`] away from ours.
    ClockSkew {
        /// Who it is, if the hello was proved to be made for this very connection, so that this is what its clock
        /// shows now.
        peer: Option<NodeKey>,
        /// The hello's time.
        theirs: UnixTime,
        /// Our time.
        ours: UnixTime,
    },
    /// The node key is no point of the curve, or one for which signatures prove nothing.
    WeakKey,
    /// The signature is not the node key's.
    Signature,
    /// The remote shows our own key: we dialled ourselves, or our hello came back.
    SelfConnect,
    /// This hello was answered before.
    Replay,
    /// The remote is somebody else: than the key dialled, or than in its first hello.
    WrongKey {
        /// Who it should be.
        expected: NodeKey,
        /// Who it is.
        found: NodeKey,
    },
    /// The hello does not answer our nonce.
    EchoedNonce,
    /// The remote speaks another profile than was asked for, or none that is known.
    Profile {
        /// Its version number.
        version: u16,
        /// The profile that its version and number of capabilities make, if they make one.
        shown: Option<Profile>,
    },
    /// A peer whose session is bound changed its nonce or ephemeral key half way.
    AckDiffers,
    /// The hello was made for another TLS connection: somebody sits in between.
    Intercepted {
        /// Who signed it.
        claimed: NodeKey,
    },
    /// The ephemeral key would make the session's secret known to everybody.
    WeakEphemeral,
}

impl HandshakeError {
    /// The profiles that an initiator should try next, each on a new connection with fresh
    /// randomness, because of what the remote showed. Empty where another profile would
    /// not help. (A remote that closes without a hello shows nothing: then the next of
    /// [`ProfileMemory::order`](super::ProfileMemory::order) is due.)
    pub fn worth_trying(&self) -> &'static [Profile] {
        match self {
            HandshakeError::Profile {
                shown: Some(Profile::A),
                ..
            } => &[Profile::A],
            HandshakeError::Profile {
                shown: Some(Profile::B),
                ..
            } => &[Profile::B],
            HandshakeError::Profile {
                shown: Some(Profile::C),
                ..
            } => &[Profile::C],
            HandshakeError::Profile {
                shown: None,
                version: 1,
            } => &[Profile::A, Profile::B],
            HandshakeError::Profile {
                shown: None,
                version: 2,
            } => &[Profile::C],
            HandshakeError::Profile {
                shown: None,
                version: _,
            }
            | HandshakeError::Bytes(_)
            | HandshakeError::ClockSkew { .. }
            | HandshakeError::WeakKey
            | HandshakeError::Signature
            | HandshakeError::SelfConnect
            | HandshakeError::Replay
            | HandshakeError::WrongKey { .. }
            | HandshakeError::EchoedNonce
            | HandshakeError::AckDiffers
            | HandshakeError::Intercepted { .. }
            | HandshakeError::WeakEphemeral => &[],
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Bytes(error) => write!(f, "the hello cannot be read: {error}"),
            HandshakeError::ClockSkew { theirs, ours, .. } if theirs > ours => {
                write!(
                    f,
                    "the peer's clock is {} s ahead of ours; check both clocks",
                    theirs.since(*ours)
                )
            }
            HandshakeError::ClockSkew { theirs, ours, .. } => {
                write!(
                    f,
                    "the peer's clock is {} s behind ours; check both clocks",
                    ours.since(*theirs)
                )
            }
            HandshakeError::WeakKey => {
                f.write_str("the peer's node key is not a valid Ed25519 key")
            }
            HandshakeError::Signature => f.write_str("the hello's signature is wrong"),
            HandshakeError::SelfConnect => f.write_str("the address leads back to this node"),
            HandshakeError::Replay => f.write_str("the hello is a copy of an earlier one"),
            HandshakeError::WrongKey { expected, found } => {
                write!(
                    f,
                    "expected node {expected}, found node {found}; the address may have a new owner"
                )
            }
            HandshakeError::EchoedNonce => f.write_str("the hello does not answer ours"),
            HandshakeError::Profile { version, .. } => {
                write!(
                    f,
                    "the peer speaks protocol version {version} in a form that was not asked for"
                )
            }
            HandshakeError::AckDiffers => f.write_str("the peer changed its hello half way"),
            HandshakeError::Intercepted { claimed } => {
                write!(
                    f,
                    "somebody between here and node {claimed} reads the connection; do not trust this network"
                )
            }
            HandshakeError::WeakEphemeral => {
                f.write_str("the peer's ephemeral key is not a valid X25519 key")
            }
        }
    }
}

impl core::error::Error for HandshakeError {}

/// The end that opened the link; waits for the ServerHello.
pub struct Initiator {
    end: End,
    profile: Profile,
}

impl Initiator {
    /// Begins a handshake in `profile`; with the frame of the ClientHello.
    pub fn start(params: Params<'_>, profile: Profile, now: UnixTime) -> (Initiator, Bytes) {
        Initiator::open(End::new(params, Role::Initiator), profile, now)
    }

    fn open(end: End, profile: Profile, now: UnixTime) -> (Initiator, Bytes) {
        let hello = end.hello(profile, None, now);
        (Initiator { end, profile }, hello)
    }

    /// Takes the body of the responder's frame; with the frame of the ClientAck, after which
    /// requests may follow at once.
    pub fn on_hello(
        self,
        body: &Bytes,
        now: UnixTime,
    ) -> Result<(Established, Bytes), HandshakeError> {
        let Initiator { end, profile } = self;
        let hello = end.read(body)?;
        if hello.echoed_nonce != Some(end.nonce) {
            return Err(HandshakeError::EchoedNonce);
        }
        end.check_expected(&hello)?;
        check_profile(&hello, profile)?;
        let binding = end.check_binding(&hello, Role::Responder)?;
        check_clock(&hello, Some(hello.key), now)?;
        let secret = end.secret(&hello, &end.nonce, &hello.nonce)?;
        let ack = end.hello(profile, Some(hello.nonce), now);
        let established = Established {
            key: hello.key,
            profile,
            capabilities: hello.capabilities,
            binding,
            clock: hello.timestamp,
            secret,
        };
        Ok((established, ack))
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiator")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// The end that accepted the link; has answered and waits for the ClientAck.
pub struct Responder {
    own_key: NodeKey,
    own_nonce: [u8; 32],
    /// Nonce and ephemeral key of the ClientHello.
    opening: ([u8; 32], [u8; 32]),
    /// What the session is once the initiator has shown that it is there.
    claim: Established,
}

impl Responder {
    /// Takes the body of the initiator's first frame and answers in the profile that it
    /// addresses; with the frame of the ServerHello. The nonce enters `memory` only if the
    /// signature is right, so a stranger cannot spoil those of others.
    pub fn on_client_hello(
        params: Params<'_>,
        body: &Bytes,
        now: UnixTime,
        memory: &mut NonceMemory,
    ) -> Result<(Responder, Bytes), HandshakeError> {
        Responder::answer(End::new(params, Role::Responder), body, now, memory)
    }

    /// The frame of a ServerHello for an initiator whose ClientHello was refused, from which it learns why: that
    /// somebody sits in between, unless that somebody keeps it back, or what our clock shows. `None` if it is not
    /// to be answered. The link is closed after it.
    pub fn warning(
        params: Params<'_>,
        body: &Bytes,
        error: &HandshakeError,
        now: UnixTime,
    ) -> Option<Bytes> {
        let is_told = matches!(
            error,
            HandshakeError::Intercepted { .. } | HandshakeError::ClockSkew { peer: Some(_), .. }
        );
        if !is_told {
            return None;
        }
        let hello = Hello::decode(body).ok()?;
        let end = End::new(params, Role::Responder);
        Some(end.hello(hello.profile()?, Some(hello.nonce), now))
    }

    fn answer(
        end: End,
        body: &Bytes,
        now: UnixTime,
        memory: &mut NonceMemory,
    ) -> Result<(Responder, Bytes), HandshakeError> {
        let hello = end.read(body)?;
        let bound = end.check_binding(&hello, Role::Initiator);
        let is_bound = matches!(bound, Ok(Binding::Bound { .. }));
        check_clock(&hello, is_bound.then_some(hello.key), now)?;
        if !memory.note(hello.nonce, now) {
            return Err(HandshakeError::Replay);
        }
        end.check_expected(&hello)?;
        let profile = hello.profile().ok_or(HandshakeError::Profile {
            version: hello.version,
            shown: None,
        })?;
        let binding = bound?;
        let secret = end.secret(&hello, &hello.nonce, &end.nonce)?;
        let reply = end.hello(profile, Some(hello.nonce), now);
        let responder = Responder {
            own_key: end.keys.public(),
            own_nonce: end.nonce,
            opening: (hello.nonce, hello.ephemeral),
            claim: Established {
                key: hello.key,
                profile,
                capabilities: hello.capabilities,
                binding,
                clock: hello.timestamp,
                secret,
            },
        };
        Ok((responder, reply))
    }

    /// Takes the body of the initiator's second frame.
    pub fn on_ack(self, body: &Bytes, now: UnixTime) -> Result<Established, HandshakeError> {
        let Responder {
            own_key,
            own_nonce,
            opening,
            claim,
        } = self;
        let ack = read(body, &own_key)?;
        if ack.key != claim.key {
            return Err(HandshakeError::WrongKey {
                expected: claim.key,
                found: ack.key,
            });
        }
        if ack.echoed_nonce != Some(own_nonce) {
            return Err(HandshakeError::EchoedNonce);
        }
        check_clock(&ack, Some(ack.key), now)?;
        check_profile(&ack, claim.profile)?;
        match claim.binding {
            // Deployed peers do not compare, so only peers of ours are held to it.
            Binding::Bound { .. } if (ack.nonce, ack.ephemeral) != opening => {
                Err(HandshakeError::AckDiffers)
            }
            Binding::Bound { .. } | Binding::Unbound => Ok(claim),
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("claim", &self.claim)
            .finish_non_exhaustive()
    }
}

/// What both roles hold.
struct End {
    keys: Keys,
    capabilities: Capabilities,
    exporter: [u8; 32],
    nonce: [u8; 32],
    ephemeral: StaticSecret,
    expected: Option<NodeKey>,
}

impl End {
    fn new(params: Params<'_>, role: Role) -> End {
        End {
            keys: params.keys.clone(),
            capabilities: params.capabilities,
            exporter: params.exporter,
            nonce: binding::make_nonce(
                &params.exporter,
                role,
                &params.keys.public(),
                params.nonce_random,
            ),
            ephemeral: StaticSecret::from(params.ephemeral),
            expected: params.expected,
        }
    }

    /// A signed hello of ours as a frame.
    fn hello(&self, profile: Profile, echoed_nonce: Option<[u8; 32]>, now: UnixTime) -> Bytes {
        let fields = HelloFields {
            capabilities: self.capabilities,
            nonce: self.nonce,
            echoed_nonce,
            timestamp: now,
            ephemeral: PublicKey::from(&self.ephemeral).to_bytes(),
        };
        let body = Hello::sign(self.keys.signing(), profile, fields).encode();
        let mut frame = BytesMut::with_capacity(4 + body.len());
        frame.put_u32(u32::try_from(body.len()).expect("a hello is at most some 700 bytes long"));
        frame.put(body);
        frame.freeze()
    }

    fn read(&self, body: &Bytes) -> Result<Hello, HandshakeError> {
        read(body, &self.keys.public())
    }

    fn check_expected(&self, hello: &Hello) -> Result<(), HandshakeError> {
        match self.expected {
            Some(expected) if expected != hello.key => Err(HandshakeError::WrongKey {
                expected,
                found: hello.key,
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn check_binding(&self, hello: &Hello, role: Role) -> Result<Binding, HandshakeError> {
        binding::check(&hello.nonce, &self.exporter, role, &hello.key)
            .map_err(|binding::Intercepted| HandshakeError::Intercepted { claimed: hello.key })
    }

    fn secret(
        &self,
        hello: &Hello,
        initiator_nonce: &[u8; 32],
        responder_nonce: &[u8; 32],
    ) -> Result<[u8; 32], HandshakeError> {
        let shared = self
            .ephemeral
            .diffie_hellman(&PublicKey::from(hello.ephemeral));
        if !shared.was_contributory() {
            return Err(HandshakeError::WeakEphemeral);
        }
        let mut hasher = blake3::Hasher::new_derive_key(SECRET_CONTEXT);
        hasher
            .update(shared.as_bytes())
            .update(initiator_nonce)
            .update(responder_nonce);
        Ok(*hasher.finalize().as_bytes())
    }
}

/// Reads a hello and checks what every hello must fulfil but for its time. Authentic if it returns one.
fn read(body: &Bytes, own_key: &NodeKey) -> Result<Hello, HandshakeError> {
    let hello = Hello::decode(body).map_err(HandshakeError::Bytes)?;
    if !hello.verify() {
        let sound = VerifyingKey::from_bytes(hello.key.as_bytes()).is_ok_and(|key| !key.is_weak());
        return Err(if sound {
            HandshakeError::Signature
        } else {
            HandshakeError::WeakKey
        });
    }
    if hello.key == *own_key {
        return Err(HandshakeError::SelfConnect);
    }
    Ok(hello)
}

/// `peer`: who made the hello for this very connection.
fn check_clock(hello: &Hello, peer: Option<NodeKey>, ours: UnixTime) -> Result<(), HandshakeError> {
    let theirs = hello.timestamp;
    match ours.since(theirs).max(theirs.since(ours)) > CLOCK_SKEW_SECS {
        true => Err(HandshakeError::ClockSkew { peer, theirs, ours }),
        false => Ok(()),
    }
}

fn check_profile(hello: &Hello, profile: Profile) -> Result<(), HandshakeError> {
    let shown = hello.profile();
    if shown == Some(profile) {
        Ok(())
    } else {
        Err(HandshakeError::Profile {
            version: hello.version,
            shown,
        })
    }
}

#[cfg(test)]
mod tests;
