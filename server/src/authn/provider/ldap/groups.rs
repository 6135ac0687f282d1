//! The groups that somebody is in, those that hold groups included.

use std::collections::HashSet;

use lariat_api::Principal;

use super::super::LoginError;
use super::active_directory::{self, IN_CHAIN};
use super::connection::Connection;
use super::filter::Filter;
use super::message::{Entry, Scope};
use super::refusal;
use super::settings::{Checked, Dialect};

/// How many groups somebody may be in.
const MAX_GROUPS: usize = 1000;
/// How deep groups are looked for in groups.
const MAX_DEPTH: usize = 10;
/// How many groups one search asks for.
const AT_ONCE: usize = 100;

/// The attribute of Active Directory with the security identifiers of all groups that somebody is
/// in, nested ones and the primary one included. It is computed, and only for one entry at a time.
const TOKEN_GROUPS: &str = "tokenGroups";

/// The groups of a person.
pub(super) async fn of(
    connection: &mut Connection,
    checked: &Checked,
    person: &Entry,
) -> Result<Vec<Principal>, LoginError> {
    let mut groups = Groups {
        connection,
        checked,
        known: HashSet::new(),
        found: Vec::new(),
    };
    let settings = &checked.settings;
    if settings.dialect == Dialect::ActiveDirectory && settings.groups.nested {
        groups.of_token(person).await?;
    } else {
        groups.by_members(person).await?;
    }
    Ok(groups.found)
}

struct Groups<'a> {
    connection: &'a mut Connection,
    checked: &'a Checked,
    /// Names of those that were found, in lower case.
    known: HashSet<String>,
    found: Vec<Principal>,
}

impl Groups<'_> {
    /// Asks the controller, which knows.
    async fn of_token(&mut self, person: &Entry) -> Result<(), LoginError> {
        let found = self
            .connection
            .search(
                &person.dn,
                Scope::Base,
                &Filter::anything(),
                &[TOKEN_GROUPS],
                1,
            )
            .await
            .map_err(|failure| refusal::of_failure("read the groups of a person", failure))?;
        let values = found
            .entries
            .first()
            .map(|entry| entry.values(TOKEN_GROUPS));
        let sids: Vec<_> = values.unwrap_or_default().iter().collect();
        if sids.is_empty() {
            // It is in no group at all, or this is a server that does not compute it.
            let attribute = &self.checked.settings.groups.member_mapping_attribute;
            let holds = Filter::matching(attribute, IN_CHAIN, &person.dn);
            self.find([holds]).await?;
            return Ok(());
        }
        if sids.len() > MAX_GROUPS {
            return Err(too_many());
        }
        for some in sids.chunks(AT_ONCE) {
            let some = some.iter().filter_map(|sid| active_directory::sid(sid));
            let some: Vec<_> = some.map(|sid| Filter::equal("objectSid", &sid)).collect();
            if !some.is_empty() {
                self.find(some).await?;
            }
        }
        Ok(())
    }

    /// Looks for groups that hold the person, then for those that hold these, by breadth: a group
    /// that holds itself, over however many others, is looked for once.
    async fn by_members(&mut self, person: &Entry) -> Result<(), LoginError> {
        let settings = &self.checked.settings.groups;
        let mut members = members(&settings.member_user_attribute, person);
        let depth = if settings.nested { MAX_DEPTH } else { 1 };
        for _ in 0..depth {
            let mut next = Vec::new();
            for some in members.chunks(AT_ONCE) {
                let attribute = &settings.member_mapping_attribute;
                let holds = some.iter().map(|member| Filter::equal(attribute, member));
                next.extend(self.find(holds).await?);
            }
            members = next;
        }
        Ok(())
    }

    /// Takes in the groups that one of the filters means. The names of those that are new.
    async fn find(
        &mut self,
        filters: impl IntoIterator<Item = Filter>,
    ) -> Result<Vec<String>, LoginError> {
        let checked = self.checked;
        let settings = &checked.settings.groups;
        let filter = Filter::all([checked.group_filter.clone(), Filter::any(filters)]);
        let found = self
            .connection
            .search(
                &settings.search_base,
                Scope::Subtree,
                &filter,
                &[&settings.name_attribute],
                MAX_GROUPS,
            )
            .await
            .map_err(|failure| refusal::of_failure("search the groups of a person", failure))?;
        let mut new = Vec::new();
        for group in found.entries {
            if self.known.insert(group.dn.to_lowercase()) {
                self.found.push(super::group(checked, &group));
                new.push(group.dn);
            }
        }
        // Some of them would be rights that come and go.
        if found.more || self.found.len() > MAX_GROUPS {
            return Err(too_many());
        }
        Ok(new)
    }
}

/// What stands for a person among the members of a group.
fn members(attribute: &str, person: &Entry) -> Vec<String> {
    let is_name = ["", "dn", "entryDN", "distinguishedName"]
        .iter()
        .any(|name| attribute.eq_ignore_ascii_case(name));
    if is_name {
        return vec![person.dn.clone()];
    }
    let values = person.values(attribute).iter().take(AT_ONCE);
    values
        .filter_map(|value| String::from_utf8(value.clone()).ok())
        .collect()
}

fn too_many() -> LoginError {
    LoginError::Misconfigured(format!("somebody is in more than {MAX_GROUPS} groups"))
}
