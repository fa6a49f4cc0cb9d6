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
fn a_status_does_not_wake_the_compile_task_but_a_spec_does() {
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
    assert_eq!(index.view().floor["aiproviders"], 12);
}

#[test]
fn an_unreadable_version_leaves_the_readable_one_in_force_until_it_is_mended_or_gone() {
    let index = Index::new([scope()]);
    index.apply(Ok(provider("a", "10", 1)));
    let broken = provider("a", "11", 2).metadata;
    index.apply::<AIProvider>(Err(InvalidObject { error: "spec.type: unknown".into(), metadata: broken.clone() }));
    let view = index.view();
    assert_eq!(view.objects.providers.len(), 1);
    let noted = view.broken.values().next().unwrap();
    assert_eq!((noted.generation, noted.message.as_str()), (Some(2), "spec.type: unknown"));

    index.apply(Ok(provider("a", "12", 3)));
    assert!(index.view().broken.is_empty());
    index.apply::<AIProvider>(Err(InvalidObject { error: "again".into(), metadata: broken.clone() }));
    index.delete::<AIProvider>(&broken);
    let view = index.view();
    assert!(view.objects.providers.is_empty() && view.broken.is_empty());
}

#[test]
fn ready_after_the_last_list_and_a_new_list_removes_what_is_gone() {
    let other = Scope { plural: AIRoute::PLURAL, namespace: None };
    let index = Index::new([scope(), other.clone()]);
    let ready = index.ready();
    index.apply(Ok(provider("a", "10", 1)));
    index.apply(Ok(provider("b", "10", 1)));
    index.listed::<AIProvider>(&scope(), &[ObjectId::new("ai", "a"), ObjectId::new("ai", "b")].into());
    assert!(!*ready.borrow());
    assert_eq!(index.awaited(), std::slice::from_ref(&other));
    index.listed::<AIRoute>(&other, &BTreeSet::new());
    assert!(*ready.borrow());

    index.listed::<AIProvider>(&scope(), &[ObjectId::new("ai", "b")].into());
    let left: Vec<_> = index.view().objects.providers.iter().map(|it| id_of(&it.metadata).to_string()).collect();
    assert_eq!(left, ["ai/b"]);
    assert!(*ready.borrow(), "once ready, ready");
}

#[test]
fn a_list_of_one_namespace_says_nothing_of_others() {
    let index = Index::new([]);
    index.apply(Ok(provider("a", "10", 1)));
    let elsewhere = Scope { plural: AIProvider::PLURAL, namespace: Some("shop".into()) };
    index.listed::<AIProvider>(&elsewhere, &BTreeSet::new());
    assert_eq!(index.view().objects.providers.len(), 1);
}
