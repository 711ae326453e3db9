//! Callers that sign: the relay carries their calls and answers, and can't make, change or repeat one.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use outhaul::tunnel::frame::Kind;

use super::people::link;
use super::site::{LiarSite, request};
use super::wire::{Heard, RawHead, frame};
use crate::signed::signer::{Draft, Signer, now, sha256_field, sha512_field};
use crate::support::odd_upstream::{Step, wire};
use crate::support::world::{World, host};

const TARGET: &str = "/jira/rest/api/2/odd/pay";
pub(super) const BODY: &str = "{\"to\":\"alice\"}";

fn rules(world: &World) {
    world.edit_agent(
        "[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
        "[signed]\nhold = \"64 KB\"\n\n[caller.ci]\nact-as = [\"teams\"]\n\n\
         [[policy.rule]]\nallow = \"GET /rest/api/2/odd/mine\"\nwhy = \"As people\"\nas = \"user\"\n\n\
         [[policy.rule]]\nallow = \"GET|POST|PUT|DELETE /rest/api/2/odd/**\"\nwhy = \"Signed\"\nrequire = [\"signed\"]\n\
         as = { service = \"reader\" }\n\n[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
    );
}

/// A site with a caller that signs.
pub(super) async fn start() -> (LiarSite, Signer) {
    let site = LiarSite::start_with(rules).await;
    let signer = add(&site, "ci").await;
    (site, signer)
}

async fn add(site: &LiarSite, name: &str) -> Signer {
    let mut signer = Signer::new();
    let file = site.world.path().join(format!("{name}.pub"));
    signer.write(&file);
    let added =
        site.world.agent(&["caller", "add", name, "--public-key", file.to_str().unwrap(), "--json"]).await;
    signer.learn(&added.json());
    signer
}

pub(super) fn draft(signer: &Signer, method: Method, target: &str, body: &str) -> Draft {
    signer.draft(method, &host(), target, body)
}

fn payment(signer: &Signer) -> Draft {
    draft(signer, Method::POST, TARGET, BODY)
}

/// A request as an honest relay would open it.
pub(super) fn opened(request: &Request<Bytes>) -> (RawHead, Bytes) {
    let mut head = RawHead::new(request.method().as_str(), &host(), &request.uri().to_string());
    for (name, value) in request.headers() {
        head = head.with(name, value);
    }
    if !request.body().is_empty() {
        head = head.with("content-length", request.body().len().to_string());
    }
    (head, request.body().clone())
}

pub(super) fn set(head: &mut RawHead, name: &str, value: &str) {
    head.fields.retain(|(found, _)| found != name.as_bytes());
    head.fields.push((name.into(), value.into()));
}

fn get(head: &RawHead, name: &str) -> String {
    let (_, value) = head.fields.iter().find(|(found, _)| found == name.as_bytes()).unwrap();
    String::from_utf8(value.clone()).unwrap()
}

/// How many whole requests for this segment came to Jira.
pub(super) fn arrived(site: &LiarSite, segment: &str) -> usize {
    let of =
        |raw: &[u8]| wire::read(raw).whole.iter().filter(|(head, _)| head.target.contains(segment)).count();
    site.odd.connections().iter().map(|connection| of(&connection.raw())).sum()
}

pub(super) fn check(signer: &Signer, request: &Request<Bytes>, reply: &Heard) -> Result<(), String> {
    let status = StatusCode::from_u16(reply.status.unwrap_or(0)).map_err(|error| error.to_string())?;
    signer.verify(request, &host(), status, &reply.headers, &reply.body)
}

