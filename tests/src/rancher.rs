//! What clients of Rancher ask of a server, replayed: requests as its CLI, its Go client, its Terraform provider
//! and its pages make them, written down in files beside this one, and the shapes of the answers that they read.
//! Beside that, somebody with a browser.

mod client;
mod page;
mod shape;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use testbed::{Testbed, Tier};

use crate::lariat::{Api, Raw, Stage};
use client::Answer;

/// How long a step may take that waits for something.
const LIMIT: Duration = Duration::from_secs(30);

/// Who asks what, in the order in which it happens. Later scripts use what earlier ones have made.
const SCRIPTS: [(&str, &str); 6] = [
    ("cli", include_str!("rancher/cli.yaml")),
    ("go client", include_str!("rancher/go-client.yaml")),
    ("terraform", include_str!("rancher/terraform.yaml")),
    ("members", include_str!("rancher/members.yaml")),
    ("refusals", include_str!("rancher/refusals.yaml")),
    ("browser", include_str!("rancher/browser.yaml")),
];

/// A request and what comes back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// What the client wants with it.
    name: String,
    /// Whose token it has: `admin`, a name kept before as `token.NAME`, or `nobody`.
    #[serde(default = "administrator")]
    by: String,
    /// Method and path, or the address of a link.
    send: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    /// A body that is no JSON.
    text: Option<String>,
    status: u16,
    /// Headers of the answer.
    #[serde(default)]
    header: BTreeMap<String, Value>,
    /// The shape of the answer.
    answer: Option<Value>,
    /// Names for values of the answer, found by JSON pointers.
    #[serde(default)]
    keep: BTreeMap<String, String>,
    /// Whether to ask again until it is so.
    #[serde(default)]
    until: bool,
}

fn administrator() -> String {
    "admin".to_owned()
}

/// A server with a connected cluster, and what is known of both.
pub struct World<'a> {
    testbed: &'a Testbed,
    stage: Stage<'a>,
    raw: Raw,
    known: BTreeMap<String, String>,
}

