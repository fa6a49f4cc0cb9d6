//! The webhook that adds sidecars to pods: which pods the API server asks about is decided by the chart's
//! MutatingWebhookConfiguration, what is added by `routeapi_injection`.
//!
//! Every replica answers ([`server`], [`review`]) with the gateway's current CA ([`gateway_ca`]); the leader keeps the CA of the
//! webhook itself in the configuration ([`ca_bundle`]).

pub mod ca_bundle;
pub mod gateway_ca;
pub mod review;
pub mod server;

use std::sync::Arc;

use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    settings::Settings,
    tls::{self, Certificates},
};
use ca_bundle::CaBundleWriter;
use gateway_ca::GatewayCa;
use server::InjectionServer;

/// Serves the webhook at a listener, if the settings say which sidecar it adds. Takes the tasks that end by themselves on
/// shutdown, and those that are aborted.
///
/// # Errors
/// When the crypto provider supports no protocol version, which does not happen.
pub fn start(
    (graceful, others): (&mut JoinSet<()>, &mut JoinSet<()>),
    (settings, context): (&Settings, &Context),
    (certificates, leader): (&Arc<Certificates>, watch::Receiver<bool>),
    (listener, shutdown): (TcpListener, CancellationToken),
) -> anyhow::Result<()> {
    let Some(sidecar) = settings.sidecar.sidecar() else { return Ok(()) };
    let ca = GatewayCa::new(settings, &context.client, sidecar);
    let server = InjectionServer::new(ca.subscribe(), shutdown);
    others.spawn(ca.follow());
    if let Some(webhook) = &settings.sidecar.injection_webhook {
        let writer = CaBundleWriter::new(&context.client, webhook, Arc::clone(certificates), leader);
        others.spawn(writer.run());
    }
    // API servers speak HTTP/1.1 to webhooks, so that they use all replicas.
    let tls = TlsAcceptor::from(tls::server(certificates, b"http/1.1")?);
    graceful.spawn(server::serve(server, listener, tls));
    Ok(())
}
