//! Every token by what a caller shows for it (the SHA-256 of a key, a ServiceAccount), in parts that the tables of the next
//! configuration share.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use routeapi_channel::{ObjectId, shared_map::SharedMap};

use super::runtime::Token;

/// As many parts as a byte has values.
const PARTS: usize = 256;

/// Tokens by what is shown. A clone costs a pointer per part, a change copies the part that it touches.
#[derive(Clone, Debug)]
pub struct TokenTable<K> {
    /// None or [`PARTS`].
    parts: Vec<Arc<HashMap<K, Arc<Token>>>>,
    shown: SharedMap<ObjectId, Arc<[K]>>,
}

impl<K: Clone + Eq + Hash> TokenTable<K> {
    /// The token that this stands for.
    pub fn get(&self, shown: &K) -> Option<&Arc<Token>> {
        if self.parts.is_empty() {
            return None;
        }
        self.parts.get(part_of(shown))?.get(shown)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// Replaces what stands for a token; nothing for a token that is gone.
    pub fn replace(&mut self, id: &ObjectId, entries: Vec<(K, Arc<Token>)>) {
        for shown in self.shown.remove(id).iter().flat_map(|all| all.iter()) {
            if let Some(part) = self.part(shown).filter(|part| part.get(shown).is_some_and(|token| token.id == *id)) {
                Arc::make_mut(part).remove(shown);
            }
        }
        if entries.is_empty() {
            return;
        }
        self.shown.insert(id.clone(), entries.iter().map(|(shown, _)| shown.clone()).collect());
        if self.parts.is_empty() {
            self.parts = vec![Arc::default(); PARTS];
        }
        for (shown, token) in entries {
            if let Some(part) = self.part(&shown) {
                Arc::make_mut(part).insert(shown, token);
            }
        }
    }

    fn part(&mut self, shown: &K) -> Option<&mut Arc<HashMap<K, Arc<Token>>>> {
        self.parts.get_mut(part_of(shown))
    }
}

impl<K> Default for TokenTable<K> {
    fn default() -> Self {
        Self { parts: Vec::new(), shown: SharedMap::default() }
    }
}

fn part_of(shown: &impl Hash) -> usize {
    let mut hasher = DefaultHasher::new();
    shown.hash(&mut hasher);
    usize::from(hasher.finish().to_le_bytes()[0])
}
