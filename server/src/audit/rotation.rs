//! A file that is put aside when it has grown, as kube-apiserver's: under its name with the time,
//! `audit-2026-01-31T08-15-00.250.log` for `audit.log`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::config::Rotation;

/// The time in a name, without the milliseconds that come after it.
const STAMP: &str = "%Y-%m-%dT%H-%M-%S";

const COMPRESSED: &str = ".gz";

/// What is not yet compressed to its end.
const UNFINISHED: &str = ".gz.part";

/// A file to which lines are added.
pub(super) struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    clock: Clock,
    file: BufWriter<File>,
    size: u64,
    /// It is put aside before it is longer. 0: never.
    limit: u64,
    /// Whether old files are being compressed and deleted.
    tidying: Arc<AtomicBool>,
}

impl RotatingFile {
    /// Opens a file to add to its end, or makes it, readable by its owner alone.
    pub(super) fn open(path: &Path, rotation: Rotation, clock: Clock) -> io::Result<Self> {
        let (file, size) = open(path)?;
        let rotating = Self {
            path: path.to_owned(),
            rotation,
            clock,
            file,
            size,
            limit: rotation.max_size,
            tidying: Arc::default(),
        };
        rotating.tidy();
        Ok(rotating)
    }

    /// Adds a line, to a new file if this one would be too long.
    pub(super) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64 + 1;
        if self.limit > 0 && self.size > 0 && self.size + length > self.limit {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.file.write_all(b"\n")?;
        self.size += length;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// Opens what has its name now.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.file.flush()?;
        (self.file, self.size) = open(&self.path)?;
        self.limit = self.rotation.max_size;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let moved = Names::of(&self.path).and_then(|names| names.put_aside(self.clock.now()));
        if let Err(error) = moved {
            // Goes on with this one, and tries again when as much has been added.
            self.limit = self.size + self.rotation.max_size;
            tracing::error!(%error, "cannot put the audit log aside");
            return Ok(());
        }
        self.reopen()?;
        self.tidy();
        Ok(())
    }

    /// Compresses and deletes what was put aside, in a thread of its own.
    fn tidy(&self) {
        if self.tidying.swap(true, Ordering::AcqRel) {
            return;
        }
        let (path, rotation, now) = (self.path.clone(), self.rotation, self.clock.now());
        let done = Arc::clone(&self.tidying);
        let tidy = move || {
            if let Err(error) = Names::of(&path).and_then(|names| names.tidy(rotation, now)) {
                tracing::warn!(%error, "cannot tidy up old audit logs");
            }
            done.store(false, Ordering::Release);
        };
        let thread = std::thread::Builder::new().name("audit-tidy".to_owned());
        if thread.spawn(tidy).is_err() {
            self.tidying.store(false, Ordering::Release);
        }
    }
}

/// The names of a file and of what is put aside of it.
struct Names<'a> {
    path: &'a Path,
    folder: &'a Path,
    /// What comes before the time, a hyphen at its end.
    before: String,
    /// What comes after it.
    after: String,
}

impl<'a> Names<'a> {
    fn of(path: &'a Path) -> io::Result<Self> {
        let unusable = || io::Error::other(format!("{} names no file", path.display()));
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let extension = path.extension().and_then(|extension| extension.to_str());
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        Ok(Self {
            path,
            folder: folder.unwrap_or(Path::new(".")),
            before: format!("{}-", stem.ok_or_else(unusable)?),
            after: extension.map_or_else(String::new, |extension| format!(".{extension}")),
        })
    }

    /// Gives the file a name with the time.
    fn put_aside(&self, mut now: Timestamp) -> io::Result<()> {
        loop {
            let zoned = now.to_zoned(TimeZone::UTC);
            let (stamp, milliseconds) = (zoned.strftime(STAMP), zoned.millisecond());
            let name = format!("{}{stamp}.{milliseconds:03}{}", self.before, self.after);
            let aside = self.folder.join(&name);
            let compressed = self.folder.join(name + COMPRESSED);
            if !aside.try_exists()? && !compressed.try_exists()? {
                return fs::rename(self.path, aside);
            }
            now += SignedDuration::from_millis(1);
        }
    }

    /// When the file of that name was put aside; `None` if it is not one.
    fn when(&self, name: &str) -> Option<Timestamp> {
        let rest = name.strip_prefix(self.before.as_str())?;
        let rest = rest.strip_suffix(COMPRESSED).unwrap_or(rest);
        let stamp = rest.strip_suffix(self.after.as_str())?;
        let (seconds, milliseconds) = stamp.rsplit_once('.')?;
        let milliseconds: i64 = milliseconds.parse().ok()?;
        let at = DateTime::strptime(STAMP, seconds).ok()?;
        let at = at.to_zoned(TimeZone::UTC).ok()?.timestamp();
        at.checked_add(SignedDuration::from_millis(milliseconds))
            .ok()
    }

