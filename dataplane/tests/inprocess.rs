//! The whole gateway in this process, on free ports, against raw sockets and an operator made here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test, its helpers included, stops at the first surprise"
)]

#[path = "inprocess/command_line.rs"]
mod command_line;
#[path = "inprocess/descriptors.rs"]
mod descriptors;
#[path = "inprocess/drain.rs"]
mod drain;
#[path = "inprocess/early.rs"]
mod early;
#[path = "inprocess/full_pipe.rs"]
mod full_pipe;
#[path = "inprocess/gateway.rs"]
mod gateway;
#[path = "inprocess/hostile.rs"]
mod hostile;
#[path = "inprocess/operator.rs"]
mod operator;
#[path = "inprocess/reload.rs"]
mod reload;
#[path = "inprocess/subscribe.rs"]
mod subscribe;
#[path = "inprocess/tls.rs"]
mod tls;
