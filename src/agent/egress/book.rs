//! Which hosts could not be reached lately, and why: for `status`.

use std::time::SystemTime;

use crate::common::host::HostPort;

/// A host whose last connection did not come to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// Which host.
    pub target: HostPort,
    /// When it was tried last.
    pub at: SystemTime,
    /// Why not: whose fault that is, and what to do.
    pub why: String,
}

/// The latest ones, the newest last.
#[derive(Debug, Default)]
pub(super) struct Book(Vec<Unreached>);

impl Book {
    pub(super) fn reached(&mut self, target: &HostPort) {
        self.0.retain(|entry| entry.target != *target);
    }

    /// Says whether that is news: another reason than the last time, or a first time.
    pub(super) fn failed(&mut self, target: &HostPort, at: SystemTime, why: &str) -> bool {
        let news = !self.0.iter().any(|entry| entry.target == *target && entry.why == why);
        self.reached(target);
        if self.0.len() >= MAX {
            self.0.remove(0);
        }
        self.0.push(Unreached { target: target.clone(), at, why: why.to_owned() });
        news
    }

    pub(super) fn list(&self) -> Vec<Unreached> {
        self.0.clone()
    }
}

/// More are not kept.
const MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_the_latest_failures_until_a_success() {
        let mut book = Book::default();
        let host = |number: usize| HostPort::new(&format!("h{number}.example.com"), 443).unwrap();
        assert!(book.failed(&host(0), SystemTime::UNIX_EPOCH, "down"));
        assert!(!book.failed(&host(0), SystemTime::UNIX_EPOCH, "down"));
        assert!(book.failed(&host(0), SystemTime::UNIX_EPOCH, "refused"));
        assert_eq!(book.list().len(), 1);
        (1..40).for_each(|number| {
            book.failed(&host(number), SystemTime::UNIX_EPOCH, "down");
        });
        assert_eq!(book.list().len(), MAX);
        assert_eq!(book.list().last().unwrap().target, host(39));
        book.reached(&host(39));
        assert_eq!(book.list().last().unwrap().target, host(38));
    }
}
