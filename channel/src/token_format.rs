//! The form of a minted token: `sk-<id>-<secret>-<checksum>`.
//!
//! The id (12 characters of a–z and 0–9) may be logged; the secret is 256 bits as 43 base62 characters; the checksum
//! (6 base62 characters) is the CRC-32 of all before it, so that a scanner or a data plane can tell a typo from a wrong
//! token without a look-up. Any other value may stand for a token too, by its hash alone; it is [`Reading::Foreign`].
//!
//! Pure: who mints brings the random bytes. Tokens are stored and looked up as the SHA-256 of the whole value; with 256
//! random bits no salt and no slow hash is needed.

use sha2::{Digest, Sha256};

use crate::snapshot::Secret;

const PREFIX: &str = "sk-";
const ID_LENGTH: usize = 12;
const SECRET_LENGTH: usize = 43;
const CHECKSUM_LENGTH: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// How many random bytes [`mint`] takes: 8 for the id, 32 for the secret.
pub const ENTROPY: usize = 40;

/// Bytes of the shortest existing key that may be imported: fewer could be guessed by trying.
pub const SHORTEST: usize = 16;

/// Bytes of the longest: it travels in a header, together with others.
pub const LONGEST: usize = 4096;

/// Why an existing key cannot be imported. Says nothing about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Nothing, or white space only.
    #[error("is empty")]
    Empty,
    /// Of less than [`SHORTEST`] bytes.
    #[error("has {0} bytes, and a key needs at least {SHORTEST}: shorter ones can be guessed")]
    TooShort(usize),
    /// Of more than [`LONGEST`] bytes.
    #[error("has {0} bytes, and a key may have {LONGEST} at most")]
    TooLong(usize),
    /// No client could send it.
    #[error("must be visible ASCII characters without white space, because it is sent in a header")]
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

/// What a presented value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading<'a> {
    /// Well-formed, with a checksum that fits.
    Minted {
        /// Its id.
        id: &'a str,
    },
    /// Has the parts of a minted token, but the checksum says that a character is wrong.
    Damaged {
        /// Its id, possibly wrong itself.
        id: &'a str,
    },
    /// Of another form: known by its hash or not at all.
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

/// Tells what a presented value looks like. Says nothing about whether it is known.
pub fn read(value: &str) -> Reading<'_> {
    match parts(value) {
        Some((body, id, sum)) if checksum(body) == sum => Reading::Minted { id },
        Some((_, id, _)) => Reading::Damaged { id },
        None => Reading::Foreign,
    }
}

/// Checks an existing key that somebody brings along. White space around it, such as the line end that an editor leaves,
/// is no part of it.
///
/// # Errors
/// When it may not stand for a token.
pub fn import(value: &[u8]) -> Result<&str, Unusable> {
    let value = value.trim_ascii();
    match value.len() {
        0 => return Err(Unusable::Empty),
        length if length < SHORTEST => return Err(Unusable::TooShort(length)),
        length if length > LONGEST => return Err(Unusable::TooLong(length)),
        _ => {}
    }
    let visible = value.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(value).ok().filter(|_| visible).ok_or(Unusable::NotVisible)
}

/// The hash that stands for a value, 64 lower-case hexadecimal digits.
pub fn sha256(value: &str) -> String {
    hex::encode(Sha256::digest(value))
}

/// The id of a value that was not minted: the first twelve digits of its hash.
pub fn id_of_hash(sha256: &str) -> String {
    sha256.chars().take(ID_LENGTH).collect()
}

/// (all before the checksum, id, checksum)
fn parts(value: &str) -> Option<(&str, &str, &str)> {
    let (body, sum) = value.rsplit_once('-')?;
    let (id, secret) = body.strip_prefix(PREFIX)?.split_once('-')?;
    let made_of =
        |text: &str, alphabet: &[u8], length| text.len() == length && text.bytes().all(|it| alphabet.contains(&it));
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
    fn imported_keys_have_a_least_length_and_can_be_sent() {
        assert_eq!(import(b"0123456789abcdef"), Ok("0123456789abcdef"));
        assert_eq!(import(b" \t0123456789abcdef\r\n"), Ok("0123456789abcdef"));
        assert_eq!(import(b" \n"), Err(Unusable::Empty));
        assert_eq!(import(b"0123456789abcde          "), Err(Unusable::TooShort(15)), "white space does not count");
        assert_eq!(import(&[b'a'; LONGEST]), Ok("a".repeat(LONGEST).as_str()));
        assert_eq!(import(&[b'a'; LONGEST + 1]), Err(Unusable::TooLong(LONGEST + 1)));
        for inside in ["0123456789 abcdef", "0123456789\nabcdef", "0123456789\u{0}abcdef", "0123456789äöüabc"] {
            assert_eq!(import(inside.as_bytes()), Err(Unusable::NotVisible), "{inside:?}");
        }
        assert_eq!(import(&[0xff; 16]), Err(Unusable::NotVisible));
        assert_eq!(
            Unusable::TooShort(15).to_string(),
            "has 15 bytes, and a key needs at least 16: shorter ones can be guessed"
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
    fn the_form_is_fixed() {
        // Held down so that tokens in the field stay readable. The checksum was computed by another program (zlib).
        let token = mint(&[0; ENTROPY]);
        assert_eq!(token.value.expose(), "sk-000000000000-0000000000000000000000000000000000000000000-1iWFYX");
        let token = mint(&[255; ENTROPY]);
        assert!(token.value.expose().starts_with("sk-"));
        assert_eq!(digits(&[255; 4], BASE62, 6), "4gfFC3");
    }

    #[test]
    fn any_single_wrong_character_is_noticed() {
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
    fn values_of_other_forms_are_foreign() {
        let token = sample();
        let value = token.value.expose();
        for foreign in ["", "sk-", "sk-proj-abc", "sk-ant-api03-x-y", &value[..value.len() - 1], &format!("{value}0")] {
            assert_eq!(read(foreign), Reading::Foreign, "{foreign}");
        }
    }

    #[test]
    fn an_imported_value_is_named_by_its_hash() {
        let hash = sha256("my-old-key");
        assert_eq!(id_of_hash(&hash), &hash[..12]);
    }
}
