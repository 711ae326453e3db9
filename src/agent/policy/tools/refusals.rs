//! Counts what the policy refuses, by caller and shape of path, so that an administrator can be shown the missing rule.
//!
//! Bounded whatever callers send: so many shapes for one caller and so many in all; what finds no place is counted
//! as a number only. Holds no query, no body and no value of a path.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::Method;

use super::shape::shape;
use crate::agent::policy::{Call, Methods};
use crate::common::ids::{CallerName, UpstreamName};
use crate::common::problem::Code;

/// What was refused since the agent started. Shared by all calls; asked by the admin socket.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    callers: HashMap<CallerName, HashMap<Kind, Count>>,
    shapes: usize,
    other: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    upstream: UpstreamName,
    method: Method,
    shape: String,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    calls: u64,
    code: Code,
    first: SystemTime,
    last: SystemTime,
}

/// One caller's refused calls of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Who called.
    pub caller: CallerName,
    /// The application.
    pub upstream: UpstreamName,
    /// The method.
    pub method: Method,
    /// The path with its values taken out, as a rule would say it.
    pub shape: String,
    /// How many calls.
    pub calls: u64,
    /// The code of the last refusal.
    pub code: Code,
    /// The first of them.
    pub first: SystemTime,
    /// The last of them.
    pub last: SystemTime,
}

impl Refusals {
    /// Counts one refusal of a known caller.
    pub fn count(&self, call: &Call, code: Code, now: SystemTime) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = Methods::knows(&call.method).then(|| shape(&call.path)).flatten();
        let kind =
            kind.map(|shape| Kind { upstream: call.upstream.clone(), method: call.method.clone(), shape });
        match (&call.caller, kind) {
            (Some(caller), Some(kind)) => counted.add(caller, kind, code, now),
            _ => counted.other = counted.other.saturating_add(1),
        }
    }

    /// All kinds, the most frequent first, and how many calls found no place among them.
    pub fn list(&self) -> (Vec<Refused>, u64) {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = counted.callers.iter().flat_map(|(caller, kinds)| {
            kinds.iter().map(|(kind, count)| Refused {
                caller: caller.clone(),
                upstream: kind.upstream.clone(),
                method: kind.method.clone(),
                shape: kind.shape.clone(),
                calls: count.calls,
                code: count.code,
                first: count.first,
                last: count.last,
            })
        });
        let mut list: Vec<Refused> = kinds.collect();
        let order = |one: &Refused| (one.caller.clone(), one.shape.clone(), one.method.to_string());
        list.sort_by(|one, other| other.calls.cmp(&one.calls).then_with(|| order(one).cmp(&order(other))));
        (list, counted.other)
    }
}

impl Counted {
    fn add(&mut self, caller: &CallerName, kind: Kind, code: Code, now: SystemTime) {
        let known = self.callers.get_mut(caller).and_then(|kinds| kinds.get_mut(&kind));
        if let Some(count) = known {
            count.calls = count.calls.saturating_add(1);
            (count.code, count.last) = (code, now.max(count.last));
            return;
        }
        let own = self.callers.get(caller).map_or(0, HashMap::len);
        let full = match (own >= MAX_OF_ONE, self.shapes >= MAX_SHAPES) {
            (true, _) => !self.make_room(Some(caller), now),
            (false, true) => !self.make_room(None, now),
            (false, false) => false,
        };
        if full {
            self.other = self.other.saturating_add(1);
            return;
        }
        let count = Count { calls: 1, code, first: now, last: now };
        self.callers.entry(caller.clone()).or_default().insert(kind, count);
        self.shapes += 1;
    }

    /// Takes away the kind that was not seen for longest, of this caller's or of all, if that is long enough ago.
    fn make_room(&mut self, of: Option<&CallerName>, now: SystemTime) -> bool {
        let callers = self.callers.iter().filter(|(caller, _)| of.is_none_or(|of| of == *caller));
        let kinds = callers.flat_map(|(caller, kinds)| kinds.iter().map(move |kind| (caller, kind)));
        let stalest = kinds.min_by_key(|(_, (_, count))| count.last);
        let stale = stalest
            .filter(|(_, (_, count))| now.duration_since(count.last).is_ok_and(|age| age > STALE))
            .map(|(caller, (kind, count))| (caller.clone(), kind.clone(), count.calls));
        let Some((caller, kind, calls)) = stale else { return false };
        if let Some(kinds) = self.callers.get_mut(&caller) {
            kinds.remove(&kind);
            if kinds.is_empty() {
                self.callers.remove(&caller);
            }
        }
        self.shapes -= 1;
        self.other = self.other.saturating_add(calls);
        true
    }
}

