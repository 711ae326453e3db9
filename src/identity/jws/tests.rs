//! What is tried against verifiers of tokens, and what becomes of it here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use serde_json::{Value, json};

use super::vectors_tests::RSA_N;
use super::*;

/// The rest of the key of RFC 7515, appendix A.2: d, p, q, dp, dq, qi.
const RSA: [&str; 6] = [
    "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
    "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
    "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
    "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
    "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
    "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U",
];

fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer with a key of each kind, by the names `rsa`, `p256`, `p384` and `ed`.
struct Issuer {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

fn elliptic(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()
}

fn point(key: &EcdsaKeyPair, curve: &str, name: &str) -> Value {
    let point = key.public_key().as_ref();
    let (x, y) = point[1..].split_at((point.len() - 1) / 2);
    json!({ "kty": "EC", "crv": curve, "kid": name, "x": encoded(x), "y": encoded(y) })
}

impl Issuer {
    fn new() -> Self {
        let [d, p, q, dp, dq, qi] = RSA.map(bytes);
        let public_key = PublicKeyComponents { n: bytes(RSA_N), e: bytes("AQAB") };
        let rsa = KeyPairComponents { public_key, d, p, q, dP: dp, dQ: dq, qInv: qi };
        let ed = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self {
            rsa: RsaKeyPair::from_components(&rsa).unwrap(),
            p256: elliptic(&ECDSA_P256_SHA256_FIXED_SIGNING),
            p384: elliptic(&ECDSA_P384_SHA384_FIXED_SIGNING),
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
        }
    }

    fn jwks(&self) -> Vec<Value> {
        let ed = encoded(self.ed.public_key().as_ref());
        vec![
            json!({ "kty": "RSA", "kid": "rsa", "use": "sig", "n": RSA_N, "e": "AQAB" }),
            point(&self.p256, "P-256", "p256"),
            point(&self.p384, "P-384", "p384"),
            json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": ed }),
        ]
    }

    fn keys(&self) -> KeySet {
        KeySet::read(json!({ "keys": self.jwks() }).to_string().as_bytes()).unwrap()
    }

    fn sign(&self, how: &str, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(encoding, &random, signed, &mut signature).unwrap();
            signature
        };
        match how {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "RS384" => rsa(&RSA_PKCS1_SHA384),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "ES256" => self.p256.sign(&random, signed).unwrap().as_ref().to_vec(),
            "ES384" => self.p384.sign(&random, signed).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(signed).as_ref().to_vec(),
            other => panic!("{other}"),
        }
    }

    /// A token with this head and these claims as texts, signed by this algorithm whatever the head says.
    fn raw(&self, how: &str, head: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encoded(head), encoded(claims));
        let signature = encoded(self.sign(how, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn token(&self, algorithm: &str, key: &str) -> String {
        self.raw(algorithm, &json!({ "alg": algorithm, "typ": "JWT", "kid": key }).to_string(), CLAIMS)
    }
}

const CLAIMS: &str = r#"{"iss":"https://issuer.example","sub":"x"}"#;

fn taken(token: &str, keys: &KeySet) -> Result<Verified, TokenFault> {
    Token::read(token)?.verify(keys, &Algorithm::ALL)
}

#[test]
fn each_algorithm_takes_its_own_kind_of_key_and_no_other() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    for (algorithm, own) in [
        ("RS256", "rsa"),
        ("RS384", "rsa"),
        ("RS512", "rsa"),
        ("PS256", "rsa"),
        ("ES256", "p256"),
        ("ES384", "p384"),
        ("EdDSA", "ed"),
    ] {
        for key in ["rsa", "p256", "p384", "ed"] {
            let result = taken(&issuer.token(algorithm, key), &keys);
            if key == own {
                assert_eq!(result.unwrap().text("sub"), Some("x"), "{algorithm}");
            } else {
                assert_eq!(result, Err(TokenFault::KeyUnfit), "{algorithm} {key}");
            }
        }
        let allowed: Vec<Algorithm> =
            Algorithm::ALL.into_iter().filter(|one| one.as_str() != algorithm).collect();
        let token = issuer.token(algorithm, own);
        let refused = Token::read(&token).unwrap().verify(&keys, &allowed);
        assert_eq!(refused, Err(TokenFault::Algorithm(algorithm.to_owned())), "it is not pinned");
    }
}

#[test]
fn what_says_another_algorithm_than_it_is_signed_by_is_refused() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    for (says, signed) in [("RS256", "RS512"), ("RS512", "RS256"), ("PS256", "RS256"), ("RS256", "PS256")] {
        let token = issuer.raw(signed, &json!({ "alg": says, "kid": "rsa" }).to_string(), CLAIMS);
        assert_eq!(taken(&token, &keys), Err(TokenFault::Signature), "{says} {signed}");
    }
}

