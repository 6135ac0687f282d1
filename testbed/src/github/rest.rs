//! The REST API.

mod objects;

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{Method, header};
use serde_json::{Value, json};

use super::{
    oauth::Token,
    reply::{self, Reply},
    serve::{Call, Shared, State},
    world::{Team, User, World, has},
};
use objects::Objects;

const SEARCH_LIMIT: usize = 1000;

/// A part of the API that a token needs one of these scopes for.
const ORGANIZATIONS: &[&str] = &["read:org", "user"];
const TEAMS: &[&str] = &["read:org", "repo", "user"];
const ADDRESSES: &[&str] = &["user:email"];

type Answer = Result<Reply, Reply>;

/// One request, with who asks.
struct Asked<'a> {
    call: &'a Call,
    world: &'a World,
    objects: Objects<'a>,
    who: Option<(&'a User, &'a Token)>,
}

pub(super) fn answer(shared: &Shared, call: &Call) -> Reply {
    let mut state = shared.lock();
    state.requests += 1;
    if let Err(refusal) = count(&mut state, call) {
        return refusal;
    }
    let path = call.url.path();
    let path = path.strip_prefix("/api/v3").unwrap_or(path);
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    if let (&Method::DELETE, ["applications", client, "token"]) = (&call.method, &*parts) {
        return delete_token(&mut state, call, client);
    }
    let who = match identify(&state, call) {
        Ok(who) => who,
        Err(refusal) => return refusal,
    };
    let asked = Asked {
        call,
        world: &state.world,
        objects: Objects { url: &shared.url },
        who,
    };
    let mut reply = asked.route(&parts).unwrap_or_else(|refusal| refusal);
    if let Some((_, token)) = asked.who {
        let name = header::HeaderName::from_static("x-oauth-scopes");
        reply::set(&mut reply, name, &token.scopes.join(", "));
    }
    reply
}

/// What every request must pass.
fn count(state: &mut State, call: &Call) -> Result<(), Reply> {
    if call.header(header::USER_AGENT).is_empty() {
        return Err(reply::page(
            403,
            "Request forbidden by administrative rules. \
             Please make sure your request has a User-Agent header.",
        ));
    }
    match &mut state.world.requests_left {
        None => Ok(()),
        Some(0) => {
            let mut refusal = reply::error(403, "API rate limit exceeded for this stand-in.");
            for (name, value) in [("x-ratelimit-remaining", "0"), ("retry-after", "60")] {
                reply::set(&mut refusal, header::HeaderName::from_static(name), value);
            }
            Err(refusal)
        }
        Some(left) => {
            *left -= 1;
            Ok(())
        }
    }
}

/// Whose token it is, if there is one.
fn identify<'a>(state: &'a State, call: &Call) -> Result<Option<(&'a User, &'a Token)>, Reply> {
    let authorization = call.header(header::AUTHORIZATION);
    if authorization.is_empty() {
        return Ok(None);
    }
    let bad = || reply::error(401, "Bad credentials");
    let (scheme, value) = authorization.split_once(' ').ok_or_else(bad)?;
    if !["bearer", "token"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return Err(bad());
    }
    let token = state.grants.token(value.trim()).ok_or_else(bad)?;
    let user = (state.world.users.iter()).find(|user| user.id == token.user);
    let user = user.ok_or_else(bad)?;
    if user.suspended {
        return Err(reply::error(403, "Sorry. Your account was suspended."));
    }
    Ok(Some((user, token)))
}

