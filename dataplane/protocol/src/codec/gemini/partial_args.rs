//! Arguments of a call that come in pieces (Vertex AI's `streamFunctionCallArguments`): each piece sets the value at a
//! JSON path, and a text may go on over several pieces.
//!
//! Paths are `$.a.b[0]['c']`. What they build is bounded in depth and in elements, so that a path cannot make the answer
//! larger than what was sent.

use serde_json::{Map, Value};

use crate::codec::{
    Malformed,
    json::read::{Object, malformed},
};

/// Deepest place that a path may name.
const MAX_DEPTH: usize = 32;
/// Most steps of all paths together.
const MAX_MADE: usize = 100_000;

/// The arguments so far.
#[derive(Debug, Default)]
pub struct PartialArgs {
    root: Value,
    /// Values that were made.
    made: usize,
}

#[derive(Debug)]
enum Step {
    Member(String),
    Element(usize),
}

impl PartialArgs {
    /// Takes the elements of `partialArgs`.
    ///
    /// # Errors
    /// When a path or a value cannot be read.
    pub fn push(&mut self, pieces: Vec<Object<'_>>) -> Result<(), Malformed> {
        for mut piece in pieces {
            let path: String = piece.need("jsonPath")?;
            let steps = steps(&path).ok_or_else(|| malformed("is no path into the arguments").within("jsonPath"))?;
            let text: Option<String> = piece.take("stringValue")?;
            let number: Option<Value> = piece.take("numberValue")?;
            let truth: Option<bool> = piece.take("boolValue")?;
            let slot = place(&mut self.root, &steps, &mut self.made)
                .ok_or_else(|| malformed("does not fit the arguments so far").within("jsonPath"))?;
            match (text, number, truth) {
                (Some(more), _, _) => match slot {
                    Value::String(before) => before.push_str(&more),
                    other => *other = Value::String(more),
                },
                (None, Some(number), _) => *slot = number,
                (None, None, Some(truth)) => *slot = Value::Bool(truth),
                // `nullValue`, or nothing at all.
                (None, None, None) => *slot = Value::Null,
            }
        }
        Ok(())
    }

    /// The arguments as JSON text.
    pub fn finish(self) -> String {
        match self.root {
            Value::Null => "{}".to_owned(),
            root => root.to_string(),
        }
    }
}

/// The value at a path, made on the way.
fn place<'v>(root: &'v mut Value, steps: &[Step], made: &mut usize) -> Option<&'v mut Value> {
    // A step of two bytes may make an object of some hundreds.
    *made = made.saturating_add(steps.len());
    if *made > MAX_MADE {
        return None;
    }
    steps.iter().try_fold(root, |value, step| match step {
        Step::Member(name) => {
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
            Some(value.as_object_mut()?.entry(name.clone()).or_insert(Value::Null))
        }
        Step::Element(index) => {
            if value.is_null() {
                *value = Value::Array(Vec::new());
            }
            let list = value.as_array_mut()?;
            if *index == list.len() {
                list.push(Value::Null);
            }
            list.get_mut(*index)
        }
    })
}

fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() >= MAX_DEPTH {
            return None;
        }
        if let Some(quoted) = rest.strip_prefix("['") {
            let (name, behind) = quoted.split_once("']")?;
            steps.push(Step::Member(name.to_owned()));
            rest = behind;
        } else if let Some(index) = rest.strip_prefix('[') {
            let (index, behind) = index.split_once(']')?;
            steps.push(Step::Element(index.parse().ok()?));
            rest = behind;
        } else {
            let name = rest.strip_prefix('.')?;
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let (name, behind) = name.split_at_checked(end)?;
            steps.push(Step::Member((!name.is_empty()).then(|| name.to_owned())?));
            rest = behind;
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::PartialArgs;
    use crate::codec::json::read::{Object, Spelling};

    fn built(pieces: &[&str]) -> Result<String, String> {
        let mut arguments = PartialArgs::default();
        for piece in pieces {
            let piece = Object::parse(piece.as_bytes(), Spelling::Proto).unwrap();
            arguments.push(vec![piece]).map_err(|error| error.to_string())?;
        }
        Ok(arguments.finish())
    }

    #[test]
    fn paths_build_the_arguments() {
        let pieces = [
            r#"{"jsonPath":"$.city","stringValue":"Ro","willContinue":true}"#,
            r#"{"jsonPath":"$.city","stringValue":"me"}"#,
            r#"{"jsonPath":"$.days[0].n","numberValue":1.5}"#,
            r#"{"jsonPath":"$.days[1]['a.b']","boolValue":true}"#,
            r#"{"jsonPath":"$.none","nullValue":"NULL_VALUE"}"#,
        ];
        let whole = r#"{"city":"Rome","days":[{"n":1.5},{"a.b":true}],"none":null}"#;
        assert_eq!(built(&pieces).as_deref(), Ok(whole));
        assert_eq!(built(&[]).as_deref(), Ok("{}"));
    }

    #[test]
    fn a_path_cannot_make_more_than_was_sent() {
        for path in ["$.a[1000000]", "$.a[18446744073709551616]", "x", "$..a", &format!("${}", ".a".repeat(100))] {
            assert!(built(&[&format!("{{\"jsonPath\":\"{path}\",\"stringValue\":\"x\"}}")]).is_err(), "{path}");
        }
    }
}
