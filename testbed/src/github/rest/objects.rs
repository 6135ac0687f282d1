//! The objects of the REST API, with the members that a login has a use for.

use serde_json::{Value, json};

use crate::github::{
    oauth::Token,
    world::{Organization, Team, User, World},
};

pub(super) struct Objects<'a> {
    pub(super) url: &'a str,
}

impl Objects<'_> {
    /// The one who asks: with the address, when the token's scopes allow it.
    pub(super) fn own_user(&self, user: &User, token: &Token) -> Value {
        let mut object = self.user(user);
        object["two_factor_authentication"] = json!(true);
        if token.has_any(&["user:email"]) {
            object["email"] = json!(user.email);
        }
        object
    }

    pub(super) fn user(&self, user: &User) -> Value {
        let mut object = self.account(user.id, &user.login, "User");
        object["name"] = json!(user.name);
        object["email"] = Value::Null;
        object["company"] = Value::Null;
        object["created_at"] = json!("2020-01-01T00:00:00Z");
        object["updated_at"] = json!("2020-01-01T00:00:00Z");
        object
    }

    pub(super) fn found_user(&self, user: &User) -> Value {
        let mut object = self.account(user.id, &user.login, "User");
        object["score"] = json!(1.0);
        object
    }

    pub(super) fn found_organization(&self, organization: &Organization) -> Value {
        let mut object = self.account(organization.id, &organization.login, "Organization");
        object["score"] = json!(1.0);
        object
    }

    pub(super) fn organization_in_list(&self, organization: &Organization) -> Value {
        let Organization { id, login, .. } = organization;
        json!({
            "login": login,
            "id": id,
            "node_id": format!("O_{id}"),
            "url": format!("{}/orgs/{login}", self.url),
            "members_url": format!("{}/orgs/{login}/members{{/member}}", self.url),
            "avatar_url": format!("{}/avatars/{id}", self.url),
            "description": Value::Null,
        })
    }

    pub(super) fn organization(&self, organization: &Organization) -> Value {
        let mut object = self.organization_in_list(organization);
        object["type"] = json!("Organization");
        object["name"] = json!(organization.login);
        object["html_url"] = json!(format!("{}/{}", self.url, organization.login));
        object
    }

    pub(super) fn full_team(&self, world: &World, team: &Team) -> Value {
        let mut object = self.team(world, team);
        let organization = world.organization(&team.organization);
        object["organization"] =
            organization.map_or(Value::Null, |organization| self.organization(organization));
        object["members_count"] = json!(team.members.len());
        object
    }

    pub(super) fn team(&self, world: &World, team: &Team) -> Value {
        let mut object = self.team_alone(team);
        let parent = (team.parent.as_deref()).and_then(|slug| world.team(&team.organization, slug));
        object["parent"] = parent.map_or(Value::Null, |parent| self.team_alone(parent));
        object
    }

    fn team_alone(&self, team: &Team) -> Value {
        let Team { id, slug, .. } = team;
        let url = format!("{}/teams/{id}", self.url);
        json!({
            "id": id,
            "node_id": format!("T_{id}"),
            "name": slug,
            "slug": slug,
            "description": Value::Null,
            "privacy": "closed",
            "permission": "pull",
            "members_url": format!("{url}/members{{/member}}"),
            "repositories_url": format!("{url}/repos"),
            "html_url": format!("{}/orgs/{}/teams/{slug}", self.url, team.organization),
            "url": url,
        })
    }

    fn account(&self, id: u64, login: &str, kind: &str) -> Value {
        json!({
            "login": login,
            "id": id,
            "node_id": format!("U_{id}"),
            "avatar_url": format!("{}/avatars/{id}", self.url),
            "gravatar_id": "",
            "url": format!("{}/users/{login}", self.url),
            "html_url": format!("{}/{login}", self.url),
            "organizations_url": format!("{}/users/{login}/orgs", self.url),
            "type": kind,
            "site_admin": false,
        })
    }
}
