//! Container images made without a container engine: an OCI archive with one layer.

mod archive;
mod program;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, Result, command, packages};

use archive::Layer;

/// The image of the container that holds a pod's namespaces.
pub(crate) const PAUSE: &str = "lariat.test/pause:1";

/// The name of a shell image that every real node has: busybox.
pub const BUSYBOX: &str = "lariat.test/busybox:1";

/// An image in an OCI archive on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    name: String,
    file: PathBuf,
}

impl Image {
    /// The full name, as a pod names it; use `imagePullPolicy: Never` with it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The OCI archive.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Makes an image called `name` that runs `program`, with the libraries that it is linked to,
    /// as the unprivileged user 65532. The archive is written into `folder`.
    ///
    /// # Errors
    /// When the program or a library cannot be read.
    pub fn of_program(name: &str, program: &Path, folder: &Path) -> Result<Self> {
        let mut layer = Layer::new()?;
        let entrypoint = program::add(&mut layer, program)?;
        let config = archive::Config {
            entrypoint: vec![entrypoint],
            user: "65532:65532",
            ..archive::Config::default()
        };
        archive::write(name, layer, &config, folder)
    }
}

/// Busybox, every one of its tools under its name in `/bin`.
pub(crate) fn busybox(folder: &Path) -> Result<Image> {
    let config = archive::Config {
        command: vec!["/bin/sh".into()],
        user: "0:0",
        ..archive::Config::default()
    };
    archive::write(BUSYBOX, busybox_layer()?, &config, folder)
}

/// A container that does nothing until it is told to end.
pub(crate) fn pause(folder: &Path) -> Result<Image> {
    let script = "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done";
    let config = archive::Config {
        entrypoint: vec!["/bin/sh".into(), "-c".into(), script.into()],
        user: "0:0",
        ..archive::Config::default()
    };
    archive::write(PAUSE, busybox_layer()?, &config, folder)
}

fn busybox_layer() -> Result<Layer> {
    let busybox = packages::find("busybox").ok_or_else(|| Error::MissingProgram {
        program: "busybox".into(),
        remedy: "sudo apt-get install --no-install-recommends busybox-static".into(),
    })?;
    let tools = command::run(
        "list the tools of busybox",
        Command::new(&busybox).arg("--list"),
    )?;
    let mut layer = Layer::new()?;
    layer.file("bin/busybox", &busybox, 0o755)?;
    for tool in tools.lines().filter(|tool| *tool != "busybox") {
        layer.link(&format!("bin/{tool}"), "busybox")?;
    }
    layer.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")?;
    layer.text("etc/group", "root:x:0:\n")?;
    layer.folder("root", 0o700)?;
    layer.folder("tmp", 0o1777)?;
    Ok(layer)
}
