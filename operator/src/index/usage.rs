//! The limits of each namespace: a number of objects and a total size of their specs, the oldest first.
//!
//! Decides which objects are within their namespace's limits. Objects are ordered by creation time, then kind and name; those
//! before the first that does not fit are admitted, all others are excluded. So the order in which a list or a watch delivers
//! them does not matter, replicas agree, and adding objects never excludes older ones. The content of excluded objects is not
//! stored: one that is admitted later is read again. Pure.

use std::collections::{BTreeMap, BTreeSet};

use routeapi_channel::{Key, Kind, ObjectId};

/// The limits of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceLimits {
    /// Maximum number of AIProviders, AIRoutes and ApiTokens together.
    pub objects: usize,
    /// Maximum total size of their specs as JSON, in bytes.
    pub bytes: usize,
    /// Namespaces without limits.
    pub exempt: BTreeSet<String>,
}

/// What changes for other objects when one is added, removed or resized.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rebalanced {
    /// Objects that were stored and are excluded now.
    pub evicted: Vec<Key>,
    /// Objects that are admitted now and not stored yet.
    pub admitted: Vec<Key>,
}

/// The objects of every namespace.
#[derive(Debug, Default)]
pub struct NamespaceUsage {
    limits: Option<NamespaceLimits>,
    namespaces: BTreeMap<String, Namespace>,
}

#[derive(Debug, Default)]
struct Namespace {
    objects: BTreeMap<(Kind, String), Size>,
    /// All objects, the oldest first.
    order: BTreeMap<Precedence, Size>,
    /// Those whose content is stored.
    admitted: BTreeSet<Precedence>,
    /// The first that is not admitted.
    first_excluded: Option<Precedence>,
}

type Precedence = (i64, Kind, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    created: i64,
    bytes: usize,
}

// === impl NamespaceUsage ===

impl NamespaceUsage {
    /// With these limits; none admits everything.
    pub fn new(limits: Option<NamespaceLimits>) -> Self {
        Self { limits, namespaces: BTreeMap::new() }
    }

    /// The limits; none if everything is admitted.
    pub fn limits(&self) -> Option<&NamespaceLimits> {
        self.limits.as_ref()
    }

    /// Adds or changes an object. `created` in seconds since 1970, `bytes` the size of its spec. Whether it is admitted, and what
    /// changes for others.
    pub fn put(&mut self, key: &Key, created: i64, bytes: usize) -> (bool, Rebalanced) {
        let Some(limits) = self.limits_of(&key.id) else { return (true, Rebalanced::default()) };
        let namespace = self.namespaces.entry(key.id.namespace().to_owned()).or_default();
        if namespace.has_admitted(key, Size { created, bytes }) {
            return (true, Rebalanced::default()); // such as a change of its status
        }
        let precedence = namespace.put(key, Size { created, bytes });
        // Behind the first that is excluded nothing changes.
        if namespace.first_excluded.as_ref().is_some_and(|first| *first < precedence) {
            return (false, Rebalanced::default());
        }
        namespace.admitted.insert(precedence.clone());
        let mut change = namespace.recompute(&limits, key.id.namespace());
        change.evicted.retain(|evicted| evicted != key);
        (namespace.admitted.contains(&precedence), change)
    }

    /// Removes an object.
    pub fn remove(&mut self, key: &Key) -> Rebalanced {
        let Some(limits) = self.limits_of(&key.id) else { return Rebalanced::default() };
        let Some(namespace) = self.namespaces.get_mut(key.id.namespace()) else { return Rebalanced::default() };
        namespace.remove(key);
        let change = namespace.recompute(&limits, key.id.namespace());
        if namespace.order.is_empty() {
            self.namespaces.remove(key.id.namespace());
        }
        change
    }

    fn limits_of(&self, id: &ObjectId) -> Option<NamespaceLimits> {
        self.limits.as_ref().filter(|limits| !limits.exempt.contains(id.namespace())).cloned()
    }
}

// === impl Namespace ===

impl Namespace {
    fn has_admitted(&self, key: &Key, size: Size) -> bool {
        let name = key.id.name().to_owned();
        self.objects.get(&(key.kind, name.clone())) == Some(&size)
            && self.admitted.contains(&(size.created, key.kind, name))
    }

    fn put(&mut self, key: &Key, size: Size) -> Precedence {
        self.remove(key);
        let precedence = (size.created, key.kind, key.id.name().to_owned());
        self.objects.insert((key.kind, key.id.name().to_owned()), size);
        self.order.insert(precedence.clone(), size);
        precedence
    }

