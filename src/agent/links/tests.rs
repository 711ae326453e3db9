//! The whole flow over the real pages and the real store; only the application is a fake.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tower_service::Service as _;

use super::accounts::{Accounts, Answer};
use super::attempt::{CODE_LIFE, LIFE, MAX_TRIES};
use super::pages::router;
use super::*;
use crate::agent::audit::{Audit, Settings, Signer, Writer};
use crate::agent::mapping::{
    Account, CreateFault, Link, LinkFault, Linkable, MappingRow, MappingState, Pair, ProveFault, Secrets,
};
use crate::agent::store::Store;
use crate::agent::store::tables::links::{LinkKey, LinkRow, LinkStage};
use crate::common::act_as::ActAs;
use crate::common::clock::Clock;
use crate::common::ids::{AgentId, UpstreamName};
use crate::common::problem::Code;
use crate::common::secret::Secret;
use crate::common::tasks::Tasks;
use crate::identity::keys::SigningKey;
use crate::identity::oauth::{Challenge, Verifier};

const HOST: &str = "outhaul.corp.example:8443";

/// An application whose codes and tokens are `USER` and something behind a colon.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Challenges by state.
    challenges: HashMap<String, String>,
    redeemed: Vec<String>,
    created: Vec<(String, String)>,
    refuses_codes: bool,
    taken: bool,
}

impl Fake {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Accounts for Fake {
    fn applications(&self) -> Vec<Linkable> {
        ["jira", "wiki"]
            .map(|name| Linkable {
                upstream: name.parse().unwrap(),
                base_url: format!("https://{name}.corp.example"),
                has_oauth: name == "jira",
            })
            .to_vec()
    }

    fn authorization_url(
        &self,
        upstream: &UpstreamName,
        state: &str,
        challenge: Challenge,
    ) -> Result<String, LinkFault> {
        self.state().challenges.insert(state.to_owned(), challenge.to_string());
        Ok(format!("https://{upstream}.corp.example/authorize?state={state}&code_challenge={challenge}"))
    }

    fn redeem<'a>(
        &'a self,
        _: &'a UpstreamName,
        code: &'a str,
        verifier: &'a Verifier,
    ) -> Answer<'a, Result<Secrets, LinkFault>> {
        Box::pin(async move {
            let mut state = self.state();
            let known = state.challenges.values().any(|known| *known == verifier.challenge().to_string());
            if state.refuses_codes || !known || state.redeemed.contains(&code.to_owned()) {
                return Err(LinkFault::CodeExpired);
            }
            state.redeemed.push(code.to_owned());
            let access = Secret::new(format!("{code}-access-marker"));
            let refresh = Some(Secret::new("refresh-marker".to_owned()));
            Ok(Secrets::OAuth(Pair { access, refresh, expires: u64::MAX, scope: None }))
        })
    }

    fn prove<'a>(
        &'a self,
        _: &'a UpstreamName,
        secrets: &'a Secrets,
    ) -> Answer<'a, Result<Account, ProveFault>> {
        let (Secrets::Pat(token) | Secrets::OAuth(Pair { access: token, .. })) = secrets;
        Box::pin(async move {
            let (name, _) = token.expose().split_once(':').ok_or(ProveFault::Refused)?;
            Ok(Account { key: format!("K-{name}"), name: name.to_owned(), display_name: format!("<{name}>") })
        })
    }

    fn create(&self, link: Link) -> Answer<'_, Result<MappingRow, CreateFault>> {
        let mut state = self.state();
        let (Secrets::Pat(token) | Secrets::OAuth(Pair { access: token, .. })) = &link.secrets;
        let result = if state.taken {
            let other = ActAs::parse("teams:other").unwrap();
            Err(CreateFault::Taken { name: link.account.name.clone(), other })
        } else {
            state.created.push((link.act_as.to_string(), token.expose().clone()));
            let Link { upstream, act_as, account, allow_shared: shared, .. } = link;
            let (reason, kind, expires, scope) = (None, None, None, None);
            let (created, changed) = (0, 0);
            let state = MappingState::Active;
            Ok(MappingRow {
                upstream,
                act_as,
                account,
                state,
                reason,
                shared,
                kind,
                expires,
                scope,
                created,
                changed,
            })
        };
        Box::pin(async move { result })
    }
}

