//! Request bodies that cost more than they weigh.

use std::fmt::Write as _;

/// The dialects' calls: path, and a body around given members.
pub const CALLS: [(&str, &str); 3] = [
    ("/v1/chat/completions", "chat-x"),
    ("/v1/messages", "claude-x"),
    ("/v1beta/models/gem-x:generateContent", "gem-x"),
];

/// A Chat request with these tools and a model.
pub fn with_schema(model: &str, schema: &str) -> String {
    format!(
        r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]}}"#
    )
}

/// Each level refers twice to the next; at the end a long default.
pub fn doubling(levels: usize, bytes: usize) -> String {
    let mut defs = String::new();
    for level in 0..levels {
        let next = level + 1;
        write!(
            defs,
            r##""d{level}":{{"type":"object","properties":{{"l":{{"$ref":"#/$defs/d{next}"}},"r":{{"$ref":"#/$defs/d{next}"}}}}}},"##
        )
        .expect("a string");
    }
    let filler = "x".repeat(bytes);
    format!(
        r##"{{"$defs":{{{defs}"d{levels}":{{"type":"string","default":"{filler}"}}}},"$ref":"#/$defs/d0","type":"object"}}"##
    )
}

/// A schema that contains itself, with a long default.
pub fn recursive(bytes: usize) -> String {
    let filler = "x".repeat(bytes);
    format!(
        r##"{{"$defs":{{"n":{{"type":"object","default":"{filler}","properties":{{"a":{{"$ref":"#/$defs/n"}},"b":{{"$ref":"#/$defs/n"}}}}}}}},"type":"object","properties":{{"n":{{"$ref":"#/$defs/n"}}}}}}"##
    )
}

/// Many properties that all refer to one long definition.
pub fn wide(properties: usize, bytes: usize) -> String {
    let filler = "x".repeat(bytes);
    let list = |number| format!(r##""p{number}":{{"$ref":"#/$defs/n"}}"##);
    let properties: Vec<String> = (0..properties).map(list).collect();
    let properties = properties.join(",");
    format!(
        r##"{{"$defs":{{"n":{{"type":"string","description":"{filler}","enum":["{filler}"]}}}},"type":"object","properties":{{{properties}}}}}"##
    )
}

/// Members `name0`, `name1`, …, each with this value, joined by commas.
pub fn members(count: usize, name: &str, value: &str) -> String {
    let list: Vec<String> = (0..count).map(|number| format!(r#""{name}{number}":{value}"#)).collect();
    list.join(",")
}

/// A value so many times, joined by commas.
pub fn times(count: usize, value: &str) -> String {
    vec![value; count].join(",")
}

/// A smallest request of a dialect, by the index of [`CALLS`], with more members at its top and in its message.
pub fn plain(call: usize, model: &str, top: &str, message: &str) -> String {
    let comma = |members: &str| if members.is_empty() { String::new() } else { format!(",{members}") };
    let (top, message) = (comma(top), comma(message));
    match call {
        0 => format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"{message}}}]{top}}}"#),
        1 => format!(
            r#"{{"model":"{model}","max_tokens":9,"messages":[{{"role":"user","content":"hi"{message}}}]{top}}}"#
        ),
        _ => format!(r#"{{"contents":[{{"role":"user","parts":[{{"text":"hi"}}]{message}}}]{top}}}"#),
    }
}

/// Where a call of a dialect goes that is to reach this model.
pub fn path(call: usize, model: &str) -> String {
    match call {
        2 => format!("/v1beta/models/{model}:generateContent"),
        _ => CALLS[call].0.to_owned(),
    }
}
