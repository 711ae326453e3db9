//! A secret from the person at the terminal, without echo, or from a pipe.

use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use rustix::io::{Errno, read};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::{Zeroize as _, Zeroizing};

use super::TypedFault;
use crate::common::secret::Secret;

/// Reads a secret: typed or pasted at a terminal, where it is not shown; or all of standard input where that is none, or where
/// `piped` says so. A newline at its end is no part of it.
pub fn read_secret(question: &str, piped: bool) -> Result<Secret<String>, TypedFault> {
    let input = std::io::stdin();
    // All the room there will be: a text that had to grow would leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 1));
    if piped || !input.is_terminal() {
        while let Some(byte) = next(&input)? {
            push(&mut bytes, byte)?;
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
    } else {
        let quiet = Quiet::start(&input)?;
        let mut out = std::io::stderr().lock();
        let _ = write!(out, "{question} (not shown): ");
        let _ = out.flush();
        let typed = typed(&input, &mut bytes);
        drop(quiet);
        let _ = writeln!(out);
        typed?;
    }
    if bytes.is_empty() {
        return Err(TypedFault::Nothing);
    }
    let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
        error.into_bytes().zeroize();
        TypedFault::NotText
    })?;
    Ok(Secret::new(text))
}

/// One line, keys as a terminal has them.
fn typed(input: &std::io::Stdin, bytes: &mut Vec<u8>) -> Result<(), TypedFault> {
    while let Some(byte) = next(input)? {
        match byte {
            // Ctrl-D ends it too.
            b'\n' | b'\r' | 0x04 => break,
            // Ctrl-C.
            0x03 => return Err(TypedFault::Cancelled),
            // Ctrl-U.
            0x15 => bytes.zeroize(),
            // The last letter, all of its bytes.
            0x08 | 0x7f => while bytes.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            byte => push(bytes, byte)?,
        }
    }
    Ok(())
}

fn push(bytes: &mut Vec<u8>, byte: u8) -> Result<(), TypedFault> {
    if bytes.len() >= MAX_SECRET {
        return Err(TypedFault::TooLong);
    }
    bytes.push(byte);
    Ok(())
}

/// One byte, past every buffer: what is left in one would not be wiped.
fn next(input: &std::io::Stdin) -> Result<Option<u8>, TypedFault> {
    let mut byte = [0];
    loop {
        match read(input.as_fd(), &mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(byte.first().copied()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(TypedFault::System(error.into())),
        }
    }
}

/// A terminal without echo, as it was before when dropped. Keys come one by one: a line may be longer than the 4096 bytes
/// that a terminal keeps, and Ctrl-C must not end the program here and leave the terminal mute.
struct Quiet<'a> {
    input: &'a std::io::Stdin,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn start(input: &'a std::io::Stdin) -> Result<Self, TypedFault> {
        let system = |error: Errno| TypedFault::System(error.into());
        let before = tcgetattr(input.as_fd()).map_err(system)?;
        let mut quiet = before.clone();
        quiet
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
        tcsetattr(input.as_fd(), OptionalActions::Now, &quiet).map_err(system)?;
        Ok(Self { input, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.input.as_fd(), OptionalActions::Now, &self.before);
    }
}

const MAX_SECRET: usize = 16 * 1024;
