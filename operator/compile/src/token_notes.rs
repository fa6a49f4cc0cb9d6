//! What is said of ApiTokens that depends on AIRoutes and AIProviders: which of their models nobody serves, which they cannot
//! use for lack of a price. Said once for all tokens of a namespace that name the same models, and again when a route changes
//! that has to do with them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use routeapi_channel::ObjectId;
use routeapi_crds::{v1alpha1::ApiTokenSpec, value::ModelPattern};

use crate::{
    pattern_index::overlap,
    route_table::RouteChange,
    routes::CompiledRoute,
    selectors::Namespaces,
    unpriced::{self, UnpricedRoutes},
    unserved::{self, ServedModels},
};

/// Routes that change together, of which each is compared with what tokens name: of more, everything is said again.
const MAX_COMPARED: usize = 64;

/// Parts of the `Accepted` message that depend on AIRoutes and AIProviders; empty if there is nothing to say.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct TokenNotes {
    /// Models that no AIRoute serves.
    pub unserved: String,
    /// Models that it cannot use for lack of a price.
    pub unpriced: String,
}

/// What all routes serve to tokens.
#[derive(Default)]
pub(crate) struct Served {
    models: ServedModels,
    unpriced: UnpricedRoutes,
}

/// Says what depends on AIRoutes and AIProviders.
pub(crate) struct NoteWriter<'a> {
    served: &'a Served,
    namespaces: &'a Namespaces<'a>,
    known: unserved::Known,
    without_price: BTreeMap<String, Vec<ModelPattern>>,
}

/// What is said of tokens, by namespace and by what of their specs it depends on.
#[derive(Default)]
pub(crate) struct Notes(HashMap<String, HashMap<Named, Remembered>>);

/// The models that a token names, and whether it denies those without a price.
type Named = (Vec<ModelPattern>, bool);

/// What is said of some tokens.
struct Remembered {
    notes: TokenNotes,
    of: HashSet<ObjectId>,
}

// === impl Served ===

impl Served {
    /// What these routes serve.
    pub fn of<'a>(routes: impl Iterator<Item = &'a Arc<CompiledRoute>>, namespaces: &Namespaces<'_>) -> Self {
        let mut served = Self::default();
        routes.for_each(|route| served.add(route, namespaces));
        served
    }

    /// Follows a route. Namespaces have the labels that they had when it was added.
    pub fn follow(&mut self, RouteChange { before, after, .. }: &RouteChange, namespaces: &Namespaces<'_>) {
        if let Some(before) = before {
            self.models.remove(before);
            self.unpriced.remove(before);
        }
        if let Some(after) = after {
            self.add(after, namespaces);
        }
    }

    fn add(&mut self, route: &Arc<CompiledRoute>, namespaces: &Namespaces<'_>) {
        self.models.add(route, namespaces);
        self.unpriced.add(route, namespaces);
    }
}

// === impl NoteWriter ===

impl<'a> NoteWriter<'a> {
    pub fn new(served: &'a Served, namespaces: &'a Namespaces<'a>) -> Self {
        Self { served, namespaces, known: unserved::Known::default(), without_price: BTreeMap::new() }
    }

    pub fn of(&mut self, id: &ObjectId, spec: &ApiTokenSpec) -> TokenNotes {
        self.write(id.namespace(), &spec.models, spec.denies_unpriced())
    }

    fn write(&mut self, namespace: &str, models: &[ModelPattern], denies_unpriced: bool) -> TokenNotes {
        let Self { served, namespaces, known, without_price } = self;
        let unpriced = if denies_unpriced {
            let found = || served.unpriced.for_namespace(namespace, namespaces);
            unpriced::note(without_price.entry(namespace.to_owned()).or_insert_with(found), models)
        } else {
            String::new()
        };
        TokenNotes { unserved: unserved::note(&served.models, known, namespace, models, namespaces), unpriced }
    }
}

// === impl Notes ===

impl Notes {
    /// What is to be said of a token, and from now on again when that changes.
    pub fn of(&mut self, id: &ObjectId, spec: &ApiTokenSpec, writer: &mut NoteWriter<'_>) -> &TokenNotes {
        let known = self.0.entry(id.namespace().to_owned()).or_default();
        let write = || Remembered { notes: writer.of(id, spec), of: HashSet::new() };
        let remembered = known.entry(named(spec)).or_insert_with(write);
        if !remembered.of.contains(id) {
            remembered.of.insert(id.clone());
        }
        &remembered.notes
    }

    /// Forgets a token that had this spec.
    pub fn forget(&mut self, id: &ObjectId, spec: &ApiTokenSpec) {
        let Some(known) = self.0.get_mut(id.namespace()) else { return };
        let named = named(spec);
        let Some(remembered) = known.get_mut(&named) else { return };
        remembered.of.remove(id);
        if remembered.of.is_empty() {
            known.remove(&named);
        }
        if known.is_empty() {
            self.0.remove(id.namespace());
        }
    }

    /// Finds out again what these changes may have made different. Returns the tokens of which something else is to be said.
    pub fn renew(&mut self, changes: &[RouteChange], writer: &mut NoteWriter<'_>) -> Vec<ObjectId> {
        let changes: Vec<_> = changes.iter().filter(|change| change.serves_other()).map(Concerned::of).collect();
        if changes.is_empty() {
            return Vec::new();
        }
        if changes.len() > MAX_COMPARED {
            return self.renew_all(writer);
        }
        self.renew_where(|namespace, named| changes.iter().any(|change| change.concerns(namespace, named)), writer)
    }

    /// Finds out everything again. Returns the tokens of which something else is to be said.
    pub fn renew_all(&mut self, writer: &mut NoteWriter<'_>) -> Vec<ObjectId> {
        self.renew_where(|_, _| true, writer)
    }

    fn renew_where(
        &mut self,
        is_concerned: impl Fn(&str, &Named) -> bool,
        writer: &mut NoteWriter<'_>,
    ) -> Vec<ObjectId> {
        let mut due = Vec::new();
        for (namespace, known) in &mut self.0 {
            for (named, remembered) in known.iter_mut().filter(|(named, _)| is_concerned(namespace, named)) {
                let notes = writer.write(namespace, &named.0, named.1);
                if notes != remembered.notes {
                    remembered.notes = notes;
                    due.extend(remembered.of.iter().cloned());
                }
            }
        }
        due
    }
}

/// The tokens that a change of a route may concern.
struct Concerned<'a> {
    namespace: &'a str,
    /// Whether it publishes, or did.
    others: bool,
    patterns: Vec<&'a ModelPattern>,
}

// === impl Concerned ===

impl<'a> Concerned<'a> {
    fn of(change: &'a RouteChange) -> Self {
        let routes = [&change.before, &change.after].into_iter().flatten().filter_map(|it| it.route.as_ref());
        let mut concerned = Self { namespace: change.id.namespace(), others: false, patterns: Vec::new() };
        for route in routes {
            concerned.others |= !route.published.is_empty();
            concerned.patterns.extend(route.models.iter().chain(route.published.iter().map(|it| &it.model)));
        }
        concerned
    }

    /// Of what has no price, a limited number is known: one more can displace another.
    fn concerns(&self, namespace: &str, (models, denies_unpriced): &Named) -> bool {
        let overlaps = |named: &ModelPattern| self.patterns.iter().any(|pattern| overlap(pattern, named));
        (self.others || self.namespace == namespace) && (*denies_unpriced || models.iter().any(overlaps))
    }
}

/// What of a token's spec the notes depend on.
fn named(spec: &ApiTokenSpec) -> Named {
    (spec.models.clone(), spec.denies_unpriced())
}
