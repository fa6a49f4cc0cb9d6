//! Close codes (RFC 6455, section 7.4.1; 1012 and 1013 are registered with IANA).

/// All is said.
pub const NORMAL: u16 = 1000;
/// The server goes away, or the page does.
pub const GOING_AWAY: u16 = 1001;
/// Not the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A kind of data that is not taken.
pub const UNSUPPORTED: u16 = 1003;
/// A message that is not what its kind says, such as text that is not UTF-8.
pub const INVALID: u16 = 1007;
/// Against the rules of the house.
pub const POLICY: u16 = 1008;
/// A message that is too large.
pub const TOO_LARGE: u16 = 1009;
/// Something unexpected at the server.
pub const INTERNAL: u16 = 1011;
/// Too busy; a later attempt may succeed.
pub const TRY_AGAIN: u16 = 1013;
