//! Directories that speak LDAP: OpenLDAP and its like, and Active Directory.
//!
//! A login is one connection: bind as the service account, find the person, bind as the person,
//! bind as the service account again, find the groups. Everything that a directory answers is
//! bounded in size and time. Referrals to other directories are not followed.

mod active_directory;
mod ber;
mod connection;
mod filter;
mod groups;
mod message;
mod password_policy;
mod refusal;
mod settings;

use std::time::Duration;

use futures::future::BoxFuture;
use lariat_api::{Principal, PrincipalType};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::{
    Account, AuthProvider, Credentials, Known, LoginError, MAX_FOUND, MIN_SEARCHED, Refreshed,
    SettingsError,
};
use connection::Connection;
use filter::Filter;
use message::{Entry, Scope};
use settings::Checked;
pub use settings::{Dialect, GroupSettings, Security, Settings, UserSettings};

/// How long all of a login, a refresh or a search may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// Wrong names and passwords are refused at a multiple of this after they came: how long a directory takes
/// to look for nobody, or to compare a password, does not tell which of them was wrong.
const REFUSED_EVERY: Duration = Duration::from_millis(500);
/// How many of them are done at once. The others wait, within their deadline.
const AT_ONCE: usize = 16;
/// The longest name and password that are shown to a directory, in bytes.
const MAX_NAME: usize = 512;
const MAX_PASSWORD: usize = 4096;
/// The longest name that is shown to people, in characters.
const MAX_SHOWN: usize = 253;

/// What OpenLDAP's policy sets for an account that an administrator has locked for ever.
const LOCKED_ATTRIBUTE: &str = "pwdAccountLockedTime";
const LOCKED_FOR_EVER: &str = "000001010000Z";

/// The people and groups of a directory.
#[derive(Debug)]
pub struct Ldap {
    checked: Checked,
    permits: Semaphore,
}