/// One way to change a call: its name, the change, and whether nothing of it may arrive.
type Change = (&'static str, Lie);
/// What is done to head and body.
type Lie = Box<dyn Fn(&mut RawHead, &mut Bytes)>;

fn changes(other: &(RawHead, Bytes), stolen: &str) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    let mut add = |name, change: Lie| all.push((name, change));
    add("another method", Box::new(|head, _| head.method = b"PUT".to_vec()));
    add("another scheme", Box::new(|head, _| head.scheme = 0));
    for authority in ["other.example", "acme.relay.localhost:8443", "acme.relay.localhost.", ""] {
        add("another authority", Box::new(move |head, _| head.authority = authority.into()));
    }
    for target in [
        "/jira/rest/api/2/odd/other",
        "/jira/rest/api/2/odd/pay?x=1",
        "/jira/rest/api/2/odd/pay?",
        "/jira/rest/api/2/odd/pa%79",
        "/s/acme/jira/rest/api/2/odd/pay",
    ] {
        add("another target", Box::new(move |head, _| head.target = target.into()));
    }
    add(
        "a route cut off",
        Box::new(|head, _| {
            head.target = [b"/s/acme", &head.target[..]].concat();
            head.route_length = 7;
        }),
    );
    add("another body", Box::new(|_, body| *body = Bytes::from(BODY.replace("alice", "mally"))));
    add(
        "another body with its digest",
        Box::new(|head, body| {
            *body = Bytes::from(BODY.replace("alice", "mally"));
            set(head, "content-digest", &sha256_field(body));
        }),
    );
    add(
        "another body with a digest of another algorithm",
        Box::new(|head, body| {
            *body = Bytes::from(BODY.replace("alice", "mally"));
            set(head, "content-digest", &sha512_field(body));
        }),
    );
    add(
        "no body",
        Box::new(|head, body| {
            *body = Bytes::new();
            set(head, "content-length", "0");
        }),
    );
    add(
        "a truncated body",
        Box::new(|head, body| {
            *body = body.slice(..body.len() - 1);
            set(head, "content-length", &body.len().to_string());
        }),
    );
    add(
        "a truncated body of no stated length",
        Box::new(|head, body| {
            *body = body.slice(..body.len() - 1);
            head.fields.retain(|(name, _)| name != b"content-length");
        }),
    );
    add(
        "a body said twice",
        Box::new(|head, body| {
            *body = [&body[..], &body[..]].concat().into();
            set(head, "content-length", &body.len().to_string());
        }),
    );
    for (name, value) in [
        ("content-type", "application/x-www-form-urlencoded"),
        ("outhaul-act-as", "teams:alice"),
        ("outhaul-agent", "00000000-0000-7000-8000-000000000000"),
        ("idempotency-key", "\"again\""),
        ("content-encoding", "gzip"),
        ("if-match", "*"),
        ("range", "bytes=0-1"),
    ] {
        add("a field that counts, set", Box::new(move |head, _| set(head, name, value)));
    }
    for name in ["content-type", "content-digest", "outhaul-agent"] {
        add(
            "a field that counts, gone",
            Box::new(move |head, _| head.fields.retain(|(found, _)| found != name.as_bytes())),
        );
        add(
            "a field that counts, twice",
            Box::new(move |head, _| {
                let value = get(head, name);
                head.fields.push((name.into(), value.into()));
            }),
        );
    }
    for name in ["signature", "signature-input"] {
        add(
            "a part of the signature gone",
            Box::new(move |head, _| head.fields.retain(|(found, _)| found != name.as_bytes())),
        );
        let theirs = get(&other.0, name);
        add("a part of another call's signature", Box::new(move |head, _| set(head, name, &theirs)));
    }
    let (signature, input) = (get(&other.0, "signature"), get(&other.0, "signature-input"));
    add(
        "all of another call's signature",
        Box::new(move |head, _| {
            set(head, "signature", &signature);
            set(head, "signature-input", &input);
        }),
    );
    for (from, to) in [
        ("created=", "created=1"),
        ("expires=", "expires=9"),
        ("nonce=\"", "nonce=\"x"),
        ("keyid=\"ohs_", "keyid=\"ohs_x"),
        ("ed25519", "hmac-sha256"),
        ("\"@method\" ", ""),
        (" \"content-digest\"", ""),
        ("tag=\"outhaul\"", "tag=\"other\""),
    ] {
        add(
            "other parameters",
            Box::new(move |head, _| {
                let changed = get(head, "signature-input").replacen(from, to, 1);
                set(head, "signature-input", &changed);
            }),
        );
    }
    let stolen = stolen.to_owned();
    add(
        "a stolen key beside it",
        Box::new(move |head, _| set(head, "authorization", &format!("Bearer {stolen}"))),
    );
    add(
        "a key of no caller in its place",
        Box::new(|head, _| {
            head.fields.retain(|(name, _)| !name.starts_with(b"signature"));
            set(head, "authorization", "Bearer ohk_abcdefghijkl_wrong");
        }),
    );
    all
}

