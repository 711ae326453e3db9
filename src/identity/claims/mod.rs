//! Whether a verified token is for us, and good now (RFC 7519, section 4.1).
//!
//! Time is an argument. What an issuer's tokens must say is an [`Expected`], from the configuration.

use std::time::Duration;

use serde_json::Value;

use super::jws::Verified;

/// What a token of an issuer must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// `iss`, letter by letter.
    pub issuer: String,
    /// `aud`: one of these, letter by letter.
    pub audiences: Vec<String>,
    /// How far clocks may differ.
    pub skew: Duration,
    /// What else it must say, all of it.
    pub required: Vec<Condition>,
}

/// What one claim must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The claim, a member of the top.
    pub claim: String,
    /// What it must be.
    pub test: Test,
}

/// What a claim must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// A text, and one of these.
    OneOf(Vec<String>),
    /// A list of texts, or a text of words with spaces between, with this among them.
    Contains(String),
}

/// When a token is good, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Window {
    from: Option<f64>,
    until: f64,
}

/// Why a token is not for us, or not good now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimFault {
    /// Another issuer's, or nobody's.
    #[error("its issuer (iss) is another")]
    Issuer,
    /// For somebody else, or nobody.
    #[error("it is for another audience (aud)")]
    Audience,
    /// A time that is none.
    #[error("its {0} is no time in seconds since 1970")]
    Time(&'static str),
    /// Without an end.
    #[error("it has no end (exp)")]
    Endless,
    /// Over.
    #[error("it has expired (exp)")]
    Expired,
    /// From the future.
    #[error("it is not good yet ({0}): its issuer's clock or this machine's is wrong, or it came too early")]
    Early(&'static str),
    /// Does not say what it must.
    #[error("its claim “{0}” does not say what this site asks for")]
    Required(String),
}

impl Expected {
    /// When the token is good, if it is for us at all; and it must be now.
    pub fn check(&self, token: &Verified, now: u64) -> Result<Window, ClaimFault> {
        if token.text("iss") != Some(&self.issuer) {
            return Err(ClaimFault::Issuer);
        }
        if !self.is_audience(token.claim("aud")) {
            return Err(ClaimFault::Audience);
        }
        let until = time(token, "exp")?.ok_or(ClaimFault::Endless)?;
        let not_before = time(token, "nbf")?;
        let issued = time(token, "iat")?;
        Window { from: issued, until }.check(now, self.skew).map_err(|fault| match fault {
            ClaimFault::Early(_) => ClaimFault::Early("iat"),
            fault => fault,
        })?;
        let window = Window { from: not_before, until };
        window.check(now, self.skew)?;
        for condition in &self.required {
            if !condition.holds(token) {
                return Err(ClaimFault::Required(condition.claim.clone()));
            }
        }
        Ok(window)
    }

    /// A text, or a list of texts with ours among them. A list with anything else in it is none.
    fn is_audience(&self, audience: Option<&Value>) -> bool {
        match audience {
            Some(Value::String(one)) => self.audiences.contains(one),
            Some(Value::Array(all)) => {
                all.iter().all(Value::is_string)
                    && all.iter().any(|one| self.audiences.iter().any(|ours| one == ours))
            }
            _ => false,
        }
    }
}

impl Window {
    /// Whether it is open at this time, give or take what clocks may differ.
    pub fn check(&self, now: u64, skew: Duration) -> Result<(), ClaimFault> {
        // A time in seconds is far below 2^53, so nothing is lost.
        #[expect(clippy::cast_precision_loss, reason = "no time is that large")]
        let now = now as f64;
        let skew = skew.as_secs_f64();
        if now >= self.until + skew {
            return Err(ClaimFault::Expired);
        }
        if self.from.is_some_and(|from| now + skew < from) {
            return Err(ClaimFault::Early("nbf"));
        }
        Ok(())
    }

    /// Its end, in whole seconds since 1970.
    #[expect(clippy::cast_sign_loss, reason = "no time below 0 is read")]
    pub fn until(&self) -> u64 {
        self.until as u64
    }
}

impl Condition {
    /// Whether a token says so.
    pub fn holds(&self, token: &Verified) -> bool {
        let claim = token.claim(&self.claim);
        match (&self.test, claim) {
            (Test::OneOf(wanted), Some(Value::String(text))) => wanted.contains(text),
            (Test::Contains(wanted), Some(Value::String(text))) => text.split(' ').any(|word| word == wanted),
            (Test::Contains(wanted), Some(Value::Array(all))) => all.iter().any(|one| one == wanted),
            _ => false,
        }
    }
}

/// A time (RFC 7519, section 2, NumericDate), if the claim is there.
fn time(token: &Verified, name: &'static str) -> Result<Option<f64>, ClaimFault> {
    let Some(value) = token.claim(name) else { return Ok(None) };
    let time = value.as_f64().filter(|time| (0.0..=LAST).contains(time));
    time.map(Some).ok_or(ClaimFault::Time(name))
}

/// The end of the year 9999.
const LAST: f64 = 253_402_300_799.0;

#[cfg(test)]
mod tests;
