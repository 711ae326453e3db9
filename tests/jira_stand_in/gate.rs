//! What every request passes on its way in and every answer on its way out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use serde_json::json;
use tower_service::Service as _;

use crate::app::{App, count};
use crate::cluster::Node;
use crate::identity::{LOGIN_REASON, Who, identify};
use crate::index;
use crate::oauth;
use crate::rate::{self, Verdict};
use crate::read_only;
use crate::troubles::{self, Trouble};
use crate::wire::Fault;

/// JSON answers are ours, and never larger.
const LARGEST_JSON: usize = 64 * 1024 * 1024;

/// Answers one request, or breaks the connection when that was ordered.
pub(crate) async fn answer(
    app: Arc<App>,
    node: Arc<Node>,
    router: Router,
    request: Request<hyper::body::Incoming>,
) -> io::Result<Response> {
    let number = count(&app.counters.requests);
    let (mut parts, body) = request.into_parts();
    let request_body = Body::new(body);
    if app.is("method-override", "honoured")
        && let Some(method) = parts.headers.get("x-http-method-override")
        && let Ok(method) = Method::from_bytes(method.as_bytes())
    {
        parts.method = method;
    }
    let target = parts.uri.to_string();
    parts.uri = as_container(&parts.uri, app.is("path-parameters", "strip"));
    let path = parts.uri.path().to_owned();
    let trouble = troubles::take(&mut app.troubles(), &parts.method, &path);
    let local = path.strip_prefix(&app.context).unwrap_or(&path).to_owned();

    if local != "/status" {
        count(&node.calls);
    }
    let identity = identify(&app, &parts, &local);
    note(&app, &node, number, &target, &parts, identity.as_ref().ok());
    let wants_gzip = accepts_gzip(&parts.headers);
    let has_cookie = parts.headers.contains_key(header::COOKIE);
    let skip = trouble.as_ref().is_some_and(|trouble| trouble.skip);

    let (who, mut response) = match identity {
        Err(refused) => {
            let mut response = match refused.fault {
                Some(fault) => fault.into_response(),
                None => StatusCode::OK.into_response(),
            };
            response.headers_mut().extend(refused.headers);
            (Who::Anonymous, response)
        }
        Ok(who) if skip => (who, StatusCode::OK.into_response()),
        Ok(who) => {
            let writes = !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
            let limited = rate::judge(&app, &node, &who);
            let (headers, refused) = limited
                .map_or_else(|| (HeaderMap::new(), None), |Verdict { headers, refused }| (headers, refused));
            let refused = node
                .refusal(&app, &local)
                .or(refused)
                .or_else(|| oauth::scope_refusal(&app, &who, &parts.method, &local))
                .or_else(|| read_only::refusal(&app, &parts.method, &local))
                .or_else(|| xsrf(&app, &parts, &local));
            let mut response = match refused {
                Some(fault) => fault.into_response(),
                None => inside(router, &node, &who, Request::from_parts(parts, request_body)).await,
            };
            response.headers_mut().extend(headers);
            if writes {
                index::after_write(&app, &node);
            }
            (who, response)
        }
    };
    if let Some(Trouble { status: Some(status), .. }) = &trouble {
        response = Fault::Page(crate::wire::code(*status), "Ordered trouble".to_owned()).into_response();
    }
    if let Some(delay) = trouble.as_ref().map(|trouble| trouble.delay_ms).filter(|delay| *delay > 0) {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let unanswered = response.extensions().get::<oauth::DropAnswer>().is_some();
    if unanswered || trouble.as_ref().is_some_and(|trouble| trouble.drop) {
        count(&app.counters.broken_answers);
        return Err(io::Error::other("closed as ordered"));
    }
    sign(&app, &node, number, &who, has_cookie, response.headers_mut());
    let response = frame(&app, wants_gzip, response).await;
    Ok(match trouble {
        Some(trouble) => troubles::bend(&trouble, response),
        None => response,
    })
}

async fn inside(mut router: Router, node: &Arc<Node>, who: &Who, mut request: Request<Body>) -> Response {
    request.extensions_mut().insert(node.clone());
    request.extensions_mut().insert(who.clone());
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The headers that Jira puts on everything.
fn sign(app: &App, node: &Node, number: u64, who: &Who, has_cookie: bool, headers: &mut HeaderMap) {
    // A login's own cookie must be the only one of its name.
    let has_session = headers.contains_key(header::SET_COOKIE);
    let mut set = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(name, value);
        }
    };
    set("x-arequestid", format!("614x{number}x1"));
    set("x-anodeid", node.id.clone());
    if app.is("asessionid", "sent") && who.name().is_some() {
        set("x-asessionid", format!("s{number:x}"));
    }
    let name = who.name().unwrap_or("anonymous");
    if !app.is("ausername", "absent") {
        set("x-ausername", if app.is("ausername", "percent") { percent(name) } else { name.to_owned() });
    }
    set("x-content-type-options", "nosniff".to_owned());
    set("x-xss-protection", "1; mode=block".to_owned());
    if app.is("session-cookie", "always") && !has_cookie && !has_session {
        let path = if app.context.is_empty() { "/" } else { &app.context };
        let secure = if app.base.starts_with("https:") { "; Secure" } else { "" };
        let id = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
        set("set-cookie", format!("JSESSIONID={id}; Path={path}{secure}; HttpOnly"));
        set("set-cookie", format!("atlassian.xsrf.token=B-{number}_lin; Path={path}{secure}; SameSite=None"));
    }
    if who.name().is_some() && !headers.contains_key(LOGIN_REASON) {
        headers.insert(LOGIN_REASON, HeaderValue::from_static("OK"));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache, no-store, no-transform"));
    headers.insert(header::VARY, HeaderValue::from_static("User-Agent"));
}

/// Bytes of a username that pass unencoded.
fn percent(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Compression and framing of JSON; other bodies stay as they are.
async fn frame(app: &App, wants_gzip: bool, response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/json")) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(collected) = Limited::new(body, LARGEST_JSON).collect().await else {
        return Fault::core(500, "the answer could not be built").into_response();
    };
    let mut bytes = collected.to_bytes();
    if wants_gzip && bytes.len() > 256 {
        bytes = gzip(&bytes);
        parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        parts.headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding,User-Agent"));
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = if app.is("framing", "chunked") && !bytes.is_empty() {
        let once = futures_util::stream::iter([Ok::<_, io::Error>(bytes)]);
        Body::from_stream(once)
    } else {
        Body::from(bytes)
    };
    Response::from_parts(parts, body)
}

fn gzip(bytes: &[u8]) -> Bytes {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Writing into memory can't fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default().into()
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().split(';').next() == Some("gzip"))
}

/// The cross-site checks: a form-like type without the token header, or a browser from elsewhere.
fn xsrf(app: &App, parts: &Parts, path: &str) -> Option<Fault> {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS)
        || !path.starts_with("/rest/")
        || path.starts_with(oauth::PATH)
    {
        return None;
    }
    let text = |name: header::HeaderName| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let refused = || Some(Fault::Text(StatusCode::FORBIDDEN, "XSRF check failed".to_owned()));
    let excused = parts.headers.get("x-atlassian-token").is_some_and(|value| {
        [&b"no-check"[..], b"nocheck"].iter().any(|good| value.as_bytes().eq_ignore_ascii_case(good))
    });
    let origin = Some(text(header::ORIGIN)).filter(|origin| !origin.is_empty());
    let from = origin.or(Some(text(header::REFERER)).filter(|referer| !referer.is_empty()));
    let own = from.is_some_and(|from| same_origin(from, &app.base));
    let browser = text(header::USER_AGENT).starts_with("Mozilla/");
    if browser && !own && (from.is_some() || !excused) {
        return refused();
    }
    let kind = text(header::CONTENT_TYPE);
    let form = ["multipart/form-data", "application/x-www-form-urlencoded", "text/plain"]
        .iter()
        .any(|form| kind.to_ascii_lowercase().starts_with(form));
    if (form || path.ends_with("/attachments")) && !excused {
        return refused();
    }
    None
}

