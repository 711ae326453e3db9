//! Jira's OAuth 2.0 provider (an incoming application link), with the login and consent pages a person sees.
//!
//! Below the base URL (context path included):
//!
//! - `GET /rest/oauth2/latest/authorize?client_id&redirect_uri&response_type=code&state&scope`
//!   `[&code_challenge&code_challenge_method=S256]`: leads to the consent page, and that one, where nobody is logged
//!   in, to `/login.jsp` and back.
//! - `GET /login.jsp`, `POST /login.jsp` (`os_username`, `os_password`, `os_destination`): the login form. The people of
//!   the seed are `admin`, `alice`, `bob`, `carol`, `mallory`; each password is the name and `-password`.
//!   The form: inputs `#login-form-username` and `#login-form-password`, button `#login`.
//! - `GET /plugins/servlet/oauth2/consent?…`: who is logged in, which client asks, for what; buttons `#allow` and
//!   `#deny`, sent by POST (`atl_token`, `decision`) to the same path. Then a redirect with `code` and `state`, or with
//!   `error=access_denied`.
//! - `POST /rest/oauth2/latest/token`: a form. `authorization_code`, `refresh_token`, and in profile 11.3
//!   `client_credentials`. The answer: `access_token`, `token_type`, `expires_in`, `refresh_token`, `created_at`.
//! - `POST /rest/oauth2/latest/revoke`: RFC 7009, only with `--switch oauth-revoke=present`.
//!
//! A code lives 10 s and is good for one use. A refresh gives a new pair, and the old access and refresh token are
//! dead at once. Switches (`--help` tells what they mean): `oauth-parameters`, `oauth-errors`,
//! `oauth-refresh-redirect`, `oauth-https`, `oauth-revoke`, `oauth-code-reuse`, `oauth-inactive-refresh`,
//! `inactive-myself`, `service-account-paths`.
//!
//! A client is registered at the start, scopes joined by `+` and as many `redirect` as wanted:
//!
//! ```text
//! --oauth-client id=outhaul,secret=s3cret,scope=WRITE,redirect=https://agent.invalid/oauth/callback
//! ```
//!
//! or later, below `/_control` (USER is a name or key; what has no body answers 204):
//!
//! - `POST /oauth/clients` with `{"id","secret","name","scope","redirect_uris":[…],"service_account"}`, all optional but
//!   `redirect_uris`: registers, or replaces one; answers all of it, id and secret made up where absent.
//! - `POST /oauth/consent` with `{"user":"alice","authorize":"<the whole authorize URL>","deny":false}`: what the
//!   browser would have done; answers `{"location":"<redirect with code and state>"}`, or 400 with the error's text.
//! - `POST /oauth/users/USER/expire`: the access tokens of USER are expired now; refresh tokens still hold.
//! - `POST /oauth/users/USER/revoke`: USER takes all consents back: access and refresh tokens are dead.
//! - `POST /oauth/lifetime/SECONDS`, `POST /oauth/code-lifetime/SECONDS`: for what is issued from now on (7200, 10).
//! - `POST /oauth/hold/before`, `POST /oauth/hold/after`: the next token request is held before, or after, it is
//!   carried out. `GET /oauth/held?wait=SECONDS` answers `{"held":N}` as soon as one is held, or after the wait (at most
//!   60); `POST /oauth/release` lets all go and takes an unused order back. A held request is carried out once it is
//!   released, even if its client is gone by then.
//! - `POST /oauth/drop-answer`: the next token request that succeeds is carried out, and the connection is then closed
//!   without an answer. Several orders add up; `DELETE` takes them back.
//! - `GET /counters` has `token_requests` (by grant type, every attempt), `tokens_issued` (by grant type) and
//!   `refreshes` (by username, the successful ones). `GET /state` has `clients` and `grants`.
//!
//! Only loopback is meant to reach this, so HTTPS is not demanded unless `oauth-https=required` says so; the real
//! product demands it of its base URL and of every redirect URI.

mod authorize;
mod clients;
mod control;
mod gate;
mod pages;
mod provider;
mod scope;
mod token;

pub(crate) use authorize::{authorize, consent, decide};
pub(crate) use clients::Client;
pub(crate) use control::{counters, router as control_router, state};
pub(crate) use gate::{DropAnswer, Gate};
pub(crate) use pages::{log_in, login_page};
pub(crate) use provider::Provider;
pub(crate) use scope::{Scope, refusal as scope_refusal};
pub(crate) use token::{revoke, token};

/// Where clients redeem codes and refresh tokens, without the context path.
pub(crate) const PATH: &str = "/rest/oauth2/latest/";
