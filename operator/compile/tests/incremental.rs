//! Random histories: after each step, the compiler that follows changes has what the compiler of whole states makes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::prelude::*;
use routeapi_channel::{Catalog, Key, ObjectId};
use routeapi_compile::{Changes, Compiler, Data, Objects, Options, PUBLISH_LABEL, Publishers, Verdict, compile};
use routeapi_crds::v1alpha1::{AIProvider, AIRoute, ApiToken};
use serde_json::{Value, json};

const NAMESPACES: [&str; 4] = ["ai", "shop", "lab", "team"];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const MODELS: [&str; 7] = ["*", "gpt-*", "gpt-4*", "gpt-4o", "gpt-4o-mini", "claude", "claude-*"];
const ALLOWED: usize = 5;
/// Values of the label of namespaces that may publish; one without it, and one that is not valid, may not.
const PUBLISHES: [Option<&str>; 5] = [None, Some("true"), Some("7"), Some("3"), Some("perhaps")];

/// One change. Numbers choose among the constants above.
#[derive(Clone, Debug)]
enum Step {
    Provider {
        at: usize,
        open: usize,
        priced: bool,
        key: bool,
    },
    Route {
        at: usize,
        model: usize,
        aliases: Vec<usize>,
        providers: Vec<usize>,
        allowed: usize,
        delegates: usize,
        idle: bool,
    },
    Token {
        at: usize,
        models: Vec<usize>,
        keys: Vec<usize>,
        spend: bool,
        broken: bool,
        deleting: bool,
    },
    Secret {
        namespace: usize,
        exists: bool,
    },
    Labels {
        namespace: usize,
        tier: usize,
        publishes: usize,
    },
    Unread {
        at: usize,
        unread: bool,
    },
    Delete {
        kind: usize,
        at: usize,
    },
}

/// The objects at some time.
#[derive(Default)]
struct History {
    providers: BTreeMap<ObjectId, Arc<AIProvider>>,
    routes: BTreeMap<ObjectId, Arc<AIRoute>>,
    tokens: BTreeMap<ObjectId, Arc<ApiToken>>,
    others: Objects,
    clock: i64,
}

fn place() -> impl Strategy<Value = usize> {
    0..NAMESPACES.len() * NAMES.len()
}

fn model() -> impl Strategy<Value = usize> {
    0..MODELS.len()
}

fn step() -> impl Strategy<Value = Step> {
    let flag = any::<bool>;
    let few = |most: usize, of: usize| proptest::collection::vec(0..of, 0..=most);
    prop_oneof![
        2 => (place(), 0..ALLOWED, flag(), flag())
            .prop_map(|(at, open, priced, key)| Step::Provider { at, open, priced, key }),
        5 => route(few(2, 16).boxed()),
        5 => (place(), few(2, MODELS.len()), few(2, 6), flag(), 0..8, 0..8).prop_map(
            |(at, models, keys, spend, broken, deleting)| {
                Step::Token { at, models, keys, spend, broken: broken == 0, deleting: deleting == 0 }
            }
        ),
        1 => (0..NAMESPACES.len(), flag()).prop_map(|(namespace, exists)| Step::Secret { namespace, exists }),
        1 => labels(),
        1 => (place(), flag()).prop_map(|(at, unread)| Step::Unread { at, unread }),
        3 => (0..3_usize, place()).prop_map(|(kind, at)| Step::Delete { kind, at }),
    ]
}

fn route(providers: BoxedStrategy<Vec<usize>>) -> impl Strategy<Value = Step> {
    let aliases = proptest::collection::vec(model(), 0..=2);
    let more = (0..ALLOWED, 0..ALLOWED, (0..6).prop_map(|idle| idle == 0));
    (place(), model(), aliases, providers, more).prop_map(
        |(at, model, aliases, providers, (allowed, delegates, idle))| Step::Route {
            at,
            model,
            aliases,
            providers,
            allowed,
            delegates,
            idle,
        },
    )
}

fn labels() -> impl Strategy<Value = Step> {
    (0..NAMESPACES.len(), 0..3_usize, 0..PUBLISHES.len()).prop_map(|(namespace, tier, publishes)| Step::Labels {
        namespace,
        tier,
        publishes,
    })
}

/// Steps about who may have a model ID: all routes use one provider, which comes and goes.
fn contest() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => route(Just(vec![0]).boxed()),
        5 => place().prop_map(|at| Step::Delete { kind: 1, at }),
        1 => labels(),
        1 => (0..2_usize).prop_map(|open| Step::Provider { at: 0, open, priced: false, key: false }),
        1 => Just(Step::Delete { kind: 0, at: 0 }),
    ]
}

