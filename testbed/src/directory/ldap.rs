//! Asking a directory with the commands of OpenLDAP, as anybody would.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::ldif::Ldif;
use crate::{
    Result, command,
    error::Step,
    packages::{self, Program},
};

/// What these commands answer when there is no directory (LDAP_SERVER_DOWN, -1).
const SERVER_DOWN: i32 = 255;

const PROGRAMS: [Program; 3] = [
    Program {
        name: "ldapsearch",
        package: "ldap-utils",
    },
    Program {
        name: "ldapwhoami",
        package: "ldap-utils",
    },
    Program {
        name: "ldapmodify",
        package: "ldap-utils",
    },
];

/// Who asks: a simple bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// A distinguished name; in a domain also `alice@corp.example.test` or `CORP\alice`.
    pub name: String,
    /// The password.
    pub password: String,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The result code of LDAP (RFC 4511, section 4.1.9), or nothing when there was no answer.
    pub code: Option<i32>,
    /// What the command says about it, with the server's own text and its password policy's.
    pub text: String,
}

/// One way to reach one directory.
#[derive(Clone, Debug)]
pub struct LdapClient {
    url: String,
    start_tls: bool,
    authority: PathBuf,
}

impl LdapClient {
    /// For a URL of `ldaps:` or `ldap:`; `authority` is the file with whom to trust.
    ///
    /// # Errors
    /// When the commands are not installed and cannot be.
    pub fn new(url: &str, authority: &Path) -> Result<Self> {
        packages::ensure_all(&PROGRAMS)?;
        Ok(Self {
            url: url.to_owned(),
            start_tls: false,
            authority: authority.to_owned(),
        })
    }

    /// The same, with StartTLS before anything else.
    #[must_use]
    pub fn with_start_tls(mut self) -> Self {
        self.start_tls = true;
        self
    }

    /// Binds, and says what it was told. `password_policy` asks for what the policy thinks of it
    /// (draft-behera-ldap-password-policy), which a domain does not know.
    ///
    /// # Errors
    /// When the command cannot be run.
    pub fn bind(&self, who: &Credentials, password_policy: bool) -> Result<Answer> {
        let mut bind = if password_policy {
            let mut whoami = self.command("ldapwhoami", who);
            whoami.args(["-e", "ppolicy"]);
            whoami
        } else {
            // Active Directory has no "Who am I".
            let mut search = self.command("ldapsearch", who);
            search.args(["-LLL", "-s", "base", "-b", "", "1.1"]);
            search
        };
        let output = command::output("bind", &mut bind)?;
        let code = output.status.code().filter(|code| *code != SERVER_DOWN);
        Ok(Answer {
            code,
            text: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Searches a subtree; what was found, as LDIF without line breaks in values.
    ///
    /// # Errors
    /// When the directory refuses.
    pub fn search(
        &self,
        who: &Credentials,
        base: &str,
        filter: &str,
        attributes: &[&str],
    ) -> Result<String> {
        let mut search = self.command("ldapsearch", who);
        search.args(["-LLL", "-o", "ldif-wrap=no", "-b", base, filter]);
        search.args(attributes);
        command::run("search a directory", &mut search)
    }

    /// Makes changes, up to the first that is refused. `file` is where they are written.
    pub(crate) fn change(
        &self,
        who: &Credentials,
        ldif: &Ldif,
        file: &Path,
        controls: &[&str],
    ) -> Result<()> {
        fs::write(file, ldif.as_str()).at("write", file)?;
        let mut modify = self.command("ldapmodify", who);
        modify.args(controls).arg("-f").arg(file);
        command::run("change a directory", &mut modify)?;
        Ok(())
    }

    fn command(&self, program: &str, who: &Credentials) -> Command {
        let mut command = Command::new(program);
        command
            .env("LDAPTLS_CACERT", &self.authority)
            .args(["-x", "-o", "nettimeout=10", "-H", &self.url])
            .args(["-D", &who.name, "-w", &who.password]);
        if self.start_tls {
            command.arg("-ZZ");
        }
        command
    }
}
