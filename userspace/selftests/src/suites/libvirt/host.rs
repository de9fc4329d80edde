// SPDX-License-Identifier: GPL-2.0
//! What Debian's packages do when they are installed and what systemd does then, as far as it matters here: users,
//! directories, mounts, profiles, daemons.

use std::fs;
use std::os::unix::fs::{chown, symlink, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{module, wait};

pub const LIBVIRTD: &str = "/usr/sbin/libvirtd";
/// libvirt-qemu's number, as its package chooses it.
pub const QEMU_USER: &str = "64055";

const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\n\
    libvirt-qemu:x:64055:104:Libvirt Qemu:/var/lib/libvirt:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nkvm:x:104:\nlibvirt:x:105:\nlibvirt-qemu:x:64055:libvirt-qemu\n";

const DIRECTORIES: [&str; 6] = [
    "/var/lib/libvirt/images",
    "/var/lib/libvirt/qemu",
    "/var/cache/libvirt/qemu",
    "/var/log/libvirt/qemu",
    "/etc/apparmor.d/local",
    "/var/tmp",
];
const PROFILES: [&str; 2] = ["usr.sbin.libvirtd", "usr.lib.libvirt.virt-aa-helper"];
const MOUNTS: [(&str, &str); 2] = [
    ("cgroup2", "/sys/fs/cgroup"),
    ("securityfs", "/sys/kernel/security"),
];
/// What guest.md has libvirt let QEMU have beside its own, for a region.
const DEVICES: &str =
    "\ncgroup_device_acl = [ \"/dev/null\", \"/dev/full\", \"/dev/zero\", \"/dev/random\", \
    \"/dev/urandom\", \"/dev/ptmx\", \"/dev/kvm\", \"/dev/userfaultfd\", \"/dev/pagemove\" ]\n";
/// The group of packaging/sysusers.conf, of which QEMU's user is made a member.
const OUR_GROUP: u32 = 997;

/// Only pages that the IOMMU maps one by one can be moved: as guest.md says.
const SMALL_LEAVES: &str = "/sys/module/vfio_iommu_type1/parameters/disable_hugepages";

/// Makes this VM a host on which libvirt is installed.
pub fn install() -> Result<()> {
    fs::write("/etc/passwd", PASSWD)?;
    fs::write("/etc/group", GROUP)?;
    for directory in DIRECTORIES {
        fs::create_dir_all(directory).with_context(|| directory.to_string())?;
    }
    let id: u32 = QEMU_USER.parse()?;
    chown("/var/lib/libvirt/qemu", Some(id), Some(id))?;
    // As everywhere on Debian.
    symlink("/run", "/var/run").context("/var/run")?;
    symlink("usr/sbin", "/sbin").context("/sbin")?;
    for (kind, directory) in MOUNTS {
        run("mount", &["-t", kind, kind, directory])?;
    }
    for profile in PROFILES {
        fs::write(format!("/etc/apparmor.d/local/{profile}"), "")?;
        run(
            "apparmor_parser",
            &["-r", "-T", &format!("/etc/apparmor.d/{profile}")],
        )?;
    }
    fs::write(SMALL_LEAVES, "1").context(SMALL_LEAVES)
}

/// Installs pagemove beside it: the module where modprobe finds it, and what a region needs.
pub fn install_pagemove() -> Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let file = format!("/lib/modules/{}/pagemove.ko", release.trim());
    fs::copy(module::pagemove_file(), &file).context(file)?;
    let options = format!("options pagemove {}\n", module::parameters());
    fs::create_dir_all("/etc/modprobe.d")?;
    fs::write("/etc/modprobe.d/pagemove.conf", options)?;
    // Not busybox's.
    run("/usr/sbin/depmod", &[])?;
    let group = format!("{GROUP}pagemove:x:{OUR_GROUP}:libvirt-qemu\n");
    fs::write("/etc/group", group)?;
    let settings = fs::read_to_string("/etc/libvirt/qemu.conf")? + DEVICES;
    fs::write("/etc/libvirt/qemu.conf", settings)?;
    let local = "/etc/apparmor.d/local/abstractions";
    fs::create_dir_all(local)?;
    Ok(fs::write(
        format!("{local}/libvirt-qemu"),
        "/dev/pagemove rw,\n",
    )?)
}

/// Gives the module's file the rights that packaging/udev.rules gives it.
pub fn permit() -> Result<()> {
    chown(pagemove_uapi::DEVICE, Some(0), Some(OUR_GROUP))?;
    let rights = fs::Permissions::from_mode(0o660);
    Ok(fs::set_permissions(pagemove_uapi::DEVICE, rights)?)
}

/// Runs a program of the VM's or of Debian's.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", "/bin:/usr/sbin:/usr/bin")
        .output()
        .with_context(|| format!("starting {program}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} {}: {}: {errors}",
        arguments.join(" "),
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// libvirtd and what writes its logs.
pub struct Daemons;

impl Daemons {
    pub fn start() -> Result<Self> {
        let daemons = Self;
        run("virtlogd", &["-d"])?;
        run("libvirtd", &["-d"])?;
        Ok(daemons)
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        for name in ["libvirtd", "virtlogd"] {
            let file = format!("/run/{name}.pid");
            let text = fs::read_to_string(&file).unwrap_or_default();
            let Ok(pid) = text.trim().parse::<i32>() else {
                continue;
            };
            // SAFETY: a signal to what was started above.
            unsafe { libc::kill(pid, libc::SIGTERM) };
            let process = format!("/proc/{pid}");
            // What stays has no device, and ends with the VM.
            let _ = wait::until("it ends", Duration::from_secs(20), || {
                Ok(!Path::new(&process).exists())
            });
        }
    }
}
