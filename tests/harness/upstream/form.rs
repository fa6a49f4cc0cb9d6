//! Requests that are forms, as the JSON object that their fields would make: files by what is known of them.

use bytes::Bytes;
use hyper::HeaderMap;
use serde_json::{Map, Value, json};
use std::convert::Infallible;

/// Fields that hold a number.
const NUMBERS: [&str; 4] = ["n", "partial_images", "output_compression", "temperature"];

/// The body as it is if it is no form.
pub(super) async fn as_json(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, multer::Error> {
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("multipart/form-data") {
        return Ok(body.clone());
    }
    let stream = futures_util::stream::iter([Ok::<_, Infallible>(body.clone())]);
    let mut form = multer::Multipart::new(stream, multer::parse_boundary(kind)?);
    let mut fields = Map::new();
    while let Some(field) = form.next_field().await? {
        let name = field.name().unwrap_or_default().to_owned();
        let (file, kind) = (field.file_name().map(str::to_owned), field.content_type().map(ToString::to_string));
        let content = field.bytes().await?;
        let value = match file {
            Some(file) => json!({"filename": file, "content_type": kind, "bytes": content.len()}),
            None => plain(&name, &String::from_utf8_lossy(&content)),
        };
        // `name[]` makes a list.
        match name.strip_suffix("[]") {
            Some(name) => match fields.entry(name).or_insert_with(|| json!([])) {
                Value::Array(list) => list.push(value),
                other => *other = value,
            },
            None => drop(fields.insert(name, value)),
        }
    }
    Ok(Value::Object(fields).to_string().into())
}

fn plain(name: &str, text: &str) -> Value {
    match name {
        "stream" => json!(text == "true"),
        _ if NUMBERS.contains(&name) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        _ => json!(text),
    }
}
