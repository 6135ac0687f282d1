//! Recordings of terminal sessions: asciicast v2, a JSON array a line, as asciinema and other players
//! read it.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::{Event, Exit, Size};

/// The size of a window whose size nobody told: that of a terminal of old.
const USUAL: Size = Size {
    width: 80,
    height: 24,
};

/// The first line.
#[derive(Clone, Debug, Serialize)]
pub struct Header<'a> {
    version: u8,
    width: u16,
    height: u16,
    /// When it began, in seconds since 1970.
    timestamp: i64,
    /// What was run.
    #[serde(skip_serializing_if = "str::is_empty")]
    command: &'a str,
    title: &'a str,
    /// More about the session, under a name that players do not know.
    #[serde(skip_serializing_if = "Value::is_null")]
    session: &'a Value,
}

impl<'a> Header<'a> {
    /// The header of a session that began at `timestamp` (seconds since 1970). `session` says more
    /// about it, for readers that know what.
    #[must_use]
    pub fn new(timestamp: i64, command: &'a str, title: &'a str, session: &'a Value) -> Self {
        Self {
            version: 2,
            width: USUAL.width,
            height: USUAL.height,
            timestamp,
            command,
            title,
            session,
        }
    }

    /// The line, with its end.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        // A value of these types always serialises.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Writes down what happens in a session.
///
/// Texts are UTF-8: other bytes become U+FFFD, and a character that comes in pieces is written when it
/// is whole. Without a terminal, a line feed becomes a carriage return and a line feed, as a terminal
/// would have done it; standard output and standard error are both output.
#[derive(Debug)]
pub struct Cast {
    terminal: bool,
    input: bool,
    typed: Text,
    printed: Text,
    complained: Text,
}

impl Cast {
    /// A recording of a session with a terminal or without. `input`: whether what the client sends is
    /// recorded.
    #[must_use]
    pub fn new(terminal: bool, input: bool) -> Self {
        Self {
            terminal,
            input,
            typed: Text::default(),
            printed: Text::default(),
            complained: Text::default(),
        }
    }

    /// Adds the line of what happened `at` that time after the beginning, if there is one, to `lines`.
    pub fn write(&mut self, at: Duration, event: &Event<'_>, lines: &mut Vec<u8>) {
        match event {
            Event::Stdin(bytes) if self.input => line(lines, at, "i", &self.typed.take(bytes)),
            Event::Stdin(_) => {}
            Event::Stdout(bytes) => {
                let text = self.printed.take(bytes);
                self.output(at, &text, lines);
            }
            Event::Stderr(bytes) => {
                let text = self.complained.take(bytes);
                self.output(at, &text, lines);
            }
            Event::Resize(Size { width, height }) => {
                line(lines, at, "r", &format!("{width}x{height}"));
            }
            Event::Ended(Exit::Code(code)) => line(lines, at, "m", &format!("exit code {code}")),
            Event::Ended(Exit::Failed(why)) => line(lines, at, "m", &format!("failed: {why}")),
        }
    }

    /// Adds what is still to be written of characters that were not whole, and a last mark.
    pub fn finish(&mut self, at: Duration, mark: &str, lines: &mut Vec<u8>) {
        let typed = self.typed.rest();
        line(lines, at, "i", &typed);
        for text in [self.printed.rest(), self.complained.rest()] {
            self.output(at, &text, lines);
        }
        line(lines, at, "m", mark);
    }

