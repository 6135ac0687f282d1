//! The REST API of GitHub, as far as it says who somebody is.

use http::{Request, StatusCode, header};
use lariat_api::{Principal, PrincipalType};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::super::http::Http;
use super::super::{LoginError, MAX_FOUND};
use super::NAME;

/// How many a page of a list has, which is the most that GitHub gives.
const PER_PAGE: usize = 100;

/// How many pages of one list are read: who is in more organisations or teams has the first of them.
const MAX_PAGES: usize = 10;

const STEP: &str = "ask GitHub who somebody is";

/// Asks one GitHub.
#[derive(Debug)]
pub(super) struct Api {
    http: Http,
    base: Url,
}

/// What came of a question.
pub(super) enum Asked<T> {
    Answered(T),
    /// The token is good no more, or its owner is suspended.
    Refused,
    /// There is no such thing.
    Nothing,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) id: u64,
    login: String,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Organization {
    id: u64,
    login: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Team {
    id: u64,
    name: String,
    #[serde(default)]
    organization: Option<Organization>,
    /// The team above it, whose members are also those of the teams below.
    #[serde(default)]
    parent: Option<Parent>,
}

#[derive(Debug, Deserialize)]
struct Parent {
    id: u64,
    name: String,
}

/// A person or an organisation that a search has found.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    id: u64,
    login: String,
    #[serde(rename = "type")]
    type_: String,
}

#[derive(Debug, Deserialize)]
struct Search {
    items: Vec<Found>,
}

impl Api {
    pub(super) fn new(http: Http, base: Url) -> Self {
        Self { http, base }
    }

    /// Whose token it is.
    pub(super) async fn user(&self, token: &str) -> Result<Asked<User>, LoginError> {
        let url = self.at("user", &[])?;
        self.get(url, Some(token)).await
    }

    pub(super) async fn organizations(&self, token: &str) -> Result<Vec<Organization>, LoginError> {
        self.list("user/orgs", token).await
    }

    pub(super) async fn teams(&self, token: &str) -> Result<Vec<Team>, LoginError> {
        self.list("user/teams", token).await
    }

    pub(super) async fn search(
        &self,
        text: &str,
        kind: Option<PrincipalType>,
    ) -> Result<Vec<Found>, LoginError> {
        // A colon would begin a qualifier.
        let mut query = text.replace([':', '"'], " ");
        match kind {
            Some(PrincipalType::User) => query.push_str(" type:user"),
            Some(PrincipalType::Group) => query.push_str(" type:org"),
            None => {}
        }
        let per_page = MAX_FOUND.to_string();
        let url = self.at("search/users", &[("q", &query), ("per_page", &per_page)])?;
        match self.get::<Search>(url, None).await? {
            Asked::Answered(found) => Ok(found.items),
            Asked::Refused | Asked::Nothing => Ok(Vec::new()),
        }
    }

    /// The person, organisation or team of that id. Teams are shown to their members alone: one is known by
    /// its number.
    pub(super) async fn principal(&self, id: &str) -> Result<Option<Principal>, LoginError> {
        let of = |word: &str| {
            let number = id
                .strip_prefix(NAME)?
                .strip_prefix('_')?
                .strip_prefix(word)?;
            number.strip_prefix("://")?.parse::<u64>().ok()
        };
        let (path, number) = match (of("user"), of("org"), of("team")) {
            (Some(number), _, _) => ("user", number),
            (_, Some(number), _) => ("organizations", number),
            (_, _, Some(number)) => {
                return Ok(Some(principal(
                    "team",
                    number,
                    number.to_string(),
                    String::new(),
                )));
            }
            _ => return Ok(None),
        };
        let url = self.at(&format!("{path}/{number}"), &[])?;
        Ok(match self.get::<Found>(url, None).await? {
            Asked::Answered(found) => Some(found.principal()),
            Asked::Refused | Asked::Nothing => None,
        })
    }

    /// Whether there is one that answers.
    pub(super) async fn check(&self) -> Result<(), LoginError> {
        let url = self.at("", &[])?;
        self.get::<serde_json::Value>(url, None).await.map(drop)
    }

