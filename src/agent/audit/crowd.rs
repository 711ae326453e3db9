//! Refusals that come in a crowd: a caller with a key must not push other records out with them. Pure: times are given.

use std::collections::HashMap;

use super::record::Event;

/// What each caller was refused in its minute that runs.
#[derive(Debug, Default)]
pub(super) struct Crowd(HashMap<(Event, Box<str>), Minute>);

#[derive(Debug)]
struct Minute {
    from: i64,
    to: i64,
    recorded: u32,
    more: u64,
}

/// Refusals that have no record of their own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct More {
    pub(super) event: Event,
    pub(super) caller: Box<str>,
    pub(super) count: u64,
    /// When the minute began.
    pub(super) from: i64,
    /// When the last of them came.
    pub(super) to: i64,
}

impl Crowd {
    /// Whether one more gets a record of its own. Else it is counted, until [`Crowd::over`] gives it out.
    pub(super) fn admits(&mut self, event: Event, caller: &str, now: i64) -> bool {
        let new = || Minute { from: now, to: now, recorded: 0, more: 0 };
        let minute = self.0.entry((event, caller.into())).or_insert_with(new);
        minute.to = now;
        if minute.recorded < OWN_RECORDS {
            minute.recorded += 1;
            return true;
        }
        minute.more += 1;
        false
    }

    /// Closes the minutes that are over, or all; gives those in which some were counted.
    pub(super) fn over(&mut self, now: Option<i64>) -> Vec<More> {
        // A clock that was set back ends a minute too, or it would last until the clock is there again.
        let is_over =
            |minute: &mut Minute| now.is_none_or(|now| !(minute.from..minute.from + MINUTE).contains(&now));
        let closed = self.0.extract_if(|_, minute| is_over(minute)).filter(|(_, minute)| minute.more > 0);
        let mut more: Vec<_> = closed
            .map(|((event, caller), Minute { from, to, more: count, .. })| More {
                event,
                caller,
                count,
                from,
                to,
            })
            .collect();
        more.sort_by_key(|more| more.from);
        more
    }

    /// Whether a minute runs.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// So many refusals of one kind and caller get a record of their own in a minute.
pub(super) const OWN_RECORDS: u32 = 60;
/// In milliseconds.
pub(super) const MINUTE: i64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_bound_is_counted_for_its_caller_and_kind() {
        let mut crowd = Crowd::default();
        let admitted = |crowd: &mut Crowd, event, caller, times: u32, now| {
            (0..times).filter(|_| crowd.admits(event, caller, now)).count()
        };
        assert_eq!(admitted(&mut crowd, Event::Refused, "bot", 1000, 5), 60);
        assert_eq!(admitted(&mut crowd, Event::Refused, "bot", 10, 59_000), 0);
        assert_eq!(admitted(&mut crowd, Event::Refused, "other", 60, 6), 60);
        assert_eq!(admitted(&mut crowd, Event::LinkRefused, "bot", 61, 7), 60);
        assert_eq!(crowd.over(Some(60_004)), []);
        let more =
            |event, caller: &str, count, from, to| More { event, caller: caller.into(), count, from, to };
        assert_eq!(crowd.over(Some(60_005)), [more(Event::Refused, "bot", 950, 5, 59_000)]);
        assert!(crowd.admits(Event::Refused, "bot", 60_006), "another minute begins");
        assert_eq!(crowd.over(None), [more(Event::LinkRefused, "bot", 1, 7, 7)]);
        assert!(crowd.is_empty());
    }

    #[test]
    fn a_clock_set_back_ends_a_minute() {
        let mut crowd = Crowd::default();
        for _ in 0..61 {
            crowd.admits(Event::Refused, "bot", 1_000_000);
        }
        assert_eq!(crowd.over(Some(999_999)).len(), 1);
    }
}
