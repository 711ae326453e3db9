use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use proptest::prelude::*;

use super::answer::COVERED as COVERED_ANSWER;
use super::base::{close, field, line};
use super::*;
use crate::common::ids::AgentId;
use crate::identity::keys::{PublicKey, SigningKey};

fn agent() -> AgentId {
    AgentId::from_bytes([7; 16])
}

fn key() -> SigningKey {
    // RFC 9421, appendix B.1.4: test-key-ed25519.
    let seed = "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF";
    let pair = STANDARD.decode(seed).unwrap();
    // Version 1 of the form has no public half; version 2, which is made here, has it.
    let public = STANDARD.decode("JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=").unwrap();
    let document = [&[0x30, 0x51, 0x02, 0x01, 0x01][..], &pair[5..], &[0x81, 0x21, 0x00], &public].concat();
    SigningKey::from_pkcs8(&document).unwrap()
}

/// RFC 9421, appendix B.2.6.
#[test]
fn the_vector_of_the_rfc() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        ("content-length", "18"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let target = Target {
        method: &Method::POST,
        scheme: "https",
        authority: "example.com",
        target: "/foo?param=Value&Pet=dog",
    };
    let mut base = String::new();
    for name in ["date", "@method", "@path", "@authority", "content-type", "content-length"] {
        let derived = target.derived(name).unwrap();
        let value = derived.unwrap_or_else(|| field(&headers, &name.parse().unwrap()).unwrap().to_owned());
        line(&mut base, &format!("\"{name}\""), &value);
    }
    let parameters = r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#;
    close(&mut base, parameters);
    let signature =
        "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==";
    let signature = STANDARD.decode(signature).unwrap();
    assert!(key().public().verifies(base.as_bytes(), &signature));
    assert_eq!(
        key().sign(base.as_bytes()).0.to_vec(),
        signature,
        "Ed25519 has one signature for each message"
    );
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n-----END PUBLIC KEY-----\n";
    assert_eq!(PublicKey::from_text(pem), Some(key().public()));
    assert_eq!(key().public().to_pem(), pem);
}

