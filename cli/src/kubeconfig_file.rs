//! kubeconfig files: what is there stays, what is ours is added or replaced.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use crate::private_file;

/// The content of a kubeconfig file, with every field that it has.
#[derive(Debug)]
pub struct Merged(Map<String, Value>);

/// A context: its name, and the names of what it is made of.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// The entry of the cluster.
    pub cluster: &'a str,
    /// The entry of the user.
    pub user: &'a str,
}

impl<'a> Entry<'a> {
    fn of(context: &'a Value) -> Option<Self> {
        Some(Self {
            name: context["name"].as_str()?,
            cluster: context["context"]["cluster"].as_str()?,
            user: context["context"]["user"].as_str()?,
        })
    }
}

impl Default for Merged {
    fn default() -> Self {
        let empty = [("apiVersion", json!("v1")), ("kind", json!("Config"))];
        Self(
            empty
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }
}

impl Merged {
    /// The content of a file; an empty one is as good as none.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        match serde_saphyr::from_str(text)? {
            Value::Object(content) => Ok(Self(content)),
            Value::Null => Ok(Self::default()),
            _ => bail!("it is not a kubeconfig file"),
        }
    }

    /// Adds the entries of a file for one cluster, of which the first context leads through the server and
    /// others past it. Returns the name of the first.
    pub fn add(&mut self, file: &Value, make_current: bool) -> anyhow::Result<String> {
        let list = |key: &str| file[key].as_array().into_iter().flatten();
        self.forget_old_ways(file);
        for key in ["clusters", "users"] {
            for entry in list(key) {
                self.set(key, entry.clone())?;
            }
        }
        let mut first = None;
        for context in list("contexts") {
            let name = self.add_context(context)?;
            first.get_or_insert(name);
        }
        let name = first.context("the server's kubeconfig has no context")?;
        if make_current {
            self.0.insert("current-context".to_owned(), json!(name));
        }
        Ok(name)
    }

    fn add_context(&mut self, added: &Value) -> anyhow::Result<String> {
        let wanted = added["name"].as_str().context("a context has no name")?;
        let name = self.context_name(wanted, &added["context"]["cluster"]);
        let mut context = added["context"].clone();
        // A namespace that was chosen for the context stays chosen.
        if let Some(before) = self.find("contexts", &name)
            && let Some(namespace) = before["context"].get("namespace")
        {
            context["namespace"] = namespace.clone();
        }
        self.set("contexts", json!({"name": name, "context": context}))?;
        Ok(name)
    }

    /// Takes away ways past the server to a cluster that are not in its new file: its API servers change.
    fn forget_old_ways(&mut self, file: &Value) {
        let Some(entry) = file["users"][0]["name"].as_str() else {
            return;
        };
        let is_way = |cluster: &Value| {
            let way = cluster.as_str().and_then(|name| name.strip_prefix(entry));
            way.is_some_and(|suffix| suffix.starts_with('-'))
        };
        let stays = |cluster: &Value| {
            let new = file["clusters"].as_array();
            !is_way(cluster) || new.is_some_and(|new| new.iter().any(|one| one["name"] == *cluster))
        };
        if let Some(Value::Array(contexts)) = self.0.get_mut("contexts") {
            contexts.retain(|one| {
                let context = &one["context"];
                context["user"] != entry || stays(&context["cluster"])
            });
        }
        if let Some(Value::Array(clusters)) = self.0.get_mut("clusters") {
            clusters.retain(|one| stays(&one["name"]));
        }
    }

    /// The contexts that are complete.
    pub fn contexts(&self) -> Vec<Entry<'_>> {
        let contexts = self.0.get("contexts").and_then(Value::as_array);
        let contexts = contexts.into_iter().flatten();
        contexts.filter_map(Entry::of).collect()
    }

    /// The address in an entry of a cluster.
    pub fn server_of(&self, cluster: &str) -> Option<&str> {
        self.find("clusters", cluster)?["cluster"]["server"].as_str()
    }

    pub fn to_yaml(&self) -> anyhow::Result<String> {
        // Every string is quoted: kubectl reads an older YAML, in which `on` is a boolean.
        let options = serde_saphyr::ser_options! { quote_all: true };
        Ok(serde_saphyr::to_string_with_options(&self.0, options)?)
    }

    /// The wanted name, unless a context of that name leads to something else.
    fn context_name(&self, wanted: &str, entry: &Value) -> String {
        let taken = (self.find("contexts", wanted))
            .is_some_and(|context| context["context"]["cluster"] != *entry);
        match entry.as_str() {
            Some(entry) if taken => entry.to_owned(),
            _ => wanted.to_owned(),
        }
    }

    fn find(&self, key: &str, name: &str) -> Option<&Value> {
        let entries = self.0.get(key)?.as_array()?;
        entries.iter().find(|entry| entry["name"] == name)
    }

    fn set(&mut self, key: &str, entry: Value) -> anyhow::Result<()> {
        let entries = self.0.entry(key).or_insert_with(|| json!([]));
        if entries.is_null() {
            *entries = json!([]);
        }
        let entries = entries
            .as_array_mut()
            .with_context(|| format!("{key} is not a list"))?;
        match entries.iter_mut().find(|old| old["name"] == entry["name"]) {
            Some(old) => *old = entry,
            None => entries.push(entry),
        }
        Ok(())
    }
}

