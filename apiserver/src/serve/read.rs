//! Get and list.

use super::{ApiServer, Body, Call, answer};
use crate::builtin;
use crate::cache::{Filter, Item, Snapshot};
use crate::error::ApiError;
use crate::keys;
use crate::media::{Encoding, Form};
use crate::object::{self, Object};
use crate::protobuf::Expected;
use crate::request::{Continue, ListOptions, RevisionMatch};
use crate::schema::FieldError;
use crate::table::{Carried, metadata_of};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use store::{Range, Revision};

/// How long a request waits for a revision that has not been seen yet.
const PATIENCE: Duration = Duration::from_secs(3);

/// Entries that are read at once to find those that a selector means.
const PAGE: usize = 500;

pub(super) async fn get(server: &ApiServer, call: &Call) -> Result<Response<Body>, ApiError> {
    let options = ListOptions::parse(&call.query)?;
    catch_up(server, options.revision).await?;
    let name = call.name.as_deref().unwrap_or_default();
    let namespace = call.namespace.as_deref().unwrap_or_default();
    let below = keys::below(namespace, name);
    let Some(item) = found(server, call, &below).await? else {
        let name = call.name.as_deref().unwrap_or_default();
        return Err(ApiError::not_found(call.about(name)));
    };
    if call.is_as_stored() && call.wanted == Default::default() {
        let [head, rest] = object::sent(&item.entry.value, item.entry.modified.0);
        let pieces = [head, rest].concat();
        return Ok(answer::json(StatusCode::OK, Body::whole(pieces)));
    }
    let object = call.object(&item)?;
    call.wanted.check_one()?;
    one(server, call, StatusCode::OK, object)
}

/// An object by its key: from memory, or from the store while the resource is not in memory yet.
async fn found(server: &ApiServer, call: &Call, below: &str) -> Result<Option<Item>, ApiError> {
    let kind = server.cache().loaded(&call.kept);
    let item = kind.as_ref().and_then(|kind| kind.get(below));
    // A secret that does not open is not in memory, but not gone either.
    if item.is_some() || (kind.is_some() && !call.resource.secret) {
        return Ok(item);
    }
    let key = call.prefix() + below;
    let entry = server.cache().store().get(key.as_bytes()).await?;
    Ok(entry.map(|entry| Item::unread(Arc::new(entry), below)))
}

/// An answer with one object in the form that the client wants.
pub(super) fn one(
    server: &ApiServer,
    call: &Call,
    code: StatusCode,
    object: Object,
) -> Result<Response<Body>, ApiError> {
    let value = match call.wanted.form {
        Form::Objects => object.into_value(),
        Form::Metadata => metadata_of(&object),
        Form::Table => {
            let meta = json!({"resourceVersion": object.meta_text("resourceVersion")});
            let row = call
                .version
                .printer
                .row(&object, call.carried()?, server.now());
            call.version.printer.table(&meta, &[row])
        }
    };
    let value = call.wanted.versioned(value);
    Ok(answer::value(code, call.wanted.encoding, &value))
}

pub(super) async fn list(server: &ApiServer, call: &Call) -> Result<Response<Body>, ApiError> {
    let options = ListOptions::parse(&call.query)?;
    let filter = call.filter(&options)?;
    call.wanted.check_list()?;
    let snapshot = match (&options.continues, options.revision) {
        (Some(token), _) => {
            at_revision(
                server,
                call,
                &filter,
                &options,
                Some(token),
                token.revision(),
            )
            .await?
        }
        (None, RevisionMatch::Exact(revision)) => {
            at_revision(server, call, &filter, &options, None, Some(revision)).await?
        }
        (None, revision) => {
            catch_up(server, revision).await?;
            let kind = call.kind(server.cache()).await?;
            kind.list(&filter, options.limit, server.cache().revision())
        }
    };
    let meta = list_meta(call, &snapshot);
    if call.is_as_stored() && call.wanted == Default::default() {
        return Ok(answer::json(
            StatusCode::OK,
            stored_list(call, &meta, snapshot),
        ));
    }
    let objects = snapshot.items.iter().map(|item| call.object(item));
    let objects: Vec<Object> = objects.collect::<Result<_, _>>()?;
    let value = match call.wanted.form {
        Form::Table => {
            let (now, carried) = (server.now(), call.carried()?);
            let rows = objects
                .iter()
                .map(|object| call.version.printer.row(object, carried, now));
            let rows: Vec<_> = rows.collect();
            call.version.printer.table(&meta, &rows)
        }
        form => {
            let items: Vec<Value> = objects
                .into_iter()
                .map(|object| match form {
                    Form::Metadata => metadata_of(&object),
                    _ => object.into_value(),
                })
                .collect();
            let (kind, api_version) = match form {
                Form::Metadata => ("PartialObjectMetadataList".into(), "meta.k8s.io/v1".into()),
                _ => (call.resource.list_kind.clone(), call.api_version()),
            };
            json!({"kind": kind, "apiVersion": api_version, "metadata": meta, "items": items})
        }
    };
    let value = call.wanted.versioned(value);
    Ok(answer::value(StatusCode::OK, call.wanted.encoding, &value))
}

