//! In which form an answer is sent.

use crate::error::ApiError;
use crate::protobuf;
use http::{HeaderMap, header::ACCEPT};
use serde_json::Value;

/// What can be sent, for a client that asked for something else. The last only of Kubernetes' own
/// kinds, and of the metadata of others.
const OFFERED: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// How an answer is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What of the objects.
    pub form: Form,
    /// Tables and metadata are wanted in `meta.k8s.io/v1beta1`, which is the same under another
    /// name.
    pub beta: bool,
    /// Metadata of a list are wanted, by their name.
    pub listed: bool,
    /// How it is written.
    pub encoding: Encoding,
}

/// What is sent of objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// All of them.
    #[default]
    Objects,
    /// Rows for people.
    Table,
    /// Their metadata.
    Metadata,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`.
    #[default]
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// One of the things that a client takes.
#[derive(Debug)]
struct Choice<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl Wanted {
    /// The best of what the client takes. A watch is never YAML. Whole objects are protobuf only if
    /// they are of one of Kubernetes' own kinds.
    ///
    /// # Errors
    /// 406 when it takes nothing that can be sent.
    pub fn of(headers: &HeaderMap, watch: bool, built_in: bool) -> Result<Self, ApiError> {
        let choices = Choice::all(headers);
        if choices.is_empty() {
            return Ok(Self::default());
        }
        let wanted = choices.iter().filter_map(Choice::wanted);
        let mut possible = wanted.filter(|wanted| match (wanted.encoding, wanted.form) {
            (Encoding::Json, _) | (Encoding::Protobuf, Form::Metadata) => true,
            (Encoding::Yaml, _) => !watch,
            (Encoding::Protobuf, Form::Objects) => built_in,
            (Encoding::Protobuf, Form::Table) => false,
        });
        let found = possible.next();
        found.ok_or_else(|| ApiError::not_acceptable(&OFFERED))
    }

    /// What is not kept is sent whole or not at all.
    ///
    /// # Errors
    /// 406 when the client wants something else.
    pub fn must_be_objects(self) -> Result<(), ApiError> {
        match self.form {
            Form::Objects => Ok(()),
            Form::Table | Form::Metadata => Err(ApiError::not_acceptable(&OFFERED)),
        }
    }
    /// Whether a list can be sent so.
    ///
    /// # Errors
    /// 406 when the form is that of one object.
    pub fn check_list(&self) -> Result<(), ApiError> {
        if self.form == Form::Metadata && !self.listed {
            let message = "you requested PartialObjectMetadata, but the requested object is a list";
            return Err(ApiError::cannot_accept(message));
        }
        Ok(())
    }

    /// Whether one object can be sent so.
    ///
    /// # Errors
    /// 406 when the form is that of a list.
    pub fn check_one(&self) -> Result<(), ApiError> {
        if self.listed {
            let message =
                "you requested PartialObjectMetadataList, but the requested object is not a list";
            return Err(ApiError::cannot_accept(message));
        }
        Ok(())
    }

    /// A table, or metadata, in the version that is wanted.
    #[must_use]
    pub fn versioned(&self, mut value: Value) -> Value {
        if !self.beta {
            return value;
        }
        let beta = |value: &mut Value| {
            if value["apiVersion"] == "meta.k8s.io/v1" {
                value["apiVersion"] = "meta.k8s.io/v1beta1".into();
            }
        };
        beta(&mut value);
        for (list, within) in [("rows", "/object"), ("items", "")] {
            let items = value.get_mut(list).and_then(Value::as_array_mut);
            let items = items.into_iter().flatten();
            items
                .filter_map(|item| item.pointer_mut(within))
                .filter(|item| item.is_object())
                .for_each(beta);
        }
        value
    }
}

/// How failures are written: as the best of what the client takes for whole objects, and as JSON if it
/// takes none.
#[must_use]
pub fn of_statuses(headers: &HeaderMap) -> Encoding {
    let choices = Choice::all(headers);
    let mut wanted = choices.iter().filter_map(Choice::wanted);
    let found = wanted.find(|wanted| wanted.form == Form::Objects);
    found.unwrap_or_default().encoding
}

/// The best of the media types in `offered` that the client takes; the first if it does not say.
///
/// # Errors
/// 406 when it takes none of them.
pub fn best<'a>(headers: &HeaderMap, offered: &[&'a str]) -> Result<&'a str, ApiError> {
    let choices = Choice::all(headers);
    let found = match choices.is_empty() {
        true => offered.first(),
        false => choices.iter().find_map(|choice| choice.among(offered)),
    };
    found
        .copied()
        .ok_or_else(|| ApiError::not_acceptable(offered))
}

impl<'a> Choice<'a> {
    /// What the client takes, the best first.
    fn all(headers: &'a HeaderMap) -> Vec<Self> {
        let accept = headers.get_all(ACCEPT).iter();
        let mut choices: Vec<_> = accept
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|choice| !choice.is_empty())
            .map(Self::parse)
            .collect();
        // Among equals what is named counts before what is not, and then the first.
        choices.sort_by(|one, other| {
            let quality = other.quality.total_cmp(&one.quality);
            quality.then(one.is_wild().cmp(&other.is_wild()))
        });
        choices
    }

    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
        let quality = parameters.iter().find(|(name, _)| *name == "q");
        Self {
            media_type,
            quality: quality.map_or(1.0, |(_, value)| value.parse().unwrap_or(0.0)),
            parameters,
        }
    }

    /// Whether it is not one type.
    fn is_wild(&self) -> bool {
        self.media_type.ends_with("/*")
    }

    /// What it takes of `offered`, of which the first is preferred.
    fn among<'o, 't>(&self, offered: &'o [&'t str]) -> Option<&'o &'t str> {
        if self.quality <= 0.0 {
            return None;
        }
        offered.iter().find(|offered| match self.media_type {
            "*/*" | "application/*" => true,
            media_type => media_type.eq_ignore_ascii_case(offered),
        })
    }

    fn wanted(&self) -> Option<Wanted> {
        if self.quality <= 0.0 {
            return None;
        }
        let encoding = match self.media_type.to_ascii_lowercase().as_str() {
            "application/json" | "*/*" | "application/*" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            protobuf::MEDIA_TYPE => Encoding::Protobuf,
            _ => return None,
        };
        let parameter = |wanted: &str| {
            let found = self.parameters.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| *value)
        };
        let form = match parameter("as") {
            None => Form::Objects,
            Some(_) if parameter("g").is_some_and(|group| group != "meta.k8s.io") => return None,
            Some(_) if !matches!(parameter("v"), Some("v1" | "v1beta1")) => return None,
            Some("Table") => Form::Table,
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Form::Metadata,
            Some(_) => return None,
        };
        Some(Wanted {
            form,
            beta: form != Form::Objects && parameter("v") == Some("v1beta1"),
            listed: parameter("as") == Some("PartialObjectMetadataList"),
            encoding,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a kind that is not Kubernetes' own.
    fn wanted(accept: &str) -> Option<Wanted> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        Wanted::of(&headers, false, false).ok()
    }

    #[test]
    fn the_best_form_that_can_be_sent_is_chosen() {
        let json = |form| {
            Some(Wanted {
                form,
                ..Wanted::default()
            })
        };
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(wanted(kubectl), json(Form::Table));
        assert_eq!(wanted("*/*"), json(Form::Objects));
        let informer = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let protobuf = |form| Wanted {
            form,
            encoding: Encoding::Protobuf,
            ..Wanted::default()
        };
        assert_eq!(wanted(informer), Some(protobuf(Form::Metadata)));
        let client = "application/vnd.kubernetes.protobuf, application/json;q=0.9";
        assert_eq!(wanted(client), json(Form::Objects));
        assert_eq!(
            wanted("application/json;q=0.1, application/yaml").map(|wanted| wanted.encoding),
            Some(Encoding::Yaml)
        );
        let yaml = wanted("*/*, application/yaml");
        assert_eq!(yaml.map(|wanted| wanted.encoding), Some(Encoding::Yaml));
        assert_eq!(wanted("application/vnd.kubernetes.protobuf"), None);
        assert_eq!(wanted("application/json;as=Chair;v=v1"), None);
        assert_eq!(wanted("application/json;q=0"), None);
    }

    #[test]
    fn whole_objects_of_kubernetes_own_kinds_are_sent_as_protobuf() {
        for (accept, watch, encoding) in [
            (protobuf::MEDIA_TYPE, true, Some(Encoding::Protobuf)),
            (
                "application/vnd.kubernetes.protobuf;q=0.5, application/json",
                false,
                Some(Encoding::Json),
            ),
            (
                "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io",
                false,
                None,
            ),
            ("application/yaml", true, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            let wanted = Wanted::of(&headers, watch, true).ok();
            assert_eq!(wanted.map(|wanted| wanted.encoding), encoding, "{accept}");
        }
    }

    #[test]
    fn the_best_of_what_is_offered_is_chosen() {
        let offered = ["application/json", "application/x"];
        for (accept, expected) in [
            ("", Some("application/json")),
            ("*/*", Some("application/json")),
            ("application/X", Some("application/x")),
            (
                "application/json;q=0.5, application/x",
                Some("application/x"),
            ),
            ("text/html", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(best(&headers, &offered).ok(), expected, "{accept}");
        }
    }
}
