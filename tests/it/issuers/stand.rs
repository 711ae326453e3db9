//! An issuer of tokens on loopback: keys, and an HTTPS server that counts and does what it is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use outhaul::common::tasks::Tasks;
use outhaul::net::tls::{Certificates, http1_server_config};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::pki::Authority;

pub(super) const ISS: &str = "https://issuer.example/tenant/v2.0";

/// A P-256 key with a name.
pub(super) struct Signer {
    key: EcdsaKeyPair,
    name: String,
}

pub(super) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the agent under test has the system's clock")]
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What a token for this site says; `changes` go over it, and null takes a claim away.
pub(super) fn claims(changes: &Value) -> Value {
    let now = now();
    let mut claims =
        json!({ "iss": ISS, "aud": "api://outhaul", "azp": "1111", "iat": now, "exp": now + 600 });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

impl Signer {
    pub(super) fn new(name: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self {
            key: EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap(),
            name: name.to_owned(),
        }
    }

    pub(super) fn jwk(&self) -> Value {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.name, "x": encoded(x), "y": encoded(y) })
    }

    /// A token with this head.
    pub(super) fn with_head(&self, head: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encoded(head.to_string()), encoded(claims.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encoded(signature))
    }

    pub(super) fn token(&self, changes: &Value) -> String {
        self.with_head(&json!({ "alg": "ES256", "typ": "JWT", "kid": self.name }), &claims(changes))
    }
}

/// What it answers.
#[derive(Clone)]
pub(super) enum Does {
    /// Status line and body.
    Answers(&'static str, String),
    /// Nothing, until the other end gives up or the test ends.
    Waits,
    /// Closes the connection.
    HangsUp,
}

pub(super) fn keys(signers: &[&Signer]) -> Does {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    Does::Answers("200 OK", json!({ "keys": keys }).to_string())
}

pub(super) struct Stand {
    pub(super) port: u16,
    asked: Arc<AtomicUsize>,
    does: Arc<Mutex<Does>>,
    tasks: Tasks,
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl Stand {
    /// Its certificate is of this authority.
    pub(super) async fn start(authority: &Authority, does: Does) -> Self {
        let (chain, key) = authority.issue("issuer", &["localhost"]);
        let acceptor =
            TlsAcceptor::from(http1_server_config(Certificates::load(&chain, &key).unwrap()).unwrap());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stand = Self {
            port: listener.local_addr().unwrap().port(),
            asked: Arc::default(),
            does: Arc::new(Mutex::new(does)),
            tasks: Tasks::new(),
        };
        let (asked, does, tasks) = (stand.asked.clone(), stand.does.clone(), stand.tasks.clone());
        stand.tasks.spawn_detached(async move {
            loop {
                let stream = tokio::select! {
                    () = tasks.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap().0,
                };
                let (acceptor, asked, does) = (acceptor.clone(), asked.clone(), does.clone());
                let stop = tasks.clone();
                tasks.spawn_detached(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return,
                        }
                    }
                    asked.fetch_add(1, Ordering::SeqCst);
                    let now = does.lock().unwrap().clone();
                    match now {
                        Does::HangsUp => {}
                        Does::Waits => stop.cancelled().await,
                        Does::Answers(status, body) => {
                            let head = format!(
                                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nCache-Control: max-age=3600\r\n\r\n",
                                body.len()
                            );
                            let _ = stream.write_all(&[head.into_bytes(), body.into_bytes()].concat()).await;
                            let _ = stream.shutdown().await;
                        }
                    }
                });
            }
        });
        stand
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) fn now_does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }
}
