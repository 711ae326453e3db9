//! Against an issuer on loopback: rotation, strangers, outages, nonsense.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::config::{Caller, KeysAt, Limits, Person};
use super::*;
use crate::common::problem::Code;
use crate::identity::claims::{Condition, Expected, Test};
use crate::identity::jws::Algorithm;

/// A key with its name.
struct Signer {
    key: Ed25519KeyPair,
    name: &'static str,
}

impl Signer {
    fn new(name: &'static str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { key: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap(), name }
    }

    fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.name, "x": x })
    }

    fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = json!({ "alg": "EdDSA", "kid": self.name });
        let signed = format!("{}.{}", part(&head), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }
}

/// What the issuer does with a question.
#[derive(Clone)]
enum Does {
    /// Answers with these bytes as 200, and this Cache-Control.
    Answers(Vec<u8>, &'static str),
    /// Answers this whole text.
    Says(String),
    /// Hangs up.
    HangsUp,
}

/// An HTTP server that counts, and does one thing after the other; the last for ever.
struct Stand {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    script: Arc<Mutex<VecDeque<Does>>>,
    /// Holds answers back until it is told to let them go.
    gate: Arc<tokio::sync::RwLock<()>>,
    tasks: Tasks,
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

fn set(signers: &[&Signer]) -> Does {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    Does::Answers(json!({ "keys": keys }).to_string().into_bytes(), "max-age=3600")
}

impl Stand {
    async fn start(script: Vec<Does>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stand = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            script: Arc::new(Mutex::new(script.into())),
            gate: Arc::default(),
            tasks: Tasks::new(),
        };
        let (asked, script, gate) = (stand.asked.clone(), stand.script.clone(), stand.gate.clone());
        let token = stand.tasks.token();
        stand.tasks.spawn_detached(async move {
            loop {
                let mut stream = tokio::select! {
                    () = token.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap().0,
                };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                        break;
                    }
                    head.push(byte[0]);
                }
                let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
                asked.lock().unwrap().push(line);
                drop(gate.read().await);
                let does = {
                    let mut script = script.lock().unwrap();
                    if script.len() > 1 { script.pop_front().unwrap() } else { script[0].clone() }
                };
                let _ = match does {
                    Does::HangsUp => Ok(()),
                    Does::Says(text) => stream.write_all(text.as_bytes()).await,
                    Does::Answers(body, cache) => {
                        let head = format!(
                            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nCache-Control: {cache}\r\n\r\n",
                            body.len()
                        );
                        let _ = stream.write_all(head.as_bytes()).await;
                        stream.write_all(&body).await
                    }
                };
            }
        });
        stand
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn now_does(&self, does: Does) {
        *self.script.lock().unwrap() = [does].into();
    }
}

const ISS: &str = "https://issuer.example/v2.0";

fn claims(clock: &Clock) -> Value {
    json!({ "iss": ISS, "aud": "outhaul", "exp": clock.unix_seconds() + 3600, "azp": "1111" })
}

fn with(mut claims: Value, name: &str, value: impl Into<Value>) -> Value {
    claims[name] = value.into();
    claims
}