fn id(at: usize) -> ObjectId {
    ObjectId::new(NAMESPACES[at / NAMES.len()], NAMES[at % NAMES.len()])
}

fn allowed(number: usize) -> Value {
    match number {
        0 => json!({"from": "All"}),
        1 => json!({"from": "Selector", "selector": {"matchLabels": {"tier": "1"}}}),
        2 => json!({"from": "Selector", "selector": {
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["2"]}]}}),
        _ => json!({"from": "Same"}),
    }
}

impl History {
    fn metadata(&mut self, at: usize, known: Option<ObjectMeta>) -> Value {
        self.clock += 1;
        let id = id(at);
        // Some are as old as others, and one that is changed keeps its age.
        let age = known.and_then(|known| known.creation_timestamp).map_or(self.clock / 3, |time| time.0.as_second());
        let created = jiff::Timestamp::from_second(age).unwrap().to_string();
        json!({"name": id.name(), "namespace": id.namespace(), "uid": format!("{at}"), "generation": self.clock,
            "creationTimestamp": created})
    }

    fn apply(&mut self, step: &Step) -> Changes {
        let mut changes = Changes::default();
        let mut others = true;
        match step.clone() {
            Step::Provider { at, open, priced, key } => {
                let metadata = self.metadata(at, self.providers.get(&id(at)).map(|it| it.metadata.clone()));
                let mut spec = json!({"type": "OpenAI", "allowedRoutes": {"namespaces": allowed(open)}});
                if key {
                    spec["credentials"] = json!({"apiKey": {"secretRef": {"name": "key", "key": "apiKey"}}});
                } else if matches!(open, 1 | 2) {
                    spec["credentials"] = json!({"fromClient": {}});
                }
                if priced {
                    spec["models"] =
                        json!([{"model": "gpt-4*", "price": {"inputPerMillion": "1", "outputPerMillion": "2"}}]);
                }
                self.providers.insert(id(at), object("AIProvider", &metadata, &spec));
            }
            Step::Route { .. } => {
                others = false;
                changes.routes.extend(self.route(step).map(|(id, route)| (id, Some(route))));
            }
            Step::Token { at, models, keys, spend, broken, deleting } => {
                others = false;
                let token = self.token(at, (&models, &keys), (spend, broken, deleting));
                changes.tokens.push((id(at), Some(token)));
            }
            Step::Secret { namespace, exists } => {
                let secret = ObjectId::new(NAMESPACES[namespace], "key");
                self.clock += 1;
                let data = [("apiKey".to_owned(), format!("key-{}", self.clock).into_bytes())];
                match exists {
                    true => drop(self.others.secrets.insert(secret, Arc::new(data.into_iter().collect::<Data>()))),
                    false => drop(self.others.secrets.remove(&secret)),
                }
            }
            Step::Labels { namespace, tier, publishes } => {
                let mut labels = BTreeMap::from([("tier".to_owned(), tier.to_string())]);
                if let Some(publishes) = PUBLISHES[publishes] {
                    labels.insert(PUBLISH_LABEL.to_owned(), publishes.to_owned());
                }
                self.others.namespaces.insert(NAMESPACES[namespace].to_owned(), labels);
            }
            Step::Unread { at, unread: true } => drop(self.others.unread_providers.insert(id(at))),
            Step::Unread { at, unread: false } => drop(self.others.unread_providers.remove(&id(at))),
            Step::Delete { kind: 0, at } => drop(self.providers.remove(&id(at))),
            Step::Delete { kind: 1, at } => {
                others = false;
                self.routes.remove(&id(at));
                changes.routes.push((id(at), None));
            }
            Step::Delete { at, .. } => {
                others = false;
                self.tokens.remove(&id(at));
                changes.tokens.push((id(at), None));
            }
        }
        changes.others = others.then(|| Objects { routes: Vec::new(), tokens: Vec::new(), ..self.objects() });
        changes
    }

    /// The route of a step.
    fn route(&mut self, step: &Step) -> Option<(ObjectId, Arc<AIRoute>)> {
        let Step::Route { at, model, aliases, providers, allowed: open, delegates, idle } = step else { return None };
        let id = id(*at);
        let metadata = self.metadata(*at, self.routes.get(&id).map(|it| it.metadata.clone()));
        let upstream = |(nth, at): (usize, &usize)| {
            let id = self::id(*at);
            json!({"name": format!("u{nth}"), "weight": u8::from(!idle),
                "providerRef": {"name": id.name(), "namespace": id.namespace()}})
        };
        let aliases: Vec<_> = aliases.iter().map(|alias| MODELS[*alias]).collect();
        let mut spec = json!({"model": MODELS[*model], "aliases": aliases,
            "allowedTokens": {"namespaces": allowed(*open)},
            "upstreams": providers.iter().enumerate().map(upstream).collect::<Vec<_>>()});
        if *delegates < 3 {
            spec["delegates"] = json!({"namespaces": allowed(*delegates)});
        }
        let route = object("AIRoute", &metadata, &spec);
        self.routes.insert(id.clone(), Arc::clone(&route));
        Some((id, route))
    }

