//! Dictionaries as structured fields (RFC 9651) in which no name may stand twice: the RFC takes the last, and whoever
//! reads the first would see another message.

use http::HeaderMap;
use sfv::visitor::{DictionaryVisitor, EntryVisitor};
use sfv::{Dictionary, FieldType, InnerList, KeyRef, ListEntry, Parser};

use super::SignatureFault;

/// The dictionary in a field that must be there once and is no longer than `limit` bytes.
pub(super) fn dictionary(
    headers: &HeaderMap,
    name: &'static str,
    limit: usize,
) -> Result<Dictionary, SignatureFault> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(SignatureFault::NotOnce(name.to_owned()));
    };
    read(value.as_bytes(), name, limit)
}

/// The same of bytes.
pub(super) fn read(bytes: &[u8], name: &'static str, limit: usize) -> Result<Dictionary, SignatureFault> {
    if bytes.len() > limit {
        return Err(SignatureFault::TooLong(name));
    }
    let mut twice = false;
    let once = Once { read: Dictionary::new(), twice: &mut twice };
    let found = Parser::new(bytes).parse_dictionary_with_visitor(once);
    if twice {
        return Err(SignatureFault::Twice(name));
    }
    found.map_err(|_| SignatureFault::Unreadable(name))
}

/// A list within a dictionary, written in the one form that is signed (RFC 9421, section 2.3).
pub(super) fn written(list: InnerList) -> Option<String> {
    vec![ListEntry::InnerList(list)].serialize()
}

struct Once<'a> {
    read: Dictionary,
    twice: &'a mut bool,
}

#[derive(Debug, thiserror::Error)]
#[error("a name stands twice")]
struct Twice;

impl<'de> DictionaryVisitor<'de> for Once<'_> {
    type Out = Dictionary;
    type Error = Twice;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Twice> {
        if self.read.contains_key(key) {
            *self.twice = true;
            return Err(Twice);
        }
        // A dictionary takes any name.
        DictionaryVisitor::entry(&mut self.read, key).map_err(|_| Twice)
    }

    fn finish(self) -> Result<Dictionary, Twice> {
        Ok(self.read)
    }
}
