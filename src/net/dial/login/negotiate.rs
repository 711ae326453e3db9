//! Negotiate with Kerberos (RFC 4559): one token, made with a ticket for `HTTP/{proxy}` that the KDC gives for user and
//! password.
//!
//! The library makes the messages; what it has to say to the KDC goes over TCP from here, never through the proxy. NTLM
//! inside Negotiate is switched off: who wants NTLM says so.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use sspi::generator::GeneratorState;
use sspi::{
    AuthIdentity, BufferType, ClientRequestFlags, CredentialUse, DataRepresentation, KerberosConfig,
    Negotiate, NegotiateConfig, SecurityBuffer, Sspi as _, SspiImpl as _, Username,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Login, LoginFault, Scheme, not_offered, of, offered};
use crate::common::secret::Secret;
use crate::net::dial::proxy::Challenge;
use crate::net::dial::{Target, tcp};

pub(super) struct Kerberos {
    pair: Secret<String>,
    kdc: Target,
    /// Whom the ticket is for: `HTTP/proxy.corp.example`.
    service: String,
}

impl Kerberos {
    pub(super) fn new(pair: &Secret<String>, kdc: &Target, proxy: &str) -> Self {
        Self { pair: pair.clone(), kdc: kdc.clone(), service: format!("HTTP/{proxy}") }
    }

    /// The token of one login: tickets are not kept, since a tunnel lives longer than most of them.
    async fn token(&self) -> Result<Secret<String>, LoginFault> {
        let fault = |error: sspi::Error| {
            let text = format!("{:?}: {}", error.error_type, error.description);
            self.no_ticket(text.chars().filter(|letter| !letter.is_control()).take(300).collect())
        };
        let (name, password) = self.pair.expose().split_once(':').unwrap_or((self.pair.expose(), ""));
        // The account's own name, in that realm; not another name for it that only a Windows domain can look up.
        let username = name.rsplit_once('@').and_then(|(user, realm)| {
            Username::new_down_level_logon_name(user, realm)
                .ok()
                .filter(|_| !user.is_empty() && !realm.is_empty())
        });
        let username = username.ok_or_else(|| {
            self.no_ticket("proxy-credentials must be user@REALM:password for Kerberos".to_owned())
        })?;
        let identity = AuthIdentity { username, password: password.to_owned().into() };

        let computer = "outhaul".to_owned();
        let config = KerberosConfig::new_with_kdc_url(&format!("tcp://{}", self.kdc), computer.clone());
        let config = NegotiateConfig::new(Box::new(config), Some("kerberos,!ntlm".to_owned()), computer);
        let mut client = Negotiate::new_client(config).map_err(fault)?;
        let mut handle = client
            .acquire_credentials_handle()
            .with_credential_use(CredentialUse::Outbound)
            .with_auth_data(&identity.into())
            .execute(&mut client)
            .map_err(fault)?;
        let mut input = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let mut output = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
        {
            let mut request = client
                .initialize_security_context()
                .with_credentials_handle(&mut handle.credentials_handle)
                .with_context_requirements(ClientRequestFlags::empty())
                .with_target_data_representation(DataRepresentation::Native)
                .with_target_name(&self.service)
                .with_input(&mut input)
                .with_output(&mut output);
            let mut steps = client.initialize_security_context_impl(&mut request).map_err(fault)?;
            let mut state = steps.start();
            let mut asked = 0_usize;
            loop {
                match state {
                    GeneratorState::Completed(done) => {
                        done.map_err(fault)?;
                        break;
                    }
                    GeneratorState::Suspended(question) => {
                        asked = asked.saturating_add(1);
                        if asked > MAX_QUESTIONS {
                            return Err(self.no_ticket("the KDC refers from one to the next".to_owned()));
                        }
                        let answer = self.ask(&question.data).await?;
                        state = steps.resume(Ok(answer));
                    }
                }
            }
        }
        let token = output.first_mut().map(|buffer| std::mem::take(&mut buffer.buffer)).unwrap_or_default();
        let token = Secret::new(token);
        let encoded = Secret::new(STANDARD.encode(token.expose()));
        Ok(Secret::new(format!("Negotiate {}", encoded.expose())))
    }

    /// One message to the KDC and its answer, each behind its length (RFC 4120, section 7.2.2).
    async fn ask(&self, message: &[u8]) -> Result<Vec<u8>, LoginFault> {
        let unreached = |error: &dyn std::error::Error| self.no_ticket(format!("{error}"));
        let mut stream = tcp(&self.kdc, KDC_PATIENCE).await.map_err(|fault| unreached(&fault))?;
        let asking = async {
            stream.write_all(message).await?;
            let length = stream.read_u32().await?;
            let size = usize::try_from(length).unwrap_or(usize::MAX);
            if size > MAX_ANSWER {
                return Err(std::io::Error::other("its answer is too large"));
            }
            let mut answer = length.to_be_bytes().to_vec();
            answer.resize(size.saturating_add(4), 0);
            stream.read_exact(answer.get_mut(4..).unwrap_or_default()).await?;
            Ok(answer)
        };
        match tokio::time::timeout(KDC_PATIENCE, asking).await {
            Ok(answered) => answered.map_err(|error| unreached(&error)),
            Err(_) => Err(self.no_ticket(format!("it did not answer within {KDC_PATIENCE:?}"))),
        }
    }

    fn no_ticket(&self, why: String) -> LoginFault {
        LoginFault::Ticket { kdc: self.kdc.to_string(), service: self.service.clone(), why }
    }
}

impl Login for Kerberos {
    fn begin(&mut self) -> BoxFuture<'_, Result<Option<Secret<String>>, LoginFault>> {
        Box::pin(async { self.token().await.map(Some) })
    }

    fn answer<'a>(
        &'a mut self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<Secret<String>, LoginFault>> {
        // The ticket is all there is to say.
        let fault = match of(challenges, Scheme::Negotiate) {
            Some(_) => LoginFault::Refused { offered: offered(challenges) },
            None => not_offered(Scheme::Negotiate, challenges),
        };
        Box::pin(std::future::ready(Err(fault)))
    }

    fn holds_connection(&self) -> bool {
        false
    }
}

const KDC_PATIENCE: Duration = Duration::from_secs(5);
/// A ticket takes three questions; each referral to another realm one more.
const MAX_QUESTIONS: usize = 8;
const MAX_ANSWER: usize = 64 * 1024;
