//! How a directory is reached, and what is where in it.

use std::sync::Arc;
use std::time::Duration;

use lariat_api::{AuthConfig, AuthConfigType};
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};

use super::connection::Protection;
use super::filter::{Filter, InvalidFilter, is_name};
use crate::authn::provider::{SettingsError, tls};

/// The most servers that one directory has.
const MAX_SERVERS: usize = 16;

/// How a directory is reached, and what is where in it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which manners it has.
    pub dialect: Dialect,
    /// Host names or addresses. One that does not answer is followed by the next.
    pub servers: Vec<String>,
    /// 389, or 636 with TLS from the first byte.
    pub port: u16,
    /// How connections are protected.
    pub security: Security,
    /// The authorities that sign the servers' certificates, in PEM. Empty: those of the platform.
    pub certificate: String,
    /// The name with which the directory is searched: a distinguished name, or in Active Directory
    /// also `CORP\reader` and `reader@corp.example.com`.
    pub service_account: String,
    /// Its password.
    pub service_account_password: SecretString,
    /// The domain of names of the service account that have none (Active Directory).
    pub default_login_domain: String,
    /// How long it may take until a server is connected, and until each answer of it.
    pub connection_timeout: Duration,
    /// The people.
    pub users: UserSettings,
    /// The groups.
    pub groups: GroupSettings,
}

/// Which manners a directory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Those of the standards: OpenLDAP, 389 Directory Server and others.
    OpenLdap,
    /// Those of Active Directory.
    ActiveDirectory,
}

impl Dialect {
    /// The name of the AuthConfig of directories that speak it.
    #[must_use]
    pub fn provider(self) -> &'static str {
        match self {
            Self::OpenLdap => "openldap",
            Self::ActiveDirectory => "activedirectory",
        }
    }
}

/// How connections are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Passwords are sent in the clear.
    None,
    /// TLS from the first byte.
    Tls,
    /// TLS from when both ends have agreed on it.
    StartTls,
}

/// Where people are, and what is known of them.
#[derive(Clone, Debug)]
pub struct UserSettings {
    /// The entry that holds them.
    pub search_base: String,
    /// What they are.
    pub object_class: String,
    /// A filter that narrows who is meant. Empty: none.
    pub search_filter: String,
    /// What one types to log in.
    pub login_attribute: String,
    /// The name that people read.
    pub name_attribute: String,
    /// What is looked at by a search, separated by `|`.
    pub search_attribute: String,
    /// A number whose bits tell who is disabled. Empty: none.
    pub enabled_attribute: String,
    /// Which of its bits do. 0: the word `FALSE` does.
    pub disabled_bit_mask: i64,
}

/// Where groups are, and who is in them.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// The entry that holds them. Empty: that of the people.
    pub search_base: String,
    /// What they are.
    pub object_class: String,
    /// A filter that narrows which are meant. Empty: none.
    pub search_filter: String,
    /// The name that people read.
    pub name_attribute: String,
    /// What is looked at by a search, separated by `|`.
    pub search_attribute: String,
    /// The attribute of a group that names its members.
    pub member_mapping_attribute: String,
    /// The attribute of a person that stands there. Empty, `entryDN` or `distinguishedName`: the
    /// distinguished name.
    pub member_user_attribute: String,
    /// Whether who is in a group is also in the groups that this group is in.
    pub nested: bool,
}

