//! What a dynamically linked program needs in an image.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::archive::Layer;
use crate::{Error, Result, command};

const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Puts `program` and its libraries into `layer`; returns the program's path in it.
pub(super) fn add(layer: &mut Layer, program: &Path) -> Result<String> {
    let name = program
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| {
            Error::Unsupported(format!(
                "{} is not the path of a program",
                program.display()
            ))
        })?;
    let target = format!("usr/local/bin/{name}");
    layer.file(&target, program, 0o755)?;
    let listed = command::output("list the libraries", Command::new("ldd").arg(program))?;
    // A static program is "not a dynamic executable": nothing to add.
    if listed.status.success() {
        for library in libraries(&String::from_utf8_lossy(&listed.stdout))? {
            layer.file(&inside(&library), &library, 0o755)?;
        }
    }
    if Path::new(AUTHORITIES).exists() {
        layer.file(
            &inside(Path::new(AUTHORITIES)),
            Path::new(AUTHORITIES),
            0o644,
        )?;
    }
    layer.text("etc/passwd", "nonroot:x:65532:65532::/:/sbin/nologin\n")?;
    layer.text("etc/group", "nonroot:x:65532:\n")?;
    layer.folder("tmp", 0o1777)?;
    Ok(format!("/{target}"))
}

fn inside(path: &Path) -> String {
    path.display()
        .to_string()
        .trim_start_matches('/')
        .to_owned()
}

/// The files named in the output of ldd(1): `NAME => PATH (ADDRESS)` or `PATH (ADDRESS)`; the
/// kernel's own object (`linux-vdso`) has no path.
fn libraries(listed: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in listed.lines().map(str::trim) {
        if line.ends_with("=> not found") {
            return Err(Error::Unexpected {
                step: "list the libraries of a program".into(),
                detail: line.to_owned(),
            });
        }
        let path = line.split_once(" => ").map_or(line, |(_, path)| path);
        let path = path.split(" (").next().unwrap_or(path);
        if path.starts_with('/') {
            libraries.push(PathBuf::from(path));
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_and_the_loader_are_found() {
        let listed = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld.so.2 (0x3)\n";
        assert_eq!(
            libraries(listed).unwrap(),
            [
                PathBuf::from("/lib/x/libc.so.6"),
                PathBuf::from("/lib64/ld.so.2")
            ]
        );
    }

    #[test]
    fn a_missing_library_is_an_error() {
        assert!(libraries("\tlibx.so => not found\n").is_err());
    }
}
