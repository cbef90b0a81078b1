//! What the commands show.

pub mod promote;
