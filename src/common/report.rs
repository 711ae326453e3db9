//! The door where a person reads an error: the chain of causes, the remedy, the exit code.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Exit codes of `sysexits.h`, so that a script can tell a typing error from an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for was done, and something was found: a difference, an expectation that does not hold (1).
    Found,
    /// The command line was wrong (64).
    Usage,
    /// Input data was wrong (65).
    Data,
    /// A service is not available: the daemon or the relay (69).
    Unavailable,
    /// A fault of ours (70).
    Software,
    /// The operating system refused something (71).
    System,
    /// A file could not be created or written (73).
    CannotCreate,
    /// Reading or writing failed (74).
    InputOutput,
    /// Try again later (75).
    Temporary,
    /// The other side does not speak as it should (76).
    Protocol,
    /// Not allowed (77).
    Permission,
    /// The configuration is wrong (78).
    Config,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Found => 1,
            Self::Usage => 64,
            Self::Data => 65,
            Self::Unavailable => 69,
            Self::Software => 70,
            Self::System => 71,
            Self::CannotCreate => 73,
            Self::InputOutput => 74,
            Self::Temporary => 75,
            Self::Protocol => 76,
            Self::Permission => 77,
            Self::Config => 78,
        }
    }
}

/// A failure as it reaches the person at the command line.
#[derive(Debug)]
pub struct Report {
    exit: Exit,
    what: String,
    remedy: Option<String>,
}

impl Report {
    /// What happened, in a sentence.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), remedy: None }
    }

    /// From an error and its causes, innermost last.
    pub fn from_error(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            // Some libraries repeat their cause in their own text.
            if !what.ends_with(&text) {
                let _ = write!(what, ": {text}");
            }
            cause = inner.source();
        }
        Self::new(exit, what)
    }

    /// What to do next.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// What happened.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do next, if it says.
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// Which exit code it leads to.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Prints it to standard error and gives the code for `main`.
    pub fn print(&self, program: &str) -> ExitCode {
        eprintln!("{program}: {self}");
        ExitCode::from(self.exit.code())
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.what)?;
        if let Some(remedy) = &self.remedy {
            write!(formatter, "\n  {remedy}")?;
        }
        Ok(())
    }
}

impl Error for Report {}
