//! The calls about what a vendor keeps, by their paths (OpenAI's API reference, "Responses" and "Conversations").

use super::StoredKind;
use crate::framing::Framing;

/// What is asked of a stored response or conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredCall {
    /// `GET /v1/responses/{id}`, whole or from an event on (`stream`, `starting_after`).
    Retrieve,
    /// `DELETE /v1/responses/{id}`
    Delete,
    /// `POST /v1/responses/{id}/cancel`, for one that runs in the background.
    Cancel,
    /// `GET /v1/responses/{id}/input_items`, a page of them.
    InputItems,
    /// `POST /v1/conversations`
    CreateConversation,
    /// `GET /v1/conversations/{id}`
    RetrieveConversation,
    /// `POST /v1/conversations/{id}`, its metadata.
    UpdateConversation,
    /// `DELETE /v1/conversations/{id}`
    DeleteConversation,
    /// `GET /v1/conversations/{id}/items`, a page of them.
    ConversationItems,
    /// `POST /v1/conversations/{id}/items`
    CreateConversationItems,
    /// `GET /v1/conversations/{id}/items/{item}`
    RetrieveConversationItem,
    /// `DELETE /v1/conversations/{id}/items/{item}`
    DeleteConversationItem,
}

/// The address of a call about something stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPath {
    /// What is asked.
    pub call: StoredCall,
    /// The id of what it is about, as the client wrote it, decoded. None where the call makes it.
    pub id: Option<String>,
    /// The item of it, by the vendor's own id; it can stand in a path as it is.
    pub item: Option<String>,
    /// The model that the query names, where the call makes something: it says where.
    pub model: Option<String>,
    /// What of the query is passed on, as it came.
    pub query: String,
    /// How the answer is to arrive.
    pub framing: Framing,
    /// Whether the query held parameters that are not passed on.
    pub unknown_query: bool,
}

/// Longest id, in bytes: one of the gateway's own holds a model's id and an upstream's, of at most 1,024 bytes each.
pub(crate) const LONGEST_ID: usize = 3_072;

/// Longest id of an item, in bytes. OpenAI's have some 55.
const LONGEST_ITEM: usize = 256;

/// Longest query, in bytes. The vendor's own clients stay below a tenth of it.
const LONGEST_QUERY: usize = 1_024;

/// The parameters of the vendor's reference; others could steer its server under the gateway's key.
const PARAMETERS: [&str; 10] = [
    "stream",
    "starting_after",
    "include_obfuscation",
    "include",
    "include[]",
    "include%5B%5D",
    "limit",
    "order",
    "after",
    "before",
];

impl StoredCall {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Retrieve,
        Self::Delete,
        Self::Cancel,
        Self::InputItems,
        Self::CreateConversation,
        Self::RetrieveConversation,
        Self::UpdateConversation,
        Self::DeleteConversation,
        Self::ConversationItems,
        Self::CreateConversationItems,
        Self::RetrieveConversationItem,
        Self::DeleteConversationItem,
    ];

    /// What it is about.
    pub const fn kind(self) -> StoredKind {
        match self {
            Self::Retrieve | Self::Delete | Self::Cancel | Self::InputItems => StoredKind::Response,
            _ => StoredKind::Conversation,
        }
    }

    /// What its answer is, or tells the deletion of; none where that is items, whose ids stay the vendor's own.
    pub const fn gives(self) -> Option<StoredKind> {
        match self {
            Self::InputItems
            | Self::ConversationItems
            | Self::CreateConversationItems
            | Self::RetrieveConversationItem => None,
            _ => Some(self.kind()),
        }
    }

    /// Its method, at the client's side and at the upstream's.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Retrieve
            | Self::InputItems
            | Self::RetrieveConversation
            | Self::ConversationItems
            | Self::RetrieveConversationItem => "GET",
            Self::Delete | Self::DeleteConversation | Self::DeleteConversationItem => "DELETE",
            Self::Cancel | Self::CreateConversation | Self::UpdateConversation | Self::CreateConversationItems => {
                "POST"
            }
        }
    }

    /// Whether it says something in a body. All that the others ask is in their path.
    pub const fn takes_body(self) -> bool {
        matches!(self, Self::CreateConversation | Self::UpdateConversation | Self::CreateConversationItems)
    }

    /// A short stable name for logs and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retrieve => "retrieve_response",
            Self::Delete => "delete_response",
            Self::Cancel => "cancel_response",
            Self::InputItems => "response_input_items",
            Self::CreateConversation => "create_conversation",
            Self::RetrieveConversation => "retrieve_conversation",
            Self::UpdateConversation => "update_conversation",
            Self::DeleteConversation => "delete_conversation",
            Self::ConversationItems => "conversation_items",
            Self::CreateConversationItems => "create_conversation_items",
            Self::RetrieveConversationItem => "retrieve_conversation_item",
            Self::DeleteConversationItem => "delete_conversation_item",
        }
    }

    /// As the vendor's documentation calls what it is about, with the verb of a sentence.
    pub const fn called(self) -> &'static str {
        match self.kind() {
            StoredKind::Response => "stored responses are",
            StoredKind::Conversation => "conversations are",
        }
    }
}

