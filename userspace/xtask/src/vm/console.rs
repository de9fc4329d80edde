// SPDX-License-Identifier: GPL-2.0
//! The way into a running VM: its console and QEMU's monitor. They are used to ask a
//! VM that hangs what it is waiting for, before it is stopped, and to take a device
//! away when the guest's program asks for that.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// The first line that the kernel prints as an answer.
pub const ANSWER: &str = "sysrq: Show Blocked State";

/// Magic SysRq keys (Documentation/admin-guide/sysrq): tasks that are blocked,
/// and where each CPU is.
const QUESTIONS: [u8; 2] = [b'w', b'l'];

/// For the answer to get through the serial line.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Sockets in a directory of their own: the path of a socket has to be short.
pub struct Console {
    dir: PathBuf,
}

impl Console {
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("pagemove-vm-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Returns QEMU's options. All that the console says goes to `log`, connected or not.
    pub fn args(&self, log: &Path) -> Vec<OsString> {
        let mut console = self.socket("console");
        console.push(",logfile=");
        console.push(log);
        let monitor = self.socket("monitor");
        let hmp = "monitor-hmp,id=hmp,chardev=monitor".into();
        vec![
            "-chardev".into(),
            console,
            "-chardev".into(),
            monitor,
            "-object".into(),
            hmp,
        ]
    }

    fn socket(&self, id: &str) -> OsString {
        let mut arg = OsString::from(format!("socket,id={id},server=on,wait=off,path="));
        arg.push(self.path(id));
        arg
    }

    /// Returns where the socket `id` is.
    pub fn path(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    /// Gives the monitor a command. What it says can be read from what this returns.
    fn tell(&self, command: &str) -> Result<UnixStream> {
        let mut monitor = UnixStream::connect(self.path("monitor"))?;
        writeln!(monitor, "{command}")?;
        monitor.set_read_timeout(Some(PATIENCE))?;
        Ok(monitor)
    }

    /// Asks the guest to let a device go, as a person at the machine would.
    pub fn unplug(&self, device: &str) -> Result<()> {
        let mut monitor = self.tell(&format!("device_del {device}"))?;
        // The monitor reads it when its socket is served: not before we are heard.
        let mut answer = [0; 256];
        let _ = monitor.read(&mut answer)?;
        Ok(())
    }

    /// Makes the kernel say what it is doing, and returns where its CPUs are. Best effort: a VM may hang
    /// so that nobody answers.
    pub fn question(&self) -> String {
        let registers = self.registers().unwrap_or_default();
        let _ = self.ask();
        registers
    }

    /// Returns the registers of all CPUs. QEMU has them where the kernel no longer answers.
    fn registers(&self) -> Result<String> {
        let mut monitor = self.tell("info registers -a")?;
        let mut answer = Vec::new();
        // It ends when nothing more comes: the monitor stays open.
        let _ = monitor.read_to_end(&mut answer);
        Ok(String::from_utf8_lossy(&answer).replace('\r', ""))
    }

    fn ask(&self) -> Result<()> {
        let mut monitor = UnixStream::connect(self.path("monitor"))?;
        let mut console = UnixStream::connect(self.path("console"))?;
        for key in QUESTIONS {
            monitor.write_all(b"chardev-send-break console\n")?;
            thread::sleep(Duration::from_millis(200));
            console.write_all(&[key])?;
            thread::sleep(PATIENCE);
        }
        Ok(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Sockets that stay in the directory for temporary files harm nobody.
        let _ = fs::remove_dir_all(&self.dir);
    }
}
