//! Bodies of the fuzz targets. Each takes any bytes as choices and panics only on a defect; the corpus in `fuzz/corpus`
//! is replayed by the tests.

mod node;
mod pair;
mod world;

pub use node::node;
pub use world::world;