    fn remove(&mut self, key: &Key) {
        let name = (key.kind, key.id.name().to_owned());
        if let Some(size) = self.objects.remove(&name) {
            let precedence = (size.created, name.0, name.1);
            self.order.remove(&precedence);
            self.admitted.remove(&precedence);
            if self.first_excluded.as_ref().is_some_and(|first| precedence <= *first) {
                self.first_excluded = None; // found again by `recompute`
            }
        }
    }

    /// Finds the first object that is not admitted, examining no more objects than the limits admit.
    fn recompute(&mut self, limits: &NamespaceLimits, namespace: &str) -> Rebalanced {
        let mut change = Rebalanced::default();
        let (mut objects, mut bytes) = (0, 0_usize);
        self.first_excluded = None;
        for (precedence, size) in &self.order {
            objects += 1;
            bytes = bytes.saturating_add(size.bytes);
            if objects > limits.objects || bytes > limits.bytes {
                self.first_excluded = Some(precedence.clone());
                break;
            }
            if !self.admitted.contains(precedence) {
                change.admitted.push(key(namespace, precedence));
            }
        }
        if let Some(first) = &self.first_excluded {
            let evicted = self.admitted.split_off(first);
            change.evicted.extend(evicted.iter().map(|precedence| key(namespace, precedence)));
        }
        change
    }
}

fn key(namespace: &str, (_, kind, name): &Precedence) -> Key {
    Key { kind: *kind, id: ObjectId::new(namespace, name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(objects: usize, bytes: usize) -> Option<NamespaceLimits> {
        Some(NamespaceLimits { objects, bytes, exempt: ["platform".to_owned()].into() })
    }

    fn route(name: &str) -> Key {
        Key { kind: Kind::Route, id: ObjectId::new("team", name) }
    }

    fn names(keys: &[Key]) -> Vec<&str> {
        keys.iter().map(|key| key.id.name()).collect()
    }

    #[test]
    fn the_oldest_are_admitted_in_whatever_order_they_arrive() {
        let ages = [("a", 5), ("b", 1), ("c", 4), ("d", 2), ("e", 3)];
        for start in 0..ages.len() {
            let mut usage = NamespaceUsage::new(limits(3, 1000));
            let mut stored = BTreeSet::new();
            for at in 0..ages.len() {
                let (name, created) = ages[(start + at) % ages.len()];
                let (admitted, change) = usage.put(&route(name), created, 10);
                stored.retain(|key| !change.evicted.contains(key));
                assert_eq!(change.admitted, [], "adding an object admits no other");
                if admitted {
                    stored.insert(route(name));
                }
            }
            assert_eq!(stored, ["b", "d", "e"].map(route).into(), "from {start}");
        }
    }

    #[test]
    fn the_size_limit_excludes_all_younger_objects_too() {
        let mut usage = NamespaceUsage::new(limits(100, 100));
        assert!(usage.put(&route("a"), 1, 60).0);
        assert!(!usage.put(&route("b"), 2, 60).0);
        assert!(!usage.put(&route("c"), 3, 1).0);
        let change = usage.put(&route("a"), 1, 30).1;
        assert_eq!(names(&change.admitted), ["b", "c"], "it has become smaller");
        let (admitted, change) = usage.put(&route("a"), 1, 90);
        assert!(admitted && change.admitted.is_empty(), "{change:?}");
        let (admitted, _) = usage.put(&route("a"), 1, 101);
        assert!(!admitted, "too large by itself");
    }

    #[test]
    fn removing_an_object_admits_the_next() {
        let mut usage = NamespaceUsage::new(limits(2, 1000));
        for (at, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            usage.put(&route(name), i64::try_from(at).unwrap(), 1);
        }
        assert_eq!(usage.remove(&route("d")), Rebalanced::default());
        assert_eq!(names(&usage.remove(&route("a")).admitted), ["c"]);
        assert!(usage.put(&route("c"), 2, 1).0, "its content was read");
        assert_eq!(usage.put(&route("older"), -1, 1).1.evicted, [route("c")]);
        assert_eq!(usage.remove(&route("nowhere")).evicted, []);
    }

    #[test]
    fn kinds_share_the_limits_of_their_namespace() {
        let mut usage = NamespaceUsage::new(limits(1, 1000));
        let provider = Key { kind: Kind::Provider, id: ObjectId::new("team", "a") };
        assert!(usage.put(&route("a"), 1, 1).0 && !usage.put(&provider, 2, 1).0);
        let elsewhere = |namespace: &str, name: &str| Key { kind: Kind::Route, id: ObjectId::new(namespace, name) };
        assert!(usage.put(&elsewhere("other", "a"), 3, 1).0);
        assert!((0..10).all(|at| usage.put(&elsewhere("platform", &at.to_string()), at, 1000).0));
        let mut unbounded = NamespaceUsage::new(None);
        assert!((0..10).all(|at| unbounded.put(&route(&at.to_string()), at, 1000).0));
    }
}
