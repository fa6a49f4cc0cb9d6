//! What each namespace may hold: so many of our objects, with so many bytes of spec, the oldest first.
//!
//! Decides which objects are within their namespace's bounds. Every object has a place, by creation time, then kind and
//! name; those before the first that does not fit are within, all others are over. So the order in which a list or a
//! watch delivers them does not matter, replicas agree, and an object that is there keeps its place whatever is added.
//! The content of objects that are over is not held: one that comes within is read again. Pure.

use std::collections::{BTreeMap, BTreeSet};

use routeapi_channel::{Key, Kind, ObjectId};

/// What one namespace may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// AIProviders, AIRoutes and ApiTokens together.
    pub objects: usize,
    /// Bytes of their specs as JSON, together.
    pub bytes: usize,
    /// Namespaces without bounds.
    pub exempt: BTreeSet<String>,
}

/// What changes for other objects when one comes, goes or grows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// Were held and are over now.
    pub over: Vec<Key>,
    /// Are within and not held.
    pub within: Vec<Key>,
}

/// Every namespace's objects.
#[derive(Debug, Default)]
pub struct Usage {
    bounds: Option<Bounds>,
    namespaces: BTreeMap<String, Namespace>,
}

#[derive(Debug, Default)]
struct Namespace {
    objects: BTreeMap<(Kind, String), Weight>,
    /// All of them, in the order of their places.
    places: BTreeMap<Place, Weight>,
    /// Those whose content is held.
    held: BTreeSet<Place>,
    /// The first that is over.
    first_over: Option<Place>,
}

type Place = (i64, Kind, String);

#[derive(Clone, Copy, Debug)]
struct Weight {
    created: i64,
    bytes: usize,
}

// === impl Usage ===

impl Usage {
    /// With these bounds; none: everything is within.
    pub fn new(bounds: Option<Bounds>) -> Self {
        Self { bounds, namespaces: BTreeMap::new() }
    }

    /// The bounds, if there are any.
    pub fn bounds(&self) -> Option<&Bounds> {
        self.bounds.as_ref()
    }

    /// An object came or changed. `created` in seconds since 1970. Whether its content is to be held, and what changes for
    /// others.
    pub fn put(&mut self, key: &Key, created: i64, bytes: usize) -> (bool, Shift) {
        let Some(bounds) = self.bounds_of(&key.id) else { return (true, Shift::default()) };
        let namespace = self.namespaces.entry(key.id.namespace().to_owned()).or_default();
        let place = namespace.put(key, Weight { created, bytes });
        // Behind the first that is over nothing changes.
        if namespace.first_over.as_ref().is_some_and(|first| *first < place) {
            return (false, Shift::default());
        }
        namespace.held.insert(place.clone());
        let mut shift = namespace.settle(&bounds, key.id.namespace());
        shift.over.retain(|over| over != key);
        (namespace.held.contains(&place), shift)
    }

    /// An object is gone.
    pub fn remove(&mut self, key: &Key) -> Shift {
        let Some(bounds) = self.bounds_of(&key.id) else { return Shift::default() };
        let Some(namespace) = self.namespaces.get_mut(key.id.namespace()) else { return Shift::default() };
        namespace.remove(key);
        let shift = namespace.settle(&bounds, key.id.namespace());
        if namespace.places.is_empty() {
            self.namespaces.remove(key.id.namespace());
        }
        shift
    }

    fn bounds_of(&self, id: &ObjectId) -> Option<Bounds> {
        self.bounds.as_ref().filter(|bounds| !bounds.exempt.contains(id.namespace())).cloned()
    }
}

// === impl Namespace ===

impl Namespace {
    fn put(&mut self, key: &Key, weight: Weight) -> Place {
        self.remove(key);
        let place = (weight.created, key.kind, key.id.name().to_owned());
        self.objects.insert((key.kind, key.id.name().to_owned()), weight);
        self.places.insert(place.clone(), weight);
        place
    }

    fn remove(&mut self, key: &Key) {
        let name = (key.kind, key.id.name().to_owned());
        if let Some(weight) = self.objects.remove(&name) {
            let place = (weight.created, name.0, name.1);
            self.places.remove(&place);
            self.held.remove(&place);
            if self.first_over.as_ref().is_some_and(|first| place <= *first) {
                self.first_over = None; // found again by `settle`
            }
        }
    }

