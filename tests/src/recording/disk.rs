//! A small disk of its own.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A tmpfs of 24 MiB, gone when this is dropped.
pub(super) struct Disk(PathBuf);

impl Disk {
    /// Mounts it there; the folder is made.
    pub(super) fn mount(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        // The folder above is the server's own.
        let data = folder.parent().context("a folder without one above")?;
        let private: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(data, private)?;
        let options = Some("size=24m,mode=0700");
        let tmpfs = Some("tmpfs");
        mount(tmpfs, folder, tmpfs, MsFlags::empty(), options)
            .with_context(|| format!("mount a tmpfs at {}", folder.display()))?;
        Ok(Self(folder.to_owned()))
    }

    /// Takes away one that an earlier run has left.
    pub(super) fn unmount(folder: &Path) {
        // There is none, usually.
        let _ = umount2(folder, MntFlags::MNT_DETACH);
    }

    /// Fills it to its end. There is room again when what is returned is dropped.
    pub(super) fn fill(&self) -> Result<Filler> {
        let filler = Filler(self.0.join("filler"));
        let mut file = fs::File::create(&filler.0)?;
        for _ in 0..1024 {
            if file.write_all(&[0; 64 * 1024]).is_err() {
                return Ok(filler);
            }
        }
        bail!("the disk does not get full");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Self::unmount(&self.0);
    }
}

/// What fills a disk.
pub(super) struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        // Only the room counts; the disk goes anyway.
        let _ = fs::remove_file(&self.0);
    }
}
