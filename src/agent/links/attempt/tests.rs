use proptest::prelude::*;

use super::*;
use crate::agent::store::tables::mappings::{Account, Secrets};
use crate::common::act_as::ActAs;
use crate::common::ids::LinkId;

const START: u64 = 1_000_000;

fn hash(text: &str) -> Hash {
    Hash::sha256(&[text.as_bytes()])
}

fn row() -> LinkRow {
    LinkRow {
        id: LinkId::generate(),
        caller: "bot".parse().unwrap(),
        upstream: "jira".parse().unwrap(),
        act_as: ActAs::parse("teams:29:1abc").unwrap(),
        display_name: None,
        stage: LinkStage::Open,
        created: START,
        url: hash("url"),
        browser: None,
        rounds: 0,
        consent: None,
        verifier: None,
        pending: None,
        code: None,
        confirmed: None,
        tries: 0,
    }
}

fn verifier() -> Secret<String> {
    Secret::new("v".repeat(43))
}

fn pending() -> Pending {
    let account = Account { key: "K".to_owned(), name: "alice".to_owned(), display_name: "Alice".to_owned() };
    Pending { account, secrets: Secrets::Pat(Secret::new("token".to_owned())) }
}

fn bot() -> CallerName {
    "bot".parse().unwrap()
}

fn is_wiped(row: &LinkRow) -> bool {
    row.verifier.is_none() && row.pending.is_none() && row.code.is_none() && row.consent.is_none()
}

/// A row at a stage, by the steps that lead there.
fn at(stage: LinkStage) -> LinkRow {
    let mut row = row();
    let (browser, now) = (hash("browser"), START + 1);
    if stage == LinkStage::Open {
        return row;
    }
    consent(&mut row, browser, hash("state"), verifier(), now).unwrap();
    if stage == LinkStage::Consenting {
        return row;
    }
    let (secret, round) = returned(&mut row, Some(browser), now).unwrap();
    assert_eq!((secret.expose().len(), round), (43, 1));
    if stage == LinkStage::Proving {
        return row;
    }
    proved(&mut row, round, pending(), now).unwrap();
    if stage == LinkStage::Proved {
        return row;
    }
    confirm(&mut row, browser, hash("code"), now).unwrap();
    if stage == LinkStage::Confirmed {
        return row;
    }
    finish(&mut row, &bot(), hash("code"), now).unwrap();
    row
}

const STAGES: [LinkStage; 6] = [
    LinkStage::Open,
    LinkStage::Consenting,
    LinkStage::Proving,
    LinkStage::Proved,
    LinkStage::Confirmed,
    LinkStage::Ended(LinkEnd::Finished),
];

#[test]
fn the_whole_way_hands_the_secrets_out_once() {
    let mut row = at(LinkStage::Confirmed);
    let given = finish(&mut row, &bot(), hash("code"), START + 2).unwrap();
    assert_eq!(given.account.name, "alice");
    assert_eq!(row.stage, LinkStage::Ended(LinkEnd::Finished));
    assert!(is_wiped(&row));
    assert_eq!(
        finish(&mut row, &bot(), hash("code"), START + 2).unwrap_err(),
        Refusal::Ended(LinkEnd::Finished),
        "a replay"
    );
}

#[test]
fn each_step_has_its_stages() {
    let browser = hash("browser");
    let now = START + 2;
    for stage in STAGES {
        let steps: [(&str, &[LinkStage], bool); 6] = [
            (
                "consent",
                &[LinkStage::Open, LinkStage::Consenting, LinkStage::Proving, LinkStage::Proved],
                consent(&mut at(stage), browser, hash("next"), verifier(), now).is_ok(),
            ),
            (
                "paste",
                &[LinkStage::Open, LinkStage::Consenting, LinkStage::Proving, LinkStage::Proved],
                paste(&mut at(stage), browser, now).is_ok(),
            ),
            ("returned", &[LinkStage::Consenting], returned(&mut at(stage), Some(browser), now).is_ok()),
            ("proved", &[LinkStage::Proving], proved(&mut at(stage), 1, pending(), now).is_ok()),
            (
                "confirm",
                &[LinkStage::Proved, LinkStage::Confirmed],
                confirm(&mut at(stage), browser, hash("other"), now).is_ok(),
            ),
            ("finish", &[LinkStage::Confirmed], finish(&mut at(stage), &bot(), hash("code"), now).is_ok()),
        ];
        for (step, allowed, taken) in steps {
            assert_eq!(taken, allowed.contains(&stage), "{step} at {stage:?}");
        }
    }
}

