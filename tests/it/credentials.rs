//! `credential set|list|test|remove` with the real agent before the stand-in for Jira.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use http::{Method, StatusCode};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::support::client::Answer;
use crate::support::eventually;
use crate::support::jira::Jira;
use crate::support::process::{AGENT, Outcome, text};
use crate::support::world::{Running, World, host};

const MYSELF: &str = "/jira/rest/api/2/myself";
const MARKER: &str = "pat-marker-7Wq";

/// The service `reader` keeps its secret in the store; `filed` reads the same account's from a file.
fn world(jira: &Jira, reader: &str) -> World {
    let world = World::new("NODES");
    let at = text(world.path()).to_owned();
    world.edit_agent("\"NODES\"", &jira.list());
    world.edit_agent(
        &format!("user = \"reader\"\npat = {{ file = \"{at}/reader.pat\" }}"),
        &format!(
            "user = \"svc-outhaul\"\n{reader}\n[service.filed]\nuser = \"svc-outhaul\"\npat = {{ file = \"{at}/reader.pat\" }}\n\
             [log]\nfilter = \"trace\""
        ),
    );
    world.edit_agent(
        "[[policy.rule]]\nallow = \"POST",
        "[[policy.rule]]\nallow = \"GET /rest/api/latest/**\"\nwhy = \"Filed\"\nas = { service = \"filed\" }\n\n\
         [[policy.rule]]\nallow = \"POST",
    );
    world
}

async fn get(site: &Running, path: &str) -> Answer {
    site.client.get(&host(), path).await.unwrap()
}

async fn set(world: &World, secret: &str) -> Outcome {
    let set = world.agent_with_input(&["credential", "set", "reader"], &format!("{secret}\n")).await;
    assert!(!set.out.contains(secret) && !set.err.contains(secret), "{set:?}");
    set
}

async fn test(world: &World) -> (i32, Value) {
    let tested = world.agent(&["credential", "test", "reader", "--json"]).await;
    let document = serde_json::from_str(&tested.out).unwrap_or_else(|error| panic!("{error}: {tested:?}"));
    (tested.code, document)
}

async fn line(world: &World) -> Value {
    let list = world.agent(&["credential", "list", "--json"]).await.json();
    let lines = list.as_array().unwrap();
    lines.iter().find(|line| line["service"] == "reader").unwrap().clone()
}

