//! Finds, among many model patterns, those that have ids in common with a given one, without looking at the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use routeapi_crds::value::ModelPattern;

/// How many patterns below a prefix are looked at for the sake of a message.
pub(crate) const MOST_BELOW: usize = 1_000;

/// Patterns with what stands behind each.
#[derive(Debug)]
pub(crate) struct Overlaps<'a, T> {
    exact: BTreeMap<&'a str, Vec<T>>,
    prefix: BTreeMap<&'a str, Vec<T>>,
    lengths: BTreeSet<usize>,
}

impl<'a, T> Overlaps<'a, T> {
    pub fn insert(&mut self, pattern: &'a ModelPattern, value: T) {
        match pattern {
            ModelPattern::Exact(id) => self.exact.entry(id).or_default().push(value),
            ModelPattern::Prefix(prefix) => {
                self.lengths.insert(prefix.len());
                self.prefix.entry(prefix).or_default().push(value);
            }
        }
    }

    /// Behind this very pattern, in the order of insertion.
    pub fn equal(&self, pattern: &ModelPattern) -> &[T] {
        let found = match pattern {
            ModelPattern::Exact(id) => self.exact.get(id.as_str()),
            ModelPattern::Prefix(prefix) => self.prefix.get(prefix.as_str()),
        };
        found.map_or(&[], Vec::as_slice)
    }

    /// Behind broader patterns: prefixes that hold every id of this one and more.
    pub fn broader(&self, pattern: &ModelPattern) -> impl Iterator<Item = &T> {
        let (text, most) = match pattern {
            ModelPattern::Exact(id) => (id.as_str(), Some(id.len())),
            ModelPattern::Prefix(prefix) => (prefix.as_str(), prefix.len().checked_sub(1)),
        };
        let lengths = most.map(|most| self.lengths.range(..=most)).into_iter().flatten();
        lengths.filter_map(|&length| self.prefix.get(text.get(..length)?)).flatten()
    }

    /// Behind narrower patterns; a bounded number of them.
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

    /// Behind every pattern that shares ids with this one.
    pub fn meeting(&self, pattern: &ModelPattern) -> impl Iterator<Item = &T> {
        self.equal(pattern).iter().chain(self.broader(pattern)).chain(self.narrower(pattern)).take(MOST_BELOW)
    }
}

fn below<'m, T>(map: &'m BTreeMap<&str, Vec<T>>, prefix: &str, from: Bound<&str>) -> Vec<&'m T> {
    map.range::<str, _>((from, Bound::Unbounded))
        .take_while(|(text, _)| text.starts_with(prefix))
        .take(MOST_BELOW)
        .flat_map(|(_, values)| values)
        .collect()
}

impl<T> Default for Overlaps<'_, T> {
    fn default() -> Self {
        Self { exact: BTreeMap::new(), prefix: BTreeMap::new(), lengths: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_shares_ids_and_nothing_else() {
        let patterns = ["*", "gpt-*", "gpt-4*", "gpt-4o", "gpt", "claude", "claude-*"].map(|it| it.parse().unwrap());
        let mut all = Overlaps::default();
        patterns.iter().for_each(|pattern: &ModelPattern| all.insert(pattern, pattern.to_string()));
        let found = |pattern: &str| {
            let pattern: ModelPattern = pattern.parse().unwrap();
            let words = |it: Vec<&String>| it.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ");
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
