//! NTLM over HTTP (MS-NTHT): NEGOTIATE with the first request, AUTHENTICATE as the answer to the CHALLENGE in the 407.
//!
//! Only version 2 of the response is made, which no proxy of this century refuses; [`message`] is the wire.

mod message;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{Login, LoginFault, Scheme, not_offered, of, offered};
use crate::common::clock::Clock;
use crate::common::secret::Secret;
use crate::net::dial::proxy::Challenge;
use message::{Account, ServerChallenge, authenticate, negotiate};

pub(super) struct Ntlm {
    account: Account,
    /// What the proxy is called where services are named: `HTTP/proxy.corp.example`.
    service: String,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// NEGOTIATE went out; once more if the proxy did not heed it.
    Begun { again: bool },
    /// AUTHENTICATE went out: the next answer is the last.
    Answered,
}

impl Ntlm {
    pub(super) fn new(pair: &Secret<String>, proxy: &str) -> Self {
        let account = Account::parse(pair.expose());
        Self { account, service: format!("HTTP/{proxy}"), state: State::Begun { again: false } }
    }

    fn next(&mut self, challenges: &[Challenge]) -> Result<Secret<String>, LoginFault> {
        let Some(challenge) = of(challenges, Scheme::Ntlm) else {
            return Err(not_offered(Scheme::Ntlm, challenges));
        };
        let malformed = |what| LoginFault::Challenge { scheme: Scheme::Ntlm, what };
        let Some(token) = &challenge.token else {
            return match self.state {
                // It asks for a login as if it had heard of none; some heed only what they asked for.
                State::Begun { again: false } => {
                    self.state = State::Begun { again: true };
                    Ok(value(&negotiate()))
                }
                State::Begun { again: true } => Err(LoginFault::Unheeded { scheme: Scheme::Ntlm }),
                State::Answered => Err(LoginFault::Refused { offered: offered(challenges) }),
            };
        };
        if self.state == State::Answered {
            return Err(LoginFault::Refused { offered: offered(challenges) });
        }
        let bytes = STANDARD.decode(token).map_err(|_| malformed("is no base64"))?;
        let server = ServerChallenge::read(&bytes).map_err(malformed)?;
        let mut nonce = [0; 8];
        SystemRandom::new().fill(&mut nonce).map_err(|_| LoginFault::Random)?;
        let now = Clock::system().wall();
        let said = [negotiate(), bytes].concat();
        let message = authenticate(&self.account, &server, &said, &self.service, nonce, now);
        self.state = State::Answered;
        Ok(value(message.expose()))
    }
}

impl Login for Ntlm {
    fn begin(&mut self) -> BoxFuture<'_, Result<Option<Secret<String>>, LoginFault>> {
        self.state = State::Begun { again: false };
        Box::pin(std::future::ready(Ok(Some(value(&negotiate())))))
    }

    fn answer<'a>(
        &'a mut self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<Secret<String>, LoginFault>> {
        Box::pin(std::future::ready(self.next(challenges)))
    }

    fn holds_connection(&self) -> bool {
        self.state == State::Answered
    }
}

fn value(message: &[u8]) -> Secret<String> {
    Secret::new(format!("NTLM {}", STANDARD.encode(message)))
}
