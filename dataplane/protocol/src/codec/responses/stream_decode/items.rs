//! The items of an answer: which is meant by an event, and what is still to be said of it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use serde_json::value::RawValue;

use super::{
    answer::{Answer, too_many},
    open::{OpenCall, OpenMessage, OpenThought},
};
use crate::{
    codec::responses::response_decode::item::{Item, What},
    dialect::Family,
    ir::{BlockKind, Event, Opaque},
    problem::{Problem, ProblemKind},
};

/// Most items in one answer. Vendors stop at some hundreds.
const MAX_ITEMS: usize = 4096;

type Taken = Result<(), Problem>;

/// Where an event says that it belongs: `output_index` and `item_id`.
pub type Place<'a> = (Option<u64>, Option<&'a str>);

/// The items.
#[derive(Debug, Default)]
pub struct Items {
    open: BTreeMap<u64, Open>,
    /// Numbers of all items that have come.
    numbers: HashSet<u64>,
    /// The number of each by the hash of its id.
    ids: HashMap<u64, u64>,
    /// How many have come; at some servers all have one number.
    count: usize,
    last: u64,
    highest: u64,
}

#[derive(Debug)]
struct Open {
    /// The hash of its id.
    id: Option<u64>,
    what: OpenWhat,
}

#[derive(Debug)]
enum OpenWhat {
    Message(OpenMessage),
    Thought(OpenThought),
    Call(OpenCall),
    /// What is told when it is finished.
    Other,
}

impl Items {
    /// Whether none has come.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// An item begins. One that stands at its number already ends, unless it is the same.
    pub fn added(&mut self, number: Option<u64>, item: &Item, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        let number = number.unwrap_or_else(|| self.next());
        let id = item.id.as_deref().map(hash);
        if let Some(open) = self.open.get(&number) {
            if id.is_some() && open.id == id {
                return Ok(());
            }
            self.close_one(number, answer, out)?;
        }
        let mut what = OpenWhat::of(&item.what);
        if let (OpenWhat::Call(open), What::Call(call)) = (&mut what, &item.what) {
            open.name(call, answer, out)?;
        }
        self.put(number, Open { id, what })
    }

    /// An item is finished: what of it has not been said is said now.
    pub fn done(&mut self, number: Option<u64>, item: Item, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        let id = item.id.as_deref().map(hash);
        let number = number.or_else(|| self.number_of(id)).unwrap_or_else(|| self.next());
        let open = match self.open.remove(&number) {
            Some(open) if open.what.is(&item.what) => open.what,
            // Told before, unless the server gives all items one number.
            None if self.numbers.contains(&number) && id.is_none_or(|id| self.ids.contains_key(&id)) => return Ok(()),
            other => {
                if let Some(open) = other {
                    self.open.insert(number, open);
                    self.close_one(number, answer, out)?;
                }
                self.put(number, Open { id, what: OpenWhat::Other })?;
                self.open.remove(&number);
                OpenWhat::of(&item.what)
            }
        };
        self.ids.extend(id.map(|id| (id, number)));
        finish(open, item, answer, out)
    }

    /// The items of the final object: those that have never come, or are not finished.
    pub fn all(&mut self, items: &[&RawValue], answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        let came = self.count;
        for (number, raw) in (0..).zip(items) {
            let is_open = self.open.contains_key(&number);
            if !is_open && (self.numbers.contains(&number) || came >= items.len()) {
                continue;
            }
            let Ok(item) = Item::read(raw) else { continue };
            let is_known = item.id.as_deref().is_some_and(|id| self.ids.contains_key(&hash(id)));
            if is_open || !is_known {
                self.done(Some(number), item, answer, out)?;
            }
        }
        Ok(())
    }

    /// Ends all that are open.
    pub fn close(&mut self, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        while let Some(number) = self.open.keys().next().copied() {
            self.close_one(number, answer, out)?;
        }
        Ok(())
    }

    /// Whether an event belongs to a message, as far as is known.
    pub fn is_message(&self, place: Place<'_>) -> bool {
        self.open.get(&self.number(place)).is_some_and(|open| matches!(open.what, OpenWhat::Message(_)))
    }

    /// The message that an event belongs to; a new one where none was told.
    pub fn message(&mut self, place: Place<'_>) -> Result<&mut OpenMessage, Problem> {
        let new = || OpenWhat::Message(OpenMessage::default());
        match &mut self.at(place, new, |what| matches!(what, OpenWhat::Message(_)))?.what {
            OpenWhat::Message(message) => Ok(message),
            _ => Err(mixed()),
        }
    }

    /// The reasoning that an event belongs to; new where none was told.
    pub fn thought(&mut self, place: Place<'_>) -> Result<&mut OpenThought, Problem> {
        let new = || OpenWhat::Thought(OpenThought::default());
        match &mut self.at(place, new, |what| matches!(what, OpenWhat::Thought(_)))?.what {
            OpenWhat::Thought(thought) => Ok(thought),
            _ => Err(mixed()),
        }
    }

