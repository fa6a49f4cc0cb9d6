//! Finds what a model id stands for among patterns: the exact id, then prefixes from the longest to the shortest.
//!
//! One look into a hash table for the id and one for each length that a prefix has; so the cost depends neither on how
//! many patterns there are nor, beyond the longest pattern, on how long the id is that a client sends.

use std::collections::HashMap;

use routeapi_crds::value::ModelPattern;

/// The longest model id or prefix that a manifest may hold, in bytes.
const MAX_PATTERN_BYTES: usize = 253;

/// Values behind patterns.
#[derive(Debug)]
pub struct Patterns<T> {
    exact: HashMap<Box<str>, T>,
    prefixes: HashMap<Box<str>, T>,
    /// Lengths that prefixes have, the longest first.
    lengths: Vec<usize>,
}

impl<T> Patterns<T> {
    /// The value behind a pattern, made if there is none yet.
    pub fn entry(&mut self, pattern: &ModelPattern) -> &mut T
    where
        T: Default,
    {
        match pattern {
            ModelPattern::Exact(id) => self.exact.entry(id.as_str().into()).or_default(),
            ModelPattern::Prefix(prefix) => {
                if let Err(place) = self.lengths.binary_search_by(|held| prefix.len().cmp(held)) {
                    self.lengths.insert(place, prefix.len());
                }
                self.prefixes.entry(prefix.as_str().into()).or_default()
            }
        }
    }

    /// What stands behind the patterns that a model id falls under, the most specific first.
    pub fn matching(&self, model: &str) -> impl Iterator<Item = &T> {
        let exact = (model.len() <= MAX_PATTERN_BYTES).then(|| self.exact.get(model)).flatten();
        let prefixes = self.lengths.iter().filter_map(|&length| self.prefixes.get(model.get(..length)?));
        exact.into_iter().chain(prefixes)
    }

    /// Exact ids with what stands behind them, in no order.
    pub fn exact(&self) -> impl Iterator<Item = (&str, &T)> {
        self.exact.iter().map(|(id, value)| (&**id, value))
    }
}

impl<T> Patterns<T> {
    /// Prefixes with what stands behind them, in no order.
    pub fn prefixes(&self) -> impl Iterator<Item = (&str, &T)> {
        self.prefixes.iter().map(|(prefix, value)| (&**prefix, value))
    }
}

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), prefixes: HashMap::new(), lengths: Vec::new() }
    }
}

impl<'a> FromIterator<&'a ModelPattern> for Patterns<()> {
    fn from_iter<I: IntoIterator<Item = &'a ModelPattern>>(patterns: I) -> Self {
        let mut all = Self::default();
        patterns.into_iter().for_each(|pattern| *all.entry(pattern) = ());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Patterns<String> {
        let mut all = Patterns::<String>::default();
        for text in texts {
            (*text).clone_into(all.entry(&text.parse().unwrap()));
        }
        all
    }

    #[test]
    fn most_specific_pattern_matches_first() {
        let all = patterns(&["*", "gpt-*", "gpt-4*", "gpt-4o", "claude"]);
        let found = |model: &str| all.matching(model).map(String::as_str).collect::<Vec<_>>().join(" ");
        assert_eq!(found("gpt-4o"), "gpt-4o gpt-4* gpt-* *");
        assert_eq!(found("gpt-4o-mini"), "gpt-4* gpt-* *");
        assert_eq!(found("gpt"), "*");
        assert_eq!(found(""), "*");
        assert_eq!(found("gpt-é"), "gpt-* *", "a prefix may end inside no character");
        assert_eq!(found("gp\u{e9}-4"), "*");
    }

    #[test]
    fn matching_cost_is_bounded_by_the_id_length() {
        let texts: Vec<String> = (0..5_000).map(|number| format!("team-{number:04}-*")).collect();
        let all = patterns(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(all.lengths, [10], "one look for all of them");
        let long = format!("team-4999-{}", "x".repeat(1 << 20));
        assert_eq!(all.matching(&long).count(), 1);
    }
}
