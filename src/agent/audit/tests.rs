use std::time::Duration;

use http::Method;
use proptest::prelude::*;

use super::gather::{Gathered, gap, removed};
use super::*;
use crate::agent::store::tables::audit::{AuditBlock, KeptHead};
use crate::common::ids::{AgentId, RequestId};
use crate::common::problem::{Code, Outcome};
use crate::identity::audit_head::{ChainHead, SignedHead};
use crate::identity::keys::SigningKey;

const NOON: i64 = 1_795_521_600_007;

fn request() -> RequestId {
    "01994d2f-3a5b-7cde-8f01-23456789abcd".parse().unwrap()
}

pub(super) fn facts() -> Facts<'static> {
    Facts {
        request: Some(request()),
        caller: Some("teams-bot"),
        issuer: None,
        act_as: Some(("entra", "9f3c\"\\\u{7f}")),
        identity: Some(As::User("JIRAUSER10100")),
        jira_user: Some("mia"),
        by: None,
        upstream: Some("jira"),
        method: Some(&Method::POST),
        path: Some("/rest/api/2/issue/DEMO-1/comment"),
        rule: Some(ByRule { text: "POST /rest/api/2/issue/*/comment", file: "agent.toml", line: 12 }),
        relay_trust: true,
        signed: None,
    }
}

/// The form is what auditors' programs stand on: these lines never change.
#[test]
fn golden_records() {
    let ended = Ended {
        result: Some(Answered::Status(201)),
        outcome: None,
        bytes_in: Some(48),
        bytes_out: Some(1024),
        took: Some(Duration::from_micros(12_900)),
    };
    let mut gathered = Gathered::after(0, 0);
    gathered.add(NOON, &Record::new(Event::Start).detail("0.1.0"));
    gathered.add_prepared(NOON + 1, Event::CallIntent, &facts().prepare(), &Ended::default());
    gathered.add(NOON + 2, &Record::new(Event::Call).about(facts()).ended(ended));
    let refused = Facts {
        identity: Some(As::Service("reader")),
        act_as: None,
        jira_user: None,
        rule: None,
        relay_trust: false,
        ..facts()
    };
    let problem = Ended {
        result: Some(Answered::Problem(Code::PolicyRefused)),
        outcome: Some(Outcome::NotSent),
        ..Ended::default()
    };
    gathered.add(NOON + 3, &Record::new(Event::Refused).about(refused).ended(problem));
    gathered.add(NOON + 4, &Record::new(Event::CallerAdded).caller("bot").by("uid 0"));
    gathered.add(NOON + 5, &gap(3, NOON, NOON + 1000));
    gathered.add(NOON + 6, &removed(2, ChainHead([0xab; 32])));
    gathered.add(NOON - 86_400_000, &Record::new(Event::Stop));
    let (blocks, head) = gathered.take().blocks(ChainHead::default());
    let expected = [
        r#"{"n":1,"time":"2026-11-24T12:00:00.007Z","event":"start","detail":"0.1.0"}"#,
        r#"{"n":2,"time":"2026-11-24T12:00:00.008Z","event":"call-intent","request":"01994d2f-3a5b-7cde-8f01-23456789abcd","caller":"teams-bot","act_as":"entra:9f3c\"\\\u007f","identity":"user:JIRAUSER10100","jira_user":"mia","upstream":"jira","method":"POST","path":"/rest/api/2/issue/DEMO-1/comment","rule":"POST /rest/api/2/issue/*/comment","place":"agent.toml:12","trust":"accept-relay-trust"}"#,
        r#"{"n":3,"time":"2026-11-24T12:00:00.009Z","event":"call","request":"01994d2f-3a5b-7cde-8f01-23456789abcd","caller":"teams-bot","act_as":"entra:9f3c\"\\\u007f","identity":"user:JIRAUSER10100","jira_user":"mia","upstream":"jira","method":"POST","path":"/rest/api/2/issue/DEMO-1/comment","rule":"POST /rest/api/2/issue/*/comment","place":"agent.toml:12","trust":"accept-relay-trust","result":201,"bytes_in":48,"bytes_out":1024,"ms":12}"#,
        r#"{"n":4,"time":"2026-11-24T12:00:00.010Z","event":"refused","request":"01994d2f-3a5b-7cde-8f01-23456789abcd","caller":"teams-bot","identity":"service:reader","upstream":"jira","method":"POST","path":"/rest/api/2/issue/DEMO-1/comment","result":"policy-refused","outcome":"not-sent"}"#,
        r#"{"n":5,"time":"2026-11-24T12:00:00.011Z","event":"caller-added","caller":"bot","by":"uid 0"}"#,
        r#"{"n":6,"time":"2026-11-24T12:00:00.012Z","event":"gap","lost":3,"from":"2026-11-24T12:00:00.007Z","to":"2026-11-24T12:00:01.007Z"}"#,
        r#"{"n":7,"time":"2026-11-24T12:00:00.013Z","event":"checkpoint","removed_to":2,"head":"abababababababababababababababababababababababababababababababab"}"#,
        r#"{"n":8,"time":"2026-11-23T12:00:00.007Z","event":"stop","clock_back_ms":86400006}"#,
    ];
    let text = String::from_utf8(blocks[0].bytes.clone()).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    for line in text.lines() {
        let _: serde_json::Value = serde_json::from_str(line).unwrap();
    }
    assert_eq!((blocks.len(), blocks[0].count), (1, 8));
    assert_eq!((blocks[0].first_time, blocks[0].last_time), (NOON - 86_400_000, NOON + 6));
    assert_eq!(head.to_string(), "6dd4b49f528e21f9fdae80dd2c2768228949a47caabd20ce3026e55ebc18f23a");
    assert_eq!(verify(&blocks, None, vec![]).broken, None);
}

