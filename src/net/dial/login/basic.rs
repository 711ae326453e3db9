//! Basic (RFC 7617): said unasked, and once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;

use super::{Login, LoginFault, Scheme, not_offered, of, offered};
use crate::common::secret::Secret;
use crate::net::dial::proxy::Challenge;

pub(super) struct Basic {
    value: Secret<String>,
}

impl Basic {
    pub(super) fn new(pair: &Secret<String>) -> Self {
        let encoded = Secret::new(STANDARD.encode(pair.expose()));
        Self { value: Secret::new(format!("Basic {}", encoded.expose())) }
    }
}

impl Login for Basic {
    fn begin(&mut self) -> BoxFuture<'_, Result<Option<Secret<String>>, LoginFault>> {
        Box::pin(std::future::ready(Ok(Some(self.value.clone()))))
    }

    fn answer<'a>(
        &'a mut self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<Secret<String>, LoginFault>> {
        // A 407 without a scheme comes from proxies that speak Basic and forget to say so.
        let fault = if challenges.is_empty() || of(challenges, Scheme::Basic).is_some() {
            LoginFault::Refused { offered: offered(challenges) }
        } else {
            not_offered(Scheme::Basic, challenges)
        };
        Box::pin(std::future::ready(Err(fault)))
    }

    fn holds_connection(&self) -> bool {
        false
    }
}
