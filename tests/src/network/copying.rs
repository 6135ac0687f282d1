//! `kubectl cp` of a large file, with checksums.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rand::{RngCore as _, SeedableRng as _, rngs::StdRng};
use sha2::{Digest as _, Sha256};

use super::{
    client::Client,
    load::{Load, Tally},
    world::World,
};

const MIB: usize = 1 << 20;

/// The file that is copied, here and in the pod, where it is put without the tunnel.
#[derive(Clone, Debug)]
pub(super) struct Original {
    path: PathBuf,
    size: u64,
    digest: String,
}

/// Where it is in the pod.
const IN_POD: &str = "/tmp/original";

/// Where in the pod it is copied to.
const COPIED_IN: &str = "/tmp/copied";

impl Original {
    /// Makes a file of this size that does not compress, and puts it into the pod.
    pub(super) fn make(world: &World<'_>, size: u64) -> Result<Self> {
        let path = world.folder().join("original");
        let mut file = File::create(&path).context("make a large file")?;
        let mut random = StdRng::seed_from_u64(size);
        let mut block = vec![0; MIB];
        let mut left = usize::try_from(size)?;
        while left > 0 {
            let part = left.min(MIB);
            random.fill_bytes(&mut block[..part]);
            file.write_all(&block[..part])?;
            left -= part;
        }
        let digest = digest_of(&path)?;
        let mut put = world.operator()?;
        put.arg("cp").arg(&path).arg(format!("shell:{IN_POD}"));
        let output = put.output()?;
        ensure!(
            output.status.success(),
            "put a file into the pod: {output:?}"
        );
        Ok(Self { path, size, digest })
    }

    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

/// Which way it is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

struct Copying {
    way: Way,
    done: Arc<AtomicBool>,
    stop: SyncSender<()>,
    copying: JoinHandle<Tally>,
}

impl Load for Copying {
    fn name(&self) -> &'static str {
        match self.way {
            Way::In => "cp, in",
            Way::Out => "cp, out",
        }
    }

    fn is_satisfied(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    fn finish(self: Box<Self>) -> Tally {
        drop(self.stop);
        self.copying.join().unwrap_or_else(|_| Tally {
            errors: vec!["the thread that copies ended".to_owned()],
            ..Tally::default()
        })
    }
}

/// Into the pod, again and again.
pub(super) fn into_pod(world: &World<'_>) -> Result<Box<dyn Load>> {
    start(world, Way::In)
}

/// Out of it.
pub(super) fn out_of_pod(world: &World<'_>) -> Result<Box<dyn Load>> {
    start(world, Way::Out)
}

fn start(world: &World<'_>, way: Way) -> Result<Box<dyn Load>> {
    let done = Arc::new(AtomicBool::new(false));
    let (stop, stopped) = sync_channel(0);
    let copier = Copier {
        way,
        original: world.original()?.clone(),
        tunnelled: Box::new(world.commands()?),
        direct: Box::new(world.operators()?),
        folder: world.folder().to_owned(),
        limit: world.copy_limit(),
    };
    let is_done = Arc::clone(&done);
    let copying = std::thread::spawn(move || copier.run(&stopped, &is_done));
    Ok(Box::new(Copying {
        way,
        done,
        stop,
        copying,
    }))
}

type Commands = Box<dyn Fn() -> Command + Send>;

struct Copier {
    way: Way,
    original: Original,
    tunnelled: Commands,
    direct: Commands,
    folder: PathBuf,
    limit: Duration,
}

impl Copier {
    /// Copies until it is stopped; what was not finished then does not count.
    fn run(&self, stopped: &Receiver<()>, done: &AtomicBool) -> Tally {
        let mut tally = Tally::default();
        loop {
            let started = Instant::now();
            match self.copy(stopped) {
                Ok(true) => tally.bytes += self.original.size,
                Ok(false) => return tally,
                Err(error) => tally.errors.push(format!("{error:#}")),
            }
            tally.longest = tally.longest.max(started.elapsed());
            done.store(true, Ordering::Relaxed);
            if !tally.errors.is_empty() {
                return tally;
            }
        }
    }

    /// Copies once, compares, and removes the copy, which would do for a later one that writes
    /// nothing. Not when it was stopped.
    fn copy(&self, stopped: &Receiver<()>) -> Result<bool> {
        let copied = match self.way {
            Way::In => self.copy_in(stopped)?,
            Way::Out => self.copy_out(stopped)?,
        };
        let Some(Copied { digest, said }) = copied else {
            return Ok(false);
        };
        ensure!(
            digest == self.original.digest,
            "the copy has the checksum {digest:?} and not {}; kubectl said {said:?}",
            self.original.digest
        );
        Ok(true)
    }

    fn copy_in(&self, stopped: &Receiver<()>) -> Result<Option<Copied>> {
        let mut kubectl = (self.tunnelled)();
        let pod = format!("shell:{COPIED_IN}");
        kubectl.arg("cp").arg(&self.original.path).arg(pod);
        let Some(said) = self.to_the_end(kubectl, stopped)? else {
            return Ok(None);
        };
        let script = format!("sha256sum {COPIED_IN} && rm {COPIED_IN}");
        let output = (self.direct)()
            .args(["exec", "shell", "--", "sh", "-c", &script])
            .output()?;
        ensure!(
            output.status.success(),
            "look at the copy: {output:?}; kubectl said {said:?}"
        );
        let line = String::from_utf8_lossy(&output.stdout);
        let digest = line.split(' ').next().unwrap_or_default().to_owned();
        Ok(Some(Copied { digest, said }))
    }

    fn copy_out(&self, stopped: &Receiver<()>) -> Result<Option<Copied>> {
        let outside = Outside(self.folder.join("copied"));
        let mut kubectl = (self.tunnelled)();
        let pod = format!("shell:{IN_POD}");
        kubectl.args(["cp", "--retries=0", &pod]).arg(&outside.0);
        let Some(said) = self.to_the_end(kubectl, stopped)? else {
            return Ok(None);
        };
        let digest = digest_of(&outside.0).with_context(|| format!("kubectl said {said:?}"))?;
        Ok(Some(Copied { digest, said }))
    }

    /// What kubectl said, and tar through it; nothing when it was stopped.
    fn to_the_end(&self, kubectl: Command, stopped: &Receiver<()>) -> Result<Option<String>> {
        let name = format!("cp-{:?}", self.way).to_lowercase();
        let (mut client, stdin, mut stdout) = Client::start(kubectl, &name, &self.folder)?;
        drop(stdin);
        let reading = std::thread::spawn(move || {
            let mut said = String::new();
            stdout.read_to_string(&mut said).map(|_| said)
        });
        let started = Instant::now();
        while !client.has_ended() {
            if stopped.try_recv() == Err(TryRecvError::Disconnected) {
                return Ok(None);
            }
            if started.elapsed() > self.limit {
                bail!("not done after {:.0?}", started.elapsed());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let said = reading
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that reads ended")))
            .context("read what kubectl says")?;
        // kubectl cp ends well also where the tar at the other end did not.
        let complaints = client.complaints();
        ensure!(
            client.code() == Some(0) && complaints.len() == 1,
            "{}; it said {said:?}",
            complaints.join("; ")
        );
        Ok(Some(said))
    }
}

/// What a copy has become, and what kubectl said of it.
struct Copied {
    digest: String,
    said: String,
}

/// The file of a copy out of the pod; removed when dropped. The other direction must not own it: it
/// ends first, and would take the file away from under a copy that has just ended well.
struct Outside(PathBuf);

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn digest_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut block = vec![0; MIB];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&block[..read]),
        }
    }
}
