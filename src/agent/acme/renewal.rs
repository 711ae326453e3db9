//! When the next certificate is ordered. Pure: times are seconds since 1970, chance is an argument.

use std::time::Duration;

/// A certificate that is held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Held {
    /// Not valid before.
    pub begins: u64,
    /// Not valid after.
    pub ends: u64,
    /// 0 to 1, the same for as long as the certificate lasts: many agents do not renew in step.
    pub spread: f64,
    /// It comes from the authority that is configured now.
    pub same_authority: bool,
}

/// What came of the tries since the last success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tries {
    /// How many failed. One that is under way counts as failed until it succeeds, so that a crash is one too.
    pub failures: u32,
    /// No try of our own accord before.
    pub not_before: u64,
    /// The authority said: not before (Retry-After). Holds for tries by hand too.
    pub refused_until: u64,
}

/// All that decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation<'a> {
    /// The certificate there is.
    pub held: Option<Held>,
    /// What came of earlier tries.
    pub tries: Tries,
    /// When orders were made, at least those of the last day.
    pub orders: &'a [u64],
    /// Somebody asked for it by hand.
    pub asked: bool,
}

/// Why an order is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// There is none.
    First,
    /// Two thirds of its time have passed.
    Age,
    /// It has ended.
    Ended,
    /// It comes from another authority than is configured.
    Authority,
    /// By hand.
    Asked,
}

/// Why no order is made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// It is young.
    NotDue,
    /// The last try failed a short while ago.
    BackOff,
    /// The authority said when to come again.
    Authority,
    /// There were too many orders within a day.
    Limit,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Order one now.
    Order(Why),
    /// Look again then.
    Wait {
        /// When.
        until: u64,
        /// Why not now.
        hold: Hold,
    },
}

/// Of our own accord, for one name, in a day.
pub(super) const ORDERS_A_DAY: usize = 8;
/// With those by hand.
pub(super) const ORDERS_A_DAY_BY_HAND: usize = 20;

/// Whether to order, or when to look again.
pub(super) fn next(now: u64, situation: &Situation<'_>) -> Next {
    let (due, why) = due(now, situation);
    if due > now {
        return Next::Wait { until: due, hold: Hold::NotDue };
    }
    let Situation { tries, orders, asked, .. } = *situation;
    let mut wait = held_back(now, tries, asked);
    let mut today: Vec<u64> =
        orders.iter().copied().filter(|at| *at <= now && at.saturating_add(DAY) > now).collect();
    today.sort_unstable_by(|one, other| other.cmp(one));
    let limit = if asked { ORDERS_A_DAY_BY_HAND } else { ORDERS_A_DAY };
    if let Some(at) = today.get(limit.saturating_sub(1)) {
        wait = later(now, wait, (at.saturating_add(DAY), Hold::Limit));
    }
    match wait {
        Some((until, hold)) => Next::Wait { until, hold },
        None => Next::Order(why),
    }
}

/// What earlier tries hold back, of a name or of the account, and until when: the later of the two.
pub(super) fn held_back(now: u64, tries: Tries, asked: bool) -> Option<(u64, Hold)> {
    let wait = later(now, None, (tries.refused_until, Hold::Authority));
    if asked { wait } else { later(now, wait, (tries.not_before, Hold::BackOff)) }
}

/// The later of two waits; each is judged for itself.
fn later(now: u64, wait: Option<(u64, Hold)>, other: (u64, Hold)) -> Option<(u64, Hold)> {
    // Later than any wait is set to: a clock that was wrong set it, and must not stop renewal for good.
    let counts = other.0 > now && other.0 <= now + LONGEST_HOLD;
    if counts && wait.is_none_or(|(until, _)| other.0 > until) { Some(other) } else { wait }
}

/// Until when an authority that said so (Retry-After) is not asked; 0 where it did not say. One that wants longer than
/// `LONGEST_HOLD` gets that.
pub(super) fn heeded(said: Option<u64>, now: u64) -> u64 {
    said.unwrap_or(0).min(now + LONGEST_HOLD)
}

/// When a new one is due whatever came of earlier tries, and why.
pub(super) fn due(now: u64, situation: &Situation<'_>) -> (u64, Why) {
    if situation.asked {
        return (0, Why::Asked);
    }
    let Some(held) = situation.held else { return (0, Why::First) };
    if !held.same_authority {
        return (0, Why::Authority);
    }
    if held.ends <= now {
        return (0, Why::Ended);
    }
    let lifetime = held.ends.saturating_sub(held.begins);
    (held.begins + lifetime / 3 * 2 - part(lifetime / 30, held.spread), Why::Age)
}

