//! Lints of the project's own, on the syntax of its production code.
//!
//! They see what the compiler and clippy cannot, or only for all code at once: which file names which other file of its
//! crate ([`circles`]), and who reads a clock, starts a task or keeps addresses of its own ([`rules`]). Code under
//! `#[cfg(test)]` does not count. What still stands from before a rule is in a committed list that may only become
//! shorter ([`allowed`]).

pub mod allowed;
pub mod circles;
pub mod paths;
pub mod resolve;
pub mod rules;
pub mod source;
pub mod tree;
