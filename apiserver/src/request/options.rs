//! What the parameters of a request ask for.

mod parameters;

pub(crate) use parameters::whole_number;
use parameters::{Parameters, unreadable};

use super::Continue;
use crate::error::{About, ApiError};
use crate::schema::FieldError;
use crate::selector::{FieldSelector, LabelSelector};
use std::time::Duration;

/// Longest name of a field manager, in bytes.
const MAX_MANAGER: usize = 128;

/// The parameters of get, list, watch and deletecollection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Stream changes.
    pub watch: bool,
    /// Objects with these labels.
    pub labels: LabelSelector,
    /// Objects with these values in fields.
    pub fields: FieldSelector,
    /// At most so many objects at once.
    pub limit: Option<usize>,
    /// Where an earlier list stopped.
    pub continues: Option<Continue>,
    /// Which state to read, or to watch from.
    pub revision: RevisionMatch,
    /// How long a watch lasts.
    pub timeout: Option<Duration>,
    /// Tell a quiet watch from time to time how far it is.
    pub bookmarks: bool,
    /// A watch begins with all objects, and says when it has told them.
    pub send_initial_events: bool,
}

/// Which state of the store a client asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevisionMatch {
    /// The latest: nothing was said.
    #[default]
    Latest,
    /// Whatever is at hand: `resourceVersion=0`.
    Any,
    /// That one or a later one.
    NotOlderThan(u64),
    /// Exactly that one.
    Exact(u64),
}

/// The parameters of create, update, patch and delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Do everything but the writing.
    pub dry_run: bool,
    /// Who owns the fields that are written; empty if the client did not say.
    pub manager: String,
    /// What happens to fields that the kind does not have.
    pub validation: FieldValidation,
    /// An apply takes fields over from other managers.
    pub force: bool,
}

/// What the parameters of a write are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// `CreateOptions`.
    Create,
    /// `UpdateOptions`.
    Update,
    /// `PatchOptions`.
    Patch,
    /// `PatchOptions` of a server-side apply.
    Apply,
    /// `DeleteOptions`.
    Delete,
}

impl Writing {
    /// The kind that errors name.
    fn options(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Patch | Self::Apply => "PatchOptions",
            Self::Delete => "DeleteOptions",
        }
    }
}

/// What happens to fields that the kind does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped, and the client is warned.
    #[default]
    Warn,
    /// The request is refused.
    Strict,
}

impl ListOptions {
    /// Parses the query of a request.
    ///
    /// # Errors
    /// 400 for what does not parse, 422 for what cannot be asked for together.
    pub fn parse(query: &str) -> Result<Self, ApiError> {
        let query = Parameters::parse(query);
        let unclear = |error: &dyn std::fmt::Display| {
            ApiError::bad_request(format!("unable to parse requirement: {error}"))
        };
        let labels = query.text("labelSelector").parse();
        let fields = query.text("fieldSelector").parse();
        let continues = query.text("continue");
        let options = Self {
            watch: query.flag("watch"),
            labels: labels.map_err(|error| unclear(&error))?,
            fields: fields.map_err(|error| ApiError::bad_request(format!("{error}")))?,
            limit: query
                .number("limit")?
                .filter(|limit| *limit > 0)
                .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            continues: match continues {
                "" => None,
                token => Some(Continue::decode(token)?),
            },
            revision: RevisionMatch::of(&query)?,
            timeout: query
                .number("timeoutSeconds")?
                .filter(|seconds| *seconds != 0)
                .map(|seconds| Duration::from_secs(seconds.max(0).unsigned_abs())),
            bookmarks: query.flag("allowWatchBookmarks"),
            send_initial_events: query.flag("sendInitialEvents"),
        };
        Self::check(&query, options.watch)?;
        Ok(options)
    }

    /// What cannot be asked for together.
    fn check(query: &Parameters, watch: bool) -> Result<(), ApiError> {
        let mut errors = Vec::new();
        let matching = query.text("resourceVersionMatch");
        let revision = query.text("resourceVersion");
        let continues = !query.text("continue").is_empty();
        let initial = query.has("sendInitialEvents");
        if watch && initial && matching != "NotOlderThan" {
            let field = "resourceVersionMatch";
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            errors.push(FieldError::forbidden(field, why));
            if !matching.is_empty() {
                let supported = ["NotOlderThan"];
                errors.push(FieldError::not_supported(field, matching, &supported));
            }
        }
        let mut forbid = |field: &str, why: &str| errors.push(FieldError::forbidden(field, why));
        if watch && !initial && !matching.is_empty() {
            let why =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            forbid("resourceVersionMatch", why);
        }
        if !watch && initial {
            let why = "sendInitialEvents is forbidden for list";
            forbid("sendInitialEvents", why);
        }
        if !watch && !matching.is_empty() {
            if continues {
                let why = "resourceVersionMatch is forbidden when continue is provided";
                forbid("resourceVersionMatch", why);
            }
            if revision.is_empty() {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                forbid("resourceVersionMatch", why);
            }
            if matching == "Exact" && revision == "0" {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                forbid("resourceVersionMatch", why);
            }
            if !matches!(matching, "Exact" | "NotOlderThan") {
                let supported = ["Exact", "NotOlderThan", ""];
                let field = "resourceVersionMatch";
                errors.push(FieldError::not_supported(field, matching, &supported));
            }
        }
        if !errors.is_empty() {
            return Err(invalid_options("ListOptions", &errors));
        }
        if continues && !revision.is_empty() && revision != "0" {
            let message = "specifying resource version is not allowed when using continue";
            return Err(ApiError::bad_request(message));
        }
        Ok(())
    }
}

