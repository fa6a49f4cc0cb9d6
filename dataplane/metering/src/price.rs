//! What tokens cost, in integers.

use crate::Usage;

/// Nano-dollars (10⁻⁹ USD).
pub type Nanos = u64;

/// Prices in nano-dollars per one million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Input tokens that were not read from a cache.
    pub input: Nanos,
    /// Output tokens, reasoning included.
    pub output: Nanos,
    /// Input tokens read from a cache.
    pub cached_input: Nanos,
    /// Input tokens written to a cache.
    pub cache_write: Nanos,
}

impl Price {
    /// The cost of a usage, rounded up to a whole nano-dollar once, at the end. Saturates at the largest amount.
    pub fn cost(&self, usage: &Usage) -> Nanos {
        let parts = [
            (usage.input.unwrap_or(0), self.input),
            (usage.cache_read.unwrap_or(0), self.cached_input),
            (usage.cache_write.unwrap_or(0), self.cache_write),
            (usage.total_output(), self.output),
        ];
        let sum = parts
            .iter()
            .fold(0u128, |sum, &(tokens, price)| sum.saturating_add(u128::from(tokens) * u128::from(price)));
        Nanos::try_from(sum.div_ceil(1_000_000)).unwrap_or(Nanos::MAX)
    }

    /// The most that this many tokens can cost: input at the dearest input price.
    pub fn worst_case(&self, input: u64, output: u64) -> Nanos {
        let dearest = self.input.max(self.cached_input).max(self.cache_write);
        let usage = Usage { input: Some(input), output: Some(output), ..Usage::default() };
        Self { input: dearest, ..*self }.cost(&usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Price =
        Price { input: 2_500_000_000, output: 10_000_000_000, cached_input: 1_250_000_000, cache_write: 3_125_000_000 };

    #[test]
    fn each_kind_of_token_is_priced_once() {
        let usage =
            Usage { input: Some(20), cache_read: Some(80), cache_write: Some(10), output: Some(7), reasoning: Some(3) };
        // 20×2500 + 80×1250 + 10×3125 + 10×10000 nano-dollars
        assert_eq!(PRICE.cost(&usage), 50_000 + 100_000 + 31_250 + 100_000);
    }

    #[test]
    fn cost_rounds_up_and_saturates() {
        let one = Price { input: 1, ..Price::default() };
        assert_eq!(one.cost(&Usage { input: Some(1), ..Usage::default() }), 1);
        assert_eq!(one.cost(&Usage::default()), 0);
        let huge = Price { output: u64::MAX, ..Price::default() };
        assert_eq!(huge.cost(&Usage { output: Some(u64::MAX), ..Usage::default() }), u64::MAX);
        let most = Some(u64::MAX);
        let all = Usage { input: most, cache_read: most, cache_write: most, output: most, reasoning: most };
        let dearest = Price { input: u64::MAX, output: u64::MAX, cached_input: u64::MAX, cache_write: u64::MAX };
        assert_eq!(dearest.cost(&all), u64::MAX);
    }

    #[test]
    fn worst_case_assumes_all_input_is_written_to_the_cache() {
        assert_eq!(PRICE.worst_case(1_000_000, 0), 3_125_000_000);
    }
}
