//! An Active Directory domain: a domain controller of Samba in a network namespace of its own.
//!
//! The domain is made once and kept in the cache; each start takes a copy, so all have the same
//! security identifier, and only people and groups differ. It serves LDAP and the global catalog,
//! no Kerberos and no files. A simple bind without TLS is refused (strongerAuthRequired, 8).
//!
//! What it answers to a bind that it refuses is the code 49 with, in its text, `data` and: `52e`
//! for a wrong password or name, `533` for a disabled account, `775` for one that is locked out,
//! `701` for one that has expired, `532` for an expired password, `773` for one that must be
//! changed. Like Active Directory it says so only to who has the right password.

mod domain;

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    Error, Result, Testbed, command,
    directory::{
        Answer, Contents, Credentials, Group, LdapClient, Member, Person,
        ldif::{Ldif, escape},
    },
    error::Step,
    network::{Hub, Segment},
    packages,
    pki::{Pki, Subject},
    process::Process,
    slot::Slot,
};

pub use domain::{BASE, NETBIOS_NAME, REALM};

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(120);

const LDAPS: u16 = 636;

/// After how many wrong passwords an account is locked, for half an hour.
pub const WRONG_PASSWORDS: u32 = 3;

/// NORMAL_ACCOUNT, and with ACCOUNTDISABLE.
const ENABLED: &str = "512";
const DISABLED: &str = "514";

/// A domain whose controller runs; ended when dropped.
#[derive(Debug)]
pub struct Samba {
    process: Mutex<Option<Process>>,
    program: Command,
    slot: Arc<Slot>,
    folder: PathBuf,
    client: LdapClient,
    // Held while changes are made: they pass through one file.
    changes: Mutex<()>,
    segment: Segment,
    // Last, because the segment is plugged into it.
    hub: Arc<Hub>,
}

impl Testbed {
    /// Starts a domain with these people and groups, its data and log in `folder`. Passwords obey
    /// the domain's rules: seven characters, three of the four kinds. Needs root.
    ///
    /// # Errors
    /// When it is not installed and cannot be, does not start, or refuses the contents.
    pub fn samba(&self, folder: &Path, contents: &Contents<'_>) -> Result<Samba> {
        packages::ensure_all(&domain::PROGRAMS)?;
        let hub = self.hub()?;
        let segment = Segment::create(self.slot(), &hub, self.next_number()?)?;
        fs::create_dir_all(folder).at("create", folder)?;
        let folder = fs::canonicalize(folder).at("resolve", folder)?;
        let pki = Pki::create(&folder.join("pki"))?;
        let controller = Subject {
            common_name: domain::HOST_NAME,
            names: &[domain::HOST_NAME],
            addresses: &[segment.address().into()],
            ..Subject::default()
        };
        pki.issue("server", &controller)?;
        domain::copy_to(&folder)?;
        let settings = domain::write_settings(&folder, &pki)?;
        let mut samba = Command::new(packages::find("samba").unwrap_or_else(|| "samba".into()));
        // One process in place of one for each connection: it starts in half the time.
        samba.args(["-i", "--model=single", "--debuglevel=1", "-s"]);
        samba.arg(settings);
        let url = format!("ldaps://{}", segment.address());
        let domain = Samba {
            process: Mutex::default(),
            program: segment.command(&samba),
            slot: Arc::clone(self.slot()),
            client: LdapClient::new(&url, &pki.path("ca.crt"))?,
            folder,
            changes: Mutex::default(),
            segment,
            hub,
        };
        domain.start()?;
        let threshold = WRONG_PASSWORDS.to_string();
        domain.change(&Ldif::default().replace(
            BASE,
            "lockoutThreshold",
            Some(threshold.as_bytes()),
        ))?;
        for person in contents.people {
            domain.add_person(person)?;
        }
        for group in contents.groups {
            domain.add_group(group)?;
        }
        Ok(domain)
    }
}

