//! Which requests are recorded, and how much of them: the policy files of kube-apiserver
//! (`audit.k8s.io/v1`, kind `Policy`).

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

use super::event::ObjectReference;

const API_VERSION: &str = "audit.k8s.io/v1";
const KIND: &str = "Policy";

/// How much of a request is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Who did what, with which answer.
    Metadata,
    /// The body of the request as well.
    Request,
    /// And the body of the answer.
    RequestResponse,
}

/// When something is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub enum Stage {
    /// Who asks is known.
    RequestReceived,
    /// The answer to a request that goes on for long has begun.
    ResponseStarted,
    /// The answer was sent, or the client has gone away.
    ResponseComplete,
    /// Of kube-apiserver. Nothing is recorded in this stage here.
    Panic,
}

/// A policy. The first rule that fits a request counts; where none does, nothing is recorded.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Policy {
    api_version: String,
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde::de::IgnoredAny,
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<Resources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    paths: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Resources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a> {
    /// Name and groups; `None` if nobody knows who it is.
    pub(super) user: Option<(&'a str, &'a [String])>,
    pub(super) verb: &'a str,
    /// The resource; `None` for other paths.
    pub(super) object: Option<&'a ObjectReference>,
    pub(super) path: &'a str,
}

/// How a request is recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) level: Level,
    omitted: [&'a [Stage]; 2],
    pub(super) omit_managed_fields: bool,
}

impl Wanted<'_> {
    /// Whether that stage is recorded.
    pub(super) fn has(&self, stage: Stage) -> bool {
        let omitted = self.omitted.iter().any(|omitted| omitted.contains(&stage));
        self.level > Level::None && !omitted
    }
}

impl Default for Policy {
    /// One line for each request, without bodies, when it is done.
    fn default() -> Self {
        let everything = Rule {
            level: Level::Metadata,
            users: Vec::new(),
            user_groups: Vec::new(),
            verbs: Vec::new(),
            resources: Vec::new(),
            namespaces: Vec::new(),
            paths: Vec::new(),
            omit_stages: Vec::new(),
            omit_managed_fields: None,
        };
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            _metadata: serde::de::IgnoredAny,
            rules: vec![everything],
            omit_stages: vec![Stage::RequestReceived, Stage::ResponseStarted],
            omit_managed_fields: false,
        }
    }
}