/// A desk, its pages and its application.
struct Bench {
    desk: LinkDesk,
    pages: Router,
    fake: Fake,
    clock: Clock,
    tasks: Tasks,
}

impl Bench {
    async fn open(store: Store, fake: Fake, clock: Clock) -> Self {
        let config = Config {
            listen: "127.0.0.1:1".parse().unwrap(),
            url: format!("https://{HOST}").parse().unwrap(),
            tls: None,
            accept_relay_trust: false,
        };
        let tasks = Tasks::new();
        let audit = Audit::open(store.clone(), clock.clone(), Settings::default()).await.unwrap();
        let (key, _) = SigningKey::generate().unwrap();
        Writer::start(&audit, Signer { agent: AgentId::generate(), key }, &tasks);
        let desk =
            LinkDesk::open(store, audit, Box::new(fake.clone()), Some(config.clone()), clock.clone(), &tasks);
        Self { pages: router(desk.clone(), &config), desk, fake, clock, tasks }
    }

    async fn new() -> (tempfile::TempDir, Self) {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self::open(Store::for_tests(folder.path()), Fake::default(), Clock::manual()).await;
        (folder, bench)
    }

    fn wish(caller: &str, person: &str) -> Wish {
        Wish {
            caller: caller.parse().unwrap(),
            act_as: ActAs::parse(person).unwrap(),
            upstream: Some("jira".parse().unwrap()),
            display_name: Some("Alice \u{202e}<b>".to_owned()),
            is_proved: true,
        }
    }

    /// The path that a person opens.
    async fn start(&self) -> String {
        let started = self.desk.start(Self::wish("bot", "teams:29:1abc")).await.unwrap();
        started.url.strip_prefix(&format!("https://{HOST}")).unwrap().to_owned()
    }

    async fn finish(&self, caller: &str, code: &str) -> Result<Finished, Code> {
        let person = ActAs::parse("teams:29:1abc").unwrap();
        let finished = self.desk.finish(&caller.parse().unwrap(), &person, code, true).await;
        finished.map_err(|fault| fault.problem().code)
    }
}

/// A browser that keeps its cookie.
#[derive(Default)]
struct Browser {
    cookie: Option<String>,
}

/// A page as a browser has it.
struct Page {
    status: StatusCode,
    text: String,
    location: Option<String>,
    /// The cookie was given, or given again.
    cookie: bool,
}

impl Page {
    /// The value of the hidden field.
    fn form(&self) -> String {
        between(&self.text, "name=\"form\" value=\"", "\"").to_owned()
    }

    fn code(&self) -> String {
        between(&self.text, "<span aria-hidden=\"true\">", "</span>").to_owned()
    }

    /// The `state` that goes to the application.
    fn state(&self) -> String {
        between(&self.text, "authorize?state=", "&").to_owned()
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let from = text.find(before).unwrap_or_else(|| panic!("{before} in {text}")) + before.len();
    let rest = &text[from..];
    &rest[..rest.find(after).unwrap()]
}

impl Browser {
    async fn send(&mut self, bench: &Bench, request: http::request::Builder, body: String) -> Page {
        let mut request = request.header(header::HOST, HOST);
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let response = bench.pages.clone().call(request.body(Body::from(body)).unwrap()).await.unwrap();
        is_guarded(&response);
        let cookie = response.headers().contains_key(header::SET_COOKIE);
        if let Some(set) = response.headers().get(header::SET_COOKIE) {
            self.cookie = Some(set.to_str().unwrap().split(';').next().unwrap().to_owned());
        }
        let location =
            response.headers().get(header::LOCATION).map(|value| value.to_str().unwrap().to_owned());
        let status = response.status();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        Page { status, text: String::from_utf8(text.to_vec()).unwrap(), location, cookie }
    }

    async fn get(&mut self, bench: &Bench, path: &str) -> Page {
        self.send(bench, Request::get(path), String::new()).await
    }

    async fn post(&mut self, bench: &Bench, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .header(header::ORIGIN, "null");
        self.send(bench, request, body).await
    }

