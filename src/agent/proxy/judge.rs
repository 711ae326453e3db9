//! Whether an answer may pass: its shape, and as whom the upstream answered.
//!
//! Where somebody watches over the credential, they are asked before a refusal is believed: a person's token may have
//! died, or the person may be called otherwise now.

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};

use super::identity::{Expected, Verdict};
use super::{Made, Proxy, problems};
use crate::agent::credentials::{Credential, Keeper, Refusal};
use crate::agent::policy::{Identity, Permit};
use crate::agent::upstream::AnswerBody;
use crate::common::problem::{Code, Problem};

/// What becomes of an answer.
pub(super) enum Judged {
    /// It passes.
    Passes,
    /// The credential was dead, and the upstream did nothing; this one is in its place.
    Renewed(Arc<Credential>),
}

impl Proxy {
    /// Whom the answers must be made for.
    pub(super) fn expected<'a>(
        &self,
        permit: &Permit,
        credential: Option<&'a Credential>,
    ) -> Result<Expected<'a>, Problem> {
        let checked = self.upstream.config().identity_header;
        match (permit.identity(), credential) {
            (Identity::Anonymous, None) if checked => Ok(Expected::Anonymous),
            (Identity::Service(_) | Identity::User, Some(credential)) if checked => {
                Ok(Expected::User(credential.user()))
            }
            (Identity::Service(_) | Identity::User, Some(credential)) if credential.keeper().is_some() => {
                Ok(Expected::Watched(credential.user()))
            }
            (Identity::Anonymous, None) | (Identity::Service(_), Some(_)) => Ok(Expected::Unchecked),
            // Never another account instead. A person's credential always has somebody who watches over it.
            _ => Err(Problem::new(
                Code::CredentialMissing,
                "The rule names an identity for which the agent has no credential.",
            )),
        }
    }

    /// Judges the head of an answer.
    pub(super) async fn judge(
        &self,
        permit: &Permit,
        expected: Expected<'_>,
        answer: &Response<AnswerBody>,
        made: Made<'_>,
    ) -> Result<Judged, Problem> {
        let (status, headers) = (answer.status(), answer.headers());
        self.can_pass(permit, status, headers)?;
        let verdict = expected.judge(status, headers);
        match (verdict, made.credential) {
            (Verdict::Right, _) | (Verdict::Refused, None) => Ok(Judged::Passes),
            (verdict, Some(credential)) if credential.keeper().is_some() => {
                Box::pin(self.ask_keeper(permit, verdict, status, headers, credential, made)).await
            }
            (Verdict::Refused, Some(credential)) => {
                if Box::pin(self.verdicts.is_dead(&self.upstream, permit.identity(), credential)).await {
                    return Err(problems::dead(&self.upstream, credential.user()));
                }
                Ok(Judged::Passes)
            }
            (Verdict::Nobody, _) => Err(self.mismatch(permit, "anonymous", made)),
            (Verdict::Wrong(seen), _) => Err(self.mismatch(permit, &seen, made)),
        }
    }

    async fn ask_keeper(
        &self,
        permit: &Permit,
        verdict: Verdict,
        status: StatusCode,
        headers: &HeaderMap,
        credential: &Credential,
        made: Made<'_>,
    ) -> Result<Judged, Problem> {
        let Some(keeper) = credential.keeper() else { return Ok(Judged::Passes) };
        match verdict {
            Verdict::Right => Ok(Judged::Passes),
            Verdict::Refused => match keeper.refused(credential).await {
                Refusal::Alive => Ok(Judged::Passes),
                Refusal::Renewed(renewed) => Ok(Judged::Renewed(renewed)),
                Refusal::Lost(problem) => Err(*problem),
            },
            Verdict::Nobody => {
                // What nobody was refused was not done; all else may have been, and must not look as if it had not.
                let harmless = permit.method().is_safe() || status.is_client_error();
                match keeper.refused(credential).await {
                    Refusal::Renewed(renewed) if harmless => Ok(Judged::Renewed(renewed)),
                    Refusal::Lost(problem) if harmless => Err(*problem),
                    _ => Err(self.mismatch(permit, "anonymous", made)),
                }
            }
            Verdict::Wrong(_) if renamed(keeper, credential, status, headers).await => Ok(Judged::Passes),
            Verdict::Wrong(seen) => Err(self.mismatch(permit, &seen, made)),
        }
    }

    fn can_pass(&self, permit: &Permit, status: StatusCode, headers: &HeaderMap) -> Result<(), Problem> {
        if status.as_u16() < 200 || status.as_u16() > 599 {
            return Err(Problem::new(
                Code::UpstreamAnswer,
                format!(
                    "The application answered with status {}, which can't be passed on.",
                    status.as_u16()
                ),
            ));
        }
        let length: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if length > MAX_HEAD {
            return Err(problems::head_too_large(permit.method(), &self.upstream, length));
        }
        Ok(())
    }

    fn mismatch(&self, permit: &Permit, seen: &str, made: Made<'_>) -> Problem {
        let user = made.credential.map_or("anonymous", Credential::user);
        let seen: String = seen.chars().take(80).collect();
        tracing::warn!(
            request = %made.request_id, upstream = %permit.upstream(), expected = user, seen,
            "an answer was made as another user and withheld"
        );
        let person = matches!(permit.identity(), Identity::User);
        problems::mismatch(
            permit.method(),
            &self.upstream,
            if person { "the person's account" } else { user },
        )
    }
}

/// Whether the answer was made as the same account under its new name.
async fn renamed(
    keeper: &dyn Keeper,
    credential: &Credential,
    status: StatusCode,
    headers: &HeaderMap,
) -> bool {
    let Some(now) = keeper.other_name(credential).await else { return false };
    matches!(Expected::User(now.user()).judge(status, headers), Verdict::Right | Verdict::Refused)
}

/// No answer's head is larger: it must fit one frame of the tunnel.
const MAX_HEAD: usize = 60 << 10;