impl StoredPath {
    /// Its path below an upstream's base URL, for the upstream's own id.
    pub fn upstream(&self, id: Option<&str>) -> String {
        let mut path = match self.call.kind() {
            StoredKind::Response => "/responses".to_owned(),
            StoredKind::Conversation => "/conversations".to_owned(),
        };
        let end = match self.call {
            StoredCall::Cancel => Some("cancel"),
            StoredCall::InputItems => Some("input_items"),
            StoredCall::ConversationItems
            | StoredCall::CreateConversationItems
            | StoredCall::RetrieveConversationItem
            | StoredCall::DeleteConversationItem => Some("items"),
            _ => None,
        };
        for segment in [id, end, self.item.as_deref()].into_iter().flatten() {
            path.push('/');
            path.push_str(segment);
        }
        if !self.query.is_empty() {
            path.push('?');
            path.push_str(&self.query);
        }
        path
    }
}

/// Reads a path below the base: none if it is not about something stored, otherwise the call or the methods that exist.
pub(crate) fn stored_path(
    method: &str,
    rest: &str,
    query: Option<&str>,
    decoded: impl Fn(&str) -> String,
) -> Option<Result<StoredPath, &'static str>> {
    let (root, below) = rest.split_once('/').unwrap_or((rest, ""));
    let (id, end) = below.split_once('/').unwrap_or((below, ""));
    let is_id = !id.is_empty() && id.len() <= LONGEST_ID;
    let found = match root {
        "responses" if is_id => response_call(method, end)?.map(|call| (call, None)),
        "conversations" if rest == root => creation(method),
        "conversations" if is_id => conversation_call(method, end)?,
        _ => return None,
    };
    let (call, item) = match found {
        Ok(found) => found,
        Err(allow) => return Some(Err(allow)),
    };
    let given = query.unwrap_or_default();
    let makes = call == StoredCall::CreateConversation;
    let model = given.split('&').filter_map(|pair| pair.strip_prefix("model=")).next().filter(|_| makes).map(&decoded);
    let (query, unknown_query) = passed(given, makes);
    let streams = call == StoredCall::Retrieve && query.split('&').any(|pair| pair == "stream=true");
    let framing = if streams { Framing::Sse } else { Framing::Whole };
    let id = is_id.then(|| decoded(id));
    Some(Ok(StoredPath { call, id, item: item.map(str::to_owned), model, query, framing, unknown_query }))
}

/// What is asked of a response, by what follows its id; none if nothing is there.
fn response_call(method: &str, end: &str) -> Option<Result<StoredCall, &'static str>> {
    Some(match (end, method) {
        ("", "GET") => Ok(StoredCall::Retrieve),
        ("", "DELETE") => Ok(StoredCall::Delete),
        ("", _) => Err("GET, DELETE"),
        ("cancel", "POST") => Ok(StoredCall::Cancel),
        ("cancel", _) => Err("POST"),
        ("input_items", "GET") => Ok(StoredCall::InputItems),
        ("input_items", _) => Err("GET"),
        _ => return None,
    })
}

/// A call and the item that it names.
type Asked<'a> = (StoredCall, Option<&'a str>);

fn creation<'a>(method: &str) -> Result<Asked<'a>, &'static str> {
    if method == "POST" { Ok((StoredCall::CreateConversation, None)) } else { Err("POST") }
}

/// What is asked of a conversation, by what follows its id; none if nothing is there.
fn conversation_call<'a>(method: &str, end: &'a str) -> Option<Result<Asked<'a>, &'static str>> {
    let (items, item) = end.split_once('/').map_or((end, None), |(items, item)| (items, Some(item)));
    let call = match (items, item, method) {
        ("", None, "GET") => StoredCall::RetrieveConversation,
        ("", None, "POST") => StoredCall::UpdateConversation,
        ("", None, "DELETE") => StoredCall::DeleteConversation,
        ("", None, _) => return Some(Err("GET, POST, DELETE")),
        ("items", None, "GET") => StoredCall::ConversationItems,
        ("items", None, "POST") => StoredCall::CreateConversationItems,
        ("items", None, _) => return Some(Err("GET, POST")),
        ("items", Some(item), _) if !is_item(item) => return None,
        ("items", Some(_), "GET") => StoredCall::RetrieveConversationItem,
        ("items", Some(_), "DELETE") => StoredCall::DeleteConversationItem,
        ("items", Some(_), _) => return Some(Err("GET, DELETE")),
        _ => return None,
    };
    Some(Ok((call, item)))
}

/// Whether an item's id can stand in a path as it is.
fn is_item(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=LONGEST_ITEM).contains(&id.len()) && id.bytes().all(is_plain)
}