    /// A token with these models and keys. Each key has a ServiceAccount beside it.
    fn token(
        &mut self,
        at: usize,
        (models, keys): (&[usize], &[usize]),
        (spend, broken, deleting): (bool, bool, bool),
    ) -> Arc<ApiToken> {
        let mut metadata = self.metadata(at, self.tokens.get(&id(at)).map(|it| it.metadata.clone()));
        if deleting {
            metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        let models: Vec<_> = models.iter().map(|model| MODELS[*model]).collect();
        let subjects: Vec<_> = keys.iter().map(|key| json!({"serviceAccountName": format!("sa-{key}")})).collect();
        let mut limits = vec![];
        if spend {
            limits.push(json!({"name": "money", "per": "Month", "spendUSD": "10"}));
        }
        if broken {
            limits.push(json!({"name": "nothing", "per": "Day"}));
        }
        let key = |key: &usize| {
            json!({"id": format!("k{key}"), "sha256": format!("{key}").repeat(64),
            "issuedTime": "2026-01-01T00:00:00Z"})
        };
        let mut value = json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": "ApiToken", "metadata": metadata,
            "spec": {"models": models, "limits": limits, "subjects": subjects}});
        value["status"] = json!({"keys": keys.iter().map(key).collect::<Vec<_>>()});
        let token: Arc<ApiToken> = Arc::new(serde_json::from_value(value).unwrap());
        self.tokens.insert(id(at), Arc::clone(&token));
        token
    }

    fn objects(&self) -> Objects {
        Objects {
            providers: self.providers.values().cloned().collect(),
            routes: self.routes.values().cloned().collect(),
            tokens: self.tokens.values().cloned().collect(),
            ..self.others.clone()
        }
    }
}

fn object<K: serde::de::DeserializeOwned>(kind: &str, metadata: &Value, spec: &Value) -> Arc<K> {
    let value = json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
    Arc::new(serde_json::from_value(value).unwrap())
}

/// What both compilers have to agree on: versions of resources, and verdicts.
fn shown(catalog: &Catalog) -> Vec<(String, String)> {
    catalog.iter().map(|(key, entry)| (format!("{} {}", key.kind, key.id), entry.body.get().to_owned())).collect()
}

