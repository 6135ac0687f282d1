//! What a client wants of a collection: which objects, in which order, how many.

use apiserver::error::ApiError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer;
use super::field::{Field, Fields};

/// How many objects an answer has if the request does not say.
const DEFAULT_LIMIT: usize = 1000;
/// The most.
const MAX_LIMIT: usize = 10_000;
/// Most conditions of one request.
const MAX_CONDITIONS: usize = 100;
/// Most values of one condition.
const MAX_VALUES: usize = 1000;

/// What is asked of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Modifier {
    Equal,
    Unequal,
    Among,
    NotAmong,
    Null,
    NotNull,
    Prefix,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// The names of modifiers, as they follow the name of a field.
const MODIFIERS: [(&str, Modifier); 11] = [
    ("eq", Modifier::Equal),
    ("ne", Modifier::Unequal),
    ("in", Modifier::Among),
    ("notin", Modifier::NotAmong),
    ("null", Modifier::Null),
    ("notnull", Modifier::NotNull),
    ("prefix", Modifier::Prefix),
    ("lt", Modifier::Less),
    ("lte", Modifier::AtMost),
    ("gt", Modifier::Greater),
    ("gte", Modifier::AtLeast),
];

/// A condition of a field.
#[derive(Clone, Debug)]
struct Condition {
    field: String,
    modifier: Modifier,
    values: Vec<String>,
}

/// What a client wants of a collection.
#[derive(Clone, Debug)]
pub(super) struct Query {
    conditions: Vec<Condition>,
    /// The field that the order follows; empty: the id.
    pub(super) sort: String,
    pub(super) descending: bool,
    pub(super) limit: usize,
    /// The last object of the page before.
    pub(super) after: Option<Rank>,
    /// As it was sent.
    marker: String,
}

/// Where an object is in the order: by a field, then by its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Rank(pub(super) Key, pub(super) String);

/// What objects are ordered by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Key {
    Absent,
    Number(i64),
    Text(String),
}

impl Key {
    fn of(value: Option<&Value>) -> Self {
        match value {
            Some(Value::String(text)) => Self::Text(text.clone()),
            Some(Value::Bool(bool)) => Self::Number(i64::from(*bool)),
            Some(Value::Number(number)) => Self::Number(number.as_i64().unwrap_or(i64::MAX)),
            _ => Self::Absent,
        }
    }
}

/// The modifiers that a field takes.
pub(super) fn modifiers(field: &Field) -> impl Iterator<Item = &'static str> {
    let number = field.is_number();
    let text = !number && field.kind != "boolean";
    let taken = MODIFIERS
        .into_iter()
        .filter(move |(_, modifier)| match modifier {
            Modifier::Less | Modifier::AtMost | Modifier::Greater | Modifier::AtLeast => number,
            Modifier::Prefix => text,
            Modifier::Among | Modifier::NotAmong => number || text,
            _ => true,
        });
    taken.map(|(name, _)| name)
}

impl Query {
    /// Parses. Parameters that are no conditions of fields are ignored, as clients of Rancher expect.
    ///
    /// # Errors
    /// 422 for a limit or a marker that is none, for an unknown order, and for too many conditions.
    pub(super) fn parse(query: Option<&str>, fields: &Fields) -> Result<Self, ApiError> {
        let mut parsed = Self {
            conditions: Vec::new(),
            sort: String::new(),
            descending: false,
            limit: DEFAULT_LIMIT,
            after: None,
            marker: String::new(),
        };
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        for (name, value) in pairs {
            match &*name {
                "limit" => parsed.limit = limit(&value)?,
                "marker" => {
                    parsed.after = Some(marker(&value)?);
                    parsed.marker = value.into_owned();
                }
                "order" => parsed.descending = descending(&value)?,
                "sort" => parsed.sort = sortable(&value, fields)?,
                _ => parsed.condition(&name, &value, fields)?,
            }
        }
        Ok(parsed)
    }

    fn condition(&mut self, name: &str, value: &str, fields: &Fields) -> Result<(), ApiError> {
        let Some((field, modifier)) = condition_of(name, fields) else {
            return Ok(());
        };
        let listed = matches!(modifier, Modifier::Among | Modifier::NotAmong);
        let values: Vec<String> = match listed {
            true => value.split(',').map(str::to_owned).collect(),
            false => vec![value.to_owned()],
        };
        let same = |one: &&mut Condition| one.field == field && one.modifier == modifier;
        match self.conditions.iter_mut().find(same) {
            Some(one) if listed => one.values.extend(values),
            _ => self.conditions.push(Condition {
                field,
                modifier,
                values,
            }),
        }
        let many = self
            .conditions
            .iter()
            .any(|one| one.values.len() > MAX_VALUES);
        if many || self.conditions.len() > MAX_CONDITIONS {
            let message =
                format!("at most {MAX_CONDITIONS} conditions, of at most {MAX_VALUES} values each");
            return Err(answer::refused("MaxLimitExceeded", name, &message));
        }
        Ok(())
    }

