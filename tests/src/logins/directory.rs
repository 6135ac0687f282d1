//! A real directory as a login provider: how it is set up, and what happens in it.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use testbed::directory::{Contents, Group, Member, Person};
use testbed::samba::Samba;
use testbed::slapd::Slapd;
use testbed::{Testbed, directory};

/// The password of everybody: long, and of several kinds of characters.
pub(crate) const PASSWORD: &str = "0pen, Sesame";

/// Somebody in `on-call`, which is in `operators`.
pub(crate) const INSIDER: &str = "alice";
/// Somebody in neither.
pub(crate) const OUTSIDER: &str = "bob";
/// The group that holds a person, and the one that holds the group.
pub(crate) const INNER: &str = "on-call";
pub(crate) const OUTER: &str = "operators";

/// A directory of the testbed.
pub enum Directory {
    /// OpenLDAP.
    OpenLdap(Slapd),
    /// Active Directory.
    ActiveDirectory(Samba),
}

impl Directory {
    /// Starts an OpenLDAP.
    ///
    /// # Errors
    /// When it does not start.
    pub fn openldap(testbed: &Testbed, folder: &Path) -> Result<Self> {
        let (people, groups) = contents();
        let contents = Contents {
            people: &people,
            groups: &groups,
        };
        Ok(Self::OpenLdap(testbed.slapd(folder, &contents)?))
    }

    /// Starts a domain.
    ///
    /// # Errors
    /// When it does not start.
    pub fn active_directory(testbed: &Testbed, folder: &Path) -> Result<Self> {
        let (people, groups) = contents();
        let contents = Contents {
            people: &people,
            groups: &groups,
        };
        Ok(Self::ActiveDirectory(testbed.samba(folder, &contents)?))
    }

    /// The name of its AuthConfig.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::OpenLdap(_) => "openldap",
            Self::ActiveDirectory(_) => "activedirectory",
        }
    }

    /// What names of types in `/v3` begin with.
    pub(crate) fn stem(&self) -> &'static str {
        match self {
            Self::OpenLdap(_) => "openLdap",
            Self::ActiveDirectory(_) => "activeDirectory",
        }
    }

    pub(crate) fn login_path(&self) -> String {
        let (stem, name) = (self.stem(), self.name());
        format!("/v3-public/{stem}Providers/{name}?action=login")
    }

    pub(crate) fn config_path(&self) -> String {
        format!("/v3/{}Configs/{}", self.stem(), self.name())
    }

    /// What is tried out by an administrator who is `name` there.
    pub(crate) fn trial(&self, name: &str, password: &str) -> Result<Value> {
        let mut settings = match self {
            Self::OpenLdap(slapd) => json!({
                "servers": [host(slapd.url())],
                "port": port(slapd.url()),
                "serviceAccountDistinguishedName": slapd.reader().name,
                "userSearchBase": slapd.people_base(),
                "groupSearchBase": slapd.groups_base(),
                "nestedGroupMembershipEnabled": true,
            }),
            Self::ActiveDirectory(samba) => json!({
                "servers": [samba.address()],
                "serviceAccountUsername": samba.reader().name,
                "userSearchBase": samba.people_base(),
                "nestedGroupMembershipEnabled": true,
            }),
        };
        let (reader, authority) = match self {
            Self::OpenLdap(slapd) => (slapd.reader(), slapd.ca_file()),
            Self::ActiveDirectory(samba) => (samba.reader(), samba.ca_file()),
        };
        settings["tls"] = json!(true);
        settings["certificate"] = json!(fs::read_to_string(authority)?);
        settings["serviceAccountPassword"] = json!(reader.password);
        let field = match self {
            Self::OpenLdap(_) => "ldapConfig",
            Self::ActiveDirectory(_) => "activeDirectoryConfig",
        };
        Ok(json!({field: settings, "username": name, "password": password}))
    }

    pub(crate) fn group(&self, name: &str) -> String {
        let dn = match self {
            Self::OpenLdap(slapd) => slapd.group_dn(name),
            Self::ActiveDirectory(samba) => samba.group_dn(name),
        };
        format!("{}_group://{dn}", self.name())
    }

    pub(crate) fn put_in(&self, name: &str) -> Result<()> {
        let member = Member::Person(name);
        Ok(match self {
            Self::OpenLdap(slapd) => slapd.add_member(INNER, member),
            Self::ActiveDirectory(samba) => samba.add_member(INNER, member),
        }?)
    }

    pub(crate) fn take_out(&self, name: &str) -> Result<()> {
        let member = Member::Person(name);
        Ok(match self {
            Self::OpenLdap(slapd) => slapd.remove_member(INNER, member),
            Self::ActiveDirectory(samba) => samba.remove_member(INNER, member),
        }?)
    }

    pub(crate) fn disable(&self, name: &str) -> Result<()> {
        Ok(match self {
            Self::OpenLdap(slapd) => slapd.disable(name),
            Self::ActiveDirectory(samba) => samba.disable(name),
        }?)
    }

    pub(crate) fn enable(&self, name: &str) -> Result<()> {
        Ok(match self {
            Self::OpenLdap(slapd) => slapd.enable(name),
            Self::ActiveDirectory(samba) => samba.enable(name),
        }?)
    }

    pub(crate) fn stop(&self) -> Result<()> {
        match self {
            Self::OpenLdap(slapd) => slapd.stop(),
            Self::ActiveDirectory(samba) => samba.stop()?,
        }
        Ok(())
    }

    pub(crate) fn start(&self) -> Result<()> {
        Ok(match self {
            Self::OpenLdap(slapd) => slapd.start(),
            Self::ActiveDirectory(samba) => samba.start(),
        }?)
    }
}

fn contents() -> ([Person<'static>; 3], [Group<'static>; 2]) {
    // The last is the administrator there.
    let people = [INSIDER, OUTSIDER, "root"].map(|name| Person {
        name,
        full_name: name,
        password: PASSWORD,
    });
    let groups = [
        Group {
            name: INNER,
            members: &[directory::Member::Person(INSIDER)],
        },
        Group {
            name: OUTER,
            members: &[directory::Member::Group(INNER)],
        },
    ];
    (people, groups)
}

fn host(url: &str) -> &str {
    let address = url.rsplit('/').next().unwrap_or_default();
    address.split(':').next().unwrap_or_default()
}

fn port(url: &str) -> Option<u16> {
    url.rsplit(':').next()?.parse().ok()
}