#[test]
fn another_browser_gets_nowhere() {
    let other = hash("other browser");
    let now = START + 2;
    // Before somebody began, every browser may look, and looking binds nothing.
    let mut fresh = row();
    assert_eq!(look(&mut fresh, None, now), Ok(()));
    assert_eq!(look(&mut fresh, Some(other), now), Ok(()));
    assert_eq!(fresh.browser, None);
    // Nobody began, so nobody can say yes or no.
    assert_eq!(confirm(&mut fresh, other, hash("c"), now), Err(Refusal::OtherBrowser));
    assert_eq!(cancel(&mut fresh, other, now), Err(Refusal::OtherBrowser));
    for stage in [LinkStage::Consenting, LinkStage::Proving, LinkStage::Proved, LinkStage::Confirmed] {
        let refused = Err(Refusal::OtherBrowser);
        let mut row = at(stage);
        for browser in [None, Some(other)] {
            assert_eq!(look(&mut row, browser, now), refused, "{stage:?}");
        }
        assert_eq!(consent(&mut row, other, hash("s"), verifier(), now), refused);
        assert_eq!(paste(&mut row, other, now).map(|_| ()), refused);
        assert_eq!(confirm(&mut row, other, hash("c"), now), refused);
        assert_eq!(cancel(&mut row, other, now), refused);
        assert_eq!(row.stage, stage, "nothing changed");
        assert_eq!(row.browser, Some(hash("browser")));
    }
    for browser in [None, Some(other)] {
        let mut row = at(LinkStage::Consenting);
        assert_eq!(returned(&mut row, browser, now).map(|_| ()), Err(Refusal::OtherBrowser));
        assert_eq!(row.stage, LinkStage::Ended(LinkEnd::OtherBrowser), "that is an attack, and burns it");
        assert!(is_wiped(&row));
    }
}

#[test]
fn time_runs_out() {
    let life = LIFE.as_secs();
    for stage in STAGES.into_iter().filter(|stage| stage.ending().is_none()) {
        let (last, over) = match stage {
            LinkStage::Confirmed => (START + 1 + CODE_LIFE.as_secs() - 1, START + 1 + CODE_LIFE.as_secs()),
            _ => (START + life - 1, START + life),
        };
        assert_eq!(settle(&mut at(stage), last), Ok(()), "{stage:?}");
        let mut row = at(stage);
        assert_eq!(settle(&mut row, over), Err(Refusal::Ended(LinkEnd::Expired)), "{stage:?}");
        assert!(is_wiped(&row));
        // A clock that was set back a day does not give it a day.
        let mut row = at(stage);
        assert_eq!(settle(&mut row, START - 86_400), Err(Refusal::Ended(LinkEnd::Expired)));
        assert_eq!(settle(&mut at(stage), START - 30), Ok(()), "clocks are corrected a little");
    }
    // Another code gives no more time.
    let mut row = at(LinkStage::Confirmed);
    confirm(&mut row, hash("browser"), hash("again"), START + 200).unwrap();
    assert_eq!(expires(&row), START + 1 + CODE_LIFE.as_secs());
    assert_eq!(
        finish(&mut row, &bot(), hash("code"), START + 201).unwrap_err(),
        Refusal::WrongCode { left: 4 }
    );
    assert!(finish(&mut row, &bot(), hash("again"), START + 201).is_ok());
}

#[test]
fn five_wrong_codes_burn_it_and_another_callers_do_not_count() {
    let mut row = at(LinkStage::Confirmed);
    let other: CallerName = "other".parse().unwrap();
    for code in ["code", "x"].repeat(20) {
        assert_eq!(finish(&mut row, &other, hash(code), START + 2).unwrap_err(), Refusal::OtherCaller);
    }
    for left in (1..MAX_TRIES).rev() {
        assert_eq!(finish(&mut row, &bot(), hash("x"), START + 2).unwrap_err(), Refusal::WrongCode { left });
    }
    let burnt = Refusal::Ended(LinkEnd::TooManyTries);
    assert_eq!(finish(&mut row, &bot(), hash("x"), START + 2).unwrap_err(), burnt);
    assert!(is_wiped(&row));
    assert_eq!(
        finish(&mut row, &bot(), hash("code"), START + 2).unwrap_err(),
        burnt,
        "the right one comes too late"
    );
}

