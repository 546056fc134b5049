//! Content as chunks and as a BLAKE3 tree (SPECIFICATION §7).

mod bitmap;
mod tree;

pub use bitmap::Bitmap;
pub use tree::{SubtreeError, chunk_count, chunk_len, level1_count, page_count, verify_level0, verify_level1, verify_pages};