/// RFC 9421, appendix B.2, and RFC 9530, appendix D: the digests of `{"hello": "world"}`.
#[test]
fn digests_of_the_rfcs() {
    let body = br#"{"hello": "world"}"#;
    let sha512 =
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    let sha256 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
    for good in [sha512, sha256, &format!("{sha256}, {sha512}"), &format!("{sha512},{sha256}")] {
        let digests = Digests::read(good.as_bytes()).unwrap();
        assert!(digests.fit_whole(body), "{good}");
        for other in [&br#"{"hello": "world"} "#[..], br#"{"hello": "worle"}"#, br#"{"hello": "world""#, b""]
        {
            assert!(!digests.fit_whole(other), "{good}");
        }
    }
    let mut own = Hashing::own();
    own.update(body);
    assert_eq!(own.into_field(), sha256);
    let wrong = "sha-256=:Y48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
    for list in [format!("{wrong}, {sha512}"), format!("{sha512}, {wrong}")] {
        assert!(!Digests::read(list.as_bytes()).unwrap().fit_whole(body), "one wrong of two: {list}");
    }
    for bad in [
        "",
        "md5=:AAAAAAAAAAAAAAAAAAAAAA==:",
        &format!("{sha256}, md5=:AAAAAAAAAAAAAAAAAAAAAA==:"),
        &format!("{sha256}, {sha256}"),
        "sha-256=:AAAA:",
        "sha-256",
        "sha-256=\"X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=\"",
        "SHA-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
        &format!("{sha256};x=1"),
        "sha-512=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
        &"a".repeat(600),
    ] {
        assert!(Digests::read(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(Digests::of_nothing().fit_whole(b"") && !Digests::of_nothing().fit_whole(b"x"));
}

/// The example of docs/signed.md is what the code says.
#[test]
fn the_vector_of_the_document() {
    let document = include_str!("../../../docs/signed.md");
    let body = br#"{"body":"hello"}"#;
    let mut hashing = Hashing::own();
    hashing.update(body);
    let digest = hashing.into_field();
    let agent: AgentId = "01994d2f-3a5b-7cde-8f01-23456789abcd".parse().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-digest", digest.as_str()),
        ("content-type", "application/json"),
        ("outhaul-agent", "01994d2f-3a5b-7cde-8f01-23456789abcd"),
        ("outhaul-act-as", "teams:4f2c"),
    ] {
        headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    let parameters = r#"("@method" "@target-uri" "content-digest" "content-type" "outhaul-agent" "outhaul-act-as");created=1764000000;expires=1764000120;nonce="q8XqIz0YVqfUHN2Q0Xo6Cw";keyid="ohs_abcdefghjkmn";alg="ed25519";tag="outhaul""#;
    let target = Target {
        method: &Method::POST,
        scheme: "https",
        authority: "acme.relay.example",
        target: "/jira/rest/api/2/issue/ABC-1/comment?expand=renderedBody",
    };
    headers.insert("signature-input", format!("sig1={parameters}").parse().unwrap());
    headers.insert("signature", format!("sig1=:{}:", STANDARD.encode([0; 64])).parse().unwrap());
    let unsigned = Claim::read(&headers).unwrap().cover(target, &headers, agent).unwrap();
    let signature = format!("sig1=:{}:", STANDARD.encode(key().sign(unsigned.base().as_bytes()).0));
    headers.insert("signature", signature.parse().unwrap());
    let covered = Claim::read(&headers).unwrap().cover(target, &headers, agent).unwrap();
    assert!(covered.is_signed_by(&key().public()) && covered.digests.fit_whole(body));

    let mut answered = HeaderMap::new();
    answered.insert("content-type", HeaderValue::from_static("application/json"));
    let mut hashing = Hashing::own();
    hashing.update(br#"{"id":"10020"}"#);
    let by = (agent, &key());
    let digest = hashing.into_field();
    let answer =
        covered.binding.sign(StatusCode::CREATED, &answered, &digest, false, by, 1_764_000_001).unwrap();
    let parts = [
        covered.base().to_owned(),
        format!("Content-Digest: {}", headers["content-digest"].to_str().unwrap()),
        format!("Signature-Input: sig1={parameters}"),
        format!("Signature: {signature}"),
        format!("Content-Digest: {digest}"),
        format!("Signature-Input: {}", answer.input.to_str().unwrap()),
        format!("Signature: {}", answer.signature.to_str().unwrap()),
    ];
    for part in parts {
        assert!(document.contains(&part), "this is not in docs/signed.md:\n{part}");
    }
    for name in MUST_COVER.iter().chain(&COVERED_ANSWER) {
        assert!(document.contains(&format!("`{name}`")), "{name}");
    }
}

/// A request that is signed rightly; each test changes it.
#[derive(Debug, Clone)]
struct Case {
    method: Method,
    scheme: &'static str,
    authority: String,
    target: String,
    fields: Vec<(String, String)>,
    input: String,
    signature: String,
}

const PARAMETERS: &str = r#";created=1764000000;expires=1764000120;nonce="AAAAAAAAAAAAAAAAAAAAAA";keyid="ohs_abcdefghjkmn";alg="ed25519";tag="outhaul""#;
const COVERED: &str =
    r#"("@method" "@target-uri" "content-digest" "content-type" "outhaul-agent" "outhaul-act-as")"#;

impl Case {
    fn new() -> Self {
        let digest = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
        let fields = [
            ("content-digest", digest),
            ("content-type", "application/json"),
            ("outhaul-agent", &agent().to_string()),
            ("outhaul-act-as", "teams:a"),
            ("accept", "application/json"),
            ("range", ""),
        ];
        let fields = fields.iter().filter(|(_, value)| !value.is_empty());
        Self {
            method: Method::POST,
            scheme: "https",
            authority: "acme.relay.example".to_owned(),
            target: "/jira/rest/api/2/issue?x=%2F&y".to_owned(),
            fields: fields.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            input: String::new(),
            signature: String::new(),
        }
        .signed(COVERED, PARAMETERS)
    }

    /// Signs it as it is now, by a base written here by hand.
    fn signed(mut self, covered: &str, parameters: &str) -> Self {
        let mut base = String::new();
        for name in covered.trim_matches(['(', ')']).split_whitespace() {
            let value = match name.trim_matches('"') {
                "@method" => self.method.to_string(),
                "@scheme" => self.scheme.to_owned(),
                "@authority" => self.authority.to_lowercase(),
                "@request-target" => self.target.clone(),
                "@target-uri" => {
                    format!("{}://{}{}", self.scheme, self.authority.to_lowercase(), self.target)
                }
                "@path" => self.target.split('?').next().unwrap().to_owned(),
                "@query" => format!("?{}", self.target.split_once('?').map_or("", |(_, query)| query)),
                field => self.get(field).unwrap_or_default(),
            };
            let _ = writeln!(base, "{name}: {value}");
        }
        let _ = write!(base, "\"@signature-params\": {covered}{parameters}");
        self.input = format!("sig1={covered}{parameters}");
        self.signature = format!("sig1=:{}:", STANDARD.encode(key().sign(base.as_bytes()).0));
        self
    }

    fn get(&self, name: &str) -> Option<String> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(field, _)| field != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.fields {
            headers.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        for (name, value) in [("signature-input", &self.input), ("signature", &self.signature)] {
            if !value.is_empty() {
                headers.append(HeaderName::from_static(name), value.parse().unwrap());
            }
        }
        headers
    }

    fn judge(&self) -> Result<Covered, SignatureFault> {
        self.judge_by(&key().public())
    }

    fn judge_by(&self, key: &PublicKey) -> Result<Covered, SignatureFault> {
        let headers = self.headers();
        let claim = Claim::read(&headers)?;
        let target = Target {
            method: &self.method,
            scheme: self.scheme,
            authority: &self.authority,
            target: &self.target,
        };
        let covered = claim.cover(target, &headers, agent())?;
        if covered.is_signed_by(key) { Ok(covered) } else { Err(SignatureFault::Wrong) }
    }
}

#[test]
fn a_signed_request_keeps_what_was_signed_and_nothing_else() {
    let case = Case::new();
    let covered = case.judge().unwrap();
    let left: Vec<&str> = covered.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["content-digest", "content-type", "outhaul-agent", "outhaul-act-as"]);
    assert!(covered.digests.fit_whole(br#"{"hello": "world"}"#));
    // What frames the body stays, signed or not; what speaks of the connection does not.
    let framed = case.set("content-length", "18").set("te", "trailers").set("connection", "content-type");
    let left = framed.judge().unwrap().headers;
    assert_eq!((left.len(), left["content-length"].as_bytes()), (5, &b"18"[..]));
    assert!(!left.contains_key("connection") && !left.contains_key("te"));
}

#[test]
fn the_target_is_covered_whole_or_in_all_its_parts() {
    let case = Case::new();
    let rest = r#""content-digest" "content-type" "outhaul-agent" "outhaul-act-as")"#;
    for good in [
        r#"("@method" "@scheme" "@authority" "@request-target" "#,
        r#"("@request-target" "@authority" "@path" "@query" "@scheme" "@method" "#,
        r#"("@target-uri" "@authority" "@method" "#,
    ] {
        let signed = case.clone().signed(&format!("{good}{rest}"), PARAMETERS);
        assert!(signed.judge().is_ok(), "{good}");
        for other in [
            Case { method: Method::PUT, ..signed.clone() },
            Case { scheme: "http", ..signed.clone() },
            Case { authority: "other.relay.example".to_owned(), ..signed.clone() },
            Case { target: "/jira/rest/api/2/issue?x=/&y".to_owned(), ..signed.clone() },
            Case { target: "/jira/rest/api/2/issue".to_owned(), ..signed.clone() },
        ] {
            assert_eq!(other.judge().unwrap_err(), SignatureFault::Wrong, "{good} {other:?}");
        }
    }
    for bad in [
        r#"("@method" "@scheme" "@authority" "@path" "@query" "#,
        r#"("@method" "@scheme" "@request-target" "#,
        r#"("@method" "@authority" "@request-target" "#,
        r#"("@target-uri" "#,
        "(",
    ] {
        let fault = case.clone().signed(&format!("{bad}{rest}"), PARAMETERS).judge().unwrap_err();
        assert!(matches!(fault, SignatureFault::NotCovered(_)), "{bad} {fault:?}");
    }
    // A bare question mark is a byte of the target too.
    let bare = Case { target: "/x".to_owned(), ..case.clone() }.signed(COVERED, PARAMETERS);
    assert!(bare.judge().is_ok());
    assert!(Case { target: "/x?".to_owned(), ..bare }.judge().is_err());
    // Case and the scheme's own port mean the same host; another port does not.
    for same in ["ACME.relay.example", "acme.relay.example:443", "acme.relay.example:"] {
        assert!(Case { authority: same.to_owned(), ..case.clone() }.judge().is_ok(), "{same}");
    }
    for other in ["acme.relay.example:80", "acme.relay.example.", "acme.relay.example:443:443", ""] {
        assert!(Case { authority: other.to_owned(), ..case.clone() }.judge().is_err(), "{other}");
    }
    for target in ["*", "jira", "http://acme/x", "/a b", "/a#b", "/\u{e9}", ""] {
        let fault = Case { target: target.to_owned(), ..case.clone() }.judge().unwrap_err();
        assert_eq!(fault, SignatureFault::Target("path"), "{target}");
    }
}

#[test]
fn what_changes_a_call_must_be_covered() {
    for name in MUST_COVER {
        let value = if *name == "content-digest" {
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
        } else {
            "x"
        };
        let covered = COVERED.replace(&format!(" \"{name}\""), "");
        let case = Case::new();
        let case = if case.get(name).is_some() { case } else { case.set(name, value) };
        let fault = case.clone().signed(&covered, PARAMETERS).judge().unwrap_err();
        assert_eq!(fault, SignatureFault::NotCovered((*name).to_owned()));
        // Put in on the way, beside a good signature.
        let added = Case::new().set(name, value);
        assert!(Case::new().get(name).is_some() || added.judge().is_err(), "{name}");
    }
    // What is covered must be there.
    for name in ["content-digest", "content-type", "outhaul-agent", "outhaul-act-as"] {
        let mut case = Case::new();
        case.fields.retain(|(field, _)| field != name);
        assert!(case.judge().is_err(), "{name} is gone");
        let mut twice = Case::new();
        let value = twice.get(name).unwrap();
        twice.fields.push((name.to_owned(), value));
        assert_eq!(twice.judge().unwrap_err(), SignatureFault::NotOnce(name.to_owned()));
        assert!(Case::new().set(name, "other").judge().is_err(), "{name} is another");
    }
    // A body of no bytes is said too, by whatever may act; a call that only reads need not.
    let covered = COVERED.replace(" \"content-digest\"", "");
    let mut reads = Case { method: Method::GET, ..Case::new() };
    reads.fields.retain(|(field, _)| field != "content-digest");
    assert_eq!(reads.clone().signed(&covered, PARAMETERS).judge().unwrap().digests, Digests::of_nothing());
    let acts = Case { method: Method::DELETE, ..reads }.signed(&covered, PARAMETERS);
    assert_eq!(acts.judge().unwrap_err(), SignatureFault::NotCovered("content-digest".to_owned()));
    let other = Case::new().set("outhaul-agent", &AgentId::from_bytes([8; 16]).to_string());
    assert_eq!(other.signed(COVERED, PARAMETERS).judge().unwrap_err(), SignatureFault::OtherAgent);
}

#[test]
fn only_this_profile_is_read() {
    let parameter = |from: &str, to: &str| {
        Case::new().signed(COVERED, &PARAMETERS.replace(from, to)).judge().unwrap_err()
    };
    assert!(matches!(
        parameter("created=1764000000", "created=\"1764000000\""),
        SignatureFault::Parameter(_)
    ));
    assert!(matches!(parameter(";created=1764000000", ""), SignatureFault::Parameter(_)));
    assert!(matches!(parameter("created=1764000000", "created=-1"), SignatureFault::Parameter(_)));
    assert!(matches!(parameter("created=1764000000", "created=1764000000.5"), SignatureFault::Parameter(_)));
    assert!(matches!(parameter("created=1764000000", "created=@1764000000"), SignatureFault::Parameter(_)));
    assert!(matches!(parameter(";expires=1764000120", ""), SignatureFault::Parameter(_)));
    assert!(matches!(
        parameter("\"AAAAAAAAAAAAAAAAAAAAAA\"", "\"AAAAAAAAAAAAAAAAAAAAA\""),
        SignatureFault::Parameter(_)
    ));
    assert!(matches!(parameter("AAAAAAAAAAAAAAAAAAAAAA", &"A".repeat(129)), SignatureFault::Parameter(_)));
    assert!(matches!(parameter(";nonce=\"AAAAAAAAAAAAAAAAAAAAAA\"", ""), SignatureFault::Parameter(_)));
    assert!(matches!(parameter("\"ed25519\"", "\"hmac-sha256\""), SignatureFault::Parameter(_)));
    assert!(matches!(parameter(";alg=\"ed25519\"", ""), SignatureFault::Parameter(_)));
    assert!(matches!(parameter(";alg", ";further=1;alg"), SignatureFault::OtherParameter));
    assert_eq!(parameter("\"outhaul\"", "\"other\""), SignatureFault::Count(0));
    assert_eq!(parameter("\"outhaul\"", "outhaul"), SignatureFault::Count(0));
    for (component, shown) in [
        ("\"signature\"", "signature"),
        ("\"signature-input\"", "signature-input"),
        ("\"content-type\";sf", "content-type"),
        ("\"content-type\";bs", "content-type"),
        ("\"content-type\";tr", "content-type"),
        ("\"content-type\";req", "content-type"),
        ("\"content-digest\";key=\"sha-256\"", "content-digest"),
        ("\"@query-param\";name=\"x\"", "@query-param"),
        ("\"@query-param\"", "@query-param"),
        ("\"@status\"", "@status"),
        ("\"@signature-params\"", "@signature-params"),
        ("\"@Method\"", "@Method"),
        ("\"Content-Type\"", "Content-Type"),
        ("\"a b\"", "a b"),
        ("\"\"", ""),
        ("\"te\"", "te"),
    ] {
        let covered = COVERED.replace(" \"content-type\"", &format!(" {component}"));
        let fault = Case::new().signed(&covered, PARAMETERS).judge().unwrap_err();
        assert_eq!(fault, SignatureFault::Component(shown.to_owned()), "{component}");
    }
    let twice = COVERED.replace("\"content-type\"", "\"content-type\" \"content-type\"");
    assert!(matches!(Case::new().signed(&twice, PARAMETERS).judge(), Err(SignatureFault::ComponentTwice(_))));
    let many: Vec<String> = (0..41).map(|number| format!(" \"x-{number}\"")).collect();
    let many = many.concat();
    let many = COVERED.replace(')', &format!("{many})"));
    assert!(matches!(Case::new().signed(&many, PARAMETERS).judge(), Err(SignatureFault::Components)));
}

#[test]
fn exactly_one_signature_is_ours() {
    let good = Case::new();
    let second = |input: &str, signature: &str| Case {
        input: format!("{}, {input}", good.input),
        signature: format!("{}, {signature}", good.signature),
        ..good.clone()
    };
    // Another's, with another tag, is left aside.
    assert!(second("proxy=(\"@method\");created=1;tag=\"proxy\"", "proxy=:AAAA:").judge().is_ok());
    let again = second(&format!("sig2={COVERED}{PARAMETERS}"), "sig2=:AAAA:");
    assert_eq!(again.judge().unwrap_err(), SignatureFault::Count(2));
    let same = second(&format!("sig1={COVERED}{PARAMETERS}"), "x=:AAAA:");
    assert_eq!(same.judge().unwrap_err(), SignatureFault::Twice("signature-input"));
    let same = second("x=();tag=\"x\"", "sig1=:AAAA:");
    assert_eq!(same.judge().unwrap_err(), SignatureFault::Twice("signature"));
    for (input, signature) in [
        ("", good.signature.as_str()),
        (good.input.as_str(), ""),
        ("sig1", good.signature.as_str()),
        ("sig1=1", good.signature.as_str()),
        (&good.input, "sig1=:AAAA:"),
        (&good.input, "sig1"),
        (&good.input, "sig1=\"x\""),
        (&good.input, &good.signature.replace("sig1", "sig2")),
        (&good.input, &format!("{};x", good.signature)),
        (&good.input.replace("sig1=(", "sig1=( ("), &good.signature),
        (&format!("{},", good.input), &good.signature),
        (&"a=(),".repeat(2000), &good.signature),
    ] {
        let case = Case { input: input.to_owned(), signature: signature.to_owned(), ..good.clone() };
        assert!(case.judge().is_err(), "{input} {signature}");
    }
    let mut headers = good.headers();
    headers.append("signature-input", good.input.parse().unwrap());
    assert_eq!(Claim::read(&headers).unwrap_err(), SignatureFault::NotOnce("signature-input".to_owned()));
    // White space that means nothing changes nothing.
    let spaced = Case { input: good.input.replace("(\"@method\" ", "( \"@method\"   "), ..good.clone() };
    assert!(spaced.judge().is_ok());
    assert!(is_claimed(&good.headers()) && !is_claimed(&HeaderMap::new()));
}

#[test]
fn another_key_made_nothing() {
    let (other, _) = SigningKey::generate().unwrap();
    assert_eq!(Case::new().judge_by(&other.public()).unwrap_err(), SignatureFault::Wrong);
}

#[test]
fn bytes_that_no_base_can_hold_are_refused() {
    let mut case = Case::new();
    case.fields.retain(|(name, _)| name != "outhaul-act-as");
    let mut headers = case.headers();
    headers.insert("outhaul-act-as", HeaderValue::from_bytes(b"teams:\xe9").unwrap());
    let claim = Claim::read(&headers).unwrap();
    let target =
        Target { method: &case.method, scheme: "https", authority: &case.authority, target: &case.target };
    assert_eq!(
        claim.cover(target, &headers, agent()).unwrap_err(),
        SignatureFault::Bytes("outhaul-act-as".to_owned())
    );
    // White space around a value is no part of it, and does not go on.
    let spaced = Case::new().set("content-type", "  application/json\t");
    assert_eq!(spaced.judge().unwrap().headers["content-type"], "application/json");
}

#[test]
fn an_answer_is_bound_to_its_call() {
    let case = Case::new();
    let binding = case.judge().unwrap().binding;
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("x-other", HeaderValue::from_static("not covered"));
    let signed = binding
        .sign(StatusCode::CREATED, &headers, "sha-256=:AAAA:", false, (agent(), &key()), 1_764_000_001)
        .unwrap();
    let parameters = format!(
        "(\"@status\" \"content-digest\" \"content-type\" \"@method\";req \"@target-uri\";req \
         \"signature\";req;key=\"sig1\");created=1764000001;keyid=\"{}\";alg=\"ed25519\";tag=\"outhaul\"",
        agent()
    );
    assert_eq!(signed.input, format!("outhaul={parameters}"));
    let base = format!(
        "\"@status\": 201\n\"content-digest\": sha-256=:AAAA:\n\"content-type\": application/json\n\
         \"@method\";req: POST\n\"@target-uri\";req: https://acme.relay.example/jira/rest/api/2/issue?x=%2F&y\n\
         \"signature\";req;key=\"sig1\": {}\n\"@signature-params\": {parameters}",
        case.signature.strip_prefix("sig1=").unwrap()
    );
    let value = signed.signature.to_str().unwrap().strip_prefix("outhaul=:").unwrap().trim_end_matches(':');
    assert!(key().public().verifies(base.as_bytes(), &STANDARD.decode(value).unwrap()));
    headers.append("etag", HeaderValue::from_static("a"));
    headers.append("etag", HeaderValue::from_static("b"));
    let two = binding.sign(StatusCode::OK, &headers, "sha-256=:AAAA:", false, (agent(), &key()), 1);
    assert!(two.is_none(), "what can't be signed in one way is not signed");
}

#[test]
fn keys_of_small_order_are_no_keys() {
    for bad in [
        [0; 32],
        {
            let mut one = [0; 32];
            one[0] = 1;
            one
        },
        {
            let mut one = [0xff; 32];
            one[0] = 0xec;
            one[31] = 0x7f;
            one
        },
        {
            let mut one = [0xff; 32];
            one[0] = 0xed;
            one
        },
    ] {
        assert_eq!(PublicKey::from_text(&STANDARD.encode(bad)), None, "{bad:?}");
    }
    let good = key().public();
    for text in [STANDARD.encode(good.as_bytes()), good.to_string(), format!(" {}\n", good.to_pem())] {
        assert_eq!(PublicKey::from_text(&text), Some(good), "{text}");
    }
    for bad in ["", "AAAA", &"A".repeat(200), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"] {
        assert_eq!(PublicKey::from_text(bad), None, "{bad}");
    }
}

proptest! {
    /// Whatever byte of whatever part is changed on the way: it is refused, or it means the same.
    #[test]
    fn no_change_passes(part in 0_usize..8, at in any::<prop::sample::Index>(), bit in 0_u8..7) {
        let good = Case::new();
        let flip = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            String::from_utf8(bytes).unwrap()
        };
        let mut case = good.clone();
        match part {
            0 => case.authority = flip(&case.authority),
            1 => case.target = flip(&case.target),
            2 => case.input = flip(&case.input),
            3 => case.signature = flip(&case.signature),
            other => {
                let value = &mut case.fields[other - 4].1;
                *value = flip(value);
            }
        }
        if case.fields.iter().any(|(_, value)| HeaderValue::from_str(value).is_err())
            || [&case.input, &case.signature].iter().any(|value| HeaderValue::from_str(value).is_err())
        {
            return Ok(());
        }
        if let Ok(covered) = case.judge() {
            let was = good.judge().unwrap();
            prop_assert_eq!(covered.base(), was.base());
            prop_assert_eq!(covered.headers, was.headers);
            prop_assert_eq!(case.target, good.target);
        }
    }

    #[test]
    fn nothing_makes_it_panic(input in "[ -~]{0,200}", signature in "[ -~]{0,80}", digest in "[ -~]{0,80}") {
        let mut case = Case { input, signature, ..Case::new() };
        let _ = case.judge();
        case = case.set("content-digest", &digest);
        case.input = Case::new().input;
        let _ = case.judge();
        let _ = Digests::read(digest.as_bytes());
    }
}