    fn output(&mut self, at: Duration, text: &str, lines: &mut Vec<u8>) {
        if self.terminal || !text.contains('\n') {
            return line(lines, at, "o", text);
        }
        let whole = text.replace("\r\n", "\n").replace('\n', "\r\n");
        line(lines, at, "o", &whole);
    }
}

/// An event. One that says nothing is none.
fn line(lines: &mut Vec<u8>, at: Duration, code: &str, text: &str) {
    if text.is_empty() {
        return;
    }
    let (seconds, micros) = (at.as_secs(), at.subsec_micros());
    // Text always serialises.
    let text = serde_json::to_string(text).unwrap_or_default();
    let line = format!("[{seconds}.{micros:06}, \"{code}\", {text}]\n");
    lines.extend_from_slice(line.as_bytes());
}

/// Bytes that become text.
#[derive(Debug, Default)]
struct Text {
    /// The beginning of a character: at most three bytes.
    begun: Vec<u8>,
}

impl Text {
    fn take(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            // Not enough of a character, and nothing that shows that it is none.
            let begun =
                std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if begun && chunks.peek().is_none() {
                self.begun = invalid.to_vec();
            } else {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    fn rest(&mut self) -> String {
        match std::mem::take(&mut self.begun).is_empty() {
            true => String::new(),
            false => char::REPLACEMENT_CHARACTER.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn written(cast: &mut Cast, events: &[Event<'_>]) -> Vec<Value> {
        let mut lines = Vec::new();
        for (at, event) in events.iter().enumerate() {
            cast.write(Duration::from_millis(at as u64 * 1500), event, &mut lines);
        }
        read(&lines)
    }

    fn read(lines: &[u8]) -> Vec<Value> {
        let text = std::str::from_utf8(lines).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_header_says_what_it_is() {
        let session = json!({"cluster": "c-1"});
        let line = Header::new(7, "sh -c 'x'", "ann in a/b", &session).line();
        let expected = json!({
            "version": 2, "width": 80, "height": 24, "timestamp": 7, "command": "sh -c 'x'",
            "title": "ann in a/b", "session": {"cluster": "c-1"},
        });
        assert_eq!(read(&line), [expected]);
    }

    #[test]
    fn what_happens_is_a_line_each() {
        let size = Size {
            width: 100,
            height: 30,
        };
        let events = [
            Event::Stdout(b"a\nb"),
            Event::Stdin(b"secret"),
            Event::Resize(size),
            Event::Stderr(b""),
            Event::Ended(Exit::Code(3)),
        ];
        let expected = [
            json!([0.0, "o", "a\nb"]),
            json!([3.0, "r", "100x30"]),
            json!([6.0, "m", "exit code 3"]),
        ];
        assert_eq!(written(&mut Cast::new(true, false), &events), expected);
        let events = [Event::Stdin(b"ls\r"), Event::Stderr(b"a\r\nb\n")];
        let expected = [json!([0.0, "i", "ls\r"]), json!([1.5, "o", "a\r\nb\r\n"])];
        assert_eq!(written(&mut Cast::new(false, true), &events), expected);
    }

    #[test]
    fn characters_in_pieces_are_written_when_they_are_whole() {
        let mut cast = Cast::new(true, false);
        let events = [
            Event::Stdout(b"\xe2\x82"),
            Event::Stderr(b"x"),
            Event::Stdout(b"\xac!\xff\xe2"),
        ];
        let expected = [json!([1.5, "o", "x"]), json!([3.0, "o", "€!\u{fffd}"])];
        assert_eq!(written(&mut cast, &events), expected);
        let mut lines = Vec::new();
        cast.finish(Duration::from_secs(9), "cut", &mut lines);
        let expected = [json!([9.0, "o", "\u{fffd}"]), json!([9.0, "m", "cut"])];
        assert_eq!(read(&lines), expected);
    }

    proptest! {
        #[test]
        fn text_is_the_same_however_it_is_cut(text: String, at: proptest::sample::Index) {
            let at = at.index(text.len() + 1);
            let (one, other) = text.as_bytes().split_at(at);
            let mut pieces = Text::default();
            let joined = pieces.take(one) + &pieces.take(other);
            prop_assert_eq!(joined, text);
            prop_assert_eq!(pieces.rest(), "");
        }

        #[test]
        fn little_is_kept_of_any_bytes(bytes: Vec<u8>) {
            let mut text = Text::default();
            text.take(&bytes);
            prop_assert!(text.begun.len() < 4);
        }
    }
}
