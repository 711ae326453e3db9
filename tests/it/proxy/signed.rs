//! Signed calls that a hostile relay brings: it may say anything of where a call goes, and change, add, copy and cut as it
//! likes. Each attack is a test; what counts is what the application sees.

use std::sync::Mutex;

use http::{HeaderMap, Method, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use outhaul::agent::signed::{Settings, Signing};
use outhaul::common::ids::AgentId;
use outhaul::identity::keys::{PublicKey, SigningKey};

use super::*;
use crate::signed::signer::{Draft, Signer, now, sha256_field, sha512_field};

const AUTHORITY: &str = "acme.relay.example:8443";
const BODY: &str = r#"{"body":"hello, world"}"#;

/// A site that takes signed calls, and one caller that signs.
struct Site {
    world: World,
    signer: Signer,
    agent: AgentId,
    clock: Clock,
}

/// What the relay brings to the agent.
struct Brought {
    method: Method,
    scheme: Scheme,
    authority: String,
    target: String,
    fields: HeaderMap,
    body: Vec<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Site {
    async fn new(nodes: &[SocketAddr], settings: Settings) -> Self {
        let world = world(nodes, |_| {});
        let mut signer = Signer::new();
        let public = PublicKey::from_slice(&signer.public()).unwrap();
        signer.key_id = world.site.load().callers.add_public(&"ci".parse().unwrap(), public).await.unwrap();
        let old = world.site.load_full();
        let may = Options { act_as: vec!["entra".parse().unwrap()], ..Options::default() };
        world.site.store(Arc::new(super::Site {
            policy: Arc::clone(&old.policy),
            meters: Arc::clone(&old.meters),
            upstreams: old.upstreams.clone(),
            callers: Arc::clone(&old.callers),
            issuers: Arc::clone(&old.issuers),
            credentials: Arc::clone(&old.credentials),
            mappings: old.mappings.clone(),
            options: [("ci".parse().unwrap(), may)].into(),
        }));
        let agent = AgentId::generate();
        signer.agent = agent.to_string();
        let mut site = Self { world, signer, agent, clock: Clock::manual() };
        site.start(settings).await;
        site
    }

    /// As after a restart: what is known comes from the store.
    async fn start(&mut self, settings: Settings) {
        let (key, _) = SigningKey::generate().unwrap();
        self.signer.agent_key = key.public().as_bytes().to_vec();
        let store = self.world.store.clone();
        let signing = Signing::load(store, self.clock.clone(), (self.agent, key), settings).await.unwrap();
        self.world.front = self.world.front.clone().signing(signing);
    }

    fn draft(&self, method: Method, path: &str, body: &str) -> Draft {
        self.signer.draft(method, AUTHORITY, path, body)
    }

    /// An honest relay's doing.
    fn brought(&self, draft: &Draft) -> Brought {
        let request = self.signer.request(draft);
        let mut fields = request.headers().clone();
        fields.insert(header::CONTENT_LENGTH, draft.body.len().into());
        Brought {
            method: draft.method.clone(),
            scheme: Scheme::Https,
            authority: AUTHORITY.to_owned(),
            target: draft.target.clone(),
            fields,
            body: vec![draft.body.clone()],
            trailers: None,
        }
    }

    async fn send(&self, brought: Brought) -> Answer {
        read(self.response(brought).await).await
    }

    async fn response(&self, brought: Brought) -> Response<FrontBody> {
        let Brought { method, scheme, authority, target, fields, body, trailers } = brought;
        let frames = body.into_iter().map(Frame::data).chain(trailers.map(Frame::trailers));
        let body =
            StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, BoxError>).collect::<Vec<_>>()));
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = fields;
        let arrival = Arrival {
            request_id: RequestId::generate(),
            scheme,
            authority,
            target,
            route_length: 0,
            peer: "192.0.2.1:4711".to_owned(),
            way: Way::Terminated,
        };
        request.extensions_mut().insert(arrival);
        match self.world.front.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Whether the agent signed an answer to this call.
    fn is_signed(&self, draft: &Draft, answer: &Answer) -> Result<(), String> {
        let status = StatusCode::from_u16(answer.status).unwrap();
        self.signer.verify(&self.signer.request(draft), AUTHORITY, status, &answer.headers, &answer.body)
    }
}