/// Waits until what the client asks for has been seen.
pub(super) async fn catch_up(server: &ApiServer, asked: RevisionMatch) -> Result<(), ApiError> {
    let cache = server.cache();
    let needed = match asked {
        RevisionMatch::Any => return Ok(()),
        RevisionMatch::Latest => cache.store().revision().await?.0,
        RevisionMatch::NotOlderThan(revision) | RevisionMatch::Exact(revision) => revision,
    };
    if cache.wait_for(needed, PATIENCE).await {
        return Ok(());
    }
    Err(ApiError::future_revision(needed, cache.revision()))
}

/// Reads a list as it was, or goes on with one.
async fn at_revision(
    server: &ApiServer,
    call: &Call,
    filter: &Filter,
    options: &ListOptions,
    token: Option<&Continue>,
    revision: Option<u64>,
) -> Result<Snapshot, ApiError> {
    let namespace = filter.namespace.as_deref().map(|name| format!("{name}/"));
    let (kind, fields) = (call.prefix(), call.kept.selectable());
    let prefix = kind.clone() + namespace.as_deref().unwrap_or_default();
    let limit = options.limit.unwrap_or(usize::MAX);
    let page = if filter.is_whole() { limit } else { PAGE };
    let after = token.map(|token| token.after(&prefix)).transpose()?;
    let mut range = Range {
        prefix: prefix.into(),
        after: after.clone().map(Into::into),
        limit: Some(page),
        revision: revision.map(Revision),
    };
    let mut snapshot = Snapshot::default();
    loop {
        let read = server.cache().store().range(range.clone()).await;
        let read = read.map_err(|error| gone(error, after.as_deref()))?;
        snapshot.revision = read.revision.0;
        let entries = read.entries.len();
        for (at, entry) in read.entries.into_iter().enumerate() {
            range.after = Some(entry.key.clone());
            if store::is_sealed(&entry.value) {
                continue;
            }
            let below = std::str::from_utf8(&entry.key).unwrap_or_default();
            let below = below.strip_prefix(&kind).unwrap_or_default();
            let item = if filter.is_whole() {
                Item::unread(entry.clone(), below)
            } else {
                Item::new(entry.clone(), below, &fields)
            };
            if filter.is_whole() || filter.means(&item, &fields) {
                snapshot.items.push(item);
            }
            if snapshot.items.len() == limit {
                let left = read.remaining + entries - at - 1;
                snapshot.more = left > 0;
                snapshot.remaining = filter.is_whole().then_some(left);
                return Ok(snapshot);
            }
        }
        if read.remaining == 0 {
            return Ok(snapshot);
        }
        range.revision = Some(read.revision);
    }
}

/// The revision of a list is no longer kept, or has not happened. A list that went on `after` a key can
/// do so with what is there now.
fn gone(error: store::Error, after: Option<&str>) -> ApiError {
    match (error, after) {
        (store::Error::Compacted { .. }, None) => {
            ApiError::expired("The resourceVersion for the provided list is too old.")
        }
        (store::Error::Compacted { .. }, Some(after)) => {
            let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
            ApiError::expired(message).with_continue(Continue::new(None, after).encode())
        }
        (store::Error::FutureRevision { .. }, Some(_)) => {
            Continue::invalid("it is of a revision that has not been")
        }
        (store::Error::FutureRevision { requested, current }, None) => {
            ApiError::future_revision(requested.0, current.0)
        }
        (other, _) => other.into(),
    }
}

