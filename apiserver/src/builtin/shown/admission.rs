//! Policies of admission and of fairness.

use super::{AGE_COLUMN, NAME, Shape, Shown, age, at, name, text};
use serde_json::Value;

pub(in crate::builtin) const POLICY: Shown = Shown {
    columns: &[
        NAME,
        Shape(
            "Validations",
            "integer",
            "Validations indicates the number of validation rules defined in this configuration",
            0,
        ),
        Shape(
            "ParamKind",
            "string",
            "ParamKind specifies the kind of resources used to parameterize this policy",
            0,
        ),
        AGE_COLUMN,
    ],
    cells: |object, now| {
        let kind = match object.as_value().pointer("/spec/paramKind") {
            None => "<unset>".to_owned(),
            Some(_) => {
                let part = |name: &str| at(object, &format!("/spec/paramKind/{name}")).to_owned();
                format!("{}/{}", part("apiVersion"), part("kind"))
            }
        };
        let validations = object.as_value().pointer("/spec/validations");
        let validations = validations.and_then(Value::as_array).map_or(0, Vec::len);
        vec![
            name(object),
            validations.into(),
            kind.into(),
            age(object, now),
        ]
    },
};

pub(in crate::builtin) const POLICY_BINDING: Shown = Shown {
    columns: &[
        NAME,
        Shape(
            "PolicyName",
            "string",
            "PolicyName indicates the policy definition which the policy binding binded to",
            0,
        ),
        Shape(
            "ParamRef",
            "string",
            "ParamRef indicates the param resource which sets the configuration param",
            0,
        ),
        AGE_COLUMN,
    ],
    cells: |object, now| {
        let (place, param) = (
            at(object, "/spec/paramRef/namespace"),
            at(object, "/spec/paramRef/name"),
        );
        let selector = object.as_value().pointer("/spec/paramRef/selector");
        let param = match (place, param, selector) {
            ("", "", Some(selector)) => selector.to_string(),
            (_, "", _) => "<unset>".to_owned(),
            ("", param, _) => format!("*/{param}"),
            (place, param, _) => format!("{place}/{param}"),
        };
        let policy = text(object, "/spec/policyName");
        vec![name(object), policy, param.into(), age(object, now)]
    },
};

pub(in crate::builtin) const FLOW_SCHEMA: Shown = Shown {
    columns: &[
        NAME,
        Shape("PriorityLevel", "string", "priorityLevelConfiguration", 0),
        Shape("MatchingPrecedence", "string", "matchingPrecedence", 0),
        Shape("DistinguisherMethod", "string", "distinguisherMethod", 0),
        AGE_COLUMN,
        Shape(
            "MissingPL",
            "string",
            "references a broken or non-existent PriorityLevelConfiguration",
            0,
        ),
    ],
    cells: |object, now| {
        let conditions = object.as_value().pointer("/status/conditions");
        let mut conditions = conditions.and_then(Value::as_array).into_iter().flatten();
        let dangling = conditions.find(|condition| condition["type"] == "Dangling");
        let method = object.as_value().pointer("/spec/distinguisherMethod/type");
        vec![
            name(object),
            text(object, "/spec/priorityLevelConfiguration/name"),
            object
                .as_value()
                .pointer("/spec/matchingPrecedence")
                .cloned()
                .unwrap_or(0.into()),
            method.cloned().unwrap_or("<none>".into()),
            age(object, now),
            dangling.map_or("?".into(), |condition| condition["status"].clone()),
        ]
    },
};

pub(in crate::builtin) const PRIORITY_LEVEL: Shown = Shown {
    columns: &[
        NAME,
        Shape("Type", "string", "type", 0),
        Shape(
            "NominalConcurrencyShares",
            "string",
            "nominalConcurrencyShares",
            0,
        ),
        Shape("Queues", "string", "queues", 0),
        Shape("HandSize", "string", "handSize", 0),
        Shape("QueueLengthLimit", "string", "queueLengthLimit", 0),
        AGE_COLUMN,
    ],
    cells: |object, now| {
        let limited = |path: &str| {
            let found = object.as_value().pointer(&format!("/spec/limited/{path}"));
            found.cloned().unwrap_or("<none>".into())
        };
        vec![
            name(object),
            text(object, "/spec/type"),
            limited("nominalConcurrencyShares"),
            limited("limitResponse/queuing/queues"),
            limited("limitResponse/queuing/handSize"),
            limited("limitResponse/queuing/queueLengthLimit"),
            age(object, now),
        ]
    },
};