/// The known parameters of a query, and whether there was anything else. Where something is made, the gateway reads the model.
fn passed(query: &str, reads_model: bool) -> (String, bool) {
    let name = |pair: &str| pair.split_once('=').map_or(pair, |(name, _)| name).to_owned();
    let (mut known, mut others) = (Vec::new(), false);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = name(pair);
        if PARAMETERS.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            known.push(pair);
        } else {
            let is_read_here = matches!(name.as_str(), "key" | "api-version") || (reads_model && name == "model");
            others |= !is_read_here;
        }
    }
    let query = known.join("&");
    if query.len() > LONGEST_QUERY { (String::new(), true) } else { (query, others) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, rest: &str, query: &str) -> Option<Result<StoredPath, &'static str>> {
        stored_path(method, rest, Some(query), str::to_owned)
    }

    #[test]
    fn method_and_path_tell_what_is_asked() {
        let calls = [
            ("GET", "responses/resp_1", StoredCall::Retrieve),
            ("DELETE", "responses/resp_1", StoredCall::Delete),
            ("POST", "responses/resp_1/cancel", StoredCall::Cancel),
            ("GET", "responses/resp_1/input_items", StoredCall::InputItems),
            ("POST", "conversations", StoredCall::CreateConversation),
            ("GET", "conversations/conv_1", StoredCall::RetrieveConversation),
            ("POST", "conversations/conv_1", StoredCall::UpdateConversation),
            ("DELETE", "conversations/conv_1", StoredCall::DeleteConversation),
            ("GET", "conversations/conv_1/items", StoredCall::ConversationItems),
            ("POST", "conversations/conv_1/items", StoredCall::CreateConversationItems),
            ("GET", "conversations/conv_1/items/msg_1", StoredCall::RetrieveConversationItem),
            ("DELETE", "conversations/conv_1/items/msg_1", StoredCall::DeleteConversationItem),
        ];
        assert_eq!(calls.map(|(_, _, call)| call), StoredCall::ALL);
        for (method, rest, call) in calls {
            let path = read(method, rest, "").unwrap().unwrap();
            let id = rest.split('/').nth(1);
            assert_eq!((path.call, path.id.as_deref(), call.method()), (call, id, method));
            assert_eq!(path.upstream(id)[1..], *rest);
        }
        for (method, rest, allow) in [
            ("POST", "responses/resp_1", "GET, DELETE"),
            ("GET", "responses/resp_1/cancel", "POST"),
            ("DELETE", "responses/resp_1/input_items", "GET"),
            ("GET", "conversations", "POST"),
            ("PUT", "conversations/c", "GET, POST, DELETE"),
            ("DELETE", "conversations/c/items", "GET, POST"),
            ("POST", "conversations/c/items/i", "GET, DELETE"),
        ] {
            assert_eq!(read(method, rest, ""), Some(Err(allow)), "{method} {rest}");
        }
        let long = format!("responses/{}", "a".repeat(LONGEST_ID + 1));
        let item = format!("conversations/c/items/{}", "a".repeat(LONGEST_ITEM + 1));
        for rest in [
            "responses",
            "responses/",
            "responses//cancel",
            "responses/r/x",
            "responses/r/cancel/x",
            "conversations/",
            "conversations//items",
            "conversations/c/x",
            "conversations/c/items/",
            "conversations/c/items/..",
            "conversations/c/items/%2e%2e",
            "conversations/c/items/i/x",
            &long,
            &item,
        ] {
            assert_eq!(read("GET", rest, ""), None, "{rest}");
        }
    }

    #[test]
    fn where_a_conversation_is_made_the_query_names_the_model() {
        let path = read("POST", "conversations", "model=gpt-5&include[]=a&x=1").unwrap().unwrap();
        let read_as = (path.model.as_deref(), path.query.as_str(), path.unknown_query, path.id.as_deref());
        assert_eq!(read_as, (Some("gpt-5"), "include[]=a", true, None));
        assert_eq!(path.upstream(None), "/conversations?include[]=a");
        let other = read("GET", "conversations/c", "model=gpt-5").unwrap().unwrap();
        assert_eq!((other.model, other.unknown_query), (None, true), "its id says it");
    }

    #[test]
    fn only_the_vendors_parameters_are_passed_on() {
        let of = |query: &str| {
            let path = read("GET", "responses/r", query).unwrap().unwrap();
            (path.query, path.framing, path.unknown_query)
        };
        assert_eq!(of(""), (String::new(), Framing::Whole, false));
        let resumed = "stream=true&starting_after=7&include%5B%5D=reasoning.encrypted_content";
        assert_eq!(of(resumed), (resumed.to_owned(), Framing::Sse, false));
        assert_eq!(
            of("key=sk&stream=false&x=1&include[]=a"),
            ("stream=false&include[]=a".to_owned(), Framing::Whole, true)
        );
        assert_eq!(of(&format!("after={}", "a".repeat(LONGEST_QUERY))), (String::new(), Framing::Whole, true));
        let items = read("GET", "responses/r/input_items", "limit=2&stream=true").unwrap().unwrap();
        let path = items.upstream(Some("r"));
        let expected = "/responses/r/input_items?limit=2&stream=true";
        assert_eq!((items.framing, path.as_str()), (Framing::Whole, expected));
    }
}
