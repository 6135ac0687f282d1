//! A wall clock that jumps, for programs that are started with it (libfaketime).
//!
//! It is what a step of NTP, a suspended machine that wakes, and a person with `date -s` do: the time of
//! day changes, the monotonic clock goes on. The monotonic clock of a running process cannot jump in
//! a real system (a time namespace fixes it before the first process), so here it does not either.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Error, Result,
    error::Step,
    packages::{self, Program},
};

const FAKETIME: [Program; 1] = [Program {
    name: "faketime",
    package: "faketime",
}];

/// How far it is off, in a file that programs look at.
#[derive(Debug)]
pub struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

impl WallClock {
    /// A clock that is right until it jumps; how far it is off is in `file`.
    ///
    /// # Errors
    /// When libfaketime is not installed and cannot be, or the file cannot be written.
    pub fn create(file: &Path) -> Result<Self> {
        packages::ensure_all(&FAKETIME)?;
        let clock = Self {
            library: library()?,
            file: file.to_owned(),
        };
        clock.jump_to(0)?;
        Ok(clock)
    }

    /// What a program has in its environment to live by it.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            // Times of files are those of the file system.
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }

    /// Makes it `seconds` ahead of the right time, or behind it. Programs see it within 1 s.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn jump_to(&self, seconds: i64) -> Result<()> {
        let draft = self.file.with_extension("new");
        fs::write(&draft, format!("{seconds:+}\n")).at("write", &draft)?;
        fs::rename(&draft, &self.file).at("write", &self.file)
    }
}

/// In a folder that is named after the machine's architecture.
fn library() -> Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    folders
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.is_file())
        .ok_or_else(|| Error::MissingProgram {
            program: "libfaketimeMT.so.1".to_owned(),
            remedy: "sudo apt-get install --no-install-recommends libfaketime".to_owned(),
        })
}