impl Ldap {
    /// A directory with these settings. It is not asked anything yet.
    ///
    /// # Errors
    /// When the settings cannot be meant.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            checked: Checked::new(settings)?,
            permits: Semaphore::new(AT_ONCE),
        })
    }

    async fn log_in(&self, name: &str, password: &SecretString) -> Result<Account, LoginError> {
        let password = password.expose_secret();
        // A bind without a password succeeds, as nobody. NUL ends a name or password for some.
        let is_shown =
            |text: &str, limit| (1..=limit).contains(&text.len()) && !text.contains('\0');
        if !is_shown(name, MAX_NAME) || !is_shown(password, MAX_PASSWORD) {
            return Err(LoginError::Wrong);
        }
        let mut connection = self.connect().await?;
        let person = self.find(&mut connection, name).await?;
        let person = person.ok_or(LoginError::Wrong)?;
        let dialect = self.checked.settings.dialect;
        let controls = match dialect {
            Dialect::OpenLdap => vec![password_policy::request()],
            Dialect::ActiveDirectory => Vec::new(),
        };
        let bound = connection.bind(&person.dn, password, &controls).await;
        let (outcome, controls) = bound.map_err(|error| refusal::of_failure("log in", error))?;
        let welcome = match refusal::of_person(dialect, &outcome, &controls) {
            Err(LoginError::Locked) if is_locked_for_ever(&person) => Err(LoginError::Disabled),
            other => other,
        };
        welcome?;
        // Only now, so that who does not know the password learns nothing.
        if self.is_disabled(&person) {
            return Err(LoginError::Disabled);
        }
        self.bind_service(&mut connection).await?;
        self.account(connection, person).await
    }

    async fn look_up(&self, known: &Known) -> Result<Refreshed, LoginError> {
        let prefix = format!("{}://", self.user_scheme());
        let Some(dn) = known.principal.strip_prefix(&prefix) else {
            return Ok(Refreshed::Gone);
        };
        let mut connection = self.connect().await?;
        let (filter, attributes) = (&self.checked.user_filter, self.user_attributes());
        let found = connection
            .search(dn, Scope::Base, filter, &attributes, 1)
            .await;
        let person = match found {
            Ok(found) => found.entries.into_iter().next(),
            Err(failure) if refusal::is_no_such_entry(&failure) => None,
            Err(failure) => return Err(refusal::of_failure("read a person", failure)),
        };
        let same = |person: &Entry| match (&known.stable_id, self.stable_id(person)) {
            (Some(then), Some(now)) => *then == now,
            _ => true,
        };
        match person {
            Some(person) if same(&person) && !self.is_out(&person) => {
                let account = self.account(connection, person).await?;
                Ok(Refreshed::Still(account))
            }
            _ => Ok(Refreshed::Gone),
        }
    }

    async fn look_for(
        &self,
        text: &str,
        kind: Option<PrincipalType>,
    ) -> Result<Vec<Principal>, LoginError> {
        let checked = &self.checked;
        let (users, groups) = (&checked.settings.users, &checked.settings.groups);
        let begins = |names: &[String]| {
            let names: Vec<_> = (names.iter())
                .map(|name| Filter::begins(name, text))
                .collect();
            Filter::any(names)
        };
        let mut connection = self.connect().await?;
        let mut principals = Vec::new();
        if kind != Some(PrincipalType::Group) {
            let filter = Filter::all([checked.user_filter.clone(), begins(&checked.user_search)]);
            let (base, attributes) = (&users.search_base, self.user_attributes());
            let found = connection
                .search(base, Scope::Subtree, &filter, &attributes, MAX_FOUND)
                .await
                .map_err(|failure| refusal::of_failure("search people", failure))?;
            principals.extend(found.entries.iter().map(|person| self.user(person)));
        }
        if kind != Some(PrincipalType::User) {
            let filter = Filter::all([checked.group_filter.clone(), begins(&checked.group_search)]);
            let (base, attributes) = (&groups.search_base, [groups.name_attribute.as_str()]);
            let found = connection
                .search(base, Scope::Subtree, &filter, &attributes, MAX_FOUND)
                .await
                .map_err(|failure| refusal::of_failure("search groups", failure))?;
            principals.extend(found.entries.iter().map(|entry| group(checked, entry)));
        }
        connection.close().await;
        Ok(principals)
    }

    async fn read(&self, id: &str) -> Result<Option<Principal>, LoginError> {
        let checked = &self.checked;
        let (user, of_groups) = (
            format!("{}://", self.user_scheme()),
            format!("{}://", group_scheme(checked.settings.dialect)),
        );
        let (users, groups) = (&checked.settings.users, &checked.settings.groups);
        let asked = match (id.strip_prefix(&user), id.strip_prefix(&of_groups)) {
            (Some(dn), _) => {
                let attributes = self.user_attributes();
                (dn, &users.search_base, &checked.user_filter, attributes)
            }
            (None, Some(dn)) => {
                let attributes = vec![groups.name_attribute.as_str()];
                (dn, &groups.search_base, &checked.group_filter, attributes)
            }
            (None, None) => return Ok(None),
        };
        let (dn, base, filter, attributes) = asked;
        // Nobody is found by this who is not found by a search.
        if !dn.to_lowercase().ends_with(&base.to_lowercase()) {
            return Ok(None);
        }
        let mut connection = self.connect().await?;
        let found = connection
            .search(dn, Scope::Base, filter, &attributes, 1)
            .await;
        connection.close().await;
        let entry = match found {
            Ok(found) => found.entries.into_iter().next(),
            Err(failure) if refusal::is_no_such_entry(&failure) => None,
            Err(failure) => return Err(refusal::of_failure("read an entry", failure)),
        };
        Ok(entry.map(|entry| match id.starts_with(&user) {
            true => self.user(&entry),
            false => group(checked, &entry),
        }))
    }

    /// Whether the service account is let in and people and groups are where they should be.
    async fn try_out(&self) -> Result<(), LoginError> {
        let settings = &self.checked.settings;
        let mut connection = self.connect().await?;
        for (step, base) in [
            ("read the search base of users", &settings.users.search_base),
            (
                "read the search base of groups",
                &settings.groups.search_base,
            ),
        ] {
            let anything = Filter::anything();
            let found = connection
                .search(base, Scope::Base, &anything, &["1.1"], 1)
                .await
                .map_err(|failure| refusal::of_failure(step, failure))?;
            if found.entries.is_empty() {
                let message = format!("cannot {step}: the service account does not see {base:?}");
                return Err(LoginError::Misconfigured(message));
            }
        }
        connection.close().await;
        Ok(())
    }

    /// A connection to the first server that answers, bound as the service account.
    async fn connect(&self) -> Result<Connection, LoginError> {
        let settings = &self.checked.settings;
        let protection = &self.checked.protection;
        // A server that says nothing must leave time for the others.
        let servers = u32::try_from(settings.servers.len()).unwrap_or(u32::MAX);
        let patience = settings.connection_timeout / servers;
        let mut silent = Vec::new();
        for server in &settings.servers {
            let opened = Connection::open(server, settings.port, protection, patience).await;
            let bound = match opened {
                Ok(mut connection) => match self.bind_service(&mut connection).await {
                    Ok(()) => {
                        connection.set_patience(settings.connection_timeout);
                        return Ok(connection);
                    }
                    Err(error @ LoginError::Misconfigured(_)) => return Err(error),
                    Err(error) => error.to_string(),
                },
                Err(failure) => failure.to_string(),
            };
            silent.push(format!("{server}: {bound}"));
        }
        let step = "reach the directory";
        let reason = silent.join("; ");
        Err(LoginError::Unavailable { step, reason })
    }

    async fn bind_service(&self, connection: &mut Connection) -> Result<(), LoginError> {
        let settings = &self.checked.settings;
        let password = settings.service_account_password.expose_secret();
        let bound = connection
            .bind(&settings.service_account, password, &[])
            .await;
        let step = "bind the service account";
        let (outcome, _) = bound.map_err(|failure| refusal::of_failure(step, failure))?;
        refusal::of_service(&outcome)
    }

    /// The one person who logs in with that name.
    async fn find(
        &self,
        connection: &mut Connection,
        name: &str,
    ) -> Result<Option<Entry>, LoginError> {
        let users = &self.checked.settings.users;
        let login = &users.login_attribute;
        let is_meant = match self.checked.settings.dialect {
            Dialect::OpenLdap => Filter::equal(login, name),
            Dialect::ActiveDirectory if name.contains('@') => Filter::any([
                Filter::equal(login, name),
                Filter::equal("userPrincipalName", name),
            ]),
            Dialect::ActiveDirectory => {
                let name = name.rsplit_once('\\').map_or(name, |(_, name)| name);
                Filter::equal(login, name)
            }
        };
        let filter = Filter::all([self.checked.user_filter.clone(), is_meant]);
        let (base, attributes) = (&users.search_base, self.user_attributes());
        let found = connection
            .search(base, Scope::Subtree, &filter, &attributes, 1)
            .await
            .map_err(|failure| refusal::of_failure("search a person", failure))?;
        if found.more {
            let message = format!("more than one person logs in as {name:?}");
            return Err(LoginError::Misconfigured(message));
        }
        Ok(found.entries.into_iter().next())
    }

    async fn account(
        &self,
        mut connection: Connection,
        person: Entry,
    ) -> Result<Account, LoginError> {
        let groups = groups::of(&mut connection, &self.checked, &person).await?;
        connection.close().await;
        Ok(Account {
            principal: self.user(&person),
            groups,
            stable_id: self.stable_id(&person),
            grant: None,
        })
    }

    fn user_attributes(&self) -> Vec<&str> {
        let settings = &self.checked.settings;
        let mut attributes = vec![
            settings.users.login_attribute.as_str(),
            &settings.users.name_attribute,
            self.stable_attribute(),
        ];
        let optional = [
            &settings.users.enabled_attribute,
            &settings.groups.member_user_attribute,
        ];
        attributes.extend(
            optional
                .into_iter()
                .filter(|name| !name.is_empty())
                .map(String::as_str),
        );
        if settings.dialect == Dialect::OpenLdap {
            attributes.push(LOCKED_ATTRIBUTE);
        }
        attributes
    }

    fn user(&self, person: &Entry) -> Principal {
        let users = &self.checked.settings.users;
        let login_name = person.text(&users.login_attribute).unwrap_or(&person.dn);
        Principal {
            id: format!("{}://{}", self.user_scheme(), person.dn),
            display_name: short(person.text(&users.name_attribute).unwrap_or(login_name)),
            login_name: short(login_name),
            principal_type: PrincipalType::User,
            provider: self.checked.settings.dialect.provider().to_owned(),
        }
    }

    fn user_scheme(&self) -> &'static str {
        match self.checked.settings.dialect {
            Dialect::OpenLdap => "openldap_user",
            Dialect::ActiveDirectory => "activedirectory_user",
        }
    }

    fn stable_attribute(&self) -> &'static str {
        match self.checked.settings.dialect {
            Dialect::OpenLdap => "entryUUID",
            Dialect::ActiveDirectory => "objectGUID",
        }
    }

    fn stable_id(&self, person: &Entry) -> Option<String> {
        let attribute = self.stable_attribute();
        match self.checked.settings.dialect {
            Dialect::OpenLdap => person.text(attribute).map(str::to_lowercase),
            Dialect::ActiveDirectory => active_directory::guid(person.values(attribute).first()?),
        }
    }

    /// Whether an account is out, for who does not know its password.
    fn is_out(&self, person: &Entry) -> bool {
        self.is_disabled(person) || is_locked_for_ever(person)
    }

    fn is_disabled(&self, person: &Entry) -> bool {
        let users = &self.checked.settings.users;
        if users.enabled_attribute.is_empty() {
            return false;
        }
        let value = person.text(&users.enabled_attribute).unwrap_or_default();
        match users.disabled_bit_mask {
            0 => value.eq_ignore_ascii_case("FALSE"),
            mask => value.parse::<i64>().is_ok_and(|value| value & mask != 0),
        }
    }

    /// Waits for its turn, and not for ever.
    async fn limited<T>(
        &self,
        done: impl Future<Output = Result<T, LoginError>>,
    ) -> Result<T, LoginError> {
        let turn = async {
            let _permit = self.permits.acquire().await;
            done.await
        };
        timeout(DEADLINE, turn).await.unwrap_or_else(|_| {
            let step = "ask the directory";
            let reason = format!("it takes longer than {DEADLINE:?}");
            Err(LoginError::Unavailable { step, reason })
        })
    }
}