/// The metadata of a list.
pub(super) fn list_meta(call: &Call, snapshot: &Snapshot) -> Value {
    let mut meta = Map::new();
    meta.insert(
        "resourceVersion".into(),
        snapshot.revision.to_string().into(),
    );
    if let (true, Some(last)) = (snapshot.more, snapshot.items.last()) {
        let key = std::str::from_utf8(&last.entry.key).unwrap_or_default();
        let token = Continue::new(Some(snapshot.revision), key).encode();
        meta.insert("continue".into(), token.into());
        if let Some(remaining) = snapshot.remaining {
            meta.insert("remainingItemCount".into(), remaining.into());
        }
    } else if !call.resource.built_in && call.wanted.form == Form::Objects {
        // As upstream answers for kinds that are not its own.
        meta.insert("continue".into(), "".into());
    }
    meta.into()
}

/// A list of objects as they are stored.
fn stored_list(call: &Call, meta: &Value, snapshot: Snapshot) -> Body {
    let head = format!(
        "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{meta},\"items\":[",
        Value::from(call.resource.list_kind.as_str()),
        Value::from(call.api_version()),
    );
    let items = snapshot.items.into_iter().enumerate();
    let items = items.flat_map(|(at, item)| {
        let comma = if at > 0 { "," } else { "" };
        let [head, rest] = object::sent(&item.entry.value, item.entry.modified.0);
        [Bytes::from_static(comma.as_bytes()), head, rest]
    });
    let pieces = [Bytes::from(head)].into_iter().chain(items);
    Body::pieces(pieces.chain([Bytes::from_static(b"]}")]))
}

impl Call {
    /// `apiVersion` of the version that is asked for.
    pub(super) fn api_version(&self) -> String {
        self.resource.api_version(&self.version.name)
    }

    /// What the kind's objects are in protobuf, if they are anything there.
    pub(super) fn message(&self) -> Option<Expected> {
        let kind = &self.resource.kind;
        self.resource.built_in.then(|| Expected {
            type_name: self.resource.type_name(&self.version.name, kind),
            api_version: self.api_version(),
            kind: kind.clone(),
        })
    }

    /// An object in the version that is asked for.
    pub(super) fn object(&self, item: &Item) -> Result<Object, ApiError> {
        let decoded = Object::decode(&item.entry.value, item.entry.modified.0);
        let fit = decoded.and_then(|mut object| {
            builtin::from_kept(&self.resource, &mut object);
            self.version.fit(&self.api_version(), object)
        });
        fit.map_err(|error| {
            let key = String::from_utf8_lossy(&item.entry.key).into_owned();
            ApiError::internal(format!("{key}: {error}"))
        })
    }

    /// What the rows of a table carry.
    pub(super) fn carried(&self) -> Result<Carried, ApiError> {
        let parameter = url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(name, _)| name == "includeObject");
        let Some((_, value)) = parameter else {
            return Ok(Carried::default());
        };
        Carried::parse(&value).ok_or_else(|| {
            let rule = "must be 'Metadata', 'Object', 'None', or empty";
            let error = FieldError::invalid("includeObject", &*value, rule);
            ApiError::bad_request(format!("Unable to convert to Table as requested: {error}"))
        })
    }

    /// Why a field cannot be selected by.
    fn not_selectable(&self, field: &str) -> String {
        match self.resource.built_in && self.version.selectable.is_empty() {
            true => format!(
                "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            ),
            false => format!("field label not supported: {field}"),
        }
    }

    /// Which objects are meant.
    pub(super) fn filter(&self, options: &ListOptions) -> Result<Filter, ApiError> {
        let mut fields = options.fields.clone();
        for field in fields.fields() {
            let known = matches!(field, "metadata.name" | "metadata.namespace")
                || self.version.selectable.iter().any(|known| known == field);
            if !known {
                return Err(ApiError::bad_request(self.not_selectable(field)));
            }
        }
        // A watch or list of one object by its name in the path.
        if let Some(name) = &self.name {
            fields = format!("metadata.name={name}")
                .parse()
                .map_err(|error| ApiError::bad_request(format!("{error}")))?;
        }
        Ok(Filter {
            namespace: self.namespace.clone(),
            labels: options.labels.clone(),
            fields: builtin::selector(&self.resource, fields),
            visible: self.visible.clone(),
        })
    }

    /// Whether lines of a watch are sent as they are stored.
    pub(super) fn sends_stored(&self) -> bool {
        self.is_as_stored()
            && self.wanted.form == Form::Objects
            && self.wanted.encoding == Encoding::Json
    }
}
