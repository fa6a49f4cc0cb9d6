//! The serving certificate is replaced while connections go on; a bad pair changes nothing.

use std::{net::SocketAddr, sync::Arc};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use routeapi_dataplane::server::tls::TlsFiles;
use routeapi_tests::{
    bytes::{chat, connect, eventually, metric, rest, status},
    files::{echo, write},
    gateway::start,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};

fn pair() -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(["gateway.test".to_owned()]).unwrap()
}

/// Whether a client that trusts only this certificate is served.
fn served(to: SocketAddr, certificate: &CertificateDer<'static>) -> bool {
    served_behind(b"", to, certificate)
}

/// The same behind a balancer that sends these bytes first.
fn served_behind(header: &[u8], to: SocketAddr, certificate: &CertificateDer<'static>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("gateway.test").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = connect(to);
    std::io::Write::write_all(&mut socket, header).unwrap();
    let mut stream = StreamOwned::new(session, socket);
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

#[test]
fn a_proxy_header_comes_before_tls() {
    let directory = tempfile::tempdir().unwrap();
    let files = TlsFiles { certificate: directory.path().join("tls.crt"), key: directory.path().join("tls.key") };
    let pair = pair();
    write(&files.certificate, &pair.cert.pem());
    write(&files.key, &pair.signing_key.serialize_pem());
    let app = start(&echo(), |settings| {
        settings.listen_tls = Some(("127.0.0.1:0".parse().unwrap(), files.clone()));
        settings.limits.proxy_protocol = true;
    });
    let (to, certificate) = (app.gateway_tls.unwrap(), pair.cert.der());
    let second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x01\x0a\0\0\x01\x30\x39\x01\xbb\x04\0\0";
    for header in [&second[..], b"PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\r\n", b"PROXY UNKNOWN\r\n"] {
        assert!(served_behind(header, to, certificate), "{header:x?}");
    }
    assert_eq!(metric(app.admin, "routeapi_proxy_protocol_failures_total"), "0");
    assert!(!served(to, certificate), "TLS without a header");
    assert_eq!(metric(app.admin, "routeapi_proxy_protocol_failures_total"), "1");
}
