//! The distributed hash table (SPECIFICATION §6).

mod component;
mod distance;
mod ledger;
mod lookup;
mod provider_list;
mod refresh;
mod rendezvous;
mod search;
mod storing;
mod table;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use component::{Dht, Tag};
pub use distance::Distance;
pub use lookup::{Lookup, Next};
pub use refresh::Freshness;
pub use table::{Contact, Inserted, Place, RoutingTable};
