//! Edited manifests are in force without a restart; broken ones change nothing.

use super::gateway::{chat, echo, eventually, exchange, manifests, metric, start, status};

#[test]
fn an_edit_is_in_force_and_a_broken_one_is_not() {
    let files = echo();
    let app = start(&files, |_| {});
    let ask = |model: &str| status(&exchange(app.gateway, chat(model, "").as_bytes())).to_owned();
    assert_eq!((ask("hello").as_str(), ask("later").as_str()), ("200", "404"));
    let applied = app.store.applied().unwrap().revision.clone();

    files.replace(&manifests("later", "{type: Echo}").replace("providerRef", "providerReff"));
    files.replace(&manifests("later", "{type: Ech}"));
    // The watch takes one thing after the other, so what follows shows that the broken edits are behind it.
    files.replace(&manifests("later", "{type: Echo}"));
    eventually("the edit is in force", || ask("later") == "200");
    assert_eq!(ask("hello"), "404");
    assert_ne!(app.store.applied().unwrap().revision, applied);
    assert_eq!(metric(app.admin, "routeapi_config_connected"), "1");
}

#[test]
fn a_broken_edit_keeps_what_runs() {
    let files = echo();
    let app = start(&files, |_| {});
    let before = app.store.applied().unwrap().revision.clone();
    let mut loader = routeapi_dataplane::config::local::Loader::new(
        vec![files.path.clone()],
        routeapi_dataplane::config::local::values::Values::Placeholder,
    )
    .unwrap();
    files.replace("apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: Route}\nspec: {modle: x}\n");
    let problems: Vec<String> = loader.load(&|_| None).problems.iter().map(ToString::to_string).collect();
    let told = problems.join("\n");
    for part in [
        "all.yaml:1: AIRoute default/Route: ",
        "spec.modle: unknown field",
        "spec.model: is required",
        "metadata.name: ",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert_eq!(status(&exchange(app.gateway, chat("hello", "").as_bytes())), "200");
    assert_eq!(app.store.applied().unwrap().revision, before);
}
