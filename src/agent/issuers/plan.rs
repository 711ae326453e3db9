//! When an issuer's keys are asked for, and how long they serve. Pure: time and chance are arguments.

use std::time::{Duration, Instant};

use http::{HeaderMap, header};

use super::config::Limits;

/// What the issuer says of how long its answer is fresh (RFC 9111, section 5.2.2): nothing where it says nothing that
/// can be read.
pub(super) fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    let mut found: Option<Duration> = None;
    for word in fields.flat_map(|field| field.split(',')).map(str::trim) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        if name.eq_ignore_ascii_case("max-age") {
            let seconds = value.trim_matches('"');
            // A number beyond all bounds is as good as the bound.
            let digits = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
            let age = digits.then(|| Duration::from_secs(seconds.parse().unwrap_or(u64::from(u32::MAX))));
            // Two that differ: the shorter.
            found = match (found, age) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
    }
    found
}

/// How long keys count as fresh.
pub(super) fn lifetime(said: Option<Duration>, limits: &Limits) -> Duration {
    said.unwrap_or(USUAL).clamp(limits.min_age, limits.max_age.max(limits.min_age))
}

/// After so long they are asked for again, ahead of their end; `chance` in `0.0..1.0` keeps agents from asking in step.
pub(super) fn refresh_after(lifetime: Duration, chance: f64) -> Duration {
    lifetime.mul_f64(0.75 + 0.15 * chance.clamp(0.0, 1.0))
}

/// After so long a question that failed is asked again.
pub(super) fn retry_after(failures: u32, chance: f64) -> Duration {
    let longest = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(6)).min(LONGEST);
    longest.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
}

/// Until when keys serve that were fetched then, if no newer ones can be had.
pub(super) fn serves_until(fetched: Instant, lifetime: Duration, limits: &Limits) -> Instant {
    fetched + lifetime + limits.max_stale
}

/// Where the issuer says nothing.
const USUAL: Duration = Duration::from_secs(3600);
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    #[test]
    fn what_the_issuer_says_counts_within_bounds() {
        let limits = Limits::default();
        let minute = Duration::from_secs(60);
        for (fields, said, lives) in [
            (&[][..], None, 60 * minute),
            (&["max-age=3600"], Some(60 * minute), 60 * minute),
            (&["public, MAX-AGE=\"7200\""], Some(120 * minute), 120 * minute),
            (&["max-age=0"], Some(Duration::ZERO), 5 * minute),
            (&["max-age=600, no-cache"], Some(Duration::ZERO), 5 * minute),
            (&["no-store"], Some(Duration::ZERO), 5 * minute),
            (&["max-age=600", "max-age=900"], Some(10 * minute), 10 * minute),
            (&["max-age=-1"], None, 60 * minute),
            (&["max-age=x", "private"], None, 60 * minute),
            (
                &["max-age=99999999999999999999999"],
                Some(Duration::from_secs(u64::from(u32::MAX))),
                1440 * minute,
            ),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static(field));
            }
            assert_eq!(max_age(&headers), said, "{fields:?}");
            assert_eq!(lifetime(said, &limits), lives, "{fields:?}");
        }
        let odd = Limits { min_age: 60 * minute, max_age: minute, ..limits };
        assert_eq!(lifetime(Some(Duration::ZERO), &odd), 60 * minute);
    }

    proptest! {
        #[test]
        fn keys_are_asked_for_ahead_of_their_end_and_never_at_once(seconds in 60u64..1_000_000, chance in -1.0f64..2.0, failures in 0u32..u32::MAX) {
            let lifetime = Duration::from_secs(seconds);
            let wait = refresh_after(lifetime, chance);
            prop_assert!(wait >= lifetime.mul_f64(0.74) && wait <= lifetime.mul_f64(0.91));
            let wait = retry_after(failures, chance);
            prop_assert!(wait >= FIRST / 2 && wait <= LONGEST);
        }

        #[test]
        fn no_field_makes_it_panic(field in "[ -~]{0,60}") {
            let mut headers = HeaderMap::new();
            headers.append(header::CACHE_CONTROL, HeaderValue::from_str(&field).unwrap());
            max_age(&headers);
        }
    }
}
