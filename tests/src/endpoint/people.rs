//! What people do with their kubeconfig files, and what comes of it.

use super::{GROUP, PASSWORD, World, printed};
use crate::lariat::{Api, binary, write_secret};
use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};
use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

impl World<'_> {
    /// A kubeconfig of a person for the cluster.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn kubeconfig(&self, person: &Api) -> Result<Value> {
        self.kubeconfig_for(person, 0).await
    }

    /// The same with a token that is good for so many milliseconds.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn kubeconfig_for(&self, person: &Api, ttl: u64) -> Result<Value> {
        let path = format!("/v3/clusters/{}?action=generateKubeconfig", self.id);
        let answer = person
            .call(Method::POST, &path, Some(&json!({"ttl": ttl})))
            .await?;
        let config = answer["config"]
            .as_str()
            .context("no kubeconfig in the answer")?;
        Ok(serde_saphyr::from_str(config)?)
    }

    /// The token in a kubeconfig.
    #[must_use]
    pub fn token(config: &Value) -> String {
        let token = config["users"][0]["user"]["token"].as_str();
        token.unwrap_or_default().to_owned()
    }

    /// Whether the cluster has the token in a kubeconfig.
    #[must_use]
    pub fn has_token(&self, config: &Value) -> bool {
        let token = Self::token(config);
        let name = token.split(':').next().unwrap_or_default();
        let kind = "clusterauthtokens.cluster.cattle.io";
        self.downstream(&["get", kind, name]).is_ok()
    }

    /// Ends the token in a kubeconfig.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn revoke(&self, config: &Value) -> Result<()> {
        let token = Self::token(config);
        let name = token.split(':').next().unwrap_or_default();
        let path = format!("{GROUP}/tokens/{name}");
        self.api.call(Method::DELETE, &path, None).await?;
        Ok(())
    }

    /// kubectl with a context of a kubeconfig.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn try_kubectl(&self, config: &Value, context: &str, args: &[&str]) -> Result<Output> {
        let mut kubectl = self.command(config, context, args)?;
        Ok(kubectl.output()?)
    }

    /// The same, which must succeed. Returns what it prints.
    ///
    /// # Errors
    /// When it does not; holds its words.
    pub fn kubectl(&self, config: &Value, context: &str, args: &[&str]) -> Result<String> {
        printed(self.try_kubectl(config, context, args)?, args)
    }

    /// The same from within the cluster's network.
    ///
    /// # Errors
    /// When it does not succeed.
    pub async fn inside(&self, config: &Value, context: &str, args: &[&str]) -> Result<String> {
        let started = Instant::now();
        loop {
            let command = self.command(config, context, args)?;
            let process = self.cluster.start_process("kubectl-inside", &command)?;
            let status = process
                .wait(Duration::from_secs(30))
                .context("kubectl hangs")?;
            let words = std::fs::read_to_string(process.log())?;
            if status.success() {
                return Ok(words);
            }
            ensure!(started.elapsed() < Duration::from_secs(15), "{words}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn command(&self, config: &Value, context: &str, args: &[&str]) -> Result<Command> {
        let path = self.folder.join("person.kubeconfig");
        write_secret(&path, &config.to_string())?;
        let mut kubectl = Command::new(self.cluster.kubectl_path()?);
        kubectl.env("KUBECONFIG", &path);
        kubectl
            .args(["--context", context, "--request-timeout=5s"])
            .args(args);
        Ok(kubectl)
    }

    /// `lariat` as the user, whose kubeconfig file is her own; must succeed. Returns what it writes to
    /// standard output and error.
    ///
    /// # Errors
    /// When it does not.
    pub fn lariat(&self, args: &[&str], input: &str) -> Result<(String, String)> {
        let mut command = Command::new(binary("lariat")?);
        command
            .args(args)
            .env("HOME", &self.folder)
            .env("XDG_CONFIG_HOME", self.folder.join("config"))
            .env("KUBECONFIG", self.folder.join("own.kubeconfig"))
            .env("KUBECTL", self.cluster.kubectl_path()?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        stdin.write_all(input.as_bytes())?;
        drop(stdin);
        let output = child.wait_with_output()?;
        let errors = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.success(),
            "lariat {}: {errors}",
            args.join(" ")
        );
        Ok((String::from_utf8(output.stdout)?, errors))
    }

    /// Logs the user in at the command line and writes her kubeconfig file.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn log_in_at_the_command_line(&self) -> Result<()> {
        let (url, ca) = {
            let server = self.server.lock().await;
            (server.url(), server.ca_file())
        };
        let ca = ca.display().to_string();
        let login = [
            "login",
            &url,
            "--username",
            "ann",
            "--password-stdin",
            "--ca-file",
            &ca,
        ];
        self.lariat(&login, PASSWORD)?;
        self.lariat(&["kubeconfig", "endpoint"], "")?;
        Ok(())
    }

    /// Lines in order.
    #[must_use]
    pub fn sorted(text: &str) -> Vec<String> {
        let mut lines: Vec<_> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.sort_unstable();
        lines
    }

    /// Waits until the endpoint lets in the one with a kubeconfig; how long that took.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn learns(&self, config: &Value, limit: Duration) -> Result<Duration> {
        let learnt = self.until(limit, || self.whoami(config).is_ok()).await;
        learnt.with_context(|| format!("not let in: {:?}", self.whoami(config)))
    }

    /// Waits until the endpoint no longer does.
    ///
    /// # Errors
    /// When it still does.
    pub async fn ends(&self, config: &Value, limit: Duration) -> Result<Duration> {
        let is_refused = || {
            self.whoami(config)
                .is_err_and(|error| is_unauthorized(&error))
        };
        let ended = self.until(limit, is_refused).await;
        ended.with_context(|| format!("still let in: {:?}", self.whoami(config)))
    }

    /// The endpoint refuses a token in place of that in a kubeconfig.
    ///
    /// # Errors
    /// When it does not.
    pub fn refused(&self, config: &Value, token: &str) -> Result<()> {
        let mut config = config.clone();
        config["users"][0]["user"]["token"] = json!(token);
        match self.whoami(&config) {
            Err(error) if is_unauthorized(&error) => Ok(()),
            Err(error) => Err(error),
            Ok(who) => bail!("let in as {who}"),
        }
    }

    fn whoami(&self, config: &Value) -> Result<String> {
        self.kubectl(config, "endpoint-fqdn", &["auth", "whoami"])
    }

    /// Waits until something holds; how long that took.
    ///
    /// # Errors
    /// When it does not within the limit.
    pub async fn until(&self, limit: Duration, holds: impl Fn() -> bool) -> Result<Duration> {
        let started = Instant::now();
        while !holds() {
            ensure!(
                started.elapsed() < limit,
                "not within {} s",
                limit.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(started.elapsed())
    }
}

fn is_unauthorized(error: &anyhow::Error) -> bool {
    let words = format!("{error:#}");
    words.contains("Unauthorized") || words.contains("must be logged in")
}
