// SPDX-License-Identifier: GPL-2.0
//! QEMU's command line for a profile.

use super::accel::Accel;
use super::console::Console;
use super::pair::Socket;
use super::profile::Profile;
use super::ram::SharedRam;
use crate::root::image::Image;
use crate::root::BuildRoot;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of one run that QEMU opens.
pub struct Files<'a> {
    pub kernel: &'a Path,
    pub initrd: &'a Path,
    pub dmesg: &'a Path,
    pub console: &'a Console,
    pub disks: &'a [PathBuf],
    pub windows: &'a [PathBuf],
    pub trace: &'a Path,
    /// This VM's RAM, if it is a file.
    pub ram: Option<&'a SharedRam>,
    pub peer_ram: Option<&'a SharedRam>,
    pub link: Option<&'a Socket>,
}

/// Makes QEMU's command, ready to be started. The guest's ttyS0 is the dmesg
/// file, its ttyS1 is QEMU's standard output.
/// Events that match `traced` are written to the trace file.
pub fn command(
    root: &BuildRoot,
    image: &Image,
    profile: &Profile,
    accel: Accel,
    traced: &[String],
    files: &Files,
) -> Command {
    let mut command = root.tool("usr/bin/qemu-system-x86_64");
    let share = root.dir().join("usr/share");
    command.env(
        "QEMU_MODULE_DIR",
        root.dir().join("usr/lib/x86_64-linux-gnu/qemu"),
    );
    command
        .arg("-L")
        .arg(share.join("qemu"))
        .arg("-L")
        .arg(share.join("seabios"));
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-nic",
        "none",
    ]);
    command.args(accel.args());
    command.args(machine(profile, files.ram));
    for global in &profile.globals {
        command.args(["-global", global]);
    }
    command.args(loops(profile, files.console));
    command.args(link(profile, files.link));
    command.args(windows(profile, files.windows));
    command.args(shown(&profile.mirrors, files.ram));
    command.args(shown(&profile.peer_ram, files.peer_ram));
    command.args(devices(profile, files.disks));
    command.args(trace(traced, files.trace));
    command.args(["-serial", "chardev:console", "-serial", "chardev:output"]);
    command.args(files.console.args(files.dmesg));
    command.args(["-chardev", "file,id=output,path=/proc/self/fd/1"]);
    command
        .arg("-kernel")
        .arg(files.kernel)
        .arg("-initrd")
        .arg(files.initrd);
    command
        .arg("-append")
        .arg(kernel_line(profile, image.flavour.words()));
    command
}

fn machine(profile: &Profile, ram: Option<&SharedRam>) -> Vec<String> {
    let total = profile.mib();
    let mut args = vec!["-machine".into(), profile.machine.clone()];
    args.extend([
        "-m".into(),
        format!("{total}M"),
        "-smp".into(),
        profile.cpus.to_string(),
    ]);
    for (node, mib) in profile.nodes.iter().enumerate() {
        let id = format!("mem{node}");
        let object = match ram {
            Some(ram) => Some(ram_file(&id, ram)),
            // A window may be the node's memory, so that a device shows it.
            None if profile
                .windows
                .iter()
                .any(|window| window.ids.contains(&id)) =>
            {
                None
            }
            None => Some(format!("memory-backend-ram,id={id},size={mib}M")),
        };
        args.extend(
            object
                .into_iter()
                .flat_map(|object| ["-object".into(), object]),
        );
        args.extend([
            "-numa".into(),
            format!("node,nodeid={node},memdev=mem{node}"),
        ]);
    }
    let nodes = profile.nodes.len() as u32;
    for cpu in 0..profile.cpus {
        let node = cpu * nodes / profile.cpus;
        args.extend([
            "-numa".into(),
            format!("cpu,node-id={node},socket-id={cpu},core-id=0,thread-id=0"),
        ]);
    }
    // One CPU a socket: a NUMA node then never cuts through a socket, which the kernel warns of.
    let smp = args.iter().position(|arg| arg == "-smp").map(|at| at + 1);
    if let Some(at) = smp {
        args[at] = format!("{0},sockets={0},cores=1,threads=1", profile.cpus);
    }
    args
}

