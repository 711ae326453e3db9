//! A person who links an account: asked by the caller, at the agent's pages, and back through the caller.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::world::host;

/// Where people can link.
pub(crate) trait Linking {
    /// The caller, which may name people of provider `t`.
    fn caller(&self) -> &Client;
    /// To the agent's pages.
    fn pages(&self) -> Client;
    /// The user says yes at the application. Gives where the browser is sent then.
    async fn consent(&self, user: &str, authorize: &str) -> String;
    /// Hears of each secret that is seen on the way; `passes` are those that come through the relay.
    fn saw(&self, _what: &str, _secret: &str, _passes: bool) {}
}

/// One of them, known to the caller by the same name as at the application.
pub(crate) struct Person<'a, S> {
    site: &'a S,
    name: &'a str,
    cookie: String,
}

impl<'a, S: Linking> Person<'a, S> {
    pub(crate) fn new(site: &'a S, name: &'a str) -> Self {
        Self { site, name, cookie: String::new() }
    }

    /// Links by consent at the application.
    pub(crate) async fn consents(&mut self) {
        let path = self.begin().await;
        let back = self.consent(&path).await;
        let answer = self.page(Method::GET, &back, &[]).await;
        self.confirm(&answer).await;
    }

    /// Consents, but the application does not give tokens for the code.
    pub(crate) async fn consents_in_vain(&mut self) {
        let path = self.begin().await;
        let back = self.consent(&path).await;
        let answer = self.page(Method::GET, &back, &[]).await;
        assert!(!answer.headers.contains_key(header::LOCATION), "{answer:?}");
    }

    /// Is asked, and says no at the application, in these words of it.
    pub(crate) async fn declines(&mut self, word: &str) {
        let path = self.begin().await;
        let back = self.consent(&path).await;
        let (_, state) = back.split_once("state=").unwrap();
        self.page(Method::GET, &format!("/link/callback?error={word}&state={state}"), &[]).await;
    }

    /// Links by a token that is pasted.
    pub(crate) async fn pastes(&mut self, token: &str) {
        let path = self.begin().await;
        let form = self.form(&path).await;
        let answer =
            self.page(Method::POST, &path, &[("form", &form), ("step", "paste"), ("token", token)]).await;
        self.confirm(&answer).await;
    }

    async fn begin(&mut self) -> String {
        let answer = self.ask("/link/start", &json!({ "upstream": "jira" })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        let url = answer.json()["url"].as_str().unwrap().to_owned();
        let path = url[url.find("/link/").unwrap()..].to_owned();
        self.site.saw("link address", path.rsplit('/').next().unwrap(), true);
        path
    }

    /// Where the browser comes back to.
    async fn consent(&mut self, path: &str) -> String {
        let form = self.form(path).await;
        let page = self.page(Method::POST, path, &[("form", &form), ("step", "consent")]).await;
        let authorize = between(&page, "class=\"button\" href=\"", "\"").replace("&#38;", "&");
        let (_, query) = authorize.split_once('?').unwrap();
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let (_, state) = pairs.find(|(name, _)| name == "state").unwrap();
        self.site.saw("OAuth state", &state, false);
        let back = self.site.consent(self.name, &authorize).await;
        back[back.find("/link/callback?").unwrap()..].to_owned()
    }

    async fn confirm(&mut self, answer: &Answer) {
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        let place = answer.headers[header::LOCATION].to_str().unwrap().to_owned();
        let form = self.form(&place).await;
        let page = self.page(Method::POST, &place, &[("form", &form), ("step", "yes")]).await;
        let code = between(&page, "aria-hidden=\"true\">", "<");
        self.site.saw("code of a link", &code, true);
        let answer = self.ask("/link/finish", &json!({ "code": code })).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }

    async fn form(&mut self, path: &str) -> String {
        let page = self.page(Method::GET, path, &[]).await;
        between(&page, "name=\"form\" value=\"", "\"")
    }

    async fn ask(&self, path: &str, body: &Value) -> Answer {
        let request = Request::post(path).header("outhaul-act-as", format!("t:{}", self.name));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.site.caller().call(&host(), request.body(body.to_string().into()).unwrap()).await.unwrap()
    }

    async fn page(&mut self, method: Method, path: &str, form: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = Request::builder().method(method).uri(path);
        if !form.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if !self.cookie.is_empty() {
            request = request.header(header::COOKIE, &self.cookie);
        }
        let answer =
            self.site.pages().call("localhost", request.body(Bytes::from(body)).unwrap()).await.unwrap();
        if let Some(set) = answer.headers.get(header::SET_COOKIE) {
            set.to_str().unwrap().split(';').next().unwrap().clone_into(&mut self.cookie);
            let (_, value) = self.cookie.split_once('=').unwrap();
            self.site.saw("cookie of a browser", value, false);
        }
        answer
    }
}

fn between(page: &Answer, before: &str, after: &str) -> String {
    let text = std::str::from_utf8(&page.body).unwrap();
    let from = text.find(before).unwrap_or_else(|| panic!("{before} in {text}")) + before.len();
    text[from..].split(after).next().unwrap().to_owned()
}
