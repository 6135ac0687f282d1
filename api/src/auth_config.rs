//! A login provider.

mod defaults;

use kube::core::{ClusterResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kind::{given, printable, resource, rule, rule_at};
use crate::{ApiVersion, Column, Condition, Kind, KindName, condition};

/// How people log in, and who may: one object for each provider, of a name that says which.
///
/// The fields of all providers are side by side; those of others than its type are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = of_a_provider()))]
pub struct AuthConfig {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `AuthConfig`.
    pub kind: KindName<AuthConfig>,
    /// Standard object metadata. The name is `local`, `openldap`, `activedirectory`, `github`, `oidc` or
    /// `keycloakoidc`.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Which provider it is. Follows from the name.
    #[serde(rename = "type")]
    pub type_: AuthConfigType,
    /// Whether people may log in by it. That of local accounts is always enabled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enabled: bool,
    /// Who of those whom the provider knows may log in. Defaults to `unrestricted`.
    #[serde(default)]
    pub access_mode: AccessMode,
    /// Principals of users and groups that may log in whatever the access mode, at most 1000.
    #[schemars(
        length(max = 1000),
        inner(length(min = 1, max = 1024)),
        extend("x-kubernetes-list-type" = "set"),
    )]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_principal_ids: Vec<String>,
    /// Directories: their settings.
    #[serde(flatten)]
    pub directory: DirectorySettings,
    /// Redirects to a provider (GitHub, OIDC): their settings.
    #[serde(flatten)]
    pub redirect: RedirectSettings,
    /// What the server sees of the provider. Only the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<AuthConfigStatus>,
}

/// Which provider it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AuthConfigType {
    /// Accounts of the server itself.
    #[serde(rename = "localConfig")]
    Local,
    /// An LDAP directory.
    #[serde(rename = "openLdapConfig")]
    OpenLdap,
    /// Active Directory.
    #[serde(rename = "activeDirectoryConfig")]
    ActiveDirectory,
    /// GitHub, or a GitHub Enterprise.
    #[serde(rename = "githubConfig")]
    Github,
    /// A provider of OpenID Connect.
    #[serde(rename = "oidcConfig")]
    Oidc,
    /// Keycloak, by OpenID Connect.
    #[serde(rename = "keyCloakOIDCConfig")]
    KeycloakOidc,
}

impl AuthConfigType {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Local,
        Self::OpenLdap,
        Self::ActiveDirectory,
        Self::Github,
        Self::Oidc,
        Self::KeycloakOidc,
    ];

    /// The name of the one object of this type, for example `openldap`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.words().0
    }

    /// As objects say it, for example `openLdapConfig`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.words().1
    }

    /// The same without `Config`: what names of Rancher's types begin with, for example `openLdap`.
    #[must_use]
    pub fn stem(self) -> &'static str {
        let name = self.as_str();
        name.strip_suffix("Config").unwrap_or(name)
    }

    /// The field of its settings that nobody may read, if it has one.
    #[must_use]
    pub fn secret(self) -> Option<&'static str> {
        match self {
            Self::Local => None,
            Self::OpenLdap | Self::ActiveDirectory => Some(PASSWORD),
            Self::Github | Self::Oidc | Self::KeycloakOidc => Some(CLIENT_SECRET),
        }
    }

    /// Whether browsers are sent there to log in.
    #[must_use]
    pub fn redirects(self) -> bool {
        matches!(self, Self::Github | Self::Oidc | Self::KeycloakOidc)
    }

    /// The provider of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|type_| type_.name() == name)
    }

    const fn words(self) -> (&'static str, &'static str) {
        TYPES[self as usize]
    }
}

/// Who of those whom a provider knows may log in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AccessMode {
    /// Everybody.
    #[default]
    Unrestricted,
    /// Who is allowed by name or group, or is a member of a cluster or of a project.
    Restricted,
    /// Who is allowed by name or group.
    Required,
}