/// Whatever a relay changes of a signed call, takes off or puts in, it is refused and nothing of it arrives at Jira.
#[tokio::test]
async fn a_signed_call_that_was_changed_is_refused() {
    let (mut site, signer) = start().await;
    let honest = signer.request(&payment(&signer));
    let (head, body) = opened(&honest);
    let reply = site.ask(&head, &body).await;
    assert_eq!(reply.status, Some(200), "control: {reply:?}\n{}", site.agent.log());
    assert_eq!(check(&signer, &honest, &reply), Ok(()), "control");
    assert_eq!(arrived(&site, "odd/pay"), 1);
    let other = opened(&signer.request(&draft(
        &signer,
        Method::POST,
        "/jira/rest/api/2/odd/pay",
        "{\"to\":\"bob\"}",
    )));
    let all = changes(&other, &site.key);
    let count = all.len();
    for (name, change) in all {
        let (mut head, mut body) = opened(&signer.request(&payment(&signer)));
        change(&mut head, &mut body);
        let reply = site.ask(&head, &body).await;
        assert!(
            reply.status != Some(200) && (reply.problem().is_some() || reply.reset.is_some()),
            "{name}: {reply:?}"
        );
        assert_eq!(site.arrived().len(), 1, "{name}: {:?}", site.arrived());
    }
    println!("changes of a signed call: {count}, none arrived");
    // A key that the relay has is none for this rule.
    let head = site.head("POST", "pay").with("content-length", "2");
    assert_eq!(site.ask(&head, b"{}").await.problem(), Some("trust-required"));
    assert_eq!(site.arrived().len(), 1);
}

/// What the signature does not cover is dropped: a relay adds nothing to a signed call.
#[tokio::test]
async fn a_relay_adds_nothing_to_a_signed_call() {
    let (mut site, signer) = start().await;
    let (head, body) = opened(&signer.request(&payment(&signer)));
    let head = head
        .with("accept", "text/html")
        .with("x-experimentalapi", "opt-in")
        .with("x-atlassian-token", "x")
        .with("cookie", "a=1")
        .with("prefer", "x")
        .with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(site.ask(&head, &body).await.status, Some(200));
    let call = site.arrived().remove(0);
    assert_eq!(call.body, BODY.as_bytes());
    for name in ["x-experimentalapi", "cookie", "prefer", "traceparent"] {
        assert!(!call.headers.contains_key(name), "{name}: {call:?}");
    }
    assert!(call.headers.get("accept").is_none_or(|accept| accept != "text/html"), "{call:?}");
}