impl Samba {
    /// The address of the controller: LDAP on 389 and 636, the global catalog on 3268 and 3269.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.segment.address()
    }

    /// Where it speaks LDAP over TLS.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ldaps://{}", self.address())
    }

    /// Where it speaks LDAP, with StartTLS.
    #[must_use]
    pub fn plain_url(&self) -> String {
        format!("ldap://{}", self.address())
    }

    /// The file with the authority that signed its certificate, which names address and host.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("pki/ca.crt")
    }

    /// The entry that holds people and groups.
    #[must_use]
    pub fn people_base(&self) -> String {
        format!("CN=Users,{BASE}")
    }

    /// The entry of a person.
    #[must_use]
    pub fn person_dn(&self, name: &str) -> String {
        format!("CN={},{}", escape(name), self.people_base())
    }

    /// The entry of a group.
    #[must_use]
    pub fn group_dn(&self, name: &str) -> String {
        self.person_dn(name)
    }

    /// The name by which a person logs in: `alice@corp.example.test`.
    #[must_use]
    pub fn principal(&self, name: &str) -> String {
        format!("{name}@{}", REALM.to_lowercase())
    }

    /// An account that may search, here the administrator.
    #[must_use]
    pub fn reader(&self) -> Credentials {
        domain::administrator()
    }

    /// A stock client, over LDAPS.
    #[must_use]
    pub fn client(&self) -> &LdapClient {
        &self.client
    }

    /// Binds as a person.
    ///
    /// # Errors
    /// When the client cannot be run.
    pub fn bind(&self, name: &str, password: &str) -> Result<Answer> {
        let who = Credentials {
            name: self.principal(name),
            password: password.to_owned(),
        };
        self.client.bind(&who, false)
    }

    /// Adds a person.
    ///
    /// # Errors
    /// When there is one of this name, or the password does not obey the rules.
    pub fn add_person(&self, person: &Person<'_>) -> Result<()> {
        let principal = self.principal(person.name);
        let password = domain::password(person.password);
        let attributes: [(&str, &[u8]); 7] = [
            ("objectClass", b"user"),
            ("sAMAccountName", person.name.as_bytes()),
            ("userPrincipalName", principal.as_bytes()),
            ("displayName", person.full_name.as_bytes()),
            ("mail", principal.as_bytes()),
            ("userAccountControl", ENABLED.as_bytes()),
            ("unicodePwd", &password),
        ];
        self.change(&Ldif::default().add(&self.person_dn(person.name), &attributes))
    }

    /// Removes a person, from its groups too.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn delete_person(&self, name: &str) -> Result<()> {
        self.change(&Ldif::default().delete(&self.person_dn(name)))
    }

    /// Adds a group.
    ///
    /// # Errors
    /// When there is a group or person of this name.
    pub fn add_group(&self, group: &Group<'_>) -> Result<()> {
        let members: Vec<_> = (group.members.iter())
            .map(|member| self.member_dn(*member))
            .collect();
        let mut attributes: Vec<(&str, &[u8])> = vec![
            ("objectClass", b"group"),
            ("sAMAccountName", group.name.as_bytes()),
        ];
        attributes.extend(members.iter().map(|dn| ("member", dn.as_bytes())));
        self.change(&Ldif::default().add(&self.group_dn(group.name), &attributes))
    }

    /// Removes a group; who was in it stays.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn delete_group(&self, name: &str) -> Result<()> {
        self.delete_person(name)
    }

    /// Puts somebody, or a group, into a group.
    ///
    /// # Errors
    /// When it is in it already, or there is no such group.
    pub fn add_member(&self, group: &str, member: Member<'_>) -> Result<()> {
        let (group, member) = (self.group_dn(group), self.member_dn(member));
        self.change(&Ldif::default().add_value(&group, "member", member.as_bytes()))
    }

    /// Takes somebody, or a group, out of a group.
    ///
    /// # Errors
    /// When it is not in it.
    pub fn remove_member(&self, group: &str, member: Member<'_>) -> Result<()> {
        let (group, member) = (self.group_dn(group), self.member_dn(member));
        self.change(&Ldif::default().delete_value(&group, "member", member.as_bytes()))
    }

    /// Gives a person another password, as an administrator does.
    ///
    /// # Errors
    /// When there is no such person, or the password does not obey the rules.
    pub fn set_password(&self, name: &str, password: &str) -> Result<()> {
        self.set(name, "unicodePwd", &domain::password(password))
    }

    /// Disables an account.
    ///
    /// # Errors
    /// When there is no such person.
    pub fn disable(&self, name: &str) -> Result<()> {
        self.set(name, "userAccountControl", DISABLED.as_bytes())
    }

    /// Ends [`Self::disable`].
    ///
    /// # Errors
    /// When there is no such person.
    pub fn enable(&self, name: &str) -> Result<()> {
        self.set(name, "userAccountControl", ENABLED.as_bytes())
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
        if answer.text.contains("data 775") {
            return Ok(());
        }
        Err(Error::Unexpected {
            step: format!("lock {name} out"),
            detail: answer.text,
        })
    }

    /// Ends [`Self::lock_out`].
    ///
    /// # Errors
    /// When there is no such person.
    pub fn unlock(&self, name: &str) -> Result<()> {
        self.set(name, "lockoutTime", b"0")
    }

    /// Makes an account one that was meant until 2020.
    ///
    /// # Errors
    /// When there is no such person.
    pub fn expire_account(&self, name: &str) -> Result<()> {
        self.set(name, "accountExpires", domain::YEAR_2020.as_bytes())
    }

    /// Makes a password so old that it has expired.
    ///
    /// # Errors
    /// When there is no such person.
    pub fn expire_password(&self, name: &str) -> Result<()> {
        // Over LDAP the age of a password cannot be set, so this goes to the database itself.
        let _one_at_a_time = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let age = Some(domain::YEAR_2020.as_bytes());
        let change = Ldif::default().replace(&self.person_dn(name), "pwdLastSet", age);
        let file = self.folder.join("change.ldif");
        fs::write(&file, change.as_str()).at("write", &file)?;
        command::run(
            "let a password expire",
            domain::ldbmodify(&self.folder).arg(file),
        )?;
        Ok(())
    }

    /// Refuses a person until the password is changed.
    ///
    /// # Errors
    /// When there is no such person.
    pub fn require_password_change(&self, name: &str) -> Result<()> {
        self.set(name, "pwdLastSet", b"0")
    }

    /// Stops it, as a power cut does: connections are refused. Its data stays.
    ///
    /// # Errors
    /// When its processes do not end.
    pub fn stop(&self) -> Result<()> {
        self.process().take();
        // It starts others now and then, which end a little later.
        self.segment.end_processes()
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
        let log = self.folder.join("samba.log");
        let started = process.insert(Process::start(&self.slot, "samba", &self.program, &log)?);
        started.until("samba answering", START, || {
            let port = (self.address(), LDAPS).into();
            if let Err(error) = TcpStream::connect_timeout(&port, Duration::from_secs(1)) {
                return Ok(Err(error.to_string()));
            }
            let answer = self.client.bind(&domain::administrator(), false)?;
            Ok(match answer.code {
                Some(0) => Ok(()),
                _ => Err(answer.text),
            })
        })
    }

    /// Drops every packet between it and the owner: it is not refused, nothing answers.
    ///
    /// # Errors
    /// When the rules cannot be set.
    pub fn cut_off(&self) -> Result<()> {
        self.segment.cut(&[self.hub.address()])
    }

    /// Ends [`Self::cut_off`].
    ///
    /// # Errors
    /// When the rules cannot be removed.
    pub fn heal(&self) -> Result<()> {
        self.segment.heal()
    }

    fn member_dn(&self, member: Member<'_>) -> String {
        match member {
            Member::Person(name) => self.person_dn(name),
            Member::Group(name) => self.group_dn(name),
        }
    }

    fn set(&self, name: &str, attribute: &str, value: &[u8]) -> Result<()> {
        self.change(&Ldif::default().replace(&self.person_dn(name), attribute, Some(value)))
    }

    fn change(&self, ldif: &Ldif) -> Result<()> {
        let _one_at_a_time = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.folder.join("change.ldif");
        (self.client).change(&domain::administrator(), ldif, &file, &[])
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
