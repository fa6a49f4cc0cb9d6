//! An index of model patterns that finds those with IDs in common with a given one, without examining the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use routeapi_crds::value::ModelPattern;

/// How many overlapping patterns are examined at most: enough for any message, and it bounds the cost of one pattern.
pub(crate) const MAX_OVERLAPPING: usize = 1_000;

/// Patterns, each with the values inserted for it.
#[derive(Debug)]
pub(crate) struct PatternIndex<'a, T> {
    exact: BTreeMap<&'a str, Vec<T>>,
    prefix: BTreeMap<&'a str, Vec<T>>,
    lengths: BTreeSet<usize>,
}

impl<'a, T> PatternIndex<'a, T> {
    pub fn insert(&mut self, pattern: &'a ModelPattern, value: T) {
        match pattern {
            ModelPattern::Exact(id) => self.exact.entry(id).or_default().push(value),
            ModelPattern::Prefix(prefix) => {
                self.lengths.insert(prefix.len());
                self.prefix.entry(prefix).or_default().push(value);
            }
        }
    }

    /// Values of this very pattern, in the order of insertion.
    pub fn equal(&self, pattern: &ModelPattern) -> &[T] {
        let found = match pattern {
            ModelPattern::Exact(id) => self.exact.get(id.as_str()),
            ModelPattern::Prefix(prefix) => self.prefix.get(prefix.as_str()),
        };
        found.map_or(&[], Vec::as_slice)
    }

    /// Values of broader patterns: prefixes that cover every ID of this one and more.
    pub fn broader(&self, pattern: &ModelPattern) -> impl Iterator<Item = &T> {
        let (text, most) = match pattern {
            ModelPattern::Exact(id) => (id.as_str(), Some(id.len())),
            ModelPattern::Prefix(prefix) => (prefix.as_str(), prefix.len().checked_sub(1)),
        };
        let lengths = most.map(|most| self.lengths.range(..=most)).into_iter().flatten();
        lengths.filter_map(|&length| self.prefix.get(text.get(..length)?)).flatten()
    }

    /// Values of narrower patterns; a bounded number of them.
    pub fn narrower(&self, pattern: &ModelPattern) -> impl Iterator<Item = &T> {
        let prefix = match pattern {
            ModelPattern::Exact(_) => None,
            ModelPattern::Prefix(prefix) => Some(prefix.as_str()),
        };
        let both = prefix.map(|prefix| {
            let exact = below(&self.exact, prefix, Bound::Included(prefix));
            exact.into_iter().chain(below(&self.prefix, prefix, Bound::Excluded(prefix)))
        });
        both.into_iter().flatten()
    }

    /// Values of all patterns with IDs in common with this one; a bounded number of them.
    pub fn overlapping(&self, pattern: &ModelPattern) -> impl Iterator<Item = &T> {
        self.equal(pattern).iter().chain(self.broader(pattern)).chain(self.narrower(pattern)).take(MAX_OVERLAPPING)
    }
}

fn below<'m, T>(map: &'m BTreeMap<&str, Vec<T>>, prefix: &str, from: Bound<&str>) -> Vec<&'m T> {
    map.range::<str, _>((from, Bound::Unbounded))
        .take_while(|(text, _)| text.starts_with(prefix))
        .take(MAX_OVERLAPPING)
        .flat_map(|(_, values)| values)
        .collect()
}

impl<T> Default for PatternIndex<'_, T> {
    fn default() -> Self {
        Self { exact: BTreeMap::new(), prefix: BTreeMap::new(), lengths: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_broader_and_narrower_patterns_are_found() {
        let patterns =
            ["*", "gpt-*", "gpt-4*", "gpt-4o", "gpt", "claude", "claude-*"].map(|text| text.parse().unwrap());
        let mut all = PatternIndex::default();
        patterns.iter().for_each(|pattern: &ModelPattern| all.insert(pattern, pattern.to_string()));
        let found = |pattern: &str| {
            let pattern: ModelPattern = pattern.parse().unwrap();
            let words = |found: Vec<&String>| found.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ");
            let equal = all.equal(&pattern).iter().collect();
            [equal, all.broader(&pattern).collect(), all.narrower(&pattern).collect()].map(words)
        };
        assert_eq!(found("gpt-4*"), ["gpt-4*", "* gpt-*", "gpt-4o"]);
        assert_eq!(found("gpt-4o"), ["gpt-4o", "* gpt-* gpt-4*", ""]);
        assert_eq!(found("g*"), ["", "*", "gpt gpt-4o gpt-* gpt-4*"]);
        assert_eq!(found("*"), ["*", "", "claude gpt gpt-4o claude-* gpt-* gpt-4*"]);
        assert_eq!(found("claude"), ["claude", "*", ""]);
    }
}
