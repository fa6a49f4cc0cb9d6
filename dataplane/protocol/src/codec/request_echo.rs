//! What an answer repeats of its request, and what else its encoder must know of it (Responses).

use std::collections::HashMap;

/// A request as its answers repeat it. Made once for each attempt and shared by everything that is written.
#[derive(Clone, Debug, Default)]
pub struct RequestEcho {
    /// Members of an object as JSON text in one line, separated by commas; bounded.
    pub members: String,
    /// Tools that the client groups: its namespace and name, by the name that they have in the neutral representation.
    pub namespaces: HashMap<String, (String, String)>,
    /// Whether reasoning state goes to the client, which keeps it for the next request.
    pub carries_state: bool,
}