    /// From the first page to where the application sends the browser back; gives that address.
    async fn consent(&mut self, bench: &Bench, path: &str, code: &str) -> String {
        let page = self.get(bench, path).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let page = self.post(bench, path, &[("form", &page.form()), ("step", "consent")]).await;
        assert_eq!(page.status, 200, "{}", page.text);
        format!("/link/callback?code={code}&state={}", page.state())
    }

    /// To the page with the code.
    async fn confirm(&mut self, bench: &Bench, path: &str, code: &str) -> (String, Page) {
        let back = self.consent(bench, path, code).await;
        let page = self.get(bench, &back).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        let place = page.location.unwrap();
        let page = self.get(bench, &place).await;
        assert_eq!(page.status, 200);
        let page = self.post(bench, &place, &[("form", &page.form()), ("step", "yes")]).await;
        assert_eq!(page.status, 200, "{}", page.text);
        (place, page)
    }
}

/// What every answer has.
fn is_guarded(response: &Response<Body>) {
    let header = |name: &str| response.headers().get(name).map_or("", |value| value.to_str().unwrap());
    assert!(header("content-security-policy").starts_with("default-src 'none'; style-src 'self';"));
    assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("strict-transport-security"), "max-age=31536000");
}

#[tokio::test]
async fn the_whole_way_makes_one_mapping() {
    let (_folder, bench) = Bench::new().await;
    let path = bench.start().await;
    let mut browser = Browser::default();
    let first = browser.get(&bench, &path).await;
    for shown in ["the program <strong>bot</strong>", "Alice", "teams:29:1abc", "https://jira.corp.example"] {
        assert!(first.text.contains(shown), "{shown} in {}", first.text);
    }
    assert!(!first.text.contains("<b>") && !first.text.contains('\u{202e}'), "what a caller says is text");
    assert!(!first.text.contains("<script") && !first.text.contains("style="));

    let back = browser.consent(&bench, &path, "alice:1").await;
    let place = browser.get(&bench, &back).await.location.unwrap();
    let page = browser.get(&bench, &place).await;
    assert!(page.text.contains("&#60;alice&#62;") && page.text.contains("teams:29:1abc"), "{}", page.text);
    assert_eq!(bench.finish("bot", "AAAA-AAAA").await.unwrap_err(), Code::LinkNotConfirmed);
    let page = browser.post(&bench, &place, &[("form", &page.form()), ("step", "yes")]).await;
    assert!(bench.fake.state().created.is_empty(), "nothing is linked before the code came back");

    let finished = bench.finish("bot", &page.code().to_lowercase()).await.unwrap();
    assert_eq!(finished.account.name, "alice");
    let created = bench.fake.state().created.clone();
    assert_eq!(created, [("teams:29:1abc".to_owned(), "alice:1-access-marker".to_owned())]);

    // Replays of every step.
    assert_eq!(bench.finish("bot", &page.code()).await.unwrap_err(), Code::LinkNotOpen);
    assert_eq!(browser.get(&bench, &path).await.status, StatusCode::GONE);
    assert_eq!(browser.get(&bench, &back).await.status, StatusCode::NOT_FOUND);
    let again = browser.post(&bench, &place, &[("form", &page.form()), ("step", "yes")]).await;
    assert_eq!(again.status, StatusCode::GONE);
    assert_eq!(bench.fake.state().created.len(), 1);
    bench.tasks.cancel();
}

#[tokio::test]
async fn a_pasted_token_goes_the_same_way() {
    let (_folder, bench) = Bench::new().await;
    let path = bench.start().await;
    let mut browser = Browser::default();
    let form = browser.get(&bench, &path).await.form();
    for (token, status) in [("wrong", 422), ("two words:", 422), ("", 422)] {
        let page = browser.post(&bench, &path, &[("form", &form), ("step", "paste"), ("token", token)]).await;
        assert_eq!(page.status, status, "{token}: {}", page.text);
        let again = between(&page.text, "class=\"button\" href=\"", "\"").to_owned();
        assert_eq!(browser.get(&bench, &again).await.status, 200, "{again}");
    }
    let fields = [("form", form.as_str()), ("step", "paste"), ("token", " alice:pat\r\n")];
    let place = browser.post(&bench, &path, &fields).await.location.unwrap();
    let page = browser.get(&bench, &place).await;
    let page = browser.post(&bench, &place, &[("form", &page.form()), ("step", "yes")]).await;
    bench.finish("bot", &page.code()).await.unwrap();
    assert_eq!(bench.fake.state().created[0].1, "alice:pat");
    bench.tasks.cancel();
}

