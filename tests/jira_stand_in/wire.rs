//! Answers, and errors in the three shapes Jira uses.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

/// What a handler gives back.
pub(crate) type Reply = Result<Response, Fault>;

/// An error in one of Jira's shapes.
pub(crate) enum Fault {
    /// `{"errorMessages":[…],"errors":{…}}`: the core REST interface.
    Core(StatusCode, Vec<String>, Map<String, Value>),
    /// `{"message":…,"status-code":…}`: filters in front of it.
    Message(StatusCode, String),
    /// `{"errorMessage":…,"i18nErrorMessage":{…}}`: the service desk's interface.
    Desk(StatusCode, String),
    /// A page: servlets.
    Page(StatusCode, String),
    /// Plain text: the XSRF filter.
    Text(StatusCode, String),
}

impl Fault {
    /// The core shape with one message.
    pub(crate) fn core(status: u16, message: impl Into<String>) -> Self {
        Self::Core(code(status), vec![message.into()], Map::new())
    }

    /// The core shape with one field's message.
    pub(crate) fn field(field: &str, message: impl Into<String>) -> Self {
        let errors = Map::from_iter([(field.to_owned(), Value::String(message.into()))]);
        Self::Core(StatusCode::BAD_REQUEST, Vec::new(), errors)
    }

    /// Nobody is logged in and somebody must be.
    pub(crate) fn login() -> Self {
        Self::Message(
            StatusCode::UNAUTHORIZED,
            "Client must be authenticated to access this resource.".to_owned(),
        )
    }

    /// The service desk's shape.
    pub(crate) fn desk(status: u16, message: impl Into<String>) -> Self {
        Self::Desk(code(status), message.into())
    }

    /// An issue that is not there, or not for this caller.
    pub(crate) fn no_issue() -> Self {
        Self::core(404, "Issue Does Not Exist")
    }

    /// A body that can't be read.
    pub(crate) fn bad_json(detail: &str) -> Self {
        Self::core(400, format!("Can not deserialize the request body: {detail}"))
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        match self {
            Self::Core(status, messages, errors) => {
                json_reply(status, &json!({ "errorMessages": messages, "errors": errors }))
            }
            Self::Message(status, message) => {
                let mut response =
                    json_reply(status, &json!({ "message": message, "status-code": status.as_u16() }));
                if status == StatusCode::UNAUTHORIZED {
                    let value = HeaderValue::from_static("OAuth realm=\"https%3A%2F%2Fjira\"");
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
                }
                response
            }
            Self::Desk(status, message) => {
                let key = json!({ "i18nKey": "sd.error", "parameters": [] });
                json_reply(status, &json!({ "errorMessage": message, "i18nErrorMessage": key }))
            }
            Self::Page(status, title) => {
                let page = format!(
                    "<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1>\n\
                     <p>This page comes from a stand-in for Jira.</p></body></html>\n"
                );
                with_type(status, "text/html;charset=UTF-8", page)
            }
            Self::Text(status, text) => with_type(status, "text/plain", text),
        }
    }
}

/// A status out of a number that stands in the source.
pub(crate) fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn json_reply(status: StatusCode, value: &Value) -> Response {
    with_type(status, "application/json;charset=UTF-8", value.to_string())
}

fn with_type(status: StatusCode, kind: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// 200 with JSON.
pub(crate) fn ok(value: Value) -> Reply {
    Ok(json_reply(StatusCode::OK, &value))
}

/// Some status with JSON.
pub(crate) fn status(status: u16, value: Value) -> Reply {
    Ok(json_reply(code(status), &value))
}

/// 204.
pub(crate) fn nothing() -> Reply {
    empty(204)
}

/// Some status without a body, as the document has it for what is only done.
pub(crate) fn empty(status: u16) -> Reply {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code(status);
    Ok(response)
}

/// Reads a request body as JSON.
pub(crate) fn parse(body: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(body).map_err(|fault| Fault::bad_json(&fault.to_string()))
}

/// A page of values in the shape of the newer resources.
pub(crate) fn page(values: Vec<Value>, start: usize, max: usize) -> Value {
    let total = values.len();
    let values: Vec<Value> = values.into_iter().skip(start).take(max).collect();
    let last = start + values.len() >= total;
    json!({ "maxResults": max, "startAt": start, "total": total, "isLast": last, "values": values })
}
