//! Names that Responses has for what is one name in the neutral representation.

use crate::codec::ResponseContext;

/// What stands between a namespace and a tool's name.
const SEPARATOR: &str = "__";

/// Most tools in namespaces: each repeats its namespace's name. Coding agents offer some hundreds.
pub const MAX_GROUPED: usize = 4_096;

/// A tool of a namespace under one name.
pub fn flat(namespace: &str, name: &str) -> String {
    format!("{namespace}{SEPARATOR}{name}")
}

/// The namespace of a tool, if the client has it in one, and its name there.
pub fn grouped<'a>(name: &'a str, context: &'a ResponseContext) -> (Option<&'a str>, &'a str) {
    let known = context.echo.as_ref().and_then(|echo| echo.namespaces.get(name));
    known.map_or((None, name), |(namespace, own)| (Some(namespace), own))
}
