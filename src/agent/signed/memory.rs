//! Which nonces were used. Pure: takes the time as an argument. None is forgotten while its signature could count.

use std::collections::HashMap;
use std::time::Duration;

use super::Settings;
use crate::common::ids::CallerName;

/// The hash of a nonce.
pub(super) type Hashed = [u8; 16];

/// Why a signature is not taken, though its key made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It counts for longer than is allowed, or its end lies before its beginning.
    Window,
    /// It is from the future, so many seconds.
    Early(u64),
    /// It is over, so many seconds.
    Late(u64),
    /// Its nonce was used.
    Again,
    /// No further nonce of this caller can be remembered; perhaps after so many seconds.
    Full(u64),
    /// None of anybody.
    Crowded(u64),
}

/// All nonces that must be known.
#[derive(Debug, Default)]
pub(super) struct Memory {
    callers: HashMap<CallerName, HashMap<Hashed, u64>>,
    total: usize,
    /// Every signature that was forgotten had ended by then; so none that ends by then counts, even if the clock is set
    /// back.
    floor: u64,
    swept: u64,
}

impl Memory {
    pub(super) fn new(floor: u64) -> Self {
        Self { floor, ..Self::default() }
    }

    /// Puts back what the store knew.
    pub(super) fn put(&mut self, caller: CallerName, nonce: Hashed, expires: u64) {
        if self.callers.entry(caller).or_default().insert(nonce, expires).is_none() {
            self.total += 1;
        }
    }

    /// Takes a nonce for its one call. Of two at once, one gets it.
    pub(super) fn take(
        &mut self,
        caller: &CallerName,
        nonce: Hashed,
        (created, expires): (u64, u64),
        now: u64,
        settings: &Settings,
    ) -> Result<(), Refused> {
        let skew = settings.clock_skew.as_secs();
        if expires <= created || expires - created > settings.window.as_secs() {
            return Err(Refused::Window);
        }
        if created > now.saturating_add(skew) {
            return Err(Refused::Early(created - now));
        }
        if expires.saturating_add(skew) <= now {
            return Err(Refused::Late(now - expires));
        }
        if expires <= self.floor {
            return Err(Refused::Late(0));
        }
        self.sweep(now, skew);
        if self.callers.get(caller).is_some_and(|known| known.contains_key(&nonce)) {
            return Err(Refused::Again);
        }
        let own = self.callers.get(caller).map_or(0, HashMap::len);
        if own >= settings.max_nonces {
            return Err(Refused::Full(self.first_end(Some(caller), now, skew)));
        }
        if self.total >= MOST {
            return Err(Refused::Crowded(self.first_end(None, now, skew)));
        }
        self.put(caller.clone(), nonce, expires);
        Ok(())
    }

    /// Up to when signatures can be forgotten.
    pub(super) fn over(now: u64, clock_skew: Duration) -> u64 {
        now.saturating_sub(clock_skew.as_secs())
    }

    /// Forgets what is over, at most once a second.
    fn sweep(&mut self, now: u64, skew: u64) {
        let much = self.total >= SWEEP_EACH_SECOND;
        if now.abs_diff(self.swept) < if much { 1 } else { 30 } {
            return;
        }
        self.swept = now;
        let (mut floor, mut gone) = (self.floor, 0);
        for known in self.callers.values_mut() {
            known.retain(|_, expires| {
                let keep = expires.saturating_add(skew) > now;
                if !keep {
                    floor = floor.max(*expires);
                    gone += 1;
                }
                keep
            });
        }
        self.callers.retain(|_, known| !known.is_empty());
        self.floor = floor;
        self.total = self.total.saturating_sub(gone);
    }

    fn first_end(&self, caller: Option<&CallerName>, now: u64, skew: u64) -> u64 {
        let those = self.callers.iter().filter(|(name, _)| caller.is_none_or(|caller| caller == *name));
        let first = those.flat_map(|(_, known)| known.values()).min().copied().unwrap_or(now);
        first.saturating_add(skew).saturating_sub(now).clamp(1, 600)
    }
}

/// Of all callers together; some 50 MB.
const MOST: usize = 1_000_000;
const SWEEP_EACH_SECOND: usize = 10_000;
