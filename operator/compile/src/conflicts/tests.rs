//! The table of `docs/models.md`: which route answers whom.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use crate::{Compiled, ObjectRef, Objects, Options, Publishers, compile};
use routeapi_channel::{Kind, ObjectId};
use routeapi_crds::condition::ConditionType;

/// One AIRoute: `namespace/name`, second of its creation, its patterns, whom it lets in, and what else is in its spec.
struct Given {
    id: &'static str,
    created: u32,
    models: &'static [&'static str],
    open: &'static str,
    more: &'static str,
}

const fn given(id: &'static str, created: u32, models: &'static [&'static str], open: &'static str) -> Given {
    Given { id, created, models, open, more: "" }
}

impl Given {
    const fn but(self, more: &'static str) -> Self {
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
fn compiled(routes: &[Given]) -> Compiled {
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
            .filter(|it| {
                id.namespace() != namespace
                    && route.is_open_to(namespace, &compiled.snapshot.namespaces)
                    && it.reach.contains(namespace)
            })
            .map(|it| (false, &it.model));
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

fn check(title: &str, routes: &[Given], expected: &[(&str, &str, &str)]) {
    let compiled = compiled(routes);
    for (namespace, model, route) in expected {
        assert_eq!(answers(&compiled, namespace, model), *route, "{title}: {model} for {namespace}");
    }
}

#[test]
fn what_a_namespace_without_a_grant_writes_is_its_own_affair() {
    let platform = given("release/gpt", 0, &["gpt-*"], "all");
    check(
        "a route of one's own goes first, for one's own tokens",
        &[platform, given("team-a/mine", 5, &["gpt-4o"], "own")],
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
                &[given("release/gpt", 5, &["gpt-*"], "all"), given("team-a/r", created, models, "all")],
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
        &[given("team-a/r", 0, &["only-here"], "all")],
        &[("team-b", "only-here", "nobody"), ("team-a", "only-here", "team-a/r")],
    );
    check("a label of another value is no grant", &[given("team-b/r", 0, &["m"], "all")], &[("team-a", "m", "nobody")]);
    check(
        "one's own everything goes before a published exact id",
        &[given("release/r", 0, &["gpt-4o"], "all"), given("team-a/r", 0, &["*"], "own")],
        &[("team-a", "gpt-4o", "team-a/r"), ("team-b", "gpt-4o", "release/r")],
    );
}

#[test]
fn a_route_without_a_usable_upstream_hides_nobody() {
    check(
        "one's own that is broken",
        &[given("release/gpt", 5, &["gpt-*"], "all"), given("team-a/r", 0, &["gpt-4o"], "own").but("broken")],
        &[("team-a", "gpt-4o", "release/gpt")],
    );
    check(
        "a publisher's that is broken",
        &[given("release/r", 0, &["gpt-4o"], "all").but("broken"), given("labs/r", 5, &["gpt-*"], "all")],
        &[("team-a", "gpt-4o", "labs/r")],
    );
    check(
        "a broken pattern protects nothing",
        &[given("release/r", 0, &["gpt-*"], "all").but("broken"), given("labs/r", 5, &["gpt-4o"], "all")],
        &[("team-a", "gpt-4o", "labs/r"), ("team-a", "gpt-5", "broken release/r")],
    );
    check(
        "the older of two equal ones of one namespace",
        &[given("team-a/a", 0, &["m"], "own").but("broken"), given("team-a/b", 5, &["m"], "own")],
        &[("team-a", "m", "team-a/b")],
    );
    check(
        "why is told if nothing else serves",
        &[given("release/r", 0, &["m"], "all").but("broken")],
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
            &[given("shop/old", 0, &["gpt-*"], "all"), given("labs/new", 5, models, "all")],
            &[("team-a", "gpt-4o", "shop/old"), ("labs", "gpt-4o", "labs/new"), ("shop", "gpt-4o", "shop/old")],
        );
    }
    check(
        "a shorter prefix gets the rest",
        &[given("shop/old", 0, &["gpt-*"], "all"), given("labs/new", 5, &["*"], "all")],
        &[("team-a", "gpt-4o", "shop/old"), ("team-a", "claude", "labs/new"), ("team-b", "x", "labs/new")],
    );
    check(
        "in the namespace of the pattern, the longest match decides",
        &[given("shop/old", 0, &["gpt-*"], "all"), given("shop/new", 5, &["gpt-4o"], "all")],
        &[("team-a", "gpt-4o", "shop/new"), ("team-a", "gpt-5", "shop/old")],
    );
    check(
        "an alias protects as the model does",
        &[given("shop/old", 0, &["x", "gpt-*"], "all"), given("labs/new", 5, &["gpt-4o"], "all")],
        &[("team-a", "gpt-4o", "shop/old")],
    );
    check(
        "* protects everything",
        &[given("shop/old", 0, &["*"], "all"), given("labs/new", 5, &["gpt-4o", "c*"], "all")],
        &[("team-a", "gpt-4o", "shop/old"), ("team-a", "claude", "shop/old")],
    );
}

#[test]
fn a_delegated_prefix_lets_more_specific_ids_through() {
    let old = || given("shop/old", 0, &["gpt-*"], "all");
    check(
        "to a namespace",
        &[
            old().but("delegates labs"),
            given("labs/new", 5, &["gpt-4o"], "all"),
            given("ranked/new", 6, &["gpt-5"], "all").but(""),
        ],
        &[("team-a", "gpt-4o", "labs/new"), ("team-a", "gpt-4", "shop/old")],
    );
    check(
        "not to another namespace",
        &[old().but("delegates vendors"), given("labs/new", 5, &["gpt-4o"], "all")],
        &[("team-a", "gpt-4o", "shop/old")],
    );
    check(
        "not the prefix itself",
        &[old().but("delegates all"), given("labs/new", 5, &["gpt-*"], "all")],
        &[("team-a", "gpt-4o", "shop/old")],
    );
    check(
        "not to a namespace without a grant",
        &[old().but("delegates all"), given("team-b/new", 5, &["gpt-4o"], "all")],
        &[("team-a", "gpt-4o", "shop/old")],
    );
    check(
        "what is delegated is protected too",
        &[
            old().but("delegates labs"),
            given("labs/new", 5, &["gpt-4*"], "all"),
            given("ranked/late", 9, &["claude"], "all"),
            given("release/late", 9, &["gemini"], "all"),
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
            &[given(first, 9, &["gpt-*"], "all"), given(second, 0, &["gpt-4o"], "all")],
            &[("team-a", "gpt-4o", first)],
        );
    }
    check(
        "age among equals",
        &[given("shop/r", 1, &["m"], "all"), given("labs/r", 2, &["m"], "all")],
        &[("team-a", "m", "shop/r")],
    );
    check(
        "name among those of one second",
        &[given("shop/r", 1, &["m"], "all"), given("labs/r", 1, &["m"], "all")],
        &[("team-a", "m", "labs/r")],
    );
}

#[test]
fn a_claim_counts_where_it_is_open() {
    check(
        "to others than the older one's",
        &[given("shop/old", 0, &["m"], "team-a"), given("labs/new", 5, &["m"], "all")],
        &[("team-a", "m", "shop/old"), ("team-b", "m", "labs/new"), ("shop", "m", "labs/new")],
    );
    check(
        "one model, one route per team, in one namespace",
        &[given("release/a", 0, &["m"], "team-a"), given("release/b", 5, &["m"], "team-b")],
        &[("team-a", "m", "release/a"), ("team-b", "m", "release/b"), ("labs", "m", "nobody")],
    );
    check(
        "a pattern protects where it is open",
        &[given("shop/old", 0, &["gpt-*"], "team-a"), given("labs/new", 5, &["gpt-4o"], "team-a team-b")],
        &[("team-a", "gpt-4o", "shop/old"), ("team-b", "gpt-4o", "labs/new")],
    );
    check(
        "one that is for its own namespace only protects nothing",
        &[given("release/r", 0, &["m"], "own"), given("labs/r", 5, &["m"], "all")],
        &[("team-a", "m", "labs/r"), ("release", "m", "release/r")],
    );
}

/// What the `Accepted` condition of each route says.
fn said(routes: &[Given]) -> BTreeMap<&'static str, String> {
    let compiled = compiled(routes);
    let condition = |id: &'static str| {
        let key = ObjectRef { kind: Kind::Route, id: id.parse::<ObjectId>().unwrap() };
        let decision = compiled.verdicts[&key].decision(ConditionType::Accepted).unwrap();
        (id, format!("{} {}: {}", decision.status, decision.reason, decision.message))
    };
    routes.iter().map(|route| condition(route.id)).collect()
}

#[test]
fn both_sides_are_told_and_no_name_leaves_its_namespace() {
    let routes = || {
        vec![
            given("release/platform-secret-name", 0, &["gpt-*"], "all"),
            given("labs/labs-secret-name", 1, &["gpt-4o"], "all"),
            given("team-a/team-secret-name", 2, &["gpt-4o"], "all"),
            given("team-b/alone", 3, &["something"], "own"),
        ]
    };
    let said = said(&routes());
    for (id, message) in &said {
        for other in routes() {
            let (namespace, name) = other.id.split_once('/').unwrap();
            if !id.starts_with(namespace) {
                assert!(!message.contains(name) && !message.contains(namespace), "{id} reads {message}");
            }
        }
    }
    assert!(said["team-b/alone"].ends_with(": "), "{}", said["team-b/alone"]);
    let team = &said["team-a/team-secret-name"];
    assert!(team.starts_with("True NotPublished: ") && team.contains("routeapi.dev/publish-models=true"), "{team}");
    assert!(team.contains("spec.model: for tokens of this namespace \"gpt-4o\" goes before"), "{team}");
    let lost = &said["labs/labs-secret-name"];
    assert!(
        lost.starts_with("True Accepted: spec.model: \"gpt-4o\" is not published: it belongs to an AIRoute in another"),
        "{lost}"
    );
    let platform = &said["release/platform-secret-name"];
    assert!(platform.contains("an id under one of this route's prefixes is also named by"), "{platform}");
    assert!(platform.contains("tokens of another namespace use an AIRoute of their own for \"gpt-*\""), "{platform}");
}

#[test]
fn a_route_that_has_its_model_nowhere_is_not_accepted() {
    let said = said(&[
        given("team-a/old", 0, &["m"], "own"),
        given("team-a/new", 1, &["m", "free"], "own"),
        given("team-a/late", 2, &["free"], "own"),
    ]);
    assert_eq!(
        said["team-a/new"],
        "False ModelConflict: spec.model: \"m\" belongs to AIRoute team-a/old, which takes precedence"
    );
    assert!(said["team-a/old"].contains("\"m\" is also named by AIRoute team-a/new"), "{}", said["team-a/old"]);
    assert_eq!(said["team-a/late"], "True Accepted: ", "the aliases of a refused route stay free");
}
