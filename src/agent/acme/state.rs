//! What is known of the account and of each name, in memory; and what to do next, by `renewal`. No input or output.

use std::collections::BTreeMap;

use super::certificate::Leaf;
use super::renewal::{self, DAY, Held, Hold, Next, Situation, Tries};
use crate::agent::store::tables::acme::{Account, Kept, TriesRow};

/// All of it.
pub(super) struct State {
    pub(super) account: Option<Account>,
    /// What came of the tries to make one.
    pub(super) account_tries: TriesRow,
    pub(super) names: BTreeMap<String, Entry>,
}

/// One name.
pub(super) struct Entry {
    pub(super) customer: bool,
    pub(super) kept: Result<Kept, String>,
    pub(super) leaf: Option<Leaf>,
    pub(super) tries: TriesRow,
    pub(super) orders: Vec<u64>,
    pub(super) asked: bool,
    pub(super) under_way: bool,
    /// How many tries of this process have ended.
    pub(super) ended: u64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Make the account.
    Register,
    /// Order a certificate for this name.
    Order(String),
    /// Nothing before then.
    Wait(u64),
}

impl Entry {
    pub(super) fn next(&self, now: u64, directory: &str) -> Next {
        let situation = Situation {
            held: self.held(directory),
            tries: tries(&self.tries),
            orders: &self.orders,
            asked: self.asked,
        };
        renewal::next(now, &situation)
    }

    pub(super) fn held(&self, directory: &str) -> Option<Held> {
        let (leaf, chain) = (self.leaf.as_ref()?, self.kept.as_ref().ok()?.chain.as_ref()?);
        Some(Held {
            begins: leaf.begins,
            ends: leaf.ends,
            spread: leaf.spread,
            same_authority: chain.directory == directory,
        })
    }

    /// Takes the new certificate for the one before. A key that was made meanwhile stays the next one.
    pub(super) fn adopt(&mut self, fresh: Kept, leaf: Leaf) {
        let next = self.kept.as_mut().ok().and_then(|kept| kept.next_key.take());
        let next_key = next.filter(|next| next.expose() != fresh.key.expose());
        self.kept = Ok(Kept { next_key, ..fresh });
        self.leaf = Some(leaf);
    }

    pub(super) fn orders_today(&self, now: u64) -> usize {
        self.orders.iter().filter(|at| **at <= now && at.saturating_add(DAY) > now).count()
    }
}

impl State {
    /// The next step. What was asked for by hand comes first.
    pub(super) fn step(&self, now: u64, directory: &str) -> Step {
        let asked = self.names.values().any(|entry| entry.asked);
        if self.account.is_none() {
            return self.account_hold(now, asked).map_or(Step::Register, |(until, _)| Step::Wait(until));
        }
        let mut first = (now + DAY, None);
        for (name, entry) in &self.names {
            if entry.kept.is_err() {
                continue;
            }
            let at = match entry.next(now, directory) {
                Next::Order(_) if entry.asked => return Step::Order(name.clone()),
                Next::Order(_) => now,
                Next::Wait { until, .. } => until,
            };
            if at < first.0 {
                first = (at, Some(name));
            }
        }
        match first {
            (at, Some(name)) if at <= now => Step::Order(name.clone()),
            (at, _) => Step::Wait(at),
        }
    }

    /// Until when no account is made, where there is none, and why.
    pub(super) fn account_hold(&self, now: u64, asked: bool) -> Option<(u64, Hold)> {
        if self.account.is_some() {
            return None;
        }
        renewal::held_back(now, tries(&self.account_tries), asked)
    }

    /// No account could be made. Whoever asked for a certificate by hand has had the try that they asked for: another one
    /// waits as these tries say.
    pub(super) fn account_failed(&mut self, tries: TriesRow) {
        self.account_tries = tries;
        for entry in self.names.values_mut().filter(|entry| entry.asked) {
            entry.asked = false;
            entry.ended += 1;
        }
    }
}

