//! An index of model patterns that finds those with IDs in common with a given one, without examining the others.

use std::{collections::BTreeMap, ops::Bound};

use routeapi_crds::value::ModelPattern;

/// How many overlapping patterns are examined at most: enough for any message, and it bounds the cost of one pattern.
pub(crate) const MAX_OVERLAPPING: usize = 1_000;

/// Patterns, each with the values inserted for it in the order of their keys.
#[derive(Debug)]
pub(crate) struct PatternIndex<K, V> {
    exact: BTreeMap<Box<str>, Vec<(K, V)>>,
    prefix: BTreeMap<Box<str>, Vec<(K, V)>>,
    /// How many different prefixes there are of each length.
    lengths: BTreeMap<usize, usize>,
}

impl<K: Ord, V> PatternIndex<K, V> {
    /// Adds a value to those of a pattern, or replaces the one with an equal key.
    pub fn insert(&mut self, pattern: &ModelPattern, key: K, value: V) {
        let values = match pattern {
            ModelPattern::Exact(id) => self.exact.entry(id.as_str().into()).or_default(),
            ModelPattern::Prefix(prefix) => {
                let values = self.prefix.entry(prefix.as_str().into()).or_default();
                if values.is_empty() {
                    *self.lengths.entry(prefix.len()).or_default() += 1;
                }
                values
            }
        };
        match values.binary_search_by(|(held, _)| held.cmp(&key)) {
            Ok(at) => {
                if let Some(slot) = values.get_mut(at) {
                    slot.1 = value;
                }
            }
            Err(at) => values.insert(at, (key, value)),
        }
    }

    /// Removes the value of a pattern with this key.
    pub fn remove(&mut self, pattern: &ModelPattern, key: &K) {
        let (map, text) = match pattern {
            ModelPattern::Exact(id) => (&mut self.exact, id.as_str()),
            ModelPattern::Prefix(prefix) => (&mut self.prefix, prefix.as_str()),
        };
        let Some(values) = map.get_mut(text) else { return };
        if let Ok(at) = values.binary_search_by(|(held, _)| held.cmp(key)) {
            values.remove(at);
        }
        if !values.is_empty() {
            return;
        }
        map.remove(text);
        if let ModelPattern::Prefix(prefix) = pattern
            && let Some(count) = self.lengths.get_mut(&prefix.len())
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    /// The value of this very pattern with this key.
    pub fn get(&self, pattern: &ModelPattern, key: &K) -> Option<&V> {
        let values = self.equal(pattern);
        let at = values.binary_search_by(|(held, _)| held.cmp(key)).ok()?;
        values.get(at).map(|(_, value)| value)
    }

    /// Values of this very pattern, in the order of their keys.
    pub fn equal(&self, pattern: &ModelPattern) -> &[(K, V)] {
        let found = match pattern {
            ModelPattern::Exact(id) => self.exact.get(id.as_str()),
            ModelPattern::Prefix(prefix) => self.prefix.get(prefix.as_str()),
        };
        found.map_or(&[], Vec::as_slice)
    }

    /// Values of broader patterns: prefixes that cover every ID of this one and more.
    pub fn broader<'a>(&'a self, pattern: &'a ModelPattern) -> impl Iterator<Item = &'a (K, V)> {
        let (text, most) = match pattern {
            ModelPattern::Exact(id) => (id.as_str(), Some(id.len())),
            ModelPattern::Prefix(prefix) => (prefix.as_str(), prefix.len().checked_sub(1)),
        };
        let lengths = most.map(|most| self.lengths.range(..=most)).into_iter().flatten();
        lengths.filter_map(|(&length, _)| self.prefix.get(text.get(..length)?)).flatten()
    }

    /// Values of narrower patterns, which may be all there are.
    pub fn narrower<'a>(&'a self, pattern: &'a ModelPattern) -> impl Iterator<Item = &'a (K, V)> {
        let prefix = match pattern {
            ModelPattern::Exact(_) => None,
            ModelPattern::Prefix(prefix) => Some(prefix.as_str()),
        };
        let both = prefix.map(|prefix| {
            let exact = below(&self.exact, prefix, Bound::Included(prefix));
            exact.chain(below(&self.prefix, prefix, Bound::Excluded(prefix)))
        });
        both.into_iter().flatten()
    }

    /// Values of this pattern and of narrower ones, which may be all there are.
    pub fn covered<'a>(&'a self, pattern: &'a ModelPattern) -> impl Iterator<Item = &'a (K, V)> {
        self.equal(pattern).iter().chain(self.narrower(pattern))
    }

    /// Values of all patterns with IDs in common with this one, which may be all there are.
    pub fn all_overlapping<'a>(&'a self, pattern: &'a ModelPattern) -> impl Iterator<Item = &'a (K, V)> {
        self.equal(pattern).iter().chain(self.broader(pattern)).chain(self.narrower(pattern))
    }

    /// The same, a bounded number of them.
    pub fn overlapping<'a>(&'a self, pattern: &'a ModelPattern) -> impl Iterator<Item = &'a (K, V)> {
        self.all_overlapping(pattern).take(MAX_OVERLAPPING)
    }
}

/// Whether two patterns have IDs in common.
pub(crate) fn overlap(one: &ModelPattern, other: &ModelPattern) -> bool {
    match (one, other) {
        (ModelPattern::Exact(id), pattern) | (pattern, ModelPattern::Exact(id)) => pattern.matches(id),
        (ModelPattern::Prefix(one), ModelPattern::Prefix(other)) => {
            one.starts_with(other.as_str()) || other.starts_with(one.as_str())
        }
    }
}

fn below<'a, T>(
    map: &'a BTreeMap<Box<str>, Vec<T>>,
    prefix: &'a str,
    from: Bound<&'a str>,
) -> impl Iterator<Item = &'a T> {
    let range = map.range::<str, _>((from, Bound::Unbounded));
    range.take_while(move |(text, _)| text.starts_with(prefix)).flat_map(|(_, values)| values)
}

