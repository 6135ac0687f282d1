//! Removing what differs between any two runs, and nothing else.

use std::{borrow::Cow, path::Path};

use anyhow::{Context, Result};
use kube::config::Kubeconfig;
use regex::Regex;

/// Replaces the namespace, the server's address and what each object is given anew.
pub struct Normaliser {
    namespace: String,
    server: String,
    rules: Vec<(Regex, &'static str)>,
}

const RULES: &[(&str, &str)] = &[
    (
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "UID",
    ),
    (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
        "TIME",
    ),
    (
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4}( UTC)?",
        "TIME",
    ),
    (r#""continue":"[\w=-]+""#, "CONTINUE"),
    (
        r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}",
        "TIME",
    ),
    (
        r"[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d \d{4}",
        "TIME",
    ),
    (r#"("?resourceVersion"?: *"?)\d+"#, "${1}VERSION"),
    (r"(Resource Version: +)\d+", "${1}VERSION"),
    // Ages: 5s, 2m, 3m20s, and what stands in describe.
    (
        r"(^|[ (\t])(\d+d)?(\d+h)?(\d+m)?(\d+s|\d+m|\d+h|\d+d)([ )\n]|$)",
        "${1}AGE${6}",
    ),
    (r"<(invalid|unknown)>( +ago)?(\s|$)", "AGE${3}"),
    // What a network or a runtime chooses.
    (r"10\.244\.\d+\.\d+", "POD_IP"),
    (r"10\.96\.\d+\.\d+", "SERVICE_IP"),
    (r"(containerd://|sha256:)[0-9a-f]{64}", "${1}ID"),
    (r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "TOKEN"),
    // The random end of a name that the API server generates (apimachinery, util/rand).
    (r"-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "-RANDOM"),
    (r"\.[0-9a-f]{14,16}\b", ".EVENT"),
    (r"temp(orary)?-?\d+|/tmp/\S+", "TEMPORARY"),
    // Columns are as wide as their widest value.
    (r"[ \t]{2,}", "  "),
    (r"[ \t]+\n", "\n"),
];

impl Normaliser {
    /// For one namespace of the server of this kubeconfig.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub fn new(namespace: &str, kubeconfig: &Path) -> Result<Self> {
        let config = Kubeconfig::read_from(kubeconfig)
            .with_context(|| format!("read {}", kubeconfig.display()))?;
        let server = config
            .clusters
            .into_iter()
            .find_map(|cluster| cluster.cluster?.server)
            .with_context(|| format!("no server in {}", kubeconfig.display()))?;
        Self::with_server(namespace, server)
    }

    fn with_server(namespace: &str, server: String) -> Result<Self> {
        let rules = RULES
            .iter()
            .map(|(pattern, replacement)| {
                Ok((Regex::new(&format!("(?m){pattern}"))?, *replacement))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            namespace: namespace.to_owned(),
            server,
            rules,
        })
    }

    /// Removes it from a text.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        let mut text = Cow::Owned(
            text.replace(&self.server, "SERVER")
                .replace(&self.namespace, "NAMESPACE"),
        );
        for (pattern, replacement) in &self.rules {
            // Neighbouring matches share a blank, so one pass does not see all.
            for _ in 0..2 {
                if let Cow::Owned(changed) = pattern.replace_all(&text, *replacement) {
                    text = Cow::Owned(changed);
                }
            }
        }
        text.trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalise(text: &str) -> String {
        let server = "https://10.0.0.1:6443".to_owned();
        let normaliser = Normaliser::with_server("t1-x-direct", server).unwrap();
        normaliser.apply(text)
    }

    #[test]
    fn what_differs_between_any_two_runs_goes() {
        for (text, expected) in [
            ("pod/a in t1-x-direct", "pod/a in NAMESPACE"),
            ("at https://10.0.0.1:6443/api", "at SERVER/api"),
            ("uid: 01234567-89ab-cdef-0123-456789abcdef", "uid: UID"),
            ("since 2026-01-02T03:04:05Z", "since TIME"),
            ("resourceVersion: \"123\"", "resourceVersion: \"VERSION\""),
            ("web   1/1   Running   0   12s", "web  1/1  Running  0  AGE"),
            (
                "web   1/1   Running   0   3m20s",
                "web  1/1  Running  0  AGE",
            ),
            ("pod/web-5d4f8c7b9d-x2vbn", "pod/web-5d4f8c7b9d-RANDOM"),
        ] {
            assert_eq!(normalise(text), expected);
        }
    }

    #[test]
    fn what_should_be_equal_stays() {
        for text in [
            "replicas: 3",
            "exit 3",
            "pod/class-admin",
            "10 of 20",
            "restarts 0",
            "1.2.3.4",
        ] {
            assert_eq!(normalise(text), text);
        }
    }
}
