//! A client that reads no more of a page of a list than it may take: then large pages can be asked for, although one namespace
//! may be full of the largest objects that the API server accepts. Watches are streams of single objects and not limited.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body_util::{Either, Limited};
use kube::{Client, client::Body, runtime::watcher};
use tower_service::Service;

/// Maximum size of a page in bytes: some thousand objects of usual size.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// The client's requests, with the limit.
struct PageLimit(Client);

/// The same client, with the limit.
pub fn limited(client: &Client) -> Client {
    Client::new(PageLimit(client.clone()), client.default_namespace())
}

/// Whether a list may have failed because of the limit; then smaller pages help.
pub fn may_be_exceeded(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(error) if !matches!(error, kube::Error::Api(_)))
}

impl Service<Request<Body>> for PageLimit {
    type Response = Response<Either<Limited<Body>, Body>>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(())) // `send` waits itself
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_page =
            request.uri().query().is_some_and(|query| query.split('&').any(|part| part.starts_with("limit=")));
        let client = self.0.clone();
        Box::pin(async move {
            let response = client.send(request).await?;
            Ok(response.map(|body| {
                if is_page { Either::Left(Limited::new(body, MAX_PAGE_BYTES)) } else { Either::Right(body) }
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::Full;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Api, api::ListParams};

    use super::*;

    /// Answers each list with this many bytes.
    struct Server(usize);

    impl Service<Request<Body>> for Server {
        type Response = Response<Full<Bytes>>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            let map = serde_json::json!({"metadata": {"name": "a"}, "data": {"text": "x".repeat(self.0)}});
            let list = serde_json::json!({"metadata": {"resourceVersion": "1"}, "items": [map]});
            std::future::ready(Ok(Response::new(Full::from(list.to_string()))))
        }
    }

    #[tokio::test]
    async fn a_page_beyond_the_limit_fails_and_whatever_is_no_page_does_not() {
        let list = async |bytes: usize, params: &ListParams| {
            let client = limited(&Client::new(Server(bytes), "default"));
            Api::<ConfigMap>::default_namespaced(client).list(params).await
        };
        let pages = ListParams::default().limit(500);
        assert!(list(MAX_PAGE_BYTES / 2, &pages).await.is_ok());
        let refused = list(MAX_PAGE_BYTES, &pages).await.unwrap_err();
        assert!(may_be_exceeded(&watcher::Error::InitialListFailed(refused)));
        assert!(list(MAX_PAGE_BYTES, &ListParams::default()).await.is_ok());
    }
}
