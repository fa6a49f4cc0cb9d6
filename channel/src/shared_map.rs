//! A sorted map whose clones share what no later change touches.
//!
//! Entries are kept in chunks: a state of a hundred thousand resources and the one after it differ in the chunks that a change
//! touches, and in nothing else. So a clone costs a pointer per chunk, a change copies one chunk, and a comparison skips what
//! both share.

use std::sync::Arc;

/// Maximum number of entries in a chunk. Larger chunks make clones cheaper and changes dearer.
const MAX_CHUNK: usize = 64;

type Chunk<K, V> = Vec<(K, V)>;

/// A sorted map with structural sharing.
#[derive(Clone, Debug)]
pub struct SharedMap<K, V> {
    /// None is empty.
    chunks: Vec<Arc<Chunk<K, V>>>,
    len: usize,
}

/// What became of one key between two states.
#[derive(Clone, Copy, Debug)]
pub enum Difference<'a, K, V> {
    /// It is new, or has another value.
    Put(&'a K, &'a V),
    /// It is gone.
    Del(&'a K),
}

/// A place in a [`SharedMap`].
struct Cursor<'a, K, V> {
    chunks: &'a [Arc<Chunk<K, V>>],
    at: usize,
}

// === impl SharedMap ===

impl<K, V> SharedMap<K, V> {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value)))
    }

    /// All keys in their order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> SharedMap<K, V> {
    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.binary_search_by(|(held, _)| held.cmp(key)).ok()?;
        chunk.get(at).map(|(_, value)| value)
    }

    /// Whether there is such a key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Adds or replaces a value.
    pub fn insert(&mut self, key: K, value: V) {
        let index = self.chunk_of(&key);
        let last = index + 1 == self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(index) else {
            self.chunks.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return;
        };
        let place = chunk.binary_search_by(|(held, _)| held.cmp(&key));
        // States are mostly made in the order of their keys: full chunks then, not half-full ones.
        if place == Err(MAX_CHUNK) && last {
            self.chunks.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return;
        }
        let chunk = Arc::make_mut(chunk);
        match place {
            Ok(at) => {
                if let Some(slot) = chunk.get_mut(at) {
                    slot.1 = value;
                }
                return;
            }
            Err(at) => chunk.insert(at, (key, value)),
        }
        self.len += 1;
        if chunk.len() > MAX_CHUNK {
            let rest = chunk.split_off(MAX_CHUNK / 2);
            self.chunks.insert(index + 1, Arc::new(rest));
        }
    }

    /// Removes a key; its value, if there was one.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let index = self.chunk_of(key);
        let chunk = self.chunks.get_mut(index)?;
        let at = chunk.binary_search_by(|(held, _)| held.cmp(key)).ok()?;
        let chunk = Arc::make_mut(chunk);
        let (_, value) = chunk.remove(at);
        self.len -= 1;
        let left = chunk.len();
        // Joined with the next one when both are small, so that a shrinking state does not keep a chunk per resource.
        let next = self.chunks.get(index + 1).map_or(MAX_CHUNK, |next| next.len());
        if left == 0 {
            self.chunks.remove(index);
        } else if left + next <= MAX_CHUNK / 2 {
            let next = self.chunks.remove(index + 1);
            if let Some(chunk) = self.chunks.get_mut(index) {
                Arc::make_mut(chunk).extend(next.iter().cloned());
            }
        }
        Some(value)
    }

    /// What became of each key from this state to another, in the order of keys. Chunks that both share are skipped.
    pub fn differences<'a>(&'a self, to: &'a Self, mut each: impl FnMut(Difference<'a, K, V>)) {
        let (mut old, mut new) = (Cursor::new(self), Cursor::new(to));
        loop {
            if old.skip_shared(&mut new) {
                continue;
            }
            match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some((key, _)), None) => {
                    each(Difference::Del(key));
                    old.advance();
                }
                (None, Some((key, value))) => {
                    each(Difference::Put(key, value));
                    new.advance();
                }
                (Some((before, was)), Some((key, value))) => {
                    let order = before.cmp(key);
                    if order.is_lt() {
                        each(Difference::Del(before));
                    } else if order.is_gt() || was != value {
                        each(Difference::Put(key, value));
                    }
                    if order.is_le() {
                        old.advance();
                    }
                    if order.is_ge() {
                        new.advance();
                    }
                }
            }
        }
    }

    /// The chunk that a key is in, if it is in any.
    fn chunk_of(&self, key: &K) -> usize {
        let before = |chunk: &Arc<Chunk<K, V>>| chunk.first().is_some_and(|(first, _)| first <= key);
        self.chunks.partition_point(before).saturating_sub(1)
    }
}

