//! Numbers of blocks.

/// Numbers blocks.
#[derive(Debug, Default)]
pub(super) struct Blocks(u32);

impl Blocks {
    pub(super) fn next(&mut self) -> u32 {
        let block = self.0;
        self.0 = self.0.saturating_add(1);
        block
    }
}
