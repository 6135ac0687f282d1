//! Running a command to its end and saying clearly how it failed.

use std::{
    io,
    process::{Command, Output, Stdio},
};

use crate::{Error, Result, error::Step};

/// Runs `command` to its end and returns what it wrote to standard output.
pub(crate) fn run(step: &str, command: &mut Command) -> Result<String> {
    let output = output(step, command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(step, command, &output))
}

/// Runs `command` to its end, whatever its exit code.
pub(crate) fn output(step: &str, command: &mut Command) -> Result<Output> {
    match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let program = command.get_program().to_string_lossy().into_owned();
            Err(Error::MissingProgram {
                remedy: format!("your package manager (it should hold `{program}`)"),
                program,
            })
        }
        result => result.step(|| format!("{step}: start {}", line(command))),
    }
}

/// The error for a command that ended badly.
pub(crate) fn failed(step: &str, command: &Command, output: &Output) -> Error {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let text = if stderr.trim().is_empty() {
        String::from_utf8_lossy(&output.stdout)
    } else {
        stderr
    };
    Error::Command {
        step: step.to_owned(),
        command: line(command),
        status: output.status,
        output: last_lines(&text, 12),
    }
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last `count` lines of `text`, without surrounding blank space.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_named_with_its_last_words() {
        let error = run(
            "try",
            Command::new("sh").args(["-c", "echo no good >&2; exit 3"]),
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("no good"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run("try", &mut Command::new("no-such-program-here")).unwrap_err();
        assert!(
            matches!(error, Error::MissingProgram { program, .. } if program == "no-such-program-here")
        );
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}