/// A signed call passes once: repeated later, at once and many times over, on other streams, in pieces or after a new
/// connect, it arrives at Jira once. Forged ones of a key that is not known never do.
#[tokio::test]
async fn a_signed_call_passes_once() {
    let (mut site, signer) = start().await;
    let (head, body) = opened(&signer.request(&payment(&signer)));
    let streams: Vec<u64> = (0..20).map(|_| site.stream()).collect();
    let frames: Vec<_> = streams.iter().flat_map(|stream| request(*stream, &head, &body)).collect();
    site.tunnel.say(&frames).await;
    let reply = site.tunnel.heard_all(&streams).await;
    assert_eq!(reply.iter().filter(|reply| reply.status == Some(200)).count(), 1);
    assert!(
        reply.iter().all(|reply| reply.status == Some(200) || reply.problem() == Some("signature-replayed"))
    );
    site.tunnel.say(&[frame(Kind::Drain, 0, [0, 1])]).await;
    site.tunnel = site.relay.tunnel().await;
    let stream = 2;
    site.tunnel.say(&request(stream, &head, &body)).await;
    assert_eq!(site.tunnel.heard(stream).await.problem(), Some("signature-replayed"));
    assert_eq!(arrived(&site, "odd/pay"), 1);
    // A key that nobody added signs nothing; nor does one caller's key for another's id.
    let second = add(&site, "second").await;
    let mut stranger = Signer::new();
    stranger.key_id.clone_from(&second.key_id);
    stranger.agent.clone_from(&second.agent);
    let (head, body) = opened(&stranger.request(&payment(&stranger)));
    site.tunnel.say(&request(4, &head, &body)).await;
    assert_eq!(site.tunnel.heard(4).await.problem(), Some("signature-invalid"));
    assert_eq!(arrived(&site, "odd/pay"), 1);
}

/// Held back past its end, or made for a time to come, a call is refused. *Within* its time a relay may deliver calls late and in
/// another order: a caller to whom that matters waits for each answer.
#[tokio::test]
async fn a_signed_call_that_was_held_back_is_refused() {
    let (mut site, signer) = start().await;
    for (created, expires) in
        [(now() - 1000, now() - 700), (now() + 3600, now() + 3700), (now() - 10, now() + 100_000_000)]
    {
        let draft = Draft { created, expires, ..payment(&signer) };
        let (head, body) = opened(&signer.request(&draft));
        let reply = site.ask(&head, &body).await;
        assert_eq!(reply.problem(), Some("signature-invalid"), "{created} {expires}: {reply:?}");
    }
    assert!(site.arrived().is_empty());
    // Control: the second comes first.
    let first = opened(&signer.request(&draft(&signer, Method::POST, TARGET, "1")));
    let second = opened(&signer.request(&draft(&signer, Method::POST, TARGET, "2")));
    for (head, body) in [&second, &first] {
        assert_eq!(site.ask(head, body).await.status, Some(200));
    }
    let bodies: Vec<_> = site.arrived().into_iter().map(|call| call.body).collect();
    assert_eq!(bodies, [b"2", b"1"]);
}

/// A person is whom the signature names: a relay can't swap or add act-as, and rules for people take it without
/// `accept-relay-trust`.
#[tokio::test]
async fn a_relay_swaps_no_act_as_of_a_signed_call() {
    let (mut site, signer) = start().await;
    link(&site, "alice").await;
    link(&site, "bob").await;
    let mine = || {
        let answer = "HTTP/1.1 200 OK\r\nX-AUSERNAME: alice\r\nContent-Length: 0\r\n\r\n";
        Step::say(answer)
    };
    site.odd.on("mine", [mine()]);
    let as_alice =
        || draft(&signer, Method::GET, "/jira/rest/api/2/odd/mine", "").with("outhaul-act-as", "teams:alice");
    let (head, body) = opened(&signer.request(&as_alice()));
    let reply = site.ask(&head, &body).await;
    assert_eq!(reply.status, Some(200), "control: {reply:?}");
    for person in ["teams:bob", "teams:Alice", "teams:%61lice", ""] {
        let (mut head, body) = opened(&signer.request(&as_alice()));
        set(&mut head, "outhaul-act-as", person);
        assert_eq!(site.ask(&head, &body).await.problem(), Some("signature-invalid"), "{person}");
    }
    let nobody = draft(&signer, Method::GET, "/jira/rest/api/2/odd/mine", "");
    let (head, body) = opened(&signer.request(&nobody));
    let head = head.with("outhaul-act-as", "teams:bob");
    assert_eq!(site.ask(&head, &body).await.problem(), Some("signature-invalid"));
    let as_whom: Vec<_> = site
        .arrived()
        .iter()
        .map(|call| call.headers["authorization"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(as_whom, ["Bearer pat-alice"]);
}
