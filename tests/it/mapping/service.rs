//! A service account of Jira 11, by OAuth client credentials, with all processes running.

use http::{Method, StatusCode};

use crate::support::jira::Jira;
use crate::support::pki::write_private;
use crate::support::world::{Running, World, host};

const CLIENT: &str = "id=robot,secret=s3cret-robot,scope=READ+WRITE,redirect=https://agent.invalid/cb,\
                      service-account=svc-outhaul";
const ISSUE: &str = "/jira/rest/api/2/issue/DEMO-1";

#[tokio::test(flavor = "multi_thread")]
async fn a_service_accounts_token_is_fetched_once_and_anew_when_it_died() {
    let jira = Jira::start(1, &["--profile", "11.3", "--oauth-client", CLIENT]).await;
    let world = World::new("NODES");
    world.edit_agent("\"NODES\"", &jira.list());
    world.edit_agent("user = \"reader\"", "user = \"svc-outhaul\"");
    let secret = world.path().join("robot.secret");
    write_private(&secret, "s3cret-robot\n");
    let pat = format!("pat = {{ file = \"{}/reader.pat\" }}", world.path().to_str().unwrap());
    world.edit_agent(
        &pat,
        &format!(
            "client-credentials = {{ client-id = \"robot\", client-secret = {{ file = \"{}\" }} }}",
            secret.to_str().unwrap()
        ),
    );
    let site = Running::start(world).await;
    let host = host();
    let calls = (0..16).map(|_| site.client.get(&host, ISSUE));
    for answer in futures_util::future::join_all(calls).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.headers["x-ausername"], "svc-outhaul");
    }
    let requests = async || {
        let counters = jira.ask(Method::GET, "/counters", "").await;
        counters["token_requests"]["client_credentials"].as_u64().unwrap()
    };
    assert_eq!(requests().await, 1);
    // Dead before its time: a call that reads is sent again with the next one.
    jira.post("/oauth/users/svc-outhaul/expire").await;
    let answer = site.client.get(&host, ISSUE).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(requests().await, 2);
    // A provider that no longer knows the client.
    let other =
        r#"{"id":"robot","secret":"changed","scope":"WRITE","redirect_uris":["https://agent.invalid/cb"]}"#;
    jira.ask(Method::POST, "/oauth/clients", other).await;
    jira.post("/oauth/users/svc-outhaul/revoke").await;
    let answer = site.client.get(&host, ISSUE).await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.problem(), Some("credential-unavailable"));
    assert!(!site.agent.log().contains("s3cret-robot"));
    let used = site.world.agent(&["audit", "list", "--json", "--event", "secret-used"]).await.json();
    let used = used.to_string();
    for words in ["an access token fetched", "no access token fetched", "asked whose it is"] {
        assert!(used.contains(words), "{words} {used}");
    }
    assert!(used.contains("service:reader") && !used.contains("s3cret-robot"), "{used}");
}