/// Adds files for clusters to a kubeconfig file. Returns the names of their contexts.
pub fn add(path: &Path, files: Vec<Value>, make_current: bool) -> anyhow::Result<Vec<String>> {
    let _lock = Lock::take(path)?;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let damaged = || {
        let path = path.display();
        format!("{path} is not changed, because it does not parse; mend it, or name another --file")
    };
    let mut merged = Merged::parse(&text).with_context(damaged)?;
    let mut contexts = Vec::new();
    for file in files {
        contexts.push(merged.add(&file, make_current).with_context(damaged)?);
    }
    private_file::write(path, &merged.to_yaml()?)?;
    Ok(contexts)
}

/// The first file of `$KUBECONFIG`, or `~/.kube/config`.
pub fn default_path() -> anyhow::Result<PathBuf> {
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let first = std::env::split_paths(&listed).find(|path| !path.as_os_str().is_empty());
    if let Some(path) = first {
        return Ok(path);
    }
    let home = std::env::var_os("HOME").context("neither KUBECONFIG nor HOME is set")?;
    Ok(Path::new(&home).join(".kube").join("config"))
}

/// The lock that kubectl takes as well: a file beside.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> anyhow::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        if let Some(folder) = lock.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        match OpenOptions::new().write(true).create_new(true).open(&lock) {
            Ok(_) => Ok(Self(lock)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let lock = lock.display();
                bail!("another program is changing the file; if none is, delete {lock}")
            }
            Err(error) => Err(error).with_context(|| format!("cannot make {}", lock.display())),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            eprintln!("lariat: cannot delete {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(context: &str, entry: &str, token: &str) -> Value {
        json!({
            "clusters": [{"name": entry, "cluster": {"server": "https://x"}}],
            "users": [{"name": entry, "user": {"token": token}}],
            "contexts": [{"name": context, "context": {"cluster": entry, "user": entry}}],
        })
    }

    const THEIRS: &str = "