    /// The value that a field must have, if there is one.
    pub(super) fn wanted(&self, field: &str) -> Option<&str> {
        let mut conditions = self.conditions.iter();
        let found = conditions.find(|one| one.field == field && one.modifier == Modifier::Equal);
        found.and_then(|one| one.values.first()).map(String::as_str)
    }

    /// Whether an object meets all conditions.
    pub(super) fn matches(&self, shown: &Map<String, Value>) -> bool {
        self.conditions
            .iter()
            .all(|one| one.holds(shown.get(&one.field)))
    }

    pub(super) fn rank(&self, shown: &Map<String, Value>) -> Rank {
        let key = match self.sort.as_str() {
            "" => Key::Absent,
            sort => Key::of(shown.get(sort)),
        };
        let id = shown.get("id").and_then(Value::as_str);
        Rank(key, id.unwrap_or_default().to_owned())
    }

    /// Whether an object comes after the page before.
    pub(super) fn is_ahead(&self, rank: &Rank) -> bool {
        match (&self.after, self.descending) {
            (None, _) => true,
            (Some(after), false) => rank > after,
            (Some(after), true) => rank < after,
        }
    }

    /// The conditions by field, as an answer repeats them.
    pub(super) fn filters(&self, fields: &Fields) -> Value {
        let names = fields.iter().filter(|(_, field)| field.is_scalar());
        let mut filters: Map<String, Value> =
            names.map(|(name, _)| (name.clone(), Value::Null)).collect();
        for one in &self.conditions {
            let modifier = MODIFIERS
                .iter()
                .find(|(_, modifier)| *modifier == one.modifier);
            let modifier = modifier.map_or("", |(name, _)| *name);
            let value = match one.values.as_slice() {
                [one] => json!(one),
                several => json!(several),
            };
            let shown = json!({"modifier": modifier, "value": value});
            match filters.get_mut(&one.field) {
                Some(Value::Array(conditions)) => conditions.push(shown),
                _ => drop(filters.insert(one.field.clone(), json!([shown]))),
            }
        }
        filters.into()
    }

    pub(super) fn marker(&self) -> &str {
        &self.marker
    }
}

impl Rank {
    /// The marker of a page that begins behind the object.
    pub(super) fn marker(&self) -> String {
        URL_SAFE_NO_PAD.encode(json!([self.0, self.1]).to_string())
    }
}

impl Condition {
    fn holds(&self, value: Option<&Value>) -> bool {
        let number = |text: &str| text.parse::<f64>().ok();
        let text = match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        let is = |wanted: &String| text.as_deref().unwrap_or_default() == wanted;
        let compared = |holds: fn(f64, f64) -> bool| {
            let found = text.as_deref().and_then(number);
            let wanted = self.values.first().and_then(|wanted| number(wanted));
            matches!((found, wanted), (Some(found), Some(wanted)) if holds(found, wanted))
        };
        match self.modifier {
            Modifier::Equal | Modifier::Among => self.values.iter().any(is),
            Modifier::Unequal | Modifier::NotAmong => !self.values.iter().any(is),
            Modifier::Null => text.is_none_or(|text| text.is_empty()),
            Modifier::NotNull => text.is_some_and(|text| !text.is_empty()),
            Modifier::Prefix => {
                let text = text.unwrap_or_default();
                self.values.iter().any(|wanted| text.starts_with(wanted))
            }
            Modifier::Less => compared(|found, wanted| found < wanted),
            Modifier::AtMost => compared(|found, wanted| found <= wanted),
            Modifier::Greater => compared(|found, wanted| found > wanted),
            Modifier::AtLeast => compared(|found, wanted| found >= wanted),
        }
    }
}

/// The field and the modifier that a parameter names.
fn condition_of(name: &str, fields: &Fields) -> Option<(String, Modifier)> {
    let scalar = |name: &str| fields.get(name).filter(|field| field.is_scalar());
    if scalar(name).is_some() {
        return Some((name.to_owned(), Modifier::Equal));
    }
    let (field, modifier) = name.rsplit_once('_')?;
    let taken = modifiers(scalar(field)?).any(|taken| taken == modifier);
    let found = MODIFIERS.iter().find(|(name, _)| *name == modifier);
    found
        .filter(|_| taken)
        .map(|(_, modifier)| (field.to_owned(), *modifier))
}

