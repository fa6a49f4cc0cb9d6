//! Token counts, disjoint (protocols 2.6): no token is in two members.

/// What an answer used, as far as the upstream said. Absent is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Input tokens neither read from nor written to a cache.
    pub input: Option<u64>,
    /// Input tokens read from a cache.
    pub cache_read: Option<u64>,
    /// Input tokens written to a cache, whatever their time to live.
    pub cache_write: Option<u64>,
    /// Output tokens the client sees.
    pub output: Option<u64>,
    /// Output tokens spent on reasoning.
    pub reasoning: Option<u64>,
}

impl Usage {
    /// Takes over every member that `later` has, keeping the others.
    pub fn merge(&mut self, later: Self) {
        self.input = later.input.or(self.input);
        self.cache_read = later.cache_read.or(self.cache_read);
        self.cache_write = later.cache_write.or(self.cache_write);
        self.output = later.output.or(self.output);
        self.reasoning = later.reasoning.or(self.reasoning);
    }

    /// All input tokens.
    pub fn total_input(&self) -> u64 {
        self.input.unwrap_or(0).saturating_add(self.cache_read.unwrap_or(0)).saturating_add(self.cache_write.unwrap_or(0))
    }

    /// All output tokens.
    pub fn total_output(&self) -> u64 {
        self.output.unwrap_or(0).saturating_add(self.reasoning.unwrap_or(0))
    }
}
