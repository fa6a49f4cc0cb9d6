//! OpenAI's other endpoints: legacy completions, moderation, pictures, speech; and ranking, as vLLM and Jina have it.

use super::answer::Usage;
use super::check::{Check, Members};
use super::event::Event;
use super::record::Exchange;
use super::refusal::{Refusal, scripted};
use super::script::{Script, UsageScript};
use super::stage::{Reply, request_id};
use super::{CREATED, ask::Dialect};
use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};

/// A PNG of one pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const EVENTS: &str = "text/event-stream; charset=utf-8";
/// Output tokens of a picture.
const PICTURE: u64 = 272;

/// The paths of such endpoints, below the base URL.
pub(super) const PATHS: [&str; 10] = [
    "completions",
    "moderations",
    "images/generations",
    "images/edits",
    "images/variations",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
    "rerank",
    "score",
];

/// All that an answer is made from.
pub(super) struct Request<'a> {
    pub path: &'a str,
    pub body: &'a Value,
    pub script: &'a Script,
    pub exchange: &'a Exchange,
}

impl Request<'_> {
    pub fn answer(&self) -> Check<Reply> {
        let body = Members::of(self.body, "")?;
        match self.path {
            "completions" => self.completions(&body),
            "moderations" => self.moderations(&body),
            "images/generations" => self.images(&body, "image_generation"),
            "images/edits" => {
                body.need("image")?;
                self.images(&body, "image_edit")
            }
            "images/variations" => self.variations(&body),
            "audio/speech" => self.speech(&body),
            "audio/transcriptions" | "audio/translations" => self.transcriptions(&body),
            "unlisted" => {
                let mut document = json!({"pages": [self.script.text.as_deref().unwrap_or("a page")]});
                self.counted(&mut document, json!({"prompt_tokens": 7, "total_tokens": 7}), false, (7, 0))?;
                Ok(Reply::Document(document, 0))
            }
            "rerank" => self.rerank(&body),
            "score" => self.score(&body),
            other => Err(Refusal::of(404, format!("Invalid URL (POST /v1/{other})"))),
        }
    }

    fn only(&self, body: &Members<'_>, known: &str) -> Check {
        if self.script.tolerate_unknown { Ok(()) } else { body.only(known) }
    }

    /// Puts the usage into a document as the script says, and the truth into the ledger.
    fn counted(&self, document: &mut Value, truth: Value, streamed: bool, (input, output): (u64, u64)) -> Check {
        let model = Members::of(self.body, "")?.string("model")?.to_owned();
        self.exchange.produced(&model, streamed, Usage { input, output, ..Usage::default() });
        match &self.script.usage {
            UsageScript::Exact => document["usage"] = truth,
            UsageScript::Absent => {}
            UsageScript::Odd(value) => document["usage"] = value.clone(),
        }
        Ok(())
    }

    fn stream(&self, events: Vec<Event>) -> Reply {
        let error = Event::data(&scripted(503).body(Dialect::Chat, &request_id(self.exchange.id)));
        Reply::Stream { events, heartbeat: Event::raw(": keep-alive\n\n"), error, content_type: EVENTS }
    }

    fn completions(&self, body: &Members<'_>) -> Check<Reply> {
        self.only(
            body,
            "model prompt best_of echo frequency_penalty logit_bias logprobs max_tokens n presence_penalty seed stop stream \
             stream_options suffix temperature top_p user",
        )?;
        let (model, prompt) = (body.string("model")?, body.string("prompt")?);
        let pieces = self.script.pieces.clone().unwrap_or_else(|| {
            let text = self.script.text.clone().unwrap_or_else(|| format!("It continues: {prompt}"));
            text.split_inclusive(' ').map(str::to_owned).collect()
        });
        let counts = (words(prompt), pieces.len() as u64);
        let usage =
            json!({"prompt_tokens": counts.0, "completion_tokens": counts.1, "total_tokens": counts.0 + counts.1});
        let id = format!("cmpl-{}", self.exchange.id);
        let with = |choices: Value| json!({"id": id, "object": "text_completion", "created": CREATED, "model": model, "choices": choices});
        let choice = |text: &str, finish: Option<&str>| json!([{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}]);
        let streamed = body.flag("stream")?.unwrap_or(false);
        let options = body.object("stream_options")?;
        if options.is_some() && !streamed {
            return Err(Refusal::invalid("stream_options", "only allowed when stream is enabled"));
        }
        if !streamed {
            let mut document = with(choice(&pieces.concat(), Some("stop")));
            self.counted(&mut document, usage, false, counts)?;
            return Ok(Reply::Document(document, counts.1));
        }
        let mut events: Vec<_> = pieces.iter().map(|piece| Event::data(&with(choice(piece, None))).worth(1)).collect();
        events.push(Event::data(&with(choice("", Some("stop")))));
        let mut last = with(json!([]));
        self.counted(&mut last, usage, true, counts)?;
        if options.map(|options| options.flag("include_usage")).transpose()?.flatten() == Some(true) {
            events.push(Event::data(&last));
        }
        events.push(Event::raw("data: [DONE]\n\n"));
        Ok(self.stream(events))
    }

    fn moderations(&self, body: &Members<'_>) -> Check<Reply> {
        self.only(body, "model input")?;
        let model = body.string("model")?;
        let inputs = match body.need("input")? {
            Value::String(text) => vec![text.clone()],
            Value::Array(items) => items.iter().map(ToString::to_string).collect(),
            _ => return Err(Refusal::invalid("input", "a string or an array is expected")),
        };
        let results = inputs.iter().map(|text| {
            let violent = text.contains("kill");
            json!({"flagged": violent, "categories": {"violence": violent, "sexual": false},
                "category_scores": {"violence": if violent { 0.9 } else { 0.1 }, "sexual": 0.0},
                "category_applied_input_types": {"violence": ["text"], "sexual": ["text"]}})
        });
        let results: Vec<_> = results.collect();
        self.exchange.produced(model, false, Usage::default());
        Ok(Reply::Document(json!({"id": format!("modr-{}", self.exchange.id), "model": model, "results": results}), 0))
    }

    /// `kind` is how the events of a stream are called.
    pub fn images(&self, body: &Members<'_>, kind: &str) -> Check<Reply> {
        self.only(
            body,
            "model prompt n size quality style background moderation output_format output_compression response_format \
             stream partial_images user image mask input_fidelity",
        )?;
        let (_, prompt) = (body.string("model")?, body.string("prompt")?);
        let count = body.integer("n", 1)?.unwrap_or(1);
        let counts = (words(prompt), PICTURE * count);
        let usage = json!({"input_tokens": counts.0, "output_tokens": counts.1, "total_tokens": counts.0 + counts.1,
            "input_tokens_details": {"text_tokens": counts.0, "image_tokens": 0}});
        let picture = self.script.text.as_deref().unwrap_or(PNG);
        let common = json!({"created_at": CREATED, "size": "1024x1024", "quality": "high", "background": "opaque",
            "output_format": "png", "b64_json": picture});
        if body.flag("stream")?.unwrap_or(false) {
            let mut partial = common.clone();
            partial["type"] = json!(format!("{kind}.partial_image"));
            partial["partial_image_index"] = json!(0);
            let mut last = common;
            last["type"] = json!(format!("{kind}.completed"));
            self.counted(&mut last, usage, true, counts)?;
            return Ok(self.stream(vec![Event::named(&partial).worth(0), Event::named(&last).worth(counts.1)]));
        }
        let data: Vec<_> = (0..count).map(|_| json!({"b64_json": picture})).collect();
        let mut document = json!({"created": CREATED, "data": data, "size": "1024x1024"});
        self.counted(&mut document, usage, false, counts)?;
        Ok(Reply::Document(document, counts.1))
    }

    fn speech(&self, body: &Members<'_>) -> Check<Reply> {
        self.only(body, "model input voice instructions response_format speed stream_format")?;
        let (_, input, _) = (body.string("model")?, body.string("input")?, body.string("voice")?);
        // Not UTF-8, and as long as what is spoken.
        let sound = [&[0xff, 0xfb, 0x90, 0x00][..], self.script.text.as_deref().unwrap_or(input).as_bytes()].concat();
        let counts = (words(input), sound.len() as u64);
        let streams = match body.get("stream_format") {
            Some(_) => body.one_of("stream_format", &["audio", "sse"])? == "sse",
            None => false,
        };
        let mut last = json!({"type": "speech.audio.done"});
        let usage = json!({"input_tokens": counts.0, "output_tokens": counts.1, "total_tokens": counts.0 + counts.1});
        self.counted(&mut last, usage, streams, counts)?;
        if !streams {
            let half = sound.len() / 2;
            let piece = |bytes: &[u8]| Event { bytes: Bytes::copy_from_slice(bytes), content: true, tokens: 0 };
            return Ok(Reply::Stream {
                events: vec![piece(&sound[..half]), piece(&sound[half..])],
                heartbeat: Event::raw(""),
                error: Event::raw(""),
                content_type: "audio/mpeg",
            });
        }
        let audio = base64::engine::general_purpose::STANDARD.encode(sound);
        let delta = json!({"type": "speech.audio.delta", "audio": audio});
        Ok(self.stream(vec![Event::data(&delta).worth(counts.1), Event::data(&last)]))
    }

    fn variations(&self, body: &Members<'_>) -> Check<Reply> {
        self.only(body, "model image n response_format size user")?;
        body.object("image")?.ok_or_else(|| Refusal::invalid("image", "field required"))?;
        let picture = json!({"b64_json": self.script.text.as_deref().unwrap_or(PNG)});
        self.exchange.produced(body.string("model")?, false, Usage::default());
        Ok(Reply::Document(json!({"created": CREATED, "data": [picture]}), 0))
    }

    fn transcriptions(&self, body: &Members<'_>) -> Check<Reply> {
        self.only(
            body,
            "model file language prompt response_format temperature stream include timestamp_granularities \
             chunking_strategy",
        )?;
        body.string("model")?;
        let file = body.object("file")?.ok_or_else(|| Refusal::invalid("file", "field required"))?;
        let bytes = file.integer("bytes", 0)?.unwrap_or(0);
        let text = self
            .script
            .text
            .clone()
            .unwrap_or_else(|| format!("I heard {bytes} bytes of {}", file.get("filename").unwrap()));
        let counts = (bytes / 100, words(&text));
        let usage = json!({"type": "tokens", "input_tokens": counts.0, "output_tokens": counts.1,
            "total_tokens": counts.0 + counts.1, "input_token_details": {"text_tokens": 0, "audio_tokens": counts.0}});
        if body.flag("stream")?.unwrap_or(false) {
            let mut last = json!({"type": "transcript.text.done", "text": text});
            self.counted(&mut last, usage, true, counts)?;
            let pieces = text.split_inclusive(' ');
            let mut events: Vec<_> = pieces
                .map(|piece| Event::data(&json!({"type": "transcript.text.delta", "delta": piece})).worth(1))
                .collect();
            events.push(Event::data(&last));
            return Ok(self.stream(events));
        }
        let mut document = json!({"text": text});
        self.counted(&mut document, usage, false, counts)?;
        match body.get("response_format").and_then(Value::as_str) {
            None | Some("json" | "verbose_json") => Ok(Reply::Document(document, counts.1)),
            Some(_) => Ok(Reply::Stream {
                events: vec![Event::raw(text).worth(counts.1)],
                heartbeat: Event::raw(""),
                error: Event::raw(""),
                content_type: "text/plain; charset=utf-8",
            }),
        }
    }

    fn rerank(&self, body: &Members<'_>) -> Check<Reply> {
        self.only(body, "model query documents top_n return_documents max_tokens_per_doc")?;
        let (model, query) = (body.string("model")?, body.string("query")?);
        let documents = body.array("documents")?;
        let mut results: Vec<(usize, u64)> =
            documents.iter().enumerate().map(|(index, text)| (index, words(&text.to_string()))).collect();
        results.sort_by_key(|(_, score)| std::cmp::Reverse(*score));
        let results: Vec<_> =
            results.iter().map(|(index, score)| json!({"index": index, "relevance_score": score})).collect();
        let input = words(query) + documents.iter().map(|text| words(&text.to_string())).sum::<u64>();
        let mut document = json!({"id": format!("rerank-{}", self.exchange.id), "model": model, "results": results});
        self.counted(&mut document, json!({"total_tokens": input}), false, (input, 0))?;
        Ok(Reply::Document(document, 0))
    }

    fn score(&self, body: &Members<'_>) -> Check<Reply> {
        self.only(body, "model text_1 text_2 queries documents")?;
        let (model, one, other) = (body.string("model")?, body.string("text_1")?, body.string("text_2")?);
        let input = words(one) + words(other);
        let data = json!([{"index": 0, "object": "score", "score": 0.5}]);
        let mut document =
            json!({"id": format!("score-{}", self.exchange.id), "object": "list", "model": model, "data": data});
        self.counted(&mut document, json!({"prompt_tokens": input, "total_tokens": input}), false, (input, 0))?;
        Ok(Reply::Document(document, 0))
    }
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}
