//! The last good state on disk, so that a restarted data plane serves without its operator.
//!
//! It holds the keys of upstream accounts, so it belongs on a memory-backed volume that dies with the pod; the file is
//! readable by this user alone and replaced as a whole. A file that cannot be read or was damaged is no state: it is said
//! so and the process starts empty. A state that would not fit beside its predecessor on such a volume is not kept, and
//! the predecessor is removed: one that has stayed behind could bring a revoked token back.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use routeapi_channel::{
    Catalog, Entry, Key, Kind, Revision, ServiceAccountIssuer, shared_map::Difference, snapshot::Token,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::subscribe::session::Floor;

const FILE_NAME: &str = "last-good.json";

/// The longest file: two fit into the chart's volume of 64 MiB.
const MAX_FILE_BYTES: usize = 30 << 20;

/// Of the file's form. Another one is not read.
const FORMAT_VERSION: u32 = 1;

/// A state that was in force.
#[derive(Debug)]
pub struct LastGood {
    /// Its resources.
    pub catalog: Arc<Catalog>,
    /// The floors it came with.
    pub floor: Floor,
    /// Who issues ServiceAccount tokens; none if that was not known.
    pub issuer: Option<ServiceAccountIssuer>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    /// Cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// Is not what this program writes.
    #[error("{0}: {1}")]
    Form(PathBuf, serde_json::Error),
    /// Is larger than the volume can be trusted to take twice.
    #[error(
        "{0}: the configuration takes {1} bytes, more than the {MAX_FILE_BYTES} that are saved; after a restart this pod \
         waits for the operator"
    )]
    Large(PathBuf, usize),
    /// Is not the state it says it is.
    #[error("{0}: is damaged")]
    Damaged(PathBuf),
}

#[derive(Serialize, Deserialize)]
struct File {
    form: u32,
    revision: Revision,
    floor: Floor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<ServiceAccountIssuer>,
    resources: Vec<Resource>,
}

#[derive(Serialize, Deserialize)]
struct Resource {
    // Flattening would take the body apart, whose bytes its version is about.
    key: Key,
    body: Arc<RawValue>,
}

/// Reads it; none if there is no file.
///
/// # Errors
/// When there is a file that cannot be used.
pub fn load(directory: &Path) -> Result<Option<LastGood>, LastGoodError> {
    let path = directory.join(FILE_NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LastGoodError::Io(path, error)),
    };
    let file: File = serde_json::from_slice(&text).map_err(|error| LastGoodError::Form(path.clone(), error))?;
    let mut catalog = Catalog::default();
    for Resource { key, body } in file.resources {
        catalog.insert(key, Entry::new(body));
    }
    if file.form != FORMAT_VERSION || catalog.revision() != file.revision {
        return Err(LastGoodError::Damaged(path));
    }
    Ok(Some(LastGood { catalog: Arc::new(catalog), floor: file.floor, issuer: file.issuer }))
}

/// Writes it, as a whole or not at all.
///
/// # Errors
/// When the directory cannot be written to.
pub fn save(directory: &Path, state: LastGood) -> Result<(), LastGoodError> {
    let LastGood { catalog, floor, issuer } = state;
    let path = directory.join(FILE_NAME);
    let next = directory.join(format!("{FILE_NAME}.next"));
    let resources = catalog.iter().map(|(key, entry)| Resource { key: key.clone(), body: Arc::clone(&entry.body) });
    let file =
        File { form: FORMAT_VERSION, revision: catalog.revision(), floor, issuer, resources: resources.collect() };
    let text = serde_json::to_vec(&file).map_err(|error| LastGoodError::Form(path.clone(), error))?;
    if text.len() > MAX_FILE_BYTES {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LastGoodError::Io(path, error)),
            _ => Err(LastGoodError::Large(path, text.len())),
        };
    }
    write(&next, &text).and_then(|()| fs::rename(&next, &path)).map_err(|error| LastGoodError::Io(path, error))
}

/// How long a state that takes nothing away may wait to be written: one after the other makes one file then.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// Writes states beside the runtime's own thread, and not each one: a file costs as much as all resources.
#[derive(Debug)]
pub struct Writer {
    directory: PathBuf,
    waiting: Option<LastGood>,
    due: Option<Instant>,
    /// What the file holds.
    written: Arc<Catalog>,
}

// === impl Writer ===

impl Writer {
    /// For this directory, whose file holds this state.
    pub fn new(directory: PathBuf, written: Arc<Catalog>) -> Self {
        Self { directory, waiting: None, due: None, written }
    }

    /// Keeps a state: at once if it is the first, or takes something away that the file still has, such as a revoked token, else
    /// within [`MAX_DELAY`] from the first that waits.
    pub async fn keep(&mut self, state: LastGood, now: Instant) {
        let at_once = self.written.is_empty() || takes_away(&self.written, &state.catalog);
        self.waiting = Some(state);
        self.due.get_or_insert(now + MAX_DELAY);
        if at_once {
            self.flush().await;
        }
    }

    /// When what waits is to be written.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Writes what waits. A failure is told and changes nothing else.
    pub async fn flush(&mut self) {
        self.due = None;
        let Some(state) = self.waiting.take() else { return };
        self.written = Arc::clone(&state.catalog);
        let directory = self.directory.clone();
        let saved = tokio::task::spawn_blocking(move || save(&directory, state)).await;
        match saved {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the last good configuration cannot be saved"),
            Err(error) => tracing::error!(%error, "saving the last good configuration failed"),
        }
    }
}

impl Drop for Writer {
    /// What waits is written when the process ends in order.
    fn drop(&mut self) {
        if let Some(state) = self.waiting.take()
            && let Err(error) = save(&self.directory, state)
        {
            tracing::error!(%error, "the last good configuration cannot be saved");
        }
    }
}