#[test]
fn only_the_last_round_counts_and_there_are_not_many() {
    let browser = hash("browser");
    let mut row = at(LinkStage::Proving);
    consent(&mut row, browser, hash("second"), verifier(), START + 2).unwrap();
    assert_eq!(
        proved(&mut row, 1, pending(), START + 3),
        Err(Refusal::NotNow(LinkStage::Consenting)),
        "the first round's answer comes too late"
    );
    let (_, round) = returned(&mut row, Some(browser), START + 3).unwrap();
    assert_eq!(failed(&mut row, 1, START + 4), Err(Refusal::NotNow(LinkStage::Proving)));
    failed(&mut row, round, START + 4).unwrap();
    assert_eq!(row.stage, LinkStage::Open);
    for _ in row.rounds..MAX_ROUNDS {
        paste(&mut row, browser, START + 5).unwrap();
    }
    assert_eq!(paste(&mut row, browser, START + 5), Err(Refusal::Ended(LinkEnd::TooManyRounds)));
    assert!(is_wiped(&row));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Look,
    Consent,
    Paste,
    Returned,
    Proved(u32),
    Failed(u32),
    Confirm,
    Cancel,
    Finish { ours: bool, right: bool },
}

fn step() -> impl Strategy<Value = (Step, bool, u64)> {
    let step = prop_oneof![
        1 => Just(Step::Look),
        1 => Just(Step::Consent),
        1 => Just(Step::Paste),
        3 => Just(Step::Returned),
        3 => (1u32..4).prop_map(Step::Proved),
        1 => (1u32..4).prop_map(Step::Failed),
        3 => Just(Step::Confirm),
        1 => Just(Step::Cancel),
        3 => (any::<bool>(), any::<bool>()).prop_map(|(ours, right)| Step::Finish { ours, right }),
    ];
    (step, prop::bool::weighted(0.8), 0u64..120)
}

proptest! {
    /// Whatever comes in whatever order: what was proved is handed out once at most, to the caller that began, for
    /// the code that the one browser was shown, in time; and what has ended keeps nothing.
    #[test]
    fn no_order_of_steps_breaks_the_promise(steps in prop::collection::vec(step(), 1..40)) {
        let mut row = row();
        let mut now = START;
        let (mut first, mut confirmed, mut given, mut wrong) = (None, None, 0, 0);
        for (step, same, after) in steps {
            now += after;
            let browser = hash(if same { "browser" } else { "other" });
            let before = row.clone();
            let done = match step {
                Step::Look => look(&mut row, Some(browser), now).is_ok(),
                Step::Consent => consent(&mut row, browser, hash("state"), verifier(), now).is_ok(),
                Step::Paste => paste(&mut row, browser, now).is_ok(),
                Step::Returned => returned(&mut row, Some(browser), now).is_ok(),
                Step::Proved(round) => proved(&mut row, round, pending(), now).is_ok(),
                Step::Failed(round) => failed(&mut row, round, now).is_ok(),
                Step::Confirm => confirm(&mut row, browser, hash("code"), now).is_ok(),
                Step::Cancel => cancel(&mut row, browser, now).is_ok(),
                Step::Finish { ours, right } => {
                    let caller = if ours { bot() } else { "other".parse().unwrap() };
                    let result = finish(&mut row, &caller, hash(if right { "code" } else { "x" }), now);
                    if let Err(Refusal::WrongCode { .. } | Refusal::Ended(LinkEnd::TooManyTries)) = &result {
                        wrong += u32::from(before.stage == LinkStage::Confirmed);
                    }
                    if result.is_ok() {
                        given += 1;
                        prop_assert!(ours && right);
                        prop_assert!(confirmed.is_some_and(|at| now < at + CODE_LIFE.as_secs()));
                    }
                    result.is_ok()
                }
            };
            if done && before.browser.is_none() && row.browser.is_some() {
                first = row.browser;
            }
            if done && matches!(step, Step::Confirm) && before.stage == LinkStage::Proved {
                confirmed = Some(now);
            }
            if done && matches!(step, Step::Consent | Step::Paste | Step::Returned | Step::Confirm | Step::Cancel) {
                prop_assert_eq!(Some(browser), first, "one browser only");
            }
            prop_assert_eq!(row.browser, first);
            if before.stage.ending().is_some() {
                prop_assert!(!done && row.stage == before.stage, "what is over stays over");
            }
            if row.stage.ending().is_some() {
                prop_assert!(is_wiped(&row));
            }
            prop_assert_eq!(row.pending.is_some(), matches!(row.stage, LinkStage::Proved | LinkStage::Confirmed));
            prop_assert_eq!(row.code.is_some(), row.stage == LinkStage::Confirmed);
            prop_assert_eq!(row.consent.is_some(), row.stage == LinkStage::Consenting);
            prop_assert!(given <= 1 && wrong <= MAX_TRIES && row.rounds <= MAX_ROUNDS);
        }
    }
}