impl<K, V> Default for PatternIndex<K, V> {
    fn default() -> Self {
        Self { exact: BTreeMap::new(), prefix: BTreeMap::new(), lengths: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERNS: [&str; 7] = ["*", "gpt-*", "gpt-4*", "gpt-4o", "gpt", "claude", "claude-*"];

    fn found(all: &PatternIndex<u8, String>, pattern: &str) -> [String; 3] {
        let pattern: ModelPattern = pattern.parse().unwrap();
        let words =
            |found: Vec<&(u8, String)>| found.into_iter().map(|(_, word)| word.as_str()).collect::<Vec<_>>().join(" ");
        let equal = all.equal(&pattern).iter().collect();
        [equal, all.broader(&pattern).collect(), all.narrower(&pattern).collect()].map(words)
    }

    #[test]
    fn equal_broader_and_narrower_patterns_are_found() {
        let mut all = PatternIndex::default();
        for pattern in PATTERNS.map(|text| text.parse::<ModelPattern>().unwrap()) {
            all.insert(&pattern, 0, pattern.to_string());
        }
        assert_eq!(found(&all, "gpt-4*"), ["gpt-4*", "* gpt-*", "gpt-4o"]);
        assert_eq!(found(&all, "gpt-4o"), ["gpt-4o", "* gpt-* gpt-4*", ""]);
        assert_eq!(found(&all, "g*"), ["", "*", "gpt gpt-4o gpt-* gpt-4*"]);
        assert_eq!(found(&all, "*"), ["*", "", "claude gpt gpt-4o claude-* gpt-* gpt-4*"]);
        assert_eq!(found(&all, "claude"), ["claude", "*", ""]);
    }

    #[test]
    fn values_are_in_the_order_of_their_keys_and_nothing_is_left_of_removed_ones() {
        let (mut all, patterns) = (PatternIndex::default(), PATTERNS.map(|text| text.parse::<ModelPattern>().unwrap()));
        for pattern in &patterns {
            [3, 1, 2].into_iter().for_each(|key| all.insert(pattern, key, format!("{pattern}{key}")));
        }
        all.insert(&patterns[0], 2, "other".to_owned());
        assert_eq!(found(&all, "claude"), ["claude1 claude2 claude3", "*1 other *3", ""]);
        for pattern in &patterns {
            [1, 2, 3, 4].iter().for_each(|key| all.remove(pattern, key));
        }
        assert!(all.exact.is_empty() && all.prefix.is_empty() && all.lengths.is_empty());
    }
}
