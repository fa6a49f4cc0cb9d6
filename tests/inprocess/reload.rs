//! Edited manifests are in force without a restart; broken ones change nothing and every problem is told.

use std::sync::mpsc::{Receiver, channel};

use routeapi_dataplane::app::{App, Running};
use routeapi_tests::{
    bytes::{SOON, chat, exchange, metric, status},
    files::{Files, TOKEN, echo, manifests},
    gateway::{settings, source},
};

/// What was told of a change: the token values, or the problems.
type Told = Result<Vec<String>, Vec<String>>;

fn follow(files: &Files) -> (Running, Receiver<Told>) {
    let (tell, told) = channel();
    let from = source(files, move |result| {
        let values = |token: &routeapi_dataplane::config::local::values::LocalToken| token.value.expose().to_owned();
        let result = result
            .map(|loaded| loaded.tokens.iter().map(values).collect())
            .map_err(|problems| problems.iter().map(ToString::to_string).collect());
        let _ = tell.send(result);
    });
    (App::start(settings(from)).unwrap(), told)
}

fn ask(app: &Running, model: &str) -> String {
    status(&exchange(app.gateway, chat(model, "").as_bytes())).to_owned()
}

#[test]
fn an_edit_is_in_force_and_every_token_keeps_its_value() {
    let files = Files::new(&manifests("hello", "{type: Echo}").replace("secretName: app", "description: made"));
    let (app, told) = follow(&files);
    let made = |more: &str| manifests("later", "{type: Echo}").replace("secretName: app", "description: made") + more;
    files.replace(&made(""));
    let first = told.recv_timeout(SOON).unwrap().unwrap();
    assert!(first[0].starts_with("sk-") && first[0] != TOKEN);
    let second = "---\napiVersion: routeapi.dev/v1alpha1\nkind: ApiToken\nmetadata: {name: b}\nspec: {models: ['*']}\n";
    files.replace(&made(second));
    let second = told.recv_timeout(SOON).unwrap().unwrap();
    assert_eq!((second.len(), &second[0]), (2, &first[0]));
    assert_eq!(metric(app.admin, "routeapi_config_connected"), "1");
}

#[test]
fn a_broken_edit_keeps_what_runs_and_tells_every_problem() {
    let files = echo();
    let (app, told) = follow(&files);
    assert_eq!((ask(&app, "hello").as_str(), ask(&app, "later").as_str()), ("200", "404"));
    let before = app.store.applied().unwrap().revision.clone();
    files.replace(
        "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: Route}\nspec: {modle: x}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {token: '${SURELY_NOT_SET}'}\n---\n\
         apiVersion: routeapi.dev/v1alpha1\nkind: ApiToken\nmetadata: {name: t}\nspec: {models: ['*'], secretName: key}\n---\n\
         apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {name: p}\nspec: {type: Echo, endpoints: [Embeddings]}\n",
    );
    let problems = told.recv_timeout(SOON).unwrap().unwrap_err().join("\n");
    for part in [
        "all.yaml:1: AIRoute default/Route: spec.modle: unknown field",
        "all.yaml:1: AIRoute default/Route: spec.model: is required",
        "all.yaml:1: AIRoute default/Route: metadata.name: ",
        "environment variable is not set: SURELY_NOT_SET (token of Secret default/key)",
        "AIProvider default/p: spec: endpoints is only for type OpenAI",
    ] {
        assert!(problems.contains(part), "{part} in:\n{problems}");
    }
    assert_eq!(ask(&app, "hello"), "200");
    assert_eq!(app.store.applied().unwrap().revision, before);

    files.replace(&manifests("later", "{type: Echo}"));
    told.recv_timeout(SOON).unwrap().unwrap();
    assert_eq!((ask(&app, "hello").as_str(), ask(&app, "later").as_str()), ("404", "200"));
}
