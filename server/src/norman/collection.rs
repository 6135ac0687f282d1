//! Collections: objects of a type that meet conditions, in an order, page by page.

use std::collections::BTreeMap;

use apiserver::error::ApiError;
use http::Method;
use lariat_api::ClusterId;
use serde_json::{Map, Value, json};
use url::form_urlencoded::byte_serialize;

use super::action;
use super::answer;
use super::kinds::Home;
use super::links::Links;
use super::place::Scope;
use super::query::{Query, Rank};
use super::resource::View;

/// So many objects are read at once: what the management API answers as a page.
const PAGE: usize = 500;

/// A collection, as the query of the request wants it.
///
/// # Errors
/// What the API refuses; 422 for a query that makes no sense.
pub(super) async fn list(view: &View<'_>, query: Option<&str>) -> Result<Value, ApiError> {
    let query = Query::parse(query, &view.described.fields)?;
    let scope = scope(view, &query)?;
    let view = &View::new(view.caller, view.of, view.described, &scope);
    let (found, total) = read(view, &query).await?;
    let partial = found.len() > query.limit;
    let page: Vec<_> = match query.descending {
        false => found.into_iter().take(query.limit).collect(),
        true => found.into_iter().rev().take(query.limit).collect(),
    };
    let links = &view.caller.links;
    let mut pagination = json!({"limit": query.limit, "total": total, "partial": partial});
    if !query.marker().is_empty() {
        pagination["marker"] = json!(query.marker());
        pagination["first"] = json!(links.asked_with(&[], &["marker"]));
    }
    if let Some((last, _)) = page.last().filter(|_| partial) {
        pagination["next"] = json!(links.asked_with(&[("marker", &last.marker())], &[]));
    }
    let data: Vec<_> = page
        .into_iter()
        .map(|(_, shown)| view.linked(shown))
        .collect();
    let mut collection = frame(view, &query);
    collection["pagination"] = pagination;
    collection["data"] = data.into();
    Ok(collection)
}

/// Where to look: where the request says it, or by a condition that names the cluster.
fn scope(view: &View<'_>, query: &Query) -> Result<Scope, ApiError> {
    if *view.scope != Scope::All {
        return Ok(view.scope.clone());
    }
    let wanted = query.wanted("clusterId").and_then(|id| id.parse().ok());
    match (view.of.home, wanted) {
        (Home::Cluster | Home::InsideOf, Some(id)) => Ok(Scope::Cluster(id)),
        (Home::InsideOf, None) => Err(answer::refused(
            "MissingRequired",
            "clusterId",
            "say which cluster: clusterId=ID",
        )),
        _ => Ok(Scope::All),
    }
}

/// The objects of a page and one more, in ascending order, and how many there are in all.
async fn read(
    view: &View<'_>,
    query: &Query,
) -> Result<(BTreeMap<Rank, Map<String, Value>>, usize), ApiError> {
    let namespace = match (view.of.home, view.scope) {
        (Home::Cluster, scope) => scope.cluster().map_or("", ClusterId::as_str),
        (Home::Project, Scope::Project(_, project)) => project.as_str(),
        (Home::Own, _) => view.caller.who.user.as_str(),
        _ => "",
    };
    let (mut found, mut total) = (BTreeMap::new(), 0);
    let base = format!("{}?limit={PAGE}", view.of.path(namespace, ""));
    let mut path = base.clone();
    loop {
        let cluster = view.scope.cluster();
        let mut page = view
            .caller
            .ask_of(view.of, cluster, Method::GET, &path, None)
            .await?;
        let items = page["items"].as_array_mut().map(std::mem::take);
        for item in items.unwrap_or_default() {
            let shown = view.values(&item);
            if !is_in(view, &shown) || !query.matches(&shown) {
                continue;
            }
            total += 1;
            let rank = query.rank(&shown);
            if query.is_ahead(&rank) {
                found.insert(rank, shown);
            }
            if found.len() > query.limit + 1 {
                match query.descending {
                    false => found.pop_last(),
                    true => found.pop_first(),
                };
            }
        }
        match page["metadata"]["continue"].as_str() {
            None | Some("") => return Ok((found, total)),
            Some(token) => {
                let token: String = byte_serialize(token.as_bytes()).collect();
                path = format!("{base}&continue={token}");
            }
        }
    }
}

/// Whether an object belongs to what is looked at.
pub(super) fn is_in(view: &View<'_>, shown: &Map<String, Value>) -> bool {
    let text = |field: &str| shown.get(field).and_then(Value::as_str).unwrap_or_default();
    let fields = &view.described.fields;
    match view.scope {
        Scope::All => true,
        Scope::Project(..) if fields.contains_key("projectId") => {
            text("projectId") == view.scope.to_string()
        }
        Scope::Cluster(_) | Scope::Project(..) if view.of.is_inside() => true,
        Scope::Cluster(id) | Scope::Project(id, _) => {
            let of_project = text("projectId").split_once(':');
            text("clusterId") == id.as_str() || of_project.is_some_and(|(of, _)| of == id.as_str())
        }
    }
}

/// A collection without its objects.
fn frame(view: &View<'_>, query: &Query) -> Value {
    let links: &Links = &view.caller.links;
    let mut create = json!({});
    if view.caller.may_somewhere("create", view.of, view.scope) {
        create[&view.of.id] = json!(links.collection(view.of, view.scope));
    }
    let actions = action::of_collections(&view.of.id).iter();
    let actions: Map<_, _> = actions
        .filter(|action| (action.is_offered)(view.caller, "", ""))
        .map(|action| {
            let at = links.collection(view.of, view.scope);
            (
                action.name.to_owned(),
                json!(format!("{at}?action={}", action.name)),
            )
        })
        .collect();
    let (order, reverse) = match query.descending {
        false => ("asc", "desc"),
        true => ("desc", "asc"),
    };
    let sortable = view
        .described
        .fields
        .iter()
        .filter(|(_, field)| field.is_scalar());
    let sortable: Map<_, _> = sortable
        .map(|(name, _)| {
            let link = links.asked_with(&[("sort", name.as_str())], &["order", "marker"]);
            (name.clone(), json!(link))
        })
        .collect();
    let mut sort = json!({
        "order": order,
        "reverse": links.asked_with(&[("order", reverse)], &["marker"]),
        "links": sortable,
    });
    if !query.sort.is_empty() {
        sort["name"] = json!(query.sort);
    }
    json!({
        "type": "collection",
        "resourceType": view.of.id,
        "links": {"self": links.asked()},
        "createTypes": create,
        "actions": actions,
        "sort": sort,
        "filters": query.filters(&view.described.fields),
    })
}
