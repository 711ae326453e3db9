//! Calls for a person, `Outhaul-Act-As`: whom a relay in the middle can make of whom.

use super::site::LiarSite;
use super::wire::Heard;
use crate::support::odd_upstream::Step;
use crate::support::world::World;

/// A rule as the person; `more` are further keys of it.
fn as_user(world: &World, more: &str) {
    world.edit_agent(
        "[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
        &format!(
            "[caller.bot]\nact-as = [\"teams\"]\n\n[[policy.rule]]\nallow = \"GET /rest/api/2/odd/**\"\n\
             why = \"As people\"\nas = \"user\"\n{more}\n\n[[policy.rule]]\nallow = \"GET /rest/api/2/**\""
        ),
    );
}

pub(super) async fn link(site: &LiarSite, name: &str) {
    let account = format!(
        "{{\"key\":\"KEY-{name}\",\"name\":\"{name}\",\"displayName\":\"{name}\",\"emailAddress\":\"\",\"active\":true}}"
    );
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-AUSERNAME: {name}\r\nContent-Length: {}\r\n\r\n{account}",
        account.len()
    );
    site.odd.on("myself", [Step::say(&answer)]);
    let person = format!("teams:{name}");
    let linked = site.world.agent_with_input(&["link", "create", &person], &format!("pat-{name}\n")).await;
    assert_eq!(linked.code, 0, "{linked:?}");
    site.odd.forget();
}

async fn ask_as(site: &mut LiarSite, person: &str) -> Heard {
    let head = site.head("GET", "mine").with("outhaul-act-as", person);
    site.ask(&head, b"").await
}

/// A rule for people takes no bearer's word for the person: whatever act-as a relay writes, the call is refused.
#[tokio::test]
async fn a_relay_acts_as_nobody_without_accept_relay_trust() {
    let mut site = LiarSite::start_with(|world| as_user(world, "")).await;
    link(&site, "alice").await;
    for person in ["teams:alice", "teams:mallory", "other:alice", "teams:"] {
        let reply = ask_as(&mut site, person).await;
        assert!(
            matches!(reply.problem(), Some("trust-required" | "act-as-refused" | "bad-request")),
            "{person}: {reply:?}"
        );
    }
    assert_eq!(ask_as(&mut site, "teams:alice").await.problem(), Some("trust-required"));
    assert!(site.arrived().is_empty(), "{:?}", site.arrived());
}

/// Control, and what `accept-relay-trust` costs: a relay swaps act-as and acts as any linked person of the caller's
/// providers, and as nobody else.
#[tokio::test]
async fn a_relay_swaps_act_as_among_linked_people_with_accept_relay_trust() {
    let mut site = LiarSite::start_with(|world| as_user(world, "accept-relay-trust = true")).await;
    link(&site, "alice").await;
    link(&site, "bob").await;
    for name in ["alice", "bob"] {
        let answer = format!("HTTP/1.1 200 OK\r\nX-AUSERNAME: {name}\r\nContent-Length: 0\r\n\r\n");
        site.odd.on("mine", [Step::say(&answer)]);
        let reply = ask_as(&mut site, &format!("teams:{name}")).await;
        assert_eq!(reply.status, Some(200), "{reply:?}");
    }
    let as_whom: Vec<_> = site
        .arrived()
        .iter()
        .map(|call| call.headers["authorization"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(as_whom, ["Bearer pat-alice", "Bearer pat-bob"]);
    // Nobody's account instead, and no other provider's people.
    assert_eq!(ask_as(&mut site, "teams:carol").await.problem(), Some("link-required"));
    assert_eq!(ask_as(&mut site, "scim:alice").await.problem(), Some("act-as-refused"));
    let twice =
        site.head("GET", "mine").with("outhaul-act-as", "teams:alice").with("outhaul-act-as", "teams:bob");
    assert_eq!(site.ask(&twice, b"").await.problem(), Some("bad-request"));
    let nobody = site.get("mine").await;
    assert_eq!(nobody.problem(), Some("act-as-required"), "{nobody:?}");
    assert_eq!(site.arrived().len(), 2);
}
