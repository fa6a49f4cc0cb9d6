//! Which of Bedrock's models make vectors, and in whose words each is asked.

use crate::codec::converse::models::without_region;

/// Whose bodies a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Amazon's Titan for text.
    Titan,
    /// Amazon's Titan for text and images.
    TitanImage,
    /// Cohere's Embed.
    Cohere,
    /// Amazon's Nova.
    Nova,
}

/// An embedding model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    /// How it is asked and answers.
    pub body: Body,
    /// How many members its vectors have, where that cannot be chosen.
    pub fixed: Option<u64>,
}

/// By the beginning of an id without its region; the first row that fits counts.
const MODELS: [(&str, Body, Option<u64>); 9] = [
    ("amazon.titan-embed-image-", Body::TitanImage, None),
    ("amazon.titan-embed-text-v1", Body::Titan, Some(1_536)),
    ("amazon.titan-embed-g1-text-", Body::Titan, Some(1_536)),
    ("amazon.titan-embed-", Body::Titan, None),
    ("cohere.embed-english-v3", Body::Cohere, Some(1_024)),
    ("cohere.embed-multilingual-v3", Body::Cohere, Some(1_024)),
    ("cohere.embed-", Body::Cohere, None),
    ("amazon.nova-2-multimodal-embeddings-", Body::Nova, None),
    ("amazon.nova-embed", Body::Nova, None),
];

/// The model of this id, if it makes vectors.
pub(crate) fn model(id: &str) -> Option<Model> {
    let plain = without_region(id);
    let row = MODELS.iter().find(|(begin, ..)| plain.starts_with(begin))?;
    Some(Model { body: row.1, fixed: row.2 })
}

/// Whether a model makes vectors.
pub(crate) fn embeds(id: &str) -> bool {
    model(id).is_some()
}
