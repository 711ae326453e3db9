//! What is tried with tokens from outside, and that none of it reaches the application.

use http::{StatusCode, header};
use serde_json::{Value, json};

use super::stand::{Signer, Stand, claims, encoded, keys, now};
use super::trust;
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World, host};

const PATH: &str = "/jira/rest/api/2/issue/TEST-1";

#[tokio::test]
async fn a_token_is_as_good_as_a_key_and_what_is_none_reaches_nothing() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let (own, stranger) = (Signer::new("own"), Signer::new("own"));
    let stand = Stand::start(&world.authority, keys(&[&own])).await;
    trust(&world, &stand, "require = [{ claim = \"roles\", contains = \"Call\" }]");
    let site = Running::start(world).await;
    let good = own.token(&json!({ "roles": ["Call"] }));
    let answer = site.client.with_key(&good).get(&host(), PATH).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}\n{}", site.agent.log());
    assert_eq!(upstream.seen().len(), 1);
    let authorization = upstream.seen()[0]["headers"]["authorization"].clone();
    assert!(!authorization.to_string().contains(&good), "the token stays at the agent");

    let role = |changes: Value| {
        let mut changes = changes;
        changes["roles"] = json!(["Call"]);
        changes
    };
    let whole = claims(&role(json!({})));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let unsigned = |head: Value| format!("{}.{}.", encoded(head.to_string()), encoded(whole.to_string()));
    let point = own.jwk();
    let hmac = {
        let head = encoded(json!({ "alg": "HS256", "kid": "own" }).to_string());
        let signed = format!("{head}.{}", encoded(whole.to_string()));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, point.to_string().as_bytes());
        format!("{signed}.{}", encoded(ring::hmac::sign(&key, signed.as_bytes()).as_ref()))
    };
    let own_key = json!({ "alg": "ES256", "kid": "own", "jwk": stranger.jwk() });
    let far_key =
        json!({ "alg": "ES256", "kid": "own", "jku": format!("https://localhost:{}/", stand.port) });
    for (name, token) in [
        ("signed by another under the same name", stranger.token(&role(json!({})))),
        ("with its own key", stranger.with_head(&own_key, &whole)),
        ("with the address of a key", stranger.with_head(&far_key, &whole)),
        ("none", unsigned(json!({ "alg": "none" }))),
        ("None", unsigned(json!({ "alg": "None", "kid": "own" }))),
        ("no signature", unsigned(json!({ "alg": "ES256", "kid": "own" }))),
        ("the public key as a secret", hmac),
        ("another algorithm", own.with_head(&json!({ "alg": "RS256", "kid": "own" }), &whole)),
        ("critical", own.with_head(&json!({ "alg": "ES256", "kid": "own", "crit": ["exp"] }), &whole)),
        (
            "of another kind",
            own.with_head(&json!({ "alg": "ES256", "kid": "own", "typ": "logout+jwt" }), &whole),
        ),
        ("expired", own.token(&role(json!({ "exp": now() - 120 })))),
        ("without an end", own.token(&role(json!({ "exp": null })))),
        ("for later", own.token(&role(json!({ "nbf": now() + 120 })))),
        ("from the future", own.token(&role(json!({ "iat": now() + 120 })))),
        ("for somebody else", own.token(&role(json!({ "aud": "api://other" })))),
        ("for nobody", own.token(&role(json!({ "aud": [] })))),
        ("for a list in a list", own.token(&role(json!({ "aud": [["api://outhaul"]] })))),
        ("of another issuer", own.token(&role(json!({ "iss": "https://evil.example" })))),
        (
            "of an issuer with a slash more",
            own.token(&role(json!({ "iss": format!("{}/", super::stand::ISS) }))),
        ),
        ("without the role", own.token(&json!({}))),
        ("of an unknown program", own.token(&role(json!({ "azp": "2222" })))),
        ("cut", good[..good.len() - 3].to_owned()),
        ("changed", format!("{}.{signature}", signed.replacen('.', ".e", 1))),
        ("padded", format!("{good}=")),
        ("too large", own.token(&role(json!({ "pad": "x".repeat(7000) })))),
    ] {
        let answer = site.client.with_key(&token).get(&host(), PATH).await.unwrap();
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}: {answer:?}");
        assert_eq!(answer.problem(), Some("token-invalid"), "{name}");
        let challenge = answer.headers.get(header::WWW_AUTHENTICATE).unwrap().to_str().unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{name}: {challenge}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(&token[..40]), "{name}");
        assert!(!site.agent.log().contains(&token[..40]), "{name}");
    }
    assert_eq!(upstream.seen().len(), 1, "nothing reached the application");
    assert_eq!(stand.asked(), 1, "nothing of it had the issuer asked");
    // A key of this site still is one.
    assert_eq!(site.client.get(&host(), PATH).await.unwrap().status, StatusCode::OK);

    let status = site.world.status().await;
    let issuer = &status["issuers"][0];
    assert_eq!(
        (&issuer["name"], &issuer["usable"], &issuer["keys"]),
        (&json!("own"), &json!(true), &json!(1))
    );
    assert_eq!(issuer["verified"], 1);
    assert!(issuer["refused"].as_u64().unwrap() > 5, "{issuer}");
    let audit = site.world.agent(&["audit", "list", "--json"]).await;
    let records = audit.json()["records"].as_array().unwrap().clone();
    let record = records.iter().find(|record| record["issuer"] == "own").expect(&audit.out);
    assert_eq!((&record["caller"], &record["event"]), (&json!("bot"), &json!("call")), "{record}");
    assert!(!audit.out.contains(&good[..40]));
}

#[tokio::test]
async fn what_administrators_do_takes_more_than_a_token() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let own = Signer::new("own");
    let stand = Stand::start(&world.authority, keys(&[&own])).await;
    trust(&world, &stand, "");
    let rule = |more: &str| {
        format!(
            "[[policy.rule]]\nallow = \"POST /rest/api/2/user\"\nwhy = \"Users\"\nas = {{ service = \"reader\" }}\n{more}\n\
             [[policy.rule]]\nallow = \"GET"
        )
    };
    world.edit_agent("[[policy.rule]]\nallow = \"GET", &rule(""));
    let checked = world.agent(&["check-config"]).await;
    assert!(checked.out.contains("reach what administrators do"), "{checked:?}");
    let mut site = Running::start(world).await;
    let token = own.token(&json!({}));
    for client in [site.client.with_key(&token), site.client.clone()] {
        let answer =
            client.send(http::Method::POST, &host(), "/jira/rest/api/2/user", &json!({})).await.unwrap();
        assert_eq!(answer.problem(), Some("trust-required"), "{answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("users and their rights"), "{answer:?}");
    }
    assert!(upstream.seen().is_empty());
    let explain = ["policy", "explain", "POST", "/rest/api/2/user", "--caller", "bot"];
    let explained = site.world.agent(&explain).await;
    assert!(
        explained.out.contains("refused") && explained.out.contains("requires signed or pass-through"),
        "{explained:?}"
    );
    let mark = site.agent.mark();
    site.world.edit_agent("why = \"Users\"", "accept-relay-trust = true\nwhy = \"Users\"");
    site.agent.line_after(mark, "configuration read again and in force").await;
    let client = site.client.with_key(&token);
    let answer = client.send(http::Method::POST, &host(), "/jira/rest/api/2/user", &json!({})).await.unwrap();
    assert_eq!(answer.problem(), None, "{answer:?}");
    assert_eq!(upstream.seen().len(), 1);
}