impl Settings {
    /// What a directory of that dialect usually has. Servers, the service account and where people
    /// are remain to be told.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        let is_active_directory = dialect == Dialect::ActiveDirectory;
        let either = |openldap: &str, active_directory: &str| match dialect {
            Dialect::OpenLdap => openldap.to_owned(),
            Dialect::ActiveDirectory => active_directory.to_owned(),
        };
        Self {
            dialect,
            servers: Vec::new(),
            port: 389,
            security: Security::None,
            certificate: String::new(),
            service_account: String::new(),
            service_account_password: SecretString::default(),
            default_login_domain: String::new(),
            connection_timeout: Duration::from_secs(5),
            users: UserSettings {
                search_base: String::new(),
                object_class: either("inetOrgPerson", "person"),
                search_filter: String::new(),
                login_attribute: either("uid", "sAMAccountName"),
                name_attribute: either("cn", "name"),
                search_attribute: either("uid|sn|givenName", "sAMAccountName|sn|givenName"),
                enabled_attribute: either("", "userAccountControl"),
                disabled_bit_mask: if is_active_directory { 2 } else { 0 },
            },
            groups: GroupSettings {
                search_base: String::new(),
                object_class: either("groupOfNames", "group"),
                search_filter: String::new(),
                name_attribute: either("cn", "name"),
                search_attribute: either("cn", "sAMAccountName"),
                member_mapping_attribute: "member".to_owned(),
                member_user_attribute: either("entryDN", "distinguishedName"),
                nested: is_active_directory,
            },
        }
    }
}

impl Settings {
    /// What an AuthConfig says of a directory, with the password of the service account. `None` if it is not
    /// about one.
    #[must_use]
    pub fn of(config: &AuthConfig, password: SecretString) -> Option<Self> {
        let dialect = match config.type_ {
            AuthConfigType::OpenLdap => Dialect::OpenLdap,
            AuthConfigType::ActiveDirectory => Dialect::ActiveDirectory,
            _ => return None,
        };
        let mut config = config.clone();
        config.fill_in();
        let said = config.directory;
        let usual = Self::new(dialect);
        let timeout = said.connection_timeout.map(u64::from);
        Some(Self {
            dialect,
            servers: said.servers,
            port: said.port.unwrap_or(usual.port),
            security: match (said.tls, said.starttls) {
                (true, _) => Security::Tls,
                (false, true) => Security::StartTls,
                (false, false) => Security::None,
            },
            certificate: said.certificate,
            service_account: match dialect {
                Dialect::OpenLdap => said.service_account_distinguished_name,
                Dialect::ActiveDirectory => said.service_account_username,
            },
            service_account_password: password,
            default_login_domain: said.default_login_domain,
            connection_timeout: timeout.map_or(usual.connection_timeout, Duration::from_millis),
            users: UserSettings {
                search_base: said.user_search_base,
                object_class: said.user_object_class,
                search_filter: said.user_search_filter,
                login_attribute: said.user_login_attribute,
                name_attribute: said.user_name_attribute,
                search_attribute: said.user_search_attribute,
                enabled_attribute: said.user_enabled_attribute,
                disabled_bit_mask: said.user_disabled_bit_mask.map_or(0, i64::from),
            },
            groups: GroupSettings {
                search_base: said.group_search_base,
                object_class: said.group_object_class,
                search_filter: said.group_search_filter,
                name_attribute: said.group_name_attribute,
                search_attribute: said.group_search_attribute,
                member_mapping_attribute: said.group_member_mapping_attribute,
                member_user_attribute: said.group_member_user_attribute,
                nested: (said.nested_group_membership_enabled).unwrap_or(usual.groups.nested),
            },
        })
    }
}

/// Settings that can be meant, in the form in which they are used.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) settings: Settings,
    pub(super) protection: Protection,
    pub(super) user_filter: Filter,
    pub(super) user_search: Vec<String>,
    pub(super) group_filter: Filter,
    pub(super) group_search: Vec<String>,
}

