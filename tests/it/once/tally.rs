//! What all callers heard, beside what the upstream saw.

use std::collections::{BTreeMap, HashMap};

use super::caller::{Call, Heard};

/// All calls.
#[derive(Default)]
pub(super) struct Tally(Vec<Call>);

impl Tally {
    pub(super) fn add(&mut self, calls: Vec<Call>) {
        self.0.extend(calls);
    }

    /// Prints the figures, and fails on a call that came twice, on a lie, and on silence.
    pub(super) fn judge(&self, seen: &HashMap<u64, u32>) {
        let mut heard = BTreeMap::<String, (usize, usize)>::new();
        let mut wrong = Vec::new();
        let twice = seen.values().filter(|count| **count > 1).count();
        for (id, count) in seen.iter().filter(|(_, count)| **count > 1) {
            let call = self.0.iter().find(|call| call.id == *id);
            wrong.push(format!("seen {count} times: {call:?}"));
        }
        let mut lies = 0;
        for call in &self.0 {
            let count = seen.get(&call.id).copied().unwrap_or(0);
            let (name, right) = match &call.heard {
                Heard::Own => ("its own answer".to_owned(), count == 1),
                Heard::Problem(code, outcome) => {
                    let honest = outcome == "outcome-unknown" || count == 0;
                    lies += usize::from(!honest);
                    (format!("{code}, {outcome}"), honest)
                }
                Heard::Broken => ("an answer that broke off".to_owned(), true),
                Heard::Left => ("(left by itself)".to_owned(), true),
                Heard::Others(_) => ("an answer of another".to_owned(), false),
                Heard::Silence(_) => ("nothing".to_owned(), false),
            };
            let entry = heard.entry(name).or_default();
            entry.0 += 1;
            entry.1 += usize::from(count > 0);
            if !right {
                wrong.push(format!("the upstream saw it {count} times: {call:?}"));
            }
        }
        for (name, (calls, reached)) in &heard {
            println!("  {calls:>7} heard {name}; of these the upstream saw {reached}");
        }
        let ways = self.0.iter().filter(|call| call.way != "good" && call.way != "slow").count();
        println!(
            "  {} calls, {ways} faulted by the upstream itself; {} seen there, {twice} twice, {lies} told “not sent” \
             that were",
            self.0.len(),
            seen.len(),
        );
        assert!(wrong.is_empty(), "{} wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    }
}
