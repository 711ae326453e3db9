//! One line from the person at the terminal, or from a pipe.

use std::io::{BufRead, IsTerminal, Read, Write};

/// Why no line was read.
#[derive(Debug, thiserror::Error)]
pub enum TypedFault {
    /// End of input, or an empty line.
    #[error("nothing was given on standard input")]
    Nothing,
    /// Too long to be meant.
    #[error("the line on standard input is longer than {MAX_LINE} bytes")]
    TooLong,
    /// Not text.
    #[error("what was given is not UTF-8 text")]
    NotText,
    /// The person pressed Ctrl-C.
    #[error("cancelled; nothing was changed")]
    Cancelled,
    /// The system refused.
    #[error("standard input can't be read: {0}")]
    System(#[from] std::io::Error),
}

/// Reads one line, trimmed. `question` is shown only if somebody sits at the terminal.
pub fn read_line(question: &str) -> Result<String, TypedFault> {
    let input = std::io::stdin();
    if input.is_terminal() {
        let mut out = std::io::stderr().lock();
        let _ = write!(out, "{question}: ");
        let _ = out.flush();
    }
    let mut line = String::new();
    input.lock().take(MAX_LINE + 1).read_line(&mut line)?;
    if line.len() as u64 > MAX_LINE {
        return Err(TypedFault::TooLong);
    }
    let line = line.trim();
    if line.is_empty() { Err(TypedFault::Nothing) } else { Ok(line.to_owned()) }
}

const MAX_LINE: u64 = 16 * 1024;
