//! People link their accounts: relay, agent and stand-in as processes of their own, the calls through the relay, the
//! pages over the agent's own HTTPS.

mod browser;
mod driver;
mod pages;

use bytes::Bytes;
use http::{Method, Request, header};
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::free_port;
use crate::support::jira::Jira;
use crate::support::pki::write_private;
use crate::support::process::text;
use crate::support::world::{Running, World, host};

/// The header that names the person.
const PERSON: &str = "teams:29:1abc";

/// A site where people may link.
struct Site {
    running: Running,
    jira: Jira,
    /// Where the pages are.
    pages_port: u16,
}

impl Site {
    async fn start() -> Self {
        let (pages_port, jira_port) = (free_port(), free_port());
        let redirect = format!("https://localhost:{pages_port}/link/callback");
        let client = format!("id=outhaul,secret=s3cret,scope=READ+WRITE,redirect={redirect}");
        // Another site than that of the pages, as browsers see it.
        let base = format!("http://jira.localhost:{jira_port}");
        let listen = format!("127.0.0.1:{jira_port}");
        let further = ["--listen", &listen, "--oauth-client", &client, "--pat", "bob=pat-bob"];
        let jira = Jira::start_as(&base, 1, &further).await;
        let world = World::new(&jira.nodes[0]);
        let (chain, key) = world.authority.issue("pages", &["localhost"]);
        let secret = world.path().join("oauth");
        write_private(&secret, "s3cret\n");
        world.edit_agent("https://jira.example/", &base);
        world.edit_agent(
            "[service.reader]",
            &format!(
                "[upstream.jira.oauth]\nclient-id = \"outhaul\"\nclient-secret = {{ file = \"{secret}\" }}\n\
                 [pages]\nlisten = \"127.0.0.1:{pages_port}\"\nurl = \"https://localhost:{pages_port}\"\n\
                 certificate = \"{chain}\"\nprivate-key = \"{key}\"\naccept-relay-trust = true\n\
                 [caller.bot]\nact-as = [\"teams\"]\n[service.reader]",
                secret = text(&secret),
                chain = text(&chain),
                key = text(&key),
            ),
        );
        world.edit_agent(
            "[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
            "[[policy.rule]]\nallow = \"GET /rest/api/2/myself\"\nwhy = \"Who is it\"\nas = \"user\"\n\
             accept-relay-trust = true\n\n[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
        );
        Self { running: Running::start(world).await, jira, pages_port }
    }

    /// A call of the bot's for the person.
    async fn call(&self, method: Method, path: &str, body: &Value) -> Answer {
        let request = Request::builder().method(method).uri(path).header("outhaul-act-as", PERSON);
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body).unwrap();
        self.running.client.call(&host(), request).await.unwrap()
    }

    /// The address that the bot gives to the person.
    async fn begin(&self) -> String {
        let wish = json!({ "upstream": "jira", "display_name": "Alice Example" });
        let answer = self.call(Method::POST, "/link/start", &wish).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let document = answer.json();
        assert!(document["expires"].as_u64().is_some(), "{document}");
        document["url"].as_str().unwrap().to_owned()
    }

    async fn finish(&self, code: &str) -> Answer {
        self.call(Method::POST, "/link/finish", &json!({ "code": code })).await
    }

    /// Who the person's calls are made as, or the code of the refusal.
    async fn whoami(&self) -> Result<String, String> {
        let answer = self.call(Method::GET, "/jira/rest/api/2/myself", &Value::Null).await;
        match answer.problem() {
            Some(code) => Err(code.to_owned()),
            None => Ok(answer.json()["name"].as_str().unwrap().to_owned()),
        }
    }

    /// Kills the agent as a crash would, and starts it again.
    async fn kill(&mut self) {
        self.running.agent.kill();
        self.running.agent = self.running.world.start_agent();
        self.running.agent.line("connected to the relay").await;
    }

    /// A client of the pages' own.
    fn pages(&self) -> Client {
        Client::new(&self.running.world.authority.file, self.pages_port)
    }
}
