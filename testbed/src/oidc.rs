//! A real OpenID provider: the certified library `oidc-provider` over HTTPS on loopback, with
//! accounts and clients that can be changed while it runs.
//!
//! PKCE is required of every client, consent is asked for once, a refresh token is given to every
//! client that may have one and is good for one use, and the claims `name`, `preferred_username`,
//! `email`, `email_verified` and `groups` are in the ID token and at the userinfo endpoint when
//! their scopes (`profile`, `email`, `groups`) were asked for. The issuer has a path, as
//! Keycloak's has. What the provider remembers, and its keys, outlive a stop.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde::Serialize;

use crate::{
    Error, Result, Testbed,
    browser::{Browser, Visit},
    error::Step,
    npm::Package,
    pki::{Pki, Subject},
    process::Process,
    site::Ports,
    slot::Slot,
};

const PROVIDER: Package = Package {
    name: "oidc",
    manifest: include_str!("../tools/oidc-provider/package.json"),
    lock: include_str!("../tools/oidc-provider/package-lock.json"),
    program: (
        "provider.mjs",
        include_str!("../tools/oidc-provider/provider.mjs"),
    ),
};

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(30);

/// How long it may take to write down what it remembers.
const GRACE: Duration = Duration::from_secs(5);

/// Somebody who can sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// What identifies it for ever: `sub`.
    pub subject: String,
    /// What is typed to sign in: `preferred_username`.
    pub name: String,
    /// The password.
    pub password: String,
    /// The name that is shown: `name`.
    pub full_name: String,
    /// The address: `email`.
    pub email: String,
    /// Whether the provider vouches for it: `email_verified`.
    pub email_verified: bool,
    /// The names of its groups: `groups`.
    pub groups: Vec<String>,
    /// Whether it is refused, and what it had been given with it.
    pub disabled: bool,
}

impl Account {
    /// One with a verified address, in these groups.
    #[must_use]
    pub fn new(name: &str, password: &str, groups: &[&str]) -> Self {
        Self {
            subject: format!("subject-of-{name}"),
            name: name.to_owned(),
            password: password.to_owned(),
            full_name: format!("Somebody called {name}"),
            email: format!("{name}@example.test"),
            email_verified: true,
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            disabled: false,
        }
    }
}

