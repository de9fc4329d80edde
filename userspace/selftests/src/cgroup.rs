// SPDX-License-Identifier: GPL-2.0
//! Cgroups of version 2, as a service manager makes them: of memory for a VMM, and of CPUs that are
//! set aside.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use anyhow::{ensure, Context, Result};

const ROOT: &str = "/tmp/cgroup";

pub struct Cgroup(PathBuf);

impl Cgroup {
    /// An empty one. None if the kernel has no memory cgroups.
    pub fn new(name: &str) -> Result<Option<Self>> {
        mount();
        let controllers =
            fs::read_to_string(Path::new(ROOT).join("cgroup.controllers")).unwrap_or_default();
        if !controllers.split_whitespace().any(|name| name == "memory") {
            return Ok(None);
        }
        Self::make(Path::new(ROOT), name).map(Some)
    }

    /// An empty one below this one, which no process may be in then.
    pub fn below(&self, name: &str) -> Result<Self> {
        Self::make(&self.0, name)
    }

    fn make(parent: &Path, name: &str) -> Result<Self> {
        write(&parent.join("cgroup.subtree_control"), "+memory")?;
        let dir = parent.join(name);
        fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(Self(dir))
    }

    /// Removes its directory, which it has to allow: no process is in it.
    pub fn remove(self) -> Result<()> {
        let dir = self.0.display();
        fs::remove_dir(&self.0).with_context(|| format!("removing {dir}"))
    }

    pub fn limit(&self, bytes: u64) -> Result<()> {
        write(&self.0.join("memory.max"), &bytes.to_string())
    }

    /// What is charged to it now, in bytes.
    pub fn used(&self) -> Result<u64> {
        self.number("memory.current")
    }

    /// The most that ever was.
    pub fn peak(&self) -> Result<u64> {
        self.number("memory.peak")
    }

    fn number(&self, name: &str) -> Result<u64> {
        let file = self.0.join(name);
        let text =
            fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        Ok(text.trim().parse()?)
    }

    /// Whether all that are in it are to be killed with one of them.
    pub fn kill_all(&self, all: bool) -> Result<()> {
        write(
            &self.0.join("memory.oom.group"),
            if all { "1" } else { "0" },
        )
    }

    /// How often somebody in it was killed for want of memory.
    pub fn kills(&self) -> Result<u64> {
        let text = fs::read_to_string(self.0.join("memory.events"))?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(count
            .context("no oom_kill in memory.events")?
            .trim()
            .parse()?)
    }

    /// The running process goes in.
    pub fn enter(&self) -> Result<()> {
        write(&self.0.join("cgroup.procs"), "0")
    }

    /// The running process goes to where all others are.
    pub fn leave() -> Result<()> {
        write(&Path::new(ROOT).join("cgroup.procs"), "0")
    }

    pub fn add(&self, pid: u32) -> Result<()> {
        write(&self.0.join("cgroup.procs"), &pid.to_string())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // One that still has a process stays: the VM ends soon.
        let _ = fs::remove_dir(&self.0);
    }
}

/// CPUs that are set aside, until it is dropped.
pub struct Isolated(PathBuf);

impl Isolated {
    /// `cpus`: numbers with commas.
    pub fn new(cpus: &str) -> Result<Self> {
        mount();
        write(&Path::new(ROOT).join("cgroup.subtree_control"), "+cpuset")?;
        let dir = Path::new(ROOT).join("isolated");
        fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
        let partition = Self(dir);
        write(&partition.0.join("cpuset.cpus"), cpus)?;
        let kind = partition.0.join("cpuset.cpus.partition");
        write(&kind, "isolated")?;
        let is = fs::read_to_string(&kind)?;
        ensure!(is.trim() == "isolated", "the partition is {}", is.trim());
        Ok(partition)
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn mount() {
    static MOUNTED: Once = Once::new();
    MOUNTED.call_once(|| {
        let _ = fs::create_dir_all(ROOT);
        let (source, target) = (c"cgroup", c"/tmp/cgroup");
        // SAFETY: three C strings. If it fails there are no controllers, which is found out.
        unsafe {
            libc::mount(
                source.as_ptr(),
                target.as_ptr(),
                c"cgroup2".as_ptr(),
                0,
                std::ptr::null(),
            )
        };
    });
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("writing {text:?} to {}", file.display()))
}
