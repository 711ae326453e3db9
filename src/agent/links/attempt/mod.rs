//! The state machine of an attempt to link an account: who may do what, when. Pure: time and chance are arguments.
//!
//! Each step is one function on the row. The store runs it between reading and writing that row, on its one thread, so
//! that a step happens once or not at all. What is secret is gone as soon as an attempt has ended.

use std::time::Duration;

use subtle::ConstantTimeEq as _;

use crate::agent::store::tables::links::{Hash, LinkEnd, LinkRow, LinkStage, Pending};
use crate::common::ids::CallerName;
use crate::common::secret::Secret;

/// Why a step is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The attempt is over.
    Ended(LinkEnd),
    /// Another browser began it.
    OtherBrowser,
    /// Another step must come before, or came already.
    NotNow(LinkStage),
    /// It is not this caller's.
    OtherCaller,
    /// The code is wrong; so many tries are left.
    WrongCode {
        /// How many.
        left: u32,
    },
}

impl Refusal {
    /// In a word, for the audit.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ended(ending) | Self::NotNow(LinkStage::Ended(ending)) => ending.as_str(),
            Self::OtherBrowser => "other-browser",
            Self::NotNow(_) => "not-confirmed",
            Self::OtherCaller => "other-caller",
            Self::WrongCode { .. } => "wrong-code",
        }
    }
}

/// From the request of the caller to the person's yes.
pub const LIFE: Duration = Duration::from_secs(600);
/// From the person's yes to the code's return.
pub const CODE_LIFE: Duration = Duration::from_secs(300);
/// Wrong codes that end it.
pub const MAX_TRIES: u32 = 5;
/// Times that an account may be proved; a pasted token counts too, so that nobody tries out tokens here.
pub const MAX_ROUNDS: u32 = 10;
/// A clock that was set back by more must not let an attempt live longer.
pub const SKEW: u64 = 60;

/// Ends it if its time is over.
pub fn settle(row: &mut LinkRow, now: u64) -> Result<(), Refusal> {
    if let Some(ending) = row.stage.ending() {
        return Err(Refusal::Ended(ending));
    }
    let began = row.confirmed.unwrap_or(row.created);
    if now >= expires(row) || now + SKEW < began {
        return Err(end(row, LinkEnd::Expired));
    }
    Ok(())
}

/// When its time is over.
pub fn expires(row: &LinkRow) -> u64 {
    match row.confirmed {
        Some(confirmed) => confirmed.saturating_add(CODE_LIFE.as_secs()),
        None => row.created.saturating_add(LIFE.as_secs()),
    }
}

/// A browser looks at it, and takes no step: programs that make previews of links do so too.
pub fn look(row: &mut LinkRow, browser: Option<Hash>, now: u64) -> Result<(), Refusal> {
    settle(row, now)?;
    match row.browser {
        Some(known) if browser != Some(known) => Err(Refusal::OtherBrowser),
        _ => Ok(()),
    }
}

/// The person goes to consent. From here on the attempt is that browser's. It may be done again, when something went
/// wrong on the way; only the answer to the last one counts.
pub fn consent(
    row: &mut LinkRow,
    browser: Hash,
    state: Hash,
    verifier: Secret<String>,
    now: u64,
) -> Result<(), Refusal> {
    round(row, browser, now)?;
    row.stage = LinkStage::Consenting;
    row.consent = Some(state);
    row.verifier = Some(verifier);
    Ok(())
}

/// The person has pasted a token, which is looked at next. Gives the number of the round.
pub fn paste(row: &mut LinkRow, browser: Hash, now: u64) -> Result<u32, Refusal> {
    round(row, browser, now)?;
    row.stage = LinkStage::Proving;
    Ok(row.rounds)
}

