//! The pod's ServiceAccount token: read from its file, and again when the file changes. Whether it is valid is the gateway's
//! to say.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use http::HeaderValue;
use prometheus_client::metrics::counter::Counter;

use crate::file_watch::FileWatch;

/// Largest token. Those of clusters have 1 to 2 KiB; a gateway takes 64 KiB of headers.
const MAX_TOKEN_BYTES: u64 = 16 << 10;

/// A token, as headers hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// With `Bearer` in front.
    pub bearer: HeaderValue,
    /// Alone.
    pub bare: HeaderValue,
}

/// There is no token to send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ServiceAccount token file {path}: {why}")]
pub(super) struct NoToken {
    path: String,
    why: String,
}

/// The file, and what was read of it last.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    last: Mutex<Result<Token, NoToken>>,
    failures: Counter,
}

impl TokenFile {
    /// Reads it. `failures` counts each time that it could not be.
    pub fn open(path: PathBuf, failures: Counter) -> Self {
        let last = read(&path);
        let file = Self { path, last: Mutex::new(last), failures };
        if let Err(error) = &*file.last() {
            file.failures.inc();
            tracing::error!(%error, "there is no token to send");
        }
        file
    }

    /// The token. Looks again where there was none, so that nobody need wait for the watch.
    pub fn token(&self) -> Result<Token, NoToken> {
        let last = self.last().clone();
        if last.is_err() { self.reload() } else { last }
    }

    /// Follows the file for as long as it is polled.
    pub async fn follow(&self) {
        let mut watch = FileWatch::new([&self.path]);
        // Looks once before it waits: something may have changed between the first reading and the watch.
        loop {
            drop(self.reload());
            watch.changed().await;
        }
    }

    fn reload(&self) -> Result<Token, NoToken> {
        let read = read(&self.path);
        let mut last = self.last();
        if let Err(error) = &read {
            self.failures.inc();
            // Each request may come here: what is known is not said again.
            if last.as_ref().err() != Some(error) {
                tracing::error!(%error, "there is no token to send");
            }
        } else if *last != read {
            tracing::info!("a new ServiceAccount token is in use");
        }
        last.clone_from(&read);
        read
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Result<Token, NoToken>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Result<Token, NoToken> {
    let no_token = |why: String| NoToken { path: path.display().to_string(), why };
    let text = beginning(path).map_err(|error| no_token(error.to_string()))?;
    if text.len() as u64 > MAX_TOKEN_BYTES {
        return Err(no_token(format!("larger than {MAX_TOKEN_BYTES} bytes")));
    }
    token(&text).map_err(|why| no_token(why.to_owned()))
}

/// As much as tells that it is too large.
fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_TOKEN_BYTES + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn token(text: &[u8]) -> Result<Token, &'static str> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err("it is empty");
    }
    if !text.iter().all(u8::is_ascii_graphic) {
        return Err("holds something else than one token");
    }
    let value = |bytes: &[u8]| {
        let mut value = HeaderValue::from_bytes(bytes).map_err(|_| "holds something else than one token")?;
        value.set_sensitive(true);
        Ok::<_, &'static str>(value)
    };
    Ok(Token { bearer: value(&[b"Bearer ", text].concat())?, bare: value(text)? })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn token_is_read_again_and_every_bad_file_is_explained() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "first\n").unwrap();
        let failures = Counter::default();
        let file = TokenFile::open(path.clone(), failures.clone());
        assert_eq!(file.token().unwrap().bearer, "Bearer first");
        fs::write(&path, "second").unwrap();
        assert_eq!(file.token().unwrap().bare, "first", "the watch has not told yet");
        assert_eq!(file.reload().unwrap().bare, "second");
        for (content, why) in [
            (&b" \n"[..], "it is empty"),
            (b"two tokens", "something else than one token"),
            (b"\xff", "something else than one token"),
            (&[b'a'; 20_000], "larger than 16384 bytes"),
        ] {
            fs::write(&path, content).unwrap();
            let error = file.reload().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("token"), "{error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(file.reload().unwrap_err().to_string().contains("No such file"));
        assert_eq!(failures.get(), 5);
        fs::write(&path, "third").unwrap();
        assert_eq!(file.token().unwrap().bare, "third", "looked for at once");
        assert!(!format!("{file:?}").contains("third"), "{file:?}");
    }
}
