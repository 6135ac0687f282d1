//! A stand-in for GitHub: no package emulates it, so these are the endpoints that a login needs,
//! written by us after GitHub's public documentation, in this process.
//!
//! Under `/login/oauth` is the web flow of OAuth apps with PKCE; the REST API is both at the root, as at
//! `api.github.com`, and under `/api/v3`, as GitHub Enterprise Server has it:
//!
//! - `/user`, `/user/emails`, `/user/orgs`, `/user/teams`, `/user/{id}`, `/users/{login}`,
//!   `/search/users`;
//! - `/orgs/{org}`, `/organizations/{id}`, `/orgs/{org}/teams`, `/orgs/{org}/teams/{slug}`,
//!   `/teams/{id}`;
//! - `DELETE /applications/{client}/token`.
//!
//! Lists come in pages with a `Link` header, scopes are asked for, and errors are GitHub's own. Left
//! out: GitHub Apps, personal access tokens, single sign-on of organisations, their restrictions of
//! applications, secondary rate limits, most members of the objects, and everything else. The status
//! of the sign-in pages and what a wrong code verifier is told are ours: neither is documented.

mod oauth;
mod reply;
mod rest;
mod serve;
mod world;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    Error, Result, Testbed,
    browser::Browser,
    error::Step,
    pki::{Pki, Subject},
    site::Ports,
};

use serve::{Server, Shared};
pub use world::{Application, Organization, Team, User, World};

/// How it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP.
    Http,
    /// HTTPS, with a certificate of the testbed's own authority for 127.0.0.1 and localhost.
    Https,
}

/// The stand-in, which runs; ended when dropped.
#[derive(Debug)]
pub struct GitHub {
    server: Mutex<Option<Server>>,
    shared: Arc<Shared>,
    tls: Option<Arc<rustls::ServerConfig>>,
    authority: PathBuf,
    port: u16,
}

impl Testbed {
    /// Starts a GitHub with these people, organisations and applications on loopback, its
    /// certificate in `folder`.
    ///
    /// # Errors
    /// When the certificate cannot be made or the port cannot be had.
    pub fn github(&self, folder: &Path, scheme: Scheme, world: World) -> Result<GitHub> {
        fs::create_dir_all(folder).at("create", folder)?;
        let pki = Pki::create(&folder.join("pki"))?;
        let server = Subject {
            common_name: "github",
            names: &["localhost"],
            addresses: &[std::net::Ipv4Addr::LOCALHOST.into()],
            ..Subject::default()
        };
        let identity = pki.issue("server", &server)?;
        let port = Ports::on_loopback(self.slot().index(), self.next_number()?)?.first();
        let (name, tls) = match scheme {
            Scheme::Http => ("http", None),
            Scheme::Https => ("https", Some(serve::tls(&identity)?)),
        };
        let github = GitHub {
            server: Mutex::default(),
            shared: Arc::new(Shared::new(world, format!("{name}://127.0.0.1:{port}"))),
            tls,
            authority: pki.path("ca.crt"),
            port,
        };
        github.start()?;
        Ok(github)
    }
}

impl GitHub {
    /// Where it is: for `https://github.com` this, for `https://api.github.com` this or this with
    /// `/api/v3`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// The file with the authority that signed its certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.authority.clone()
    }

    /// A new browser that trusts it.
    ///
    /// # Errors
    /// When its authority cannot be read.
    pub fn browser(&self) -> Result<Browser> {
        Browser::new(&[&self.authority])
    }

    /// Changes who and what there is, at once.
    pub fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.shared.lock().world)
    }

    /// Takes back what a person has allowed all applications, with the tokens.
    pub fn revoke(&self, login: &str) {
        self.shared.lock().grants.revoke(login);
    }

    /// How many requests the REST API has been sent.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.lock().requests
    }

    /// Stops it: connections end, and new ones are refused. All it knows stays.
    pub fn stop(&self) {
        (self.server.lock().unwrap_or_else(PoisonError::into_inner)).take();
    }

    /// Starts it, unless it runs, where it was.
    ///
    /// # Errors
    /// When the port is not free.
    pub fn start(&self) -> Result<()> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if server.is_none() {
            let started = Server::start(self.port, self.tls.clone(), &self.shared);
            *server = Some(started.step(|| "start the stand-in for GitHub".into())?);
        }
        Ok(())
    }

    /// Lets every request wait until [`Self::resume`].
    pub fn pause(&self) {
        self.shared.paused.send_replace(true);
    }

    /// Ends [`Self::pause`].
    pub fn resume(&self) {
        self.shared.paused.send_replace(false);
    }
}

/// The error for TLS that cannot be prepared.
fn unusable(detail: impl std::fmt::Display) -> Error {
    Error::Unexpected {
        step: "prepare TLS for the stand-in for GitHub".into(),
        detail: detail.to_string(),
    }
}
