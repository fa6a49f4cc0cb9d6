//! Where a process gets its configuration: the first state before anything is served, and each later one.

use std::{path::Path, sync::Arc};

use routeapi_channel::Catalog;

use crate::{
    config::{
        install::Installer,
        last_good,
        local::{self, Loaded, Loader, problem::ManifestProblem},
        store::Origin,
        subscribe::{self, session::Session},
    },
    spawn::Spawner,
};

/// Where configuration comes from.
#[expect(clippy::large_enum_variant, reason = "there is one per process")]
pub enum Source {
    /// Manifests, already loaded once.
    Files(Box<Files>),
    /// The operator's stream.
    Operator(subscribe::Settings),
}

/// Manifests on this machine.
pub struct Files {
    /// Reads them again.
    pub loader: Loader,
    /// The first load, in force from the start.
    pub loaded: Loaded,
    /// Told of each later load.
    pub on_reload: OnReload,
}

/// Told of manifests that changed: what is in force now, or why nothing changed.
pub type OnReload = Box<dyn FnMut(Result<&Loaded, &[ManifestProblem]>) + Send>;

/// A source of configuration whose first state, if it had one, is in force.
pub(super) enum Configure {
    Files(Box<Files>),
    Operator(Box<(subscribe::Settings, Session)>),
}

impl Configure {
    /// Puts the source's first state in force.
    ///
    /// # Errors
    /// When a snapshot does not serialise, which none does.
    pub(super) fn first(source: Source, installer: &Installer) -> Result<Self, serde_json::Error> {
        match source {
            Source::Files(files) => {
                install_files(installer, &files.loaded)?;
                Ok(Self::Files(files))
            }
            Source::Operator(settings) => {
                let session = settings.state.as_ref().and_then(|directory| restore(directory, installer));
                Ok(Self::Operator(Box::new((settings, session.unwrap_or_default()))))
            }
        }
    }

    /// Follows the source for as long as it is polled.
    pub(super) async fn follow(self, installer: Arc<Installer>, spawner: Spawner) {
        match self {
            Self::Operator(source) => {
                let (settings, session) = *source;
                subscribe::run(settings, installer, session, spawner).await;
            }
            Self::Files(files) => {
                let Files { loader, loaded, mut on_reload } = *files;
                let told = |result: Result<&Loaded, &[ManifestProblem]>| {
                    if let Ok(loaded) = result
                        && let Err(error) = install_files(&installer, loaded)
                    {
                        return tracing::error!(%error, "the changed manifests cannot be applied");
                    }
                    on_reload(result);
                };
                local::reload::follow(loader, &environment, loaded.compiled, told).await;
            }
        }
    }
}

/// The process's own.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn install_files(installer: &Installer, loaded: &Loaded) -> Result<(), serde_json::Error> {
    let catalog = Catalog::of(&loaded.compiled.snapshot)?;
    for problem in installer.install(&catalog, &catalog.revision(), Origin::Files) {
        tracing::error!(%problem, "resource rejected");
    }
    Ok(())
}

/// Serves from the last good state. Without one, or with one that is damaged, the operator is waited for.
fn restore(directory: &Path, installer: &Installer) -> Option<Session> {
    let found = last_good::load(directory).unwrap_or_else(|error| {
        tracing::error!(%error, "the last good configuration cannot be used");
        None
    })?;
    let revision = found.catalog.revision();
    let refused = installer.install(&found.catalog, &revision, Origin::LastGood);
    if let Some(issuer) = found.issuer {
        installer.service_accounts().set(issuer);
    }
    tracing::info!(%revision, resources = found.catalog.len(), refused = refused.len(), "serving from the last good configuration");
    Some(Session::resume(installer.catalog(), found.floor))
}
