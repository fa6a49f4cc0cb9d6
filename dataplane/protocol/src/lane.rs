//! The two ways an answer travels.

pub(crate) mod passthrough;
pub(crate) mod translated;
pub(crate) mod whole;
