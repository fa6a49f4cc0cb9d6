//! Watches the three kinds, compiles them, pushes snapshots to data planes, mints tokens, writes status.