/// Files below a folder that hold these bytes.
fn holding(folder: &Path, marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, marker));
        } else if std::fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(marker.len()).any(|window| window == marker.as_bytes()))
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_set_tested_rotated_and_removed_while_calls_go_on() {
    let jira = Jira::start(1, &["--pat", &format!("svc-outhaul={MARKER}"), "--pat", "alice=pat-alice"]).await;
    let site = Running::start(world(&jira, "pat = \"stored\"")).await;
    let world = &site.world;

    // One without a secret stops no other.
    assert_eq!(get(&site, MYSELF).await.problem(), Some("credential-missing"));
    assert_eq!(get(&site, "/jira/rest/api/latest/myself").await.status, StatusCode::OK);
    let missing = line(world).await;
    assert!(missing["usable"] == false && missing["place"] == "store", "{missing}");
    assert!(missing["note"].as_str().unwrap().contains("credential set reader"), "{missing}");
    let checked = world.agent(&["check-config"]).await;
    assert!(checked.code == 0 && checked.out.contains("in the store"), "{checked:?}");

    let told = set(world, "pat-reader").await;
    assert!(
        told.code == 0 && told.out.contains("Personal access token for service reader stored"),
        "{told:?}"
    );
    assert_eq!(get(&site, MYSELF).await.json()["name"], "svc-outhaul", "from the next call on");
    let listed = line(world).await;
    assert!(listed["usable"] == true && listed["set"].is_string() && listed["kind"] == "pat", "{listed}");
    let (code, tested) = test(world).await;
    let tested = &tested[0];
    assert_eq!(
        (code, &tested["outcome"], &tested["upstream"]),
        (0, &"works".into(), &"jira".into()),
        "{tested}"
    );
    assert_eq!(
        (&tested["account"]["name"], &tested["account"]["active"]),
        (&"svc-outhaul".into(), &true.into())
    );
    assert!(
        tested["account"]["key"].is_string() && tested["tokens"] == 3 && tested["expires"].is_null(),
        "{tested}"
    );

    // A wrong one is told by its name, and by a test why.
    assert!(set(world, "pat-wrong").await.out.contains("in the place of the one before"));
    jira.post("/switch/invalid-bearer/401").await;
    assert_eq!(get(&site, MYSELF).await.problem(), Some("needs-reauth"));
    let (code, tested) = test(world).await;
    assert!(code == 1 && tested[0]["outcome"] == "refused" && tested[0]["ok"] == false, "{tested}");
    let words = world.agent(&["credential", "test", "reader"]).await;
    assert!(
        words.code == 1
            && words.out.contains("wrong, expired or revoked")
            && words.err.contains("can't be used"),
        "{words:?}"
    );

    // Rotated: what was said of the old one counts no more.
    assert_eq!(set(world, MARKER).await.code, 0);
    assert_eq!(get(&site, MYSELF).await.status, StatusCode::OK);
    assert_eq!(test(world).await.0, 0);

    // Somebody else's.
    assert_eq!(set(world, "pat-alice").await.code, 0);
    assert_eq!(get(&site, MYSELF).await.problem(), Some("identity-mismatch"));
    let (code, tested) = test(world).await;
    assert!(code == 1 && tested[0]["outcome"] == "other-user", "{tested}");
    assert_eq!((&tested[0]["account"]["name"], &tested[0]["user"]), (&"alice".into(), &"svc-outhaul".into()));

    // The trap: a dead token on a page that is open to all.
    assert_eq!(set(world, MARKER).await.code, 0);
    jira.post("/switch/invalid-bearer/anonymous").await;
    jira.post("/tokens/svc-outhaul/revoke").await;
    assert_eq!(get(&site, "/jira/rest/api/2/serverInfo").await.problem(), Some("identity-mismatch"));
    let (code, tested) = test(world).await;
    assert!(code == 1 && tested[0]["ok"] == false && tested[0]["account"].is_null(), "{tested}");

    // A crash loses nothing that was said to be stored.
    let mut site = site;
    site.agent.kill();
    site.agent = site.world.start_agent();
    site.agent.line("connected to the relay").await;
    let world = &site.world;
    assert_eq!(line(world).await["usable"], true);
    for folder in ["agent-state", "relay-state"] {
        assert_eq!(holding(&world.path().join(folder), MARKER), Vec::<String>::new());
    }
    let control = world.path().join("agent-state/control");
    std::fs::write(&control, MARKER).unwrap();
    assert_eq!(holding(&world.path().join("agent-state"), MARKER).len(), 1, "the search finds what is there");
    std::fs::remove_file(control).unwrap();

    let removed = world.agent(&["credential", "remove", "reader"]).await;
    assert!(removed.code == 0 && removed.out.contains("refused from now on"), "{removed:?}");
    assert_eq!(get(&site, MYSELF).await.problem(), Some("credential-missing"));
    let again = world.agent(&["credential", "remove", "reader"]).await;
    assert!(again.code == 65 && again.err.contains("holds no secret"), "{again:?}");
    let audit = world.agent(&["audit", "export"]).await;
    for event in
        ["credential-set", "credential-removed", "tested at jira: works", "tested at jira: other-user"]
    {
        assert!(audit.out.contains(event), "{event} in {audit:?}");
    }
    assert!(!audit.out.contains(MARKER) && audit.out.contains("uid "), "{audit:?}");
    let untestable = world.agent(&["credential", "test", "reader"]).await;
    assert!(untestable.code == 65 && untestable.err.contains("credential set reader"), "{untestable:?}");
    let log = site.agent.log();
    assert!(log.contains("DEBUG") && !log.contains(MARKER), "nothing in the log at trace level");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gives_way_to_the_store_without_a_gap_and_the_end_is_noted() {
    let jira = Jira::start(1, &[]).await;
    let world = world(&jira, "pat = { file = \"/nowhere\" }");
    let at = text(world.path()).to_owned();
    world.edit_agent("/nowhere", &format!("{at}/reader.pat"));
    let site = Running::start(world).await;
    let world = &site.world;
    let told = set(world, "pat-reader").await;
    assert!(told.out.contains("not in use") && told.out.contains("pat = \"stored\""), "{told:?}");
    assert_eq!(line(world).await["place"], format!("file {at}/reader.pat"));
    world.edit_agent(
        &format!("user = \"svc-outhaul\"\npat = {{ file = \"{at}/reader.pat\" }}\n[service.filed]"),
        "user = \"svc-outhaul\"\npat = \"stored\"\n[service.filed]",
    );
    assert_eq!(world.agent(&["reload"]).await.code, 0);
    assert_eq!(line(world).await["place"], "store");
    assert_eq!(get(&site, MYSELF).await.status, StatusCode::OK);

    // A second token that ends soon is shown; which of them is ours nobody knows.
    jira.direct(0, Method::POST, "/rest/pat/latest/tokens", r#"{"name":"short","expirationDuration":5}"#)
        .await;
    let (_, tested) = test(world).await;
    assert_eq!(tested[0]["expiring"][0]["name"], "short", "{tested}");
    assert!(line(world).await["expires"].is_null());
    // The account's only one is ours.
    let tokens = jira.direct(0, Method::GET, "/rest/pat/latest/tokens", "").await.json();
    let mut ids: Vec<u64> =
        tokens.as_array().unwrap().iter().map(|token| token["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    for id in [ids[0], ids[2]] {
        jira.direct(0, Method::DELETE, &format!("/rest/pat/latest/tokens/{id}"), "").await;
    }
    let shown = world.agent(&["credential", "test", "reader"]).await;
    assert!(shown.code == 0 && shown.out.contains("expires  2"), "{shown:?}");
    assert!(line(world).await["expires"].is_string());
    let table = world.agent(&["credential", "list"]).await.out;
    assert!(table.contains("LIES IN") && table.contains("filed") && table.contains("store"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_tried_once_for_each_test() {
    let jira = Jira::start(1, &["--captcha-after", "2", "--switch", "basic=on"]).await;
    let site = Running::start(world(&jira, "basic-password = \"stored\"")).await;
    let world = &site.world;
    assert!(set(world, "svc-outhaul-password").await.out.contains("Password for service"));
    assert_eq!(get(&site, MYSELF).await.status, StatusCode::OK);
    assert_eq!(set(world, "wrong password").await.code, 0, "a password may hold a space");
    for outcome in ["refused", "refused", "captcha"] {
        let (code, tested) = test(world).await;
        assert_eq!((code, &tested[0]["outcome"]), (1, &outcome.into()), "{tested}");
    }
    assert_eq!(set(world, "svc-outhaul-password").await.code, 0);
    let (_, tested) = test(world).await;
    let words = tested[0]["detail"].as_str().unwrap();
    assert!(words.contains("https://jira.example/login.jsp") && words.contains("CAPTCHA"), "{words}");
    jira.post("/captcha/svc-outhaul/clear").await;
    assert_eq!(test(world).await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_the_store_itself_is_changed() {
    let jira = Jira::start(1, &[]).await;
    let mut site = Running::start(world(&jira, "pat = \"stored\"")).await;
    site.agent.kill();
    let world = &site.world;
    assert_eq!(set(world, "pat-reader").await.code, 0);
    assert_eq!(line(world).await["usable"], true);
    assert_eq!(test(world).await.1[0]["outcome"], "works");
    drop(jira);
    let (code, tested) = test(world).await;
    assert!(code == 69 && tested[0]["outcome"] == "unreachable", "{tested}");
    let unknown = world.agent_with_input(&["credential", "set", "raeder"], "x\n").await;
    assert!(unknown.code == 65 && unknown.err.contains("There are: filed, reader"), "{unknown:?}");
    for (input, words) in [
        ("", "nothing was given"),
        ("a b\n", "holds a space"),
        ("a\nb\n", "one line"),
        ("ä\n", "outside ASCII"),
    ] {
        let told = world.agent_with_input(&["credential", "set", "reader"], input).await;
        assert!(told.code != 0 && told.err.contains(words), "{input:?}: {told:?}");
    }
    assert_eq!(line(world).await["usable"], true, "the one before is still there");
    let argument = world.agent(&["credential", "set", "reader", "pat-reader"]).await;
    assert_eq!(argument.code, 64, "never as an argument: {argument:?}");
    let nowhere = world.agent(&["credential", "test", "reader", "--upstream", "wiki"]).await;
    assert!(nowhere.code == 65 && nowhere.err.contains("there are: jira"), "{nowhere:?}");
    site.agent = world.start_agent();
    site.agent.line("connected to the relay").await;
    let removed = world.agent(&["credential", "remove", "reader"]).await;
    assert_eq!(removed.code, 0, "{removed:?}");
    site.agent.kill();
    assert_eq!(line(&site.world).await["usable"], false);
    site.agent = site.world.start_agent();
    site.agent.line("connected to the relay").await;
    let audit = site.world.agent(&["audit", "export"]).await;
    for event in ["credential-set", "tested at jira: unreachable", "credential-removed"] {
        assert!(audit.out.contains(event), "{event} in {audit:?}");
    }
    assert_eq!(site.world.agent(&["audit", "verify"]).await.code, 0);
}

/// What a terminal shows while somebody types into it, and how the command ended.
async fn at_a_terminal(world: &World, keys: &'static [u8]) -> (Option<i32>, String) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    let theirs = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let mut child = Command::new(AGENT)
        .args(["--config", text(&world.agent_config), "credential", "set", "reader"])
        .stdin(Stdio::from(theirs.try_clone().unwrap()))
        .stdout(Stdio::null())
        .stderr(Stdio::from(theirs))
        .spawn()
        .unwrap();
    let mut ours = std::fs::File::from(ours);
    tokio::task::spawn_blocking(move || {
        let mut shown = String::new();
        let mut buffer = [0; 1024];
        // An error is how a terminal tells that nobody is at its other end.
        while let Ok(count) = ours.read(&mut buffer) {
            let before = shown.contains("(not shown): ");
            shown.push_str(&String::from_utf8_lossy(&buffer[..count]));
            if !before && shown.contains("(not shown): ") {
                ours.write_all(keys).unwrap();
            }
        }
        (child.wait().unwrap().code(), shown)
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_the_secret_is_asked_for_and_not_shown() {
    let jira = Jira::start(1, &[]).await;
    let site = Running::start(world(&jira, "pat = \"stored\"")).await;
    let (code, shown) = at_a_terminal(&site.world, b"nonsense\x15pat-readex\x7fr\r").await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("Personal access token of svc-outhaul, for service reader (not shown): "),
        "{shown}"
    );
    assert!(!shown.contains("nonsense") && !shown.contains("pat-read"), "{shown}");
    eventually("it is in use", Duration::from_secs(5), async || {
        get(&site, MYSELF).await.status == StatusCode::OK
    })
    .await;
    let (code, shown) = at_a_terminal(&site.world, b"other\x03").await;
    assert!(code == Some(64) && shown.contains("cancelled"), "{code:?} {shown}");
    assert_eq!(get(&site, MYSELF).await.status, StatusCode::OK, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_tokens_are_fetched_is_listed_and_tested_too() {
    const CLIENT: &str =
        "id=svc,secret=s3cret,scope=READ+WRITE,redirect=https://agent.invalid/cb,service-account=svc-outhaul";
    let jira = Jira::start(1, &["--profile", "11.3", "--oauth-client", CLIENT]).await;
    let secret = |world: &World| text(world.path()).to_owned() + "/client.secret";
    let world = World::new("NODES");
    let at = secret(&world);
    crate::support::pki::write_private(Path::new(&at), "s3cret\n");
    world.edit_agent("\"NODES\"", &jira.list());
    world.edit_agent(
        &format!("user = \"reader\"\npat = {{ file = \"{}/reader.pat\" }}", text(world.path())),
        &format!(
            "user = \"svc-outhaul\"\nclient-credentials = {{ client-id = \"svc\", client-secret = {{ file = \"{at}\" }} }}"
        ),
    );
    let site = Running::start(world).await;
    let listed = line(&site.world).await;
    assert_eq!(
        (&listed["kind"], &listed["user"]),
        (&"client-secret".into(), &"svc-outhaul".into()),
        "{listed}"
    );
    let (code, tested) = test(&site.world).await;
    assert_eq!((code, &tested[0]["account"]["name"]), (0, &"svc-outhaul".into()), "{tested}");
    // One that the provider does not take.
    crate::support::pki::write_private(Path::new(&at), "wrong\n");
    site.world.agent(&["reload"]).await;
    let refused = site.world.agent(&["credential", "test", "reader"]).await;
    assert!(refused.code != 0 && !refused.err.contains("wrong\n"), "{refused:?}");
}
