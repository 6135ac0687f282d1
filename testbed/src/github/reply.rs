//! Answers: pages, redirects, JSON, and lists in pages with links to the others.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response,
    header::{self, HeaderName},
};
use serde_json::{Value, json};
use url::Url;

use super::serve::Call;

/// An answer, before it is sent.
#[derive(Debug)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(HeaderName, String)>,
    body: String,
}

impl Reply {
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(self.body));
        *response.status_mut() = self.status.try_into().unwrap_or_default();
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

const PER_PAGE: usize = 30;
const MOST_PER_PAGE: usize = 100;

/// HTML for a person.
pub(super) fn page(status: u16, content: &str) -> Reply {
    let text = format!("<!DOCTYPE html><title>GitHub (stand-in)</title>{content}");
    with_body(status, "text/html; charset=utf-8", text)
}

pub(super) fn form(content: String) -> Reply {
    with_body(
        200,
        "application/x-www-form-urlencoded; charset=utf-8",
        content,
    )
}

pub(super) fn json(status: u16, value: &Value) -> Reply {
    with_body(status, "application/json; charset=utf-8", value.to_string())
}

/// An answer without anything in it.
pub(super) fn nothing() -> Reply {
    Reply {
        status: 204,
        headers: Vec::new(),
        body: String::new(),
    }
}

pub(super) fn redirect(to: &str) -> Reply {
    let mut reply = with_body(302, "text/html; charset=utf-8", String::new());
    set(&mut reply, header::LOCATION, to);
    reply
}

/// An error of the REST API.
pub(super) fn error(status: u16, message: &str) -> Reply {
    let body = json!({
        "message": message,
        "documentation_url": "https://docs.github.com/rest",
        "status": status.to_string(),
    });
    json(status, &body)
}

pub(super) fn set(reply: &mut Reply, name: HeaderName, value: &str) {
    reply.headers.push((name, value.to_owned()));
}

/// The page of `items` that was asked for, and the links to the others.
pub(super) fn paginate(call: &Call, items: Vec<Value>) -> (Vec<Value>, Option<String>) {
    let number = |name: &str| {
        let text = call.query(name)?;
        text.parse().ok().filter(|number: &usize| *number > 0)
    };
    let per_page = number("per_page").unwrap_or(PER_PAGE).min(MOST_PER_PAGE);
    let page = number("page").unwrap_or(1);
    let last = items.len().div_ceil(per_page).max(1);
    let mut links = Vec::new();
    if page > 1 {
        links.push(link(&call.url, page - 1, "prev"));
    }
    if page < last {
        links.push(link(&call.url, page + 1, "next"));
        links.push(link(&call.url, last, "last"));
    }
    if page > 1 {
        links.push(link(&call.url, 1, "first"));
    }
    let first = (page - 1).saturating_mul(per_page);
    let shown = items.into_iter().skip(first).take(per_page).collect();
    (shown, (!links.is_empty()).then(|| links.join(", ")))
}

/// A list, in pages.
pub(super) fn list(call: &Call, items: Vec<Value>) -> Reply {
    let (shown, links) = paginate(call, items);
    linked(json(200, &Value::Array(shown)), links)
}

pub(super) fn linked(mut reply: Reply, links: Option<String>) -> Reply {
    if let Some(links) = links {
        set(&mut reply, header::LINK, &links);
    }
    reply
}

fn link(url: &Url, page: usize, relation: &str) -> String {
    let mut other = url.clone();
    let kept: Vec<(String, String)> = (url.query_pairs().into_owned())
        .filter(|(key, _)| key != "page")
        .collect();
    other
        .query_pairs_mut()
        .clear()
        .extend_pairs(kept)
        .append_pair("page", &page.to_string());
    format!("<{other}>; rel=\"{relation}\"")
}

fn with_body(status: u16, kind: &str, body: String) -> Reply {
    Reply {
        status,
        headers: vec![(header::CONTENT_TYPE, kind.to_owned())],
        body,
    }
}