impl Checked {
    pub(super) fn new(mut settings: Settings) -> Result<Self, SettingsError> {
        let Settings { users, groups, .. } = &mut settings;
        if groups.search_base.is_empty() {
            groups.search_base.clone_from(&users.search_base);
        }
        for (field, name) in [
            ("userObjectClass", &users.object_class),
            ("userLoginAttribute", &users.login_attribute),
            ("userNameAttribute", &users.name_attribute),
            ("groupObjectClass", &groups.object_class),
            ("groupNameAttribute", &groups.name_attribute),
            (
                "groupMemberMappingAttribute",
                &groups.member_mapping_attribute,
            ),
        ] {
            check_name(field, name)?;
        }
        for (field, name) in [
            ("userEnabledAttribute", &users.enabled_attribute),
            ("groupMemberUserAttribute", &groups.member_user_attribute),
        ] {
            if !name.is_empty() {
                check_name(field, name)?;
            }
        }
        let user_filter = narrowed(
            "userSearchFilter",
            &users.object_class,
            &users.search_filter,
        )?;
        let group_filter = narrowed(
            "groupSearchFilter",
            &groups.object_class,
            &groups.search_filter,
        )?;
        let user_search = names("userSearchAttribute", &users.search_attribute)?;
        let group_search = names("groupSearchAttribute", &groups.search_attribute)?;
        if users.search_base.is_empty() {
            return Err(SettingsError::Missing("userSearchBase"));
        }
        check_servers(&settings)?;
        // Without them every bind would succeed, as nobody.
        if settings.service_account.is_empty() {
            return Err(SettingsError::Missing("serviceAccountDistinguishedName"));
        }
        if settings.service_account_password.expose_secret().is_empty() {
            return Err(SettingsError::Missing("serviceAccountPassword"));
        }
        settings.service_account = service_account(&settings);
        let protection = match settings.security {
            Security::None => Protection::None,
            Security::Tls => Protection::Tls(tls(&settings.certificate)?),
            Security::StartTls => Protection::StartTls(tls(&settings.certificate)?),
        };
        Ok(Self {
            settings,
            protection,
            user_filter,
            user_search,
            group_filter,
            group_search,
        })
    }
}

fn check_servers(settings: &Settings) -> Result<(), SettingsError> {
    if settings.servers.is_empty() {
        return Err(SettingsError::Missing("servers"));
    }
    let invalid = |reason: String| {
        let field = "servers";
        Err(SettingsError::Invalid { field, reason })
    };
    if settings.servers.len() > MAX_SERVERS {
        return invalid(format!("there are more than {MAX_SERVERS}"));
    }
    for server in &settings.servers {
        if url::Host::parse(server).is_err() && server.parse::<std::net::IpAddr>().is_err() {
            return invalid(format!("{server:?} is neither a host name nor an address"));
        }
    }
    if settings.port == 0 || settings.connection_timeout.is_zero() {
        let field = "port, connectionTimeout";
        let reason = "is 0".to_owned();
        return Err(SettingsError::Invalid { field, reason });
    }
    Ok(())
}

/// The name with which the directory is searched, with its domain.
fn service_account(settings: &Settings) -> String {
    let name = &settings.service_account;
    let domain = &settings.default_login_domain;
    let has_domain = name.contains(['\\', '@', '=']);
    if settings.dialect == Dialect::OpenLdap || domain.is_empty() || has_domain {
        return name.clone();
    }
    format!("{domain}\\{name}")
}

fn check_name(field: &'static str, name: &str) -> Result<(), SettingsError> {
    if name.is_empty() {
        return Err(SettingsError::Missing(field));
    }
    if !is_name(name) {
        let reason = format!("{name:?} is not the name of an attribute or class");
        return Err(SettingsError::Invalid { field, reason });
    }
    Ok(())
}

fn names(field: &'static str, list: &str) -> Result<Vec<String>, SettingsError> {
    let names = list.split('|').map(|name| {
        let name = name.trim();
        check_name(field, name).map(|()| name.to_owned())
    });
    names.collect()
}

fn narrowed(field: &'static str, class: &str, filter: &str) -> Result<Filter, SettingsError> {
    let is_one = Filter::equal("objectClass", class);
    if filter.trim().is_empty() {
        return Ok(is_one);
    }
    let filter = Filter::parse(filter).map_err(|error: InvalidFilter| {
        let reason = error.to_string();
        SettingsError::Invalid { field, reason }
    })?;
    Ok(Filter::all([is_one, filter]))
}

