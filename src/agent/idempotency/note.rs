//! What is kept of a call without an answer, as text: why the answer is gone, or what its caller was told.

use http::StatusCode;
use serde_json::{Value, json};

use super::Loss;
use crate::common::problem::{Code, Fault, Outcome, Problem, Retry};

/// Why an answer is gone.
pub fn write_loss(why: Loss) -> &'static str {
    match why {
        Loss::TooLarge => "too-large",
        Loss::NoRoom => "no-room",
        Loss::BrokeOff => "broke-off",
        Loss::Endless => "endless",
        Loss::NotStored => "not-stored",
    }
}

/// And back.
pub fn read_loss(note: &str) -> Option<Loss> {
    [Loss::TooLarge, Loss::NoRoom, Loss::BrokeOff, Loss::Endless, Loss::NotStored]
        .into_iter()
        .find(|why| write_loss(*why) == note)
}

/// What the caller of a call with an unknown outcome was told.
pub fn write_problem(problem: &Problem) -> String {
    let answered = problem.outcome == Outcome::Answered;
    json!({
        "code": problem.code.as_str(),
        "status": problem.status.as_u16(),
        "detail": problem.detail,
        "fault": problem.fault,
        "answered": answered,
        "limit": problem.extra.iter().find(|(name, _)| *name == LIMIT).map(|(_, value)| value),
    })
    .to_string()
}

/// And back. Never one that lets the call be sent again.
pub fn read_problem(note: &str) -> Option<Problem> {
    let known: Value = serde_json::from_str(note).ok()?;
    let text = |name| known.get(name).and_then(Value::as_str);
    let code = text("code")?;
    let code = Code::ALL.iter().copied().find(|one| one.as_str() == code)?;
    let status = u16::try_from(known.get("status")?.as_u64()?).ok()?;
    let answered = known.get("answered").and_then(Value::as_bool).unwrap_or(false);
    let mut problem = Problem::new(code, text("detail")?)
        .with_status(StatusCode::from_u16(status).ok()?)
        .with_outcome(if answered { Outcome::Answered } else { Outcome::OutcomeUnknown })
        .with_retry(Retry::Never);
    problem.retry_after = None;
    if let Some(fault) = FAULTS.iter().find(|fault| json!(fault).as_str() == text("fault")) {
        problem = problem.with_fault(*fault);
    }
    Some(match known.get(LIMIT) {
        Some(limit) if !limit.is_null() => problem.with_extra(LIMIT, limit.clone()),
        _ => problem,
    })
}

/// The one further member that such a problem may have.
const LIMIT: &str = "limit";
const FAULTS: [Fault; 5] = [Fault::Caller, Fault::Site, Fault::Agent, Fault::Relay, Fault::Network];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for why in [Loss::TooLarge, Loss::NoRoom, Loss::BrokeOff, Loss::Endless, Loss::NotStored] {
            assert_eq!(read_loss(write_loss(why)), Some(why));
        }
        let unknown = |code| Problem::new(code, "a \"detail\"").with_outcome(Outcome::OutcomeUnknown);
        for problem in [
            unknown(Code::UpstreamBroke),
            unknown(Code::UpstreamTooSlow).with_fault(Fault::Network),
            unknown(Code::UpstreamAnswer).with_outcome(Outcome::Answered),
            unknown(Code::BodyTooLarge).with_extra("limit", 7).with_status(StatusCode::BAD_GATEWAY),
        ] {
            assert_eq!(read_problem(&write_problem(&problem)), Some(problem));
        }
        // One that could be sent again comes back as one that can't.
        let read = read_problem(&write_problem(&unknown(Code::UpstreamUnreachable))).unwrap();
        assert_eq!((read.retry, read.retry_after), (Retry::Never, None));
        for nonsense in [
            "",
            "{}",
            "[]",
            r#"{"code":"no","status":500,"detail":""}"#,
            r#"{"code":"internal","status":1,"detail":""}"#,
        ] {
            assert_eq!(read_problem(nonsense), None, "{nonsense}");
        }
        assert_eq!(read_loss("x"), None);
    }
}
