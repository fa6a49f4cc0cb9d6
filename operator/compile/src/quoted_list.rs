//! Lists of IDs in messages.

/// How many IDs a message names: more would push what matters out of a terminal's width.
const MAX_NAMED: usize = 8;

/// The first eight in quotes, and how many more there are: `"a", "b" and 3 more`.
pub(crate) fn quoted_list<'a>(ids: impl ExactSizeIterator<Item = &'a String>) -> String {
    let more = ids.len().saturating_sub(MAX_NAMED);
    let named: Vec<String> = ids.take(MAX_NAMED).map(|id| format!("{id:?}")).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    named.join(", ") + &rest
}
