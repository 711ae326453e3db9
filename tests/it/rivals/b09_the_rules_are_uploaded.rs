//! B9: the agent uploads its whole rule file, and the server shows it. Ours: rules, accounts and addresses of the
//! site stay at the site; neither the relay's pages nor its files nor its log know them.

use crate::support::client::plain_get;
use crate::support::door::Version;
use crate::support::odd_site::OddSite;
use crate::support::odd_upstream::wire;

#[tokio::test]
async fn the_relay_knows_nothing_of_the_sites_rules() {
    let site = OddSite::start_with(|world| {
        world.edit_agent("why = \"Reading\"", "why = \"quokka reasons\"");
        world.edit_agent("POST /rest/api/2/issue/*/comment", "POST /rest/api/2/wombat/*/comment");
    })
    .await;
    for path in ["x?length=10", "none"] {
        site.get(Version::Two, path).await.unwrap();
    }
    let world = &site.running.world;
    let address = site.odd.address.to_string();
    let secret = ["quokka", "wombat", "pat-reader", "reader.pat", "jira.example", &address, &site.door.key];
    let clean = |what: &str, text: &[u8]| {
        for word in secret {
            assert!(wire::find(text, word.as_bytes()).is_none(), "{what} holds {word}");
        }
    };
    for page in ["/agents", "/metrics", "/health", "/ready"] {
        let text = plain_get(world.operator_port, page).await;
        assert!(text.starts_with("HTTP/1.1 200"), "{page}: {text}");
        clean(page, text.as_bytes());
    }
    clean("the list of agents", world.relay(&["agents", "--json"]).await.out.as_bytes());
    clean("the log", site.running.relay.log().as_bytes());
    let mut files = 0;
    for file in std::fs::read_dir(world.path().join("relay-state")).unwrap() {
        let file = file.unwrap().path();
        clean(&file.display().to_string(), &std::fs::read(&file).unwrap_or_default());
        files += 1;
    }
    assert!(files > 0);
}
