//! The CRDs inside the chart are those of `crds/`, and those are what the operator prints.

use routeapi_crds::schema;
use routeapi_tests::helm::{self, of_kind, template};
use routeapi_tests::tools;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

#[test]
fn the_charts_crds_equal_those_of_the_operator() {
    let generated: BTreeMap<String, String> = schema::all()
        .iter()
        .map(|definition| (schema::file_name(definition), schema::to_yaml(definition).unwrap()))
        .collect();
    assert_eq!(generated.len(), 3);
    for directory in [tools::repository().join("crds"), helm::chart().join("files/crds")] {
        let found = files(&directory);
        assert_eq!(found.keys().collect::<Vec<_>>(), generated.keys().collect::<Vec<_>>(), "{}", directory.display());
        for (name, text) in &generated {
            assert!(
                found[name] == *text,
                "{}/{name}: regenerate with `routeapi-operator crds --dir`",
                directory.display()
            );
        }
    }
}

#[test]
fn an_uninstall_keeps_crds_by_default() {
    let policy = |args: &[&str]| -> Vec<Value> {
        let objects = template("rel", "sys", args).unwrap();
        let policies = of_kind(&objects, "CustomResourceDefinition").into_iter();
        policies.map(|crd| crd["metadata"]["annotations"]["helm.sh/resource-policy"].clone()).collect()
    };
    assert_eq!(policy(&[]), vec![json!("keep"); 3]);
    assert_eq!(policy(&["--set", "crds.keep=false"]), vec![Value::Null; 3]);
    assert_eq!(policy(&["--set", "crds.install=false"]), Vec::<Value>::new());
}

#[test]
fn rendering_adds_only_annotations_and_labels() {
    let objects = template("rel", "sys", &["--set", "crds.keep=false"]).unwrap();
    let rendered: BTreeMap<_, _> = of_kind(&objects, "CustomResourceDefinition")
        .into_iter()
        .map(|crd| (crd["metadata"]["name"].as_str().unwrap().to_owned(), crd.clone()))
        .collect();
    for definition in schema::all() {
        let text = schema::to_yaml(&definition).unwrap();
        let value = routeapi_crds::yaml::read(&text).unwrap().remove(0).value;
        assert_eq!(rendered[value["metadata"]["name"].as_str().unwrap()], value);
    }
}