    /// Finds the first that is over, looking at no more objects than a namespace may hold.
    fn settle(&mut self, bounds: &Bounds, namespace: &str) -> Shift {
        let mut shift = Shift::default();
        let (mut objects, mut bytes) = (0, 0_usize);
        self.first_over = None;
        for (place, weight) in &self.places {
            objects += 1;
            bytes = bytes.saturating_add(weight.bytes);
            if objects > bounds.objects || bytes > bounds.bytes {
                self.first_over = Some(place.clone());
                break;
            }
            if !self.held.contains(place) {
                shift.within.push(key(namespace, place));
            }
        }
        if let Some(first) = &self.first_over {
            let over = self.held.split_off(first);
            shift.over.extend(over.iter().map(|place| key(namespace, place)));
        }
        shift
    }
}

fn key(namespace: &str, (_, kind, name): &Place) -> Key {
    Key { kind: *kind, id: ObjectId::new(namespace, name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(objects: usize, bytes: usize) -> Option<Bounds> {
        Some(Bounds { objects, bytes, exempt: ["platform".to_owned()].into() })
    }

    fn route(name: &str) -> Key {
        Key { kind: Kind::Route, id: ObjectId::new("team", name) }
    }

    fn names(keys: &[Key]) -> Vec<&str> {
        keys.iter().map(|key| key.id.name()).collect()
    }

    #[test]
    fn the_oldest_keep_their_places_in_whatever_order_they_come() {
        let ages = [("a", 5), ("b", 1), ("c", 4), ("d", 2), ("e", 3)];
        for start in 0..ages.len() {
            let mut usage = Usage::new(bounds(3, 1000));
            let mut held = BTreeSet::new();
            for at in 0..ages.len() {
                let (name, created) = ages[(start + at) % ages.len()];
                let (holds, shift) = usage.put(&route(name), created, 10);
                held.retain(|key| !shift.over.contains(key));
                assert_eq!(shift.within, [], "nothing comes within when something is added");
                if holds {
                    held.insert(route(name));
                }
            }
            assert_eq!(held, ["b", "d", "e"].map(route).into(), "from {start}");
        }
    }

    #[test]
    fn bytes_count_as_well_and_nothing_younger_slips_past_one_that_is_over() {
        let mut usage = Usage::new(bounds(100, 100));
        assert!(usage.put(&route("a"), 1, 60).0);
        assert!(!usage.put(&route("b"), 2, 60).0);
        assert!(!usage.put(&route("c"), 3, 1).0);
        let shift = usage.put(&route("a"), 1, 30).1;
        assert_eq!(names(&shift.within), ["b", "c"], "it has become smaller");
        let (holds, shift) = usage.put(&route("a"), 1, 90);
        assert!(holds && shift.within.is_empty(), "{shift:?}");
        let (holds, _) = usage.put(&route("a"), 1, 101);
        assert!(!holds, "too large by itself");
    }

    #[test]
    fn when_one_goes_the_next_comes_within() {
        let mut usage = Usage::new(bounds(2, 1000));
        for (at, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            usage.put(&route(name), i64::try_from(at).unwrap(), 1);
        }
        assert_eq!(usage.remove(&route("d")), Shift::default());
        assert_eq!(names(&usage.remove(&route("a")).within), ["c"]);
        assert!(usage.put(&route("c"), 2, 1).0, "its content has come");
        assert_eq!(usage.put(&route("older"), -1, 1).1.over, [route("c")]);
        assert_eq!(usage.remove(&route("nowhere")).over, []);
    }

    #[test]
    fn kinds_share_the_bound_and_other_namespaces_have_their_own() {
        let mut usage = Usage::new(bounds(1, 1000));
        let provider = Key { kind: Kind::Provider, id: ObjectId::new("team", "a") };
        assert!(usage.put(&route("a"), 1, 1).0 && !usage.put(&provider, 2, 1).0);
        let elsewhere = |namespace: &str, name: &str| Key { kind: Kind::Route, id: ObjectId::new(namespace, name) };
        assert!(usage.put(&elsewhere("other", "a"), 3, 1).0);
        assert!((0..10).all(|at| usage.put(&elsewhere("platform", &at.to_string()), at, 1000).0));
        let mut unbounded = Usage::new(None);
        assert!((0..10).all(|at| unbounded.put(&route(&at.to_string()), at, 1000).0));
    }
}
