//! JSON as the codecs need it: read member by member without losing the members nobody asked for, written member by
//! member in the order of the vendor's documentation. Payloads (arguments, schemas) pass through as text.

pub(crate) mod count;
pub mod loose;
pub mod read;
pub mod write;