/// Kinds of refused calls that are kept in all.
pub const MAX_SHAPES: usize = 1_000;
/// Kinds that are kept for one caller, so that none can crowd out the others.
pub const MAX_OF_ONE: usize = 200;
/// A kind not seen for so long makes room for a new one.
const STALE: Duration = Duration::from_secs(7 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::policy::{CanonicalPath, Query};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn call(method: &str, path: &str, caller: &str) -> Call {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let query = Query::parse(Some("q=very-private")).unwrap();
        let caller = (!caller.is_empty()).then(|| caller.parse().unwrap());
        Call::new(method, "jira".parse().unwrap(), CanonicalPath::parse(path).unwrap(), query, caller)
    }

    #[test]
    fn calls_of_one_shape_are_one() {
        let refusals = Refusals::default();
        for (number, second) in [(1, 10), (2, 20), (3, 15)] {
            let path = format!("/rest/api/2/issue/TEST-{number}/comment");
            refusals.count(&call("POST", &path, "teams"), Code::PolicyRefused, at(second));
        }
        refusals.count(
            &call("GET", "/rest/api/2/issue/TEST-1/comment", "teams"),
            Code::PolicyRefused,
            at(30),
        );
        refusals.count(
            &call("POST", "/rest/api/2/issue/TEST-1/comment", "other"),
            Code::PolicyRefused,
            at(40),
        );
        let (list, other) = refusals.list();
        let first = &list[0];
        assert_eq!((list.len(), other), (3, 0));
        assert_eq!((first.calls, first.shape.as_str()), (3, "/rest/api/2/issue/*/comment"));
        assert_eq!((first.first, first.last), (at(10), at(20)));
        assert_eq!(list[1].caller.as_str(), "other");
        assert!(!format!("{refusals:?}").contains("private") && !format!("{refusals:?}").contains("TEST-1"));
    }

    #[test]
    fn nobody_can_fill_it_and_none_crowds_out_another() {
        let refusals = Refusals::default();
        let word = |number: usize| {
            let letter = |part: usize| char::from(b'a' + u8::try_from(part % 26).unwrap());
            [letter(number), letter(number / 26), letter(number / 676)].iter().collect::<String>()
        };
        for number in 0..5_000 {
            refusals.count(&call("GET", &format!("/{}", word(number)), "noisy"), Code::PolicyRefused, at(1));
        }
        refusals.count(&call("GET", "/rest", "quiet"), Code::PolicyRefused, at(1));
        let (list, other) = refusals.list();
        assert_eq!((list.len(), other), (MAX_OF_ONE + 1, 5_000 - MAX_OF_ONE as u64));
        for caller in 0..100 {
            for number in 0..MAX_OF_ONE {
                let caller = format!("caller-{caller}");
                refusals.count(
                    &call("GET", &format!("/{}", word(number)), &caller),
                    Code::PolicyRefused,
                    at(2),
                );
            }
        }
        let (list, other) = refusals.list();
        let all: u64 = list.iter().map(|kind| kind.calls).sum::<u64>() + other;
        assert_eq!((list.len(), all), (MAX_SHAPES, 5_001 + 100 * MAX_OF_ONE as u64));
        // What a caller no longer does makes room for what it does.
        refusals.count(&call("GET", "/new", "noisy"), Code::PolicyRefused, at(9 * 86_400));
        let (list, _) = refusals.list();
        assert_eq!(list.len(), MAX_SHAPES);
        assert!(list.iter().any(|kind| kind.shape == "/new"));
        refusals.count(&call("GET", "/first", "newcomer"), Code::PolicyRefused, at(9 * 86_400));
        let (list, other) = refusals.list();
        let all: u64 = list.iter().map(|kind| kind.calls).sum::<u64>() + other;
        assert_eq!((list.len(), all), (MAX_SHAPES, 5_003 + 100 * MAX_OF_ONE as u64));
        assert!(list.iter().any(|kind| kind.caller.as_str() == "newcomer"));
    }

    #[test]
    fn what_no_rule_could_allow_is_a_number_only() {
        let refusals = Refusals::default();
        refusals.count(&call("TRACE", "/a", "x"), Code::MethodRefused, at(1));
        refusals.count(&call("GET", "/a", ""), Code::PolicyRefused, at(1));
        refusals.count(&call("GET", &"/a".repeat(100), "x"), Code::PolicyRefused, at(1));
        assert_eq!(refusals.list(), (Vec::new(), 3));
    }
}
