//! What of an answer the client's dialect has no place for. Nothing is left out without being named here: the names go to
//! [`crate::response_stats::ResponseStats::lost`], for the log and, where the answer is whole, for a warning.
//!
//! The counterpart of what the encoders write; `tests/hard_cases/answers.rs` holds the two against each other.

use crate::{
    codec::media,
    dialect::{Family, Operation},
    ir::{Block, BlockKind, Citation, Delta, Event, Media, MediaSource, Response},
    report::Field,
};

/// What the client does not get of this event.
pub(super) fn event(event: &Event, client: Operation) -> Option<Field> {
    match event {
        Event::Lost(field) => Some(field.clone()),
        Event::BlockStart { candidate: 1.., .. } if says_one(client) => Some("candidates".into()),
        Event::BlockStart { kind: BlockKind::Media(media), .. } => of_media(media, client),
        Event::BlockStart { kind: BlockKind::Unknown { family, kind, .. }, .. } if !takes_unknown(*family, client) => {
            Some(kind.clone().into())
        }
        Event::BlockDelta { delta: Delta::Citation(citation), .. } => of_citation(citation, client),
        _ => None,
    }
}

/// What the client does not get of a whole answer.
pub(super) fn response(response: &Response, client: Operation) -> Vec<Field> {
    let mut lost = response.lost.clone();
    if says_one(client) && response.candidates.len() > 1 {
        lost.push("candidates".into());
    }
    for block in response.candidates.iter().flat_map(|candidate| &candidate.blocks) {
        match block {
            Block::Text(text) => lost.extend(text.citations.iter().filter_map(|one| of_citation(one, client))),
            Block::Unknown(unknown) if !takes_unknown(unknown.family, client) => lost.push(unknown.kind.clone().into()),
            media => lost.extend(of_media(media, client)),
        }
    }
    lost
}

/// Whether an answer has room for one candidate alone.
const fn says_one(client: Operation) -> bool {
    matches!(client, Operation::Messages | Operation::Responses | Operation::Converse)
}

/// Whether a block that only its family knows can stand in an answer for this client. In Chat's nothing of the kind can:
/// such blocks are items of Responses.
fn takes_unknown(family: Family, client: Operation) -> bool {
    client != Operation::ChatCompletions && family == client.family()
}

/// A Chat or Responses answer names sources on the web with their span, a Gemini answer without, a Messages answer only
/// Anthropic's.
fn of_citation(citation: &Citation, client: Operation) -> Option<Field> {
    let client = client.family();
    let native = citation.native.as_ref().is_some_and(|(family, _)| *family == client);
    match (client, citation.url.is_some()) {
        (Family::OpenAi, true) => None,
        (Family::Anthropic, _) if native => None,
        (Family::Gemini, true) => Some("citations[].span".into()),
        _ => Some("citations".into()),
    }
}

fn of_media(block: &Block, client: Operation) -> Option<Field> {
    let name = media::name(block)?;
    let sayable = match client.family() {
        // A picture by its address is told in words.
        Family::OpenAi if client == Operation::Responses => {
            matches!(block, Block::Image(Media { source: MediaSource::Inline { .. }, .. }))
        }
        Family::OpenAi => media::image_url(block).is_some(),
        Family::Anthropic => false,
        Family::Gemini => true,
        // A picture whose bytes are here; its format is one of four, which every vendor's is.
        Family::Bedrock => matches!(block, Block::Image(Media { source: MediaSource::Inline { .. }, .. })),
    };
    (!sayable).then(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ir::{Candidate, FinishReason, Text, Unknown},
        lane::generate::to_events,
    };

    fn cited(url: Option<&str>, native: Option<Family>) -> Citation {
        let native = native.map(|family| (family, serde_json::value::RawValue::NULL.to_owned()));
        Citation { span: 0..1, url: url.map(str::to_owned), title: None, native }
    }

    fn answer() -> Response {
        let url = |url: &str| MediaSource::Url { url: url.to_owned(), mime: None };
        let media = |source| Media { source, detail: None, state: None, cache: None };
        let citations = vec![cited(Some("https://a"), Some(Family::Anthropic)), cited(None, None)];
        let unknown = Unknown {
            family: Family::Gemini,
            kind: "executableCode".to_owned(),
            raw: serde_json::value::RawValue::NULL.to_owned(),
        };
        let blocks = vec![
            Block::Text(Text { text: "x".to_owned(), citations, ..Text::default() }),
            Block::Image(media(url("https://b"))),
            Block::Audio(media(url("https://c"))),
            Block::Unknown(unknown),
        ];
        let candidate = Candidate { blocks, finish: FinishReason::Stop.into() };
        let candidates = vec![candidate.clone(), candidate];
        Response { candidates, lost: vec!["logprobs".into()], ..Response::default() }
    }

    #[test]
    fn streams_lose_what_whole_answers_lose() {
        let rows = [
            (Operation::ChatCompletions, &["audio", "citations", "executableCode", "logprobs"][..]),
            (Operation::Responses, &["audio", "candidates", "citations", "executableCode", "image", "logprobs"]),
            (Operation::Messages, &["audio", "candidates", "citations", "executableCode", "image", "logprobs"]),
            (Operation::Converse, &["audio", "candidates", "citations", "executableCode", "image", "logprobs"]),
            (Operation::GenerateContent, &["citations", "citations[].span", "logprobs"]),
        ];
        for (client, expected) in rows {
            let mut whole = response(&answer(), client);
            let mut events = Vec::new();
            to_events::events(answer(), &mut events);
            let mut streamed: Vec<Field> = events.iter().filter_map(|one| event(one, client)).collect();
            for list in [&mut whole, &mut streamed] {
                list.sort();
                list.dedup();
            }
            assert_eq!(
                (whole, streamed),
                (
                    expected.iter().map(|name| Field::from(*name)).collect(),
                    expected.iter().map(|name| Field::from(*name)).collect()
                ),
                "{client}"
            );
        }
    }
}
