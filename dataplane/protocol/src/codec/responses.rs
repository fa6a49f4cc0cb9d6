//! OpenAI Responses (docs/protocols/responses.md).

pub mod reasoning_state;