#[tokio::test]
async fn looking_binds_nobody_and_another_browser_is_shut_out() {
    let (_folder, bench) = Bench::new().await;
    let path = bench.start().await;
    // A program that makes previews of links.
    let mut preview = Browser::default();
    assert_eq!(preview.get(&bench, &path).await.status, 200);
    let mut browser = Browser::default();
    let back = browser.consent(&bench, &path, "alice:1").await;
    // The preview had a form of its own; the attempt is no longer open to it.
    let late = preview.get(&bench, &path).await;
    assert_eq!(late.status, StatusCode::FORBIDDEN);
    assert!(late.text.contains("another browser"));

    // The victim of the attack of the answer's way: made to consent at an address of another person's attempt.
    let mut victim = Browser::default();
    assert_eq!(victim.get(&bench, &back).await.status, StatusCode::FORBIDDEN);
    assert!(bench.fake.state().redeemed.is_empty(), "the code is not redeemed");
    // That burns it, for the one who began too.
    assert_eq!(browser.get(&bench, &path).await.status, StatusCode::GONE);
    assert_eq!(bench.finish("bot", "AAAA-AAAA").await.unwrap_err(), Code::LinkNotOpen);

    // The id of an attempt lets nobody in.
    let path = bench.start().await;
    let (place, page) = browser.confirm(&bench, &path, "alice:2").await;
    for other in [&mut victim, &mut Browser::default()] {
        assert_eq!(other.get(&bench, &place).await.status, StatusCode::FORBIDDEN);
        let sent = other.post(&bench, &place, &[("form", &page.form()), ("step", "yes")]).await;
        assert_eq!(sent.status, StatusCode::FORBIDDEN);
    }
    bench.finish("bot", &page.code()).await.unwrap();
    bench.tasks.cancel();
}

#[tokio::test]
async fn forms_of_others_are_not_taken() {
    let (_folder, bench) = Bench::new().await;
    let path = bench.start().await;
    let mut browser = Browser::default();
    let form = browser.get(&bench, &path).await.form();
    let body = |fields: &[(&str, &str)]| {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
    };
    let right = body(&[("form", &form), ("step", "consent")]);
    let post = || Request::post(path.as_str());
    let typed = || post().header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    for (what, request, body) in [
        ("another's form", typed(), body(&[("form", "x"), ("step", "consent")])),
        ("no form token", typed(), body(&[("step", "consent")])),
        ("another site", typed().header("sec-fetch-site", "cross-site"), right.clone()),
        ("a sibling site", typed().header("sec-fetch-site", "same-site"), right.clone()),
        ("another origin", typed().header(header::ORIGIN, "https://evil.example"), right.clone()),
        ("no form", post().header(header::CONTENT_TYPE, "text/plain"), right.clone()),
        ("no type", post(), right.clone()),
    ] {
        let page = browser.send(&bench, request, body).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{what}: {}", page.text);
    }
    let cookie = browser.cookie.take();
    let page = browser.send(&bench, typed(), right.clone()).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "without the cookie");
    browser.cookie = cookie;
    assert!(bench.fake.state().challenges.is_empty());
    assert_eq!(browser.send(&bench, typed(), right).await.status, 200, "and the right one is");

    for (host, status) in
        [("other.example", 421), ("outhaul.corp.example", 421), ("OUTHAUL.corp.example:8443", 200)]
    {
        let request = Request::get("/style.css").header(header::HOST, host).body(Body::empty()).unwrap();
        let response = bench.pages.clone().call(request).await.unwrap();
        is_guarded(&response);
        assert_eq!(response.status(), status, "{host}");
    }
    bench.tasks.cancel();
}

