//! The domain that is made once, its copies, and how their controllers are set up.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use crate::{
    Result, cache, command,
    directory::Credentials,
    error::Step,
    packages::{self, Program},
    pki::Pki,
    progress::say,
};

/// Where everything is in the directory.
pub const BASE: &str = "DC=corp,DC=example,DC=test";

/// The Kerberos realm, in lower case the name of the domain in DNS.
pub const REALM: &str = "CORP.EXAMPLE.TEST";

/// The domain of `CORP\alice`.
pub const NETBIOS_NAME: &str = "CORP";

pub(super) const HOST_NAME: &str = "dc1.corp.example.test";

/// 2020-01-01 in units of 100 ns since 1601.
pub(super) const YEAR_2020: &str = "132223104000000000";

const ADMINISTRATOR_PASSWORD: &str = "Passw0rd!Admin";

/// DSDB_CONTROL_BYPASS_PASSWORD_HASH_OID: takes the age of a password as it is given.
const AS_GIVEN: &str = "--controls=local_oid:1.3.6.1.4.1.7165.4.3.12:0";

/// One of the modules of the directory's database, which are a package of their own.
const MODULE: &str = if cfg!(target_arch = "aarch64") {
    "/usr/lib/aarch64-linux-gnu/samba/ldb/password_hash.so"
} else {
    "/usr/lib/x86_64-linux-gnu/samba/ldb/password_hash.so"
};

pub(super) const PROGRAMS: [Program; 7] = [
    Program {
        name: "samba",
        package: "samba-ad-dc",
    },
    Program {
        name: MODULE,
        package: "samba-ad-dc",
    },
    Program {
        name: "/usr/share/samba/setup/provision.ldif",
        package: "samba-ad-provision",
    },
    Program {
        name: "samba-tool",
        package: "samba-common-bin",
    },
    Program {
        name: "ldbmodify",
        package: "ldb-tools",
    },
    Program {
        name: "ip",
        package: "iproute2",
    },
    Program {
        name: "nft",
        package: "nftables",
    },
];

pub(super) fn administrator() -> Credentials {
    Credentials {
        name: format!("administrator@{}", REALM.to_lowercase()),
        password: ADMINISTRATOR_PASSWORD.to_owned(),
    }
}

/// A password as `unicodePwd` wants it: in quotation marks, UTF-16.
pub(super) fn password(password: &str) -> Vec<u8> {
    format!("\"{password}\"")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect()
}

/// Puts a copy of the domain's databases into `folder`.
pub(super) fn copy_to(folder: &Path) -> Result<()> {
    let original = original()?;
    let mut copy = Command::new("cp");
    copy.args(["-a", "--reflink=auto"]);
    copy.arg(original.join("private"))
        .arg(original.join("state"));
    command::run("copy the domain", copy.arg(folder))?;
    Ok(())
}

/// The settings of a controller whose files are in `folder`.
pub(super) fn write_settings(folder: &Path, pki: &Pki) -> Result<PathBuf> {
    for name in ["cache", "run"] {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).at("create", &folder)?;
    }
    let file = |name| pki.path(name).display().to_string();
    let text = format!(
        "[global]
netbios name = DC1
workgroup = {NETBIOS_NAME}
realm = {REALM}
server role = active directory domain controller
server services = ldap
interfaces = lo wan
bind interfaces only = yes
ldb:nosync = true
tls certfile = {certificate}
tls keyfile = {key}
tls cafile = {authority}
private dir = {folder}/private
state directory = {folder}/state
lock directory = {folder}/run
cache directory = {folder}/cache
binddns dir = {folder}/run
pid directory = {folder}/run
ncalrpc dir = {folder}/run/ncalrpc
winbindd socket directory = {folder}/run/winbindd
ntp signd socket directory = {folder}/run/ntp
log file = {folder}/run/log.%m
",
        certificate = file("server.crt"),
        key = file("server.key"),
        authority = file("ca.crt"),
        folder = folder.display(),
    );
    let settings = settings(folder);
    fs::write(&settings, text).at("write", &settings)?;
    Ok(settings)
}

/// A change to the databases in `folder`, past the directory's own rules; the LDIF is to be added.
pub(super) fn ldbmodify(folder: &Path) -> Command {
    let mut ldbmodify = Command::new("ldbmodify");
    ldbmodify
        .arg(format!("--configfile={}", settings(folder).display()))
        .arg("-H")
        .arg(folder.join("private/sam.ldb"))
        .arg(AS_GIVEN);
    ldbmodify
}

fn settings(folder: &Path) -> PathBuf {
    folder.join("smb.conf")
}

/// The domain in the cache, made when this version of Samba has not made it yet.
fn original() -> Result<PathBuf> {
    let samba_tool = packages::find("samba-tool").unwrap_or_else(|| "samba-tool".into());
    let version = command::run(
        "ask Samba for its version",
        Command::new(&samba_tool).arg("--version"),
    )?;
    let words = [
        "domain",
        "provision",
        "--use-rfc2307",
        &format!("--realm={REALM}"),
        &format!("--domain={NETBIOS_NAME}"),
        "--server-role=dc",
        "--dns-backend=NONE",
        &format!("--adminpass={ADMINISTRATOR_PASSWORD}"),
        "--host-name=dc1",
        "--host-ip=198.18.0.1",
        "--option=interfaces=lo",
        "--option=bind interfaces only=yes",
        "--option=vfs objects=",
        "--option=ldb:nosync=true",
    ];
    let mut hash = Sha256::new();
    for part in words.iter().copied().chain([version.as_str()]) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let name = format!("domain-{}", hex::encode(&hash.finalize()[..8]));
    cache::filled("samba", &name, |draft| {
        say("making an Active Directory domain, once");
        let mut provision = Command::new(samba_tool);
        provision.args(words);
        provision.arg(format!("--targetdir={}", draft.display()));
        let attributes = draft.join("attributes.tdb");
        provision.arg(format!("--option=posix:eadb={}", attributes.display()));
        command::run("make a domain", &mut provision)?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_quoted_utf16() {
        assert_eq!(password("a"), [b'"', 0, b'a', 0, b'"', 0]);
    }
}
