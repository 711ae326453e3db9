use std::path::PathBuf;

use super::*;
use crate::common::report::{Exit, Report};

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn put(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn issue(name: &str) -> (String, String) {
    let issued = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    (issued.cert.pem(), issued.signing_key.serialize_pem())
}

#[test]
fn every_bad_file_is_named_with_what_to_do() {
    let files = Files::new();
    let (certificate, key) = issue("localhost");
    let (other, _) = issue("localhost");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let cut = &certificate[..certificate.len() - 30];
    let huge = "x".repeat((1 << 20) + 1);
    let table = [
        ("", key.as_str(), "a.crt is empty"),
        (certificate.as_str(), "", "a.key is empty"),
        ("hello", &key, "a.crt holds no certificate"),
        (&certificate, "hello", "a.key holds no private key"),
        (&key, &certificate, "are certificate and key swapped?"),
        (&certificate, &certificate, "a.key holds a certificate and no private key"),
        (&certificate, encrypted, "under a passphrase"),
        (&other, &key, "is not that of the first certificate"),
        (cut, &key, "is damaged PEM"),
        (&huge, &key, "larger than 1 MB"),
    ];
    for (certificate, key, says) in table {
        let fault =
            Certificates::load(&files.put("a.crt", certificate), &files.put("a.key", key)).unwrap_err();
        let text = Report::from_error(Exit::Config, &fault).to_string();
        assert!(text.contains(says), "{text}\n  should say: {says}");
    }
    let missing = files.folder.path().join("missing.pem");
    let text = Report::from_error(Exit::Config, &client_config(Peer::Relay, Some(&missing)).unwrap_err());
    assert!(text.to_string().contains("missing.pem can't be read: No such file"), "{text}");
}

#[test]
fn a_bad_new_certificate_leaves_the_old_one() {
    let files = Files::new();
    let (certificate, key) = issue("localhost");
    let (certificate, key) = (files.put("a.crt", &certificate), files.put("a.key", &key));
    let certificates = Certificates::load(&certificate, &key).unwrap();
    let before = certificates.0.load_full();
    files.put("a.crt", "rubbish");
    assert!(certificates.reload(&certificate, &key).is_err());
    assert!(Arc::ptr_eq(&before, &certificates.0.load_full()));
    let (newer, newer_key) = issue("localhost");
    files.put("a.crt", &newer);
    assert!(certificates.reload(&certificate, &key).is_err(), "the key is still the old one");
    files.put("a.key", &newer_key);
    certificates.reload(&certificate, &key).unwrap();
    assert_ne!(before.cert, certificates.0.load_full().cert);
}

async fn shake(
    host: &str,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> Result<([u8; 32], [u8; 32]), String> {
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    let within = Duration::from_secs(5);
    let serving = tokio_rustls::TlsAcceptor::from(server).accept(theirs);
    let (client, server) = tokio::join!(connect(client, host, ours, within), serving);
    let client = client.map_err(|fault| Report::from_error(Exit::Protocol, &fault).to_string())?;
    let server = server.map_err(|error| error.to_string())?;
    Ok((exporter(client.get_ref().1).unwrap(), exporter(server.get_ref().1).unwrap()))
}

#[tokio::test]
async fn both_ends_export_the_same_and_strangers_are_explained() {
    let files = Files::new();
    let (certificate, key) = issue("localhost");
    let ca = files.put("a.crt", &certificate);
    let server = server_config(Certificates::load(&ca, &files.put("a.key", &key)).unwrap()).unwrap();
    let client = client_config(Peer::Relay, Some(&ca)).unwrap();
    let first = shake("localhost", client.clone(), server.clone()).await.unwrap();
    let second = shake("localhost", client.clone(), server.clone()).await.unwrap();
    assert_eq!(first.0, first.1);
    assert_ne!(first.0, second.0, "each session has its own");

    let text = shake("127.0.0.1", client.clone(), server.clone()).await.unwrap_err();
    assert!(text.contains("for another host name"), "{text}");
    let (other, _) = issue("localhost");
    let stranger = client_config(Peer::Relay, Some(&files.put("b.crt", &other))).unwrap();
    let text = shake("localhost", stranger, server).await.unwrap_err();
    assert!(text.contains("name its certificate as ca-file"), "{text}");
    let text = shake(
        "not a name",
        client.clone(),
        server_config(Certificates::load(&ca, &files.put("a.key", &key)).unwrap()).unwrap(),
    )
    .await
    .unwrap_err();
    assert!(text.contains("is no host name"), "{text}");

    let mut old = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Certificates::load(&ca, &files.put("a.key", &key)).unwrap());
    old.alpn_protocols = vec![b"http/1.1".to_vec()];
    let old = Arc::new(old);
    let text = shake("localhost", client, old.clone()).await.unwrap_err();
    assert!(text.contains("TLS"), "{text}");
    shake("localhost", client_config(Peer::Upstream, Some(&ca)).unwrap(), old).await.unwrap();
}

#[tokio::test]
async fn what_is_no_tls_is_told_apart() {
    let files = Files::new();
    let ca = files.put("a.crt", &issue("localhost").0);
    let client = client_config(Peer::Relay, Some(&ca)).unwrap();
    for (answer, says) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), "does not speak TLS on that port"),
        (b"", "the connection broke in the handshake"),
    ] {
        let (ours, mut theirs) = tokio::io::duplex(16 * 1024);
        tokio::io::AsyncWriteExt::write_all(&mut theirs, answer).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut theirs).await.unwrap();
        let fault = connect(client.clone(), "localhost", ours, Duration::from_secs(5)).await.unwrap_err();
        assert!(fault.to_string().contains(says), "{fault}\n  should say: {says}");
    }
    let (ours, _theirs) = tokio::io::duplex(16 * 1024);
    let fault = connect(client, "localhost", ours, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(fault, HandshakeFault::TooSlow { .. }), "{fault}");
}
