//! Where settings are given: the command line, the environment, the file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::Mistake;
use super::settings;
use crate::encryption::KeysCommand;

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
    /// Print the kinds of the management API as CustomResourceDefinitions.
    Definitions,
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
    /// Do something with the keys that seal secrets.
    Keys(KeysCommand),
    /// Print what can be done with them.
    KeysHelp,
}

impl Command {
    /// The help that somebody wants who was about to give this command.
    fn help(&self) -> Self {
        match self {
            Self::Keys(_) | Self::KeysHelp => Self::KeysHelp,
            _ => Self::Help,
        }
    }

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
    /// Whether `--yes` was given.
    confirmed: bool,
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
        sources.check_confirmation();
        if let Some(path) = environment("LARIAT_CONFIG") {
            file.get_or_insert((path, "LARIAT_CONFIG".to_owned()));
        }
        for setting in settings::all() {
            let variable = setting.variable();
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
                "-h" | "--help" | "help" => self.command = self.command.help(),
                "-V" | "--version" | "version" => self.command = Command::Version,
                "config-reference" => self.command = Command::ConfigReference,
                "definitions" => self.command = Command::Definitions,
                "serve" => self.command = Command::Serve,
                "backup" | "restore" => match arguments.next() {
                    Some(file) => self.command = Command::with_file(&argument, file.into()),
                    None => self.mistake(argument, "needs a file".to_owned()),
                },
                "keys" => self.keys(&mut arguments),
                "--yes" => self.confirmed = true,
                "--overwrite" => match &mut self.command {
                    Command::Restore { overwrite, .. } => *overwrite = true,
                    _ => self.mistake(argument, "is for restore, after its file".to_owned()),
                },
                _ => self.flag(&argument, &mut arguments, file),
            }
        }
    }

    fn keys(&mut self, rest: &mut impl Iterator<Item = String>) {
        match rest.next().as_deref() {
            None | Some("help" | "-h" | "--help") => self.command = Command::KeysHelp,
            Some(name) => match KeysCommand::named(name) {
                Some(command) => self.command = Command::Keys(command),
                None => {
                    let fault = "is none of list, rotate, prune, discard".to_owned();
                    self.mistake(format!("keys {name:?}"), fault);
                }
            },
        }
    }

    /// What deletes for ever is asked for twice.
    fn check_confirmation(&mut self) {
        let needed = self.command == Command::Keys(KeysCommand::Discard);
        let fault = match (needed, self.confirmed) {
            (true, false) => "is needed, as what is discarded is gone for ever",
            (false, true) => "is for keys discard",
            _ => return,
        };
        self.mistake("--yes".to_owned(), fault.to_owned());
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
        let setting = settings::named(name);
        if name != "config" {
            match setting {
                None => return self.mistake(place, "is not a setting; see --help".to_owned()),
                Some(setting) if !setting.flag => {
                    // The value may be in the next argument, which must not be taken for a flag.
                    if value.is_none() {
                        rest.next();
                    }
                    let variable = setting.variable();
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
            let Some(setting) = settings::named(&name) else {
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

fn text_of(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
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
mod tests;
