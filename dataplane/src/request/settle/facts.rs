//! What becomes known of a request on its way, beside what upstreams did: who calls, for what, and what the client got.

use std::sync::Arc;

use routeapi_protocol::{
    dialect::{Family, Operation},
    framing::Framing,
    request::ParsedRequest,
};

use crate::{
    config::runtime::Route,
    request::{
        affinity::SessionHome,
        caller::Caller,
        client::{Client, RecordClient},
        printable::{clip_model, printable},
    },
};

/// Most characters of what went wrong in a record.
const MAX_MESSAGE_CHARS: usize = 1_024;

/// What is known of one request.
pub(in crate::request) struct Facts {
    client: Client,
    family: Family,
    caller: Option<Caller>,
    shape: Option<RequestShape>,
    route: Option<Arc<Route>>,
    home: Option<Arc<SessionHome>>,
    status: u16,
    response_bytes: u64,
    message: Option<String>,
    is_probe: bool,
}

/// What of a request the record needs, without its body.
pub(super) struct RequestShape {
    /// The client's operation.
    pub operation: Operation,
    /// The model id as the client wrote it; empty while the body is not read.
    pub model: String,
    /// Whether the client wants a stream.
    pub stream: bool,
}

impl Facts {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            family: Family::OpenAi,
            caller: None,
            shape: None,
            route: None,
            home: None,
            status: 0,
            response_bytes: 0,
            message: None,
            is_probe: false,
        }
    }

    /// In whose dialect the client is answered.
    pub(in crate::request) fn family(&self) -> Family {
        self.family
    }

    pub(in crate::request) fn set_family(&mut self, family: Family) {
        self.family = family;
    }

    pub(in crate::request) fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    pub(in crate::request) fn set_caller(&mut self, caller: &Caller) {
        self.caller = Some(caller.clone());
    }

    /// Whose request it is, as health sees it: the token's namespace.
    pub(in crate::request) fn tenant(&self) -> &str {
        self.caller.as_ref().map_or("", |caller| caller.token.id.namespace())
    }

    /// A load balancer asks, every few seconds and from many places: it counts in metrics and is in no record.
    pub(in crate::request) fn mark_as_probe(&mut self) {
        self.is_probe = true;
    }

    pub(super) fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// Known from the path alone, so that even a body that cannot be read is recorded under its API.
    pub(in crate::request) fn set_operation(&mut self, operation: Operation) {
        self.shape = Some(RequestShape { operation, model: String::new(), stream: false });
    }

    /// Whether a response is asked about that an upstream keeps, and no model is asked anything.
    pub(super) fn is_about_stored(&self) -> bool {
        self.shape.as_ref().is_some_and(|shape| matches!(shape.operation, Operation::Stored(_)))
    }

    pub(super) fn set_request(&mut self, request: &ParsedRequest, keep: RecordClient) {
        self.client.set_end_user(request.end_user(), keep);
        self.shape = Some(RequestShape {
            operation: request.operation(),
            model: clip_model(request.model()),
            stream: request.framing() != Framing::Whole,
        });
    }

    /// What is asked for goes on until somebody ends it.
    pub(super) fn set_stream(&mut self) {
        if let Some(request) = &mut self.shape {
            request.stream = true;
        }
    }

    pub(super) fn shape(&self) -> Option<&RequestShape> {
        self.shape.as_ref()
    }

    pub(super) fn route(&self) -> Option<&Arc<Route>> {
        self.route.as_ref()
    }

    pub(super) fn set_route(&mut self, route: &Arc<Route>) {
        self.route = Some(Arc::clone(route));
    }

    /// Where the request's session stays, if it belongs to one.
    pub(super) fn home(&self) -> Option<&SessionHome> {
        self.home.as_deref()
    }

    pub(in crate::request) fn set_home(&mut self, home: Option<&Arc<SessionHome>>) {
        self.home = home.cloned();
    }

    /// The status that went to the client; 0 before any has.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(in crate::request) fn set_status(&mut self, status: u16) {
        self.status = status;
    }

    /// Bytes of the answer's body that were handed over.
    pub(super) fn response_bytes(&self) -> u64 {
        self.response_bytes
    }

    pub(in crate::request) fn add_sent(&mut self, bytes: usize) {
        self.response_bytes = self.response_bytes.saturating_add(bytes as u64);
    }

    /// What went wrong, for a person. The first message counts.
    pub(in crate::request) fn explain(&mut self, message: &str) {
        if self.message.is_none() {
            self.message = Some(printable(message, MAX_MESSAGE_CHARS));
        }
    }

    pub(super) fn take_message(&mut self) -> Option<String> {
        self.message.take()
    }

    pub(super) fn take_client(&mut self) -> Client {
        std::mem::take(&mut self.client)
    }
}
