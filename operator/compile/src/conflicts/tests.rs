//! The table of `docs/models.md`: which route answers whom.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use crate::{Compiled, ObjectRef, Objects, Options, Publishers, compile};
use routeapi_channel::{Kind, ObjectId};
use routeapi_crds::condition::ConditionType;

/// One AIRoute: `namespace/name`, creation time in seconds, its patterns, the namespaces it allows, and what else is in its
/// spec.
struct TestRoute {
    id: &'static str,
    created: u32,
    models: &'static [&'static str],
    open: &'static str,
    more: &'static str,
}

const fn route(id: &'static str, created: u32, models: &'static [&'static str], open: &'static str) -> TestRoute {
    TestRoute { id, created, models, open, more: "" }
}

impl TestRoute {
    const fn with(self, more: &'static str) -> Self {
        Self { more, ..self }
    }

    fn value(&self) -> Value {
        let (namespace, name) = self.id.split_once('/').unwrap();
        let namespaces = match self.open {
            "own" => json!({"from": "Same"}),
            "all" => json!({"from": "All"}),
            names => json!({"from": "Selector", "selector": {"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": names.split(' ').collect::<Vec<_>>()}]}}),
        };
        let provider = if self.more == "broken" { "gone" } else { "echo" };
        let mut value = json!({
            "apiVersion": "routeapi.dev/v1alpha1", "kind": "AIRoute",
            "metadata": {"namespace": namespace, "name": name,
                         "creationTimestamp": format!("2026-01-01T00:00:{:02}Z", self.created)},
            "spec": {"model": self.models[0], "aliases": &self.models[1..],
                     "allowedTokens": {"namespaces": namespaces},
                     "upstreams": [{"name": "u", "providerRef": {"name": provider}}]},
        });
        if let Some(to) = self.more.strip_prefix("delegates ") {
            value["spec"]["delegates"] = match to {
                "all" => json!({"namespaces": {"from": "All"}}),
                name => {
                    json!({"namespaces": {"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}})
                }
            };
        }
        value
    }
}

/// `release` is the operator's namespace, `vendors` in its setting, `labs` and `shop` carry the label, `ranked` carries it
/// with a number; `team-a` and `team-b` have no grant.
fn compiled(routes: &[TestRoute]) -> Compiled {
    let read = |value: Value| serde_json::from_value(value).unwrap();
    let mut objects = Objects::default();
    for namespace in ["release", "vendors", "labs", "shop", "ranked", "team-a", "team-b"] {
        let label = match namespace {
            "labs" | "shop" => Some("true"),
            "ranked" => Some("7"),
            "team-b" => Some("false"),
            _ => None,
        };
        let labels = label.map(|value| (crate::PUBLISH_LABEL.to_owned(), value.to_owned())).into_iter().collect();
        objects.namespaces.insert(namespace.to_owned(), labels);
        objects.providers.push(Arc::new(
            serde_json::from_value(json!({
                "apiVersion": "routeapi.dev/v1alpha1", "kind": "AIProvider",
                "metadata": {"namespace": namespace, "name": "echo"}, "spec": {"type": "Echo"},
            }))
            .unwrap(),
        ));
    }
    objects.routes = routes.iter().map(|route| Arc::new(read(route.value()))).collect();
    let listed = ["vendors".to_owned()].into();
    let options =
        Options { publishers: Publishers::Granted { first: "release".to_owned(), listed }, ..Options::default() };
    compile(&objects, &options)
}

/// As a data plane does it: own routes first, then published ones; the exact id, then the longest prefix; what serves
/// before what does not.
fn answers(compiled: &Compiled, namespace: &str, model: &str) -> String {
    let mut found: Vec<_> = Vec::new();
    for (id, route) in &compiled.snapshot.routes {
        let own = id.namespace() == namespace && route.is_open_to(namespace, &compiled.snapshot.namespaces);
        let mine = route.models.iter().filter(|_| own).map(|pattern| (true, pattern));
        let theirs = route
            .published
            .iter()
            .filter(|published| {
                id.namespace() != namespace
                    && route.is_open_to(namespace, &compiled.snapshot.namespaces)
                    && published.reach.contains(namespace)
            })
            .map(|published| (false, &published.model));
        for (own, pattern) in mine.chain(theirs).filter(|(_, pattern)| pattern.matches(model)) {
            let exact = matches!(pattern, routeapi_crds::value::ModelPattern::Exact(_));
            found.push(((route.serves(), own, exact, pattern.to_string().len()), id.to_string(), route.serves()));
        }
    }
    found.sort();
    let ambiguous = found.windows(2).last().is_some_and(|pair| pair[0].0 == pair[1].0 && pair[0].2);
    assert!(!ambiguous, "{namespace} {model}: two routes answer: {found:?}");
    match found.pop() {
        Some((_, id, true)) => id,
        Some((_, id, false)) => format!("broken {id}"),
        None => "nobody".to_owned(),
    }
}

fn check(title: &str, routes: &[TestRoute], expected: &[(&str, &str, &str)]) {
    let compiled = compiled(routes);
    for (namespace, model, route) in expected {
        assert_eq!(answers(&compiled, namespace, model), *route, "{title}: {model} for {namespace}");
    }
}

#[test]
fn a_namespace_without_a_grant_affects_its_own_tokens_only() {
    let platform = route("release/gpt", 0, &["gpt-*"], "all");
    check(
        "a route of one's own goes first, for one's own tokens",
        &[platform, route("team-a/mine", 5, &["gpt-4o"], "own")],
        &[("team-a", "gpt-4o", "team-a/mine"), ("team-b", "gpt-4o", "release/gpt"), ("team-a", "gpt-5", "release/gpt")],
    );
    for (title, models) in [
        ("an equal prefix", &["gpt-*"][..]),
        ("a longer prefix", &["gpt-4*"]),
        ("a shorter prefix", &["g*"]),
        ("everything", &["*"]),
        ("an alias", &["x", "gpt-4o"]),
        ("an alias prefix", &["x", "gpt-4*"]),
    ] {
        for created in [0, 9] {
            check(
                title,
                &[route("release/gpt", 5, &["gpt-*"], "all"), route("team-a/r", created, models, "all")],
                &[
                    ("team-b", "gpt-4o", "release/gpt"),
                    ("release", "gpt-4o", "release/gpt"),
                    ("team-a", "gpt-4o", "team-a/r"),
                ],
            );
        }
    }
    check(
        "a name of its own reaches nobody else either",
        &[route("team-a/r", 0, &["only-here"], "all")],
        &[("team-b", "only-here", "nobody"), ("team-a", "only-here", "team-a/r")],
    );
    check("a label of another value is no grant", &[route("team-b/r", 0, &["m"], "all")], &[("team-a", "m", "nobody")]);
    check(
        "one's own everything goes before a published exact id",
        &[route("release/r", 0, &["gpt-4o"], "all"), route("team-a/r", 0, &["*"], "own")],
        &[("team-a", "gpt-4o", "team-a/r"), ("team-b", "gpt-4o", "release/r")],
    );
}

#[test]
fn a_route_without_a_usable_upstream_shadows_no_other() {
    check(
        "one's own that is broken",
        &[route("release/gpt", 5, &["gpt-*"], "all"), route("team-a/r", 0, &["gpt-4o"], "own").with("broken")],
        &[("team-a", "gpt-4o", "release/gpt")],
    );
    check(
        "a publisher's that is broken",
        &[route("release/r", 0, &["gpt-4o"], "all").with("broken"), route("labs/r", 5, &["gpt-*"], "all")],
        &[("team-a", "gpt-4o", "labs/r")],
    );
    check(
        "a broken pattern protects nothing",
        &[route("release/r", 0, &["gpt-*"], "all").with("broken"), route("labs/r", 5, &["gpt-4o"], "all")],
        &[("team-a", "gpt-4o", "labs/r"), ("team-a", "gpt-5", "broken release/r")],
    );
    check(
        "the older of two equal ones of one namespace",
        &[route("team-a/a", 0, &["m"], "own").with("broken"), route("team-a/b", 5, &["m"], "own")],
        &[("team-a", "m", "team-a/b")],
    );
    check(
        "the broken route is the answer if nothing else serves",
        &[route("release/r", 0, &["m"], "all").with("broken")],
        &[("team-a", "m", "broken release/r")],
    );
}

#[test]
fn a_published_pattern_protects_the_ids_it_covers() {
    for (title, models) in [
        ("the same prefix", &["gpt-*"][..]),
        ("a longer prefix", &["gpt-4*"]),
        ("an exact id", &["gpt-4o"]),
        ("an alias", &["other", "gpt-4o"]),
        ("an alias prefix", &["other", "gpt-4*"]),
    ] {
        check(
            title,
            &[route("shop/old", 0, &["gpt-*"], "all"), route("labs/new", 5, models, "all")],
            &[("team-a", "gpt-4o", "shop/old"), ("labs", "gpt-4o", "labs/new"), ("shop", "gpt-4o", "shop/old")],
        );
    }
    check(
        "a shorter prefix gets the rest",
        &[route("shop/old", 0, &["gpt-*"], "all"), route("labs/new", 5, &["*"], "all")],
        &[("team-a", "gpt-4o", "shop/old"), ("team-a", "claude", "labs/new"), ("team-b", "x", "labs/new")],
    );
    check(
        "in the namespace of the pattern, the longest match decides",
        &[route("shop/old", 0, &["gpt-*"], "all"), route("shop/new", 5, &["gpt-4o"], "all")],
        &[("team-a", "gpt-4o", "shop/new"), ("team-a", "gpt-5", "shop/old")],
    );
    check(
        "an alias protects as the model does",
        &[route("shop/old", 0, &["x", "gpt-*"], "all"), route("labs/new", 5, &["gpt-4o"], "all")],
        &[("team-a", "gpt-4o", "shop/old")],
    );
    check(
        "* protects everything",
        &[route("shop/old", 0, &["*"], "all"), route("labs/new", 5, &["gpt-4o", "c*"], "all")],
        &[("team-a", "gpt-4o", "shop/old"), ("team-a", "claude", "shop/old")],
    );
}

#[test]
fn a_delegated_prefix_lets_more_specific_ids_through() {
    let old = || route("shop/old", 0, &["gpt-*"], "all");
    check(
        "to a namespace",
        &[
            old().with("delegates labs"),
            route("labs/new", 5, &["gpt-4o"], "all"),
            route("ranked/new", 6, &["gpt-5"], "all").with(""),
        ],
        &[("team-a", "gpt-4o", "labs/new"), ("team-a", "gpt-4", "shop/old")],
    );
    check(
        "not to another namespace",
        &[old().with("delegates vendors"), route("labs/new", 5, &["gpt-4o"], "all")],
        &[("team-a", "gpt-4o", "shop/old")],
    );
    check(
        "not the prefix itself",
        &[old().with("delegates all"), route("labs/new", 5, &["gpt-*"], "all")],
        &[("team-a", "gpt-4o", "shop/old")],
    );
    check(
        "not to a namespace without a grant",
        &[old().with("delegates all"), route("team-b/new", 5, &["gpt-4o"], "all")],
        &[("team-a", "gpt-4o", "shop/old")],
    );
    check(
        "what is delegated is protected too",
        &[
            old().with("delegates labs"),
            route("labs/new", 5, &["gpt-4*"], "all"),
            route("ranked/late", 9, &["claude"], "all"),
            route("release/late", 9, &["gemini"], "all"),
        ],
        &[("team-a", "gpt-4o", "labs/new"), ("team-a", "claude", "ranked/late")],
    );
}

#[test]
fn precedence_is_rank_then_age_then_name() {
    for (title, first, second) in [
        ("the release's namespace", "release/r", "vendors/r"),
        ("the setting before labels", "vendors/r", "labs/r"),
        ("the release before labels", "release/r", "labs/r"),
        ("a numbered label before a plain one", "ranked/r", "labs/r"),
    ] {
        check(
            &format!("{title}: a recreated route gets back what is its own"),
            &[route(first, 9, &["gpt-*"], "all"), route(second, 0, &["gpt-4o"], "all")],
            &[("team-a", "gpt-4o", first)],
        );
    }
    check(
        "age among equals",
        &[route("shop/r", 1, &["m"], "all"), route("labs/r", 2, &["m"], "all")],
        &[("team-a", "m", "shop/r")],
    );
    check(
        "name among those of one second",
        &[route("shop/r", 1, &["m"], "all"), route("labs/r", 1, &["m"], "all")],
        &[("team-a", "m", "labs/r")],
    );
}

#[test]
fn claims_conflict_only_where_their_audiences_overlap() {
    check(
        "to others than the older one's",
        &[route("shop/old", 0, &["m"], "team-a"), route("labs/new", 5, &["m"], "all")],
        &[("team-a", "m", "shop/old"), ("team-b", "m", "labs/new"), ("shop", "m", "labs/new")],
    );
    check(
        "one model, one route per team, in one namespace",
        &[route("release/a", 0, &["m"], "team-a"), route("release/b", 5, &["m"], "team-b")],
        &[("team-a", "m", "release/a"), ("team-b", "m", "release/b"), ("labs", "m", "nobody")],
    );
    check(
        "a pattern protects where it is open",
        &[route("shop/old", 0, &["gpt-*"], "team-a"), route("labs/new", 5, &["gpt-4o"], "team-a team-b")],
        &[("team-a", "gpt-4o", "shop/old"), ("team-b", "gpt-4o", "labs/new")],
    );
    check(
        "one that is for its own namespace only protects nothing",
        &[route("release/r", 0, &["m"], "own"), route("labs/r", 5, &["m"], "all")],
        &[("team-a", "m", "labs/r"), ("release", "m", "release/r")],
    );
}

/// The `Accepted` condition of each route: `STATUS REASON: MESSAGE`.
fn accepted_conditions(routes: &[TestRoute]) -> BTreeMap<&'static str, String> {
    let compiled = compiled(routes);
    let condition = |id: &'static str| {
        let key = ObjectRef { kind: Kind::Route, id: id.parse::<ObjectId>().unwrap() };
        let decision = compiled.verdicts[&key].decision(ConditionType::Accepted).unwrap();
        (id, format!("{} {}: {}", decision.status, decision.reason, decision.message))
    };
    routes.iter().map(|route| condition(route.id)).collect()
}

