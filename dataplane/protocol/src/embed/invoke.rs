//! `InvokeModel` of Amazon Bedrock, for embedding models: the path is one for all, the bodies are each vendor's own
//! (docs/protocols/embeddings-and-counting.md).

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    request::Request,
    vectors::{Vector, Vectors, unreadable},
};
use crate::{
    codec::json::{
        read::{Object, Spelling, elements},
        write::{self, Members},
    },
    host::bedrock::embedding_models::{Body, Model},
    problem::Problem,
    report::Report,
};

/// Most texts in one call of Cohere's: "maximum number of texts per call: 96", says Bedrock's page of its parameters.
const MOST_TEXTS_OF_COHERE: usize = 96;
/// What Nova's vectors have if nothing is said. The API has the same default; it is stated so that it cannot change.
const NOVA_DIMENSIONS: u64 = 3_072;

/// What vectors are for, in the words of Gemini, Cohere and Nova.
const PURPOSES: [(&str, &str, &str); 7] = [
    ("RETRIEVAL_DOCUMENT", DOCUMENT, "GENERIC_INDEX"),
    ("RETRIEVAL_QUERY", "search_query", "TEXT_RETRIEVAL"),
    ("QUESTION_ANSWERING", "search_query", "TEXT_RETRIEVAL"),
    ("FACT_VERIFICATION", "search_query", "TEXT_RETRIEVAL"),
    ("CODE_RETRIEVAL_QUERY", "search_query", "TEXT_RETRIEVAL"),
    ("CLASSIFICATION", "classification", "CLASSIFICATION"),
    ("CLUSTERING", "clustering", "CLUSTERING"),
];
/// Cohere and Nova demand a purpose; this is what is said for a client that names none, as Cohere's own integrations do.
const DOCUMENT: &str = "search_document";

impl Model {
    /// Most texts that it takes in one call.
    pub(super) const fn most_in_call(self) -> usize {
        match self.body {
            Body::Titan | Body::TitanImage | Body::Nova => 1,
            Body::Cohere => MOST_TEXTS_OF_COHERE,
        }
    }

    /// Says what it is not sent.
    pub(super) fn report_lost(self, request: &Request<'_>, report: &mut Report) {
        if let (Some(fixed), Some(asked)) = (self.fixed, request.dimensions)
            && fixed != asked
        {
            report.impossible(
                "dimensions",
                format!("the upstream's model makes vectors of {fixed} members and no others"),
            );
        }
        if request.title.is_some() {
            report.dropped("title");
        }
        let names_purpose = matches!(self.body, Body::Cohere | Body::Nova);
        if request.input_type.is_some() && !names_purpose {
            report.dropped("input_type");
        }
        if let Some(task) = &request.task
            && (!names_purpose || !PURPOSES.iter().any(|(known, ..)| known == task))
        {
            report.dropped("taskType");
        }
    }

