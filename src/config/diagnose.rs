//! Collects the faults of one file and shows them: place, excerpt, caret, what to do.

use std::cell::{OnceCell, RefCell};
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::common::report::{Exit, Report};

/// A place in a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Where it begins.
    pub start: usize,
    /// Where it ends; this byte is not in it.
    pub end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// A value and its place in the file, so that a later fault can point at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: Span,
}

struct Fault {
    at: Span,
    what: String,
    help: Option<String>,
}

/// One file's text and what has been found wrong in it so far.
pub struct Source<'d> {
    name: &'d str,
    text: &'d str,
    faults: RefCell<Vec<Fault>>,
    hidden: RefCell<Vec<Span>>,
    /// Where each line ends: asked for once for each rule of a policy.
    ends: OnceCell<Vec<usize>>,
}

impl<'d> Source<'d> {
    /// A text without faults yet, and the name to show for it.
    pub fn new(name: &'d str, text: &'d str) -> Self {
        Self { name, text, faults: RefCell::default(), hidden: RefCell::default(), ends: OnceCell::new() }
    }

    /// Notes a fault at a place: what is wrong, and what to write instead.
    pub fn fault(&self, at: Span, what: impl Into<String>, help: impl Into<String>) {
        self.note(at, &what.into(), Some(&help.into()));
    }

    /// Notes a fault whose sentence already says what to do.
    pub fn plain_fault(&self, at: Span, what: impl Into<String>) {
        self.note(at, &what.into(), None);
    }

    /// Shows stars at this place in every excerpt: a secret may stand there.
    pub fn hide(&self, at: Span) {
        self.hidden.borrow_mut().push(at);
    }

    /// The line of a place, counted from 1.
    pub fn line(&self, at: Span) -> usize {
        let ends =
            || self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        self.ends.get_or_init(ends).partition_point(|end| *end < at.start) + 1
    }

    /// The name shown for this text: usually the path.
    pub fn name(&self) -> &'d str {
        self.name
    }

    /// Whether anything is wrong.
    pub fn has_faults(&self) -> bool {
        !self.faults.borrow().is_empty()
    }

    /// Whether so much is wrong that no more will be shown.
    pub(super) fn is_full(&self) -> bool {
        self.faults.borrow().len() > 10 * MAX_SHOWN
    }

    /// Notes what the TOML parser says.
    pub(super) fn syntax(&self, error: &toml::de::Error) {
        let at = error.span().map_or_else(Span::default, Span::from);
        self.note(at, &format!("this is not TOML: {}", error.message()), None);
    }

    /// All faults in the order of the file, as one report.
    pub fn report(&self) -> Report {
        let mut faults = self.faults.borrow_mut();
        faults.sort_by_key(|fault| fault.at.start);
        let text = self.shown_text();
        let count = faults.len();
        let mut what = match count {
            1 => format!("{} has a fault", self.name),
            _ => format!("{} has {count} faults", self.name),
        };
        for fault in faults.iter().take(MAX_SHOWN) {
            what.push_str("\n\n");
            what.push_str(&render(self.name, &text, fault));
        }
        what.push('\n');
        if count > MAX_SHOWN {
            return Report::new(Exit::Config, what)
                .with_remedy(format!("{} more are not shown; mend these first.", count - MAX_SHOWN));
        }
        Report::new(Exit::Config, what)
    }

    fn note(&self, at: Span, what: &str, help: Option<&str>) {
        let len = self.text.len();
        let at = Span { start: at.start.min(len), end: at.end.clamp(at.start.min(len), len) };
        let (what, help) = (printable(what), help.map(printable));
        self.faults.borrow_mut().push(Fault { at, what, help });
    }

    /// The text with stars at every hidden place, and nothing that could steer a terminal (the renderer itself sees
    /// to ASCII only); byte for byte, so that all other places stay where they are.
    fn shown_text(&self) -> String {
        let mut hidden = vec![false; self.text.len()];
        for span in self.hidden.borrow().iter() {
            if let Some(part) = hidden.get_mut(span.start..span.end) {
                part.fill(true);
            }
        }
        let show = |(at, character): (usize, char)| {
            let is_secret = character != '\n' && hidden.get(at).copied().unwrap_or_default();
            let is_unsafe = !character.is_ascii() && character.is_control();
            let mask = if is_secret { '*' } else { '?' };
            let (times, kept) =
                if is_secret || is_unsafe { (character.len_utf8(), None) } else { (0, Some(character)) };
            std::iter::repeat_n(mask, times).chain(kept)
        };
        self.text.char_indices().flat_map(show).collect()
    }
}

fn render(name: &str, text: &str, fault: &Fault) -> String {
    // Only the lines around the place: a large file must not be walked once for every fault.
    let start = text.get(..fault.at.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let first = line_of(text, start);
    let rest = text.get(start..).unwrap_or_default();
    let line = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
    let from = fault.at.start - start;
    if line.len() > MAX_LINE {
        // Nobody reads such an excerpt, and drawing it takes long.
        let column = line.get(..from).unwrap_or(line).chars().count() + 1;
        let help = fault.help.as_ref().map_or_else(String::new, |help| format!("\n  = help: {help}"));
        return format!("error: {}\n --> {name}:{first}:{column}{help}", fault.what);
    }
    let to = (fault.at.end - start).clamp(from, line.len().max(from));
    let snippet = Snippet::source(line)
        .line_start(first)
        .path(name)
        .annotation(AnnotationKind::Primary.span(from.min(line.len())..to.min(line.len())));
    let mut group = Level::ERROR.primary_title(fault.what.as_str()).element(snippet);
    if let Some(help) = &fault.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    Renderer::plain().render(&[group])
}

/// The line of a byte, counted from 1.
fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at.min(text.len())).unwrap_or_default();
    before.split(|byte| *byte == b'\n').count()
}

/// Text of a file must not steer the terminal it is shown on.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// No longer line is shown.
const MAX_LINE: usize = 1_000;
/// More faults than a person mends in one go.
const MAX_SHOWN: usize = 30;