/// Makes datagram sockets, each its own peer: what the device sends waits in it until the
/// device receives it.
fn loops(profile: &Profile, console: &Console) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    for id in &profile.loops {
        let socket = console.path(id);
        let mut netdev = OsString::from(format!("dgram,id={id}"));
        for side in ["local", "remote"] {
            netdev.push(format!(",{side}.type=unix,{side}.path="));
            netdev.push(&socket);
        }
        args.extend(["-netdev".into(), netdev]);
    }
    args
}

/// Joins a pair: one listens, the other one tries until it does: either may be the first.
fn link(profile: &Profile, socket: Option<&Socket>) -> Vec<OsString> {
    let (Some(link), Some(socket)) = (&profile.link, socket) else {
        return Vec::new();
    };
    let (role, path) = match socket {
        Socket::Listen(path) => ("server=on", path),
        Socket::Connect(path) => ("server=off,reconnect-ms=200", path),
    };
    let mut netdev = OsString::from(format!(
        "stream,id={},{role},addr.type=unix,addr.path=",
        link.id
    ));
    netdev.push(path);
    vec!["-netdev".into(), netdev]
}

fn ram_file(id: &str, ram: &SharedRam) -> String {
    format!(
        "memory-backend-file,id={id},size={}M,share=on,mem-path={}",
        ram.mib(),
        ram.path().display()
    )
}

/// Returns the back ends that are a VM's RAM.
fn shown(ids: &[String], ram: Option<&SharedRam>) -> Vec<String> {
    let objects = ram
        .into_iter()
        .flat_map(|ram| ids.iter().map(move |id| ram_file(id, ram)));
    objects
        .flat_map(|object| ["-object".into(), object])
        .collect()
}

/// Returns the options of QEMU's trace backend `log`: a line for each event, in the order in which
/// they happen, for one lock is around each.
fn trace(events: &[String], file: &Path) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    for event in events {
        args.extend(["-trace".into(), OsString::from(format!("enable={event}"))]);
    }
    if !events.is_empty() {
        let mut to = OsString::from("file=");
        to.push(file);
        args.extend(["-trace".into(), to]);
    }
    args
}

fn windows(profile: &Profile, files: &[PathBuf]) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    for (window, file) in profile.windows.iter().zip(files) {
        for id in &window.ids {
            let mut object = OsString::from(format!(
                "memory-backend-file,id={id},size={}M,share=on,mem-path=",
                window.mib
            ));
            object.push(file);
            args.extend(["-object".into(), object]);
        }
    }
    args
}

fn devices(profile: &Profile, disks: &[PathBuf]) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    for (disk, file) in profile.disks.iter().zip(disks) {
        let mut blockdev = OsString::from(format!(
            "driver=file,node-name={},cache.no-flush=on,filename=",
            disk.node
        ));
        blockdev.push(file);
        args.extend(["-blockdev".into(), blockdev]);
    }
    for device in &profile.devices {
        args.extend(["-device".into(), device.into()]);
    }
    args
}

/// Returns the kernel's command line. An oops or a panic ends the VM at once: what follows would
/// only hide it. SysRq is for a VM that hangs.
fn kernel_line(profile: &Profile, more: &[&str]) -> String {
    // no_timer_check: on a busy host the emulated timer's ticks come too late for the
    // kernel's check at boot, which panics (arch/x86/kernel/apic/io_apic.c).
    let mut line = String::from(
        "console=ttyS0,115200 loglevel=7 sysrq_always_enabled oops=panic panic=-1 no_timer_check",
    );
    for word in profile
        .kernel
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
    {
        line.push(' ');
        line.push_str(word);
    }
    line
}

#[cfg(test)]
#[path = "qemu_tests.rs"]
mod tests;