impl AuthProvider for Ldap {
    fn authenticate<'a>(
        &'a self,
        shown: Credentials,
    ) -> BoxFuture<'a, Result<Account, LoginError>> {
        let Credentials::Password { name, password } = shown;
        Box::pin(async move {
            let begun = Instant::now();
            let proved = self.limited(self.log_in(&name, &password)).await;
            if matches!(proved, Err(LoginError::Wrong)) {
                tokio::time::sleep_until(next_step(begun, Instant::now())).await;
            }
            proved
        })
    }

    fn refresh<'a>(&'a self, known: &'a Known) -> BoxFuture<'a, Result<Refreshed, LoginError>> {
        Box::pin(self.limited(self.look_up(known)))
    }

    fn search<'a>(
        &'a self,
        text: &'a str,
        kind: Option<PrincipalType>,
    ) -> BoxFuture<'a, Result<Vec<Principal>, LoginError>> {
        Box::pin(async move {
            if text.chars().count() < MIN_SEARCHED || text.len() > MAX_NAME {
                return Ok(Vec::new());
            }
            self.limited(self.look_for(text, kind)).await
        })
    }

    fn principal<'a>(
        &'a self,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Option<Principal>, LoginError>> {
        Box::pin(async move {
            if id.len() > MAX_NAME || id.contains('\0') {
                return Ok(None);
            }
            self.limited(self.read(id)).await
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LoginError>> {
        Box::pin(self.limited(self.try_out()))
    }
}

/// When to refuse who came at `begun`.
fn next_step(begun: Instant, now: Instant) -> Instant {
    let steps = (now - begun).as_nanos() / REFUSED_EVERY.as_nanos() + 1;
    begun + REFUSED_EVERY * u32::try_from(steps).unwrap_or(u32::MAX)
}

fn group_scheme(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenLdap => "openldap_group",
        Dialect::ActiveDirectory => "activedirectory_group",
    }
}

fn group(checked: &Checked, entry: &Entry) -> Principal {
    let scheme = group_scheme(checked.settings.dialect);
    let name = entry.text(&checked.settings.groups.name_attribute);
    Principal {
        id: format!("{scheme}://{}", entry.dn),
        display_name: short(name.unwrap_or(&entry.dn)),
        login_name: String::new(),
        principal_type: PrincipalType::Group,
        provider: checked.settings.dialect.provider().to_owned(),
    }
}

/// A name for people, as long as principals may have one.
fn short(name: &str) -> String {
    name.chars().take(MAX_SHOWN).collect()
}

fn is_locked_for_ever(person: &Entry) -> bool {
    person.text(LOCKED_ATTRIBUTE) == Some(LOCKED_FOR_EVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_come_in_steps() {
        let begun = Instant::now();
        let after = |milliseconds| {
            let now = begun + Duration::from_millis(milliseconds);
            (next_step(begun, now) - begun).as_millis()
        };
        assert_eq!([after(0), after(3), after(499)], [500; 3]);
        assert_eq!([after(500), after(501), after(999)], [1000; 3]);
    }
}
