//! Signed objects and DHT values (SPECIFICATION §5, §6).

mod head;
mod keys;
mod link;
mod manifest;
mod providers;

pub use head::ShareHead;
pub use keys::{ValueError, ValueKind, classify, head_key, manifest_key, providers_key};
pub use link::{ParseLinkError, ShareLink};
pub use manifest::{Item, Manifest, ManifestError, Visibility};
pub use providers::Providers;