apiVersion: v1
kind: Config
current-context: theirs
preferences: {colors: true}
clusters: [{name: k, cluster: {server: https://k, extensions: [{name: e}]}}]
users: [{name: k, user: {exec: {command: x, apiVersion: v1}}}]
contexts:
- {name: theirs, context: {cluster: k, user: k}}
- {name: prod, context: {cluster: k, user: k, namespace: a}}
";

    #[test]
    fn what_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, THEIRS).unwrap();
        let contexts = add(&path, vec![file("new", "c-1.h", "t")], false).unwrap();
        assert_eq!(contexts, ["new"]);
        let text = std::fs::read_to_string(&path).unwrap();
        let after = Merged::parse(&text).unwrap().0;
        let before = Merged::parse(THEIRS).unwrap().0;
        assert_eq!(after["current-context"], "theirs");
        assert_eq!(after["preferences"], before["preferences"]);
        for key in ["clusters", "users"] {
            assert_eq!(after[key][0], before[key][0]);
        }
        assert!(!folder.path().join("config.lock").exists());
    }

    #[test]
    fn a_context_of_another_cluster_is_not_taken_over() {
        let mut merged = Merged::parse(THEIRS).unwrap();
        assert_eq!(
            merged.add(&file("prod", "c-1.h", "t"), true).unwrap(),
            "c-1.h"
        );
        assert_eq!(
            merged.find("contexts", "prod").unwrap()["context"]["cluster"],
            "k"
        );
        assert_eq!(merged.0["current-context"], "c-1.h");
    }

    #[test]
    fn adding_again_replaces_the_token_and_keeps_the_namespace() {
        let mut merged = Merged::default();
        merged.add(&file("prod", "c-1.h", "old"), true).unwrap();
        merged.0["contexts"][0]["context"]["namespace"] = json!("mine");
        merged.add(&file("prod", "c-1.h", "new"), true).unwrap();
        assert_eq!(merged.0["users"].as_array().unwrap().len(), 1);
        assert_eq!(merged.0["users"][0]["user"]["token"], "new");
        assert_eq!(merged.0["contexts"][0]["context"]["namespace"], "mine");
    }

    #[test]
    fn ways_past_the_server_come_and_go_with_its_files() {
        let with_ways = |nodes: &[&str]| {
            let mut file = file("prod", "c-1.h", "t");
            for node in nodes {
                let way = format!("c-1.h-{node}");
                let cluster = json!({"name": way, "cluster": {"server": "https://y"}});
                file["clusters"].as_array_mut().unwrap().push(cluster);
                let context = json!({"cluster": way, "user": "c-1.h"});
                let context = json!({"name": format!("prod-{node}"), "context": context});
                file["contexts"].as_array_mut().unwrap().push(context);
            }
            file
        };
        let mut merged = Merged::parse(THEIRS).unwrap();
        let name = merged.add(&with_ways(&["a", "b"]), true).unwrap();
        assert_eq!(
            (name.as_str(), &merged.0["current-context"]),
            ("c-1.h", &json!("c-1.h"))
        );
        merged.0["contexts"][3]["context"]["namespace"] = json!("mine");
        merged.add(&with_ways(&["a", "c"]), true).unwrap();
        let names = |merged: &Merged, key: &str| {
            let entries = merged.0[key].as_array().unwrap().iter();
            let mut names: Vec<_> = entries.map(|one| one["name"].clone()).collect();
            names.sort_by_key(Value::to_string);
            names
        };
        let contexts = ["c-1.h", "prod", "prod-a", "prod-c", "theirs"];
        assert_eq!(names(&merged, "contexts"), contexts);
        assert_eq!(
            names(&merged, "clusters"),
            ["c-1.h", "c-1.h-a", "c-1.h-c", "k"]
        );
        assert_eq!(
            merged.find("contexts", "prod-a").unwrap()["context"]["namespace"],
            "mine"
        );
        merged.add(&file("prod", "c-1.h", "t"), true).unwrap();
        assert_eq!(names(&merged, "contexts"), ["c-1.h", "prod", "theirs"]);
    }

    #[test]
    fn a_file_that_does_not_parse_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        for text in ["clusters: [", "- a list"] {
            std::fs::write(&path, text).unwrap();
            let error = add(&path, vec![file("a", "b", "c")], true).unwrap_err();
            assert!(error.to_string().contains("is not changed"));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_file_that_is_being_changed_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let held = Lock::take(&path).unwrap();
        let error = add(&path, vec![file("a", "b", "c")], true).unwrap_err();
        assert!(error.to_string().contains("another program"));
        drop(held);
        add(&path, vec![file("a", "b", "c")], true).unwrap();
    }
}