impl RevisionMatch {
    fn of(query: &Parameters) -> Result<Self, ApiError> {
        let text = query.text("resourceVersion");
        let number = match text {
            "" => return Ok(Self::Latest),
            text => text.parse::<u64>().map_err(|error| {
                let why = unreadable(&error);
                let detail = format!("strconv.ParseUint: parsing {text:?}: {why}");
                let error = FieldError::invalid("resourceVersion", text, detail);
                ApiError::bad_request(format!("invalid resource version: {error}"))
            })?,
        };
        Ok(match (query.text("resourceVersionMatch"), number) {
            ("Exact", number) => Self::Exact(number),
            (_, 0) => Self::Any,
            (_, number) => Self::NotOlderThan(number),
        })
    }
}

impl WriteOptions {
    /// Parses the query of a request.
    ///
    /// # Errors
    /// 422 for values that there are not.
    pub fn parse(query: &str, writing: Writing) -> Result<Self, ApiError> {
        let query = Parameters::parse(query);
        let applies = writing == Writing::Apply;
        let mut errors = Vec::new();
        let dry_run = query.all("dryRun").filter(|value| !value.is_empty());
        let dry_run: Vec<&str> = dry_run.collect();
        if dry_run.iter().any(|value| *value != "All") {
            errors.push(unknown_dry_run(&dry_run));
        }
        let validation = match query.text("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            _ if writing == Writing::Delete => FieldValidation::Warn,
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                errors.push(FieldError::not_supported(
                    "fieldValidation",
                    other,
                    &supported,
                ));
                FieldValidation::Warn
            }
        };
        let manager = query.text("fieldManager");
        if manager.len() > MAX_MANAGER {
            let most = i64::try_from(MAX_MANAGER).unwrap_or(i64::MAX);
            errors.push(FieldError::too_long("fieldManager", most));
        }
        if manager.chars().any(char::is_control) {
            let detail = "should only contain printable characters";
            errors.push(FieldError::invalid("fieldManager", manager, detail));
        }
        if applies && manager.is_empty() {
            let detail = "is required for apply patch";
            errors.push(FieldError::required("fieldManager", detail));
        }
        let force = query.flag("force");
        if force && writing == Writing::Patch {
            errors.push(FieldError::forbidden(
                "force",
                "may not be specified for non-apply patch",
            ));
        }
        if errors.is_empty() {
            return Ok(Self {
                dry_run: !dry_run.is_empty(),
                manager: manager.to_owned(),
                validation,
                force,
            });
        }
        Err(invalid_options(writing.options(), &errors))
    }
}

/// Whether the query of a request for a collection makes it a watch.
#[must_use]
pub fn asks_to_watch(query: &str) -> bool {
    Parameters::parse(query).flag("watch")
}

/// `dryRun` with a value that there is not.
pub(crate) fn unknown_dry_run(values: &[&str]) -> FieldError {
    FieldError::not_supported("dryRun", values.to_vec(), &["All"])
}

/// 422 for parameters that break rules; `kind` is one of `meta.k8s.io`.
pub(crate) fn invalid_options(kind: &str, errors: &[FieldError]) -> ApiError {
    let about = About {
        group: "meta.k8s.io",
        what: kind,
        name: "",
    };
    ApiError::invalid(about, errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_revision_has_a_meaning_with_its_match() {
        for (query, expected) in [
            ("", RevisionMatch::Latest),
            ("resourceVersion=", RevisionMatch::Latest),
            ("resourceVersion=0", RevisionMatch::Any),
            ("resourceVersion=7", RevisionMatch::NotOlderThan(7)),
            (
                "resourceVersion=7&resourceVersionMatch=Exact",
                RevisionMatch::Exact(7),
            ),
        ] {
            assert_eq!(
                ListOptions::parse(query).unwrap().revision,
                expected,
                "{query}"
            );
        }
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        for (query, code) in [
            ("limit=x", 400),
            ("continue=!!", 400),
            ("limit=99999999999999999999", 400),
            ("labelSelector=a+b", 400),
            ("fieldSelector=a", 400),
            ("resourceVersion=x", 400),
            ("resourceVersionMatch=Exact", 422),
            ("resourceVersion=0&resourceVersionMatch=Exact", 422),
            ("resourceVersion=1&resourceVersionMatch=Sometimes", 422),
            ("sendInitialEvents=true", 422),
            ("watch=1&sendInitialEvents=true", 422),
            ("watch=1&resourceVersion=1&resourceVersionMatch=Exact", 422),
        ] {
            let error = ListOptions::parse(query).unwrap_err();
            assert_eq!(error.code().as_u16(), code, "{query}");
        }
        for (query, writing) in [
            ("dryRun=Some", Writing::Create),
            ("fieldValidation=Maybe", Writing::Update),
            ("force=true", Writing::Patch),
            ("", Writing::Apply),
            ("fieldManager=a%0Ab", Writing::Create),
        ] {
            let error = WriteOptions::parse(query, writing).unwrap_err();
            assert!(error.message().starts_with(writing.options()), "{query}");
        }
        let query = "dryRun=All&fieldManager=me&force=true";
        let options = WriteOptions::parse(query, Writing::Apply).unwrap();
        assert!(options.dry_run && options.force);
    }

    proptest! {
        #[test]
        fn nothing_panics(query: String) {
            let _ = ListOptions::parse(&query);
            let _ = WriteOptions::parse(&query, Writing::Apply);
        }
    }
}
