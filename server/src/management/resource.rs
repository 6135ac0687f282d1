//! One kind, or one object of it: get, create, update, patch, delete.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::kinds::Managed;
use super::query::Query;
use super::table::Form;
use super::{list, watch};
use crate::authn::Identity;
use crate::authz::{Attributes, Denied};
use crate::edge::{ApiError, Body, collect};
use crate::objects::{ObjectError, revision_of};
use crate::state::App;

/// How often a patch is tried again when somebody else was faster.
const PATCH_ATTEMPTS: usize = 5;

/// What a request is about.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) app: Arc<App>,
    pub(super) who: Identity,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
}

impl Resource {
    pub(super) async fn answer<K: Managed>(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        if self.namespace.is_some() != K::NAMESPACED
            && (self.namespace.is_some() || self.name.is_some())
        {
            return Err(super::no_such_resource());
        }
        let query = Query::parse(request.uri().query())?;
        let form = Form::wanted(request.headers());
        let name = self.name.clone();
        match (request.method(), name.as_deref()) {
            (&Method::GET | &Method::HEAD, None) if query.watch => {
                watch::watch::<K>(Arc::new(self), query, form).await
            }
            (&Method::GET | &Method::HEAD, None) => list::list::<K>(&self, &query, form).await,
            (&Method::GET | &Method::HEAD, Some(name)) => self.get::<K>(name, form).await,
            (&Method::POST, None) => self.create::<K>(request).await,
            (&Method::PUT, Some(name)) => self.put::<K>(name, request).await,
            (&Method::PATCH, Some(name)) => self.patch::<K>(name, request).await,
            (&Method::DELETE, Some(name)) => self.delete::<K>(name, request).await,
            (method, _) => {
                let message = format!("{} cannot be answered for {}", method, K::PLURAL);
                Err(ApiError::method_not_allowed(message))
            }
        }
    }

    async fn get<K: Managed>(&self, name: &str, form: Form) -> Result<Response<Body>, ApiError> {
        let object = self.read::<K>("get", name).await?;
        Ok(crate::edge::json(
            StatusCode::OK,
            &form.one(&object.shown()),
        ))
    }

    async fn create<K: Managed>(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let value = body(&self.app, request).await?;
        let mut object: K = parse(value)?;
        self.place(&mut object)?;
        object.meta_mut().resource_version = None;
        if object.meta().name.is_none() && object.meta().generate_name.is_some() {
            let message = "metadata.generateName is not supported; leave the name out to get an id";
            return Err(ApiError::invalid(message));
        }
        object.carry_server_fields(None);
        object
            .validate()
            .map_err(|error| ApiError::invalid(error.to_string()))?;
        object.prepare(&self.who);
        self.authorize("create", &object)?;
        let made = object.create(&self.app, &self.who).await?;
        self.app.directory.wait_for(revision_of(&made)?).await;
        Ok(crate::edge::json(StatusCode::CREATED, &made))
    }

    async fn put<K: Managed>(
        &self,
        name: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let stored = self.read::<K>("update", name).await?;
        let value = body(&self.app, request).await?;
        let updated = self.update(value, &stored).await?;
        Ok(crate::edge::json(StatusCode::OK, &updated.shown()))
    }

    async fn patch<K: Managed>(
        &self,
        name: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let patch = Patch::read(&self.app, request).await?;
        let mut attempts = PATCH_ATTEMPTS;
        loop {
            let stored = self.read::<K>("patch", name).await?;
            let mut value = json!(stored.clone().shown());
            let version = value["metadata"]["resourceVersion"].clone();
            patch.apply(&mut value)?;
            let insists = value["metadata"]["resourceVersion"] != version;
            match self.update(value, &stored).await {
                // Only a patch that does not name a version may be repeated.
                Err(error) if error.reason() == "Conflict" && !insists && attempts > 1 => {
                    attempts -= 1;
                }
                result => return Ok(crate::edge::json(StatusCode::OK, &result?.shown())),
            }
        }
    }

    async fn update<K: Managed>(&self, value: Value, stored: &K) -> Result<K, ApiError> {
        let mut object: K = parse(value)?;
        self.place(&mut object)?;
        if object.name() != stored.name() {
            return Err(ApiError::bad_request(
                "the name in the object is not the one in the URL",
            ));
        }
        if object.meta().uid.is_some() && object.meta().uid != stored.meta().uid {
            return Err(ApiError::conflict(
                "the uid in the object is of an object that is gone",
            ));
        }
        object.carry_server_fields(Some(stored));
        object
            .validate()
            .map_err(|error| ApiError::invalid(error.to_string()))?;
        let updated = object.update(&self.app, stored).await?;
        self.app.directory.wait_for(revision_of(&updated)?).await;
        Ok(updated)
    }