fn delete_token(state: &mut State, call: &Call, client: &str) -> Reply {
    let credentials = (call.header(header::AUTHORIZATION).strip_prefix("Basic "))
        .and_then(|text| BASE64_STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default();
    let is_right = (state.world.applications.iter()).any(|application| {
        application.client_id == client
            && credentials == format!("{client}:{}", application.client_secret)
    });
    if !is_right {
        return reply::error(401, "Bad credentials");
    }
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let token = body["access_token"].as_str().unwrap_or_default();
    if state.grants.delete_token(client, token) {
        reply::nothing()
    } else {
        not_found()
    }
}

impl<'a> Asked<'a> {
    fn route(&self, parts: &[&str]) -> Answer {
        if self.call.method != Method::GET {
            return Err(not_found());
        }
        match parts {
            ["user"] => self.own_user(),
            ["user", "emails"] => self.emails(),
            ["user", "orgs"] => self.own_organizations(),
            ["user", "teams"] => self.own_teams(),
            ["user", id] => self.user(|user| user.id.to_string() == *id),
            ["users", login] => self.user(|user| user.login.eq_ignore_ascii_case(login)),
            ["search", "users"] => self.search(),
            ["orgs", login] => self.organization(login),
            ["organizations", id] => {
                let found = |other: &&super::world::Organization| other.id.to_string() == *id;
                let found = self.world.organizations.iter().find(found);
                self.organization(&found.ok_or_else(not_found)?.login)
            }
            ["orgs", login, "teams"] => self.teams_of(login),
            ["orgs", login, "teams", slug] => {
                self.team(self.world.team(login, slug).ok_or_else(not_found)?)
            }
            ["teams", id] => {
                let found = (self.world.teams.iter()).find(|team| team.id.to_string() == *id);
                self.team(found.ok_or_else(not_found)?)
            }
            _ => Err(not_found()),
        }
    }

    fn own_user(&self) -> Answer {
        let (user, token) = self.required()?;
        Ok(reply::json(200, &self.objects.own_user(user, token)))
    }

    fn emails(&self) -> Answer {
        let (user, _) = self.with_scope(ADDRESSES).map_err(|_| not_found())?;
        let email = json!({
            "email": user.email, "primary": true, "verified": user.email_verified,
            "visibility": "private",
        });
        Ok(reply::list(self.call, vec![email]))
    }

    fn own_organizations(&self) -> Answer {
        let (user, _) = self.with_scope(ORGANIZATIONS)?;
        let own = (self.world.organizations.iter())
            .filter(|other| has(&other.members, &user.login))
            .map(|other| self.objects.organization_in_list(other));
        Ok(reply::list(self.call, own.collect()))
    }

    fn own_teams(&self) -> Answer {
        let (user, _) = self.with_scope(TEAMS)?;
        let own = (self.world.teams.iter())
            .filter(|team| has(&team.members, &user.login))
            .map(|team| self.objects.full_team(self.world, team));
        Ok(reply::list(self.call, own.collect()))
    }

    fn user(&self, is_it: impl Fn(&User) -> bool) -> Answer {
        if let Some(user) = self.world.users.iter().find(|user| is_it(user)) {
            return Ok(reply::json(200, &self.objects.user(user)));
        }
        Err(not_found())
    }

    /// Searches people and organisations: words that login or name begin with, `type:` and `in:`.
    fn search(&self) -> Answer {
        let query = self.call.query("q").unwrap_or_default();
        if query.trim().is_empty() {
            let body = json!({
                "message": "Validation Failed",
                "errors": [{"resource": "Search", "field": "q", "code": "missing"}],
                "documentation_url": "https://docs.github.com/v3/search/", "status": "422",
            });
            return Err(reply::json(422, &body));
        }
        let search = Search::read(&query);
        let users = (self.world.users.iter())
            .filter(|user| search.finds("user", &user.login, user.name.as_deref()))
            .map(|user| self.objects.found_user(user));
        let organizations = (self.world.organizations.iter())
            .filter(|other| search.finds("org", &other.login, None))
            .map(|other| self.objects.found_organization(other));
        let found: Vec<Value> = users.chain(organizations).collect();
        let total = found.len();
        let reachable = found.into_iter().take(SEARCH_LIMIT).collect();
        let (items, links) = reply::paginate(self.call, reachable);
        let body = json!({"total_count": total, "incomplete_results": false, "items": items});
        Ok(reply::linked(reply::json(200, &body), links))
    }

    fn organization(&self, login: &str) -> Answer {
        let found = self.world.organization(login).ok_or_else(not_found)?;
        Ok(reply::json(200, &self.objects.organization(found)))
    }

    fn teams_of(&self, login: &str) -> Answer {
        let found = self.world.organization(login).ok_or_else(not_found)?;
        self.require_member(&found.login)?;
        let teams = (self.world.teams.iter())
            .filter(|team| team.organization.eq_ignore_ascii_case(login))
            .map(|team| self.objects.team(self.world, team));
        Ok(reply::list(self.call, teams.collect()))
    }

    fn team(&self, team: &Team) -> Answer {
        self.require_member(&team.organization)?;
        Ok(reply::json(200, &self.objects.full_team(self.world, team)))
    }

    fn required(&self) -> Result<(&'a User, &'a Token), Reply> {
        (self.who).ok_or_else(|| reply::error(401, "Requires authentication"))
    }

    fn with_scope(&self, scopes: &[&str]) -> Result<(&'a User, &'a Token), Reply> {
        let (user, token) = self.required()?;
        if token.has_any(scopes) {
            return Ok((user, token));
        }
        let message = format!(
            "You need at least one of these scopes: {}.",
            scopes.join(", ")
        );
        let mut refusal = reply::error(403, &message);
        let name = header::HeaderName::from_static("x-accepted-oauth-scopes");
        reply::set(&mut refusal, name, &scopes.join(", "));
        Err(refusal)
    }

    /// Teams are seen by members of their organisation; to others they are not there.
    fn require_member(&self, organization: &str) -> Result<(), Reply> {
        let (user, _) = self.with_scope(TEAMS)?;
        let organization = self.world.organization(organization);
        if organization.is_some_and(|other| has(&other.members, &user.login)) {
            Ok(())
        } else {
            Err(not_found())
        }
    }
}

/// A query of a search.
struct Search {
    words: Vec<String>,
    kind: Option<String>,
    places: Vec<String>,
}

impl Search {
    fn read(query: &str) -> Self {
        let mut search = Self {
            words: Vec::new(),
            kind: None,
            places: Vec::new(),
        };
        for word in query.split_whitespace() {
            match word.split_once(':') {
                Some(("type", kind)) => search.kind = Some(kind.to_owned()),
                Some(("in", place)) => search.places.push(place.to_owned()),
                _ => search.words.push(word.to_lowercase()),
            }
        }
        search
    }

    fn finds(&self, kind: &str, login: &str, name: Option<&str>) -> bool {
        let looks_in =
            |place: &str| self.places.is_empty() || self.places.iter().any(|own| own == place);
        let login = login.to_lowercase();
        let name = name.unwrap_or_default().to_lowercase();
        self.kind.as_deref().is_none_or(|own| own == kind)
            && self.words.iter().all(|word| {
                (looks_in("login") && login.starts_with(word.as_str()))
                    || (looks_in("name")
                        && name.split(' ').any(|part| part.starts_with(word.as_str())))
            })
    }
}

fn not_found() -> Reply {
    reply::error(404, "Not Found")
}
