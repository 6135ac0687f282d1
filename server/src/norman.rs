//! The Rancher-shaped face: the objects of the management API as clients of Rancher know them, beside logins and
//! their providers, kubeconfig files and import manifests. It has no state of its own: what is asked here is asked of the
//! management API or of a cluster, in the name of who asks.
//!
//! `place` reads a path, `kinds` and `field` say what types there are and what they hold, `resource` shows an
//! object and `incoming` reads one, `collection`, `item` and `action` do what is asked.

mod access;
mod action;
mod answer;
mod auth_configs;
mod caller;
mod collection;
mod device_logins;
mod field;
mod import;
mod incoming;
mod item;
mod kinds;
mod kubeconfig;
mod links;
mod login;
mod login_limits;
mod namespaces;
mod nodes;
mod password;
mod people;
mod place;
mod principals;
mod providers;
mod public;
mod query;
mod resource;
mod schema;
mod session;
mod state;
mod subscribe;
mod ui;
mod users;

use std::sync::Arc;

use apiserver::error::ApiError;
use http::header::{CACHE_CONTROL, USER_AGENT, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

pub(crate) use import::import;
pub use login_limits::LoginLimits;
pub(crate) use session::is_logout;
pub(crate) use ui::asset;

use crate::audit::Captured;
use crate::authz::Action;
use crate::edge::{Body, RequestContext, authenticate, password_is_settled};
use crate::state::App;
use caller::Caller;
use kinds::{Home, Type};
use links::Links;
use place::{Nothing, Place, Scope};
use resource::View;

/// Where the types are described. Clients of Rancher look for it in every answer.
const SCHEMAS: HeaderName = HeaderName::from_static("x-api-schemas");

/// With this header a client asks for actions apart from what it sends back.
const ACTION_LINKS: &str = "x-api-action-links";

/// Answers requests under `/v3` and `/v3-public`.
pub(crate) async fn handle(
    app: &Arc<App>,
    request: Request<Incoming>,
    context: &RequestContext,
    segments: &[&str],
    public: bool,
) -> Response<Body> {
    if ui::is_wanted(&request) {
        return ui::page();
    }
    let (parts, body) = request.into_parts();
    let links = Links::of(&parts, &app.config);
    let request = Request::from_parts(parts, body);
    let place = place::parse(segments, &app.api.registry());
    let schemas = match (public, &place) {
        (true, _) => links.public_schemas(),
        (false, Ok((scope, place))) => links.schemas(&scope_behind(scope, place)),
        (false, Err(Nothing)) => links.schemas(&Scope::All),
    };
    let answered = match (people::is_meant(&request, segments, public), public) {
        (true, _) => people::answer(app, request, context, segments, public).await,
        (false, true) => public::handle(&request, segments, &links),
        (false, false) => respond(app, request, context, place, links).await,
    };
    let mut answer = answered.unwrap_or_else(answer::error);
    let headers = answer.headers_mut();
    if let Ok(schemas) = HeaderValue::from_str(&schemas) {
        headers.insert(SCHEMAS, schemas);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

/// A client that is given the address of a cluster or a project works with what is in there.
fn scope_behind(scope: &Scope, place: &Place) -> Scope {
    match (scope, place) {
        (Scope::All, Place::Object(of, id)) if of.id == "cluster" => {
            id.parse().map_or(Scope::All, Scope::Cluster)
        }
        (Scope::All, Place::Object(of, id)) if of.id == "project" => {
            Scope::project_of(id).unwrap_or(Scope::All)
        }
        (scope, _) => scope.clone(),
    }
}

async fn respond(
    app: &Arc<App>,
    request: Request<Incoming>,
    context: &RequestContext,
    place: Result<(Scope, Place), Nothing>,
    links: Links,
) -> Result<Response<Body>, ApiError> {
    let action = answer::action(request.uri().query());
    if let Ok((_, Place::Collection(of) | Place::Object(of, _))) = &place {
        let verb = match action {
            Some(_) => Method::PATCH,
            None => request.method().clone(),
        };
        let id = match &place {
            Ok((_, Place::Object(_, id))) => id.as_str(),
            _ => "",
        };
        let (namespace, name) = id.split_once(':').unwrap_or(("", id));
        let path = of.path(namespace, name);
        context.audit.set_action(&Action::parse(&verb, &path));
    }
    if let Some(shown) = public_setting(app, &request, &place, &links) {
        return Ok(shown);
    }
    let who = authenticate(app, &request, context)?;
    let agent = request.headers().get(USER_AGENT).cloned();
    let (mut scope, place) = place.map_err(|Nothing| nothing_here())?;
    let settles = matches!(&place, Place::Collection(of)
        if matches!((of.id.as_str(), action.as_deref()),
            ("token", Some("logout" | "logoutAll")) | ("user", Some("changepassword"))));
    if !settles {
        password_is_settled(&who)?;
    }
    if let (Scope::All, Place::Object(of, id)) = (&scope, &place)
        && of.home == Home::InsideOf
    {
        let cluster = id
            .split_once(':')
            .and_then(|(cluster, _)| cluster.parse().ok());
        scope = Scope::Cluster(cluster.ok_or_else(nothing_here)?);
    }
    let caller = Caller::new(app, who, context, links, agent.as_ref());
    match place {
        Place::Root | Place::Schemas | Place::Schema(_) | Place::Subscribe
            if request.method() != Method::GET =>
        {
            Err(ApiError::method_not_allowed())
        }
        Place::Root => Ok(json(StatusCode::OK, &schema::root(&caller, &scope))),
        Place::Schemas => Ok(json(StatusCode::OK, &schema::all(&caller, &scope))),
        Place::Schema(id) => Ok(json(StatusCode::OK, &schema::one(&caller, &scope, &id)?)),
        Place::Subscribe => subscribe::open(caller, &scope, request),
        Place::Collection(of) => on_collection(&caller, request, &scope, &of, action).await,
        Place::Object(of, id) => on_object(&caller, request, &scope, &of, &id, action).await,
    }
}

async fn on_collection(
    caller: &Caller,
    request: Request<Incoming>,
    scope: &Scope,
    of: &Type,
    action: Option<String>,
) -> Result<Response<Body>, ApiError> {
    if let Some(action) = action {
        return match (of.id.as_str(), action.as_str(), request.method()) {
            (.., method) if method != Method::POST => Err(ApiError::method_not_allowed()),
            ("token", "logout", _) => {
                crate::tokens::revoke(&caller.app, caller.who.token.as_str()).await?;
                Ok(session::logged_out())
            }
            ("token", "logoutAll", _) => session::log_out_all(&caller.app, &caller.who).await,
            ("user", "changepassword", _) => password::change(caller, request).await,
            _ => Err(no_such_action(&action)),
        };
    }
    let described = of.described();
    let view = View::new(caller, of, &described, scope);
    let (status, shown) = match *request.method() {
        Method::GET => {
            let query = request.uri().query().map(str::to_owned);
            (
                StatusCode::OK,
                collection::list(&view, query.as_deref()).await?,
            )
        }
        Method::POST => {
            let links = actions_apart(&request);
            let sent = read(caller, request).await?;
            namespaces::check_new(&view, &sent)?;
            let made = item::create(&view, sent).await?;
            (StatusCode::CREATED, shown(made, links))
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    Ok(recorded(caller, json(status, &shown)))
}

async fn on_object(
    caller: &Caller,
    request: Request<Incoming>,
    scope: &Scope,
    of: &Type,
    id: &str,
    action: Option<String>,
) -> Result<Response<Body>, ApiError> {
    let described = of.described();
    let view = View::new(caller, of, &described, scope);
    if let Some(action) = action {
        return match (of.id.as_str(), action.as_str(), request.method()) {
            (.., method) if method != Method::POST => Err(ApiError::method_not_allowed()),
            ("cluster", "generateKubeconfig", _) => {
                kubeconfig::generate(&caller.app, request, &caller.who, id).await
            }
            ("user", "setpassword", _) => password::set(&view, request, id).await,
            ("namespace", "move", _) => {
                let sent = read(caller, request).await?;
                namespaces::move_to(&view, id, &sent).await?;
                Ok(json(StatusCode::OK, &serde_json::json!({})))
            }
            _ => Err(no_such_action(&action)),
        };
    }
    let links = actions_apart(&request);
    let found = match *request.method() {
        Method::GET => item::get(&view, id).await?,
        Method::PUT if of.home != Home::InsideOf => {
            let replace = answer::parameter(request.uri().query(), "_replace");
            let replace = replace.is_some_and(|replace| replace == "true");
            let sent = read(caller, request).await?;
            item::update(&view, id, &sent, replace).await?
        }
        Method::DELETE if of.home != Home::InsideOf => item::delete(&view, id).await?,
        _ => return Err(ApiError::method_not_allowed()),
    };
    Ok(recorded(caller, json(StatusCode::OK, &shown(found, links))))
}

/// What a client sends.
async fn read(
    caller: &Caller,
    request: Request<Incoming>,
) -> Result<serde_json::Map<String, Value>, ApiError> {
    let (parts, body) = request.into_parts();
    let body = apiserver::body::collect(body, caller.app.config.limits.body).await?;
    incoming::read(&parts.headers, &body)
}

/// The CA of the server, which clients ask for before they trust it. It is no secret.
fn public_setting(
    app: &Arc<App>,
    request: &Request<Incoming>,
    place: &Result<(Scope, Place), Nothing>,
    links: &Links,
) -> Option<Response<Body>> {
    let Ok((Scope::All, Place::Object(of, id))) = place else {
        return None;
    };
    let asked = of.id == "setting" && id == "cacerts" && request.method() == Method::GET;
    if !asked || request.headers().contains_key(http::header::AUTHORIZATION) {
        return None;
    }
    let shown = serde_json::json!({
        "id": "cacerts",
        "type": "setting",
        "baseType": "setting",
        "name": "cacerts",
        "value": app.certificates.trusted().to_string(),
        "links": {"self": links.object(of, &Scope::All, "cacerts")},
        "actions": {},
    });
    Some(json(StatusCode::OK, &shown))
}

/// Whether a client wants actions under another name, so that it can send back what it reads.
fn actions_apart(request: &Request<Incoming>) -> bool {
    request.headers().contains_key(ACTION_LINKS)
}

fn shown(mut resource: Value, actions_apart: bool) -> Value {
    if actions_apart
        && let Some(fields) = resource.as_object_mut()
        && let Some(actions) = fields.remove("actions")
    {
        fields.insert("actionLinks".into(), actions);
    }
    resource
}

/// The same answer, recorded where the audit policy wants it.
fn recorded(caller: &Caller, answer: Response<Body>) -> Response<Body> {
    let audit = &caller.context.audit;
    match audit.wants_answer() {
        true => answer.map(|body| Captured::new(body, audit.clone()).boxed_unsync()),
        false => answer,
    }
}

fn json(status: StatusCode, value: &Value) -> Response<Body> {
    crate::edge::json(status, value)
}

fn nothing_here() -> ApiError {
    ApiError::no_such_path()
}

fn no_such_action(action: &str) -> ApiError {
    let message = format!("there is no action {action:?} here");
    ApiError::new(StatusCode::NOT_FOUND, "ActionNotAvailable", message)
}
