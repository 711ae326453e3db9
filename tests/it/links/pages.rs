//! The pages by hand: every step as a browser sends it.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde_json::json;

use super::Site;
use crate::support::client::Answer;

/// A browser of the pages, without a screen.
#[derive(Default)]
struct Person {
    cookie: String,
}

impl Person {
    async fn send(&mut self, site: &Site, method: Method, path: &str, form: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = Request::builder().method(method).uri(path);
        if !form.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if !self.cookie.is_empty() {
            request = request.header(header::COOKIE, &self.cookie);
        }
        let request = request.body(Bytes::from(body)).unwrap();
        let answer = site.pages().call("localhost", request).await.unwrap();
        if let Some(set) = answer.headers.get(header::SET_COOKIE) {
            set.to_str().unwrap().split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer
    }

    /// The first page, and one of its buttons.
    async fn choose(&mut self, site: &Site, url: &str, step: &[(&str, &str)]) -> Answer {
        let path = path_of(url);
        let page = self.send(site, Method::GET, path, &[]).await;
        assert_eq!(page.status, 200, "{page:?}");
        let form = field(&page);
        let steps: Vec<_> = [("form", form.as_str())].into_iter().chain(step.iter().copied()).collect();
        self.send(site, Method::POST, path, &steps).await
    }

    /// Consents at the application; gives the address that it sends the browser back to.
    async fn consent(&mut self, site: &Site, url: &str) -> String {
        let page = self.choose(site, url, &[("step", "consent")]).await;
        let authorize = between(&page, "href=\"http://jira", "\"").replace("&#38;", "&");
        let order = json!({ "user": "alice", "authorize": format!("http://jira{authorize}") });
        let consent = site.jira.ask(Method::POST, "/oauth/consent", &order.to_string()).await;
        path_of(consent["location"].as_str().unwrap()).to_owned()
    }

    /// Comes back from there; gives the address of the attempt.
    async fn come_back(&mut self, site: &Site, back: &str) -> String {
        place(&self.send(site, Method::GET, back, &[]).await)
    }

    /// Says yes; gives the code.
    async fn say_yes(&mut self, site: &Site, place: &str) -> String {
        let page = self.send(site, Method::GET, place, &[]).await;
        let page = self.send(site, Method::POST, place, &[("form", &field(&page)), ("step", "yes")]).await;
        between(&page, "aria-hidden=\"true\">", "<")
    }
}

fn place(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    answer.headers[header::LOCATION].to_str().unwrap().to_owned()
}

fn path_of(url: &str) -> &str {
    let from = url.find("/link/").unwrap();
    &url[from..]
}

fn field(page: &Answer) -> String {
    between(page, "name=\"form\" value=\"", "\"")
}

fn between(page: &Answer, before: &str, after: &str) -> String {
    let text = std::str::from_utf8(&page.body).unwrap();
    let from = text.find(before).unwrap_or_else(|| panic!("{before} in {text}")) + before.len();
    text[from..].split(after).next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_links_by_consent_and_by_token_and_calls_are_theirs() {
    let site = Site::start().await;
    assert_eq!(site.whoami().await, Err("link-required".to_owned()));
    let mut alice = Person::default();

    let back = alice.consent(&site, &site.begin().await).await;
    let attempt = alice.come_back(&site, &back).await;
    let code = alice.say_yes(&site, &attempt).await;
    assert_eq!(site.whoami().await, Err("link-required".to_owned()), "the code is not back yet");
    let wrong = site.finish("AAAA-AAAA").await;
    assert_eq!((wrong.status.as_u16(), wrong.problem()), (403, Some("link-code-wrong")));
    assert_eq!(wrong.json()["tries_left"], 4);
    let finished = site.finish(&code).await;
    assert_eq!(finished.status, 200, "{finished:?}");
    assert_eq!(finished.json()["account"]["name"], "alice");
    assert_eq!(site.whoami().await.unwrap(), "alice");
    assert_eq!(site.finish(&code).await.problem(), Some("link-not-open"));

    // The same person has another account from now on.
    let token = [("step", "paste"), ("token", "pat-bob")];
    let attempt = place(&alice.choose(&site, &site.begin().await, &token).await);
    let code = alice.say_yes(&site, &attempt).await;
    assert_eq!(site.finish(&code).await.json()["account"]["name"], "bob");
    assert_eq!(site.whoami().await.unwrap(), "bob");

    let world = &site.running.world;
    let audit = world.agent(&["audit", "list", "--json"]).await;
    for event in ["link-started", "link-proved", "link-refused", "link-created"] {
        assert!(audit.out.contains(&format!("\"{event}\"")), "{event} in {}", audit.out);
    }
    let log = site.running.agent.log();
    for secret in ["pat-bob", "s3cret", code.as_str(), alice.cookie.split('=').nth(1).unwrap()] {
        assert!(!audit.out.contains(secret) && !log.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_ask_for_their_people_only_and_pages_have_one_host() {
    let site = Site::start().await;
    let client = &site.running.client;
    let start = |person: Option<&str>, body: &'static str| {
        let mut request = Request::post("/link/start").header(header::CONTENT_TYPE, "application/json");
        if let Some(person) = person {
            request = request.header("outhaul-act-as", person);
        }
        request.body(Bytes::from_static(body.as_bytes())).unwrap()
    };
    let host = crate::support::world::host();
    for (person, body, problem) in [
        (None, "{}", "act-as-required"),
        (Some("scim:x"), "{}", "act-as-refused"),
        (Some("teams:x"), "", "bad-request"),
        (Some("teams:x"), "{\"upstream\":\"wiki\"}", "not-found"),
        (Some("teams:x"), "{\"code\":\"x\"}", "bad-request"),
    ] {
        let answer = client.call(&host, start(person, body)).await.unwrap();
        assert_eq!(answer.problem(), Some(problem), "{person:?} {body}: {answer:?}");
    }
    // One application, so that it need not be named.
    assert_eq!(client.call(&host, start(Some("teams:x"), "{}")).await.unwrap().status, 201);
    let nobody = site.running.world.client();
    let answer = nobody.call(&host, start(Some("teams:x"), "{}")).await.unwrap();
    assert_eq!(answer.problem(), Some("caller-unknown"));
    let got = client.get(&host, "/link/start").await.unwrap();
    assert_eq!(got.problem(), Some("method-refused"));

    // No page comes through the relay.
    let url = site.begin().await;
    let page = client.get(&host, path_of(&url)).await.unwrap();
    assert_eq!(page.problem(), Some("not-found"));
    // And none for another host.
    let request = Request::get("/style.css").header(header::HOST, "evil.example").body(Bytes::new()).unwrap();
    let page = site.pages().call("localhost", request).await.unwrap();
    assert_eq!(page.status, StatusCode::MISDIRECTED_REQUEST);
    // What is too large is cut off.
    let large = Request::post(path_of(&url)).body(Bytes::from(vec![b'x'; 100 * 1024])).unwrap();
    let answer = site.pages().call("localhost", large).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == StatusCode::FORBIDDEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_between_the_steps_goes_on_where_it_was() {
    let mut site = Site::start().await;
    let mut alice = Person::default();
    let url = site.begin().await;
    site.kill().await;
    let back = alice.consent(&site, &url).await;
    site.kill().await;
    let attempt = alice.come_back(&site, &back).await;
    site.kill().await;
    let code = alice.say_yes(&site, &attempt).await;
    site.kill().await;
    assert_eq!(site.finish("AAAA-AAAA").await.json()["tries_left"], 4);
    site.kill().await;
    assert_eq!(site.finish("AAAA-AAAA").await.json()["tries_left"], 3, "tries outlive it too");
    assert_eq!(site.finish(&code).await.status, 200);
    site.kill().await;
    assert_eq!(site.whoami().await.unwrap(), "alice");
    assert_eq!(site.finish(&code).await.problem(), Some("link-not-open"), "no replay after it");
    let verified = site.running.world.agent(&["store", "verify"]).await;
    assert_eq!(verified.code, 0, "{verified:?}");
}
