//! A file that is whole when it gets its name.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::file::File;
use crate::OpenError;

/// Makes an empty store if there is no file. Not in place: if the machine stops while redb makes
/// its file, what is left is not one that redb opens.
pub(super) fn create(path: &Path) -> Result<(), OpenError> {
    let io_error = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    if path.try_exists().map_err(io_error)? {
        return Ok(());
    }
    let unfinished = Unfinished::new(path, ".new");
    drop(File::open(path, File::opener(unfinished.path()), 1)?);
    // Unlike a rename, a link leaves alone what another process has made meanwhile.
    match fs::hard_link(unfinished.path(), path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(io_error(error)),
        _ => {}
    }
    sync_folder(path).map_err(io_error)
}

/// Makes a new name in the folder of `path` survive the machine.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// The path of a file until it is whole; the file is removed if it never is.
pub(super) struct Unfinished(PathBuf);

impl Unfinished {
    pub(super) fn new(path: &Path, suffix: &str) -> Self {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let unfinished = Self(name.into());
        // What an earlier attempt left behind when it was killed.
        let _ = fs::remove_file(&unfinished.0);
        unfinished
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Once it has another name there may be nothing to remove.
        let _ = fs::remove_file(&self.0);
    }
}
