//! What applies where a provider's settings say nothing.

use super::{AuthConfig, AuthConfigType, DirectorySettings, RedirectSettings};

/// Milliseconds to wait for a server of a directory.
const CONNECTION_TIMEOUT: u32 = 5000;

impl AuthConfig {
    /// Says what applies where nothing is said. Names of attributes differ between directories, so that it
    /// is no matter of the schema.
    pub fn fill_in(&mut self) {
        match self.type_ {
            AuthConfigType::Local => {}
            AuthConfigType::OpenLdap => self.directory.fill_in(&OPEN_LDAP),
            AuthConfigType::ActiveDirectory => {
                self.directory.fill_in(&ACTIVE_DIRECTORY);
                self.directory.user_disabled_bit_mask.get_or_insert(2);
            }
            AuthConfigType::Github => fill(&mut self.redirect.hostname, "github.com"),
            AuthConfigType::Oidc | AuthConfigType::KeycloakOidc => self.redirect.fill_in(),
        }
    }
}

/// Attributes and classes of a directory.
struct Names {
    user_search: &'static str,
    user_login: &'static str,
    user_class: &'static str,
    user_name: &'static str,
    user_enabled: &'static str,
    group_search: &'static str,
    group_class: &'static str,
    group_name: &'static str,
    dn: &'static str,
}

const OPEN_LDAP: Names = Names {
    user_search: "uid|sn|givenName",
    user_login: "uid",
    user_class: "inetOrgPerson",
    user_name: "cn",
    user_enabled: "",
    group_search: "cn",
    group_class: "groupOfNames",
    group_name: "cn",
    dn: "entryDN",
};

const ACTIVE_DIRECTORY: Names = Names {
    user_search: "sAMAccountName|sn|givenName",
    user_login: "sAMAccountName",
    user_class: "person",
    user_name: "name",
    user_enabled: "userAccountControl",
    group_search: "sAMAccountName",
    group_class: "group",
    group_name: "name",
    dn: "distinguishedName",
};

impl DirectorySettings {
    fn fill_in(&mut self, names: &Names) {
        let port = if self.tls { 636 } else { 389 };
        self.port.get_or_insert(port);
        self.connection_timeout.get_or_insert(CONNECTION_TIMEOUT);
        fill(&mut self.user_search_attribute, names.user_search);
        fill(&mut self.user_login_attribute, names.user_login);
        fill(&mut self.user_object_class, names.user_class);
        fill(&mut self.user_name_attribute, names.user_name);
        fill(&mut self.user_member_attribute, "memberOf");
        fill(&mut self.user_enabled_attribute, names.user_enabled);
        fill(&mut self.group_search_attribute, names.group_search);
        fill(&mut self.group_object_class, names.group_class);
        fill(&mut self.group_name_attribute, names.group_name);
        fill(&mut self.group_dn_attribute, names.dn);
        fill(&mut self.group_member_user_attribute, names.dn);
        fill(&mut self.group_member_mapping_attribute, "member");
    }
}

impl RedirectSettings {
    fn fill_in(&mut self) {
        fill(&mut self.scope, "openid profile email");
        fill(&mut self.groups_claim, "groups");
        fill(&mut self.name_claim, "name");
        fill(&mut self.email_claim, "email");
    }
}

fn fill(field: &mut String, default: &str) {
    if field.is_empty() {
        default.clone_into(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(fields: serde_json::Value) -> AuthConfig {
        let mut object = fields;
        object["apiVersion"] = "management.cattle.io/v3".into();
        object["kind"] = "AuthConfig".into();
        let mut config: AuthConfig = serde_json::from_value(object).unwrap();
        config.fill_in();
        config
    }

    #[test]
    fn directories_differ_in_the_names_of_attributes() {
        let ldap = config(serde_json::json!({"type": "openLdapConfig"})).directory;
        let active = serde_json::json!({"type": "activeDirectoryConfig", "tls": true});
        let active = config(active).directory;
        assert_eq!((ldap.port, active.port), (Some(389), Some(636)));
        assert_eq!(ldap.user_login_attribute, "uid");
        assert_eq!(active.user_login_attribute, "sAMAccountName");
        assert_eq!(ldap.user_disabled_bit_mask, None);
        assert_eq!(active.user_disabled_bit_mask, Some(2));
        assert_eq!(active.group_dn_attribute, "distinguishedName");
    }

    #[test]
    fn what_is_said_stays() {
        let mut first = config(serde_json::json!({"type": "openLdapConfig",
            "userLoginAttribute": "mail", "port": 1389, "connectionTimeout": 100}));
        assert_eq!(first.directory.user_login_attribute, "mail");
        assert_eq!(first.directory.port, Some(1389));
        let again = first.clone();
        first.fill_in();
        assert_eq!(first, again);
        let local = config(serde_json::json!({"type": "localConfig", "enabled": true}));
        assert_eq!(local.directory, DirectorySettings::default());
        assert_eq!(local.redirect, RedirectSettings::default());
    }
}
