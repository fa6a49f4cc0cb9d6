//! Which route answers a caller's model id.
//!
//! A caller's own namespace comes first, then what other namespaces publish; in each the exact id, then the longest
//! prefix. A route that takes no requests is found only where no other is, so that the caller hears why. Who may publish
//! what was settled when the snapshot was compiled.
//!
//! Published routes are held once, not once per namespace: whom a pattern reaches is looked up behind it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use routeapi_channel::snapshot::{AllowedNamespaces, Published, Reach};

use super::{patterns::Patterns, runtime::Route};

/// Up to so many routes behind one pattern are asked one by one.
const MAX_SCANNED_CLAIMS: usize = 8;

/// Every model id, for every caller. Clones share what is not made anew.
#[derive(Clone, Debug, Default)]
pub struct Names {
    own: HashMap<Arc<str>, Arc<View>>,
    published: Arc<View>,
}

/// What one group of callers sees.
#[derive(Debug, Default)]
struct View {
    serving: Patterns<Claims>,
    broken: Patterns<Claims>,
}

/// The routes behind one pattern. They reach different namespaces.
#[derive(Debug, Default)]
struct Claims {
    claims: Vec<Claim>,
    /// Where namespaces are named one by one, which claim is whose; only kept when there are many.
    by_namespace: HashMap<Box<str>, usize>,
}

#[derive(Debug)]
struct Claim {
    route: Arc<Route>,
    reach: Reach,
}

impl Names {
    /// Makes anew what tokens of a namespace find there, from all of its routes in their order.
    pub fn set_own<'a>(&mut self, namespace: &str, routes: impl Iterator<Item = &'a Arc<Route>>) {
        let mut view = View::default();
        let mut any = false;
        for route in routes.filter(|route| route.is_open_to(namespace)) {
            any = true;
            for model in &route.models {
                view.patterns(route.serves()).entry(model).push(route, &Reach::Whole);
            }
        }
        if any {
            self.own.insert(namespace.into(), Arc::new(view));
        } else {
            self.own.remove(namespace);
        }
    }

    /// Makes anew what tokens of other namespaces find, from all routes in their order with what they publish.
    pub fn set_published<'a>(&mut self, routes: impl Iterator<Item = (&'a Arc<Route>, &'a [Published])>) {
        let mut view = View::default();
        for (route, published) in routes {
            for Published { model, reach } in published {
                view.patterns(route.serves()).entry(model).push(route, reach);
            }
        }
        self.published = Arc::new(view);
    }

    /// What tokens of this namespace see, their own routes first.
    fn views(&self, namespace: &str) -> impl Iterator<Item = &View> {
        self.own.get(namespace).into_iter().chain([&self.published]).map(Arc::as_ref)
    }

    /// The route that answers tokens of this namespace.
    pub fn find(&self, namespace: &str, model: &str) -> Option<&Arc<Route>> {
        let claims = |patterns: fn(&View) -> &Patterns<Claims>| {
            self.views(namespace).flat_map(move |view| patterns(view).matching(model))
        };
        claims(|view| &view.serving).chain(claims(|view| &view.broken)).find_map(|claims| claims.of(namespace))
    }

    /// Exact ids that are answered, in their order, with the routes that name them so.
    pub fn exact(&self, namespace: &str) -> BTreeMap<&str, &Arc<Route>> {
        let named = self.views(namespace).flat_map(|view| view.serving.exact());
        let open = named.filter_map(|(id, claims)| Some((id, claims.of(namespace)?)));
        open.filter(|(id, route)| self.find(namespace, id).is_some_and(|found| Arc::ptr_eq(found, route))).collect()
    }

    /// Routes that answer whatever begins with a prefix, with that prefix; a route once for each of its prefixes.
    pub fn prefixes(&self, namespace: &str) -> impl Iterator<Item = (&str, &Arc<Route>)> {
        let named = self.views(namespace).flat_map(|view| view.serving.prefixes());
        named.filter_map(move |(prefix, claims)| Some((prefix, claims.of(namespace)?)))
    }
}

impl View {
    fn patterns(&mut self, serving: bool) -> &mut Patterns<Claims> {
        if serving { &mut self.serving } else { &mut self.broken }
    }
}

impl Claims {
    fn push(&mut self, route: &Arc<Route>, reach: &Reach) {
        self.claims.push(Claim { route: Arc::clone(route), reach: reach.clone() });
        match self.claims.len() {
            ..=MAX_SCANNED_CLAIMS => {}
            count if count == MAX_SCANNED_CLAIMS + 1 => (0..count).for_each(|index| self.index(index)),
            count => self.index(count - 1),
        }
    }

    fn index(&mut self, index: usize) {
        let Some(claim) = self.claims.get(index) else { return };
        for namespace in claim.named().filter(|namespace| claim.is_open_to(namespace)) {
            self.by_namespace.entry(namespace.as_str().into()).or_insert(index);
        }
    }

    fn of(&self, namespace: &str) -> Option<&Arc<Route>> {
        let claim = if self.claims.len() <= MAX_SCANNED_CLAIMS {
            self.claims.iter().find(|claim| claim.is_open_to(namespace))
        } else {
            let named = self.by_namespace.get(namespace).and_then(|&index| self.claims.get(index));
            // Those that name nobody choose by label or are open to all.
            let unnamed =
                || self.claims.iter().find(|claim| claim.named().next().is_none() && claim.is_open_to(namespace));
            named.or_else(unnamed)
        };
        claim.map(|claim| &claim.route)
    }
}

impl Claim {
    fn is_open_to(&self, namespace: &str) -> bool {
        self.route.is_open_to(namespace) && self.reach.contains(namespace)
    }

    /// Namespaces that it names one by one.
    fn named(&self) -> impl Iterator<Item = &String> {
        let names = match (&self.reach, &self.route.allowed) {
            (Reach::Only(names), _) | (Reach::Whole | Reach::Except(_), AllowedNamespaces::Only(names)) => Some(names),
            (Reach::Whole | Reach::Except(_), AllowedNamespaces::All | AllowedNamespaces::Selector(_)) => None,
        };
        names.into_iter().flatten()
    }
}