#[tokio::test]
async fn the_application_may_say_no_or_be_late() {
    let (_folder, bench) = Bench::new().await;
    let path = bench.start().await;
    let mut browser = Browser::default();
    let back = browser.consent(&bench, &path, "x").await;
    let page = browser.get(&bench, &back.replace("code=x", "error=access_denied")).await;
    assert!(page.text.contains("You did not allow it") && page.text.contains("Try again"), "{}", page.text);
    assert_eq!(browser.get(&bench, &back).await.status, StatusCode::NOT_FOUND, "a state is good once");

    bench.fake.state().refuses_codes = true;
    let back = browser.consent(&bench, &path, "alice:1").await;
    let page = browser.get(&bench, &back).await;
    assert!(page.text.contains("That took too long"), "{}", page.text);
    let again = between(&page.text, "href=\"/link/a/", "\"").to_owned();
    bench.fake.state().refuses_codes = false;
    // The page that the button leads to goes on from there.
    let place = format!("/link/a/{again}");
    let back = browser.consent(&bench, &place, "alice:2").await;
    assert_eq!(browser.get(&bench, &back).await.status, StatusCode::SEE_OTHER);

    for query in ["", "?state=x&code=y", "?code=y", &format!("{}&state=z", &back["/link/callback".len()..])] {
        let page = browser.get(&bench, &format!("/link/callback{query}")).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{query}");
    }
    bench.tasks.cancel();
}

#[tokio::test]
async fn codes_are_guessed_five_times_and_by_the_caller_that_began_alone() {
    let (_folder, bench) = Bench::new().await;
    let path = bench.start().await;
    let (_, page) = Browser::default().confirm(&bench, &path, "alice:1").await;
    assert_eq!(bench.finish("other", &page.code()).await.unwrap_err(), Code::LinkNotOpen);
    assert_eq!(bench.finish("bot", "no code").await.unwrap_err(), Code::LinkCodeWrong);
    for _ in 1..MAX_TRIES {
        assert_eq!(bench.finish("bot", "AAAA-AAAA").await.unwrap_err(), Code::LinkCodeWrong);
    }
    assert_eq!(bench.finish("bot", "AAAA-AAAA").await.unwrap_err(), Code::LinkNotOpen);
    assert_eq!(bench.finish("bot", &page.code()).await.unwrap_err(), Code::LinkNotOpen);
    assert!(bench.fake.state().created.is_empty());
    bench.tasks.cancel();
}

#[tokio::test]
async fn an_account_of_another_person_is_not_taken_over() {
    let (_folder, bench) = Bench::new().await;
    bench.fake.state().taken = true;
    let path = bench.start().await;
    let (_, page) = Browser::default().confirm(&bench, &path, "alice:1").await;
    assert_eq!(bench.finish("bot", &page.code()).await.unwrap_err(), Code::LinkTaken);
    bench.tasks.cancel();
}

#[tokio::test]
async fn time_runs_out_on_every_page() {
    let (_folder, bench) = Bench::new().await;
    let path = bench.start().await;
    let mut browser = Browser::default();
    let back = browser.consent(&bench, &path, "alice:1").await;
    bench.clock.advance(LIFE);
    let page = browser.get(&bench, &back).await;
    assert_eq!(page.status, StatusCode::GONE);
    assert!(page.text.contains("The link has run out"), "{}", page.text);
    assert!(bench.fake.state().redeemed.is_empty());

    let path = bench.start().await;
    let (place, page) = browser.confirm(&bench, &path, "alice:2").await;
    bench.clock.advance(CODE_LIFE);
    assert_eq!(bench.finish("bot", &page.code()).await.unwrap_err(), Code::LinkNotOpen);
    assert_eq!(browser.get(&bench, &place).await.status, StatusCode::GONE);
    bench.tasks.cancel();
}

#[tokio::test]
async fn a_restart_in_the_middle_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (fake, clock) = (Fake::default(), Clock::manual());
    let mut browser = Browser::default();
    let restart = async |bench: Bench| {
        bench.tasks.cancel();
        assert!(bench.tasks.drain(Duration::from_secs(10)).await);
        drop(bench);
        Bench::open(Store::again_for_tests(folder.path()).await, fake.clone(), clock.clone()).await
    };
    let bench = Bench::open(Store::for_tests(folder.path()), fake.clone(), clock.clone()).await;
    let path = bench.start().await;
    let bench = restart(bench).await;
    let back = browser.consent(&bench, &path, "alice:1").await;
    let bench = restart(bench).await;
    let place = browser.get(&bench, &back).await.location.unwrap();
    let bench = restart(bench).await;
    let page = browser.get(&bench, &place).await;
    let page = browser.post(&bench, &place, &[("form", &page.form()), ("step", "yes")]).await;
    let bench = restart(bench).await;
    bench.finish("bot", &page.code()).await.unwrap();
    assert_eq!(fake.state().created.len(), 1);
    bench.tasks.cancel();
}

