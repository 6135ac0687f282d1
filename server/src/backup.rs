//! Copies of the store, taken from a server that runs ([`crate::control`]) or from the store itself.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use store::backup::{self, Reader, Summary};

use crate::config::Config;
use crate::{control, encryption, storage};

/// Writes a backup of the store in the data directory, whether a server runs or not, to a file
/// that must not be there yet. The file gets its name when it is whole and on disk. Blocks.
///
/// # Errors
/// When there is no store, or it cannot be read, or the file cannot be written.
pub fn take(config: &Config, file: &Path) -> anyhow::Result<Summary> {
    if file.try_exists()? {
        bail!("{} exists already", file.display());
    }
    let part = Part::create(file)?;
    match control::ask(config, "backup").context("cannot ask the running server")? {
        Some(mut running) => {
            let copied = io::copy(&mut running, &mut &part.file);
            copied.context("cannot copy the store of the running server")?;
        }
        None => copy_resting(config, &part.file)?,
    }
    let summary = backup::verify(File::open(&part.path)?)
        .context("what the server gave is not whole; its log may say why")?;
    part.keep_as(file)?;
    Ok(summary)
}

/// Replaces the store in the data directory by a backup. No server may run. Blocks.
///
/// # Errors
/// When there is a store and `overwrite` is not set, when it is in use, or when the backup is
/// damaged, or sealed with a key that is not there.
pub fn restore(config: &Config, file: &Path, overwrite: bool) -> anyhow::Result<Summary> {
    let named = || format!("cannot restore {}", file.display());
    let open = || anyhow::Ok(Reader::new(File::open(file)?)?);
    encryption::check_backup(config, open().with_context(named)?).with_context(named)?;
    let reader = open().with_context(named)?;
    storage::make_directory(config)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let restored = runtime.block_on(storage::restore(config, reader, overwrite));
    restored.with_context(named)
}

#[tokio::main(flavor = "current_thread")]
async fn copy_resting(config: &Config, file: &File) -> anyhow::Result<()> {
    let storage = storage::open_existing(config).await?;
    let out = tokio::fs::File::from_std(file.try_clone()?);
    backup::write(&*storage.store, out).await?;
    storage.release().await;
    Ok(())
}

/// A file until it is whole; removed again if it never is.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(file: &Path) -> anyhow::Result<Self> {
        let mut path = file.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file })
    }

    fn keep_as(&self, file: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, file)?;
        let folder = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Once it has its name there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}
