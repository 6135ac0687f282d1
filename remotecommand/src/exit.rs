//! How a command ended.

use serde::Deserialize;
use serde_json::Value;

/// Longest status that is read, in bytes.
const LONGEST: usize = 64 * 1024;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// It was not run, or nobody knows how it ended; in the cluster's words.
    Failed(String),
}

/// What of a Status of Kubernetes tells how a command ended.
#[derive(Deserialize)]
struct Status {
    status: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    details: Details,
}

#[derive(Default, Deserialize)]
struct Details {
    #[serde(default)]
    causes: Vec<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

impl Exit {
    /// Reads a Status at the beginning of a text; `None` if it is none, or not whole yet. What follows
    /// it is of no interest, so that it is the same however the text is cut.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
        let status: Status = serde_json::from_value(values.next()?.ok()?).ok()?;
        match status.status.as_str() {
            "Success" => Some(Self::Code(0)),
            "Failure" => {
                let causes = status.details.causes.iter();
                let mut codes = causes.filter(|cause| cause.reason == "ExitCode");
                let code = codes.next().and_then(|cause| cause.message.parse().ok());
                let code = code.filter(|_| status.reason == "NonZeroExitCode");
                Some(code.map_or(Self::Failed(status.message), Self::Code))
            }
            _ => None,
        }
    }
}

/// What has come over the channel that says how a command ended.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    text: Vec<u8>,
    told: bool,
}

impl Ending {
    /// Takes a piece. Returns how it ended as soon as that is known, once.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Option<Exit> {
        if self.told {
            return None;
        }
        let (piece, surplus) = piece.split_at(piece.len().min(LONGEST - self.text.len()));
        self.text.extend_from_slice(piece);
        // An object is whole with its last brace, and never before.
        let exit = match piece.contains(&b'}') {
            true => Exit::parse(&self.text),
            false => None,
        };
        let too_long = || Exit::Failed("the status is too long".to_owned());
        let exit = exit.or_else(|| (!surplus.is_empty()).then(too_long));
        self.told = exit.is_some();
        exit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_the_exit_code() {
        let failure = r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"42"}]}}"#;
        for (text, expected) in [
            (r#"{"metadata":{},"status":"Success"}"#, Some(Exit::Code(0))),
            (failure, Some(Exit::Code(42))),
            (
                r#"{"status":"Failure","message":"no such container","reason":"InternalError"}"#,
                Some(Exit::Failed("no such container".to_owned())),
            ),
            (
                r#"{"status":"Failure","message":"a","details":{"causes":[{"reason":"ExitCode","message":"1"}]}}"#,
                Some(Exit::Failed("a".to_owned())),
            ),
            (r#"{"status":"Success"}"more"#, Some(Exit::Code(0))),
            ("{}", None),
            ("[", None),
            ("", None),
        ] {
            let mut ending = Ending::default();
            assert_eq!(ending.take(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_status_in_pieces_is_told_once() {
        let mut ending = Ending::default();
        assert_eq!(ending.take(br#"{"details":{}"#), None);
        assert_eq!(ending.take(br#","status":"Succ"#), None);
        assert_eq!(ending.take(b"ess\"}\n"), Some(Exit::Code(0)));
        assert_eq!(ending.take(br#"{"status":"Success"}"#), None);
    }

    #[test]
    fn a_status_is_bounded() {
        let mut ending = Ending::default();
        assert_eq!(ending.take(&[b' '; LONGEST]), None);
        assert!(matches!(ending.take(b" "), Some(Exit::Failed(_))));
        assert_eq!(ending.take(b" "), None);
    }
}