impl<'a> World<'a> {
    /// Starts everything; data and logs go to `folder`.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start(testbed: &'a Testbed, folder: &Path) -> Result<Self> {
        let cluster = testbed.cluster("rancher").tier(Tier::Loopback);
        let cluster = tokio::task::block_in_place(|| cluster.kwok_nodes(2).start())?;
        let stage = Stage::start(testbed, cluster, folder).await?;
        let url = stage.server.url();
        let ca = Api::fetch_ca(&url).await?;
        let raw = Raw::new(url.trim_start_matches("https://").parse()?, &ca)?;
        let (user, password) = stage.server.administrator();
        let known = [
            ("token.admin", stage.api.token.as_str()),
            ("username", user),
            ("password", password),
            ("connected", &stage.id),
            ("url", &url),
        ];
        let known = known.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Self {
            known: known.into(),
            raw,
            testbed,
            stage,
        })
    }

    /// Replays the scripts whose names contain `only`, and prints what came of each step.
    ///
    /// # Errors
    /// When a step fails.
    #[expect(clippy::print_stdout, reason = "its output is its purpose")]
    pub async fn replay(&mut self, only: &str) -> Result<()> {
        let (mut passed, mut failed) = (0, 0);
        for (script, text) in SCRIPTS.iter().filter(|(name, _)| name.contains(only)) {
            let steps: Vec<Step> =
                serde_saphyr::from_str(text).with_context(|| format!("script {script:?}"))?;
            for step in steps {
                match self.play(&step).await {
                    Ok(()) => {
                        passed += 1;
                        println!("ok      {script}: {}", step.name);
                    }
                    Err(error) => {
                        failed += 1;
                        println!("FAILED  {script}: {}: {error:#}", step.name);
                    }
                }
            }
        }
        if "page".contains(only) {
            let browser = self.testbed.chromium(&self.folder().join("chromium"))?;
            for (step, look) in page::STEPS {
                match look(&browser.person("administrator"), self) {
                    Ok(()) => {
                        passed += 1;
                        println!("ok      page: {step}");
                    }
                    Err(error) => {
                        failed += 1;
                        println!("FAILED  page: {step}: {error:#}");
                    }
                }
            }
        }
        println!("{passed} passed, {failed} failed");
        ensure!(failed == 0, "{failed} steps failed");
        ensure!(passed > 0, "no script has such a name");
        Ok(())
    }

    /// Of the server, for who looks for its logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.stage.server.folder()
    }

    async fn play(&mut self, step: &Step) -> Result<()> {
        let began = Instant::now();
        loop {
            let outcome = self.try_step(step).await;
            match outcome {
                Err(_) if step.until && began.elapsed() < LIMIT => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                other => return other,
            }
        }
    }

    async fn try_step(&mut self, step: &Step) -> Result<()> {
        let sent = self.filled(&step.send)?;
        let (method, path) = sent.split_once(' ').context("send is METHOD PATH")?;
        let path = client::path_of(path)?;
        let mut headers: Vec<(String, String)> = Vec::new();
        if step.by != "nobody" {
            let token = self.value(&format!("token.{}", step.by))?;
            headers.push(("authorization".into(), format!("Bearer {token}")));
        }
        for (name, value) in &step.headers {
            headers.push((name.clone(), self.filled(value)?));
        }
        let body = match (&step.body, &step.text) {
            (Some(body), _) => {
                headers.push(("content-type".into(), "application/json".into()));
                self.filled_in(body)?.to_string()
            }
            (None, Some(text)) => self.filled(text)?,
            (None, None) => String::new(),
        };
        let answer = client::ask(&self.raw, method, &path, &headers, &body).await?;
        ensure!(
            answer.status == step.status,
            "{method} {path} answered {}, not {}: {}",
            answer.status,
            step.status,
            answer.body
        );
        self.check(step, &answer)
    }

    /// Whether an answer has the shape, and what is kept of it.
    fn check(&mut self, step: &Step, answer: &Answer) -> Result<()> {
        for (name, wanted) in &step.header {
            let found = answer
                .headers
                .get(name)
                .map_or(Value::Null, |value| json!(value));
            shape::check(&self.filled_in(wanted)?, &found, name)?;
        }
        let value = || -> Result<Value> {
            serde_json::from_str(&answer.body)
                .with_context(|| format!("the answer is not JSON: {:?}", answer.body))
        };
        if let Some(wanted) = &step.answer {
            let found = match wanted {
                Value::String(_) => json!(answer.body),
                _ => value()?,
            };
            shape::check(&self.filled_in(wanted)?, &found, "")?;
        }
        for (name, pointer) in &step.keep {
            let answer = value()?;
            let found = answer.pointer(pointer);
            let found = found.with_context(|| format!("nothing at {pointer} in {answer}"))?;
            let text = found
                .as_str()
                .map_or_else(|| found.to_string(), str::to_owned);
            self.known.insert(name.clone(), text);
        }
        Ok(())
    }

    fn value(&self, name: &str) -> Result<&str> {
        let found = self.known.get(name).map(String::as_str);
        found.with_context(|| format!("no step before has kept {name:?}"))
    }

    /// A text with the values that it names, `${NAME}`.
    fn filled(&self, text: &str) -> Result<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                bail!("no end of a name in {text:?}");
            };
            filled += before;
            filled += self.value(name)?;
            rest = after;
        }
        filled += rest;
        Ok(filled)
    }

    fn filled_in(&self, value: &Value) -> Result<Value> {
        Ok(match value {
            Value::String(text) => json!(self.filled(text)?),
            Value::Array(items) => {
                let items = items.iter().map(|item| self.filled_in(item));
                Value::Array(items.collect::<Result<_>>()?)
            }
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| Ok((self.filled(name)?, self.filled_in(value)?)));
                Value::Object(fields.collect::<Result<Map<_, _>>>()?)
            }
            other => other.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_can_be_read() {
        let mut steps = 0;
        for (script, text) in SCRIPTS {
            let read: Result<Vec<Step>, _> = serde_saphyr::from_str(text);
            steps += read
                .unwrap_or_else(|error| panic!("{script}: {error}"))
                .len();
        }
        assert!(steps >= 100, "{steps}");
    }
}
