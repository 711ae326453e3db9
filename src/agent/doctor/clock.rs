//! Check `clock`: certificates, tokens and signatures are judged by this machine's time.

use std::time::Duration;

use super::{Context, Finding, Seen};

const CHECK: &str = "clock";
/// Answers carry whole seconds and take a while; up to here nothing is wrong.
const CLOSE: Duration = Duration::from_secs(5);
/// From here on signatures with a short life are refused.
const FAR: Duration = Duration::from_secs(60);

/// Compares with the time that other machines told in the other checks.
pub(super) fn check(context: &Context) -> Vec<Finding> {
    let seen = context.seen_times();
    if seen.is_empty() {
        return vec![Finding::note(CHECK, "there is nothing to compare it with: no answer told the time")];
    }
    seen.iter().map(judge).collect()
}

fn judge(seen: &Seen) -> Finding {
    let (ahead, by) = match seen.ours.duration_since(seen.theirs) {
        Ok(ahead) => (true, ahead),
        Err(behind) => (false, behind.duration()),
    };
    let whose = &seen.whose;
    if by <= CLOSE {
        return Finding::ok(CHECK, format!("agrees with that of {whose} within {} s", CLOSE.as_secs()));
    }
    let side = if ahead { "ahead of" } else { "behind" };
    let text = format!("this machine is {} s {side} {whose}", by.as_secs());
    let action =
        "Let this machine keep time (`timedatectl set-ntp true`); if it does, the other one is wrong.";
    if by < FAR { Finding::warning(CHECK, text, action) } else { Finding::failure(CHECK, text, action) }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::agent::doctor::Level;

    #[test]
    fn a_little_is_nothing_and_much_is_told_with_its_direction() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let judged =
            |ours, theirs| judge(&Seen { whose: "the relay".to_owned(), theirs: at(theirs), ours: at(ours) });
        assert_eq!(judged(1005, 1000).level, Level::Ok);
        assert_eq!(judged(1000, 1005).level, Level::Ok);
        let ahead = judged(1030, 1000);
        assert_eq!(
            (ahead.level, ahead.text.contains("30 s ahead of the relay")),
            (Level::Warning, true),
            "{ahead:?}"
        );
        let behind = judged(1000, 1060);
        assert_eq!(
            (behind.level, behind.text.contains("60 s behind the relay")),
            (Level::Failure, true),
            "{behind:?}"
        );
    }
}
