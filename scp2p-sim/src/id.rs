//! What the parts of a world are called.

/// A host, by its place in the scenario's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

impl HostId {
    /// Its place in a list of all hosts.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
