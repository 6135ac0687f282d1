//! An OpenLDAP directory on loopback: LDAPS and StartTLS, `memberOf`, a password policy.
//!
//! People are `inetOrgPerson`, groups `groupOfNames`, which may hold groups. `memberOf` names the
//! groups that somebody is in directly: who wants those above them asks again, as always with
//! OpenLDAP. Anonymous binds are refused.

mod config;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    Error, Result, Testbed,
    directory::{
        Answer, Contents, Credentials, Group, LdapClient, Member, Person,
        ldif::{Ldif, escape},
    },
    error::Step,
    packages,
    pki::{Pki, Subject},
    process::Process,
    site::Ports,
    slot::Slot,
};

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(30);

/// How long it may take to close its database.
const GRACE: Duration = Duration::from_secs(5);

/// After how many wrong passwords an account is locked.
pub const WRONG_PASSWORDS: u32 = 3;

/// Where everything is in it.
pub const BASE: &str = "dc=example,dc=test";

/// A directory that runs; ended when dropped.
#[derive(Debug)]
pub struct Slapd {
    process: Mutex<Option<Process>>,
    program: Command,
    slot: Arc<Slot>,
    folder: PathBuf,
    url: String,
    plain_url: String,
    client: LdapClient,
    // Held while changes are made: they pass through one file.
    changes: Mutex<()>,
}

impl Testbed {
    /// Starts a directory with these people and groups, its data and log in `folder`.
    ///
    /// # Errors
    /// When it is not installed and cannot be, does not start, or refuses the contents.
    pub fn slapd(&self, folder: &Path, contents: &Contents<'_>) -> Result<Slapd> {
        packages::ensure_all(&config::PROGRAMS)?;
        fs::create_dir_all(folder.join("data")).at("create", folder)?;
        let folder = fs::canonicalize(folder).at("resolve", folder)?;
        let pki = Pki::create(&folder.join("pki"))?;
        let server = Subject {
            common_name: "slapd",
            names: &["localhost"],
            addresses: &[std::net::Ipv4Addr::LOCALHOST.into()],
            ..Subject::default()
        };
        pki.issue("server", &server)?;
        let port = Ports::on_loopback(self.slot().index(), self.next_number()?)?.first();
        let url = format!("ldaps://127.0.0.1:{port}");
        let plain_url = format!("ldap://127.0.0.1:{}", port + 1);
        let file = folder.join("slapd.conf");
        fs::write(&file, config::text(&folder, &pki)).at("write", &file)?;
        let program = packages::find("slapd").unwrap_or_else(|| "slapd".into());
        let mut program = Command::new(program);
        program.arg("-f").arg(file);
        program.args(["-h", &format!("{url} {plain_url}"), "-d", "stats"]);
        let directory = Slapd {
            process: Mutex::default(),
            program,
            slot: Arc::clone(self.slot()),
            client: LdapClient::new(&url, &pki.path("ca.crt"))?,
            folder,
            url,
            plain_url,
            changes: Mutex::default(),
        };
        directory.start()?;
        directory.change(&config::skeleton(), &[])?;
        for person in contents.people {
            directory.add_person(person)?;
        }
        for group in contents.groups {
            directory.add_group(group)?;
        }
        Ok(directory)
    }
}

impl Slapd {
    /// Where it speaks LDAP over TLS.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it speaks LDAP, with StartTLS or without.
    #[must_use]
    pub fn plain_url(&self) -> &str {
        &self.plain_url
    }

