//! The serving certificate is replaced while connections go on; a bad pair changes nothing.

use std::{net::SocketAddr, sync::Arc};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use routeapi_dataplane::server::tls::TlsFiles;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};

use super::gateway::{chat, connect, echo, eventually, metric, rest, start, status, write};

fn pair() -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(["gateway.test".to_owned()]).unwrap()
}

/// Whether a client that trusts only this certificate is served, and by which protocol.
fn served(to: SocketAddr, certificate: &CertificateDer<'static>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("gateway.test").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(session, connect(to));
    if std::io::Write::write_all(&mut stream, chat("hello", "").as_bytes()).is_err() {
        return false;
    }
    status(&rest(&mut stream)) == "200"
}

#[test]
fn a_new_pair_is_served_and_a_bad_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let files = TlsFiles { certificate: directory.path().join("tls.crt"), key: directory.path().join("tls.key") };
    let (first, second) = (pair(), pair());
    write(&files.certificate, &first.cert.pem());
    write(&files.key, &first.signing_key.serialize_pem());
    let manifests = echo();
    let app = start(&manifests, |settings| {
        settings.listen_tls = Some(("127.0.0.1:0".parse().unwrap(), files.clone()));
    });
    let to = app.gateway_tls.unwrap();
    assert!(served(to, first.cert.der()));

    write(&files.key, &second.signing_key.serialize_pem());
    eventually("the half-changed pair is refused", || {
        metric(app.admin, "routeapi_tls_reload_failures_total").parse::<u64>().is_ok_and(|it| it > 0)
    });
    assert!(served(to, first.cert.der()));

    write(&files.certificate, &second.cert.pem());
    eventually("the new pair is served", || served(to, second.cert.der()));
    assert!(!served(to, first.cert.der()));
    assert_eq!(metric(app.admin, "routeapi_tls_reloads_total"), "1");
}