/// Whether a key or ServiceAccount that worked, or a resource, is not in the next state, or a token is suspended there.
fn takes_away(before: &Catalog, next: &Catalog) -> bool {
    let mut takes_away = false;
    before.differences(next, |difference| {
        takes_away |= match difference {
            Difference::Del(_) => true,
            Difference::Put(key, entry) if key.kind == Kind::Token => {
                let token = |entry: &Entry| entry.read::<Token>().ok();
                before.get(key).is_some_and(|before| {
                    let (before, Some(next)) = (token(before), token(entry)) else { return true };
                    let keys = before.iter().flat_map(|before| &before.keys);
                    let accounts = before.iter().flat_map(|before| &before.service_accounts);
                    next.suspended
                        || keys.into_iter().any(|key| !next.keys.contains(key))
                        || accounts.into_iter().any(|account| !next.service_accounts.contains(account))
                })
            }
            Difference::Put(..) => false,
        };
    });
    takes_away
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    // A left-over of a crash may have other permissions.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use routeapi_channel::ObjectId;

    use super::*;

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        let body = RawValue::from_string(r#"{"b": 1.0, "a": 9007199254740993}"#.to_owned()).unwrap();
        let key = Key { kind: Kind::Token, id: ObjectId::new("shop", "checkout") };
        catalog.insert(key, Entry::new(body.into()));
        catalog
    }

    fn kept(catalog: Arc<Catalog>) -> LastGood {
        LastGood { catalog, floor: Floor::new(), issuer: None }
    }

    fn state(catalog: Catalog, floor: Floor) -> LastGood {
        let issuer = ServiceAccountIssuer { issuer: "https://cluster".to_owned(), keys: Vec::new() };
        LastGood { catalog: Arc::new(catalog), floor, issuer: Some(issuer) }
    }

    #[test]
    fn saved_state_is_restored_and_file_is_private() {
        let directory = tempfile::tempdir().unwrap();
        assert!(load(directory.path()).unwrap().is_none());
        let floor = Floor::from([("apitokens".to_owned(), 7)]);
        save(directory.path(), state(catalog(), floor.clone())).unwrap();
        save(directory.path(), state(catalog(), floor.clone())).unwrap();
        let found = load(directory.path()).unwrap().unwrap();
        assert_eq!((found.catalog.revision(), found.floor), (catalog().revision(), floor));
        assert_eq!(found.issuer.unwrap().issuer, "https://cluster");
        let mode = fs::metadata(directory.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn oversize_state_removes_the_older_file() {
        let directory = tempfile::tempdir().unwrap();
        save(directory.path(), state(catalog(), Floor::new())).unwrap();
        let mut large = catalog();
        let body = RawValue::from_string(format!("{:?}", "x".repeat(MAX_FILE_BYTES))).unwrap();
        large.insert(Key { kind: Kind::Token, id: ObjectId::new("shop", "large") }, Entry::new(body.into()));
        assert!(matches!(save(directory.path(), state(large, Floor::new())), Err(LastGoodError::Large(..))));
        assert!(load(directory.path()).unwrap().is_none());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn damaged_state_file_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        save(directory.path(), state(catalog(), Floor::new())).unwrap();
        let path = directory.path().join(FILE_NAME);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("checkout", "checkin")).unwrap();
        assert!(matches!(load(directory.path()), Err(LastGoodError::Damaged(_))));
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert!(matches!(load(directory.path()), Err(LastGoodError::Form(..))));
    }

    fn with_token(catalog: &Catalog, name: &str, token: &serde_json::Value) -> Arc<Catalog> {
        let mut next = catalog.clone();
        let body = serde_json::value::to_raw_value(token).unwrap();
        next.insert(Key { kind: Kind::Token, id: ObjectId::new("shop", name) }, Entry::new(body.into()));
        Arc::new(next)
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_a_key_away_is_written_at_once_and_the_rest_a_little_later() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(directory.path().to_owned(), Arc::default());
        let held = || load(directory.path()).unwrap().map(|held| held.catalog.revision());
        let token = |keys: &[&str], suspended: bool| {
            let keys: Vec<_> = keys.iter().map(|id| serde_json::json!({"id": id, "sha256": "00"})).collect();
            serde_json::json!({"keys": keys, "models": ["*"], "suspended": suspended})
        };
        let start = Instant::now();
        let first = with_token(&Catalog::default(), "z", &token(&[], false));
        writer.keep(kept(Arc::clone(&first)), start).await;
        assert_eq!((held(), writer.due()), (Some(first.revision()), None), "the first");
        let one = with_token(&first, "a", &token(&["1"], false));
        let more = with_token(&one, "a", &token(&["1", "2"], false));
        for catalog in [&one, &more] {
            writer.keep(kept(Arc::clone(catalog)), start).await;
            assert_eq!((held(), writer.due()), (Some(first.revision()), Some(start + MAX_DELAY)));
        }
        writer.flush().await;
        assert_eq!((held(), writer.due()), (Some(more.revision()), None));
        for revoking in [token(&["2"], false), token(&["2"], true)] {
            let next = with_token(&more, "a", &revoking);
            writer.keep(kept(Arc::clone(&next)), start).await;
            assert_eq!(held(), Some(next.revision()), "{revoking}");
        }
        let mut fewer = Catalog::clone(&more);
        fewer.remove(&Key { kind: Kind::Token, id: ObjectId::new("shop", "a") });
        writer.keep(kept(Arc::new(fewer)), start).await;
        assert_eq!(held(), Some(first.revision()));
        writer.keep(kept(Arc::clone(&more)), start).await;
        drop(writer);
        assert_eq!(held(), Some(more.revision()), "an orderly end");
    }
}
