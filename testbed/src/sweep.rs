//! Removing what an owner has made, in an order in which each removal can succeed.

use std::{fs, io, path::Path, process::Command, time::Duration};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    Result, command,
    error::Step,
    process,
    slot::{self, Resource, SLOTS, State},
    wait,
};

const LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Removes what owners that are no longer alive have left; returns what they had written down.
///
/// # Errors
/// When something recorded cannot be removed.
pub fn clean() -> Result<Vec<State>> {
    dead_owners(&slot::root()?)
}

pub(crate) fn dead_owners(root: &Path) -> Result<Vec<State>> {
    let mut swept = Vec::new();
    for index in 0..SLOTS {
        let folder = slot::folder(root, index);
        if !folder.exists() {
            continue;
        }
        // Held while sweeping, so that nobody takes the slot meanwhile.
        let Some(_lock) = slot::try_lock(&folder)? else {
            continue;
        };
        if let Some(state) = slot::read_state(&folder)? {
            tracing::info!(
                slot = index,
                owner = state.pid,
                "removing what a dead owner left"
            );
            resources(&state.resources)?;
            let file = slot::state_file(&folder);
            fs::remove_file(&file).at("remove", &file)?;
            swept.push(state);
        }
    }
    Ok(swept)
}

/// Removes all of `resources`: first what runs, then what it stood on.
pub(crate) fn resources(resources: &[Resource]) -> Result<()> {
    let mut first_error = Ok(());
    for step in [processes, links, namespaces, control_groups, folders] {
        for resource in resources.iter().rev() {
            let result = step(resource);
            if first_error.is_ok() {
                first_error = result;
            }
        }
    }
    first_error
}

fn processes(resource: &Resource) -> Result<()> {
    let Resource::Process { pid, started } = *resource else {
        return Ok(());
    };
    kill_and_wait(pid, started)
}

fn namespaces(resource: &Resource) -> Result<()> {
    let Resource::NetworkNamespace { name } = resource else {
        return Ok(());
    };
    remove_namespace(name)
}

fn links(resource: &Resource) -> Result<()> {
    let Resource::Link { name } = resource else {
        return Ok(());
    };
    remove_link(name)
}

fn control_groups(resource: &Resource) -> Result<()> {
    let Resource::ControlGroup { name } = resource else {
        return Ok(());
    };
    remove_control_groups(name)
}

fn folders(resource: &Resource) -> Result<()> {
    let Resource::Folder { path } = resource else {
        return Ok(());
    };
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.at("remove", path),
    }
}

/// Ends the processes in a network namespace and deletes it; fine when it is not there.
pub(crate) fn remove_namespace(name: &str) -> Result<()> {
    if !Path::new("/run/netns").join(name).exists() {
        return Ok(());
    }
    end_processes_in(name)?;
    command::run(
        "delete a network namespace",
        Command::new("ip").args(["netns", "delete", name]),
    )?;
    Ok(())
}

/// Ends the processes in a network namespace.
pub(crate) fn end_processes_in(name: &str) -> Result<()> {
    let inside = command::run(
        "list the processes of a namespace",
        Command::new("ip").args(["netns", "pids", name]),
    )?;
    for pid in inside.lines().filter_map(|line| line.trim().parse().ok()) {
        if let Some(started) = process::start_ticks(pid) {
            kill_and_wait(pid, started)?;
        }
    }
    Ok(())
}

/// Deletes a network device; fine when it is not there.
pub(crate) fn remove_link(name: &str) -> Result<()> {
    let device = Path::new("/sys/class/net").join(name);
    if !device.exists() {
        return Ok(());
    }
    let deleted = command::run(
        "delete a network device",
        Command::new("ip").args(["link", "delete", name]),
    );
    // Its other end may have gone, and it with it, in the meantime.
    if device.exists() {
        deleted?;
    }
    Ok(())
}

/// Removes the control groups of this name, and those in them, from every hierarchy.
pub(crate) fn remove_control_groups(name: &str) -> Result<()> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).into_iter().flatten().flatten();
    let candidates = hierarchies
        .map(|entry| entry.path().join(name))
        .chain([top.join(name)]);
    for group in candidates.filter(|group| group.is_dir()) {
        wait::until(
            &format!("the control group {} being empty", group.display()),
            LIMIT,
            PAUSE,
            || match remove_group(&group) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    Ok(Err(error.to_string()))
                }
                result => result.at("remove", &group).map(Ok),
            },
        )?;
    }
    Ok(())
}

fn remove_group(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

fn kill_and_wait(pid: i32, started: u64) -> Result<()> {
    if !process::is_alive(pid, started) {
        return Ok(());
    }
    match kill(Pid::from_raw(pid), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => return Err(error).step(|| format!("kill process {pid}")),
    }
    wait::until(&format!("the end of process {pid}"), LIMIT, PAUSE, || {
        Ok(if process::is_alive(pid, started) {
            Err("it is still there".into())
        } else {
            Ok(())
        })
    })
}
