//! The examples of the RFCs, letter by letter.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::{Algorithm, Token};
use crate::identity::jwks::KeySet;

/// RFC 7515, appendix A.2: the public key and the token.
pub(super) const RSA_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const A_2: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
/// RFC 7515, appendix A.3.
const EC_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const EC_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const A_3: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/// RFC 7520, sections 3.3 and 4.1: what is signed there is no JSON, so the signature alone is tried.
const BILBO_N: &str = "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw";
const BILBO: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg";
/// RFC 8037, appendices A.2 and A.4.
const ED_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const ED: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn set(key: &serde_json::Value) -> KeySet {
    KeySet::read(json!({ "keys": [key] }).to_string().as_bytes()).unwrap()
}

#[test]
fn the_tokens_of_rfc_7515_verify_and_no_other_by_a_bit() {
    for (token, key, algorithm) in [
        (A_2, json!({"kty":"RSA","n":RSA_N,"e":"AQAB"}), Algorithm::Rs256),
        (A_3, json!({"kty":"EC","crv":"P-256","x":EC_X,"y":EC_Y}), Algorithm::Es256),
    ] {
        let keys = set(&key);
        let verified = Token::read(token).unwrap().verify(&keys, &[algorithm]).unwrap();
        assert_eq!(verified.text("iss"), Some("joe"));
        assert_eq!(verified.claim("exp"), Some(&json!(1_300_819_380)));
        assert_eq!(verified.claim("http://example.com/is_root"), Some(&json!(true)));
        for (at, byte) in token.bytes().enumerate() {
            for other in [b'A', b'B', b'-', b'.', b'='] {
                let mut changed = token.as_bytes().to_vec();
                changed[at] = other;
                let changed = String::from_utf8(changed).unwrap();
                let taken =
                    Token::read(&changed).is_ok_and(|token| token.verify(&keys, &[algorithm]).is_ok());
                assert_eq!(taken, other == byte, "{at} {}", char::from(other));
            }
        }
        for cut in 0..token.len() {
            let taken = Token::read(&token[..cut]).is_ok_and(|one| one.verify(&keys, &[algorithm]).is_ok());
            assert!(!taken, "{cut}");
        }
    }
}

#[test]
fn the_signatures_of_rfc_7520_and_rfc_8037_verify() {
    for (token, key, algorithm) in [
        (BILBO, json!({"kty":"RSA","n":BILBO_N,"e":"AQAB","use":"sig"}), Algorithm::Rs256),
        (ED, json!({"kty":"OKP","crv":"Ed25519","x":ED_X}), Algorithm::EdDsa),
    ] {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let keys = set(&key);
        let [material] = keys.candidates(None, algorithm).unwrap()[..] else { panic!("one key") };
        assert!(algorithm.verifies(material, signed.as_bytes(), &signature));
        assert!(!algorithm.verifies(material, &signed.as_bytes()[1..], &signature));
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            assert!(!other.verifies(material, signed.as_bytes(), &signature), "{other}");
        }
        signature[7] ^= 1;
        assert!(!algorithm.verifies(material, signed.as_bytes(), &signature));
        // What is signed is no JSON object, so it is no token for us.
        assert!(Token::read(token).is_err());
    }
}
