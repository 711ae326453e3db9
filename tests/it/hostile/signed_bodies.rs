//! Bodies of signed calls that are too long to be held, and the signed answers.

use http::Method;
use outhaul::tunnel::frame::Kind;

use super::signed::{BODY, arrived, check, draft, opened, set, start};
use super::wire::{Heard, frame};
use crate::signed::signer::{Draft, sha256_field};

/// A body too long to be held is judged on its way: its last byte goes on only if the whole is what was signed.
#[tokio::test]
async fn a_long_body_that_was_changed_is_never_whole_at_jira() {
    let (mut site, signer) = start().await;
    // In one window of credit; longer than what is held.
    let long = "x".repeat(200_000);
    let draft = draft(&signer, Method::POST, "/jira/rest/api/2/odd/long", &long);
    let changed = {
        let mut bytes = long.clone().into_bytes();
        bytes[100_000] = b'y';
        bytes
    };
    for (name, pieces) in [
        ("a byte", vec![changed]),
        ("a piece lost", vec![long.as_bytes()[..100_000].to_vec(), long.as_bytes()[100_001..].to_vec()]),
        ("the end lost", vec![long.as_bytes()[..199_999].to_vec()]),
        ("more at the end", vec![long.clone().into_bytes(), b"x".to_vec()]),
    ] {
        for with_length in [true, false] {
            let fresh = Draft { nonce: crate::signed::signer::nonce(), ..draft.clone() };
            let (mut head, _) = opened(&signer.request(&fresh));
            let length: usize = pieces.iter().map(Vec::len).sum();
            set(&mut head, "content-length", &length.to_string());
            if !with_length {
                head.fields.retain(|(name, _)| name != b"content-length");
            }
            let stream = site.stream();
            site.tunnel.say(&[frame(Kind::Open, stream, head.payload())]).await;
            for piece in pieces.iter().flat_map(|piece| piece.chunks(60_000)) {
                site.tunnel.say(&[frame(Kind::Data, stream, piece)]).await;
            }
            site.tunnel.say(&[frame(Kind::End, stream, "")]).await;
            let reply = site.tunnel.heard(stream).await;
            assert!(reply.status != Some(200), "{name}: {reply:?}");
            assert_eq!(arrived(&site, "odd/long"), 0, "{name}");
        }
    }
    let (head, body) = opened(&signer.request(&draft));
    assert_eq!(site.ask(&head, &body).await.status, Some(200), "control");
    assert_eq!(arrived(&site, "odd/long"), 1);
}

/// An answer is the agent's only with its signature over this call: forged, changed, swapped or unsigned ones are none, and a
/// caller that checks takes the outcome as unknown.
#[tokio::test]
async fn forged_changed_and_missing_answers_are_no_answers() {
    let (mut site, signer) = start().await;
    let mut calls = Vec::new();
    for _ in 0..2 {
        let paid = draft(&signer, Method::POST, "/jira/rest/api/2/odd/pay?length=20&seed=1", BODY);
        let request = signer.request(&paid);
        let (head, body) = opened(&request);
        let reply = site.ask(&head, &body).await;
        assert_eq!(check(&signer, &request, &reply), Ok(()), "control");
        calls.push((request, reply));
    }
    let [(request, reply), (_, other)] = &calls[..] else { unreachable!() };
    assert!(check(&signer, request, other).is_err(), "the answer of the same call made anew");
    let mut lies: Vec<(&str, Heard)> = Vec::new();
    let changed = |change: &dyn Fn(&mut Heard)| {
        let mut lie = reply.clone();
        change(&mut lie);
        lie
    };
    lies.push(("another status", changed(&|lie| lie.status = Some(201))));
    lies.push(("an error", changed(&|lie| lie.status = Some(500))));
    lies.push(("another body", changed(&|lie| lie.body.push(b' '))));
    lies.push(("no body", changed(&|lie| lie.body.clear())));
    for name in ["signature", "signature-input", "content-digest"] {
        lies.push((
            "an answer without",
            changed(&|lie| {
                lie.headers.remove(name);
            }),
        ));
    }
    lies.push((
        "another body with its digest",
        changed(&|lie| {
            lie.body = b"forged".to_vec();
            lie.headers.insert("content-digest", sha256_field(b"forged").parse().unwrap());
        }),
    ));
    lies.push((
        "another type",
        changed(&|lie| {
            lie.headers.insert("content-type", "text/html".parse().unwrap());
        }),
    ));
    lies.push((
        "a problem of the relay's",
        changed(&|lie| {
            lie.headers.insert("outhaul-problem", "site-offline".parse().unwrap());
        }),
    ));
    for (name, lie) in lies {
        assert!(check(&signer, request, &lie).is_err(), "{name}: {lie:?}");
    }
    // The refusals of the policy are signed too.
    let refused = signer.request(&draft(&signer, Method::POST, "/jira/rest/api/2/issue", "{}"));
    let (head, body) = opened(&refused);
    let reply = site.ask(&head, &body).await;
    assert_eq!(reply.problem(), Some("policy-refused"));
    assert_eq!(check(&signer, &refused, &reply), Ok(()));
}
