//! Content as chunks and as a BLAKE3 tree (SPECIFICATION §7).

mod bitmap;

pub use bitmap::{BITMAP_PAGE, Bitmap};
