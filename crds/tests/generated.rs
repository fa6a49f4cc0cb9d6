//! The committed `crds/*.yaml` are generated from the types.

use std::{env, fs, path::Path};

use routeapi_crds::schema;

#[test]
fn committed_files_equal_the_generated_definitions() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    for definition in schema::all() {
        let path = directory.join(schema::file_name(&definition));
        let expected = schema::to_yaml(&definition).unwrap();
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &expected).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == expected,
            "{} differs from the types. Regenerate: cargo run -p routeapi-operator -- crds --dir crds \
             (or UPDATE=1 cargo test -p routeapi-crds --test generated)",
            path.display()
        );
    }
}
