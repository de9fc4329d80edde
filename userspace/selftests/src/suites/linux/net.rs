// SPDX-License-Identifier: GPL-2.0
//! The guest's network: a tap device of this VM that vhost serves, and a host behind it that sends back
//! what it gets.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;

use anyhow::{ensure, Context, Result};

const ADDRESS: &str = "192.0.2.1";
const PORT: u16 = 7777;
/// What the guest sends in each of its rounds.
const LENGTH: usize = 512 << 10;

/// Gives this side of the tap device, which each QEMU makes anew, its address.
pub fn up() -> Result<()> {
    let up = Command::new("ifconfig")
        .args(["tap0", ADDRESS, "netmask", "255.255.255.0", "up"])
        .status()
        .context("ifconfig")?;
    ensure!(up.success(), "ifconfig tap0: {up}");
    Ok(())
}

/// Serves the guest for as long as the program runs. Counts what it has sent back.
pub fn serve() -> Result<Arc<AtomicU64>> {
    let listener = TcpListener::bind((ADDRESS, PORT)).context("listening")?;
    let served = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&served);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // What is cut short the guest notices.
            if echo(stream).is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    Ok(served)
}

fn echo(mut stream: TcpStream) -> Result<()> {
    let mut data = vec![0; LENGTH];
    stream.read_exact(&mut data)?;
    stream.write_all(&data)?;
    Ok(stream.shutdown(Shutdown::Write)?)
}

/// Tells whether a process has a thread of vhost's, which works in its memory.
pub fn has_vhost(pid: u32) -> Result<bool> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let name = fs::read_to_string(task?.path().join("comm")).unwrap_or_default();
        if name.starts_with("vhost-") {
            return Ok(true);
        }
    }
    Ok(false)
}
