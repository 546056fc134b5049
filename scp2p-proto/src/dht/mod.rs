//! The distributed hash table (SPECIFICATION §6).

mod distance;
mod lookup;
mod table;

pub use distance::Distance;
pub use lookup::{Lookup, Next};
pub use table::{Contact, Inserted, RoutingTable};
