//! A login provider of the testbed: how it is set up, and what happens there.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use testbed::browser::Browser;
use testbed::directory::{Contents, Group, Member, Person};
use testbed::github::{Application, GitHub, Organization, Scheme, Team, User, World as Hub};
use testbed::oidc::{Account, Client, Oidc, OidcOptions};
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

/// What the server is known by where browsers are sent.
pub(crate) const CLIENT: &str = "lariat";
pub(crate) const SECRET: &str = "a secret";

/// The organisation whose teams are the groups at GitHub, with the numbers of those.
const ORGANIZATION: &str = "ranchers";
const TEAMS: [(u64, &str); 2] = [(1, OUTER), (2, INNER)];

/// A login provider of the testbed.
pub enum Provider {
    /// OpenLDAP.
    OpenLdap(Slapd),
    /// Active Directory.
    ActiveDirectory(Samba),
    /// OpenID Connect, to which browsers are sent.
    OpenId(Oidc),
    /// The same, set up as a Keycloak.
    Keycloak(Oidc),
    /// The stand-in for GitHub, to which browsers are sent.
    GitHub(GitHub),
}

impl Provider {
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

    /// Starts a provider of OpenID Connect for the server at `url`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn openid(testbed: &Testbed, folder: &Path, url: &str) -> Result<Self> {
        Ok(Self::OpenId(oidc(testbed, folder, url)?))
    }

    /// The same, to be set up as a Keycloak.
    ///
    /// # Errors
    /// When it does not start.
    pub fn keycloak(testbed: &Testbed, folder: &Path, url: &str) -> Result<Self> {
        Ok(Self::Keycloak(oidc(testbed, folder, url)?))
    }

    /// Starts a GitHub for the server at `url`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn github(testbed: &Testbed, folder: &Path, url: &str) -> Result<Self> {
        let everybody = [INSIDER, OUTSIDER, "root"];
        let users = everybody.iter().zip(7..);
        let hub = Hub {
            users: users
                .map(|(name, id)| User::new(id, name, PASSWORD))
                .collect(),
            organizations: vec![Organization::new(1, ORGANIZATION, &everybody)],
            teams: vec![
                Team::new(TEAMS[0].0, ORGANIZATION, OUTER, &[]),
                Team::new(TEAMS[1].0, ORGANIZATION, INNER, &[INSIDER]).below(OUTER),
            ],
            applications: vec![Application {
                client_id: CLIENT.to_owned(),
                client_secret: SECRET.to_owned(),
                callback_url: format!("{url}/verify-auth"),
            }],
            requests_left: None,
        };
        Ok(Self::GitHub(testbed.github(folder, Scheme::Https, hub)?))
    }

    /// The name of its AuthConfig.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::OpenLdap(_) => "openldap",
            Self::ActiveDirectory(_) => "activedirectory",
            Self::OpenId(_) => "oidc",
            Self::Keycloak(_) => "keycloakoidc",
            Self::GitHub(_) => "github",
        }
    }

    /// What names of types in `/v3` begin with.
    pub(crate) fn stem(&self) -> &'static str {
        match self {
            Self::OpenLdap(_) => "openLdap",
            Self::ActiveDirectory(_) => "activeDirectory",
            Self::OpenId(_) => "oidc",
            Self::Keycloak(_) => "keyCloakOIDC",
            Self::GitHub(_) => "github",
        }
    }

    pub(crate) fn login_path(&self) -> String {
        let (stem, name) = (self.stem(), self.name());
        format!("/v3-public/{stem}Providers/{name}?action=login")
    }

    pub(crate) fn config_path(&self) -> String {
        format!("/v3/{}Configs/{}", self.stem(), self.name())
    }

    /// What is tried out by an administrator who is `name` in a directory.
    pub(crate) fn trial(&self, name: &str, password: &str) -> Result<Value> {
        let (field, mut settings, reader, authority) = match self {
            Self::OpenLdap(slapd) => (
                "ldapConfig",
                json!({
                    "servers": [host(slapd.url())],
                    "port": port(slapd.url()),
                    "serviceAccountDistinguishedName": slapd.reader().name,
                    "userSearchBase": slapd.people_base(),
                    "groupSearchBase": slapd.groups_base(),
                    "nestedGroupMembershipEnabled": true,
                }),
                slapd.reader(),
                slapd.ca_file(),
            ),
            Self::ActiveDirectory(samba) => (
                "activeDirectoryConfig",
                json!({
                    "servers": [samba.address()],
                    "serviceAccountUsername": samba.reader().name,
                    "userSearchBase": samba.people_base(),
                    "nestedGroupMembershipEnabled": true,
                }),
                samba.reader(),
                samba.ca_file(),
            ),
            Self::OpenId(_) | Self::Keycloak(_) | Self::GitHub(_) => {
                bail!("no password is tried out there")
            }
        };
        settings["tls"] = json!(true);
        settings["certificate"] = json!(fs::read_to_string(authority)?);
        settings["serviceAccountPassword"] = json!(reader.password);
        Ok(json!({field: settings, "username": name, "password": password}))
    }

    /// The settings of one to which browsers are sent, and the name of their field in a trial.
    pub(crate) fn settings(&self, url: &str, secret: &str) -> Result<(String, Value)> {
        let (mut settings, authority) = match self {
            Self::OpenId(oidc) | Self::Keycloak(oidc) => (
                json!({
                    "issuer": oidc.issuer(),
                    "rancherUrl": format!("{url}/verify-auth"),
                    "scope": "openid profile email groups offline_access",
                    "logoutAllEnabled": true,
                }),
                oidc.ca_file(),
            ),
            Self::GitHub(github) => (
                json!({"hostname": github.url().trim_start_matches("https://")}),
                github.ca_file(),
            ),
            Self::OpenLdap(_) | Self::ActiveDirectory(_) => bail!("nobody is sent there"),
        };
        settings["clientId"] = json!(CLIENT);
        settings["clientSecret"] = json!(secret);
        settings["certificate"] = json!(fs::read_to_string(authority)?);
        Ok((format!("{}Config", self.stem()), settings))
    }

    /// A plain browser that trusts it.
    pub(crate) fn browser(&self) -> Result<Browser> {
        match self {
            Self::OpenId(oidc) | Self::Keycloak(oidc) => Ok(oidc.browser()?),
            Self::GitHub(github) => Ok(github.browser()?),
            Self::OpenLdap(_) | Self::ActiveDirectory(_) => bail!("it has no pages"),
        }
    }

    pub(crate) fn group(&self, name: &str) -> String {
        let id = match self {
            Self::OpenLdap(slapd) => slapd.group_dn(name),
            Self::ActiveDirectory(samba) => samba.group_dn(name),
            Self::OpenId(_) | Self::Keycloak(_) => name.to_owned(),
            Self::GitHub(_) => {
                let team = TEAMS.iter().find(|(_, team)| *team == name);
                let number = team.map(|(number, _)| *number).unwrap_or_default();
                return format!("github_team://{number}");
            }
        };
        format!("{}_group://{id}", self.name())
    }

    pub(crate) fn put_in(&self, name: &str) -> Result<()> {
        let member = Member::Person(name);
        match self {
            Self::OpenLdap(slapd) => slapd.add_member(INNER, member)?,
            Self::ActiveDirectory(samba) => samba.add_member(INNER, member)?,
            Self::OpenId(oidc) | Self::Keycloak(oidc) => {
                oidc.change_account(name, |account| account.groups = vec![OUTER.to_owned()])?;
            }
            Self::GitHub(github) => set_team(github, &[name]),
        }
        Ok(())
    }

    pub(crate) fn take_out(&self, name: &str) -> Result<()> {
        let member = Member::Person(name);
        match self {
            Self::OpenLdap(slapd) => slapd.remove_member(INNER, member)?,
            Self::ActiveDirectory(samba) => samba.remove_member(INNER, member)?,
            Self::OpenId(oidc) | Self::Keycloak(oidc) => {
                oidc.change_account(name, |account| account.groups.clear())?;
            }
            Self::GitHub(github) => set_team(github, &[]),
        }
        Ok(())
    }

    pub(crate) fn disable(&self, name: &str) -> Result<()> {
        match self {
            Self::OpenLdap(slapd) => slapd.disable(name)?,
            Self::ActiveDirectory(samba) => samba.disable(name)?,
            Self::OpenId(oidc) | Self::Keycloak(oidc) => {
                oidc.change_account(name, |account| account.disabled = true)?;
            }
            Self::GitHub(github) => set_suspended(github, name, true),
        }
        Ok(())
    }

    pub(crate) fn enable(&self, name: &str) -> Result<()> {
        match self {
            Self::OpenLdap(slapd) => slapd.enable(name)?,
            Self::ActiveDirectory(samba) => samba.enable(name)?,
            Self::OpenId(oidc) | Self::Keycloak(oidc) => {
                oidc.change_account(name, |account| account.disabled = false)?;
            }
            Self::GitHub(github) => set_suspended(github, name, false),
        }
        Ok(())
    }

    pub(crate) fn stop(&self) -> Result<()> {
        match self {
            Self::OpenLdap(slapd) => slapd.stop(),
            Self::ActiveDirectory(samba) => samba.stop()?,
            Self::OpenId(oidc) | Self::Keycloak(oidc) => oidc.stop(),
            Self::GitHub(github) => github.stop(),
        }
        Ok(())
    }

    pub(crate) fn start(&self) -> Result<()> {
        Ok(match self {
            Self::OpenLdap(slapd) => slapd.start(),
            Self::ActiveDirectory(samba) => samba.start(),
            Self::OpenId(oidc) | Self::Keycloak(oidc) => oidc.start(),
            Self::GitHub(github) => github.start(),
        }?)
    }
}

fn oidc(testbed: &Testbed, folder: &Path, url: &str) -> Result<Oidc> {
    let oidc = testbed.oidc(folder, OidcOptions::default())?;
    let client = Client::confidential(CLIENT, SECRET, &format!("{url}/verify-auth"));
    oidc.set_client(client.with_post_logout_redirect_uri(&format!("{url}/login")))?;
    for (name, groups) in [(INSIDER, &[OUTER][..]), (OUTSIDER, &[]), ("root", &[])] {
        oidc.set_account(Account::new(name, PASSWORD, groups))?;
    }
    Ok(oidc)
}

fn set_team(github: &GitHub, members: &[&str]) {
    let members = members.iter().map(|name| (*name).to_owned()).collect();
    github.change(|world| {
        if let Some(team) = world.team_mut(ORGANIZATION, INNER) {
            team.members = members;
        }
    });
}

fn set_suspended(github: &GitHub, name: &str, suspended: bool) {
    github.change(|world| {
        if let Some(user) = world.user_mut(name) {
            user.suspended = suspended;
        }
    });
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
