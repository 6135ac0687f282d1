//! Files that only their owner may read.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;

/// Writes a file, readable by its owner alone, in one step: a crash leaves the old content or the
/// new one. Its folder is made if it does not exist.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    // A link stays a link; what it points to is written.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let failed = || format!("cannot write {}", path.display());
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(failed)?;
    let mut beside = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    beside
        .as_file()
        .set_permissions(PermissionsExt::from_mode(0o600))
        .with_context(failed)?;
    beside.write_all(text.as_bytes()).with_context(failed)?;
    beside.as_file().sync_all().with_context(failed)?;
    beside
        .persist(&path)
        .map_err(|error| error.error)
        .with_context(failed)?;
    Ok(())
}

/// Opens a file to be written anew; one that does not exist yet is readable by its owner alone.
pub fn create(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let opened = options.open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_private_and_links_stay() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("deep/real");
        write(&real, "one").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "two");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        let mode = std::fs::metadata(&real).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
