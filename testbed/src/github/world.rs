//! Who and what there is at the stand-in for GitHub.

/// Everybody and everything.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The people.
    pub users: Vec<User>,
    /// The organisations.
    pub organizations: Vec<Organization>,
    /// Their teams.
    pub teams: Vec<Team>,
    /// The OAuth apps that are registered.
    pub applications: Vec<Application>,
    /// How many requests the REST API answers before it says that the limit is reached; without a
    /// number it never does.
    pub requests_left: Option<u32>,
}

/// A person.
#[derive(Clone, Debug)]
pub struct User {
    /// What identifies it for ever.
    pub id: u64,
    /// The name that is typed, which people may change.
    pub login: String,
    /// The password.
    pub password: String,
    /// The name that is shown.
    pub name: Option<String>,
    /// The address, which is not public.
    pub email: String,
    /// Whether the address is verified.
    pub email_verified: bool,
    /// Suspended, as GitHub Enterprise Server calls it.
    pub suspended: bool,
}

/// An organisation.
#[derive(Clone, Debug)]
pub struct Organization {
    /// What identifies it for ever.
    pub id: u64,
    /// Its name in URLs.
    pub login: String,
    /// The logins of its members.
    pub members: Vec<String>,
}

/// A team of an organisation.
#[derive(Clone, Debug)]
pub struct Team {
    /// What identifies it for ever.
    pub id: u64,
    /// The login of its organisation.
    pub organization: String,
    /// Its name in URLs.
    pub slug: String,
    /// The slug of the team above it.
    pub parent: Option<String>,
    /// The logins of its members; not of those of teams below it.
    pub members: Vec<String>,
}

/// An OAuth app.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Where people are sent back to: there, or to a folder below it.
    pub callback_url: String,
}

impl User {
    /// One with a verified address.
    #[must_use]
    pub fn new(id: u64, login: &str, password: &str) -> Self {
        Self {
            id,
            login: login.to_owned(),
            password: password.to_owned(),
            name: Some(format!("Somebody called {login}")),
            email: format!("{login}@example.test"),
            email_verified: true,
            suspended: false,
        }
    }
}

impl Organization {
    /// One with these members.
    #[must_use]
    pub fn new(id: u64, login: &str, members: &[&str]) -> Self {
        Self {
            id,
            login: login.to_owned(),
            members: owned(members),
        }
    }
}

impl Team {
    /// One with these members, below no other.
    #[must_use]
    pub fn new(id: u64, organization: &str, slug: &str, members: &[&str]) -> Self {
        Self {
            id,
            organization: organization.to_owned(),
            slug: slug.to_owned(),
            parent: None,
            members: owned(members),
        }
    }

    /// The same, below another of its organisation.
    #[must_use]
    pub fn below(mut self, parent: &str) -> Self {
        self.parent = Some(parent.to_owned());
        self
    }
}

impl World {
    /// The person with this login, as GitHub compares them.
    #[must_use]
    pub fn user(&self, login: &str) -> Option<&User> {
        (self.users.iter()).find(|user| user.login.eq_ignore_ascii_case(login))
    }

    /// The same, to be changed.
    pub fn user_mut(&mut self, login: &str) -> Option<&mut User> {
        (self.users.iter_mut()).find(|user| user.login.eq_ignore_ascii_case(login))
    }

    /// The organisation with this login.
    #[must_use]
    pub fn organization(&self, login: &str) -> Option<&Organization> {
        (self.organizations.iter()).find(|other| other.login.eq_ignore_ascii_case(login))
    }

    /// The same, to be changed.
    pub fn organization_mut(&mut self, login: &str) -> Option<&mut Organization> {
        (self.organizations.iter_mut()).find(|other| other.login.eq_ignore_ascii_case(login))
    }

    /// A team of an organisation.
    #[must_use]
    pub fn team(&self, organization: &str, slug: &str) -> Option<&Team> {
        (self.teams.iter()).find(|team| {
            team.organization.eq_ignore_ascii_case(organization)
                && team.slug.eq_ignore_ascii_case(slug)
        })
    }

    /// The same, to be changed.
    pub fn team_mut(&mut self, organization: &str, slug: &str) -> Option<&mut Team> {
        (self.teams.iter_mut()).find(|team| {
            team.organization.eq_ignore_ascii_case(organization)
                && team.slug.eq_ignore_ascii_case(slug)
        })
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Whether a login is among these.
pub(super) fn has(members: &[String], login: &str) -> bool {
    (members.iter()).any(|member| member.eq_ignore_ascii_case(login))
}
