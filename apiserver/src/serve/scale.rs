//! The `scale` subresource: three fields of an object, in the form that autoscalers know.

use super::write::{Attempts, changed, stored, update_as};
use super::{ApiServer, Body, Call, Sent, answer};
use crate::body::{Document, media_type};
use crate::error::ApiError;
use crate::object::Object;
use crate::patch::Patch;
use crate::protobuf;
use crate::registry::Scale;
use crate::request::{Verb, WriteOptions, Writing};
use crate::schema::{FieldError, Schema};
use crate::upstream;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

const API_VERSION: &str = "autoscaling/v1";

/// Reads, replaces or patches the scale of an object.
pub(super) async fn answer(
    server: &ApiServer,
    call: &Call,
    sent: Option<&Sent>,
) -> Result<Response<Body>, ApiError> {
    let Some(paths) = &call.version.scale else {
        return Err(ApiError::no_such_path());
    };
    let Some(sent) = sent else {
        let object = stored(server, call).await?;
        return Ok(shown(call, &scale_of(&object, paths)));
    };
    let writing = match call.verb {
        Verb::Patch => Writing::Patch,
        _ => Writing::Update,
    };
    let options = WriteOptions::parse(&call.query, writing)?;
    let mut attempts = Attempts::of(call);
    loop {
        let attempt = async {
            let old = stored(server, call).await?;
            let wanted = match call.verb {
                Verb::Update => Document::parse(&sent.headers, &sent.body, Some(&message()))?.value,
                Verb::Patch => patched(scale_of(&old, paths), sent, &call.version.schema)?,
                verb => {
                    let about = call.about("");
                    return Err(ApiError::method_not_supported(verb.as_str(), about));
                }
            };
            let object = with_scale(call, &old, paths, &wanted)?;
            update_as(server, call, object, &old, &options, &sent.headers).await
        };
        let written = attempt.await;
        if attempts.end_with(&written) {
            return Ok(shown(call, &scale_of(&written?, paths)));
        }
    }
}

fn message() -> protobuf::Expected {
    protobuf::Expected {
        type_name: upstream::SCALE.into(),
        api_version: API_VERSION.into(),
        kind: "Scale".into(),
    }
}

fn shown(call: &Call, scale: &Value) -> Response<Body> {
    answer::value(StatusCode::OK, call.wanted.encoding, scale)
}

fn patched(mut scale: Value, sent: &Sent, schema: &Schema) -> Result<Value, ApiError> {
    let kind = media_type(&sent.headers);
    match kind.as_str() {
        "application/merge-patch+json" | "application/json-patch+json" => {
            let patch = Patch::parse(&kind, &sent.body, false)?;
            patch.apply(&mut scale, schema)?;
        }
        _ => {
            let understood = [
                "application/json-patch+json",
                "application/merge-patch+json",
            ];
            return Err(ApiError::unsupported_media_type(&understood));
        }
    }
    Ok(scale)
}

pub(super) fn scale_of(object: &Object, paths: &Scale) -> Value {
    let number = |path: &str| {
        at(object.as_value(), path)
            .and_then(Value::as_i64)
            .unwrap_or(0)
    };
    let mut meta = Map::new();
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = object.meta().get(field) {
            meta.insert(field.into(), value.clone());
        }
    }
    let mut status = json!({"replicas": number(&paths.status_replicas)});
    let selector = paths
        .selector
        .as_deref()
        .and_then(|path| at(object.as_value(), path));
    if let Some(selector) = selector.filter(|selector| selector.is_string()) {
        status["selector"] = selector.clone();
    }
    json!({
        "kind": "Scale", "apiVersion": API_VERSION, "metadata": meta,
        "spec": {"replicas": number(&paths.spec_replicas)}, "status": status,
    })
}

/// `old` with the wanted number, if the scale is one and is of that object.
fn with_scale(call: &Call, old: &Object, paths: &Scale, scale: &Value) -> Result<Object, ApiError> {
    let text = |at: &str| {
        scale
            .pointer(at)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if (text("/kind"), text("/apiVersion")) != ("Scale", API_VERSION) {
        let message = format!(
            "{} in version {:?} cannot be handled as a Scale: a Scale of {API_VERSION} is expected",
            text("/kind"),
            text("/apiVersion"),
        );
        return Err(ApiError::bad_request(message));
    }
    let version = text("/metadata/resourceVersion");
    if !version.is_empty() && version != old.meta_text("resourceVersion") {
        return Err(changed(call));
    }
    let invalid = |error| Err(super::write::invalid(call, old.name(), &[error]));
    let replicas = match scale.pointer("/spec/replicas") {
        None | Some(Value::Null) => 0,
        Some(number) => match number
            .as_i64()
            .and_then(|number| i32::try_from(number).ok())
        {
            Some(number) => number,
            None => {
                let rule = "must be a whole number of 32 bits";
                let path = &paths.spec_replicas;
                return invalid(FieldError::type_invalid(path, number.clone(), rule));
            }
        },
    };
    if replicas < 0 {
        let rule = "should be a non-negative integer";
        return invalid(FieldError::invalid(&paths.spec_replicas, replicas, rule));
    }
    let mut value = old.clone().into_value();
    let mut place = &mut value;
    for step in steps(&paths.spec_replicas) {
        if !place.is_object() {
            *place = Map::new().into();
        }
        place = &mut place[step];
    }
    *place = replicas.into();
    Object::new(value).map_err(ApiError::internal)
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    steps(path).try_fold(value, |value, step| value.get(step))
}

fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').filter(|step| !step.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_shows_what_its_paths_lead_to() {
        let paths = Scale {
            spec_replicas: ".spec.replicas".into(),
            status_replicas: ".status.replicas".into(),
            selector: Some(".status.selector".into()),
        };
        let object = json!({
            "metadata": {"name": "a", "uid": "u", "labels": {"x": "y"}},
            "spec": {"replicas": 3}, "status": {"selector": "app=a"},
        });
        let scale = scale_of(&Object::new(object).unwrap(), &paths);
        let expected = json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": {"name": "a", "uid": "u"},
            "spec": {"replicas": 3}, "status": {"replicas": 0, "selector": "app=a"},
        });
        assert_eq!(scale, expected);
    }
}
