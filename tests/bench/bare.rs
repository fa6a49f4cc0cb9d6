//! A proxy of hyper and nothing else: what any gateway on this stack pays at least.

use std::{io::Write, net::Ipv4Addr, sync::Arc};

use http::{Request, Uri};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpListener;

/// Prints its address and forwards everything to `upstream` until it is killed.
pub async fn serve(upstream: &str) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    let upstream: Arc<str> = upstream.into();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (client, upstream) = (client.clone(), Arc::clone(&upstream));
        let forward = service_fn(move |mut request: Request<Incoming>| {
            let target = format!("{upstream}{}", request.uri()).parse::<Uri>();
            let client = client.clone();
            async move {
                *request.uri_mut() = target?;
                request.headers_mut().remove(http::header::HOST);
                Ok::<_, anyhow::Error>(client.request(request).await?)
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), forward));
    }
}
