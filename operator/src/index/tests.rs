use super::*;
use kube::core::error_boundary::InvalidObject;
use serde_json::json;

fn scope() -> Scope {
    Scope { plural: AIProvider::PLURAL, namespace: None }
}

fn provider(name: &str, version: &str, generation: i64) -> AIProvider {
    serde_json::from_value(json!({
        "apiVersion": "routeapi.dev/v1alpha1", "kind": "AIProvider",
        "metadata": {"name": name, "namespace": "ai", "uid": name, "generation": generation, "resourceVersion": version},
        "spec": {"type": "Echo"},
    }))
    .unwrap()
}

#[test]
fn only_a_changed_spec_triggers_a_compilation() {
    let index = Index::new([scope()]);
    let changed = index.changed();
    index.apply(Ok(provider("a", "10", 1)));
    assert_eq!(*changed.borrow(), 1);
    let mut same = provider("a", "11", 1);
    same.status = Some(Default::default());
    index.apply(Ok(same));
    assert_eq!(*changed.borrow(), 1, "only its status is new");
    index.apply(Ok(provider("a", "12", 2)));
    assert_eq!(*changed.borrow(), 2);
    assert_eq!(index.view().min_resource_versions["aiproviders"], 12);
}

#[test]
fn a_compilation_gets_the_changed_routes_and_tokens_and_everything_else_only_if_it_changed() {
    let index = Index::new([scope()]);
    let route = |name: &str, generation: i64| -> AIRoute {
        serde_json::from_value(json!({
            "apiVersion": "routeapi.dev/v1alpha1", "kind": "AIRoute",
            "metadata": {"name": name, "namespace": "ai", "uid": name, "generation": generation},
            "spec": {"model": name, "upstreams": []},
        }))
        .unwrap()
    };
    let names = |view: &View<Changes>| {
        let each = view.objects.routes.iter();
        each.map(|(id, route)| format!("{} {}", id.name(), route.is_some())).collect::<Vec<_>>().join(", ")
    };
    index.apply(Ok(provider("a", "10", 1)));
    index.apply(Ok(route("one", 1)));
    index.apply(Ok(route("two", 1)));
    let all = index.take_changes(true);
    assert_eq!((names(&all).as_str(), all.objects.others.is_some()), ("one true, two true", true));
    index.apply(Ok(route("two", 2)));
    index.delete::<AIRoute>(&route("one", 1).metadata);
    let changed = index.take_changes(false);
    assert_eq!((names(&changed).as_str(), changed.objects.others.is_none()), ("one false, two true", true));
    let written = AIRoute { status: Some(Default::default()), ..route("two", 2) };
    index.apply(Ok(written));
    index.apply(Ok(provider("a", "11", 2)));
    let changed = index.take_changes(false);
    assert_eq!((names(&changed).as_str(), changed.objects.others.map(|others| others.routes.len())), ("", Some(0)));
}

#[test]
fn an_unreadable_version_keeps_the_readable_one_in_force() {
    let index = Index::new([scope()]);
    index.apply(Ok(provider("a", "10", 1)));
    let unreadable = provider("a", "11", 2).metadata;
    index.apply::<AIProvider>(Err(InvalidObject { error: "spec.type: unknown".into(), metadata: unreadable.clone() }));
    let view = index.view();
    assert_eq!(view.objects.providers.len(), 1);
    let excluded = view.excluded.values().next().unwrap();
    assert_eq!((excluded.generation, excluded.message.as_str()), (Some(2), "spec.type: unknown"));
    assert_eq!(view.objects.unread_providers, [ObjectId::new("ai", "a")].into(), "its routes do not miss it");

    index.apply(Ok(provider("a", "12", 3)));
    assert!(index.view().excluded.is_empty());
    index.apply::<AIProvider>(Err(InvalidObject { error: "again".into(), metadata: unreadable.clone() }));
    index.delete::<AIProvider>(&unreadable);
    let view = index.view();
    assert!(view.objects.providers.is_empty() && view.excluded.is_empty());
}