    fn tidy(&self, rotation: Rotation, now: Timestamp) -> io::Result<()> {
        let mut aside = Vec::new();
        for entry in fs::read_dir(self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some(whole) = name.strip_suffix(UNFINISHED) {
                if self.when(whole).is_some() {
                    fs::remove_file(entry.path())?;
                }
            } else if let Some(when) = self.when(name) {
                aside.push((when, entry.path()));
            }
        }
        aside.sort_by_key(|(when, _)| std::cmp::Reverse(*when));
        let keep = match rotation.max_backups {
            0 => usize::MAX,
            most => most,
        };
        let age = SignedDuration::from_hours(24 * i64::from(rotation.max_age_days));
        for (at, (when, path)) in aside.iter().enumerate() {
            let old = rotation.max_age_days > 0 && now.duration_since(*when) > age;
            if at >= keep || old {
                fs::remove_file(path)?;
            } else if rotation.compress && path.extension().is_none_or(|found| found != "gz") {
                compress(path)?;
            }
        }
        Ok(())
    }
}

fn compress(path: &Path) -> io::Result<()> {
    let named = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let unfinished = named(UNFINISHED);
    let mut options = OpenOptions::new();
    let target = options.write(true).create(true).truncate(true).mode(0o600);
    let mut encoder = GzEncoder::new(target.open(&unfinished)?, Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::rename(&unfinished, named(COMPRESSED))?;
    fs::remove_file(path)
}

/// The file, and how long it is.
fn open(path: &Path) -> io::Result<(BufWriter<File>, u64)> {
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((BufWriter::new(file), size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    const SMALL: Rotation = Rotation {
        max_size: 10,
        max_age_days: 0,
        max_backups: 0,
        compress: false,
    };

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn clock(text: &'static str) -> Clock {
        Clock::new(move || at(text))
    }

    #[test]
    fn a_file_is_put_aside_before_it_is_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let clock = clock("2026-01-31T08:15:00.25Z");
        let mut file = RotatingFile::open(&path, SMALL, clock.clone()).unwrap();
        for line in ["one", "two", "three", "a long one, longer than all", "five"] {
            file.write_line(line.as_bytes()).unwrap();
        }
        file.flush().unwrap();
        let aside = ["250", "251", "252"].map(|ms| format!("audit-2026-01-31T08-15-00.{ms}.log"));
        let mut expected = aside.to_vec();
        expected.push("audit.log".to_owned());
        assert_eq!(names(folder.path()), expected);
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read(&aside[0]), "one\ntwo\n");
        assert_eq!(read(&aside[2]), "a long one, longer than all\n");
        assert_eq!(read("audit.log"), "five\n");
        // What is there counts when it is opened again.
        drop(file);
        let mut file = RotatingFile::open(&path, SMALL, clock).unwrap();
        file.write_line(b"sixth").unwrap();
        file.flush().unwrap();
        assert_eq!(read("audit.log"), "sixth\n");
    }

    #[test]
    fn a_file_without_a_limit_is_never_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let rotation = Rotation {
            max_size: 0,
            ..SMALL
        };
        let mut file = RotatingFile::open(&path, rotation, Clock::system()).unwrap();
        for _ in 0..100 {
            file.write_line(b"a line").unwrap();
        }
        file.flush().unwrap();
        assert_eq!(names(folder.path()), ["audit"]);
    }

    #[test]
    fn what_is_old_or_too_many_is_deleted_and_the_rest_compressed() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| fs::write(folder.path().join(name), name).unwrap();
        let others = [
            "audit-other.log",
            "audit-2026-01-01T00-00-00.000.txt",
            "audits-2026-01-01T00-00-00.000.log",
        ];
        others.iter().for_each(|name| write(name));
        write("audit.log");
        write("audit-2026-01-09T00-00-00.000.log");
        write("audit-2026-01-08T00-00-00.001.log");
        write("audit-2026-01-08T00-00-00.000.log.gz");
        write("audit-2026-01-07T00-00-00.000.log.gz.part");
        write("audit-2026-01-02T00-00-00.000.log");
        let path = folder.path().join("audit.log");
        let rotation = Rotation {
            max_age_days: 5,
            max_backups: 2,
            compress: true,
            ..SMALL
        };
        let tidy = |rotation| {
            let names = Names::of(&path).unwrap();
            names.tidy(rotation, at("2026-01-10T00:00:00Z")).unwrap();
        };
        tidy(Rotation {
            max_backups: 0,
            ..rotation
        });
        let compressed = folder.path().join("audit-2026-01-09T00-00-00.000.log.gz");
        let mut text = String::new();
        let mut decoder = flate2::read::GzDecoder::new(File::open(&compressed).unwrap());
        decoder.read_to_string(&mut text).unwrap();
        assert_eq!(text, "audit-2026-01-09T00-00-00.000.log");
        tidy(rotation);
        let mut expected: Vec<_> = others.iter().map(ToString::to_string).collect();
        expected.extend([
            "audit.log".to_owned(),
            "audit-2026-01-09T00-00-00.000.log.gz".to_owned(),
            "audit-2026-01-08T00-00-00.001.log.gz".to_owned(),
        ]);
        expected.sort();
        assert_eq!(names(folder.path()), expected);
    }
}