    async fn delete<K: Managed>(
        &self,
        name: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ApiError> {
        let stored = self.read::<K>("delete", name).await?;
        let options: DeleteOptions = match body(&self.app, request).await? {
            Value::Null => DeleteOptions::default(),
            value => parse(value)?,
        };
        options.check(&stored)?;
        let revision = stored.remove(&self.app).await?;
        // From here on nobody is let in by it.
        self.app.directory.wait_for(revision).await;
        let status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {
                "name": name,
                "group": lariat_api::GROUP,
                "kind": K::PLURAL,
                "uid": stored.meta().uid,
            },
        });
        Ok(crate::edge::json(StatusCode::OK, &status))
    }

    /// An object that the user may do that to. Who may not even see it is told the same as if it
    /// did not exist, unless it is an administrator's to know.
    async fn read<K: Managed>(&self, verb: &'static str, name: &str) -> Result<K, ApiError> {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let found = self.app.objects.get::<K>(namespace, name).await;
        let object = match found {
            Err(ObjectError::NotFound(_)) if !self.who.administrator => {
                return Err(hidden::<K>(&self.who, verb, name));
            }
            found => found?,
        };
        if !self.may_see(&object) {
            return Err(hidden::<K>(&self.who, verb, name));
        }
        self.authorize(verb, &object)?;
        Ok(object)
    }

    pub(super) fn may_see<K: Managed>(&self, object: &K) -> bool {
        self.authorize("get", object).is_ok()
    }

    fn authorize<K: Managed>(&self, verb: &'static str, object: &K) -> Result<(), Denied> {
        let id = object.cluster_id();
        let cluster = id.and_then(|id| self.app.directory.cluster(&id));
        self.app.authorizer.authorize(
            &self.who,
            &Attributes {
                verb,
                resource: K::PLURAL,
                name: object.name(),
                cluster: cluster.as_deref(),
                owner: object.owner(),
            },
        )
    }

    /// Puts an object where the URL says.
    fn place<K: Managed>(&self, object: &mut K) -> Result<(), ApiError> {
        let said = object.meta_mut().namespace.take();
        if !K::NAMESPACED {
            return Ok(());
        }
        if said.is_some() && said != self.namespace {
            return Err(ApiError::bad_request(
                "the namespace in the object is not the one in the URL",
            ));
        }
        object.meta_mut().namespace.clone_from(&self.namespace);
        Ok(())
    }
}

fn hidden<K: Managed>(who: &Identity, verb: &str, name: &str) -> ApiError {
    let user = &who.username;
    let (plural, group) = (K::PLURAL, lariat_api::GROUP);
    ApiError::forbidden(format!(
        "{plural}.{group} {name:?}: user {user:?} may not {verb} it"
    ))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeleteOptions {
    preconditions: Preconditions,
    dry_run: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    fn check<K: Managed>(&self, stored: &K) -> Result<(), ApiError> {
        if !self.dry_run.is_empty() {
            return Err(ApiError::bad_request(
                "dryRun is not supported by this server",
            ));
        }
        let meta = stored.meta();
        let wanted = &self.preconditions;
        let differs =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_some() && wanted != found;
        if differs(&wanted.uid, &meta.uid)
            || differs(&wanted.resource_version, &meta.resource_version)
        {
            return Err(ApiError::conflict(
                "the object is not the one of the preconditions",
            ));
        }
        Ok(())
    }
}

enum Patch {
    Merge(Value),
    Json(json_patch::Patch),
}

impl Patch {
    async fn read(app: &App, request: Request<Incoming>) -> Result<Self, ApiError> {
        let media_type = media_type(&request);
        let kind = media_type.as_str();
        if !matches!(
            kind,
            "application/merge-patch+json" | "application/json-patch+json"
        ) {
            return Err(unsupported(
                kind,
                "application/merge-patch+json, application/json-patch+json",
            ));
        }
        let json = kind == "application/json-patch+json";
        let bytes = collect(request.into_body(), app.config.limits.body).await?;
        let fault = |error: serde_json::Error| {
            ApiError::bad_request(format!("the patch does not parse: {error}"))
        };
        if json {
            Ok(Self::Json(serde_json::from_slice(&bytes).map_err(fault)?))
        } else {
            Ok(Self::Merge(serde_json::from_slice(&bytes).map_err(fault)?))
        }
    }

    fn apply(&self, value: &mut Value) -> Result<(), ApiError> {
        match self {
            Self::Merge(patch) => json_patch::merge(value, patch),
            Self::Json(patch) => json_patch::patch(value, patch).map_err(|error| {
                ApiError::invalid(format!("the patch cannot be applied: {error}"))
            })?,
        }
        Ok(())
    }
}

/// The JSON body of a request; null when there is none.
async fn body(app: &App, request: Request<Incoming>) -> Result<Value, ApiError> {
    let media_type = media_type(&request);
    let bytes = collect(request.into_body(), app.config.limits.body).await?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    if !matches!(media_type.as_str(), "" | "application/json" | "*/*") {
        return Err(unsupported(&media_type, "application/json"));
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_json::from_value(value)
        .map_err(|error| ApiError::bad_request(format!("the object does not parse: {error}")))
}

fn media_type(request: &Request<Incoming>) -> String {
    let header = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = header
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

fn unsupported(found: &str, expected: &str) -> ApiError {
    let message = format!("media type {found:?} is not supported; use one of: {expected}");
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UnsupportedMediaType",
        message,
    )
}
