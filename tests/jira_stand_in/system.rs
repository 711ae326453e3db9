//! What is not about issues: the server, its state, pages.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::json;
use std::sync::Arc;

use crate::app::{App, Call};
use crate::identity::Who;
use crate::wire::{Fault, Reply, ok, status as with_status};

pub(crate) async fn server_info(State(app): State<Arc<App>>, headers: HeaderMap) -> Reply {
    let forwarded = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let base = match forwarded("x-forwarded-host").filter(|_| app.is("forwarded-host", "honoured")) {
        Some(host) => {
            format!("{}://{host}{}", forwarded("x-forwarded-proto").unwrap_or("https"), app.context)
        }
        None => app.base.clone(),
    };
    let (version, numbers) = app.profile().version();
    ok(json!({
        "baseUrl": base, "version": version, "versionNumbers": numbers, "deploymentType": "Server",
        "buildNumber": numbers.iter().fold(0, |sum, number| sum * 1000 + number),
        "buildDate": "2026-03-01T00:00:00.000+0000", "databaseBuildNumber": 1, "serverTime": app.now(),
        "scmInfo": "stand-in", "serverTitle": "Jira (stand-in)",
    }))
}

/// `/status`: the state, not the code, tells.
pub(crate) async fn status(call: Call) -> Reply {
    let state = call.node.state();
    let code = match state.as_str() {
        "MAINTENANCE" => 503,
        "ERROR" => 500,
        _ => 200,
    };
    with_status(code, json!({ "state": state }))
}

pub(crate) async fn no_resource(uri: Uri) -> Fault {
    let path: String = uri.path().chars().filter(|one| !"<>&".contains(*one)).take(200).collect();
    Fault::Page(StatusCode::NOT_FOUND, format!("HTTP Status 404: null for uri: {path}"))
}

/// Any page of the browser's interface: people who are not logged in are sent to the login page.
pub(crate) async fn page(call: Call, uri: Uri) -> Response {
    if call.who == Who::Anonymous {
        let path: String = uri.path().chars().filter(char::is_ascii_graphic).collect();
        let target = format!("{}/login.jsp?permissionViolation=true&os_destination={path}", call.app.base);
        let mut response = StatusCode::FOUND.into_response();
        if let Ok(value) = HeaderValue::from_str(&target) {
            response.headers_mut().insert(header::LOCATION, value);
        }
        return response;
    }
    Fault::Page(StatusCode::OK, "A page of Jira".to_owned()).into_response()
}