/// The settings of a directory. What is left out has the defaults of its kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DirectorySettings {
    /// Names or addresses of the directory's servers, at most 10. The next one is asked when one does not
    /// answer.
    #[schemars(length(max = 10), inner(length(min = 1, max = 253)))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// Port of the servers. Defaults to 389, with `tls` to 636.
    #[schemars(range(min = 1, max = 65_535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether connections begin with TLS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// Whether connections are turned to TLS before anything else (StartTLS).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub starttls: bool,
    /// Certificates of the CA of the servers, in PEM. Empty: the platform's.
    #[schemars(length(max = 65_536))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub certificate: String,
    /// DN of the account that searches. For OpenLDAP.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account_distinguished_name: String,
    /// Name of the account that searches. For Active Directory.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account_username: String,
    /// Password of the account that searches. What is read says where it is kept.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account_password: String,
    /// Domain of users who log in without one. For Active Directory.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub default_login_domain: String,
    /// DN below which users are.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_search_base: String,
    /// Filter that users meet besides, in the notation of LDAP.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_search_filter: String,
    /// Attributes that a search for users looks at, separated by `|`.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_search_attribute: String,
    /// Attribute of the name used to log in.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_login_attribute: String,
    /// Object class of users.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_object_class: String,
    /// Attribute of the name shown to people.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_name_attribute: String,
    /// Attribute of users that lists their groups.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_member_attribute: String,
    /// Attribute with the bits that say whether a user is disabled.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_enabled_attribute: String,
    /// Which of these bits mean that the user is disabled.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_disabled_bit_mask: Option<u32>,
    /// DN below which groups are. Empty: that of users.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_search_base: String,
    /// Filter that groups meet besides, in the notation of LDAP.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_search_filter: String,
    /// Attributes that a search for groups looks at, separated by `|`.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_search_attribute: String,
    /// Object class of groups.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_object_class: String,
    /// Attribute of the name of a group.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_name_attribute: String,
    /// Attribute of the DN of a group.
    #[schemars(length(max = 253))]
    #[serde(rename = "groupDNAttribute", skip_serializing_if = "String::is_empty")]
    pub group_dn_attribute: String,
    /// Attribute of users by which groups list them.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_member_user_attribute: String,
    /// Attribute of groups that lists their members.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_member_mapping_attribute: String,
    /// Whether members of a group in a group are members of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nested_group_membership_enabled: Option<bool>,
    /// Milliseconds to wait for a server, from 100 to 60000. Defaults to 5000.
    #[schemars(range(min = 100, max = 60_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_timeout: Option<u32>,
}

/// The settings of a provider to which browsers are redirected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RedirectSettings {
    /// Name of a GitHub Enterprise. Defaults to `github.com`.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Id that the provider knows this server by.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_id: String,
    /// Secret to that id. What is read says where it is kept.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_secret: String,
    /// URL of the issuer, without `/.well-known/openid-configuration`. For OIDC.
    #[schemars(length(max = 2048), extend("x-kubernetes-validations" = [address()]))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer: String,
    /// Where the provider sends browsers back to: the URL of this server and `/verify-auth`. For OIDC.
    #[schemars(length(max = 2048), extend("x-kubernetes-validations" = [address()]))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rancher_url: String,
    /// Scopes to ask for, separated by spaces. Defaults to `openid profile email`. For OIDC.
    #[schemars(length(max = 1024), extend("x-kubernetes-validations" = [printable()]))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Claim that lists the groups of a user. Defaults to `groups`. For OIDC.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub groups_claim: String,
    /// Claim of the name shown to people. Defaults to `name`. For OIDC.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name_claim: String,
    /// Claim of the address of electronic mail. Defaults to `email`. For OIDC.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email_claim: String,
    /// How people must have proven who they are (`acr_values`). For OIDC.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub acr_value: String,
    /// Where browsers log in, if discovery does not say it. For OIDC.
    #[schemars(length(max = 2048), extend("x-kubernetes-validations" = [address()]))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth_endpoint: String,
    /// Where codes become tokens, if discovery does not say it. For OIDC.
    #[schemars(length(max = 2048), extend("x-kubernetes-validations" = [address()]))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token_endpoint: String,
    /// Where claims of users are, if discovery does not say it. For OIDC.
    #[schemars(length(max = 2048), extend("x-kubernetes-validations" = [address()]))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_info_endpoint: String,
    /// Where the provider's keys are, if discovery does not say it. For OIDC.
    #[schemars(length(max = 2048), extend("x-kubernetes-validations" = [address()]))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jwks_url: String,
    /// Where browsers log out, if discovery does not say it. For OIDC.
    #[schemars(length(max = 2048), extend("x-kubernetes-validations" = [address()]))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub end_session_endpoint: String,
    /// Whether logging out here can log out at the provider as well. For OIDC.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub logout_all_enabled: bool,
}

/// What the server sees of a login provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthConfigStatus {
    /// Which generation of the settings the conditions are about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Tested`: somebody logged in with these settings. `Reachable`: the provider answers and takes what
    /// they say; if not, its message says why.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

const PASSWORD: &str = "serviceAccountPassword";
const CLIENT_SECRET: &str = "clientSecret";

const TYPES: [(&str, &str); 6] = [
    ("local", "localConfig"),
    ("openldap", "openLdapConfig"),
    ("activedirectory", "activeDirectoryConfig"),
    ("github", "githubConfig"),
    ("oidc", "oidcConfig"),
    ("keycloakoidc", "keyCloakOIDCConfig"),
];