#[tokio::test]
async fn who_may_ask_and_for_what() {
    let (_folder, bench) = Bench::new().await;
    let code =
        async |wish: Wish| bench.desk.start(wish).await.map(|_| ()).map_err(|fault| fault.problem().code);
    let wish = || Bench::wish("bot", "teams:a");
    assert_eq!(code(wish()).await, Ok(()));
    assert_eq!(code(Wish { is_proved: false, ..wish() }).await, Err(Code::TrustRequired));
    assert_eq!(code(Wish { upstream: None, ..wish() }).await, Err(Code::BadRequest), "there are two");
    let elsewhere = Some("elsewhere".parse().unwrap());
    assert_eq!(code(Wish { upstream: elsewhere, ..wish() }).await, Err(Code::NotFound));
    let person = ActAs::parse("teams:a").unwrap();
    let finished = bench.desk.finish(&"bot".parse().unwrap(), &person, "AAAA-AAAA", false).await;
    assert_eq!(finished.unwrap_err().problem().code, Code::TrustRequired);
    bench.tasks.cancel();
}

#[tokio::test]
async fn those_that_ran_out_take_no_room() {
    let (_folder, bench) = Bench::new().await;
    let start = async |number: usize| {
        let started = bench.desk.start(Bench::wish("bot", &format!("teams:{number}"))).await;
        started.map(|_| ()).map_err(|fault| fault.problem().code)
    };
    for number in 0..1000 {
        assert_eq!(start(number).await, Ok(()), "{number}");
    }
    assert_eq!(start(1000).await, Err(Code::RateLimited));
    assert_eq!(start(7).await, Ok(()), "in the place of its own");
    bench.clock.advance(LIFE.saturating_sub(Duration::from_secs(5)));
    assert_eq!(start(1000).await, Err(Code::RateLimited));
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(start(1000).await, Err(Code::RateLimited), "what ran out is not looked for each time");
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(start(1000).await, Ok(()));
    bench.tasks.cancel();
}

#[tokio::test]
async fn the_cookie_lasts_as_long_as_the_newest_attempt() {
    let (_folder, bench) = Bench::new().await;
    let mut browser = Browser::default();
    browser.get(&bench, &bench.start().await).await;
    let first = browser.cookie.clone();
    let path = bench.start().await;
    let page = browser.get(&bench, &path).await;
    assert!(page.cookie, "given again by a page");
    let page = browser.post(&bench, &path, &[("form", &page.form()), ("step", "consent")]).await;
    assert!(page.cookie && page.status == 200, "and on the way to the application");
    assert_eq!(browser.cookie, first, "the same");
    bench.tasks.cancel();
}

#[tokio::test]
async fn a_process_that_died_while_it_asked_leaves_nobody_stuck() {
    let folder = tempfile::tempdir().unwrap();
    let (fake, clock, mut browser) = (Fake::default(), Clock::manual(), Browser::default());
    let bench = Bench::open(Store::for_tests(folder.path()), fake.clone(), clock.clone()).await;
    let path = bench.start().await;
    browser.consent(&bench, &path, "alice:1").await;
    let person = LinkKey::Person(ActAs::parse("teams:29:1abc").unwrap());
    let proving = |row: &mut LinkRow| {
        (row.stage, row.consent, row.verifier) = (LinkStage::Proving, None, None);
        row.id
    };
    let id = bench.desk.0.store.change_link(person, proving).await.unwrap().unwrap();
    let asked = bench.desk.0.asking.begin(id);
    assert!(browser.get(&bench, &path).await.text.contains("One moment"));
    drop(asked);
    bench.tasks.cancel();
    assert!(bench.tasks.drain(Duration::from_secs(10)).await);
    drop(bench);
    let bench = Bench::open(Store::again_for_tests(folder.path()).await, fake.clone(), clock).await;
    let (_, page) = browser.confirm(&bench, &path, "alice:2").await;
    bench.finish("bot", &page.code()).await.unwrap();
    assert_eq!(fake.state().created.len(), 1);
    bench.tasks.cancel();
}
