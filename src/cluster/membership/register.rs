//! A value that several may write and of which the last one written is kept.
//!
//! Invariant: of two registers the same one is kept, whichever is merged into the other.

use annulus_object::Clock;

use crate::ids::NodeId;

/// When and at which node a register was written. The later clock wins, then the larger node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Hybrid clock of the author.
    pub clock: Clock,
    /// The node at which it was written.
    pub author: NodeId,
}

/// A value and its stamp, compared by the stamp. The value only decides where a fault gave one stamp to two values, so that even
/// then all nodes keep the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register<T> {
    /// When and where it was written.
    pub stamp: Stamp,
    /// What was written.
    pub value: T,
}

impl<T> Register<T> {
    /// Written now.
    #[must_use]
    pub fn new(clock: Clock, author: NodeId, value: T) -> Self {
        Self { stamp: Stamp { clock, author }, value }
    }
}

/// Keeps the later one in `ours`. True when that changed it.
pub(super) fn merge<T: Ord + Clone>(ours: &mut Option<Register<T>>, theirs: Option<&Register<T>>) -> bool {
    let is_news = theirs > ours.as_ref();
    if is_news {
        *ours = theirs.cloned();
    }
    is_news
}
