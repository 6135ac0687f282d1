//! The certificates and kubeconfigs of a cluster.

use std::{
    fs::{self, File},
    io::Write,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::{Error, Result, error::Step};

/// A certificate authority, the folder that holds its files, and what it has signed.
#[derive(Debug)]
pub(crate) struct Pki {
    folder: PathBuf,
    authority: Issuer<'static, KeyPair>,
    pem: String,
}

/// Whom a certificate is for.
#[derive(Default)]
pub(crate) struct Subject<'a> {
    /// The user name, or the name of a server.
    pub common_name: &'a str,
    /// The group.
    pub organization: Option<&'a str>,
    /// The names a server is reached by; empty for a client.
    pub names: &'a [&'a str],
    /// The addresses a server is reached by; empty for a client.
    pub addresses: &'a [IpAddr],
}

/// A certificate with its key, in PEM.
pub(crate) struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Pki {
    /// Makes an authority and writes it to `ca.crt` and `ca.key` in `folder`.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).at("create", folder)?;
        let subject = "the authority";
        let key = key(subject)?;
        let mut params = params("lariat testbed")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate = params.self_signed(&key).map_err(refused(subject))?;
        let pem = certificate.pem();
        write(folder, "ca.crt", &pem)?;
        write(folder, "ca.key", &key.serialize_pem())?;
        Ok(Self {
            folder: folder.to_owned(),
            authority: Issuer::new(params, key),
            pem,
        })
    }

    /// The path of a file in the folder.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// The authority's own certificate.
    pub(crate) fn authority(&self) -> &str {
        &self.pem
    }

    /// Signs a new key for `subject` and writes it to `NAME.crt` and `NAME.key`.
    pub(crate) fn issue(&self, name: &str, subject: &Subject<'_>) -> Result<Identity> {
        let key = key(subject.common_name)?;
        let certificate = self.sign(subject, &key)?;
        let identity = Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        };
        write(&self.folder, &format!("{name}.crt"), &identity.certificate)?;
        write(&self.folder, &format!("{name}.key"), &identity.key)?;
        Ok(identity)
    }

    fn sign(&self, subject: &Subject<'_>, key: &KeyPair) -> Result<Certificate> {
        let mut params = params(subject.common_name)?;
        if let Some(organization) = subject.organization {
            params
                .distinguished_name
                .push(DnType::OrganizationName, organization);
        }
        for name in subject.names {
            params.subject_alt_names.push(SanType::DnsName(
                (*name).try_into().map_err(refused(subject.common_name))?,
            ));
        }
        for address in subject.addresses {
            params.subject_alt_names.push(SanType::IpAddress(*address));
        }
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !params.subject_alt_names.is_empty() {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params
            .signed_by(key, &self.authority)
            .map_err(refused(subject.common_name))
    }

    /// Writes the key pair that signs service account tokens: `service-accounts.key` and `.pub`.
    pub(crate) fn make_service_account_key(&self) -> Result<()> {
        let key = key("service accounts")?;
        write(&self.folder, "service-accounts.key", &key.serialize_pem())?;
        write(&self.folder, "service-accounts.pub", &key.public_key_pem())?;
        Ok(())
    }

    /// Writes `NAME.kubeconfig` for an identity.
    pub(crate) fn write_kubeconfig(
        &self,
        name: &str,
        server: &str,
        identity: &Identity,
    ) -> Result<PathBuf> {
        let text = format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: direct\n\
             \x20 cluster:\n\
             \x20   server: {server}\n\
             \x20   certificate-authority-data: {authority}\n\
             users:\n\
             - name: {name}\n\
             \x20 user:\n\
             \x20   client-certificate-data: {certificate}\n\
             \x20   client-key-data: {key}\n\
             contexts:\n\
             - name: direct\n\
             \x20 context: {{cluster: direct, user: {name}}}\n\
             current-context: direct\n",
            authority = BASE64_STANDARD.encode(&self.pem),
            certificate = BASE64_STANDARD.encode(&identity.certificate),
            key = BASE64_STANDARD.encode(&identity.key),
        );
        write(&self.folder, &format!("{name}.kubeconfig"), &text)
    }
}

fn params(common_name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).map_err(refused(common_name))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn key(subject: &str) -> Result<KeyPair> {
    KeyPair::generate().map_err(refused(subject))
}

fn refused(subject: &str) -> impl FnOnce(rcgen::Error) -> Error {
    let subject = subject.to_owned();
    move |source| Error::Certificate { subject, source }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .at("write", &path)?;
    Ok(path)
}
