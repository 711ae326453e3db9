//! A person who links an account: asked by the caller, at the agent's pages, and back through the caller.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

use super::Site;
use crate::support::client::{Answer, Client};
use crate::support::world::host;

pub(super) struct Person<'a> {
    site: &'a Site,
    name: &'a str,
    cookie: String,
}

impl<'a> Person<'a> {
    pub(super) fn new(site: &'a Site, name: &'a str) -> Self {
        Self { site, name, cookie: String::new() }
    }

    /// Links by consent at the application.
    pub(super) async fn consents(&mut self) {
        let path = self.begin().await;
        let back = self.consent(&path).await;
        let answer = self.page(Method::GET, &back, &[]).await;
        self.confirm(&answer).await;
    }

    /// Consents, but the application does not give tokens for the code.
    pub(super) async fn consents_in_vain(&mut self) {
        let path = self.begin().await;
        let back = self.consent(&path).await;
        let answer = self.page(Method::GET, &back, &[]).await;
        assert!(!answer.headers.contains_key(header::LOCATION), "{answer:?}");
    }

    /// Is asked, and says no at the application, in these words of it.
    pub(super) async fn declines(&mut self, word: &str) {
        let path = self.begin().await;
        let back = self.consent(&path).await;
        let (_, state) = back.split_once("state=").unwrap();
        self.page(Method::GET, &format!("/link/callback?error={word}&state={state}"), &[]).await;
    }

    /// Links by a token that is pasted.
    pub(super) async fn pastes(&mut self, token: &str) {
        let path = self.begin().await;
        let form = self.form(&path).await;
        let answer =
            self.page(Method::POST, &path, &[("form", &form), ("step", "paste"), ("token", token)]).await;
        self.confirm(&answer).await;
    }

    async fn begin(&mut self) -> String {
        let answer = self.caller("/link/start", &json!({ "upstream": "jira" })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        let url = answer.json()["url"].as_str().unwrap().to_owned();
        let path = url[url.find("/link/").unwrap()..].to_owned();
        self.site.passed("link address", path.rsplit('/').next().unwrap());
        path
    }

    /// Where the browser comes back to.
    async fn consent(&mut self, path: &str) -> String {
        let form = self.form(path).await;
        let page = self.page(Method::POST, path, &[("form", &form), ("step", "consent")]).await;
        let to = between(&page, "href=\"https://jira.example", "\"").replace("&#38;", "&");
        let (_, query) = to.split_once('?').unwrap();
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let (_, state) = pairs.find(|(name, _)| name == "state").unwrap();
        self.site.application.saw("OAuth state", &state);
        let code = self.site.application.code(self.name);
        let code: String = form_urlencoded::byte_serialize(code.as_bytes()).collect();
        format!("/link/callback?code={code}&state={state}")
    }

    async fn confirm(&mut self, answer: &Answer) {
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        let place = answer.headers[header::LOCATION].to_str().unwrap().to_owned();
        let form = self.form(&place).await;
        let page = self.page(Method::POST, &place, &[("form", &form), ("step", "yes")]).await;
        let code = between(&page, "aria-hidden=\"true\">", "<");
        self.site.passed("code of a link", &code);
        let answer = self.caller("/link/finish", &json!({ "code": code })).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }

    async fn form(&mut self, path: &str) -> String {
        let page = self.page(Method::GET, path, &[]).await;
        between(&page, "name=\"form\" value=\"", "\"")
    }

    async fn caller(&self, path: &str, body: &Value) -> Answer {
        let request = Request::post(path).header("outhaul-act-as", format!("t:{}", self.name));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.site.client.call(&host(), request.body(body.to_string().into()).unwrap()).await.unwrap()
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
        let pages = Client::new(&self.site.world.authority.file, self.site.pages_port);
        let answer = pages.call("localhost", request.body(Bytes::from(body)).unwrap()).await.unwrap();
        if let Some(set) = answer.headers.get(header::SET_COOKIE) {
            set.to_str().unwrap().split(';').next().unwrap().clone_into(&mut self.cookie);
            let (_, value) = self.cookie.split_once('=').unwrap();
            self.site.application.saw("cookie of a browser", value);
        }
        answer
    }
}

fn between(page: &Answer, before: &str, after: &str) -> String {
    let text = std::str::from_utf8(&page.body).unwrap();
    let from = text.find(before).unwrap_or_else(|| panic!("{before} in {text}")) + before.len();
    text[from..].split(after).next().unwrap().to_owned()
}