// === impl Cursor ===

impl<'a, K, V> Cursor<'a, K, V> {
    fn new(all: &'a SharedMap<K, V>) -> Self {
        Self { chunks: &all.chunks, at: 0 }
    }

    fn peek(&self) -> Option<&'a (K, V)> {
        self.chunks.first()?.get(self.at)
    }

    fn advance(&mut self) {
        self.at += 1;
        if self.chunks.first().is_some_and(|chunk| chunk.len() == self.at) {
            self.next_chunk();
        }
    }

    fn next_chunk(&mut self) {
        self.chunks = self.chunks.get(1..).unwrap_or_default();
        self.at = 0;
    }

    /// Skips a chunk if both are at the beginning of the same one.
    fn skip_shared(&mut self, other: &mut Self) -> bool {
        let shared = match (self.chunks.first(), other.chunks.first()) {
            (Some(one), Some(another)) => self.at == 0 && other.at == 0 && Arc::ptr_eq(one, another),
            _ => false,
        };
        if shared {
            self.next_chunk();
            other.next_chunk();
        }
        shared
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn key(number: u32) -> String {
        format!("n{}/{number}", number % 7)
    }

    /// Numbers that look random and are the same in each run.
    fn numbers() -> impl FnMut(u32) -> u32 {
        let mut state = 0x2545_f491_u32;
        move |below| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state % below
        }
    }

    #[test]
    fn a_long_history_is_that_of_an_ordinary_map_and_so_are_its_differences() {
        let mut next = numbers();
        let (mut plain, mut shared) = (BTreeMap::new(), SharedMap::default());
        let (mut plain_before, mut before) = (plain.clone(), shared.clone());
        for step in 0..20_000_u32 {
            // It grows to some hundred chunks, and shrinks again.
            let (number, grows) = (next(6_000), step < 12_000);
            if next(4) > 0 && grows {
                plain.insert(key(number), step);
                shared.insert(key(number), step);
            } else {
                assert_eq!(plain.remove(&key(number)), shared.remove(&key(number)));
            }
            if step % 500 == 0 || next(50) == 0 {
                assert_eq!(plain.len(), shared.len());
                assert!(plain.iter().eq(shared.iter()), "step {step}");
                assert!(shared.chunks.iter().all(|chunk| (1..=MAX_CHUNK).contains(&chunk.len())));
                let (mut put, mut del) = (Vec::new(), Vec::new());
                before.differences(&shared, |difference| match difference {
                    Difference::Put(key, _) => put.push(key),
                    Difference::Del(key) => del.push(key),
                });
                let changed = |(key, value): &(&String, &u32)| plain_before.get(*key) != Some(*value);
                assert!(plain.iter().filter(changed).map(|(key, _)| key).eq(put), "step {step}");
                assert!(plain_before.keys().filter(|key| !plain.contains_key(*key)).eq(del), "step {step}");
                (plain_before, before) = (plain.clone(), shared.clone());
            }
        }
    }

    #[test]
    fn a_change_copies_one_chunk_whatever_the_size() {
        let mut one = SharedMap::default();
        (0..10_000).for_each(|number| one.insert(key(number), number));
        let mut other = one.clone();
        other.insert(key(77), 0);
        let same = one.chunks.iter().zip(&other.chunks).filter(|(one, other)| Arc::ptr_eq(one, other));
        assert_eq!(same.count() + 1, one.chunks.len());
    }
}
