//! A token that names a person: calls are made as that person, and as nobody else.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::stand::{Signer, Stand, keys};
use super::trust;
use crate::support::client::Answer;
use crate::support::jira::Jira;
use crate::support::world::{Running, World, host};

struct Site {
    running: Running,
    own: Signer,
    _stand: Stand,
    _jira: Jira,
}

impl Site {
    /// Alice is entra:a, bob is entra:b; rules as the person take no relay's word.
    async fn start() -> Self {
        let jira = Jira::start(1, &[]).await;
        let world = World::new("NODES");
        world.edit_agent("\"NODES\"", &jira.list());
        let own = Signer::new("own");
        let stand = Stand::start(&world.authority, keys(&[&own])).await;
        let person = "person = { claim = \"oid\", provider = \"entra\", if = { claim = \"idtyp\", value = \"user\" } }\n\
                      [caller.bot]\nact-as = [\"entra\", \"teams\"]";
        trust(&world, &stand, person);
        world.edit_agent(
            "[[policy.rule]]\nallow = \"GET",
            "[[policy.rule]]\nallow = \"GET /rest/api/2/myself\"\nwhy = \"As themselves\"\nas = \"user\"\n\n\
             [[policy.rule]]\nallow = \"GET",
        );
        let running = Running::start(world).await;
        for (person, user) in [("entra:a", "alice"), ("entra:b", "bob"), ("teams:a", "carol")] {
            let token = jira.fresh_token(user).await;
            let linked =
                running.world.agent_with_input(&["link", "create", person], &format!("{token}\n")).await;
            assert_eq!(linked.code, 0, "{linked:?}");
        }
        Self { running, own, _stand: stand, _jira: jira }
    }

    async fn call(&self, claims: &Value, act_as: &str) -> Answer {
        let token = self.own.token(claims);
        let mut request = Request::get("/jira/rest/api/2/myself");
        if !act_as.is_empty() {
            request = request.header("outhaul-act-as", act_as);
        }
        let request = request.header(header::ACCEPT, "application/json").body(Bytes::new()).unwrap();
        self.running.client.with_key(&token).call(&host(), request).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_in_the_token_is_the_only_one_the_call_is_made_for() {
    let site = Site::start().await;
    let user = |oid: &str| json!({ "idtyp": "user", "oid": oid });
    for (claims, act_as, result) in [
        (user("a"), "", Ok("alice")),
        (user("b"), "", Ok("bob")),
        (user("a"), "entra:a", Ok("alice")),
        // Nobody else, by whatever name.
        (user("a"), "entra:b", Err("act-as-refused")),
        (user("a"), "teams:a", Err("act-as-refused")),
        (user("c"), "", Err("link-required")),
        (json!({ "idtyp": "user", "oid": ["a", "b"] }), "", Err("token-invalid")),
        (json!({ "idtyp": "user", "oid": "" }), "entra:a", Err("token-invalid")),
        // A program's own token: who it is for is then only the caller's word, and that the relay's.
        (json!({ "idtyp": "app", "oid": "a" }), "", Err("trust-required")),
        (json!({ "idtyp": "app", "oid": "a" }), "entra:a", Err("trust-required")),
        (json!({}), "entra:a", Err("trust-required")),
    ] {
        let answer = site.call(&claims, act_as).await;
        match result {
            Ok(name) => {
                assert_eq!(answer.status, StatusCode::OK, "{claims} {act_as}: {answer:?}");
                assert_eq!(answer.json()["name"], name, "{claims} {act_as}");
            }
            Err(code) => assert_eq!(answer.problem(), Some(code), "{claims} {act_as}: {answer:?}"),
        }
    }
    let audit = site.running.world.agent(&["audit", "list", "--json"]).await.json();
    let records = audit["records"].as_array().unwrap();
    let made = records.iter().find(|record| record["jira_user"] == "alice" && record["event"] == "call");
    let made = made.unwrap_or_else(|| panic!("{audit:#}"));
    for (name, value) in [("caller", "bot"), ("issuer", "own"), ("act_as", "entra:a")] {
        assert_eq!(made[name], value, "{made}");
    }
    assert_eq!(made["trust"], Value::Null, "no relay's word was taken");
    // The caller's key alone proves nobody.
    let mut request = Request::get("/jira/rest/api/2/myself").body(Bytes::new()).unwrap();
    request.headers_mut().insert("outhaul-act-as", "entra:a".parse().unwrap());
    let answer = site.running.client.call(&host(), request).await.unwrap();
    assert_eq!(answer.problem(), Some("trust-required"));
}