/// How long after this failure, the how-manieth since a success, nothing is tried: 5 to 10 minutes after the first,
/// three times as long after each further one, up to `cap`.
pub(super) fn back_off(failures: u32, cap: u64, chance: f64) -> u64 {
    let whole =
        FIRST.saturating_mul(3u64.saturating_pow(failures.saturating_sub(1).min(20))).min(cap.max(FIRST));
    whole / 2 + part(whole / 2, chance)
}

/// Of so many seconds, between none and all of them.
fn part(seconds: u64, share: f64) -> u64 {
    Duration::from_secs(seconds).mul_f64(share.clamp(0.0, 1.0)).as_secs()
}

/// The longest wait between tries: a day; less for a certificate that lasts some days only.
pub(super) fn cap(held: Option<Held>) -> u64 {
    let share = held.map_or(DAY, |held| held.ends.saturating_sub(held.begins) / 24);
    share.clamp(HOUR, DAY)
}

/// An hour, in seconds.
pub(super) const HOUR: u64 = 3600;
/// A day.
pub(super) const DAY: u64 = 24 * HOUR;
/// The longest that an authority's Retry-After is heeded: their windows are of a week.
pub(super) const LONGEST_HOLD: u64 = 8 * DAY;
const FIRST: u64 = 600;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn held(age: u64, left: u64) -> Held {
        Held { begins: NOW - age * DAY, ends: NOW + left * DAY, spread: 0.0, same_authority: true }
    }

    fn situation(held: Option<Held>) -> Situation<'static> {
        Situation { held, tries: Tries::default(), orders: &[], asked: false }
    }

    #[test]
    fn the_table() {
        let wait = |until, hold| Next::Wait { until, hold };
        let tries = |not_before, refused_until| Tries { failures: 1, not_before, refused_until };
        let young = situation(Some(held(10, 80)));
        let none = situation(None);
        let many: Vec<u64> = (0..20).map(|index| NOW - 100 * index).collect();
        let cases = [
            ("none", none, Next::Order(Why::First)),
            ("a young one", young, wait(NOW + 50 * DAY, Hold::NotDue)),
            ("at two thirds", situation(Some(held(60, 30))), Next::Order(Why::Age)),
            ("a day before", situation(Some(held(59, 31))), wait(NOW + DAY, Hold::NotDue)),
            ("it has ended", situation(Some(held(90, 0))), Next::Order(Why::Ended)),
            (
                "spread comes before, not after",
                situation(Some(Held { spread: 1.0, ..held(57, 33) })),
                Next::Order(Why::Age),
            ),
            (
                "of another authority",
                situation(Some(Held { same_authority: false, ..held(1, 89) })),
                Next::Order(Why::Authority),
            ),
            ("by hand", Situation { asked: true, ..young }, Next::Order(Why::Asked)),
            (
                "a short while after a failure",
                Situation { tries: tries(NOW + 60, 0), ..none },
                wait(NOW + 60, Hold::BackOff),
            ),
            (
                "the same by hand",
                Situation { tries: tries(NOW + 60, 0), asked: true, ..none },
                Next::Order(Why::Asked),
            ),
            (
                "the authority said so, by hand too",
                Situation { tries: tries(NOW + 60, NOW + 90), asked: true, ..none },
                wait(NOW + 90, Hold::Authority),
            ),
            ("too many orders", Situation { orders: &many[..8], ..none }, wait(NOW - 700 + DAY, Hold::Limit)),
            ("one fewer", Situation { orders: &many[..7], ..none }, Next::Order(Why::First)),
            ("by hand more", Situation { orders: &many[..19], asked: true, ..none }, Next::Order(Why::Asked)),
            (
                "and then no more",
                Situation { orders: &many, asked: true, ..none },
                wait(NOW - 1900 + DAY, Hold::Limit),
            ),
            (
                "a clock that was wrong",
                Situation { tries: tries(NOW + 900 * DAY, NOW + 800 * DAY), ..none },
                Next::Order(Why::First),
            ),
        ];
        for (name, situation, expected) in cases {
            assert_eq!(next(NOW, &situation), expected, "{name}");
        }
    }

    #[test]
    fn a_retry_after_is_heeded_for_eight_days_and_no_longer() {
        for (said, expected) in [
            (None, 0),
            (Some(NOW + 60), NOW + 60),
            (Some(NOW + 9 * DAY), NOW + 8 * DAY),
            (Some(u64::MAX), NOW + 8 * DAY),
        ] {
            assert_eq!(heeded(said, NOW), expected, "{said:?}");
        }
        let tries = Tries { failures: 1, not_before: NOW + 60, refused_until: heeded(Some(u64::MAX), NOW) };
        for asked in [false, true] {
            let situation = Situation { tries, asked, ..situation(None) };
            let wait = Next::Wait { until: NOW + 8 * DAY, hold: Hold::Authority };
            assert_eq!((next(NOW, &situation), next(NOW + 7 * DAY, &situation)), (wait, wait));
            assert!(matches!(next(NOW + 8 * DAY, &situation), Next::Order(_)));
        }
        // What a wrong clock left behind takes no other wait with it.
        let tries = Tries { refused_until: NOW + 800 * DAY, ..tries };
        assert_eq!(held_back(NOW, tries, false), Some((NOW + 60, Hold::BackOff)));
    }

    #[test]
    fn waits_grow_from_minutes_to_a_day() {
        let waits: Vec<u64> = (1..=7).map(|failures| back_off(failures, DAY, 1.0)).collect();
        assert_eq!(waits, [600, 1800, 5400, 16_200, 48_600, DAY, DAY]);
        assert_eq!(back_off(1, DAY, 0.0), 300);
        assert_eq!(cap(None), DAY);
        assert_eq!(cap(Some(held(30, 60))), DAY);
        // One of six days: hours.
        assert_eq!(cap(Some(held(3, 3))), 6 * HOUR);
        assert_eq!(cap(Some(Held { begins: NOW, ends: NOW + 60, spread: 0.0, same_authority: true })), HOUR);
    }

    /// What a restart loop does: each start finds what the last one wrote before its order.
    #[test]
    fn a_restart_loop_does_not_burn_the_authoritys_limits() {
        let (mut tries, mut orders) = (Tries::default(), Vec::new());
        for second in 0..(7 * DAY / 10) {
            let now = NOW + second * 10;
            let situation = Situation { tries, orders: &orders, ..situation(None) };
            if matches!(next(now, &situation), Next::Order(_)) {
                orders.push(now);
                tries.failures += 1;
                tries.not_before = now + back_off(tries.failures, DAY, 0.0);
            }
        }
        assert!(orders.len() < 25, "{} orders in a week", orders.len());
        let most = |start: u64| orders.iter().filter(|at| (start..start + DAY).contains(*at)).count();
        assert!((0..6 * 24).all(|hour| most(NOW + hour * HOUR) <= ORDERS_A_DAY));
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_and_never_stuck(
            failures in 0u32..50, not_before in 0u64..u64::MAX, refused_until in 0u64..u64::MAX,
            orders in proptest::collection::vec(NOW - 2 * DAY..NOW + 2 * DAY, 0..60), asked: bool,
            begins in 0u64..NOW, lifetime in 0u64..900 * DAY, spread in -1.0f64..2.0, some: bool,
        ) {
            let held = some.then_some(Held { begins, ends: begins + lifetime, spread, same_authority: true });
            let tries = Tries { failures, not_before, refused_until };
            let situation = Situation { held, tries, orders: &orders, asked };
            let today = orders.iter().filter(|at| **at <= NOW && **at + DAY > NOW).count();
            match next(NOW, &situation) {
                Next::Order(_) => {
                    let limit = if asked { ORDERS_A_DAY_BY_HAND } else { ORDERS_A_DAY };
                    prop_assert!(today < limit);
                }
                Next::Wait { until, hold } => {
                    prop_assert!(until > NOW);
                    if hold != Hold::NotDue {
                        prop_assert!(until <= NOW + LONGEST_HOLD);
                    }
                    // A renewal comes before the end.
                    if let Some(held) = held {
                        prop_assert!(hold != Hold::NotDue || until <= held.ends);
                    }
                }
            }
        }

        #[test]
        fn every_wait_is_bounded(failures in 0u32..u32::MAX, cap in 0u64..=DAY, chance in -1.0f64..2.0) {
            let wait = back_off(failures, cap, chance);
            prop_assert!((FIRST / 2..=DAY).contains(&wait));
        }
    }
}
