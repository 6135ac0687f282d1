//! How slapd is set up, and the entries that are there before anybody is.

use std::path::Path;

use crate::{
    directory::{Credentials, ldif::Ldif},
    packages::Program,
    pki::Pki,
};

pub(super) const PROGRAMS: [Program; 1] = [Program {
    name: "slapd",
    package: "slapd",
}];

pub(super) const PEOPLE: &str = "ou=people,dc=example,dc=test";
pub(super) const GROUPS: &str = "ou=groups,dc=example,dc=test";
pub(super) const READER: &str = "cn=reader,dc=example,dc=test";
pub(super) const READER_PASSWORD: &str = "reader's password";

/// A member that does not exist.
pub(super) const NOBODY: &str = "cn=nobody,dc=example,dc=test";

const ADMINISTRATOR: &str = "cn=admin,dc=example,dc=test";
const ADMINISTRATOR_PASSWORD: &str = "administrator";
const POLICIES: &str = "ou=policies,dc=example,dc=test";
const FOR_PEOPLE: &str = "cn=people,ou=policies,dc=example,dc=test";
const FOR_PROGRAMS: &str = "cn=programs,ou=policies,dc=example,dc=test";

pub(super) fn administrator() -> Credentials {
    Credentials {
        name: ADMINISTRATOR.to_owned(),
        password: ADMINISTRATOR_PASSWORD.to_owned(),
    }
}

pub(super) fn text(folder: &Path, pki: &Pki) -> String {
    let file = |name| pki.path(name).display().to_string();
    format!(
        "include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
TLSCACertificateFile {authority}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
disallow bind_anon

database mdb
suffix {base}
rootdn {ADMINISTRATOR}
rootpw {ADMINISTRATOR_PASSWORD}
directory {folder}/data
maxsize 104857600
dbnosync
index objectClass,uid,cn,member,entryUUID eq
index displayName,mail eq,sub
access to attrs=userPassword by anonymous auth by self =w by * none
access to * by dn.exact={READER} read by self read by * none

overlay memberof
memberof-group-oc groupOfNames
memberof-member-ad member
memberof-memberof-ad memberOf
memberof-refint TRUE

overlay ppolicy
ppolicy_default {FOR_PEOPLE}
ppolicy_use_lockout
ppolicy_hash_cleartext
",
        authority = file("ca.crt"),
        certificate = file("server.crt"),
        key = file("server.key"),
        base = super::BASE,
        folder = folder.display(),
    )
}

/// The entries that hold the others, the policies, and the account that reads.
pub(super) fn skeleton() -> Ldif {
    let policy: [(&str, &[u8]); 4] = [
        ("objectClass", b"pwdPolicy"),
        ("objectClass", b"device"),
        ("pwdAttribute", b"userPassword"),
        ("pwdMustChange", b"TRUE"),
    ];
    let wrong_passwords = super::WRONG_PASSWORDS.to_string();
    let for_people: [(&str, &[u8]); 3] = [
        ("pwdLockout", b"TRUE"),
        ("pwdMaxFailure", wrong_passwords.as_bytes()),
        // 90 days.
        ("pwdMaxAge", b"7776000"),
    ];
    let organization: [(&str, &[u8]); 4] = [
        ("objectClass", b"dcObject"),
        ("objectClass", b"organization"),
        ("o", b"Example"),
        ("dc", b"example"),
    ];
    let mut entries = Ldif::default().add(super::BASE, &organization);
    for unit in [PEOPLE, GROUPS, POLICIES] {
        entries = entries.add(unit, &[("objectClass", b"organizationalUnit")]);
    }
    entries
        .add(FOR_PEOPLE, &[&policy[..], &for_people].concat())
        .add(FOR_PROGRAMS, &policy)
        .add(
            READER,
            &[
                ("objectClass", b"organizationalRole"),
                ("objectClass", b"simpleSecurityObject"),
                ("userPassword", READER_PASSWORD.as_bytes()),
                ("pwdPolicySubentry", FOR_PROGRAMS.as_bytes()),
            ],
        )
}
