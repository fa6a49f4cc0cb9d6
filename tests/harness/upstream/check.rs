//! Small checks that the dialects' rules are written in. Each names the place at fault, as the vendors do.

use super::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

pub(super) type Check<T = ()> = Result<T, Refusal>;

/// An object within a request, with its place. `null` members count as absent, as every dialect has it.
pub(super) struct Members<'a> {
    pub at: String,
    map: &'a Map<String, Value>,
}

impl<'a> Members<'a> {
    pub fn of(value: &'a Value, at: impl Into<String>) -> Check<Self> {
        let at = at.into();
        match value.as_object() {
            Some(map) => Ok(Self { at, map }),
            None => Err(Refusal::invalid(at, "an object is expected")),
        }
    }

    pub fn place(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    /// Refuses members that are not in the list (names separated by spaces).
    pub fn only(&self, known: &str) -> Check {
        match self.map.keys().find(|name| !known.split_whitespace().any(|k| k == *name)) {
            Some(name) => Err(Refusal::invalid(self.place(name), "unknown member")),
            None => Ok(()),
        }
    }

    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// The first that is there: Gemini takes camelCase and snake_case.
    pub fn either(&self, camel: &str, snake: &str) -> Option<&'a Value> {
        self.get(camel).or_else(|| self.get(snake))
    }

    pub fn need(&self, name: &str) -> Check<&'a Value> {
        self.get(name).ok_or_else(|| Refusal::invalid(self.place(name), "field required"))
    }

    pub fn string(&self, name: &str) -> Check<&'a str> {
        let value = self.need(name)?;
        value.as_str().ok_or_else(|| Refusal::invalid(self.place(name), "a string is expected"))
    }

    pub fn object(&self, name: &str) -> Check<Option<Members<'a>>> {
        self.get(name).map(|value| Members::of(value, self.place(name))).transpose()
    }

    pub fn array(&self, name: &str) -> Check<&'a [Value]> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(Refusal::invalid(self.place(name), "an array is expected")),
        }
    }

    pub fn flag(&self, name: &str) -> Check<Option<bool>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(Refusal::invalid(self.place(name), "a boolean is expected")),
        }
    }

    pub fn number(&self, name: &str, low: f64, high: f64) -> Check<Option<f64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| Refusal::invalid(self.place(name), "a number is expected"))?;
        if (low..=high).contains(&number) {
            return Ok(Some(number));
        }
        Err(Refusal::invalid(self.place(name), format!("must be between {low} and {high}")))
    }

    pub fn integer(&self, name: &str, low: u64) -> Check<Option<u64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_u64().filter(|number| *number >= low) {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::invalid(self.place(name), format!("an integer of at least {low} is expected"))),
        }
    }

    /// An array of strings, or one string where the dialect allows that.
    pub fn strings(&self, name: &str, most: usize) -> Check<Vec<String>> {
        let wrong = || Refusal::invalid(self.place(name), format!("at most {most} strings are expected"));
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(one)) => Ok(vec![one.clone()]),
            Some(Value::Array(items)) if items.len() <= most => {
                items.iter().map(|item| item.as_str().map(String::from).ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    }

    pub fn one_of(&self, name: &str, allowed: &[&str]) -> Check<&'a str> {
        let value = self.string(name)?;
        if allowed.contains(&value) {
            return Ok(value);
        }
        Err(Refusal::invalid(self.place(name), format!("'{value}' is not one of {}", allowed.join(", "))))
    }
}

/// A tool's name: letters, digits, `_`, `-` and those in `more`.
pub(super) fn name(value: &str, at: &str, most: usize, more: &str) -> Check {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || more.contains(c);
    if !value.is_empty() && value.len() <= most && value.chars().all(legal) {
        return Ok(());
    }
    Err(Refusal::invalid(at, format!("'{value}' is not a legal name here")))
}

/// The decoded length of base64; the URL-safe alphabet only where the dialect takes it.
pub(super) fn base64_len(text: &str, at: &str, url_safe: bool) -> Check<usize> {
    let decoded = match STANDARD.decode(text) {
        Err(_) if url_safe => URL_SAFE.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)),
        other => other,
    };
    decoded.map(|bytes| bytes.len()).map_err(|_| Refusal::invalid(at, "invalid base64 data"))
}

/// The type and size of an image URL: `data:` is decoded, anything else must be HTTP(S).
pub(super) fn image_url(url: &str, at: &str) -> Check<(String, usize)> {
    let Some(data) = url.strip_prefix("data:") else {
        return match url.starts_with("https://") || url.starts_with("http://") {
            true => Ok(("url".to_owned(), 0)),
            false => Err(Refusal::invalid(at, "an http, https or data URL is expected")),
        };
    };
    let (mime, text) = data.split_once(";base64,").ok_or_else(|| Refusal::invalid(at, "data URLs must be base64"))?;
    if !mime.starts_with("image/") {
        return Err(Refusal::invalid(at, format!("'{mime}' is not an image type")));
    }
    Ok((mime.to_owned(), base64_len(text, at, false)?))
}
