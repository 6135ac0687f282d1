//! The cases, read from their files.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// An HTTP request. In all its texts `$NAME` stands for what an earlier answer gave, `$ns` for the
/// namespace of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Method and path.
    pub send: String,
    /// What it is to show, where the path does not tell.
    #[serde(default)]
    pub about: String,
    /// `Content-Type`, or its short name.
    #[serde(default)]
    pub r#as: Option<String>,
    /// `Accept`, or its short name.
    #[serde(default)]
    pub accept: Option<String>,
    /// The body: a text as it is, anything else as JSON, or as protobuf if that is its type.
    #[serde(default)]
    pub body: Option<Value>,
    /// The body is this Widget, whose version and kind are added.
    #[serde(default)]
    pub widget: Option<Value>,
    /// The code of kube-apiserver's answer; without it, a success.
    #[serde(default)]
    pub code: Option<u16>,
    /// The code that it answers instead when it gives up on the way.
    #[serde(default)]
    pub slow: Option<u16>,
    /// Names for values of the answer, by JSON pointer.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
    /// Send it again until both answers have the code, as something happens on its own.
    #[serde(default)]
    pub until: bool,
    /// Send it again until both answers have a value at that JSON pointer, too.
    #[serde(default)]
    pub until_at: Option<String>,
    /// Send it again until both answers have that text, too.
    #[serde(default)]
    pub until_has: Option<String>,
}

/// A run of kubectl.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invocation {
    /// Its arguments.
    pub run: String,
    /// Its standard input: a text as it is, anything else as JSON.
    #[serde(default)]
    pub stdin: Option<Value>,
    /// What `sed` does as the editor.
    #[serde(default)]
    pub edit: Option<String>,
    /// Its exit code with kube-apiserver.
    #[serde(default)]
    pub exit: i32,
    /// Compare the lines without their order.
    #[serde(default)]
    pub sorted: bool,
    /// Compare what is printed as JSON.
    #[serde(default)]
    pub json: bool,
}

impl Request {
    /// The body as it is sent.
    #[must_use]
    pub fn body(&self) -> String {
        let Some(widget) = &self.widget else {
            return text(self.body.as_ref());
        };
        let mut whole = serde_json::json!({"apiVersion": "example.org/v1", "kind": "Widget"});
        for (name, value) in widget.as_object().into_iter().flatten() {
            whole[name] = value.clone();
        }
        whole.to_string()
    }
}

/// The cases of one file, in their order.
#[derive(Clone, Debug)]
pub struct File<C> {
    /// The name of the file without its ending; the name of the namespace too.
    pub name: String,
    /// Its cases.
    pub cases: Vec<C>,
}

/// Reads all files of a folder.
///
/// # Errors
/// When one cannot be read.
pub fn read<C: DeserializeOwned>(folder: &Path) -> Result<Vec<File<C>>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        files.push(File {
            name: name.context("a name")?.to_owned(),
            cases: read_file(&path)?,
        });
    }
    files.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(files)
}

/// Reads a YAML file.
///
/// # Errors
/// When it cannot be read.
pub fn read_file<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("read {}", path.display()))
}

/// A body or an input as it is sent.
#[must_use]
pub fn text(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}
