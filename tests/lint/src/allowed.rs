//! What still stands from before a rule: a committed list that may only become shorter.
//!
//! One entry a line: what it is about, where, and how often, such as `clock operator/src/lease.rs 4`. An entry that is no
//! longer needed is an error as well as one that is missing, so that the list always says how far the work is.

use std::collections::BTreeMap;

/// Entries, with how often each occurs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(BTreeMap<String, usize>);

impl List {
    /// Reads a list; empty lines and lines that begin with `#` are comments.
    ///
    /// # Errors
    /// The line that does not end in a number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let entry = |line: &str| {
            let (what, times) = line.rsplit_once(' ')?;
            Some((what.to_owned(), times.parse().ok()?))
        };
        lines
            .map(|line| entry(line).ok_or_else(|| format!("no number at the end: {line}")))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Counts one more occurrence of an entry.
    pub fn add(&mut self, entry: String) {
        let times = self.0.entry(entry).or_default();
        *times = times.saturating_add(1);
    }

    /// All occurrences of entries whose first word is `rule`.
    pub fn count(&self, rule: &str) -> usize {
        self.0.iter().filter(|(entry, _)| rule_of(entry) == rule).map(|(_, times)| times).sum()
    }

    /// The first words of its entries, in order.
    pub fn rules(&self) -> Vec<&str> {
        let mut rules: Vec<&str> = self.0.keys().map(|entry| rule_of(entry)).collect();
        rules.dedup();
        rules
    }

    /// Entries that occur here more often than in `other`.
    pub fn beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        let most = |entry: &str| other.0.get(entry).copied().unwrap_or(0);
        self.0.iter().filter(move |(entry, times)| **times > most(entry)).map(|(entry, _)| entry.as_str())
    }

    /// Whether this list could take the place of `other`: no rule has more occurrences. Files may have other names.
    ///
    /// # Errors
    /// The rule that has more.
    pub fn is_no_longer_than(&self, other: &Self) -> Result<(), String> {
        match self.rules().into_iter().find(|rule| self.count(rule) > other.count(rule)) {
            None => Ok(()),
            Some(rule) => Err(format!("{rule}: {} instead of {}", self.count(rule), other.count(rule))),
        }
    }

    /// The list as text, below the comments of `before`.
    pub fn write(&self, before: &str) -> String {
        let comments = before.lines().take_while(|line| line.starts_with('#') || line.is_empty());
        let entries = self.0.iter().map(|(entry, times)| format!("{entry} {times}"));
        comments.map(str::to_owned).chain(entries).map(|line| line + "\n").collect()
    }
}

fn rule_of(entry: &str) -> &str {
    entry.split(' ').next().unwrap_or(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> List {
        List::parse(text).unwrap()
    }

    #[test]
    fn an_entry_that_occurs_more_often_is_new() {
        let (old, new) = (list("clock a.rs 1\nclock b.rs 2\n"), list("clock a.rs 2\nspawn c.rs 1\n"));
        assert_eq!(new.beyond(&old).collect::<Vec<_>>(), ["clock a.rs", "spawn c.rs"]);
        assert_eq!(old.beyond(&new).collect::<Vec<_>>(), ["clock b.rs"]);
    }

    #[test]
    fn a_list_may_be_replaced_by_one_with_other_names_and_not_by_a_longer_one() {
        let old = list("clock a.rs 1\nclock b.rs 2\nspawn a.rs 1\n");
        assert_eq!(list("clock new.rs 3\n").is_no_longer_than(&old), Ok(()));
        assert_eq!(list("clock a.rs 1\nspawn a.rs 2\n").is_no_longer_than(&old), Err("spawn: 2 instead of 1".into()));
    }

    #[test]
    fn comments_stay_when_a_list_is_written() {
        let text = "# why\n\nclock a.rs 1\n";
        assert_eq!(list(text).write(text), text);
        assert!(List::parse("clock a.rs").is_err());
    }
}
