//! What the demo prints.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Outcome;
use crate::client::Answer;

pub(crate) fn title(text: &str) {
    println!("\n── {text}");
}

/// A command as a person types it: program by its name, the long folder cut out.
pub(crate) fn command_line(program: &Path, arguments: &[&str]) -> String {
    let name = program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut line = name;
    for argument in arguments {
        line.push(' ');
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=".contains(&byte);
        if argument.bytes().all(plain) {
            line.push_str(argument);
        } else {
            line.push('\'');
            line.push_str(argument);
            line.push('\'');
        }
    }
    line
}

/// Runs a command to its end, shows it and what it printed, and gives that.
pub(crate) fn run(program: &Path, arguments: &[&str]) -> Outcome<String> {
    let line = command_line(program, arguments);
    println!("\n$ {line}");
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|fault| format!("{} does not start: {fault}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    for line in text.lines().chain(errors.lines()) {
        println!("  {line}");
    }
    if output.status.success() { Ok(text) } else { Err(format!("`{line}` failed ({})", output.status)) }
}

/// Shows an answer: status, the headers that matter, and the document, shortened.
pub(crate) fn answer(answer: &Answer) {
    println!("  HTTP {}", answer.status);
    for name in ["content-type", "x-ausername", "outhaul-problem"] {
        if let Some(value) = answer.headers.get(name) {
            println!("  {name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
    }
    let text = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(value) => serde_json::to_string_pretty(&value).unwrap_or_default(),
        Err(_) => String::from_utf8_lossy(&answer.body).into_owned(),
    };
    let lines: Vec<&str> = text.lines().collect();
    for line in lines.iter().take(16) {
        println!("  {}", line.chars().take(200).collect::<String>());
    }
    if lines.len() > 16 {
        println!("  … {} lines more", lines.len() - 16);
    }
}