struct World {
    stand: Stand,
    issuers: Issuers,
    clock: Clock,
    tasks: Tasks,
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

fn config(stand: &Stand) -> Config {
    Config {
        name: "entra".parse().unwrap(),
        expected: Expected {
            issuer: ISS.to_owned(),
            audiences: vec!["outhaul".to_owned()],
            skew: Duration::from_secs(60),
            required: Vec::new(),
        },
        algorithms: vec![Algorithm::EdDsa],
        keys: KeysAt::Set(config::HttpsUrl::on_loopback(&format!("http://{}/keys", stand.address))),
        callers: vec![Caller {
            claim: "azp".to_owned(),
            value: "1111".to_owned(),
            caller: "teams-bot".parse().unwrap(),
        }],
        person: Some(Person {
            claim: "oid".to_owned(),
            provider: "entra".parse().unwrap(),
            conditions: vec![Condition {
                claim: "idtyp".to_owned(),
                test: Test::OneOf(vec!["user".to_owned()]),
            }],
        }),
        egress: None,
        ca_file: None,
        limits: Limits::default(),
    }
}

fn on_loopback(_: &Config) -> Result<HttpClient, TlsFault> {
    HttpClient::new(crate::net::http_client::Way::Direct, None).map(HttpClient::allow_loopback_http)
}

async fn world(script: Vec<Does>, change: impl FnOnce(&mut Config)) -> World {
    let stand = Stand::start(script).await;
    let (clock, tasks) = (Clock::manual(), Tasks::new());
    let mut config = config(&stand);
    change(&mut config);
    let issuers = Issuers::configure(&[config], None, &clock, &tasks, on_loopback).unwrap();
    World { stand, issuers, clock, tasks }
}

impl World {
    async fn identify(&self, token: &str) -> Result<String, String> {
        match self.issuers.identify(token).await {
            Ok(known) => {
                let person = known.person.as_ref().map(|person| format!(" for {person}")).unwrap_or_default();
                Ok(format!("{} by {}{person}", known.caller, known.issuer))
            }
            Err(fault) => Err(fault.to_string()),
        }
    }
}

#[tokio::test]
async fn claims_say_who_calls_and_for_whom() {
    let one = Signer::new("one");
    let world = world(vec![set(&[&one])], |_| {}).await;
    let plain = claims(&world.clock);
    let user = |oid: Value| with(with(plain.clone(), "idtyp", "user"), "oid", oid);
    for (claims, says) in [
        (plain.clone(), Ok("teams-bot by entra")),
        (with(plain.clone(), "oid", "4f2c"), Ok("teams-bot by entra")),
        (user("4f2c".into()), Ok("teams-bot by entra for entra:4f2c")),
        (user(Value::Null), Err("“oid” names no person")),
        (user(7.into()), Err("“oid” names no person")),
        (user("".into()), Err("“oid” names no person")),
        (user(json!(["4f2c"])), Err("“oid” names no person")),
        (with(plain.clone(), "azp", "2222"), Err("no entry of `callers`")),
        (with(plain.clone(), "azp", json!(["1111"])), Err("no entry of `callers`")),
        (with(plain.clone(), "iss", "https://other.example"), Err("none whose tokens")),
        (with(plain.clone(), "iss", Value::Null), Err("none whose tokens")),
        (with(plain.clone(), "aud", "other"), Err("another audience")),
        (with(plain.clone(), "exp", 1), Err("expired")),
    ] {
        let said = world.identify(&one.sign(&claims)).await;
        match (&said, says) {
            (Ok(said), Ok(says)) => assert_eq!(said, says),
            (Err(said), Err(says)) => assert!(said.contains(says), "{claims}: {said}"),
            _ => panic!("{claims}: {said:?}"),
        }
    }
    assert_eq!(world.stand.asked(), 1, "one question served them all");
    assert_eq!(*world.stand.asked.lock().unwrap(), ["GET /keys HTTP/1.1"]);
}

#[tokio::test]
async fn a_token_that_is_remembered_is_good_no_longer_than_it_says() {
    let one = Signer::new("one");
    let world = world(vec![set(&[&one])], |_| {}).await;
    let token = one.sign(&claims(&world.clock));
    for _ in 0..3 {
        assert!(world.identify(&token).await.is_ok());
    }
    let report = &world.issuers.reports()[0];
    assert_eq!((report.verified, report.remembered, world.issuers.remembered()), (1, 2, 1));
    world.clock.advance(Duration::from_secs(3659));
    assert!(world.identify(&token).await.is_ok(), "within the skew");
    world.clock.advance(Duration::from_secs(1));
    assert!(world.identify(&token).await.unwrap_err().contains("expired"));
    assert_eq!(world.issuers.reports()[0].refused, 1);
}

#[tokio::test]
async fn a_new_key_is_found_and_one_that_is_gone_verifies_nothing_more() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let world = world(vec![set(&[&old]), set(&[&new])], |_| {}).await;
    let (by_old, by_new) = (old.sign(&claims(&world.clock)), new.sign(&claims(&world.clock)));
    assert!(world.identify(&by_old).await.is_ok());
    // Fetched only now: a stranger's token could have any name in it.
    let fault = world.issuers.identify(&by_new).await.unwrap_err();
    assert!(matches!(fault, IssuerFault::KeyUnknown { .. }), "{fault}");
    let problem = fault.problem();
    assert_eq!((problem.code, problem.retry_after), (Code::TokenInvalid, Some(61)));
    assert_eq!(world.stand.asked(), 1);
    world.clock.advance(Duration::from_secs(60));
    assert!(world.identify(&by_new).await.is_ok());
    assert_eq!(world.stand.asked(), 2);
    // It was verified before, and remembered; its key is the issuer's no more.
    assert!(world.identify(&by_old).await.unwrap_err().contains("kid"));
}