fn same_origin(one: &str, other: &str) -> bool {
    let origin = |text: &str| {
        let uri: Uri = text.parse().ok()?;
        Some((uri.scheme_str()?.to_owned(), uri.authority()?.as_str().to_ascii_lowercase()))
    };
    origin(one).is_some_and(|one| Some(one) == origin(other))
}

/// Reads a path as the servlet container does: `;x` may be cut out of segments, empty ones and `.` fall away, `..`
/// goes up. Whoever matches paths in front of it must not be fooled by that.
fn as_container(uri: &Uri, strip: bool) -> Uri {
    let mut segments: Vec<&str> = Vec::new();
    for segment in uri.path().split('/') {
        let segment = if strip { segment.split(';').next().unwrap_or_default() } else { segment };
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut text = format!("/{}", segments.join("/"));
    if uri.path().len() > 1 && uri.path().ends_with('/') && !segments.is_empty() {
        text.push('/');
    }
    if let Some(query) = uri.query() {
        text.push('?');
        text.push_str(query);
    }
    text.parse().unwrap_or_else(|_| uri.clone())
}

/// Writes a request into the log that tests read. Credentials only by their kind.
fn note(app: &App, node: &Node, number: u64, target: &str, parts: &Parts, who: Option<&Who>) {
    let headers: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| {
            let text = String::from_utf8_lossy(value.as_bytes());
            let secret = *name == header::AUTHORIZATION || *name == header::COOKIE;
            let text = if secret {
                text.split(' ').next().unwrap_or_default().to_owned()
            } else {
                text.into_owned()
            };
            json!([name.as_str(), text])
        })
        .collect();
    app.remember(json!({
        "number": number,
        "node": node.id,
        "method": parts.method.as_str(),
        "target": target,
        "headers": headers,
        "user": who.and_then(Who::name),
    }));
}
