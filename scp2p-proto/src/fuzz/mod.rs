//! Bodies of the fuzz targets. Each takes any bytes and panics only on a defect; the corpus
//! in `fuzz/corpus` is replayed by the tests.

mod record;
mod session;
mod wire;

pub use record::record;
pub use session::session;
pub use wire::wire;
