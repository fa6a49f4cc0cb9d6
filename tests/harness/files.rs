//! Manifests in a file, as `routeapi run` and a gateway of this process read them. Needs no other crate of ours, so that
//! tests of the program can have it too.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// The value of the token in [`manifests`].
pub const TOKEN: &str = "sk-made-for-this-test";

/// A provider, a route for one model and a token with a known value.
pub fn manifests(model: &str, provider: &str) -> String {
    format!(
        "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: up}}\nspec: {provider}\n---\n\
         apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: route}}\n\
         spec: {{model: {model}, upstreams: [{{name: up, providerRef: {{name: up}}}}]}}\n---\n\
         apiVersion: routeapi.dev/v1alpha1\nkind: ApiToken\nmetadata: {{name: app}}\n\
         spec: {{models: ['*'], secretName: app}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: app}}\nstringData: {{token: {TOKEN}}}\n"
    )
}

/// A directory with one file of manifests.
#[derive(Debug)]
pub struct Files {
    /// Where further files may go; removed when dropped.
    pub directory: TempDir,
    /// The file.
    pub path: PathBuf,
}

impl Files {
    /// A file with this text.
    pub fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("all.yaml");
        fs::write(&path, text).unwrap();
        Self { directory, path }
    }

    /// As an editor does: write beside it, then replace.
    pub fn replace(&self, text: &str) {
        let next = self.directory.path().join("all.yaml~");
        fs::write(&next, text).unwrap();
        fs::rename(next, &self.path).unwrap();
    }
}

/// The model `hello` at the built-in Echo.
pub fn echo() -> Files {
    Files::new(&manifests("hello", "{type: Echo}"))
}

/// Writes a file.
pub fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}
