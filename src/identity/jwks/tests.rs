use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(keys: &Value) -> Result<KeySet, KeySetFault> {
    KeySet::read(json!({ "keys": keys }).to_string().as_bytes())
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A modulus of so many bits: not a product of primes, but nothing is computed with it here.
fn modulus(bits: usize) -> String {
    let mut bytes = vec![0xff; bits.div_ceil(8)];
    bytes[0] = 0xff >> ((8 - bits % 8) % 8);
    encoded(&bytes)
}

#[test]
fn a_key_that_is_weak_or_for_something_else_is_left_out_with_its_reason() {
    let rsa = |n: String, e: &str| json!({ "kty": "RSA", "kid": "k", "n": n, "e": e });
    let with = |name: &str, value: Value| {
        let mut key = rsa(modulus(2048), "AQAB");
        key[name] = value;
        key
    };
    let ec = |curve: &str, x: usize, y: usize| json!({ "kty": "EC", "crv": curve, "x": encoded(&vec![1; x]), "y": encoded(&vec![1; y]) });
    for (key, says) in [
        (rsa(modulus(1024), "AQAB"), "2048 to 8192 bits"),
        (rsa(modulus(2047), "AQAB"), "2048 to 8192 bits"),
        (rsa(modulus(8200), "AQAB"), "2048 to 8192 bits"),
        (rsa(String::new(), "AQAB"), "2048 to 8192 bits"),
        (rsa(modulus(2048), "Aw"), "exponent"),
        (rsa(modulus(2048), "AQ"), "exponent"),
        (rsa(modulus(2048), "AQAA"), "exponent"),
        (rsa(modulus(2048), ""), "exponent"),
        (rsa(modulus(2048), "_________w"), "exponent"),
        (rsa("no base64!".to_owned(), "AQAB"), "not base64url"),
        (json!({ "kty": "RSA", "n": modulus(2048) }), "missing"),
        (with("use", json!("enc")), "not for signatures"),
        (with("use", json!(null)), "not for signatures"),
        (with("key_ops", json!(["encrypt"])), "not for verifying"),
        (with("alg", json!("RSA-OAEP")), "not taken"),
        (with("alg", json!("ES256")), "not for its type"),
        (with("alg", json!("HS256")), "not taken"),
        (with("alg", json!(1)), "no text"),
        (with("kid", json!(1)), "no text"),
        (with("kid", json!("k".repeat(300))), "too long"),
        (with("d", json!("AQAB")), "private key"),
        (json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "h" }), "secret or private key"),
        (json!({ "kty": "oct", "kid": "h" }), "type (kty)"),
        (json!({ "kty": "rsa", "n": modulus(2048), "e": "AQAB" }), "type (kty)"),
        (json!({ "kid": "h" }), "type (kty)"),
        (ec("P-256", 31, 32), "width"),
        (ec("P-256", 48, 48), "width"),
        (ec("P-384", 32, 32), "width"),
        (ec("P-521", 66, 66), "curve"),
        (ec("secp256k1", 32, 32), "curve"),
        (json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(&[1; 31]) }), "32 bytes"),
        (json!({ "kty": "OKP", "crv": "X25519", "x": encoded(&[1; 32]) }), "curve"),
        (json!({ "kty": "OKP", "crv": "Ed448", "x": encoded(&[1; 57]) }), "curve"),
        (json!("key"), "no JSON object"),
    ] {
        let fault = read(&json!([key])).unwrap_err();
        assert!(fault.to_string().contains(says), "{key}: {fault}");
        let beside = read(&json!([key, rsa(modulus(2048), "AQAB")])).unwrap();
        assert_eq!((beside.len(), beside.ignored().len()), (1, 1), "{key}");
        assert!(beside.ignored()[0].contains(says), "{:?}", beside.ignored());
    }
    for bits in [2048, 3072, 4096, 8192] {
        assert_eq!(read(&json!([rsa(modulus(bits), "AQAB")])).unwrap().len(), 1, "{bits}");
    }
    let padded = encoded(&[&[0][..], &[0xff; 256]].concat());
    assert_eq!(
        read(&json!([rsa(padded, "AQAB")])).unwrap(),
        read(&json!([rsa(modulus(2048), "AQAB")])).unwrap()
    );
}

#[test]
fn a_document_has_one_reading_and_bounds() {
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(&[1; 32]) });
    for (text, says) in [
        ("", "can't be read"),
        ("<html>", "can't be read"),
        ("[]", "no list"),
        ("{}", "no list"),
        (r#"{"keys":{}}"#, "no list"),
        (r#"{"keys":[]}"#, "no key that can verify"),
        (r#"{"keys":[],"keys":[]}"#, "stands twice"),
        (r#"{"keys":[{"kty":"RSA","kty":"EC"}]}"#, "stands twice"),
        (r#"{"keys":[]} x"#, "can't be read"),
    ] {
        let fault = KeySet::read(text.as_bytes()).unwrap_err().to_string();
        assert!(fault.contains(says), "{text}: {fault}");
    }
    assert_eq!(read(&json!(vec![key.clone(); MAX_KEYS])).unwrap().len(), MAX_KEYS);
    assert_eq!(read(&json!(vec![key; MAX_KEYS + 1])), Err(KeySetFault::TooMany));
    assert_eq!(KeySet::read(&vec![b' '; MAX_SET + 1]), Err(KeySetFault::Size));
}

#[test]
fn one_name_may_stand_for_a_key_of_each_algorithm() {
    let ed = |x: u8| json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": encoded(&[x; 32]) });
    let rsa = json!({ "kty": "RSA", "kid": "k", "alg": "RS512", "n": modulus(2048), "e": "AQAB" });
    let set = read(&json!([ed(1), rsa, ed(2), ed(3), ed(4), ed(5)])).unwrap();
    assert_eq!(set.candidates(Some("k"), Algorithm::EdDsa).unwrap().len(), MAX_SAME);
    assert_eq!(set.candidates(Some("k"), Algorithm::Rs512).unwrap().len(), 1);
    assert_eq!(set.candidates(Some("k"), Algorithm::Rs256), Err(Missing::Unfit), "it says RS512");
    assert_eq!(set.candidates(Some("K"), Algorithm::Rs512), Err(Missing::Unknown));
    assert_eq!(set.candidates(None, Algorithm::Rs512).unwrap().len(), 1);
    assert_eq!(set.candidates(None, Algorithm::EdDsa), Err(Missing::Unnamed));
}

impl std::fmt::Debug for Material {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Material")
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = KeySet::read(&bytes);
    }

    #[test]
    fn no_members_make_it_panic(
        kind in "RSA|EC|OKP|oct", curve in "P-256|P-384|Ed25519|x", n in "[A-Za-z0-9_-]{0,60}", e in "[A-Za-z0-9_-]{0,8}",
    ) {
        let _ = read(&json!([{ "kty": kind, "crv": curve, "n": n, "e": e, "x": n, "y": e }]));
    }
}
