//! One pass over a JSON body: is it JSON at all, and where are its top-level members.
//!
//! No tree is built and nothing is copied: a member is a name and the byte range of its value, which is what
//! [`crate::splice`] needs. The reading is strict (RFC 8259 and UTF-8), because the upstream's reader may be stricter
//! than ours and a clear 400 with a position is worth more than a foreign one. Nesting is capped at [`MAX_DEPTH`].
//!
//! Not decided here: what members mean, and which may not repeat (see [`Scan::once`]). Numbers are not evaluated.
//! Escaped surrogates may stand alone, as the grammar allows.

mod bounds;
mod document;
mod fault;
mod inside;
mod reader;
mod value;

pub use bounds::{MAX_DEPTH, MAX_ELEMENTS, MAX_MEMBERS, MAX_TREE};
pub use document::{Repeated, Scan};
pub use fault::{Fault, NotJson};
pub use value::{Kind, Member, Value};

#[cfg(test)]
mod tests;
