//! Members of a request that the neutral representation has no name for.

use std::{collections::HashMap, ops::Deref};

use serde_json::value::RawValue;

use super::Raw;
use crate::{
    dialect::Family,
    report::{self, Field},
};

/// Most members that are noted one by one; names are the client's own.
pub const MAX_EXTRAS: usize = 1024;

/// A member without a name in the neutral representation.
#[derive(Clone, Debug)]
pub struct Extra {
    /// Whose dialect it belongs to.
    pub family: Family,
    /// Its name, by which it is reported.
    pub field: Field,
    /// Its value; `null` for what stands inside a list, since its place does not survive.
    pub raw: Raw,
    /// Whether a caller would notice its absence.
    pub essential: bool,
}

/// Such members, each name once and in the order of their first appearance.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    list: Vec<Extra>,
    places: HashMap<Field, usize>,
    more: u64,
}

impl Extras {
    /// Notes a member. Of several with one name the last counts, as for every member.
    pub fn note(&mut self, family: Family, field: impl Into<Field>, raw: &RawValue, essential: bool) {
        let field = report::clip(field.into());
        let inside_a_list = field.contains("[]");
        let kept = || if inside_a_list { RawValue::NULL.to_owned() } else { raw.to_owned() };
        if let Some(known) = self.places.get(&field).and_then(|at| self.list.get_mut(*at)) {
            if !inside_a_list {
                known.raw = kept();
            }
            known.essential |= essential;
        } else if self.list.len() < MAX_EXTRAS || essential {
            self.places.insert(field.clone(), self.list.len());
            self.list.push(Extra { family, raw: kept(), field, essential });
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// How many were left out beyond [`MAX_EXTRAS`]; none of them essential.
    pub const fn more(&self) -> u64 {
        self.more
    }
}

impl Deref for Extras {
    type Target = [Extra];

    fn deref(&self) -> &[Extra] {
        &self.list
    }
}

impl From<Vec<Extra>> for Extras {
    fn from(list: Vec<Extra>) -> Self {
        let places = list.iter().enumerate().map(|(at, extra)| (extra.field.clone(), at)).collect();
        Self { list, places, more: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_bounded_and_count_the_rest() {
        let mut extras = Extras::default();
        let raw: Raw = serde_json::from_str("[1]").unwrap();
        for at in 0..100_000 {
            extras.note(Family::OpenAi, format!("messages[].x{}", at % 2_000), &raw, false);
        }
        assert_eq!(extras.len(), MAX_EXTRAS);
        assert!(extras.iter().all(|extra| extra.raw.get() == "null"));
        assert!(extras.more() > 0);
        extras.note(Family::OpenAi, "container", &raw, true);
        assert!(extras.last().unwrap().essential, "what a caller relies on is never among the rest");
    }
}