/// A field that most records don't have stands behind those that they do.
#[test]
fn a_signed_call_names_its_key() {
    let mut gathered = Gathered::after(0, 0);
    let facts = Facts { signed: Some("ohs_abcdefghjkmn"), ..facts() };
    gathered.add(NOON, &Record::new(Event::Call).about(facts));
    let (blocks, _) = gathered.take().blocks(ChainHead::default());
    let text = String::from_utf8(blocks[0].bytes.clone()).unwrap();
    assert!(text.contains(r#","trust":"accept-relay-trust","signed":"ohs_abcdefghjkmn""#), "{text}");
}

/// A chain of so many records, in blocks as so many batches make them.
fn chain(records: u64, batch: u64) -> Vec<AuditBlock> {
    let (mut gathered, mut head, mut blocks) = (Gathered::after(0, 0), ChainHead::default(), Vec::new());
    for number in 1..=records {
        let path = format!("/rest/api/2/issue/DEMO-{number}");
        let facts = Facts { path: Some(&path), ..Facts::default() };
        gathered.add(NOON + number.cast_signed(), &Record::new(Event::Call).about(facts));
        if number % batch == 0 || number == records {
            let (more, after) = gathered.take().blocks(head);
            blocks.extend(more);
            head = after;
        }
    }
    blocks
}

fn verify(blocks: &[AuditBlock], checkpoint: Option<&KeptHead>, anchors: Vec<Anchor>) -> Verified {
    let mut verifier = Verifier::new(checkpoint, anchors);
    for block in blocks {
        verifier.block(block);
    }
    verifier.finish()
}

fn anchor(blocks: &[AuditBlock], number: u64) -> Anchor {
    let mut head = ChainHead::default();
    for line in lines(blocks).iter().take(number as usize) {
        head = head.then(line);
    }
    Anchor { number, head, from: "the journal".to_owned() }
}

fn lines(blocks: &[AuditBlock]) -> Vec<Vec<u8>> {
    blocks.iter().flat_map(|block| block.bytes.split(|byte| *byte == b'\n')).map(<[u8]>::to_vec).collect()
}

/// The record with this number: its block, and its place there.
fn place(blocks: &[AuditBlock], number: u64) -> (usize, usize) {
    let index =
        blocks.iter().position(|block| (block.first..block.first + block.count).contains(&number)).unwrap();
    (index, (number - blocks[index].first) as usize)
}

fn change_lines(block: &mut AuditBlock, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut lines: Vec<Vec<u8>> = block.bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    change(&mut lines);
    block.bytes = lines.join(&b'\n');
}

/// Like somebody who has the store's key and knows the form: everything that follows fits again.
fn forge(blocks: &mut [AuditBlock]) {
    let mut head = ChainHead::default();
    for block in blocks {
        block.marks.clear();
        for line in block.bytes.split(|byte| *byte == b'\n') {
            head = head.then(line);
            block.marks.extend_from_slice(&head.0[..8]);
        }
        block.head = head;
    }
}

#[test]
fn blocks_are_bounded() {
    let blocks = chain(1000, 1000);
    assert!(blocks.iter().all(|block| block.count <= 256 && block.bytes.len() <= 64 * 1024));
    assert_eq!(blocks.iter().map(|block| block.count).sum::<u64>(), 1000);
    let long = "/x".repeat(2000);
    let mut gathered = Gathered::after(0, 0);
    for _ in 0..100 {
        gathered.add(NOON, &Record::new(Event::Call).about(Facts { path: Some(&long), ..Facts::default() }));
    }
    let (blocks, _) = gathered.take().blocks(ChainHead::default());
    assert!(blocks.len() > 5 && blocks.iter().all(|block| block.bytes.len() <= 64 * 1024));
    assert_eq!(verify(&blocks, None, vec![]).records, 100);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_whole_chain_verifies_however_it_was_batched(records in 1u64..700, batch in 1u64..300, at in 0u64..700) {
        let blocks = chain(records, batch);
        let anchors = vec![anchor(&blocks, at.min(records)), anchor(&blocks, records)];
        let found = verify(&blocks, None, anchors);
        prop_assert_eq!(&found.broken, &None);
        prop_assert_eq!((found.first, found.last, found.records, found.anchors.len()), (1, records, records, 2));
    }

    #[test]
    fn the_first_broken_record_is_named(
        records in 2u64..600, batch in 1u64..300, seed: u64, byte: proptest::sample::Index, bit in 0u8..7, how in 0usize..6,
    ) {
        let whole = chain(records, batch);
        let number = 1 + seed % records;
        let (index, at) = place(&whole, number);
        let mut blocks = whole.clone();
        let mut named = number;
        match how {
            // One bit of it.
            0 => change_lines(&mut blocks[index], |lines| {
                let byte = byte.index(lines[at].len());
                lines[at][byte] ^= 1 << bit;
                // A line end would make two records of it; that is the case of one put in.
                if lines[at][byte] == b'\n' { lines[at][byte] = b'!'; }
            }),
            // It is taken out, and the block says so.
            1 => {
                change_lines(&mut blocks[index], |lines| { lines.remove(at); });
                blocks[index].count -= 1;
                let marks = at * 8..at * 8 + 8;
                blocks[index].marks.drain(marks);
                if blocks[index].count == 0 { blocks.remove(index); }
                // The last one of all, with its block: a cut tail, which only an anchor tells.
                prop_assume!(number < records || blocks.len() == whole.len());
            }
            // Swapped with its neighbour in the block.
            2 => {
                prop_assume!((at as u64) + 1 < blocks[index].count);
                change_lines(&mut blocks[index], |lines| lines.swap(at, at + 1));
            }
            // Put in once more.
            3 => change_lines(&mut blocks[index], |lines| {
                let copy = lines[at].clone();
                lines.insert(at + 1, copy);
                named = number + 1;
            }),
            // Everything of its block from it on is gone.
            4 => {
                prop_assume!(at > 0);
                change_lines(&mut blocks[index], |lines| lines.truncate(at));
            }
            // Its whole block is gone, and there are later ones.
            _ => {
                prop_assume!(index + 1 < blocks.len());
                named = blocks[index].first;
                blocks.remove(index);
            }
        }
        let broken = verify(&blocks, None, vec![]).broken;
        prop_assert_eq!(broken.as_ref().map(|broken| broken.number), Some(named), "{:?}", broken);
    }

    #[test]
    fn who_forges_all_that_follows_is_found_by_an_anchor(records in 3u64..400, batch in 1u64..300, seed: u64) {
        let whole = chain(records, batch);
        let (number, kept) = (1 + seed % (records - 1), anchor(&whole, records - 1));
        let mut blocks = whole.clone();
        let (index, at) = place(&blocks, number);
        change_lines(&mut blocks[index], |lines| {
            let end = lines[at].len() - 3;
            lines[at][end] ^= 1;
        });
        forge(&mut blocks);
        prop_assert_eq!(verify(&blocks, None, vec![]).broken, None, "it fits again");
        let broken = verify(&blocks, None, vec![kept.clone()]).broken.unwrap();
        prop_assert!(broken.number == records - 1 && broken.what.contains("rewritten"), "{:?}", broken);

        // The tail cut off.
        let mut cut = whole.clone();
        cut.truncate(whole.len() - 1);
        let left: u64 = cut.iter().map(|block| block.count).sum();
        let found = verify(&cut, None, vec![anchor(&whole, records)]).broken.unwrap();
        prop_assert!(found.number == left + 1 && found.what.contains("cut off"), "{:?}", found);
    }
}

#[test]
fn a_checkpoint_stands_for_what_was_removed() {
    let blocks = chain(900, 100);
    let (key, _) = SigningKey::generate().unwrap();
    let agent = AgentId::generate();
    let at = anchor(&blocks, 300);
    let signed = SignedHead::sign(agent, &key, 300, at.head, 7);
    let kept = KeptHead { signed, agent, key: key.public() };
    let old = Anchor { from: "an old one".to_owned(), ..anchor(&blocks, 200) };
    let found = verify(&blocks[3..], Some(&kept), vec![at.clone(), old, anchor(&blocks, 900)]);
    assert_eq!((found.broken, found.first, found.last, found.anchors.len()), (None, 301, 900, 2));
    assert!(found.notes[0].contains("an old one") && found.notes[0].contains("removed"), "{:?}", found.notes);
    // More removed than the checkpoint says; a checkpoint that somebody wrote.
    assert_eq!(verify(&blocks[4..], Some(&kept), vec![]).broken.unwrap().number, 301);
    let forged = KeptHead { signed: SignedHead { number: 400, ..signed }, ..kept };
    let broken = verify(&blocks[4..], Some(&forged), vec![]).broken.unwrap();
    assert!(broken.number == 400 && broken.what.contains("signature"), "{broken:?}");
    let other = Anchor { head: ChainHead([1; 32]), ..at };
    assert_eq!(verify(&blocks[3..], Some(&kept), vec![other]).broken.unwrap().number, 300);
}

#[test]
fn an_empty_chain_is_whole_and_an_anchor_tells_that_it_was_not() {
    let found = verify(&[], None, vec![]);
    assert_eq!((found.broken, found.records, found.last), (None, 0, 0));
    let kept = Anchor { number: 5, head: ChainHead([1; 32]), from: "the relay".to_owned() };
    let broken = verify(&[], None, vec![kept]).broken.unwrap();
    assert!(broken.number == 1 && broken.what.contains("the relay names record 5"), "{broken:?}");
}

#[test]
fn events_have_names_of_their_own() {
    let mut names: Vec<_> = Event::ALL.iter().map(|event| event.as_str()).collect();
    for event in Event::ALL {
        assert_eq!(event.as_str().parse::<Event>().unwrap(), *event);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Event::ALL.len());
    assert!("calls".parse::<Event>().unwrap_err().contains("call-intent"));
}