    /// All of a list, page after page. A token that is refused meanwhile is no empty list.
    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        token: &str,
    ) -> Result<Vec<T>, LoginError> {
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let (page, per_page) = (page.to_string(), PER_PAGE.to_string());
            let url = self.at(path, &[("per_page", &per_page), ("page", &page)])?;
            let Asked::Answered(items) = self.get::<Vec<T>>(url, Some(token)).await? else {
                let why = "the token may not read organisations and teams (scope read:org)";
                return Err(LoginError::Misconfigured(why.to_owned()));
            };
            let is_last = items.len() < PER_PAGE;
            all.extend(items);
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    fn at(&self, path: &str, query: &[(&str, &str)]) -> Result<Url, LoginError> {
        let url = self.base.join(path);
        let mut url = url.map_err(|error| LoginError::Misconfigured(error.to_string()))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        url: Url,
        token: Option<&str>,
    ) -> Result<Asked<T>, LoginError> {
        let mut request = Request::get(url.as_str())
            .header(header::ACCEPT, "application/vnd.github+json")
            .header(header::USER_AGENT, "lariat");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Vec::new());
        let request = request.map_err(|error| LoginError::Misconfigured(error.to_string()))?;
        let answer = self.http.send(request).await;
        let answer = answer.map_err(|error| error.during(STEP))?;
        let unavailable = |reason: String| Err(LoginError::Unavailable { step: STEP, reason });
        match answer.status() {
            StatusCode::OK => match serde_json::from_slice(answer.body()) {
                Ok(said) => Ok(Asked::Answered(said)),
                Err(error) => Err(LoginError::Misconfigured(format!(
                    "{} does not answer as GitHub does: {error}",
                    url.path()
                ))),
            },
            StatusCode::UNAUTHORIZED => Ok(Asked::Refused),
            StatusCode::NOT_FOUND => Ok(Asked::Nothing),
            // A limit of requests says so; what else is forbidden is a suspended account.
            status if is_limited(status, answer.headers()) => {
                unavailable("the limit of requests is reached".to_owned())
            }
            StatusCode::FORBIDDEN => Ok(Asked::Refused),
            status => unavailable(format!("{} answered {status}", url.path())),
        }
    }
}

fn is_limited(status: StatusCode, headers: &http::HeaderMap) -> bool {
    let remaining = headers.get("x-ratelimit-remaining");
    status == StatusCode::TOO_MANY_REQUESTS
        || (status == StatusCode::FORBIDDEN
            && (headers.contains_key(header::RETRY_AFTER)
                || remaining.is_some_and(|left| left == "0")))
}

impl User {
    pub(super) fn principal(&self) -> Principal {
        let name = self.name.clone().filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| self.login.clone());
        principal("user", self.id, name, self.login.clone())
    }
}

impl Organization {
    pub(super) fn principal(&self) -> Principal {
        principal("org", self.id, self.login.clone(), self.login.clone())
    }
}

impl Team {
    /// Itself, and the team above it.
    pub(super) fn principals(&self) -> Vec<Principal> {
        let organization = self.organization.as_ref().map(|one| one.login.as_str());
        let named = |name: &str| match organization {
            Some(organization) => format!("{organization}/{name}"),
            None => name.to_owned(),
        };
        let above = self.parent.iter().map(|above| (above.id, &above.name));
        std::iter::once((self.id, &self.name))
            .chain(above)
            .map(|(id, name)| principal("team", id, named(name), String::new()))
            .collect()
    }
}

impl Found {
    pub(super) fn principal(&self) -> Principal {
        let word = match self.type_.as_str() {
            "Organization" => "org",
            _ => "user",
        };
        principal(word, self.id, self.login.clone(), self.login.clone())
    }
}

fn principal(word: &str, id: u64, shown: String, login: String) -> Principal {
    let bounded = |text: String| text.chars().take(253).collect();
    Principal {
        id: format!("{NAME}_{word}://{id}"),
        display_name: bounded(shown),
        login_name: bounded(login),
        principal_type: match word {
            "user" => PrincipalType::User,
            _ => PrincipalType::Group,
        },
        provider: NAME.to_owned(),
    }
}