#[test]
fn both_sides_get_a_note_without_names_from_other_namespaces() {
    let routes = || {
        vec![
            route("release/platform-secret-name", 0, &["gpt-*"], "all"),
            route("labs/labs-secret-name", 1, &["gpt-4o"], "all"),
            route("team-a/team-secret-name", 2, &["gpt-4o"], "all"),
            route("team-b/alone", 3, &["something"], "own"),
        ]
    };
    let conditions = accepted_conditions(&routes());
    for (id, message) in &conditions {
        for other in routes() {
            let (namespace, name) = other.id.split_once('/').unwrap();
            if !id.starts_with(namespace) {
                assert!(!message.contains(name) && !message.contains(namespace), "{id} reads {message}");
            }
        }
    }
    assert!(conditions["team-b/alone"].ends_with(": "), "{}", conditions["team-b/alone"]);
    let team = &conditions["team-a/team-secret-name"];
    assert!(team.starts_with("True NotPublished: ") && team.contains("routeapi.dev/publish-models=true"), "{team}");
    assert!(team.contains("spec.model: for tokens of this namespace, \"gpt-4o\" overrides"), "{team}");
    let lost = &conditions["labs/labs-secret-name"];
    assert!(
        lost.starts_with(
            "True Accepted: spec.model: \"gpt-4o\" is not published: already claimed by an AIRoute in another"
        ),
        "{lost}"
    );
    let platform = &conditions["release/platform-secret-name"];
    assert!(platform.contains("an ID under one of this route's prefixes is also claimed by"), "{platform}");
    assert!(platform.contains("another namespace overrides \"gpt-*\""), "{platform}");
}

#[test]
fn a_route_whose_model_is_taken_everywhere_is_not_accepted() {
    let conditions = accepted_conditions(&[
        route("team-a/old", 0, &["m"], "own"),
        route("team-a/new", 1, &["m", "free"], "own"),
        route("team-a/late", 2, &["free"], "own"),
    ]);
    assert_eq!(
        conditions["team-a/new"],
        "False ModelConflict: spec.model: \"m\" is already claimed by AIRoute team-a/old"
    );
    assert!(
        conditions["team-a/old"].contains("\"m\" is also claimed by AIRoute team-a/new"),
        "{}",
        conditions["team-a/old"]
    );
    assert_eq!(conditions["team-a/late"], "True Accepted: ", "the aliases of a refused route stay free");
}
