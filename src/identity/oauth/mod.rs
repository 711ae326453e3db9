//! The client's half of OAuth 2.0, as far as it is decided without a socket.
//!
//! [`Verifier`] is the secret of a proof key (RFC 7636), [`Authorization`] the address a person's browser is sent to
//! (RFC 6749, section 4.1.1), [`Grant`] the form of a token request, [`read`] the answer to it. Who sends it, and
//! what becomes of the tokens, is the agent's affair.
//!
//! Written for Jira's provider, so it is stricter than the RFC where that is stricter: `redirect_uri` goes with a
//! refresh too, and `created_at` of an answer is not looked at, since it is of another machine's clock.

mod answer;
mod authorize;
mod grant;
mod pkce;

pub use answer::{ErrorCode, MAX_ANSWER, TokenFault, Tokens, read};
pub use authorize::Authorization;
pub use grant::{Client, FORM, Grant, revocation};
pub use pkce::{Challenge, Verifier};