#[test]
fn the_index_is_ready_after_the_last_list_and_a_new_list_removes_deleted_objects() {
    let other = Scope { plural: AIRoute::PLURAL, namespace: None };
    let index = Index::new([scope(), other.clone()]);
    let ready = index.ready();
    index.apply(Ok(provider("a", "10", 1)));
    index.apply(Ok(provider("b", "10", 1)));
    index.listed::<AIProvider>(&scope(), &[ObjectId::new("ai", "a"), ObjectId::new("ai", "b")].into());
    assert!(!*ready.borrow());
    assert_eq!(index.pending_lists(), std::slice::from_ref(&other));
    index.listed::<AIRoute>(&other, &BTreeSet::new());
    assert!(*ready.borrow());

    index.listed::<AIProvider>(&scope(), &[ObjectId::new("ai", "b")].into());
    let left: Vec<_> =
        index.view().objects.providers.iter().map(|provider| id_of(&provider.metadata).to_string()).collect();
    assert_eq!(left, ["ai/b"]);
    assert!(*ready.borrow(), "once ready, ready");
}

#[test]
fn a_list_of_one_namespace_leaves_others_alone() {
    let index = Index::new([]);
    index.apply(Ok(provider("a", "10", 1)));
    let elsewhere = Scope { plural: AIProvider::PLURAL, namespace: Some("shop".into()) };
    index.listed::<AIProvider>(&elsewhere, &BTreeSet::new());
    assert_eq!(index.view().objects.providers.len(), 1);
}

fn token(version: &str, annotation: &str) -> ApiToken {
    serde_json::from_value(json!({
        "apiVersion": "routeapi.dev/v1alpha1", "kind": "ApiToken",
        "metadata": {"name": "t", "namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": version,
            "annotations": {"note": annotation}},
        "spec": {"models": ["*"]},
        "status": {"secretName": "s"},
    }))
    .unwrap()
}

#[tokio::test]
async fn touching_a_token_reconciles_it_and_writing_its_status_does_not() {
    let index = Index::new([]);
    let touched = || index.touched_tokens();
    let now = |future| futures_util::FutureExt::now_or_never(future);
    index.apply(Ok(token("10", "a")));
    assert_eq!(now(touched()).map(|ids| ids.len()), Some(1), "it is new");
    let changed = *index.changed().borrow();
    index.apply(Ok(token("11", "b")));
    assert_eq!(now(touched()).map(|ids| ids.len()), Some(1), "an annotation");
    assert_eq!(*index.changed().borrow(), changed, "no data plane could notice");
    index.apply(Ok(token("11", "b")));
    assert_eq!(now(touched()), None, "listed again");
    let mut status = token("12", "b");
    status.status.as_mut().unwrap().secret_name = Some("other".to_owned());
    index.apply(Ok(status));
    assert_eq!(now(touched()), None, "what the operator writes itself");
}

fn route(name: &str, created: i64, model: &str) -> AIRoute {
    let time = jiff::Timestamp::from_second(1_700_000_000 + created).unwrap();
    serde_json::from_value(json!({
        "apiVersion": "routeapi.dev/v1alpha1", "kind": "AIRoute",
        "metadata": {"name": name, "namespace": "team", "uid": format!("uid-{name}"), "generation": 1,
            "creationTimestamp": time.to_string(), "resourceVersion": "10",
            "labels": {"a": "b"}, "annotations": {"note": "x"}},
        "spec": {"model": model, "upstreams": [{"name": "u", "providerRef": {"name": "p"}}]},
    }))
    .unwrap()
}

fn limited(objects: usize) -> Arc<Index> {
    let limits = NamespaceLimits { objects, bytes: 8 << 20, exempt: BTreeSet::new() };
    Index::with_limits([], Some(limits))
}

fn stored(index: &Index) -> Vec<String> {
    index.view().objects.routes.iter().map(|route| id_of(&route.metadata).name().to_owned()).collect()
}

