//! Is the chain whole? Looks at one block after the other and names the first record that is not as it was written.
//! Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::gather::{MARK, mark};
use crate::agent::store::tables::audit::{AuditBlock, KeptHead};
use crate::identity::audit_head::ChainHead;

/// A head that somebody kept: `NUMBER:HEAD`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// After which record.
    pub number: u64,
    /// The head after it.
    pub head: ChainHead,
    /// Who kept it, for people.
    pub from: String,
}

/// The first record that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Its number.
    pub number: u64,
    /// Its time, where one can be read: else of the last one before it.
    pub time: Option<String>,
    /// What is wrong.
    pub what: String,
}

/// What was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The number of the first record that is kept.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// The head after the last; the same as a verified chain anywhere else has.
    pub head: ChainHead,
    /// How many records were looked at.
    pub records: u64,
    /// Heads that were compared, and agree.
    pub anchors: Vec<String>,
    /// What could not be compared, and why.
    pub notes: Vec<String>,
    /// The first broken record.
    pub broken: Option<Broken>,
}

/// Goes through a chain. Can be put down and taken up again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verifier {
    next: u64,
    head: ChainHead,
    time: Option<String>,
    anchors: BTreeMap<u64, Vec<Anchor>>,
    found: Verified,
}

impl std::str::FromStr for Anchor {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let read = text.split_once(':').and_then(|(number, head)| {
            Some(Self {
                number: number.parse().ok()?,
                head: head.parse().ok()?,
                from: "the given anchor".to_owned(),
            })
        });
        read.ok_or_else(|| {
            format!("“{text}” is no anchor: write NUMBER:HEAD, the head as 64 hexadecimal digits")
        })
    }
}

impl Verifier {
    /// From the checkpoint on, or from the beginning. Anchors may be in any order.
    pub fn new(checkpoint: Option<&KeptHead>, anchors: Vec<Anchor>) -> Self {
        let mut verifier = Self {
            next: 1,
            head: ChainHead::default(),
            time: None,
            anchors: BTreeMap::new(),
            found: Verified::default(),
        };
        if let Some(kept) = checkpoint {
            verifier.next = kept.signed.number + 1;
            verifier.head = kept.signed.head;
            if !kept.signed.is_by(kept.agent, &kept.key) {
                verifier.broke(kept.signed.number, None, "its checkpoint's signature is wrong".to_owned());
            }
        }
        for anchor in anchors {
            verifier.anchors.entry(anchor.number).or_default().push(anchor);
        }
        verifier.found.first = verifier.next;
        let before = verifier.next.saturating_sub(1);
        let gone: Vec<_> = verifier.anchors.range(..before).flat_map(|(_, anchors)| anchors).collect();
        let notes: Vec<_> = gone
            .iter()
            .map(|anchor| {
                format!(
                    "{} at record {} can't be compared: the records up to {before} were removed",
                    anchor.from, anchor.number
                )
            })
            .collect();
        verifier.found.notes = notes;
        verifier.compare();
        verifier
    }

    /// The number of the record that comes next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether a broken record was found: the rest says nothing more.
    pub fn is_broken(&self) -> bool {
        self.found.broken.is_some()
    }

    /// Looks at the next block.
    pub fn block(&mut self, block: &AuditBlock) {
        if self.is_broken() {
            return;
        }
        if block.first != self.next {
            let (missing, time) = (self.next, self.time.clone());
            let what = if block.first > missing {
                format!("records {missing} to {} are missing", block.first - 1)
            } else {
                format!("a second record {} stands where {missing} is expected", block.first)
            };
            return self.broke(missing, time, what);
        }
        let mut marks = block.marks.chunks(MARK);
        for line in block.bytes.split(|byte| *byte == b'\n') {
            let Some((number, time)) = beginning(line) else {
                let what = "it can't be read".to_owned();
                return self.broke(self.next, self.time.clone(), what);
            };
            if number != self.next {
                let what = format!("record {number} stands where {} is expected", self.next);
                return self.broke(self.next, Some(time.to_owned()), what);
            }
            self.head = self.head.then(line);
            if marks.next() != Some(mark(&self.head)) {
                let what = "it is not what was written, or one before it was written anew".to_owned();
                return self.broke(number, Some(time.to_owned()), what);
            }
            self.time = Some(time.to_owned());
            self.next += 1;
            self.found.records += 1;
            self.compare();
            if self.is_broken() {
                return;
            }
        }
        let last = self.next.saturating_sub(1);
        let ended = block.first + block.count - 1;
        if last < ended {
            let what = format!("records {} to {ended} are missing", self.next);
            self.broke(self.next, self.time.clone(), what);
        } else if last > ended {
            self.broke(ended + 1, self.time.clone(), "it was put in afterwards".to_owned());
        } else if mark(&block.head) != mark(&self.head) {
            let what = "it is missing, or the head of the records before it was changed".to_owned();
            self.broke(self.next, self.time.clone(), what);
        } else if block.head != self.head {
            self.broke(last, self.time.clone(), "the head after it is not what was written".to_owned());
        }
    }

    /// No further block.
    pub fn finish(mut self) -> Verified {
        let last = self.next.saturating_sub(1);
        if !self.is_broken()
            && let Some((number, anchors)) = self.anchors.range(self.next..).next_back()
        {
            let from: Vec<_> = anchors.iter().map(|anchor| anchor.from.as_str()).collect();
            let what = format!(
                "records from here on were cut off: the chain ends at {last}, but {} names record {number}",
                from.join(" and ")
            );
            self.broke(self.next, self.time.clone(), what);
        }
        Verified { last, head: self.head, ..self.found }
    }

    /// With those anchors that are for this very place.
    fn compare(&mut self) {
        let at = self.next.saturating_sub(1);
        let Some(anchors) = self.anchors.get(&at).cloned() else { return };
        for anchor in anchors {
            if anchor.head == self.head {
                self.found.anchors.push(format!("{} at record {at}", anchor.from));
            } else {
                let what = format!(
                    "it or a record before it was rewritten, with all that follow: the head is {}, but {} says {}",
                    self.head, anchor.from, anchor.head
                );
                self.broke(at, self.time.clone(), what);
            }
        }
    }

    fn broke(&mut self, number: u64, time: Option<String>, what: String) {
        if self.found.broken.is_none() {
            self.found.broken = Some(Broken { number, time, what });
        }
    }
}

/// Number and time of a record: the first two members, in their fixed form.
pub(super) fn beginning(line: &[u8]) -> Option<(u64, &str)> {
    let text = std::str::from_utf8(line).ok()?;
    let (number, rest) = text.strip_prefix("{\"n\":")?.split_once(',')?;
    let (time, rest) = rest.strip_prefix("\"time\":\"")?.split_once('"')?;
    let whole = rest.starts_with(',') && rest.ends_with('}');
    whole.then_some((number.parse().ok()?, time))
}