    /// Appends a call with these texts, of which there are no more than it takes.
    pub(super) fn write(self, out: &mut Vec<u8>, texts: &[Cow<'_, str>], request: &Request<'_>) {
        let dimensions = request.dimensions.filter(|_| self.fixed.is_none());
        let text: &str = texts.first().map_or("", AsRef::as_ref);
        write::object(out, |out| match self.body {
            Body::Titan => {
                out.put("inputText", text);
                out.put_some("dimensions", dimensions);
            }
            Body::TitanImage => {
                out.put("inputText", text);
                if let Some(length) = dimensions {
                    out.object("embeddingConfig", |config| config.put("outputEmbeddingLength", &length));
                }
            }
            Body::Cohere => {
                out.list("texts", |list| texts.iter().for_each(|text| list.put(&**text)));
                out.put("input_type", input_type(request));
                out.put_some("output_dimension", dimensions);
            }
            Body::Nova => nova(out, text, dimensions, request),
        });
    }
}

fn nova(out: &mut Members<'_>, text: &str, dimensions: Option<u64>, request: &Request<'_>) {
    out.put("schemaVersion", "nova-multimodal-embed-v1");
    out.put("taskType", "SINGLE_EMBEDDING");
    out.object("singleEmbeddingParams", |params| {
        let said = input_type(request);
        let known = PURPOSES.iter().find(|(_, input_type, _)| *input_type == said);
        params.put("embeddingPurpose", known.map_or(said, |(.., purpose)| *purpose));
        params.put("embeddingDimension", &dimensions.unwrap_or(NOVA_DIMENSIONS));
        params.object("text", |out| {
            // What is too long is an error, as with other vendors, and not cut without a word.
            out.put("truncationMode", "NONE");
            out.put("value", text);
        });
    });
}

/// What the vectors are for, in Cohere's words or in the client's own.
fn input_type<'a>(request: &'a Request<'_>) -> &'a str {
    if let Some(said) = &request.input_type {
        return said;
    }
    let task = request.task.as_deref();
    PURPOSES.iter().find(|(known, ..)| Some(*known) == task).map_or(DOCUMENT, |(_, input_type, _)| input_type)
}

/// Reads an answer of any of them: they have no member in common that means something else.
pub(super) fn vectors(body: &[u8]) -> Result<Vectors<'_>, Problem> {
    let mut members = Object::parse(body, Spelling::Exact).map_err(|_| unreadable())?;
    // Titan counts in the body; of the others the answer's head does.
    let input_tokens = members.take("inputTextTokenCount").ok().flatten();
    let values = match (members.take_raw("embedding"), members.take_raw("embeddings")) {
        (Some(one), _) => vec![numbers(one)?],
        // Cohere's, by type if a type was asked for, which one model answers unasked.
        (None, Some(list)) if list.get().starts_with('{') => {
            let mut by_type = Object::from_raw(list, Spelling::Exact).map_err(|_| unreadable())?;
            by_type.list("float").map_err(|_| unreadable())?.into_iter().map(vector).collect::<Result<_, _>>()?
        }
        (None, Some(list)) => {
            elements(list).map_err(|_| unreadable())?.into_iter().map(vector).collect::<Result<_, _>>()?
        }
        (None, None) => return Err(unreadable()),
    };
    Ok(Vectors { values, input_tokens, model: None })
}

/// An element of a list: the numbers, or Nova's object around them.
fn vector(raw: &RawValue) -> Result<Vector<'_>, Problem> {
    if raw.get().starts_with('{') {
        let mut one = Object::from_raw(raw, Spelling::Exact).map_err(|_| unreadable())?;
        return numbers(one.take_raw("embedding").ok_or_else(unreadable)?);
    }
    numbers(raw)
}

fn numbers(raw: &RawValue) -> Result<Vector<'_>, Problem> {
    if raw.get().starts_with('[') { Ok(Vector::Numbers(raw)) } else { Err(unreadable()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::bedrock::embedding_models::model;

    #[test]
    fn models_are_known_whatever_stands_in_front_of_their_ids() {
        for (id, body, fixed, most) in [
            ("amazon.titan-embed-text-v1", Body::Titan, Some(1_536), 1),
            ("amazon.titan-embed-text-v2:0", Body::Titan, None, 1),
            ("amazon.titan-embed-image-v1", Body::TitanImage, None, 1),
            ("cohere.embed-english-v3", Body::Cohere, Some(1_024), 96),
            ("us.cohere.embed-v4:0", Body::Cohere, None, 96),
            ("arn:aws:bedrock:us-east-1:1:inference-profile/global.cohere.embed-v4:0", Body::Cohere, None, 96),
            ("amazon.nova-2-multimodal-embeddings-v1:0", Body::Nova, None, 1),
        ] {
            let model = model(id).unwrap();
            assert_eq!((model.body, model.fixed, model.most_in_call()), (body, fixed, most), "{id}");
        }
        for id in ["amazon.titan-text-express-v1", "amazon.nova-2-lite-v1:0", "cohere.command-r-v1:0", "embed", ""] {
            assert!(model(id).is_none(), "{id}");
        }
    }
}