#[test]
fn unused_metadata_is_dropped() {
    let index = Index::new([]);
    let mut large = route("a", 1, "m");
    large.metadata.annotations = Some([("note".to_owned(), "x".repeat(250 << 10))].into());
    large.metadata.finalizers = Some(vec![format!("example.com/{}", "y".repeat(100_000))]);
    index.apply(Ok(large));
    let stored = index.route(&ObjectId::new("team", "a")).unwrap();
    let bytes = serde_json::to_vec(&*stored).unwrap().len();
    assert!(bytes < 1000, "{bytes} bytes are stored of an object with 350 kB of metadata");
    let metadata = &stored.metadata;
    assert!(metadata.name.is_some() && metadata.uid.is_some() && metadata.creation_timestamp.is_some());

    let labels: BTreeMap<_, _> = (0..1000).map(|at| (format!("key-{at}"), "v".repeat(63))).collect();
    let namespace = json!({"metadata": {"name": "huge", "labels": labels}});
    index.apply(Ok(serde_json::from_value::<k8s_openapi::api::core::v1::Namespace>(namespace).unwrap()));
    assert!(index.view().objects.namespaces.is_empty(), "its labels are not known");
}

#[test]
fn a_full_namespace_keeps_its_oldest_objects_and_reports_the_others() {
    let index = limited(2);
    for (name, created) in [("a", 3), ("b", 1), ("c", 2)] {
        index.apply(Ok(route(name, created, name)));
    }
    assert_eq!(stored(&index), ["b", "c"]);
    let view = index.view();
    let key = Key { kind: Kind::Route, id: ObjectId::new("team", "a") };
    let excluded = &view.excluded[&key];
    assert!(excluded.over_limit && excluded.message.contains("namespaceLimits.objects"), "{}", excluded.message);
    assert_eq!((excluded.uid.as_str(), excluded.generation), ("uid-a", Some(1)));
    assert!(index.route(&key.id).is_none(), "its content is not stored");
    let changed = *index.changed().borrow();
    index.apply(Ok(route("d", 4, "d")));
    assert_eq!(*index.changed().borrow(), changed + 1, "its status has to say so");
    index.apply(Ok(route("d", 4, "d")));
    assert_eq!(*index.changed().borrow(), changed + 1, "once");
}

#[tokio::test]
async fn an_excluded_object_is_read_again_when_there_is_room() {
    let index = limited(1);
    let scope = Scope { plural: AIRoute::PLURAL, namespace: None };
    index.apply(Ok(route("old", 1, "old")));
    index.apply(Ok(route("young", 2, "young")));
    index.apply_reread(Ok(route("young", 2, "young")));
    assert_eq!(stored(&index), ["old"], "there is no room yet");
    index.listed::<AIRoute>(&scope, &[ObjectId::new("team", "young")].into());
    let key = Key { kind: Kind::Route, id: ObjectId::new("team", "young") };
    assert_eq!(index.rereads().await, [key.clone()].into());
    let mut another = route("young", 2, "young");
    another.metadata.uid = Some("made anew".to_owned());
    index.apply_reread(Ok(another));
    assert!(stored(&index).is_empty(), "its watch brings the recreated one");
    index.requeue_rereads([key.clone()]);
    assert_eq!(index.rereads().await, [key].into());
    index.apply_reread(Ok(route("young", 2, "young")));
    assert_eq!(stored(&index), ["young"]);
    assert!(index.view().excluded.is_empty());
    index.delete::<AIRoute>(&route("young", 2, "young").metadata);
    index.apply_reread(Ok(route("young", 2, "young")));
    assert!(stored(&index).is_empty(), "a deleted object does not come back");
}

#[test]
fn one_namespace_costs_no_more_than_its_limits() {
    let index = limited(50);
    for at in 0..5_000 {
        index.apply(Ok(route(&format!("r{at}"), 5_000 - at, "m")));
    }
    let view = index.view();
    assert_eq!((view.objects.routes.len(), view.excluded.len()), (50, tables::MAX_REPORTED));
    let bytes: usize = view.objects.routes.iter().map(|route| serde_json::to_vec(&**route).unwrap().len()).sum();
    assert!(bytes < 50 * 1000, "{bytes}");
}
