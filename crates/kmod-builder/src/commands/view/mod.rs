//! What the commands show.

/// `promote`.
pub mod promote;