/// The application has sent the browser back with its state. Gives what to redeem the code with, and the number of
/// the round.
pub fn returned(
    row: &mut LinkRow,
    browser: Option<Hash>,
    now: u64,
) -> Result<(Secret<String>, u32), Refusal> {
    settle(row, now)?;
    if row.stage != LinkStage::Consenting {
        return Err(Refusal::NotNow(row.stage));
    }
    if browser.is_none() || browser != row.browser {
        // Somebody was made to consent to another person's attempt.
        end(row, LinkEnd::OtherBrowser);
        return Err(Refusal::OtherBrowser);
    }
    let verifier = row.verifier.take().ok_or(Refusal::NotNow(row.stage))?;
    row.consent = None;
    row.stage = LinkStage::Proving;
    Ok((verifier, row.rounds))
}

/// An account was proved in this round.
pub fn proved(row: &mut LinkRow, round: u32, pending: Pending, now: u64) -> Result<(), Refusal> {
    settle(row, now)?;
    if row.stage != LinkStage::Proving || row.rounds != round {
        return Err(Refusal::NotNow(row.stage));
    }
    row.pending = Some(pending);
    row.stage = LinkStage::Proved;
    Ok(())
}

/// None was: the person may try again.
pub fn failed(row: &mut LinkRow, round: u32, now: u64) -> Result<(), Refusal> {
    settle(row, now)?;
    if row.stage != LinkStage::Proving || row.rounds != round {
        return Err(Refusal::NotNow(row.stage));
    }
    row.stage = LinkStage::Open;
    Ok(())
}

/// The person says yes, and is shown the code of this hash. Done again it gives another code, and no more time.
pub fn confirm(row: &mut LinkRow, browser: Hash, code: Hash, now: u64) -> Result<(), Refusal> {
    ours(row, browser, now)?;
    match row.stage {
        LinkStage::Proved => row.confirmed = Some(now),
        LinkStage::Confirmed => {}
        stage => return Err(Refusal::NotNow(stage)),
    }
    row.stage = LinkStage::Confirmed;
    row.code = Some(code);
    Ok(())
}

/// The person says no.
pub fn cancel(row: &mut LinkRow, browser: Hash, now: u64) -> Result<(), Refusal> {
    ours(row, browser, now)?;
    end(row, LinkEnd::Cancelled);
    Ok(())
}

/// The caller brings a code. The right one ends the attempt and hands out what was proved, once.
pub fn finish(row: &mut LinkRow, caller: &CallerName, code: Hash, now: u64) -> Result<Pending, Refusal> {
    // Another caller learns nothing of it, and can't use its tries up.
    if row.caller != *caller {
        return Err(Refusal::OtherCaller);
    }
    settle(row, now)?;
    let (LinkStage::Confirmed, Some(known)) = (row.stage, row.code) else {
        return Err(Refusal::NotNow(row.stage));
    };
    if !bool::from(known.0.ct_eq(&code.0)) {
        row.tries = row.tries.saturating_add(1);
        let left = MAX_TRIES.saturating_sub(row.tries);
        return Err(if left == 0 { end(row, LinkEnd::TooManyTries) } else { Refusal::WrongCode { left } });
    }
    let pending = row.pending.take().ok_or(Refusal::NotNow(row.stage))?;
    end(row, LinkEnd::Finished);
    Ok(pending)
}

/// Ends it, with all its secrets.
pub fn end(row: &mut LinkRow, ending: LinkEnd) -> Refusal {
    row.stage = LinkStage::Ended(ending);
    (row.consent, row.verifier, row.pending, row.code) = (None, None, None, None);
    Refusal::Ended(ending)
}

/// Only the browser that began it.
fn ours(row: &mut LinkRow, browser: Hash, now: u64) -> Result<(), Refusal> {
    settle(row, now)?;
    if row.browser == Some(browser) { Ok(()) } else { Err(Refusal::OtherBrowser) }
}

/// A round begins, in place of one that is under way.
fn round(row: &mut LinkRow, browser: Hash, now: u64) -> Result<(), Refusal> {
    look(row, Some(browser), now)?;
    if row.stage == LinkStage::Confirmed {
        return Err(Refusal::NotNow(row.stage));
    }
    if row.rounds >= MAX_ROUNDS {
        return Err(end(row, LinkEnd::TooManyRounds));
    }
    row.browser = Some(browser);
    row.rounds += 1;
    (row.consent, row.verifier, row.pending) = (None, None, None);
    Ok(())
}

#[cfg(test)]
mod tests;