/// What the relay does, and what it hears.
type Attack = (&'static str, fn(&mut Brought), &'static str);
type Forgery = (&'static str, fn(&mut Answer));
type Heads = Arc<Mutex<Vec<String>>>;

/// An upstream that keeps the heads of what it is sent, reads bodies of known length, and says OK.
async fn recording() -> (SocketAddr, Heads) {
    let heads = Heads::default();
    let kept = Arc::clone(&heads);
    let (address, _) = upstream(move |mut peer, head| {
        let kept = Arc::clone(&kept);
        async move {
            let mut next = Some(head);
            while let Some(head) = next {
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                kept.lock().unwrap().push(head);
                peer.take(length.unwrap_or(0)).await;
                peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok").await;
                next = peer.head().await;
            }
        }
    })
    .await;
    (address, heads)
}

#[tokio::test]
async fn whatever_the_relay_changes_is_refused_and_nothing_reaches_the_application() {
    let (address, heads) = recording().await;
    let site = Site::new(&[address], Settings::default()).await;
    let attacks: &[Attack] = &[
        ("another method", |call| call.method = Method::PUT, "signature-invalid"),
        ("another path", |call| call.target = "/jira/anon/other".to_owned(), "signature-invalid"),
        (
            "another spelling of the path",
            |call| call.target = "/jira/anon/%78".to_owned(),
            "signature-invalid",
        ),
        ("another query", |call| call.target.push_str("?admin=1"), "signature-invalid"),
        ("an empty query", |call| call.target.push('?'), "signature-invalid"),
        ("another host", |call| call.authority = "evil.relay.example:8443".to_owned(), "signature-invalid"),
        ("another port", |call| call.authority = "acme.relay.example".to_owned(), "signature-invalid"),
        (
            "a host with a path",
            |call| call.authority = "acme.relay.example:8443/jira".to_owned(),
            "signature-invalid",
        ),
        ("another scheme", |call| call.scheme = Scheme::Http, "signature-invalid"),
        (
            "another person",
            |call| {
                call.fields.insert("outhaul-act-as", "entra:boss".parse().unwrap());
            },
            "signature-invalid",
        ),
        (
            "no person",
            |call| {
                call.fields.remove("outhaul-act-as");
            },
            "signature-invalid",
        ),
        (
            "a second person",
            |call| {
                call.fields.append("outhaul-act-as", "entra:boss".parse().unwrap());
            },
            "signature-invalid",
        ),
        (
            "another type",
            |call| {
                call.fields.insert("content-type", "text/plain".parse().unwrap());
            },
            "signature-invalid",
        ),
        (
            "no type",
            |call| {
                call.fields.remove("content-type");
            },
            "signature-invalid",
        ),
        (
            "another agent",
            |call| {
                call.fields.insert("outhaul-agent", AgentId::generate().to_string().parse().unwrap());
            },
            "signature-invalid",
        ),
        (
            "a key of the relay's",
            |call| {
                call.fields.insert("idempotency-key", "\"k\"".parse().unwrap());
            },
            "signature-invalid",
        ),
        (
            "a range",
            |call| {
                call.fields.insert("range", "bytes=0-1".parse().unwrap());
            },
            "signature-invalid",
        ),
        (
            "a condition",
            |call| {
                call.fields.insert("if-match", "\"x\"".parse().unwrap());
            },
            "signature-invalid",
        ),
        (
            "an encoding",
            |call| {
                call.fields.insert("content-encoding", "gzip".parse().unwrap());
            },
            "signature-invalid",
        ),
        (
            "another digest",
            |call| {
                call.fields.insert("content-digest", sha256_field(b"{}").parse().unwrap());
            },
            "signature-invalid",
        ),
        (
            "a further digest",
            |call| {
                call.fields.append("content-digest", sha512_field(b"{}").parse().unwrap());
            },
            "signature-invalid",
        ),
        (
            "no signature",
            |call| {
                call.fields.remove("signature");
            },
            "signature-invalid",
        ),
        (
            "no input",
            |call| {
                call.fields.remove("signature-input");
            },
            "signature-invalid",
        ),
        (
            "no sign of a signature",
            |call| {
                call.fields.remove("signature");
                call.fields.remove("signature-input");
            },
            "caller-unknown",
        ),
        (
            "a later end",
            |call| {
                let input = call.fields["signature-input"].to_str().unwrap().to_owned();
                let at = input.find(";expires=").unwrap() + 9;
                let later = format!("{}9{}", &input[..at], &input[at + 1..]);
                call.fields.insert("signature-input", later.parse().unwrap());
            },
            "signature-invalid",
        ),
        (
            "another nonce",
            |call| {
                let input = call.fields["signature-input"].to_str().unwrap().replace("nonce=\"", "nonce=\"x");
                call.fields.insert("signature-input", input.parse().unwrap());
            },
            "signature-invalid",
        ),
        (
            "another order",
            |call| {
                let input = call.fields["signature-input"].to_str().unwrap();
                let input = input.replace("\"@method\" \"@target-uri\"", "\"@target-uri\" \"@method\"");
                call.fields.insert("signature-input", input.parse().unwrap());
            },
            "signature-invalid",
        ),
        (
            "a shorter list",
            |call| {
                let input =
                    call.fields["signature-input"].to_str().unwrap().replace(" \"outhaul-act-as\"", "");
                call.fields.insert("signature-input", input.parse().unwrap());
            },
            "signature-invalid",
        ),
        (
            "a key beside it",
            |call| {
                call.fields.insert("authorization", "Bearer x".parse().unwrap());
            },
            "bad-request",
        ),
        ("the last byte", |call| call.body = vec![BODY.replace('}', "]").into()], "digest-mismatch"),
        ("another body", |call| call.body = vec![BODY.replace("hello", "HELLO").into()], "digest-mismatch"),
        (
            "a shorter body",
            |call| {
                call.body = vec![BODY[..BODY.len() - 1].into()];
                call.fields.insert("content-length", (BODY.len() - 1).into());
            },
            "digest-mismatch",
        ),
        (
            "a longer body",
            |call| {
                call.body.push(" ".into());
                call.fields.insert("content-length", (BODY.len() + 1).into());
            },
            "digest-mismatch",
        ),
        (
            "a shorter body without a length",
            |call| {
                call.body = vec![BODY[..BODY.len() - 1].into()];
                call.fields.remove("content-length");
            },
            "digest-mismatch",
        ),
        (
            "no body",
            |call| {
                call.body = vec![];
                call.fields.remove("content-length");
            },
            "digest-mismatch",
        ),
        (
            "a length that lies",
            |call| {
                call.fields.insert("content-length", 5.into());
            },
            "bad-request",
        ),
    ];
    let draft = || site.draft(Method::POST, "/jira/anon/x", BODY).with("outhaul-act-as", "entra:mia");
    for (what, change, code) in attacks {
        let draft = draft();
        let mut brought = site.brought(&draft);
        change(&mut brought);
        let answer = site.send(brought).await;
        assert_eq!(answer.code(), *code, "{what}: {answer:?}");
        assert!(heads.lock().unwrap().is_empty(), "{what}");
        // What says that nothing was sent is signed only where no other copy can pass any more.
        let signed = site.is_signed(&draft, &answer).is_ok();
        let passed_once = matches!(*code, "digest-mismatch") || *what == "a length that lies";
        assert_eq!(signed, passed_once, "{what}");
        let copy = site.send(site.brought(&draft)).await;
        let expected = if passed_once { 401 } else { 200 };
        assert_eq!(copy.status, expected, "{what}: {copy:?}");
        heads.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn what_the_relay_adds_never_reaches_the_application() {
    let (address, heads) = recording().await;
    let site = Site::new(&[address], Settings::default()).await;
    let draft = site.draft(Method::POST, "/jira/anon/x", BODY).with("accept", "application/json");
    let mut brought = site.brought(&draft);
    for (name, value) in [
        ("accept-language", "de"),
        ("cache-control", "no-cache"),
        ("x-experimentalapi", "opt-in"),
        ("x-force-accept-language", "true"),
        ("prefer", "return=minimal"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("repr-digest", "sha-256=:AAAA:"),
        ("connection", "content-type, accept"),
        ("x-http-method-override", "DELETE"),
        ("te", "trailers"),
    ] {
        brought.fields.append(name, value.parse().unwrap());
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-evil", "1".parse().unwrap());
    brought.trailers = Some(trailers);
    let answer = site.send(brought).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(site.is_signed(&draft, &answer), Ok(()));
    let head = heads.lock().unwrap()[0].to_lowercase();
    let mut names: Vec<&str> =
        head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
    names.sort_unstable();
    let digest = "content-digest";
    let expected =
        ["accept", digest, "content-length", "content-type", "host", "user-agent", "x-atlassian-token"];
    assert_eq!(names, expected, "{head}");
}

#[tokio::test]
async fn of_two_copies_at_once_one_passes_and_after_a_restart_none() {
    let (address, heads) = recording().await;
    let mut site = Site::new(&[address], Settings::default()).await;
    for method in [Method::POST, Method::GET] {
        heads.lock().unwrap().clear();
        let body = if method == Method::POST { BODY } else { "" };
        let draft = site.draft(method.clone(), "/jira/anon/x", body);
        let copies = (0..8).map(|_| site.send(site.brought(&draft)));
        let answers = futures_util::future::join_all(copies).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{method}");
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!(answer.problem(), problem("signature-replayed", "outcome-unknown", "never"));
            assert!(site.is_signed(&draft, answer).is_err(), "it would hide what the first one did");
        }
        assert_eq!(heads.lock().unwrap().len(), 1);
        site.start(Settings::default()).await;
        assert_eq!(site.send(site.brought(&draft)).await.code(), "signature-replayed", "{method}");
        assert_eq!(heads.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_signature_counts_for_its_time_only() {
    let (address, heads) = recording().await;
    let site = Site::new(&[address], Settings::default()).await;
    let (now, skew) = (now(), 60);
    for (created, expires, good) in [
        (now, now + 300, true),
        (now, now + 301, false),
        (now, now, false),
        (now + 10, now, false),
        (now + skew - 2, now + 120, true),
        (now + skew + 5, now + 120, false),
        (now - 200, now - skew + 5, true),
        (now - 200, now - skew - 5, false),
        (0, 300, false),
        (now, u64::from(u32::MAX) * 1000, false),
    ] {
        let draft = site.draft(Method::GET, "/jira/anon/x", "");
        let draft = Draft { created, expires, ..draft };
        let answer = site.send(site.brought(&draft)).await;
        assert_eq!(answer.status == 200, good, "{created} {expires}: {answer:?}");
        assert_eq!(site.is_signed(&draft, &answer).is_ok(), good);
    }
    assert_eq!(heads.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_full_memory_refuses_and_forgets_nothing() {
    let (address, heads) = recording().await;
    let site = Site::new(&[address], Settings { max_nonces: 2, ..Settings::default() }).await;
    let drafts: Vec<Draft> = (0..3).map(|_| site.draft(Method::GET, "/jira/anon/x", "")).collect();
    for (number, draft) in drafts.iter().enumerate() {
        let answer = site.send(site.brought(draft)).await;
        assert_eq!(answer.status, if number < 2 { 200 } else { 429 });
        if number == 2 {
            assert_eq!(answer.problem(), problem("rate-limited", "not-sent", "after"));
        }
    }
    for draft in &drafts[..2] {
        assert_eq!(site.send(site.brought(draft)).await.code(), "signature-replayed");
    }
    // Once the others are over there is room; and a clock that is set back opens nothing.
    site.clock.advance(Duration::from_secs(240));
    let later =
        Draft { created: now() + 240, expires: now() + 300, ..site.draft(Method::GET, "/jira/anon/x", "") };
    assert_eq!(site.send(site.brought(&later)).await.status, 200);
    assert_eq!(heads.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn keys_are_judged_as_they_are_now() {
    let (address, _) = recording().await;
    let site = Site::new(&[address], Settings::default()).await;
    let callers = Arc::clone(&site.world.site.load().callers);
    let name = "ci".parse().unwrap();
    // Another caller's id, an API key's id, no id.
    let mut other = Signer::new();
    let public = PublicKey::from_slice(&other.public()).unwrap();
    other.key_id = callers.add_public(&"other".parse().unwrap(), public).await.unwrap();
    let api_key = format!("ohs_{}", site.world.key.split('_').nth(1).unwrap());
    for key_id in [&other.key_id, &api_key, "ohs_", "", &site.signer.key_id.replace("ohs_", "ohk_")] {
        let draft = Draft { key_id: key_id.to_owned(), ..site.draft(Method::GET, "/jira/anon/x", "") };
        let answer = site.send(site.brought(&draft)).await;
        assert_eq!(answer.code(), "signature-invalid", "{key_id}");
    }
    // The same key pair for two callers would let one speak as the other.
    let taken = PublicKey::from_slice(&site.signer.public()).unwrap();
    assert!(callers.add_public(&"twin".parse().unwrap(), taken).await.is_err());
    // A removed caller that comes back has another id: what was signed before is over.
    let draft = site.draft(Method::GET, "/jira/anon/x", "");
    callers.remove(&name).await.unwrap();
    assert_eq!(site.send(site.brought(&draft)).await.code(), "signature-invalid");
    callers.add_public(&name, taken).await.unwrap();
    assert_eq!(site.send(site.brought(&draft)).await.code(), "signature-invalid");
}

/// An upstream that keeps every byte it gets on its first connection until that is closed.
async fn listening() -> (SocketAddr, Arc<Mutex<Vec<u8>>>, Arc<tokio::sync::Notify>) {
    let (bytes, closed) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<tokio::sync::Notify>::default());
    let (kept, told) = (Arc::clone(&bytes), Arc::clone(&closed));
    let (address, _) = upstream(move |mut peer, head| {
        let (kept, told) = (Arc::clone(&kept), Arc::clone(&told));
        async move {
            kept.lock().unwrap().extend(head.as_bytes());
            kept.lock().unwrap().extend(&peer.buffer);
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = peer.socket.read(&mut buffer).await {
                kept.lock().unwrap().extend(&buffer[..count]);
            }
            told.notify_one();
        }
    })
    .await;
    (address, bytes, closed)
}

#[tokio::test]
async fn a_long_body_that_is_not_the_signed_one_is_never_whole() {
    let whole: String = ('a'..='z').cycle().take(300_000).collect();
    for chunked in [false, true] {
        for (what, body) in [
            ("the last byte", format!("{}!", &whole[..whole.len() - 1])),
            ("the first byte", format!("!{}", &whole[1..])),
            ("shorter", whole[..whole.len() - 1].to_owned()),
            ("longer", format!("{whole}!")),
        ] {
            let (address, bytes, closed) = listening().await;
            let site = Site::new(&[address], Settings { hold: ByteSize(1000), ..Settings::default() }).await;
            let draft = site.draft(Method::POST, "/jira/anon/x", &whole);
            let mut brought = site.brought(&draft);
            brought.fields.insert("content-length", body.len().into());
            if chunked {
                brought.fields.remove("content-length");
            }
            brought.body = body.as_bytes().chunks(10_000).map(Bytes::copy_from_slice).collect();
            let answer = site.send(brought).await;
            assert_eq!(answer.problem(), problem("digest-mismatch", "outcome-unknown", "never"), "{what}");
            tokio::time::timeout(Duration::from_secs(10), closed.notified()).await.unwrap();
            let seen = bytes.lock().unwrap().clone();
            let text = String::from_utf8(seen).unwrap();
            let (head, sent) = text.split_once("\r\n\r\n").unwrap();
            if chunked {
                assert!(head.contains("transfer-encoding: chunked"), "{head}");
                assert!(!sent.contains("\r\n0\r\n"), "{what}: a request in chunks has its end");
            } else {
                assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
                assert!(sent.len() < body.len(), "{what}: {} of {}", sent.len(), body.len());
            }
            assert!(sent.len() > 100_000, "it went while it came: {}", sent.len());
        }
    }
}

#[tokio::test]
async fn a_long_body_that_is_the_signed_one_passes() {
    let whole: String = ('a'..='z').cycle().take(300_000).collect();
    for chunked in [false, true] {
        let (address, _) = upstream(move |mut peer, head| async move {
            assert_eq!(head.contains("chunked"), chunked);
            if chunked {
                peer.until("\r\n0\r\n\r\n").await;
            } else {
                peer.take(300_000).await;
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        })
        .await;
        let site = Site::new(&[address], Settings { hold: ByteSize(1000), ..Settings::default() }).await;
        let mut draft = site.draft(Method::POST, "/jira/anon/x", &whole);
        for (name, value) in &mut draft.fields {
            if name == "content-digest" {
                *value = format!("{}, {}", sha512_field(whole.as_bytes()), sha256_field(whole.as_bytes()));
            }
        }
        let mut brought = site.brought(&draft);
        if chunked {
            brought.fields.remove("content-length");
        }
        brought.body = whole.as_bytes().chunks(10_000).map(Bytes::copy_from_slice).collect();
        let answer = site.send(brought).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(site.is_signed(&draft, &answer), Ok(()));
    }
}

#[tokio::test]
async fn a_long_answer_is_signed_behind_its_end_for_those_who_take_that() {
    let (address, _) = answering("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Digest: sha-256=:AAAA:\r\nSignature: x=:AAAA:\r\nContent-Length: 20\r\n\r\n01234567890123456789").await;
    let settings = Settings { hold_answer: ByteSize(10), ..Settings::default() };
    let site = Site::new(&[address], settings).await;
    let draft = site.draft(Method::GET, "/jira/anon/x", "");
    let plain = site.send(site.brought(&draft)).await;
    assert_eq!((plain.status, plain.trailers), (200, None));
    for name in ["signature", "signature-input", "content-digest"] {
        assert!(!plain.headers.contains_key(name), "{name}: the application's own is not the agent's");
    }
    let draft = site.draft(Method::GET, "/jira/anon/x", "");
    let mut brought = site.brought(&draft);
    brought.fields.insert("te", "trailers".parse().unwrap());
    let mut answer = site.send(brought).await;
    assert!(!answer.headers.contains_key("content-length"));
    assert_eq!(answer.headers["trailer"], "content-digest, signature-input, signature");
    let trailers = answer.trailers.take().unwrap();
    assert!(trailers["signature-input"].to_str().unwrap().contains("\"content-digest\";tr"));
    answer.headers.extend(trailers);
    assert_eq!(site.is_signed(&draft, &answer), Ok(()));
    answer.body = "01234567890123456788".into();
    assert!(site.is_signed(&draft, &answer).is_err());
}

#[tokio::test]
async fn an_answer_that_is_not_the_agents_is_seen() {
    let (address, _) = recording().await;
    let site = Site::new(&[address], Settings::default()).await;
    let (one, two) =
        (site.draft(Method::GET, "/jira/anon/x", ""), site.draft(Method::GET, "/jira/anon/x", ""));
    let (first, second) = (site.send(site.brought(&one)).await, site.send(site.brought(&two)).await);
    assert_eq!((site.is_signed(&one, &first), site.is_signed(&two, &second)), (Ok(()), Ok(())));
    assert!(site.is_signed(&one, &second).is_err(), "the answer of the same call, made again");
    let forged: &[Forgery] = &[
        ("status", |answer| answer.status = 201),
        ("body", |answer| answer.body = "no".into()),
        ("type", |answer| {
            answer.headers.insert("content-type", "text/html".parse().unwrap());
        }),
        ("no type", |answer| {
            answer.headers.remove("content-type");
        }),
        ("a problem", |answer| {
            answer.headers.insert("outhaul-problem", "paused".parse().unwrap());
        }),
        ("no signature", |answer| {
            answer.headers.remove("signature");
        }),
    ];
    for (what, change) in forged {
        let draft = site.draft(Method::GET, "/jira/anon/x", "");
        let mut answer = site.send(site.brought(&draft)).await;
        change(&mut answer);
        assert!(site.is_signed(&draft, &answer).is_err(), "{what}");
    }
}