fn of_a_provider() -> Value {
    let is = |type_: &str| format!("self.type == '{type_}'");
    let enabled = "(has(self.enabled) && self.enabled)";
    let (ldap, active) = (is("openLdapConfig"), is("activeDirectoryConfig"));
    let directory = format!("({ldap} || {active})");
    let oidc = format!("({} || {})", is("oidcConfig"), is("keyCloakOIDCConfig"));
    let redirect = format!("({} || {oidc})", is("githubConfig"));
    let needs = |field: &str, whom: &str| {
        let expression = format!("!{enabled} || !{whom} || {}", given(field));
        rule_at(
            &format!(".{field}"),
            &expression,
            "is needed by this provider",
        )
    };
    let named =
        TYPES.map(|(name, type_)| format!("(self.metadata.name == '{name}' && {})", is(type_)));
    let names = TYPES
        .map(|(name, type_)| format!("{name}: {type_}"))
        .join(", ");
    let local = format!("!({}) || {enabled}", is("localConfig"));
    let servers =
        format!("!{enabled} || !{directory} || (has(self.servers) && self.servers.size() > 0)");
    let both = "!(has(self.tls) && self.tls && has(self.starttls) && self.starttls)";
    Value::Array(vec![
        rule_at(
            ".type",
            &named.join(" || "),
            &format!("must be the type of the provider of that name ({names})"),
        ),
        rule_at(".enabled", &local, "local accounts are always enabled"),
        rule_at(".servers", &servers, "is needed by this provider"),
        rule_at(".starttls", both, "must not be set together with tls"),
        needs("userSearchBase", &directory),
        needs("serviceAccountDistinguishedName", &format!("({ldap})")),
        needs("serviceAccountUsername", &format!("({active})")),
        needs(PASSWORD, &directory),
        needs("clientId", &redirect),
        needs(CLIENT_SECRET, &redirect),
        needs("issuer", &oidc),
        needs("rancherUrl", &oidc),
    ])
}

/// The rule of addresses of a provider.
fn address() -> Value {
    let expression = "self == '' || (isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHostname() != '')";
    rule(expression, "must be the URL of a web server")
}

resource!(AuthConfig, ClusterResourceScope);

impl AuthConfig {
    /// The object of a provider, with nothing said.
    #[must_use]
    pub fn new(type_: AuthConfigType) -> Self {
        Self {
            api_version: ApiVersion,
            kind: KindName::default(),
            metadata: ObjectMeta {
                name: Some(type_.name().to_owned()),
                ..ObjectMeta::default()
            },
            type_,
            enabled: type_ == AuthConfigType::Local,
            access_mode: AccessMode::default(),
            allowed_principal_ids: Vec::new(),
            directory: DirectorySettings::default(),
            redirect: RedirectSettings::default(),
            status: None,
        }
    }

    /// Whether somebody has logged in with these settings.
    #[must_use]
    pub fn tested(&self) -> Option<&Condition> {
        condition(&self.status.as_ref()?.conditions, "Tested")
    }

    /// Whether the provider answers.
    #[must_use]
    pub fn reachable(&self) -> Option<&Condition> {
        condition(&self.status.as_ref()?.conditions, "Reachable")
    }

    /// The fields that nobody may read, with their names.
    #[must_use]
    pub fn secrets(&self) -> [(&'static str, &str); 2] {
        [
            (PASSWORD, &self.directory.service_account_password),
            (CLIENT_SECRET, &self.redirect.client_secret),
        ]
    }

    /// The fields that nobody may read, with their names, to be changed.
    #[must_use]
    pub fn secrets_mut(&mut self) -> [(&'static str, &mut String); 2] {
        [
            (PASSWORD, &mut self.directory.service_account_password),
            (CLIENT_SECRET, &mut self.redirect.client_secret),
        ]
    }
}

impl Kind for AuthConfig {
    const KIND: &'static str = "AuthConfig";
    const PLURAL: &'static str = "authconfigs";
    const SINGULAR: &'static str = "authconfig";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const NAMESPACED: bool = false;
    const COLUMNS: &'static [Column<Self>] = &[
        Column::field("Type", "string", ".type", "Which provider it is"),
        Column::computed(
            "Enabled",
            "boolean",
            |config: &Self| json!(config.enabled),
            "Whether people may log in by it",
        ),
        Column::field(
            "Access Mode",
            "string",
            ".accessMode",
            "Who of those whom the provider knows may log in",
        ),
        Column::computed(
            "Tested",
            "string",
            |config: &Self| json!(config.tested().map(|tested| tested.status.as_str())),
            "Whether somebody has logged in with these settings",
        ),
        Column::computed(
            "Reachable",
            "string",
            |config: &Self| json!(config.reachable().map(|seen| seen.status.as_str())),
            "Whether the provider answers and takes the settings",
        ),
    ];

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        self.status = stored.and_then(|stored| stored.status.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_own_words() {
        for type_ in AuthConfigType::ALL {
            assert_eq!(json!(type_), type_.as_str());
            assert_eq!(AuthConfigType::of_name(type_.name()), Some(type_));
        }
        assert_eq!(AuthConfigType::OpenLdap.stem(), "openLdap");
        assert_eq!(AuthConfigType::of_name("saml"), None);
    }
}
