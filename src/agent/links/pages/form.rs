//! What a form of ours brings.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use http_body_util::BodyExt as _;
use zeroize::Zeroizing;

use crate::common::secret::Secret;

/// A form, read. What it does not hold is empty.
#[derive(Default)]
pub(super) struct Form {
    /// The field `form`: shows that it is ours.
    pub(super) proof: String,
    /// Which button was pressed.
    pub(super) step: String,
    /// A pasted token.
    pub(super) token: Option<Secret<String>>,
}

impl Form {
    /// Reads the body, which the server has bounded; nothing if it is no form, or a field is there twice.
    pub(super) async fn read(request: Request<Body>) -> Option<Self> {
        let kind = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
        if !kind.split(';').next()?.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return None;
        }
        // It may hold a token: this copy at least is wiped.
        let body = Zeroizing::new(Vec::from(request.into_body().collect().await.ok()?.to_bytes()));
        Self::parse(&body)
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let mut form = Self::default();
        let mut seen = [false; 3];
        for (name, value) in form_urlencoded::parse(body) {
            let place = match &*name {
                "form" => 0,
                "step" => 1,
                "token" => 2,
                _ => return None,
            };
            if std::mem::replace(seen.get_mut(place)?, true) {
                return None;
            }
            match place {
                0 => form.proof = value.into_owned(),
                1 => form.step = value.into_owned(),
                _ => form.token = token(&Secret::new(value.into_owned())),
            }
        }
        Some(form)
    }
}

/// People paste spaces and line ends with it.
fn token(given: &Secret<String>) -> Option<Secret<String>> {
    let text = given.expose().trim();
    let fits = (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| Secret::new(text.to_owned()))
}

/// Jira's are 44 characters long.
const MAX_TOKEN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_once_and_others_are_not_ours() {
        let form = Form::parse(b"form=a%2Bb&step=paste&token=+NjE%2F%2B%3D%0D%0A").unwrap();
        assert_eq!((form.proof.as_str(), form.step.as_str()), ("a+b", "paste"));
        assert_eq!(form.token.unwrap().expose(), "NjE/+=");
        for none in ["token=", "token=a+b", "token=%C3%BC", &format!("token={}", "x".repeat(2000))] {
            assert!(Form::parse(none.as_bytes()).unwrap().token.is_none(), "{none}");
        }
        for bad in ["form=a&form=b", "step=yes&other=1", "token=a&token=b"] {
            assert!(Form::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
