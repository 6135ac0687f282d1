//! Where settings are given: the command line, the environment, the file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::Mistake;
use super::settings::SETTINGS;

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Command {
    /// Run the server.
    #[default]
    Serve,
    /// Print what it would be told by `--help`.
    Help,
    /// Print the version.
    Version,
    /// Print the reference of all settings in Markdown.
    ConfigReference,
    /// Write a backup of the store.
    Backup {
        /// Where to.
        file: PathBuf,
    },
    /// Replace the store by a backup.
    Restore {
        /// Where from.
        file: PathBuf,
        /// Whether a store that is there may be replaced.
        overwrite: bool,
    },
}

impl Command {
    fn with_file(name: &str, file: PathBuf) -> Self {
        match name {
            "backup" => Self::Backup { file },
            _ => Self::Restore {
                file,
                overwrite: false,
            },
        }
    }
}

/// What was given, before it is parsed.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// What to do.
    pub command: Command,
    pub(super) mistakes: Vec<Mistake>,
    given: BTreeMap<&'static str, Given>,
}

/// The text of a setting and where it was given.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) place: String,
}

/// Read when no other file is named and it exists.
const DEFAULT_FILE: &str = "/etc/lariat/server.toml";

impl Sources {
    /// Collects what was given. `arguments` is without the name of the program; `environment`
    /// answers with the value of a variable; `read` reads a file.
    pub fn collect(
        arguments: impl IntoIterator<Item = String>,
        environment: impl Fn(&str) -> Option<String>,
        read: impl Fn(&Path) -> io::Result<String>,
    ) -> Self {
        let mut sources = Self::default();
        let mut file = None;
        // The first to give a setting wins.
        sources.arguments(arguments, &mut file);
        if let Some(path) = environment("LARIAT_CONFIG") {
            file.get_or_insert((path, "LARIAT_CONFIG".to_owned()));
        }
        for setting in SETTINGS {
            let variable = variable(setting.name);
            if let Some(text) = environment(&variable) {
                sources.give(setting.name, text, variable);
            }
        }
        sources.file(file, read);
        sources
    }

    pub(super) fn value(&self, name: &str) -> Option<&Given> {
        self.given.get(name)
    }

    fn arguments(
        &mut self,
        arguments: impl IntoIterator<Item = String>,
        file: &mut Option<(String, String)>,
    ) {
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "-h" | "--help" | "help" => self.command = Command::Help,
                "-V" | "--version" | "version" => self.command = Command::Version,
                "config-reference" => self.command = Command::ConfigReference,
                "serve" => self.command = Command::Serve,
                "backup" | "restore" => match arguments.next() {
                    Some(file) => self.command = Command::with_file(&argument, file.into()),
                    None => self.mistake(argument, "needs a file".to_owned()),
                },
                "--overwrite" => match &mut self.command {
                    Command::Restore { overwrite, .. } => *overwrite = true,
                    _ => self.mistake(argument, "is for restore, after its file".to_owned()),
                },
                _ => self.flag(&argument, &mut arguments, file),
            }
        }
    }

    fn flag(
        &mut self,
        argument: &str,
        rest: &mut impl Iterator<Item = String>,
        file: &mut Option<(String, String)>,
    ) {
        let Some(flag) = argument.strip_prefix("--") else {
            let fault = "is not understood; see --help".to_owned();
            return self.mistake(format!("{argument:?}"), fault);
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let place = format!("--{name}");
        let setting = SETTINGS.iter().find(|setting| setting.name == name);
        if name != "config" {
            match setting {
                None => return self.mistake(place, "is not a setting; see --help".to_owned()),
                Some(setting) if !setting.flag => {
                    // The value may be in the next argument, which must not be taken for a flag.
                    if value.is_none() {
                        rest.next();
                    }
                    let variable = variable(setting.name);
                    let fault = format!("other users can read flags; use {variable} or the file");
                    return self.mistake(place, fault);
                }
                Some(_) => {}
            }
        }
        let Some(value) = value.or_else(|| rest.next()) else {
            return self.mistake(place, "needs a value".to_owned());
        };
        match setting {
            Some(setting) if self.given.contains_key(setting.name) => {
                self.mistake(place, "is given twice".to_owned());
            }
            Some(setting) => self.give(setting.name, value, place),
            None => *file = Some((value, place)),
        }
    }

    fn file(
        &mut self,
        named: Option<(String, String)>,
        read: impl Fn(&Path) -> io::Result<String>,
    ) {
        let path = PathBuf::from(named.as_ref().map_or(DEFAULT_FILE, |(path, _)| path));
        let shown = path.display().to_string();
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let place = named.map_or(shown.clone(), |(_, place)| place);
                return self.mistake(place, format!("cannot read {shown}: {error}"));
            }
        };
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            // The message of the parser quotes the line, which may hold a secret.
            Err(error) => {
                let line = error.span().map_or(0, |span| line_of(&text, span.start));
                let fault = format!("line {line} is not TOML: {}", error.message());
                return self.mistake(shown, fault);
            }
        };
        for (key, value) in table {
            let place = format!("{key} in {shown}");
            let name = key.replace('_', "-");
            let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
                self.mistake(place, "is not a setting; see --help".to_owned());
                continue;
            };
            match text_of(value) {
                Some(text) => self.give(setting.name, text, place),
                None => self.mistake(place, format!("must be {}", setting.value)),
            }
        }
    }

    fn give(&mut self, name: &'static str, text: String, place: String) {
        self.given.entry(name).or_insert(Given { text, place });
    }

    fn mistake(&mut self, place: String, fault: String) {
        self.mistakes.push(Mistake { place, fault });
    }
}