    /// The call that an event belongs to; one without a name where none was told.
    pub fn call(&mut self, place: Place<'_>, is_free_form: bool) -> Result<&mut OpenCall, Problem> {
        let new = || OpenWhat::Call(OpenCall::unnamed(is_free_form));
        match &mut self.at(place, new, |what| matches!(what, OpenWhat::Call(_)))?.what {
            OpenWhat::Call(call) => Ok(call),
            _ => Err(mixed()),
        }
    }

    fn at(
        &mut self,
        place: Place<'_>,
        new: impl FnOnce() -> OpenWhat,
        fits: impl Fn(&OpenWhat) -> bool,
    ) -> Result<&mut Open, Problem> {
        let mut number = self.number(place);
        if self.open.get(&number).is_some_and(|open| !fits(&open.what)) {
            // The number is wrong: what was begun last is meant, if it is of this kind.
            let last = Some(self.last).filter(|last| self.open.get(last).is_some_and(|open| fits(&open.what)));
            number = last.unwrap_or_else(|| self.next());
        }
        if !self.open.contains_key(&number) {
            self.put(number, Open { id: place.1.map(hash), what: new() })?;
        }
        self.open.get_mut(&number).ok_or_else(mixed)
    }

    /// The number that an event means: its own, that of the item with its id, or that of the last item.
    fn number(&self, (number, id): Place<'_>) -> u64 {
        number.or_else(|| self.number_of(id.map(hash))).unwrap_or(self.last)
    }

    fn number_of(&self, id: Option<u64>) -> Option<u64> {
        self.ids.get(&id?).copied()
    }

    /// A number that no item has.
    fn next(&self) -> u64 {
        if self.count == 0 { 0 } else { self.highest.saturating_add(1) }
    }

    fn put(&mut self, number: u64, open: Open) -> Taken {
        if self.count >= MAX_ITEMS {
            return Err(too_many());
        }
        self.count = self.count.saturating_add(1);
        self.last = number;
        self.highest = self.highest.max(number);
        self.numbers.insert(number);
        self.ids.extend(open.id.map(|id| (id, number)));
        self.open.insert(number, open);
        Ok(())
    }

    fn close_one(&mut self, number: u64, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        match self.open.remove(&number).map(|open| open.what) {
            Some(OpenWhat::Message(message)) => message.close(out),
            Some(OpenWhat::Thought(thought)) => {
                let issuer = Opaque { family: Family::OpenAi, value: String::new() };
                thought.close(issuer, answer, out)?;
            }
            Some(OpenWhat::Call(call)) => call.close(answer, out)?,
            Some(OpenWhat::Other) | None => {}
        }
        Ok(())
    }
}

impl OpenWhat {
    fn of(what: &What) -> Self {
        match what {
            What::Message(_) => Self::Message(OpenMessage::default()),
            What::Reasoning(_) => Self::Thought(OpenThought::default()),
            What::Call(call) => Self::Call(OpenCall::unnamed(call.is_free_form)),
            What::Picture(_) | What::Other(_) => Self::Other,
        }
    }

    /// Whether a finished item is of this kind.
    const fn is(&self, what: &What) -> bool {
        matches!(
            (self, what),
            (Self::Message(_), What::Message(_))
                | (Self::Thought(_), What::Reasoning(_))
                | (Self::Call(_), What::Call(_))
                | (Self::Other, What::Picture(_) | What::Other(_))
        )
    }
}

/// Says what of a finished item has not been said, and ends it.
fn finish(open: OpenWhat, item: Item, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
    match (open, item.what) {
        (OpenWhat::Message(mut message), What::Message(parts)) => {
            message.all(parts, answer, out)?;
            message.close(out);
            Ok(())
        }
        (OpenWhat::Thought(thought), What::Reasoning(whole)) => thought.finish(whole, answer, out),
        (OpenWhat::Call(mut call), What::Call(whole)) => {
            call.name(&whole, answer, out)?;
            call.whole(&whole.arguments, answer, out)?;
            call.close(answer, out)
        }
        (_, What::Picture(picture)) => {
            let block = answer.begin(BlockKind::Media(Box::new(picture)), out)?;
            out.push(Event::BlockEnd { block });
            Ok(())
        }
        (_, What::Other(unknown)) => {
            let kind = BlockKind::Unknown { family: unknown.family, kind: unknown.kind, raw: unknown.raw };
            let block = answer.begin(kind, out)?;
            out.push(Event::BlockEnd { block });
            Ok(())
        }
        // It is what it began as: `done` sees to that.
        _ => Ok(()),
    }
}

/// An event that belongs to an item of another kind.
fn mixed() -> Problem {
    Problem::new(ProblemKind::Upstream, "the upstream mixed up the items of its answer")
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
