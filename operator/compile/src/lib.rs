//! Objects in, snapshot and one verdict per object out. Pure.
