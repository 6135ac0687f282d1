//! Documents whose console blocks are run: the commands stay, the output is written anew.
//!
//! In a block marked `console` a line that begins with `$ ` is a command of bash, and the lines
//! that begin with `> ` go on with it. What follows, up to the next command, is its output. A
//! command that ends in `&` runs beside those behind it until `$ fg` shows what it printed and
//! ends it as Ctrl-C does. A block with a file's name behind its language is that file.

mod session;

use std::{mem, path::Path};

use anyhow::{Context as _, Result};
use session::Session;

/// Lines of a document.
enum Line<'a> {
    Text(&'a str),
    Command(Vec<&'a str>, Vec<&'a str>),
}

/// Runs the commands of a document in this folder, with these variables, and returns the document
/// with the output that they had.
///
/// # Errors
/// When a file cannot be written or bash not be started, or a command takes too long.
pub fn replay(document: &str, folder: &Path, variables: &[(&str, String)]) -> Result<String> {
    let mut session = Session::new(folder, variables)?;
    let mut written = String::new();
    for line in parse(document, folder)? {
        match line {
            Line::Text(text) => push(&mut written, text),
            Line::Command(command, expected) => {
                for (number, line) in command.iter().enumerate() {
                    push(
                        &mut written,
                        &format!("{}{line}", ["$ ", "> "][number.min(1)]),
                    );
                }
                let output = session.run(&command.join("\n"), &expected.join("\n"))?;
                output.lines().for_each(|line| push(&mut written, line));
            }
        }
    }
    Ok(written)
}

fn push(document: &mut String, line: &str) {
    document.push_str(line.trim_end());
    document.push('\n');
}

/// Splits a document, and writes the files that it shows.
fn parse<'a>(document: &'a str, folder: &Path) -> Result<Vec<Line<'a>>> {
    let mut lines = Vec::new();
    let mut block = None;
    let mut file = String::new();
    for line in document.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(info), None) => block = Some(info.trim()),
            (Some(_), Some(info)) => {
                if let Some((_, name)) = info.split_once(' ') {
                    std::fs::write(folder.join(name), mem::take(&mut file))
                        .with_context(|| format!("write {name}"))?;
                }
                file.clear();
                block = None;
            }
            (None, Some("console")) => {
                console(&mut lines, line);
                continue;
            }
            (None, Some(_)) => push(&mut file, line),
            (None, None) => {}
        }
        lines.push(Line::Text(line));
    }
    Ok(lines)
}

fn console<'a>(lines: &mut Vec<Line<'a>>, line: &'a str) {
    match (line.strip_prefix("$ "), lines.last_mut()) {
        (Some(command), _) => lines.push(Line::Command(vec![command], Vec::new())),
        (None, Some(Line::Command(command, output))) => match line.strip_prefix("> ") {
            Some(more) if output.is_empty() => command.push(more),
            _ => output.push(line),
        },
        // Text before the first command.
        (None, _) => lines.push(Line::Text(line)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::replay;

    fn replayed(document: &str) -> String {
        let folder = std::env::temp_dir().join(format!(
            "transcript-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(&folder).unwrap();
        let written = replay(document, &folder, &[("GREETING", "hello".to_owned())]).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        written
    }

    #[test]
    fn commands_stay_and_their_output_is_written_anew() {
        let document = "# A\n\n```yaml a.yaml\nkey: 1\n```\n\n```console\n$ cat a.yaml\nold\nolder\n\
                        $ echo \\\n> $GREETING; false\n```\nend\n";
        let written = "# A\n\n```yaml a.yaml\nkey: 1\n```\n\n```console\n$ cat a.yaml\nkey: 1\n\
                       $ echo \\\n> $GREETING; false\nhello\n```\nend\n";
        assert_eq!(replayed(document), written);
    }

    #[test]
    fn what_each_run_makes_anew_is_written_as_one_thing() {
        let document = "```console\n$ echo 12s '|' 01234567-89ab-cdef-0123-456789abcdef\n```\n";
        let written = "```console\n$ echo 12s '|' 01234567-89ab-cdef-0123-456789abcdef\n\
                       3s  | 0d5e1f2a-7c3b-4a6d-9e8f-1b2c3d4e5f60\n```\n";
        assert_eq!(replayed(document), written);
    }

    #[test]
    fn a_command_in_the_background_prints_when_it_is_fetched() {
        let document = "```console\n$ tail -f log.txt &\n$ echo one >> log.txt\n$ fg\n\
                        tail -f log.txt\none\n^C\n```\n";
        // It runs as soon as its first line is there, so the file must be.
        let document = format!("```text log.txt\nzero\n```\n{document}");
        let written = document.replace("\none\n^C", "\nzero\none\n^C");
        assert_eq!(replayed(&document), written);
    }
}
