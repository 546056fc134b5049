//! The node's own keys.

use core::fmt;

use ed25519_dalek::SigningKey;

use crate::id::NodeKey;

/// The signing key that makes a node who it is. Erased from memory when dropped.
#[derive(Clone)]
pub struct Keys {
    signing: SigningKey,
}

impl Keys {
    /// From the 32 secret bytes of an Ed25519 key; every value is a valid key.
    pub fn from_seed(seed: [u8; 32]) -> Keys {
        Keys {
            signing: SigningKey::from_bytes(&seed),
        }
    }

    /// The key that others know this node by.
    pub fn public(&self) -> NodeKey {
        NodeKey(self.signing.verifying_key().to_bytes())
    }

    /// The key that hellos are signed with.
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }
}

/// Shows the public key alone.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.public()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::hex;
    use alloc::format;

    #[test]
    fn debug_shows_no_secret() {
        let keys = Keys::from_seed([7; 32]);
        let text = format!("{keys:?}");
        assert_eq!(text, format!("Keys({:?})", keys.public()));
        assert!(!text.contains(&hex(&[7; 4])));
    }
}
