//! Manual pages and completions, from the one definition of the commands.

use std::path::PathBuf;

use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;

use crate::common::report::{Exit, Report};

/// What to write, for packagers.
#[derive(Debug, Clone, Subcommand)]
pub enum Generate {
    /// Write the manual pages, one for each command.
    Man {
        /// The folder to write to.
        folder: PathBuf,
    },
    /// Write the completions for bash, zsh and fish.
    Completions {
        /// The folder to write to.
        folder: PathBuf,
    },
}

/// Writes them for the program that `T` defines.
pub fn generate<T: CommandFactory>(what: &Generate) -> Result<(), Report> {
    let (Generate::Man { folder } | Generate::Completions { folder }) = what;
    let unwritten = |error: std::io::Error| {
        Report::new(Exit::CannotCreate, format!("nothing can be written to {}: {error}", folder.display()))
    };
    std::fs::create_dir_all(folder).map_err(unwritten)?;
    let mut command = T::command();
    let name = command.get_name().to_owned();
    match what {
        Generate::Man { .. } => clap_mangen::generate_to(command, folder).map_err(unwritten),
        Generate::Completions { .. } => {
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                clap_complete::generate_to(shell, &mut command, &name, folder).map_err(unwritten)?;
            }
            Ok(())
        }
    }
}