/// An application that people sign in to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Client {
    #[serde(rename = "client_id")]
    id: String,
    #[serde(rename = "client_secret", skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    token_endpoint_auth_method: &'static str,
    redirect_uris: Vec<String>,
    post_logout_redirect_uris: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backchannel_logout_uri: Option<String>,
    grant_types: [&'static str; 2],
    response_types: [&'static str; 1],
}

impl Client {
    /// One that shows its secret by HTTP Basic, and is returned to at this URI after a login.
    #[must_use]
    pub fn confidential(id: &str, secret: &str, redirect_uri: &str) -> Self {
        Self {
            secret: Some(secret.to_owned()),
            token_endpoint_auth_method: "client_secret_basic",
            ..Self::public(id, redirect_uri)
        }
    }

    /// One that has no secret.
    #[must_use]
    pub fn public(id: &str, redirect_uri: &str) -> Self {
        Self {
            id: id.to_owned(),
            secret: None,
            token_endpoint_auth_method: "none",
            redirect_uris: vec![redirect_uri.to_owned()],
            post_logout_redirect_uris: Vec::new(),
            backchannel_logout_uri: None,
            grant_types: ["authorization_code", "refresh_token"],
            response_types: ["code"],
        }
    }

    /// The same, returned to at this URI after a logout.
    #[must_use]
    pub fn with_post_logout_redirect_uri(mut self, uri: &str) -> Self {
        self.post_logout_redirect_uris.push(uri.to_owned());
        self
    }

    /// The same, told of logouts at this URI.
    #[must_use]
    pub fn with_backchannel_logout_uri(mut self, uri: &str) -> Self {
        self.backchannel_logout_uri = Some(uri.to_owned());
        self
    }
}

/// How a provider is to be.
#[derive(Clone, Copy, Debug)]
pub struct OidcOptions {
    /// How long access and ID tokens are good for.
    pub tokens_for: Duration,
}

impl Default for OidcOptions {
    /// Five minutes.
    fn default() -> Self {
        Self {
            tokens_for: Duration::from_secs(300),
        }
    }
}

#[derive(Debug, Default, Serialize)]
struct Directory {
    accounts: Vec<Account>,
    clients: Vec<Client>,
}

/// A provider that runs; ended when dropped.
#[derive(Debug)]
pub struct Oidc {
    process: Mutex<Option<Process>>,
    directory: Mutex<Directory>,
    program: Command,
    slot: Arc<Slot>,
    folder: PathBuf,
    issuer: String,
}

impl Testbed {
    /// Starts a provider without accounts and clients, its data and log in `folder`.
    ///
    /// # Errors
    /// When Node.js or the library cannot be fetched, or it does not start.
    pub fn oidc(&self, folder: &Path, options: OidcOptions) -> Result<Oidc> {
        fs::create_dir_all(folder).at("create", folder)?;
        let folder = fs::canonicalize(folder).at("resolve", folder)?;
        let pki = Pki::create(&folder.join("pki"))?;
        let server = Subject {
            common_name: "oidc",
            names: &["localhost"],
            addresses: &[std::net::Ipv4Addr::LOCALHOST.into()],
            ..Subject::default()
        };
        pki.issue("server", &server)?;
        let port = Ports::on_loopback(self.slot().index(), self.next_number()?)?.first();
        let issuer = format!("https://127.0.0.1:{port}/realms/corp");
        let settings = serde_json::json!({
            "issuer": issuer,
            "certificate": pki.path("server.crt"),
            "key": pki.path("server.key"),
            "cookieKey": "a key of the tests",
            "tokenSeconds": options.tokens_for.as_secs(),
        });
        write(&folder, "settings.json", &settings)?;
        let mut program = PROVIDER.command()?;
        program.arg(&folder);
        let provider = Oidc {
            process: Mutex::default(),
            directory: Mutex::default(),
            program,
            slot: Arc::clone(self.slot()),
            folder,
            issuer,
        };
        provider.change(|_| ())?;
        provider.start()?;
        Ok(provider)
    }
}

impl Oidc {
    /// The issuer; discovery is at `/.well-known/openid-configuration` behind it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The file with the authority that signed its certificate (127.0.0.1, localhost).
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("pki/ca.crt")
    }

    /// A new browser that trusts it.
    ///
    /// # Errors
    /// When its authority cannot be read.
    pub fn browser(&self) -> Result<Browser> {
        Browser::new(&[&self.ca_file()])
    }

    /// Adds an account, or replaces the one with its subject.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn set_account(&self, account: Account) -> Result<()> {
        self.change(|directory| {
            (directory.accounts).retain(|other| other.subject != account.subject);
            directory.accounts.push(account);
        })
    }

    /// Changes the account with this name; it is asked for with the next login or token.
    ///
    /// # Errors
    /// When there is none.
    pub fn change_account(&self, name: &str, change: impl FnOnce(&mut Account)) -> Result<()> {
        self.change(|directory| {
            let account = (directory.accounts.iter_mut()).find(|account| account.name == name);
            account.map(change)
        })?
        .ok_or_else(|| Error::Unsupported(format!("there is no account {name}")))
    }

    /// Removes the account with this name, if there is one.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn delete_account(&self, name: &str) -> Result<()> {
        self.change(|directory| directory.accounts.retain(|account| account.name != name))
    }

    /// Adds a client, or replaces the one with its id.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn set_client(&self, client: Client) -> Result<()> {
        self.change(|directory| {
            directory.clients.retain(|other| other.id != client.id);
            directory.clients.push(client);
        })
    }

    /// Signs with another key from then on, known by another name. It is restarted for that.
    ///
    /// # Errors
    /// When it does not start again.
    pub fn replace_keys(&self) -> Result<()> {
        self.stop();
        let keys = self.folder.join("keys.json");
        fs::remove_file(&keys).at("remove", &keys)?;
        self.start()
    }

    /// Stops it: connections are refused. What it remembers stays.
    pub fn stop(&self) {
        if let Some(process) = lock(&self.process).take() {
            process.stop(GRACE);
        }
    }

    /// Starts it, unless it runs, and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&self) -> Result<()> {
        let mut process = lock(&self.process);
        if process.is_some() {
            return Ok(());
        }
        let log = self.folder.join("oidc.log");
        let started = process.insert(Process::start(&self.slot, "oidc", &self.program, &log)?);
        let discovery = format!("{}/.well-known/openid-configuration", self.issuer);
        let mut browser = self.browser()?;
        started.until("the provider answering", START, || {
            Ok(match browser.open(&discovery) {
                Ok(Visit::Page(page)) if page.status == 200 => Ok(()),
                Ok(other) => Err(format!("{other:?}")),
                Err(error) => Err(error.to_string()),
            })
        })
    }

    /// Stops it where it is (SIGSTOP): it is connected to, and does not answer.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on after [`Self::pause`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match &*lock(&self.process) {
            Some(process) => process.signal(signal),
            None => Err(Error::Unsupported("the provider does not run".into())),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Directory) -> T) -> Result<T> {
        let mut directory = lock(&self.directory);
        let result = change(&mut directory);
        write(&self.folder, "directory.json", &*directory)?;
        Ok(result)
    }
}

/// Writes a file that another process reads, so that it is never seen in part.
fn write(folder: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    let file = folder.join(name);
    let text = serde_json::to_vec(value).map_err(|error| Error::Unexpected {
        step: format!("write {name}"),
        detail: error.to_string(),
    })?;
    let draft = folder.join(format!("{name}.new"));
    fs::write(&draft, text).at("write", &draft)?;
    fs::rename(&draft, &file).at("write", &file)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