fn limit(value: &str) -> Result<usize, ApiError> {
    match value.parse::<i64>() {
        Ok(-1) => Ok(MAX_LIMIT),
        Ok(limit @ 1..) => Ok(usize::try_from(limit).unwrap_or(MAX_LIMIT).min(MAX_LIMIT)),
        _ => {
            let message =
                format!("limit must be a number from 1 to {MAX_LIMIT}, or -1 for the most");
            Err(answer::refused("InvalidFormat", "limit", &message))
        }
    }
}

fn marker(value: &str) -> Result<Rank, ApiError> {
    let decoded = URL_SAFE_NO_PAD.decode(value).ok();
    let read = decoded.and_then(|text| serde_json::from_slice(&text).ok());
    read.ok_or_else(|| {
        let message = "marker must be that of a link to another page";
        answer::refused("InvalidFormat", "marker", message)
    })
}

fn descending(value: &str) -> Result<bool, ApiError> {
    match value {
        "asc" | "" => Ok(false),
        "desc" => Ok(true),
        _ => Err(answer::refused(
            "InvalidOption",
            "order",
            "order must be asc or desc",
        )),
    }
}

fn sortable(value: &str, fields: &Fields) -> Result<String, ApiError> {
    if value.is_empty() || fields.get(value).is_some_and(Field::is_scalar) {
        return Ok(value.to_owned());
    }
    let message = "sort must name a field of one text, number or truth value";
    Err(answer::refused("InvalidOption", "sort", message))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields() -> Fields {
        let field = |kind: &str| Field::shown_only(kind, &[], "");
        let fields = [
            ("name", field("string")),
            ("my_field", field("string")),
            ("ttl", field("int")),
            ("enabled", field("boolean")),
            ("labels", field("map[string]")),
        ];
        fields.map(|(name, field)| (name.to_owned(), field)).into()
    }

    fn matches(query: &str, object: &Value) -> bool {
        let query = Query::parse(Some(query), &fields()).unwrap();
        query.matches(object.as_object().unwrap())
    }

    #[test]
    fn conditions_choose_objects() {
        let object = || json!({"name": "prod", "ttl": 5, "enabled": true, "my_field": "x"});
        for query in [
            "",
            "name=prod",
            "name_ne=dev",
            "name_in=dev,prod",
            "name_in=dev&name_in=prod",
            "name_notin=a,b",
            "name_prefix=pr",
            "name_notnull=",
            "ttl_gt=4",
            "ttl_lte=5",
            "ttl=5",
            "enabled=true",
            "my_field=x",
            "my_field_ne=y",
            "unknown=1",
            "labels=1",
            "name_bogus=1",
        ] {
            assert!(matches(query, &object()), "{query}");
        }
        for query in [
            "name=dev",
            "name_ne=prod",
            "name_in=a,b",
            "name_notin=prod",
            "name_prefix=x",
            "name_null=",
            "ttl_lt=5",
            "ttl_gte=6",
            "ttl_gt=x",
            "enabled=false",
            "name=prod&name=dev",
        ] {
            assert!(!matches(query, &object()), "{query}");
        }
        assert!(matches("name_null", &json!({"name": null})));
        assert!(matches("name_null", &json!({})));
    }

    #[test]
    fn pages_go_on_behind_the_last_object() {
        let shown = json!({"id": "c-2", "name": "b"});
        let query = Query::parse(Some("sort=name"), &fields()).unwrap();
        let rank = query.rank(shown.as_object().unwrap());
        let next = format!("sort=name&marker={}", rank.marker());
        let next = Query::parse(Some(&next), &fields()).unwrap();
        assert!(!next.is_ahead(&rank));
        assert!(next.is_ahead(&Rank(Key::Text("b".into()), "c-3".into())));
        assert!(!next.is_ahead(&Rank(Key::Text("a".into()), "c-9".into())));
        let back = format!(
            "order=desc&{}",
            "sort=name&marker=".to_owned() + &rank.marker()
        );
        let back = Query::parse(Some(&back), &fields()).unwrap();
        assert!(back.is_ahead(&Rank(Key::Text("a".into()), "c-9".into())));
    }

    #[test]
    fn limits_are_bounded_and_nonsense_is_refused() {
        let limit = |query| Query::parse(Some(query), &fields()).map(|query| query.limit);
        assert_eq!(limit(""), Ok(1000));
        assert_eq!(limit("limit=-1"), Ok(10_000));
        assert_eq!(limit("limit=99999999999"), Ok(10_000));
        for bad in [
            "limit=0",
            "limit=-2",
            "limit=x",
            "marker=%21",
            "order=up",
            "sort=labels",
        ] {
            let error = Query::parse(Some(bad), &fields()).unwrap_err();
            assert_eq!(error.code().as_u16(), 422, "{bad}");
        }
        let many = "name=a&".repeat(MAX_CONDITIONS + 1);
        assert!(Query::parse(Some(&many), &fields()).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(query: String) {
            let _ = Query::parse(Some(&query), &fields());
        }
    }
}
