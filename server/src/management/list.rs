//! Lists.

use http::{Response, StatusCode};
use serde_json::json;

use super::kinds::Managed;
use super::query::{Continue, Query};
use super::resource::Resource;
use super::table::Form;
use crate::edge::{ApiError, Body};
use crate::objects::{List, ListOptions, prefix};

/// Answers with the objects that the query chooses and the user may see.
pub(super) async fn list<K: Managed>(
    target: &Resource,
    query: &Query,
    form: Form,
) -> Result<Response<Body>, ApiError> {
    let mut options = ListOptions {
        namespace: target.namespace.clone(),
        limit: query.limit,
        ..ListOptions::default()
    };
    if let Some(from) = &query.from {
        let (revision, after) = from.resume(&prefix::<K>(target.namespace.as_deref()))?;
        options.revision = Some(revision);
        options.after = Some(after);
    } else if query.exact {
        options.revision = Some(query.revision);
    }
    let mut list: List<K> = target.app.objects.list(&options).await?;
    let remaining = list.remaining;
    let all = list.items.len();
    list.items
        .retain(|object| query.selects(object.meta()) && target.may_see(object));
    let next = list.next.as_ref();
    let token = next.map(|after| Continue::new(list.revision, after).encode());
    // With a filter the number of objects to come is not known.
    let remaining = (token.is_some() && list.items.len() == all).then_some(remaining);
    let meta = json!({
        "resourceVersion": list.revision.to_string(),
        "continue": token.unwrap_or_default(),
        "remainingItemCount": remaining,
    });
    let items: Vec<_> = list.items.into_iter().map(Managed::shown).collect();
    Ok(crate::edge::json(StatusCode::OK, &form.list(&items, &meta)))
}