    /// The file with the authority that signed its certificate (127.0.0.1, localhost).
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("pki/ca.crt")
    }

    /// The entry that holds the people.
    #[must_use]
    pub fn people_base(&self) -> String {
        config::PEOPLE.to_owned()
    }

    /// The entry that holds the groups.
    #[must_use]
    pub fn groups_base(&self) -> String {
        config::GROUPS.to_owned()
    }

    /// The entry of a person.
    #[must_use]
    pub fn person_dn(&self, name: &str) -> String {
        format!("uid={},{}", escape(name), config::PEOPLE)
    }

    /// The entry of a group.
    #[must_use]
    pub fn group_dn(&self, name: &str) -> String {
        format!("cn={},{}", escape(name), config::GROUPS)
    }

    /// An account that may read everything but passwords, for who searches.
    #[must_use]
    pub fn reader(&self) -> Credentials {
        Credentials {
            name: config::READER.to_owned(),
            password: config::READER_PASSWORD.to_owned(),
        }
    }

    /// A stock client, over LDAPS.
    #[must_use]
    pub fn client(&self) -> &LdapClient {
        &self.client
    }

    /// Binds as a person; the answer tells accounts that are locked and passwords that have
    /// expired or must be changed, for who asks the policy.
    ///
    /// # Errors
    /// When the client cannot be run.
    pub fn bind(&self, name: &str, password: &str) -> Result<Answer> {
        let who = Credentials {
            name: self.person_dn(name),
            password: password.to_owned(),
        };
        self.client.bind(&who, true)
    }

    /// Adds a person.
    ///
    /// # Errors
    /// When there is one of this name.
    pub fn add_person(&self, person: &Person<'_>) -> Result<()> {
        let (first, last) = match person.full_name.rsplit_once(' ') {
            Some((first, last)) => (first, last),
            None => (person.full_name, person.full_name),
        };
        // An address has only ASCII.
        let mailbox: String = (person.name.chars())
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let mail = format!("{mailbox}@example.test");
        let attributes: [(&str, &[u8]); 8] = [
            ("objectClass", b"inetOrgPerson"),
            ("uid", person.name.as_bytes()),
            ("cn", person.full_name.as_bytes()),
            ("displayName", person.full_name.as_bytes()),
            ("givenName", first.as_bytes()),
            ("sn", last.as_bytes()),
            ("mail", mail.as_bytes()),
            ("userPassword", person.password.as_bytes()),
        ];
        let entry = Ldif::default().add(&self.person_dn(person.name), &attributes);
        self.change(&entry, &[])
    }

    /// Removes a person, from its groups too.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn delete_person(&self, name: &str) -> Result<()> {
        self.change(&Ldif::default().delete(&self.person_dn(name)), &[])
    }

    /// Adds a group.
    ///
    /// # Errors
    /// When there is one of this name.
    pub fn add_group(&self, group: &Group<'_>) -> Result<()> {
        let members: Vec<_> = (group.members.iter())
            .map(|member| self.member_dn(*member))
            .collect();
        let mut attributes: Vec<(&str, &[u8])> = vec![
            ("objectClass", b"groupOfNames"),
            ("cn", group.name.as_bytes()),
            // The schema wants one at least, and groups are emptied.
            ("member", config::NOBODY.as_bytes()),
        ];
        attributes.extend(members.iter().map(|dn| ("member", dn.as_bytes())));
        let entry = Ldif::default().add(&self.group_dn(group.name), &attributes);
        self.change(&entry, &[])
    }

    /// Removes a group; who was in it stays.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn delete_group(&self, name: &str) -> Result<()> {
        self.change(&Ldif::default().delete(&self.group_dn(name)), &[])
    }

    /// Puts somebody, or a group, into a group.
    ///
    /// # Errors
    /// When it is in it already, or there is no such group.
    pub fn add_member(&self, group: &str, member: Member<'_>) -> Result<()> {
        let (group, member) = (self.group_dn(group), self.member_dn(member));
        self.change(
            &Ldif::default().add_value(&group, "member", member.as_bytes()),
            &[],
        )
    }

    /// Takes somebody, or a group, out of a group.
    ///
    /// # Errors
    /// When it is not in it.
    pub fn remove_member(&self, group: &str, member: Member<'_>) -> Result<()> {
        let (group, member) = (self.group_dn(group), self.member_dn(member));
        self.change(
            &Ldif::default().delete_value(&group, "member", member.as_bytes()),
            &[],
        )
    }

    /// Gives a person another password, as an administrator does.
    ///
    /// # Errors
    /// When there is no such person.
    pub fn set_password(&self, name: &str, password: &str) -> Result<()> {
        self.set(name, "userPassword", Some(password), &[])
    }

    /// Disables an account until [`Self::enable`]: locked by an administrator, for ever.
    ///
    /// # Errors
    /// When there is no such person.
    pub fn disable(&self, name: &str) -> Result<()> {
        self.set(name, "pwdAccountLockedTime", Some("000001010000Z"), &[])
    }

    /// Ends [`Self::disable`] and [`Self::lock_out`].
    ///
    /// # Errors
    /// When there is no such person.
    pub fn enable(&self, name: &str) -> Result<()> {
        self.set(name, "pwdAccountLockedTime", None, &[])
    }

    /// Locks an account with wrong passwords, as somebody who guesses does.
    ///
    /// # Errors
    /// When it is not locked then.
    pub fn lock_out(&self, name: &str) -> Result<()> {
        for _ in 0..WRONG_PASSWORDS {
            self.bind(name, "certainly wrong")?;
        }
        let answer = self.bind(name, "certainly wrong")?;
        if answer.text.contains("Account locked") {
            return Ok(());
        }
        Err(Error::Unexpected {
            step: format!("lock {name} out"),
            detail: answer.text,
        })
    }

    /// Makes a password so old that it has expired.
    ///
    /// # Errors
    /// When there is no such person.
    pub fn expire_password(&self, name: &str) -> Result<()> {
        let relax = ["-e", "!relax"];
        self.set(name, "pwdChangedTime", Some("20200101000000Z"), &relax)
    }

    /// Lets a person bind, and then do nothing but change the password.
    ///
    /// # Errors
    /// When there is no such person.
    pub fn require_password_change(&self, name: &str) -> Result<()> {
        self.set(name, "pwdReset", Some("TRUE"), &[])
    }

    /// Stops it, as for maintenance: connections are refused. Its data stays.
    pub fn stop(&self) {
        if let Some(process) = self.process().take() {
            process.stop(GRACE);
        }
    }

    /// Starts it, unless it runs, and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&self) -> Result<()> {
        let mut process = self.process();
        if process.is_some() {
            return Ok(());
        }
        let log = self.folder.join("slapd.log");
        let started = process.insert(Process::start(&self.slot, "slapd", &self.program, &log)?);
        started.until("slapd answering", START, || {
            let answer = self.client.bind(&config::administrator(), true)?;
            Ok(match answer.code {
                Some(0) => Ok(()),
                _ => Err(answer.text),
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

    fn member_dn(&self, member: Member<'_>) -> String {
        match member {
            Member::Person(name) => self.person_dn(name),
            Member::Group(name) => self.group_dn(name),
        }
    }

    fn set(
        &self,
        name: &str,
        attribute: &str,
        value: Option<&str>,
        controls: &[&str],
    ) -> Result<()> {
        let value = value.map(str::as_bytes);
        let change = Ldif::default().replace(&self.person_dn(name), attribute, value);
        self.change(&change, controls)
    }

    fn change(&self, ldif: &Ldif, controls: &[&str]) -> Result<()> {
        let _one_at_a_time = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.folder.join("change.ldif");
        (self.client).change(&config::administrator(), ldif, &file, controls)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match &*self.process() {
            Some(process) => process.signal(signal),
            None => Err(Error::Unsupported("slapd does not run".into())),
        }
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