impl Policy {
    /// Reads a policy from a file.
    ///
    /// # Errors
    /// When it cannot be read, or says something that makes no sense.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the audit policy {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("audit policy {}", path.display()))
    }

    /// Reads a policy in YAML or JSON.
    ///
    /// # Errors
    /// When it says something that makes no sense.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let policy: Self = serde_saphyr::from_str(text)?;
        let (found, kind) = (&policy.api_version, &policy.kind);
        ensure!(
            found == API_VERSION && kind == KIND,
            "is {found} {kind}, not {API_VERSION} {KIND}"
        );
        ensure!(!policy.rules.is_empty(), "has no rules");
        for (at, rule) in policy.rules.iter().enumerate() {
            rule.check().with_context(|| format!("rules[{at}]"))?;
        }
        Ok(policy)
    }

    /// Whether there may be requests of which that stage is recorded.
    pub(super) fn may_have(&self, stage: Stage) -> bool {
        !self.omit_stages.contains(&stage)
    }

    /// How a request is recorded.
    pub(super) fn of(&self, request: &Attributes<'_>) -> Wanted<'_> {
        let rule = self.rules.iter().find(|rule| rule.fits(request));
        let own = rule.map_or(&[][..], |rule| &rule.omit_stages);
        let omits = rule.and_then(|rule| rule.omit_managed_fields);
        Wanted {
            level: rule.map_or(Level::None, |rule| rule.level),
            omitted: [&self.omit_stages, own],
            omit_managed_fields: omits.unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    fn check(&self) -> anyhow::Result<()> {
        let of_resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        if of_resources && !self.paths.is_empty() {
            bail!("cannot apply to both regular resources and non-resource URLs");
        }
        for path in &self.paths {
            let is_path = path == "*" || path.starts_with('/');
            ensure!(is_path, "nonResourceURLs: {path:?} must begin with \"/\"");
            let star = path.find('*').unwrap_or(path.len());
            ensure!(
                star + 1 >= path.len(),
                "nonResourceURLs: {path:?} has a \"*\" that is not at its end"
            );
        }
        for resources in &self.resources {
            let named = resources.resource_names.is_empty() || !resources.resources.is_empty();
            ensure!(named, "resourceNames need resources");
            let group = &resources.group;
            ensure!(!group.contains('/'), "group {group:?} names a version");
        }
        Ok(())
    }

    fn fits(&self, request: &Attributes<'_>) -> bool {
        let has = |wanted: &[String], found: &str| wanted.iter().any(|one| one == found);
        let (name, groups) = request.user.unwrap_or(("", &[]));
        let user = self.users.is_empty() || has(&self.users, name);
        let mut groups = groups.iter().map(|group| has(&self.user_groups, group));
        let group = self.user_groups.is_empty() || groups.any(|is| is);
        let verb = self.verbs.is_empty() || has(&self.verbs, request.verb);
        if !(user && group && verb) {
            return false;
        }
        if !self.resources.is_empty() || !self.namespaces.is_empty() {
            return request.object.is_some_and(|object| {
                let here = self.namespaces.is_empty() || has(&self.namespaces, &object.namespace);
                let all = self.resources.is_empty();
                here && (all || self.resources.iter().any(|one| one.fit(object)))
            });
        }
        let fits = |path: &String| match path.strip_suffix('*') {
            Some(beginning) => request.path.starts_with(beginning),
            None => path == request.path,
        };
        self.paths.is_empty() || (request.object.is_none() && self.paths.iter().any(fits))
    }
}

impl Resources {
    fn fit(&self, object: &ObjectReference) -> bool {
        if self.group != object.api_group {
            return false;
        }
        let named = self.resource_names.is_empty() || self.resource_names.contains(&object.name);
        let found = (object.resource.as_str(), object.subresource.as_str());
        let fits = |wanted: &String| match wanted.split_once('/').unwrap_or((wanted, "")) {
            ("*", "") => true,
            ("*", subresource) => subresource == found.1,
            (resource, "*") => resource == found.0,
            wanted => wanted == found,
        };
        self.resources.is_empty() || (named && self.resources.iter().any(fits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(group: &str, resource: &str, subresource: &str) -> ObjectReference {
        ObjectReference {
            api_group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: "default".to_owned(),
            name: "a".to_owned(),
            ..ObjectReference::default()
        }
    }

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
metadata: {name: example}
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/livez*", "/version"]
- level: None
  users: [u-quiet]
- level: Request
  userGroups: [people]
  verbs: [create]
  resources: [{group: "", resources: [configmaps, "pods/*", "*/scale"]}]
  omitStages: [ResponseStarted]
  omitManagedFields: true
- level: RequestResponse
  namespaces: [kube-system]
  resources: [{group: apps, resources: [deployments], resourceNames: [b]}]
- level: Metadata
  resources: [{group: apps}]
"#;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let policy = Policy::parse(POLICY).unwrap();
        let groups = ["people".to_owned()];
        let level = |user: &str, verb: &str, object: Option<ObjectReference>, path: &str| {
            let request = Attributes {
                user: Some((user, &groups)),
                verb,
                object: object.as_ref(),
                path,
            };
            policy.of(&request).level
        };
        assert_eq!(level("u-1", "get", None, "/livez/ping"), Level::None);
        assert_eq!(level("u-1", "get", None, "/apis"), Level::None, "no rule");
        for (group, resource, subresource, verb, expected) in [
            ("", "configmaps", "", "create", Level::Request),
            ("", "configmaps", "", "get", Level::None),
            ("", "pods", "exec", "create", Level::Request),
            ("", "things", "scale", "create", Level::Request),
            ("apps", "deployments", "", "get", Level::Metadata),
        ] {
            let object = Some(object(group, resource, subresource));
            let found = level("u-1", verb, object, "/");
            assert_eq!(found, expected, "{verb} {resource}/{subresource}");
        }
        let quiet = Some(object("apps", "deployments", ""));
        assert_eq!(level("u-quiet", "get", quiet, "/"), Level::None);
        let system = ObjectReference {
            namespace: "kube-system".to_owned(),
            name: "b".to_owned(),
            ..object("apps", "deployments", "")
        };
        assert_eq!(
            level("u-1", "get", Some(system), "/"),
            Level::RequestResponse
        );
    }

    #[test]
    fn stages_are_left_out_by_the_policy_and_by_its_rule() {
        let policy = Policy::parse(POLICY).unwrap();
        let groups = ["people".to_owned()];
        let config = object("", "configmaps", "");
        let wanted = policy.of(&Attributes {
            user: Some(("u-1", &groups)),
            verb: "create",
            object: Some(&config),
            path: "/",
        });
        assert!(wanted.omit_managed_fields && wanted.has(Stage::ResponseComplete));
        assert!(!wanted.has(Stage::RequestReceived) && !wanted.has(Stage::ResponseStarted));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let with =
            |rules: &str| format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {rules}");
        for (text, expected) in [
            (with("[]"), "has no rules"),
            (with("[{level: Everything}]"), "Everything"),
            (with("[{level: None, nonsense: 1}]"), "nonsense"),
            (
                with("[{level: None, nonResourceURLs: [/a], namespaces: [b]}]"),
                "both",
            ),
            (with("[{level: None, nonResourceURLs: [a]}]"), "must begin"),
            (
                with("[{level: None, nonResourceURLs: [/a*b]}]"),
                "at its end",
            ),
            (
                with("[{level: None, resources: [{resourceNames: [a]}]}]"),
                "need resources",
            ),
            (
                with("[{level: None}]").replace("v1", "v2"),
                "audit.k8s.io/v2 Policy",
            ),
        ] {
            let error = Policy::parse(&text).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{text}: {error:#}");
        }
    }
}
