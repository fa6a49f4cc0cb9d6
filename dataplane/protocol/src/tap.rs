//! What can be seen of an answer that passes through.
