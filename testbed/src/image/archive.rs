//! Writing an OCI image archive (image-spec 1.1, image-layout) with one gzip layer.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Write},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Image;
use crate::{Result, error::Step};

/// What a container of the image runs.
#[derive(Default)]
pub(super) struct Config {
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    /// `UID:GID`.
    pub user: &'static str,
}

/// A file system under construction; parent folders are made as needed.
pub(super) struct Layer {
    tar: tar::Builder<Vec<u8>>,
    folders: BTreeSet<String>,
}

impl Layer {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            tar: tar::Builder::new(Vec::new()),
            folders: BTreeSet::new(),
        })
    }

    pub(super) fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        self.parents(path)?;
        if !self.folders.insert(path.to_owned()) {
            return Ok(());
        }
        let mut header = header(tar::EntryType::Directory, mode, 0);
        self.append(&mut header, &format!("{path}/"), io::empty())
    }

    pub(super) fn file(&mut self, path: &str, source: &Path, mode: u32) -> Result<()> {
        self.parents(path)?;
        let file = File::open(source).at("open", source)?;
        let size = file.metadata().at("look at", source)?.len();
        let mut header = header(tar::EntryType::Regular, mode, size);
        self.append(&mut header, path, file)
    }

    pub(super) fn text(&mut self, path: &str, text: &str) -> Result<()> {
        self.parents(path)?;
        let mut header = header(tar::EntryType::Regular, 0o644, text.len() as u64);
        self.append(&mut header, path, text.as_bytes())
    }

    pub(super) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.parents(path)?;
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        self.tar
            .append_link(&mut header, path, target)
            .step(|| format!("put {path} into an image"))
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.folder(parent, 0o755),
            None => Ok(()),
        }
    }

    fn append(&mut self, header: &mut tar::Header, path: &str, data: impl io::Read) -> Result<()> {
        self.tar
            .append_data(header, path, data)
            .step(|| format!("put {path} into an image"))
    }
}

/// Writes the archive into `folder`, named after the image.
pub(super) fn write(name: &str, layer: Layer, config: &Config, folder: &Path) -> Result<Image> {
    let file = folder.join(format!("{}.tar", name.replace(['/', ':'], "_")));
    write_archive(name, layer, config, &file).at("write the image", &file)?;
    Ok(Image {
        name: name.to_owned(),
        file,
    })
}

fn write_archive(name: &str, layer: Layer, config: &Config, file: &Path) -> io::Result<()> {
    let plain = layer.tar.into_inner()?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&plain)?;
    let layer = Blob::new(
        "application/vnd.oci.image.layer.v1.tar+gzip",
        gzip.finish()?,
    );
    let config = Blob::json(
        "application/vnd.oci.image.config.v1+json",
        &json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": {
                "User": config.user,
                "Entrypoint": config.entrypoint,
                "Cmd": config.command,
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            },
            "rootfs": {"type": "layers", "diff_ids": [digest(&plain)]},
        }),
    )?;
    let manifest = Blob::json(
        "application/vnd.oci.image.manifest.v1+json",
        &json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
        }),
    )?;
    let mut described = manifest.descriptor();
    described["annotations"] = json!({"io.containerd.image.name": name});
    let index = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [described]}))?;

    let mut archive = tar::Builder::new(File::create(file)?);
    let mut put = |path: &str, bytes: &[u8]| {
        let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
        archive.append_data(&mut header, path, bytes)
    };
    put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    put("index.json", &index)?;
    for blob in [&layer, &config, &manifest] {
        put(
            &format!("blobs/{}", blob.digest.replace(':', "/")),
            &blob.bytes,
        )?;
    }
    archive.into_inner()?.sync_all()
}

struct Blob {
    media_type: &'static str,
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            media_type,
            digest: digest(&bytes),
            bytes,
        }
    }

    fn json(media_type: &'static str, value: &Value) -> io::Result<Self> {
        Ok(Self::new(media_type, serde_json::to_vec(value)?))
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A header without anything that differs between two runs.
fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_gives_the_same_archive() {
        let make = || {
            let folder = tempfile::tempdir().unwrap();
            let mut layer = Layer::new().unwrap();
            layer.text("etc/motd", "hello\n").unwrap();
            layer.link("bin/sh", "busybox").unwrap();
            let image = write("lariat.test/x:1", layer, &Config::default(), folder.path()).unwrap();
            std::fs::read(image.file()).unwrap()
        };
        assert_eq!(make(), make());
    }

    #[test]
    fn every_blob_has_the_name_of_its_digest_and_every_folder_appears_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut layer = Layer::new().unwrap();
        layer.text("a/b/one", "1").unwrap();
        layer.text("a/b/two", "2").unwrap();
        assert_eq!(layer.folders.len(), 2);
        let image = write("lariat.test/x:1", layer, &Config::default(), folder.path()).unwrap();
        let mut archive = tar::Archive::new(File::open(image.file()).unwrap());
        let mut blobs = 0;
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            if let Some(name) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(digest(&bytes), format!("sha256:{name}"));
                blobs += 1;
            }
        }
        assert_eq!(blobs, 3);
    }
}