/// The environment variable of a setting.
pub(super) fn variable(name: &str) -> String {
    format!("LARIAT_{}", name.to_uppercase().replace('-', "_"))
}

fn text_of(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(values) => {
            let texts: Option<Vec<_>> = values.into_iter().map(text_of).collect();
            Some(texts?.join(","))
        }
        _ => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::super::{Config, LogFormat};
    use super::*;
    use proptest::prelude::*;

    fn collect(arguments: &[&str], environment: &[(&str, &str)], file: &str) -> Sources {
        let environment: BTreeMap<_, _> = environment.iter().copied().collect();
        Sources::collect(
            arguments.iter().map(|argument| (*argument).to_owned()),
            |name| environment.get(name).map(|value| (*value).to_owned()),
            |_| Ok(file.to_owned()),
        )
    }

    fn mistakes(sources: &Sources) -> Vec<String> {
        let mistakes = Config::new(sources).unwrap_err();
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_needs_to_be_configured() {
        let config = Config::new(&collect(&[], &[], "")).unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:8443");
        assert_eq!(config.server_url.as_str(), "https://localhost:8443/");
        assert!(config.tls_files.is_none());
    }

    #[test]
    fn flags_win_over_environment_over_file() {
        let file = "listen = '127.0.0.1:3'\nlog_format = 'json'\nmax-connections = 7\n";
        let environment = [("LARIAT_LISTEN", "127.0.0.1:2"), ("LARIAT_LOG", "debug")];
        let config = Config::new(&collect(&["--listen=127.0.0.1:1"], &environment, file)).unwrap();
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.log, "debug");
        assert_eq!(config.log_format, LogFormat::Json);
        assert_eq!(config.limits.connections, 7);
        let config = Config::new(&collect(&[], &environment, file)).unwrap();
        assert_eq!(config.listen.port(), 2);
    }

    #[test]
    fn every_mistake_is_reported_in_one_run() {
        let sources = collect(
            &[
                "--listen",
                "nowhere",
                "--colour=red",
                "surplus",
                "--log-format",
            ],
            &[
                ("LARIAT_DRAIN_TIMEOUT", "soon"),
                ("LARIAT_TLS_CERT_FILE", "/cert"),
            ],
            "max_connections = 0\nunknown = 1\nlog = {}\n",
        );
        let mistakes = mistakes(&sources);
        for expected in [
            "--colour: is not a setting",
            "\"surplus\": is not understood",
            "--log-format: needs a value",
            "unknown in /etc/lariat/server.toml: is not a setting",
            "log in /etc/lariat/server.toml: must be FILTER",
            "--listen: \"nowhere\" is not ADDRESS:PORT",
            "LARIAT_DRAIN_TIMEOUT: \"soon\" must be a duration",
            "tls-key-file: is needed with tls-cert-file",
            "max_connections in /etc/lariat/server.toml: \"0\" must be a number",
        ] {
            let found = mistakes.iter().any(|mistake| mistake.starts_with(expected));
            assert!(found, "{expected} is not in {mistakes:#?}");
        }
        assert_eq!(mistakes.len(), 9, "{mistakes:#?}");
    }

    #[test]
    fn a_password_is_neither_taken_from_a_flag_nor_shown() {
        for arguments in [
            &["--bootstrap-password", "short"][..],
            &["--bootstrap-password=short"],
        ] {
            let mistakes = mistakes(&collect(arguments, &[], ""));
            assert!(mistakes[0].contains("LARIAT_BOOTSTRAP_PASSWORD"));
            assert!(!mistakes.concat().contains("short"));
        }
        let sources = collect(&[], &[("LARIAT_BOOTSTRAP_PASSWORD", "hunter2")], "");
        let mistakes = mistakes(&sources);
        assert_eq!(
            mistakes,
            ["LARIAT_BOOTSTRAP_PASSWORD: must have at least 12 characters"]
        );
        let broken = mistakes_of_file("bootstrap_password = 'hunter2\n");
        assert!(!broken.concat().contains("hunter2"), "{broken:?}");
    }

    #[test]
    fn a_backup_has_a_file_and_only_restore_overwrites() {
        let command = |arguments: &[&str]| collect(arguments, &[], "").command;
        let file = PathBuf::from("f");
        assert_eq!(
            command(&["backup", "f"]),
            Command::Backup { file: file.clone() }
        );
        let overwrite = true;
        let restore = Command::Restore { file, overwrite };
        assert_eq!(command(&["restore", "f", "--overwrite"]), restore);
        for wrong in [
            &["backup"][..],
            &["restore"],
            &["backup", "f", "--overwrite"],
        ] {
            assert_eq!(mistakes(&collect(wrong, &[], "")).len(), 1, "{wrong:?}");
        }
    }

    fn mistakes_of_file(text: &str) -> Vec<String> {
        mistakes(&collect(&[], &[], text))
    }

    #[test]
    fn a_file_that_is_named_must_exist() {
        let missing = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        let sources = Sources::collect(["--config=/x".to_owned()], |_| None, missing);
        assert!(mistakes(&sources)[0].starts_with("--config: cannot read /x"));
        let sources = Sources::collect([], |_| None, missing);
        assert!(Config::new(&sources).is_ok());
    }

    proptest! {
        #[test]
        fn no_input_panics(arguments: Vec<String>, file: String) {
            let sources = Sources::collect(arguments, |_| None, |_| Ok(file.clone()));
            let _ = Config::new(&sources);
        }
    }
}
