//! The format of minted tokens: `sk-<id>-<secret>-<checksum>`.
//!
//! The id (12 characters of a–z and 0–9) may be logged; the secret is 256 bits as 43 base62 characters; the checksum
//! (6 base62 characters) is the CRC-32 of everything before it, so that a scanner or a data plane can tell a typo from an
//! invalid token without a look-up. Other values can be keys too, identified by their hash alone; they are
//! [`Reading::Foreign`].
//!
//! Pure: the caller supplies the random bytes. Tokens are stored and looked up as the SHA-256 of the whole value; with 256
//! random bits neither salt nor a slow hash is needed.

use sha2::{Digest, Sha256};

use crate::snapshot::Secret;

const PREFIX: &str = "sk-";
const ID_LENGTH: usize = 12;
const SECRET_LENGTH: usize = 43;
const CHECKSUM_LENGTH: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Number of random bytes that [`mint`] needs: 8 for the ID, 32 for the secret.
pub const ENTROPY: usize = 40;

/// Minimum length of an imported key in bytes: shorter ones could be guessed.
pub const MIN_IMPORT_LENGTH: usize = 16;

/// Maximum length of an imported key in bytes: it is sent in a header, and servers commonly limit all headers to 8 KiB.
pub const MAX_IMPORT_LENGTH: usize = 4096;

/// Why an existing key cannot be imported. Reveals nothing about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Empty, or only white space.
    #[error("is empty")]
    Empty,
    /// Shorter than [`MIN_IMPORT_LENGTH`]; its length.
    #[error("has {0} bytes; at least {MIN_IMPORT_LENGTH} are required, because shorter keys can be guessed")]
    TooShort(usize),
    /// Longer than [`MAX_IMPORT_LENGTH`] bytes.
    #[error("has {0} bytes; at most {MAX_IMPORT_LENGTH} are allowed")]
    TooLong(usize),
    /// It contains characters that cannot be sent in a header.
    #[error("must consist of printable ASCII characters without white space, because it is sent in a header")]
    NotVisible,
}

/// A new token.
#[derive(Clone, Debug)]
pub struct Minted {
    /// The part that may be shown.
    pub id: String,
    /// SHA-256 of the value, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// The whole value.
    pub value: Secret,
}

/// The format of a value that a client presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading<'a> {
    /// A minted token with a correct checksum.
    Minted {
        /// Its id.
        id: &'a str,
    },
    /// A minted token with a wrong checksum: a typo.
    Damaged {
        /// Its id, possibly wrong itself.
        id: &'a str,
    },
    /// Another format: an imported key or an unknown value.
    Foreign,
}

/// Makes a token out of random bytes.
pub fn mint(entropy: &[u8; ENTROPY]) -> Minted {
    let (for_id, for_secret) = entropy.split_at(ENTROPY - 32);
    let id = digits(for_id, BASE36, ID_LENGTH);
    let body = format!("{PREFIX}{id}-{}", digits(for_secret, BASE62, SECRET_LENGTH));
    let value = format!("{body}-{}", checksum(&body));
    Minted { sha256: sha256(&value), value: Secret::new(value), id }
}

/// Determines the format of a presented value, not whether it is known.
pub fn read(value: &str) -> Reading<'_> {
    match parts(value) {
        Some((body, id, sum)) if checksum(body) == sum => Reading::Minted { id },
        Some((_, id, _)) => Reading::Damaged { id },
        None => Reading::Foreign,
    }
}

/// Checks an existing key for import and removes surrounding white space, such as the line end that an editor leaves.
///
/// # Errors
/// When it is too short, too long, or cannot be sent in a header.
pub fn import(value: &[u8]) -> Result<&str, ImportError> {
    let value = value.trim_ascii();
    match value.len() {
        0 => return Err(ImportError::Empty),
        length if length < MIN_IMPORT_LENGTH => return Err(ImportError::TooShort(length)),
        length if length > MAX_IMPORT_LENGTH => return Err(ImportError::TooLong(length)),
        _ => {}
    }
    let visible = value.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(value).ok().filter(|_| visible).ok_or(ImportError::NotVisible)
}

/// The SHA-256 of a value, 64 lower-case hexadecimal digits.
pub fn sha256(value: &str) -> String {
    hex::encode(Sha256::digest(value))
}

/// The ID of an imported key: the first twelve digits of its hash.
pub fn id_of_hash(sha256: &str) -> String {
    sha256.chars().take(ID_LENGTH).collect()
}

