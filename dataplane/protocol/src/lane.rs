//! The ways an answer travels: as it is, or through the neutral representation.
//!
//! One module per kind of translation: what is generated, what is embedded and what is counted have nothing in common
//! but the client's and the upstream's dialect.

pub(crate) mod count;
pub(crate) mod embed;
pub(crate) mod generate;
pub(crate) mod parts;
pub(crate) mod passthrough;
pub(crate) mod raw;
pub(crate) mod stated;
pub(crate) mod stored;
pub(crate) mod terminal;

#[cfg(test)]
mod tests;