fn check(options: &Options, steps: &[Step], batch: usize) -> Result<(), TestCaseError> {
    let (mut history, mut compiler) = (History::default(), Compiler::new(options.clone()));
    for steps in steps.chunks(batch) {
        let mut changes = Changes::default();
        for step in steps {
            let next = history.apply(step);
            changes.others = next.others.or(changes.others);
            changes.routes.extend(next.routes);
            changes.tokens.extend(next.tokens);
        }
        compiler.update(changes, &mut |_| ()).unwrap();
        let whole = compile(&history.objects(), options);
        let verdicts: BTreeMap<Key, Verdict> =
            compiler.verdicts().iter().map(|(key, verdict)| (key.clone(), (**verdict).clone())).collect();
        prop_assert_eq!(shown(compiler.catalog()), shown(&Catalog::of(&whole.snapshot).unwrap()), "after {:?}", steps);
        prop_assert_eq!(verdicts, whole.verdicts, "after {:?}", steps);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_in_the_state_that_a_whole_compilation_gives(
        steps in proptest::collection::vec(step(), 1..60),
        batch in 1..4_usize,
        anybody in any::<bool>(),
    ) {
        check(&options(anybody), &steps, batch)?;
    }

    #[test]
    fn any_contest_for_model_ids_ends_as_if_all_had_been_there_at_once(
        steps in proptest::collection::vec(contest(), 1..80),
        batch in 1..4_usize,
        anybody in any::<bool>(),
    ) {
        let open = Step::Provider { at: 0, open: 0, priced: false, key: false };
        let steps: Vec<_> = std::iter::once(open).chain(steps).collect();
        check(&options(anybody), &steps, batch)?;
    }
}

fn options(anybody: bool) -> Options {
    let publishers = if anybody {
        Publishers::Any
    } else {
        Publishers::Granted { first: "ai".to_owned(), listed: ["shop".to_owned()].into() }
    };
    Options { publishers, ..Options::default() }
}

#[test]
fn a_change_compiles_what_it_touches() {
    let (mut history, mut compiler) = (History::default(), Compiler::new(Options::default()));
    let mut work = |step: Step| {
        let before = compiler.work();
        compiler.update(history.apply(&step), &mut |_| ()).unwrap();
        compiler.work() - before
    };
    let provider = |at| Step::Provider { at, open: 0, priced: false, key: false };
    let route = |at, model, providers: &[usize]| Step::Route {
        at,
        model,
        aliases: vec![],
        providers: providers.to_vec(),
        allowed: 4,
        delegates: 4,
        idle: false,
    };
    let token = |at, models: &[usize], keys: &[usize]| Step::Token {
        at,
        models: models.to_vec(),
        keys: keys.to_vec(),
        spend: false,
        broken: false,
        deleting: false,
    };
    for at in 0..16 {
        work(provider(at));
        work(route(at, 3 + at % 4, &[at]));
        work(token(at, &[5], &[]));
    }
    assert_eq!(work(token(7, &[5], &[1])), 1, "one token");
    assert_eq!(work(token(9, &[5], &[1])), 2, "and the one that it shares a key with");
    assert_eq!(work(route(7, 6, &[7, 8])), 2, "a route that serves the same is looked at and built");
    assert_eq!(work(provider(7)), 1, "a provider that compiles to the same touches no route");
    assert_eq!(work(Step::Delete { kind: 1, at: 3 }), 0, "a route whose model nobody else wants, nor names alone");
    // Statuses were written meanwhile: the API server returns other objects with the same specs.
    let changes = history.routes.iter().map(|(id, route)| {
        let written = AIRoute { status: Some(Default::default()), ..AIRoute::clone(route) };
        (id.clone(), Some(Arc::new(written)))
    });
    let changes = Changes { routes: changes.collect(), ..Changes::default() };
    let before = compiler.work();
    compiler.update(changes, &mut |_| ()).unwrap();
    assert_eq!(compiler.work(), before, "they compile to the same");
}

/// Beside thousands of routes, tokens and a publisher of everything.
#[test]
fn what_a_route_costs_does_not_grow_with_the_number_of_others() {
    let (mut compiler, others) = (Compiler::new(options(true)), 3_000);
    let metadata = |name: &str, generation: u32| {
        json!({"name": name, "namespace": "shop", "uid": name, "generation": generation,
            "creationTimestamp": "2026-01-01T00:00:00Z"})
    };
    let all = |published: bool| json!({"namespaces": {"from": if published { "All" } else { "Same" }}});
    let route = |name: &str, generation: u32, model: &str, aliases: &[&str], published: bool| {
        let spec = json!({"model": model, "aliases": aliases, "allowedTokens": all(published),
            "upstreams": [{"name": "u", "providerRef": {"name": "echo"}}]});
        let route: Arc<AIRoute> = object("AIRoute", &metadata(name, generation), &spec);
        (ObjectId::new("shop", name), Some(route))
    };
    let numbers = 0..others;
    let mut routes: Vec<_> = numbers
        .clone()
        .map(|number| route(&format!("r{number}"), 1, &format!("model-{number}"), &[], number % 2 == 0))
        .collect();
    routes.push(route("everything", 1, "*", &[], true));
    let provider: Arc<AIProvider> = object("AIProvider", &metadata("echo", 1), &json!({"type": "Echo"}));
    let token = |number| {
        let (name, spec) = (format!("t{number}"), json!({"models": [format!("model-{number}")]}));
        let token: Arc<ApiToken> = object("ApiToken", &metadata(&name, 1), &spec);
        (ObjectId::new("shop", &name), Some(token))
    };
    let start = Changes {
        others: Some(Objects { providers: vec![provider], ..Objects::default() }),
        routes,
        tokens: numbers.map(token).collect(),
    };
    compiler.update(start, &mut |_| ()).unwrap();
    let mut change = |what: &str, routes, most: usize| {
        let before = compiler.work();
        let started = std::time::Instant::now();
        compiler.update(Changes { routes, ..Changes::default() }, &mut |_| ()).unwrap();
        println!("figure: compile: {what} beside {others} routes and as many tokens: {:.2?}", started.elapsed());
        assert!(compiler.work() - before <= most, "{what}: {} objects compiled", compiler.work() - before);
    };
    change("a new alias", vec![route("r7", 2, "model-7", &["model-7-latest"], false)], 2);
    change("a published one's new alias", vec![route("r8", 2, "model-8", &["model-8-latest"], true)], 3);
    change("a contested alias", vec![route("r9", 2, "model-9", &["model-10"], false)], 3);
    change("a deleted one", vec![(ObjectId::new("shop", "r9"), None)], 2);
    change("the publisher of everything, with the same claims", vec![route("everything", 2, "*", &[], true)], 2);
}