/// (all before the checksum, id, checksum)
fn parts(value: &str) -> Option<(&str, &str, &str)> {
    let (body, sum) = value.rsplit_once('-')?;
    let (id, secret) = body.strip_prefix(PREFIX)?.split_once('-')?;
    let made_of =
        |text: &str, alphabet: &[u8], length| text.len() == length && text.bytes().all(|byte| alphabet.contains(&byte));
    let fits = made_of(id, BASE36, ID_LENGTH)
        && made_of(secret, BASE62, SECRET_LENGTH)
        && made_of(sum, BASE62, CHECKSUM_LENGTH);
    fits.then_some((body, id, sum))
}

fn checksum(body: &str) -> String {
    digits(&crc32fast::hash(body.as_bytes()).to_be_bytes(), BASE62, CHECKSUM_LENGTH)
}

/// A big-endian number in the base of an alphabet: its lowest `length` digits, highest first.
fn digits(number: &[u8], alphabet: &[u8], length: usize) -> String {
    let base = alphabet.len();
    let mut number = number.to_vec();
    let mut text = Vec::with_capacity(length);
    for _ in 0..length {
        let mut remainder = 0;
        for byte in &mut number {
            let value = remainder * 256 + usize::from(*byte);
            *byte = u8::try_from(value / base).unwrap_or(u8::MAX);
            remainder = value % base;
        }
        text.extend(alphabet.get(remainder).map(|digit| char::from(*digit)));
    }
    number.fill(0);
    text.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imported_keys_are_checked_for_length_and_characters() {
        assert_eq!(import(b"0123456789abcdef"), Ok("0123456789abcdef"));
        assert_eq!(import(b" \t0123456789abcdef\r\n"), Ok("0123456789abcdef"));
        assert_eq!(import(b" \n"), Err(ImportError::Empty));
        assert_eq!(import(b"0123456789abcde          "), Err(ImportError::TooShort(15)), "white space does not count");
        assert_eq!(import(&[b'a'; MAX_IMPORT_LENGTH]), Ok("a".repeat(MAX_IMPORT_LENGTH).as_str()));
        assert_eq!(import(&[b'a'; MAX_IMPORT_LENGTH + 1]), Err(ImportError::TooLong(MAX_IMPORT_LENGTH + 1)));
        for inside in ["0123456789 abcdef", "0123456789\nabcdef", "0123456789\u{0}abcdef", "0123456789äöüabc"] {
            assert_eq!(import(inside.as_bytes()), Err(ImportError::NotVisible), "{inside:?}");
        }
        assert_eq!(import(&[0xff; 16]), Err(ImportError::NotVisible));
        assert_eq!(
            ImportError::TooShort(15).to_string(),
            "has 15 bytes; at least 16 are required, because shorter keys can be guessed"
        );
    }

    fn sample() -> Minted {
        mint(&std::array::from_fn(|at| u8::try_from(at * 7 % 256).unwrap()))
    }

    #[test]
    fn a_minted_token_reads_back_with_its_id() {
        let token = sample();
        let value = token.value.expose();
        assert_eq!(value.len(), 3 + 12 + 1 + 43 + 1 + 6);
        assert_eq!(read(value), Reading::Minted { id: &token.id });
        assert_eq!(token.sha256, sha256(value));
        assert!(!format!("{token:?}").contains(value), "Debug must not show the value");
    }

    #[test]
    fn the_format_is_stable() {
        // Recorded, because issued tokens must stay valid. The checksum was computed by another program (zlib).
        let token = mint(&[0; ENTROPY]);
        assert_eq!(token.value.expose(), "sk-000000000000-0000000000000000000000000000000000000000000-1iWFYX");
        let token = mint(&[255; ENTROPY]);
        assert!(token.value.expose().starts_with("sk-"));
        assert_eq!(digits(&[255; 4], BASE62, 6), "4gfFC3");
    }

    #[test]
    fn the_checksum_detects_any_single_wrong_character() {
        let token = sample();
        let value = token.value.expose();
        for (at, was) in value.char_indices().skip(PREFIX.len()) {
            for other in ["0", "z", "Q"] {
                if other.starts_with(was) {
                    continue;
                }
                let mut damaged = value.to_owned();
                damaged.replace_range(at..=at, other);
                assert!(!matches!(read(&damaged), Reading::Minted { .. }), "{damaged}");
            }
        }
    }

    #[test]
    fn values_in_other_formats_are_foreign() {
        let token = sample();
        let value = token.value.expose();
        for foreign in ["", "sk-", "sk-proj-abc", "sk-ant-api03-x-y", &value[..value.len() - 1], &format!("{value}0")] {
            assert_eq!(read(foreign), Reading::Foreign, "{foreign}");
        }
    }

    #[test]
    fn the_id_of_an_imported_key_is_the_start_of_its_hash() {
        let hash = sha256("my-old-key");
        assert_eq!(id_of_hash(&hash), &hash[..12]);
    }
}
