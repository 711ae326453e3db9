//! What is looked for: secrets that were planted or seen, each in every spelling in which one gets out.

use std::collections::{BTreeSet, HashMap};

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Letters that stand in tokens, two of which change when they are put into a form.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// A secret is looked for in pieces of this length, of which one begins every so many letters: one that was cut, or lies
/// across two pages, is found too.
const PIECE: usize = 12;
const EVERY: usize = 6;
/// Of a spelling, so many bytes lead to it; none is shorter.
const HEAD: usize = 8;

/// A text that nobody has by chance.
pub(super) fn marker() -> String {
    let random: [u8; 48] = std::array::from_fn(|_| rand::random());
    random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect()
}

/// Finds any of many secrets in one pass.
pub(super) struct Needles {
    all: Vec<(Vec<u8>, String)>,
    heads: HashMap<[u8; HEAD], Vec<usize>>,
    begins: Vec<bool>,
}

impl Needles {
    pub(super) fn new() -> Self {
        Self { all: Vec::new(), heads: HashMap::new(), begins: vec![false; 1 << 16] }
    }

    /// These, by their names.
    pub(super) fn of<'a>(secrets: impl IntoIterator<Item = &'a (String, Vec<u8>)>) -> Self {
        let mut needles = Self::new();
        for (name, secret) in secrets {
            needles.add(name, secret);
        }
        needles
    }

    /// In all spellings.
    pub(super) fn add(&mut self, name: &str, secret: &[u8]) {
        assert!(secret.len() >= HEAD, "{name} is long enough not to be met by chance");
        let last = secret.len().saturating_sub(PIECE);
        for from in (0..last).step_by(EVERY).chain([last]) {
            let piece = &secret[from..secret.len().min(from + PIECE)];
            for (spelling, text) in spellings(piece) {
                self.insert(text, &format!("{name}, {spelling}"));
            }
        }
    }

    fn insert(&mut self, text: Vec<u8>, name: &str) {
        let head: [u8; HEAD] = text[..HEAD].try_into().unwrap();
        self.begins[usize::from(u16::from_be_bytes([head[0], head[1]]))] = true;
        self.heads.entry(head).or_default().push(self.all.len());
        self.all.push((text, name.to_owned()));
    }

    /// The names of those that are there.
    pub(super) fn find(&self, bytes: &[u8]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut at = 0;
        // By hand: this runs over all the memory of a process, in a build without optimization.
        while at + HEAD <= bytes.len() {
            if self.begins[(bytes[at] as usize) << 8 | bytes[at + 1] as usize] {
                let head: [u8; HEAD] = bytes[at..at + HEAD].try_into().unwrap();
                for &which in self.heads.get(&head).into_iter().flatten() {
                    let (text, name) = &self.all[which];
                    if bytes[at..].starts_with(text) {
                        found.insert(name.clone());
                    }
                }
            }
            at += 1;
        }
        found
    }
}

/// As it is; in base64 of any text that holds it, such as `user:password`; in hexadecimal; in a form; as Rust shows
/// bytes.
pub(super) fn spellings(piece: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let joined = |form: &dyn Fn(&u8) -> String, between: &str| {
        piece.iter().map(form).collect::<Vec<_>>().join(between).into_bytes()
    };
    let mut all = vec![
        ("as it is", piece.to_vec()),
        ("hexadecimal", joined(&|byte| format!("{byte:02x}"), "")),
        ("hexadecimal capitals", joined(&|byte| format!("{byte:02X}"), "")),
        ("percent-encoded", joined(&|byte| format!("%{byte:02x}"), "")),
        ("percent-encoded capitals", joined(&|byte| format!("%{byte:02X}"), "")),
        ("in a form", form_urlencoded::byte_serialize(piece).collect::<String>().into_bytes()),
        ("a list of bytes", joined(&u8::to_string, ", ")),
    ];
    for shift in 0..3 {
        all.push(("base64", inside_base64(&STANDARD_NO_PAD, piece, shift)));
        all.push(("base64url", inside_base64(&URL_SAFE_NO_PAD, piece, shift)));
    }
    all
}

/// The letters that depend on nothing but the piece when `shift` bytes stand before it (RFC 4648, section 4).
fn inside_base64(engine: &impl base64::Engine, piece: &[u8], shift: usize) -> Vec<u8> {
    let shifted: Vec<u8> = std::iter::repeat_n(0, shift).chain(piece.iter().copied()).collect();
    let text = engine.encode(&shifted).into_bytes();
    let before = (shift * 8).div_ceil(6);
    let whole = shifted.len() * 8 / 6;
    text[before..whole].to_vec()
}
