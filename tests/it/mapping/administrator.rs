//! The administrator's `link` commands, with all processes running and calls through the relay.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};

use crate::support::jira::Jira;
use crate::support::world::{Running, World, host};

const COMMENTS: &str = "/jira/rest/api/2/issue/DEMO-1/comment";

async fn site(jira: &Jira) -> Running {
    let world = World::new("NODES");
    world.edit_agent("\"NODES\"", &jira.list());
    world.edit_agent(
        "why = \"Commenting\"\nas = { service = \"reader\" }",
        "why = \"Commenting\"\nas = \"user\"\naccept-relay-trust = true\n\n[caller.bot]\nact-as = [\"t\"]",
    );
    world.edit_agent("user = \"reader\"", "user = \"svc-outhaul\"");
    Running::start(world).await
}

async fn comment(site: &Running, person: &str) -> (StatusCode, String) {
    let request = Request::builder()
        .method(Method::POST)
        .uri(COMMENTS)
        .header("outhaul-act-as", person)
        .header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Bytes::from_static(br#"{"body":"hello"}"#)).unwrap();
    let answer = site.client.call(&host(), request).await.unwrap();
    let said = match answer.problem() {
        Some(code) => code.to_owned(),
        None => answer.json()["author"]["name"].as_str().unwrap().to_owned(),
    };
    (answer.status, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_linked_listed_and_removed() {
    let jira = Jira::start(1, &["--pat", "alice=pat-alice", "--pat", "bob=pat-bob"]).await;
    let site = site(&jira).await;
    let world = &site.world;
    assert_eq!(comment(&site, "t:alice").await, (StatusCode::FORBIDDEN, "link-required".to_owned()));

    let wrong = world.agent_with_input(&["link", "create", "t:alice"], "no-such-token\n").await;
    assert_eq!(wrong.code, 65, "{wrong:?}");
    assert!(wrong.err.contains("does not take this credential"), "{wrong:?}");
    assert_eq!(world.agent_with_input(&["link", "create", "alice"], "pat-alice\n").await.code, 64);

    let made = world.agent_with_input(&["link", "create", "t:alice"], "pat-alice\n").await;
    assert_eq!((made.code, made.out.trim()), (0, "t:alice is alice (Alice Archer) at jira now."), "{made:?}");
    assert_eq!(comment(&site, "t:alice").await, (StatusCode::CREATED, "alice".to_owned()));
    assert_eq!(comment(&site, "t:bob").await, (StatusCode::FORBIDDEN, "link-required".to_owned()));
    assert_eq!(comment(&site, "x:alice").await, (StatusCode::FORBIDDEN, "act-as-refused".to_owned()));

    // One account is one person's, unless said otherwise.
    let taken = world.agent_with_input(&["link", "create", "t:eve"], "pat-alice\n").await;
    assert_eq!(taken.code, 73, "{taken:?}");
    let shared = world.agent_with_input(&["link", "create", "t:eve", "--allow-shared"], "pat-alice\n").await;
    assert_eq!(shared.code, 0, "{shared:?}");

    let list = world.agent(&["link", "list"]).await;
    assert!(list.out.contains("t:alice") && list.out.contains("active") && !list.out.contains("pat-alice"));
    let removed = world.agent(&["link", "remove", "t:alice", "--upstream", "jira"]).await;
    assert_eq!(removed.code, 0, "{removed:?}");
    assert_eq!(comment(&site, "t:alice").await.1, "link-required");
    assert_eq!(comment(&site, "t:eve").await, (StatusCode::CREATED, "alice".to_owned()));
    assert_eq!(world.agent(&["link", "remove", "t:alice"]).await.code, 65);
    assert_eq!(world.agent(&["link", "remove", "t:eve", "--upstream", "wiki"]).await.code, 65);
    assert!(!site.agent.log().contains("pat-alice"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_out_and_come_in_without_credentials() {
    let jira =
        Jira::start(1, &["--pat", "alice=pat-alice", "--pat", "bob=pat-bob", "--pat", "carol=pat-carol"])
            .await;
    let site = site(&jira).await;
    let world = &site.world;
    let made = world.agent_with_input(&["link", "create", "t:alice"], "pat-alice\n").await;
    assert_eq!(made.code, 0, "{made:?}");
    let list = world.agent(&["link", "export"]).await;
    assert_eq!(
        list.out,
        "provider,subject,upstream,user_key,user_name,display_name,state,reason\r\n\
         t,alice,jira,JIRAUSER0,alice,Alice Archer,active,\r\n"
            .replace("JIRAUSER0", "alice")
    );
    let fresh = format!("{}t,bob m,jira,JIRAUSER10102,bob,\"Baker, Bob\",active,\r\n", list.out);
    let file = world.path().join("people.csv");
    std::fs::write(&file, &fresh).unwrap();
    let file = file.to_str().unwrap();
    let taken = world.agent(&["link", "import", file, "--json"]).await.json();
    assert_eq!((taken["imported"].as_u64(), taken["already_there"].as_u64()), (Some(1), Some(1)));
    assert_eq!(comment(&site, "t:bob%20m").await, (StatusCode::FORBIDDEN, "needs-reauth".to_owned()));
    assert_eq!(comment(&site, "t:alice").await, (StatusCode::CREATED, "alice".to_owned()));
    let other = world.agent_with_input(&["link", "create", "t:bob%20m"], "pat-carol\n").await;
    assert!(other.code == 73 && other.err.contains("log in to Jira as bob"), "{other:?}");
    let made = world.agent_with_input(&["link", "create", "t:bob%20m"], "pat-bob\n").await;
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(comment(&site, "t:bob%20m").await, (StatusCode::CREATED, "bob".to_owned()));

    let wrong =
        world.agent_with_input(&["link", "import", "-"], &format!("{fresh}t,c,jira,,c,C,,\r\n")).await;
    assert_eq!(wrong.code, 65, "{wrong:?}");
    assert!(wrong.err.contains("line 4"), "{wrong:?}");
    let taken =
        world.agent_with_input(&["link", "import", "-"], &format!("{fresh}t,c,jira,alice,c,C,,\r\n")).await;
    assert_eq!(taken.code, 65, "{taken:?}");
    assert!(taken.err.contains("line 4") && taken.err.contains("t:alice"), "{taken:?}");
}
