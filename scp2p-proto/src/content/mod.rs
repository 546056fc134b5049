//! Content as chunks and as a BLAKE3 tree (SPECIFICATION §7).

mod bitmap;
mod tree;

pub use bitmap::{BITMAP_PAGE, Bitmap};
pub use tree::{
    Outboard, OutboardBuilder, SubtreeError, chunk_count, chunk_len, level1_count, page_count,
    page_len, page_subtree, subtree_of, verify_page, verify_root_page,
};