fn tls(authorities: &str) -> Result<Arc<ClientConfig>, SettingsError> {
    tls::client(authorities).map_err(|reason| SettingsError::Invalid {
        field: "certificate",
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dialect: Dialect) -> Settings {
        let mut settings = Settings::new(dialect);
        settings.servers = vec!["ldap.example.com".into()];
        settings.service_account = "reader".into();
        settings.service_account_password = "secret".into();
        settings.users.search_base = "dc=example,dc=com".into();
        settings
    }

    #[test]
    fn what_an_auth_config_leaves_out_is_usual() {
        for (type_, dialect) in [
            (AuthConfigType::OpenLdap, Dialect::OpenLdap),
            (AuthConfigType::ActiveDirectory, Dialect::ActiveDirectory),
        ] {
            let mut config = AuthConfig::new(type_);
            config.directory.servers = vec!["ldap.example.com".into()];
            config.directory.service_account_distinguished_name = "reader".into();
            config.directory.service_account_username = "reader".into();
            config.directory.user_search_base = "dc=example,dc=com".into();
            let read = Settings::of(&config, "secret".into()).unwrap();
            assert_eq!(format!("{read:?}"), format!("{:?}", settings(dialect)));
            config.directory.tls = true;
            let read = Settings::of(&config, "secret".into()).unwrap();
            assert_eq!((read.port, read.security), (636, Security::Tls));
        }
        let github = AuthConfig::new(AuthConfigType::Github);
        assert!(Settings::of(&github, SecretString::default()).is_none());
    }

    type Change = dyn Fn(&mut Settings);

    fn refused(change: impl Fn(&mut Settings)) -> SettingsError {
        let mut settings = settings(Dialect::OpenLdap);
        change(&mut settings);
        Checked::new(settings).unwrap_err()
    }

    #[test]
    fn what_is_usual_is_good_and_groups_are_beside_people() {
        for dialect in [Dialect::OpenLdap, Dialect::ActiveDirectory] {
            let checked = Checked::new(settings(dialect)).unwrap();
            assert_eq!(checked.settings.groups.search_base, "dc=example,dc=com");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let missing = SettingsError::Missing;
        assert_eq!(refused(|s| s.servers.clear()), missing("servers"));
        let no_password = refused(|s| s.service_account_password = SecretString::default());
        assert_eq!(no_password, missing("serviceAccountPassword"));
        let nobody = refused(|s| s.service_account.clear());
        assert_eq!(nobody, missing("serviceAccountDistinguishedName"));
        let nowhere = refused(|s| s.users.search_base.clear());
        assert_eq!(nowhere, missing("userSearchBase"));
        let changes: [(&Change, &str); 6] = [
            (
                &|s| s.users.login_attribute = "uid)(x".into(),
                "userLoginAttribute",
            ),
            (
                &|s| s.users.search_filter = "(a=b".into(),
                "userSearchFilter",
            ),
            (
                &|s| s.groups.search_filter = ")(".into(),
                "groupSearchFilter",
            ),
            (
                &|s| s.users.search_attribute = "uid|*".into(),
                "userSearchAttribute",
            ),
            (&|s| s.servers = vec!["a b".into()], "servers"),
            (&|s| s.servers = vec!["ldap".into(); 17], "servers"),
        ];
        for (change, field) in changes {
            let error = refused(change);
            let found = match &error {
                SettingsError::Invalid { field, .. } | SettingsError::Missing(field) => *field,
            };
            assert_eq!(found, field, "{error}");
        }
        let certificate = |pem: &'static str| {
            refused(|s| {
                s.security = Security::Tls;
                s.certificate = pem.into();
            })
        };
        assert!(
            certificate("nothing")
                .to_string()
                .starts_with("certificate: ")
        );
    }

    #[test]
    fn a_service_account_of_a_domain_is_named_with_it() {
        let named = |name: &str| {
            let mut settings = settings(Dialect::ActiveDirectory);
            settings.default_login_domain = "CORP".into();
            settings.service_account = name.into();
            service_account(&settings)
        };
        assert_eq!(named("reader"), r"CORP\reader");
        for name in [r"OTHER\reader", "reader@corp.test", "cn=reader,dc=corp"] {
            assert_eq!(named(name), name);
        }
    }
}
