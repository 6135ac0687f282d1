//! A structural schema from the OpenAPI of a CustomResourceDefinition.

use serde_json::Value;

use super::{FieldError, Kind, MAX_DEPTH, Schema};

mod clause;
mod complete;
mod default;
mod keywords;
mod kind;
mod list;
mod rule;
mod structure;

use keywords::Keywords;

impl Schema {
    /// Reads `openAPIV3Schema` of a version of a CustomResourceDefinition.
    ///
    /// # Errors
    ///
    /// Everything for which kube-apiserver refuses the definition, with paths below the schema, for
    /// example `properties[spec].type`.
    pub fn parse(json: &Value) -> Result<Self, Vec<FieldError>> {
        let mut parser = Parser::default();
        if json.get("nullable") == Some(&Value::Bool(true)) {
            parser.errors.push(FieldError::forbidden(
                "nullable",
                "nullable cannot be true at the root",
            ));
        }
        let schema = parser.schema(json, "", &Place::root());
        complete::check(&schema, "", &mut parser.errors);
        if parser.errors.is_empty() {
            default::check(&schema, &mut parser.errors);
        }
        if parser.errors.is_empty() {
            Ok(schema)
        } else {
            Err(parser.errors)
        }
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Parser {
    errors: Vec<FieldError>,
}

/// What is around a schema.
#[derive(Clone)]
struct Place {
    level: Level,
    depth: usize,
    /// Below `metadata` (or beside it) of an object of the API.
    inside_meta: bool,
    /// Why there may be no default.
    no_default: Option<String>,
    /// The list or map whose items are not known again, so that rules cannot compare them.
    uncorrelated: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

impl Place {
    fn root() -> Self {
        Self {
            level: Level::Root,
            depth: 0,
            inside_meta: false,
            no_default: None,
            uncorrelated: None,
        }
    }

    fn below(&self, level: Level) -> Self {
        Self {
            level,
            depth: self.depth + 1,
            ..self.clone()
        }
    }
}

impl Parser {
    fn schema(&mut self, json: &Value, path: &str, place: &Place) -> Schema {
        let Some(words) = self.keywords(json, path, place.depth) else {
            return Schema::default();
        };
        self.check_unsupported(&words, place);
        let type_name = words.text("type", self);
        let int_or_string = words.flag("x-kubernetes-int-or-string", self);
        let preserve_unknown_fields = self.preserve_unknown_fields(&words);
        let embedded_resource = words.flag("x-kubernetes-embedded-resource", self);
        let kind = self.kind(&words, &type_name, int_or_string, embedded_resource, place);
        let schema = Schema {
            untyped: type_name.is_empty() && !matches!(kind, Kind::Any | Kind::IntOrString),
            kind,
            nullable: words.flag("nullable", self),
            description: words.text("description", self),
            title: words.text("title", self),
            default: words.get("default").cloned(),
            preserve_unknown_fields,
            embedded_resource,
            checks: self.checks(&words, place, clause::Context::Schema),
            rules: Vec::new(),
            patch: Default::default(),
        };
        self.check_type(&words, &type_name, int_or_string, &schema, place);
        self.check_metadata(&words, &schema, place);
        self.check_default(&words, &schema, place);
        Schema {
            rules: self.rules(&words, &schema, place),
            ..schema
        }
    }

    fn keywords<'a>(&mut self, json: &'a Value, path: &str, depth: usize) -> Option<Keywords<'a>> {
        if depth > MAX_DEPTH {
            let detail = format!("must not nest deeper than {MAX_DEPTH} levels");
            self.errors.push(FieldError::forbidden(path, detail));
            return None;
        }
        match json {
            Value::Object(words) => Some(Keywords::new(words, path)),
            other => {
                self.errors.push(FieldError::invalid(
                    path,
                    other.clone(),
                    "must be an object",
                ));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