#[tokio::test]
async fn strangers_cannot_make_us_ask_an_issuer_again_and_again() {
    let (own, stranger) = (Signer::new("own"), Signer::new("stranger"));
    let world = world(vec![set(&[&own])], |_| {}).await;
    let good = own.sign(&claims(&world.clock));
    assert!(world.identify(&good).await.is_ok());
    world.clock.advance(Duration::from_secs(61));
    let tokens: Vec<String> =
        (0..50).map(|number| stranger.sign(&with(claims(&world.clock), "n", number))).collect();
    // While the one question is under way, all of them wait for it, and known keys serve.
    let gate = world.stand.gate.clone().write_owned().await;
    let all = futures_util::future::join_all(tokens.iter().map(|token| world.identify(token)));
    let release = async {
        while world.stand.asked() < 2 {
            tokio::task::yield_now().await;
        }
        let another = own.sign(&with(claims(&world.clock), "n", "known"));
        assert!(world.identify(&another).await.is_ok(), "no call with a known key waits");
        drop(gate);
    };
    let (results, ()) = tokio::join!(all, release);
    assert!(results.iter().all(Result::is_err));
    assert_eq!(world.stand.asked(), 2);
    for token in &tokens {
        assert!(world.identify(token).await.is_err());
    }
    assert_eq!(world.stand.asked(), 2, "not before the minute is over");
    // Tokens of a wrong algorithm, of other issuers or of keys of the wrong kind have nobody asked at all.
    world.clock.advance(Duration::from_secs(61));
    let head = |head: &str| {
        format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(head), tokens[0].split('.').nth(1).unwrap())
    };
    for token in [
        head(r#"{"alg":"RS256","kid":"x"}"#),
        head(r#"{"alg":"none","kid":"x"}"#),
        head(r#"{"alg":"EdDSA"}"#),
    ] {
        assert!(world.identify(&token).await.is_err());
    }
    assert_eq!(world.stand.asked(), 2);
}

#[tokio::test]
async fn while_an_issuer_is_away_the_keys_it_had_serve_up_to_a_bound() {
    let (own, other) = (Signer::new("own"), Signer::new("other"));
    let world = world(vec![set(&[&own]), Does::HangsUp], |config| {
        config.limits.max_stale = Duration::from_secs(7200);
    })
    .await;
    let long = |signer: &Signer, n: u32| {
        let claims = with(claims(&world.clock), "exp", world.clock.unix_seconds() + 1_000_000);
        signer.sign(&with(claims, "n", n))
    };
    assert!(world.identify(&long(&own, 1)).await.is_ok());
    world.clock.advance(Duration::from_secs(3600));
    let unknown = world.identify(&long(&other, 1)).await.unwrap_err();
    assert!(unknown.contains("kid"), "{unknown}");
    let report = world.issuers.reports().remove(0);
    assert!(report.usable && report.fault.is_some() && report.failures == 1, "{report:?}");
    assert!(world.identify(&long(&own, 2)).await.is_ok(), "what was known serves");
    let remembered = long(&own, 2);
    assert!(world.identify(&remembered).await.is_ok());
    world.clock.advance(Duration::from_secs(7200));
    for token in [&remembered, &long(&own, 3)] {
        let fault = world.issuers.identify(token).await.unwrap_err();
        let problem = fault.problem();
        assert_eq!((problem.code, problem.status.as_u16()), (Code::IssuerUnavailable, 503), "{fault}");
        assert!(problem.retry_after.is_some());
    }
    assert!(!world.issuers.reports()[0].usable);
    world.stand.now_does(set(&[&own]));
    world.clock.advance(Duration::from_secs(61));
    assert!(world.identify(&remembered).await.is_ok(), "it is back");
}

#[tokio::test]
async fn what_an_issuer_answers_that_is_no_key_set_is_told_and_nothing_else() {
    let own = Signer::new("own");
    let head = |status: &str, more: &str| format!("HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\n\r\n");
    let answers = |body: &str| Does::Answers(body.as_bytes().to_vec(), "max-age=1");
    for (does, says) in [
        (Does::HangsUp, ""),
        (Does::Says(head("500 x", "")), "500"),
        (Does::Says(head("404 x", "")), "404"),
        (Does::Says(head("302 x", "Location: https://evil.example/keys\r\n")), "redirects are not followed"),
        (Does::Says(head("204 x", "")), "204"),
        (Does::Says("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"keys\"".to_owned()), ""),
        (Does::Says("nonsense\r\n\r\n".to_owned()), ""),
        (answers("<html>"), "can't be read"),
        (answers("{\"keys\":[]}"), "no key that can verify"),
        (answers("{\"keys\":[],\"keys\":[]}"), "stands twice"),
        (answers("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}"), "no key that can verify"),
        (Does::Answers(vec![b' '; 300 << 10], "max-age=1"), "more than 256 KB"),
    ] {
        let world = world(vec![does], |_| {}).await;
        let fault = world.issuers.identify(&own.sign(&claims(&world.clock))).await.unwrap_err();
        assert!(matches!(fault, IssuerFault::Unavailable { .. }), "{fault}");
        let report = world.issuers.reports().remove(0);
        let fault = report.fault.unwrap();
        assert!(fault.contains(says), "{fault}");
        assert_eq!((report.usable, report.keys, report.fetches, report.failures), (false, 0, 1, 1));
    }
}

#[tokio::test]
async fn discovery_leads_to_the_keys_of_that_very_issuer() {
    let own = Signer::new("own");
    let document = |issuer: &str, set: &str| {
        Does::Answers(json!({ "issuer": issuer, "jwks_uri": set }).to_string().into_bytes(), "")
    };
    for (does, says) in [
        (document("https://issuer.example/v2.0/", "https://x/"), "the same, letter by letter"),
        (document("https://issuer.example/{tenantid}/v2.0", "https://x/"), "the same, letter by letter"),
        (document(ISS, "http://127.0.0.1/keys"), "must begin with https://"),
        (document(ISS, "https://a:b@x/keys"), "no user name or password"),
        (document(ISS, ""), "jwks_uri"),
        (Does::Answers(b"{}".to_vec(), ""), "names no issuer"),
        (Does::Answers(b"{\"issuer\":\"a\",\"issuer\":\"b\"}".to_vec(), ""), "stands twice"),
        (Does::Answers(vec![b' '; 70 << 10], ""), "more than 64 KB"),
    ] {
        let world = world(vec![does], |config| {
            let KeysAt::Set(url) = config.keys.clone() else { panic!() };
            config.keys = KeysAt::Discovery(url);
        })
        .await;
        assert!(world.identify(&own.sign(&claims(&world.clock))).await.is_err());
        let fault = world.issuers.reports().remove(0).fault.unwrap();
        assert!(fault.contains(says), "{fault}");
    }
}

#[tokio::test]
async fn keys_are_asked_for_ahead_of_their_end_without_any_call() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let world = world(vec![set(&[&old]), set(&[&old, &new])], |config| {
        // Far below what a file may say, so that the test need not wait.
        config.limits = Limits {
            min_age: Duration::from_millis(40),
            max_age: Duration::from_millis(40),
            ..Limits::default()
        };
    })
    .await;
    while world.stand.asked() < 3 || world.issuers.reports()[0].keys < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(world.identify(&new.sign(&claims(&world.clock))).await.is_ok());
}

#[tokio::test]
async fn a_reload_keeps_what_did_not_change_and_ends_what_is_gone() {
    let own = Signer::new("own");
    let world = world(vec![set(&[&own])], |_| {}).await;
    let token = own.sign(&claims(&world.clock));
    assert!(world.identify(&token).await.is_ok());
    let again = |configs: &[Config], before: &Issuers| {
        Issuers::configure(configs, Some(before), &world.clock, &world.tasks, on_loopback).unwrap()
    };
    let same = again(&[config(&world.stand)], &world.issuers);
    assert!(same.identify(&token).await.is_ok());
    assert_eq!(world.stand.asked(), 1, "its keys were kept");
    let mut other = config(&world.stand);
    other.callers[0].value = "2222".to_owned();
    let other = again(&[other], &same);
    assert!(matches!(other.identify(&token).await, Err(IssuerFault::Caller(_))), "from the next call on");
    let none = again(&[], &other);
    assert!(none.is_empty());
    assert_eq!(none.identify(&token).await, Err(IssuerFault::Issuer));
    let mut lost = config(&world.stand);
    lost.ca_file = Some("/nowhere/ca.pem".into());
    let fails = Issuers::configure(&[lost], None, &world.clock, &world.tasks, |config| {
        HttpClient::new(crate::net::http_client::Way::Direct, config.ca_file.as_deref())
    });
    assert!(fails.is_err());
}

#[tokio::test]
async fn somebody_who_looks_for_what_is_wrong_can_ask_once() {
    let own = Signer::new("own");
    let stand = Stand::start(vec![set(&[&own]), Does::HangsUp]).await;
    let config = config(&stand);
    let client = on_loopback(&config).unwrap();
    assert_eq!(probe(&config, &client).await.unwrap(), Probe { keys: 1, ignored: Vec::new() });
    assert!(probe(&config, &client).await.is_err());
}

#[test]
fn what_is_remembered_is_bounded() {
    let issuer =
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let world = world(vec![Does::HangsUp], |_| {}).await;
            Arc::clone(world.issuers.by_claim.values().next().unwrap())
        });
    let known = Known { issuer: "entra".parse().unwrap(), caller: "bot".parse().unwrap(), person: None };
    let token = Verified::for_tests(json!({ "iss": ISS, "aud": "outhaul", "exp": 2_000_000_000 }));
    let window = issuer.shared.config.expected.check(&token, 1_800_000_000).unwrap();
    let entry = Entry { issuer, generation: 0, window, known: Arc::new(known) };
    let mut cache = Cache::default();
    for number in 0..cache::MAX_ENTRIES as u64 + 50 {
        cache.put(Encoded::sha256(&[&number.to_be_bytes()]), entry.clone());
    }
    assert_eq!(cache.len(), cache::MAX_ENTRIES);
    assert!(cache.get(&Encoded::sha256(&[&0u64.to_be_bytes()])).is_none(), "the oldest went");
}