#[test]
fn heads_that_attacks_are_made_of_are_refused() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    for (head, says) in [
        (r#"{"alg":"none"}"#, "“none” is not taken"),
        (r#"{"alg":"None","kid":"rsa"}"#, "not taken"),
        (r#"{"alg":"HS256","kid":"rsa"}"#, "“HS256” is not taken"),
        (r#"{"alg":"rs256","kid":"rsa"}"#, "not taken"),
        (r#"{"alg":"RS256 ","kid":"rsa"}"#, "not taken"),
        (r#"{"alg":"RS1","kid":"rsa"}"#, "not taken"),
        (r#"{"alg":"ES256K","kid":"p256"}"#, "not taken"),
        (r#"{"alg":["RS256"],"kid":"rsa"}"#, "no text"),
        (r#"{"alg":null,"kid":"rsa"}"#, "no text"),
        (r#"{"kid":"rsa"}"#, "names no algorithm"),
        (r#"{"alg":"RS256","alg":"none","kid":"rsa"}"#, "“alg” stands twice"),
        (r#"{"alg":"RS256","kid":"rsa","kid":"p256"}"#, "“kid” stands twice"),
        (r#"{"alg":"RS256","\u0061lg":"none","kid":"rsa"}"#, "“alg” stands twice"),
        (r#"{"alg":"RS256","kid":"rsa","crit":["exp"],"exp":1}"#, "says crit"),
        (r#"{"alg":"RS256","kid":"rsa","crit":[]}"#, "says crit"),
        (r#"{"alg":"RS256","kid":"rsa","b64":false}"#, "says crit"),
        (r#"{"alg":"RS256","kid":"rsa","typ":"logout+jwt"}"#, "“logout+jwt”"),
        (r#"{"alg":"RS256","kid":"rsa","typ":"JOSE"}"#, "only JWT"),
        (r#"{"alg":"RS256","kid":"rsa","typ":1}"#, "no text"),
        (r#"{"alg":"RS256","kid":1}"#, "name of a key"),
        (r#"{"alg":"RS256","kid":null}"#, "name of a key"),
        (r#"{"alg":"RS256","kid":""}"#, "no key of the name"),
        (r#"{"alg":"RS256","kid":"../../rsa"}"#, "no key of the name"),
        (r#"{"alg":"RS256","kid":"RSA"}"#, "no key of the name"),
        (r#"["alg","RS256"]"#, "no JSON object"),
        (r#""RS256""#, "no JSON object"),
        ("", "can't be read"),
        (r#"{"alg":"RS256","kid":"rsa"} "x""#, "can't be read"),
    ] {
        let fault = taken(&issuer.raw("RS256", head, CLAIMS), &keys).unwrap_err().to_string();
        assert!(fault.contains(says), "{head}: {fault}");
    }
    for kind in ["JWT", "jwt", "at+jwt", "application/at+JWT", "application/jwt"] {
        let head = json!({ "alg": "RS256", "kid": "rsa", "typ": kind }).to_string();
        assert!(taken(&issuer.raw("RS256", &head, CLAIMS), &keys).is_ok(), "{kind}");
    }
}

/// Whoever may choose the key may sign anything.
#[test]
fn a_key_that_the_token_brings_along_is_not_looked_at() {
    let (ours, theirs) = (Issuer::new(), Issuer::new());
    let own = theirs.jwks()[1].clone();
    for extra in [
        json!({ "jwk": own }),
        json!({ "jku": "https://evil.example/keys" }),
        json!({ "x5u": "https://evil.example/chain" }),
        json!({ "x5c": ["AAAA"] }),
    ] {
        let mut head = json!({ "alg": "ES256", "kid": "p256" });
        head.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let forged = theirs.raw("ES256", &head.to_string(), CLAIMS);
        assert_eq!(taken(&forged, &ours.keys()), Err(TokenFault::Signature), "{extra}");
        // Some issuers send such a field with every token; it changes nothing.
        let honest = ours.raw("ES256", &head.to_string(), CLAIMS);
        assert!(taken(&honest, &ours.keys()).is_ok(), "{extra}");
    }
}

/// The public key is no secret: a verifier that took it for one would take this token.
#[test]
fn the_public_key_is_no_secret_to_sign_with() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    let secrets = [bytes(RSA_N), RSA_N.as_bytes().to_vec(), json!(issuer.jwks()[0]).to_string().into_bytes()];
    for secret in secrets {
        for says in ["HS256", "RS256"] {
            let head = json!({ "alg": says, "kid": "rsa" }).to_string();
            let signed = format!("{}.{}", encoded(head), encoded(CLAIMS));
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
            let tag = encoded(ring::hmac::sign(&key, signed.as_bytes()).as_ref());
            assert!(taken(&format!("{signed}.{tag}"), &keys).is_err(), "{says}");
        }
    }
}

#[test]
fn a_token_has_one_spelling_three_parts_and_a_bound() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    let token = issuer.token("ES256", "p256");
    assert!(taken(&token, &keys).is_ok());
    let parts: Vec<&str> = token.split('.').collect();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    for bad in [
        String::new(),
        "..".to_owned(),
        signed.to_owned(),
        format!("{signed}."),
        format!("{token}."),
        format!("{token}.x"),
        format!(".{token}"),
        format!("{token}="),
        format!("{token}=="),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{signed}.{}", signature.replace(['-', '_'], "+")),
        // The last character of 64 bytes carries four bits that must be zero.
        format!("{signed}.{}{}", &signature[..85], if signature.ends_with('A') { 'B' } else { '_' }),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}.{}.{}", parts[0], "a", parts[1], "b", parts[2]),
        format!("{}.{}é.{}", parts[0], parts[1], parts[2]),
    ] {
        assert!(taken(&bad, &keys).is_err(), "{bad}");
    }
    let claims = |length: usize| json!({ "iss": "x", "pad": "a".repeat(length) }).to_string();
    let head = r#"{"alg":"ES256","kid":"p256"}"#;
    assert!(taken(&issuer.raw("ES256", head, &claims(5_900)), &keys).is_ok());
    assert_eq!(taken(&issuer.raw("ES256", head, &claims(6_100)), &keys), Err(TokenFault::Size));
    assert_eq!(Token::read(&"a".repeat(10 << 20)).unwrap_err(), TokenFault::Size);
    let deep = format!(r#"{{"iss":"x","a":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
    assert!(matches!(taken(&issuer.raw("ES256", head, &deep), &keys), Err(TokenFault::Json { .. })));
    for claims in ["[]", "1", r#"{"iss":"a","iss":"b"}"#, r#"{"aud":"a","\u0061ud":"b"}"#, "{", "\u{feff}{}"]
    {
        let fault = taken(&issuer.raw("ES256", head, claims), &keys).unwrap_err();
        assert!(matches!(fault, TokenFault::Json { part: "claims", .. }), "{claims}: {fault}");
    }
}

/// ECDSA has two signatures for one: (r, s) and (r, n − s). Both are the issuer's word, and the second says nothing that
/// the first did not: no token is told from another by its bytes here. What is refused is what is no signature.
#[test]
fn another_form_of_a_signature_is_the_same_word_or_none() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    let token = issuer.token("ES256", "p256");
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = bytes(signature);
    let (r, s) = signature.split_at(32);
    // The order of P-256 (SEC 2, section 2.4.2).
    let n = bytes("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE");
    let mut other = vec![0u8; 32];
    let mut borrow = 0i16;
    for at in (0..32).rev() {
        let digit = i16::from(n[at]) - i16::from(s[at]) - borrow;
        borrow = i16::from(digit < 0);
        other[at] = digit.rem_euclid(256) as u8;
    }
    let with = |parts: &[&[u8]]| taken(&format!("{signed}.{}", encoded(parts.concat())), &keys);
    assert_eq!(with(&[r, &other]), taken(&token, &keys), "the same claims");
    let zero = [0u8; 32];
    for parts in [
        &[r][..],
        &[r, s, &[0]],
        &[&[0], r, s],
        &[&zero, s],
        &[r, &zero],
        &[&zero, &zero],
        &[&n, s],
        &[r, &n],
        &[s, r],
    ] {
        assert_eq!(with(parts), Err(TokenFault::Signature));
    }
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let der = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let jwk = json!({ "keys": [point(&der, "P-256", "p256")] }).to_string();
    let in_der = der.sign(&random, signed.as_bytes()).unwrap();
    let keys = KeySet::read(jwk.as_bytes()).unwrap();
    assert!(taken(&format!("{signed}.{}", encoded(in_der)), &keys).is_err(), "DER is another form");
}

#[test]
fn a_token_without_a_key_name_is_taken_where_one_key_can_be_meant() {
    let issuer = Issuer::new();
    let token = issuer.raw("RS256", r#"{"alg":"RS256"}"#, CLAIMS);
    assert!(taken(&token, &issuer.keys()).is_ok());
    let mut two = issuer.jwks();
    two.push(json!({ "kty": "RSA", "kid": "other", "n": RSA_N, "e": "AQAB" }));
    let two = KeySet::read(json!({ "keys": two }).to_string().as_bytes()).unwrap();
    assert_eq!(taken(&token, &two), Err(TokenFault::KeyUnnamed));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in "[a-zA-Z0-9_.=-]{0,300}|\\PC{0,80}") {
        let _ = Token::read(&text);
    }

    #[test]
    fn no_bytes_behind_a_right_head_are_taken(claims in proptest::collection::vec(any::<u8>(), 0..80), signature in proptest::collection::vec(any::<u8>(), 0..80)) {
        let keys = KeySet::read(json!({ "keys": [{ "kty": "RSA", "kid": "rsa", "n": RSA_N, "e": "AQAB" }] }).to_string().as_bytes()).unwrap();
        let token = format!("{}.{}.{}", encoded(r#"{"alg":"RS256","kid":"rsa"}"#), encoded(claims), encoded(signature));
        prop_assert!(taken(&token, &keys).is_err());
    }
}
