//! The scripted upstream as a program, for tests in other languages and for people.
//!
//! Prints `listening on http://ADDRESS` once it serves; is told what to do over HTTP (`POST /_script`), and tells what it
//! saw (`GET /_received`, `GET /_ledger`). Ends with SIGTERM or SIGINT, or with its stdin when `--until-eof` is given.

use anyhow::Result;
use clap::Parser;
use routeapi_tests::upstream::Upstream;
use std::io::Write as _;
use std::net::SocketAddr;
use tokio::io::AsyncReadExt as _;

/// A fake OpenAI, Anthropic and Gemini server that does what a script says.
#[derive(Parser)]
struct Arguments {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// API key that requests must carry (none: any request is served)
    #[arg(long)]
    key: Option<String>,
    /// Serve TLS and print the CA certificate
    #[arg(long)]
    tls: bool,
    /// End when stdin ends, so that a crashed test leaves nothing behind
    #[arg(long)]
    until_eof: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut builder = Upstream::builder().control().address(arguments.listen);
    if let Some(key) = &arguments.key {
        builder = builder.key(key);
    }
    if arguments.tls {
        builder = builder.tls();
    }
    let upstream = builder.start().await?;
    let mut out = std::io::stdout().lock();
    write!(out, "{}", upstream.ca_pem().unwrap_or_default())?;
    writeln!(out, "listening on {}", upstream.url())?;
    out.flush()?;
    drop(out);
    let eof = async {
        if !arguments.until_eof {
            std::future::pending::<()>().await;
        }
        let mut ignored = Vec::new();
        let _ = tokio::io::stdin().read_to_end(&mut ignored).await; // an error ends it as well
    };
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        () = eof => {}
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}