fn tries(row: &TriesRow) -> Tries {
    Tries { failures: row.failures, not_before: row.not_before, refused_until: row.refused_until }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::store::tables::acme::Chain;
    use crate::common::secret::Secret;

    const NOW: u64 = 1_800_000_000;

    fn entry(age: Option<u64>) -> Entry {
        let chain = Chain { pem: String::new(), directory: "d".to_owned(), issued: 0 };
        Entry {
            customer: true,
            kept: Ok(Kept { key: Secret::new(Vec::new()), next_key: None, chain: Some(chain) }),
            leaf: age.map(|age| Leaf {
                issuer: String::new(),
                names: Vec::new(),
                serial: String::new(),
                begins: NOW - age * DAY,
                ends: NOW - age * DAY + 90 * DAY,
                pin: String::new(),
                spread: 0.0,
            }),
            tries: TriesRow::default(),
            orders: Vec::new(),
            asked: false,
            under_way: false,
            ended: 0,
        }
    }

    fn account() -> Account {
        Account {
            directory: "d".to_owned(),
            uri: "u".to_owned(),
            key: Secret::new(Vec::new()),
            identities: Vec::new(),
            contact: Vec::new(),
            created: 0,
        }
    }

    #[test]
    fn first_the_account_then_what_was_asked_then_what_is_due_first() {
        let names = [("a", entry(Some(10))), ("b", entry(None)), ("c", entry(Some(20)))];
        let names = names.into_iter().map(|(name, entry)| (name.to_owned(), entry)).collect();
        let mut state = State { account: None, account_tries: TriesRow::default(), names };
        assert_eq!(state.step(NOW, "d"), Step::Register);
        state.account_tries.not_before = NOW + 60;
        assert_eq!(state.step(NOW, "d"), Step::Wait(NOW + 60));
        state.names.get_mut("c").unwrap().asked = true;
        assert_eq!(state.step(NOW, "d"), Step::Register);
        state.account = Some(account());
        assert_eq!(state.step(NOW, "d"), Step::Order("c".to_owned()));
        state.names.get_mut("c").unwrap().asked = false;
        assert_eq!(state.step(NOW, "d"), Step::Order("b".to_owned()));
        state.names.get_mut("b").unwrap().tries.not_before = NOW + 300;
        assert_eq!(state.step(NOW, "d"), Step::Wait(NOW + 300));
        // One whose key does not open is left alone, and the others are not.
        state.names.get_mut("b").unwrap().kept = Err("broken".to_owned());
        assert_eq!(state.step(NOW, "d"), Step::Wait(NOW + DAY));
        // Another authority is configured.
        assert_eq!(state.step(NOW, "other"), Step::Order("a".to_owned()));
        state.names.clear();
        assert_eq!(state.step(NOW, "d"), Step::Wait(NOW + DAY));
    }

    #[test]
    fn asking_by_hand_is_one_try_for_an_account_and_no_more() {
        let names = [("a", entry(None)), ("b", entry(None)), ("c", entry(None))];
        let names = names.into_iter().map(|(name, entry)| (name.to_owned(), entry)).collect();
        let failed = TriesRow { failures: 1, not_before: NOW + 300, ..TriesRow::default() };
        let mut state = State { account: None, account_tries: failed.clone(), names };
        for name in ["a", "b"] {
            state.names.get_mut(name).unwrap().asked = true;
        }
        assert_eq!(state.step(NOW, "d"), Step::Register);
        state.account_failed(TriesRow { failures: 2, not_before: NOW + 900, ..failed });
        assert_eq!(state.step(NOW, "d"), Step::Wait(NOW + 900));
        let ended: Vec<u64> = state.names.values().map(|entry| entry.ended).collect();
        assert_eq!(ended, [1, 1, 0], "who asked hears of it");
        // And not even that where the authority said when to come again.
        state.account_tries.refused_until = NOW + 8 * DAY;
        state.names.get_mut("c").unwrap().asked = true;
        assert_eq!(state.step(NOW, "d"), Step::Wait(NOW + 8 * DAY));
        assert_eq!(state.account_hold(NOW, true), Some((NOW + 8 * DAY, Hold::Authority)));
        // A time that a wrong clock left behind does not end the back-off with it.
        state.account_tries.refused_until = NOW + 9 * DAY;
        state.names.get_mut("c").unwrap().asked = false;
        assert_eq!(state.step(NOW, "d"), Step::Wait(NOW + 900));
    }
}
