// SPDX-License-Identifier: GPL-2.0
//! What pagemove is built for and tested on. This is the only place that says so.

use super::series::Series;

/// The Debian release whose toolchain built the kernel.
pub const SUITE: &str = "trixie";

/// Where the kernel and QEMU come from.
pub const BACKPORTS: &str = "trixie-backports";

/// The kernel series, in ascending order; the newest patch level of each is taken.
pub const SUPPORTED: [Series; 2] = [Series("7.2"), Series("7.3")];

/// The series of which the kernels that look for mistakes are built: they are edited, and what they
/// report of the kernel itself is known.
pub const DEBUGGED: Series = Series("7.2");

/// Which of Debian's kernels, as its release ends after the patch level.
pub const FLAVOUR: &str = "+deb13-amd64";

/// What the build root is made of, beside the essential packages. The kernel's
/// own list is in its Documentation/process/changes.rst; then what the checks
/// use (rustfmt, clang-format, clippy, cargo) and the guest (busybox).
pub const PACKAGES: [&str; 25] = [
    "rustc",
    "rust-src",
    "bindgen",
    "libclang-dev",
    "clang",
    "lld",
    "gcc-14",
    "gcc",
    "make",
    "flex",
    "bison",
    "bc",
    "libelf-dev",
    "libssl-dev",
    "kmod",
    "cpio",
    "dwarves",
    "xz-utils",
    "busybox-static",
    "python3-minimal",
    "rustfmt",
    "rust-clippy",
    "clang-format",
    "cargo",
    "ca-certificates",
];

/// From backports, without what they recommend; zstd unpacks the kernels for it.
pub const QEMU: [&str; 4] = ["qemu-system-x86", "seabios", "ipxe-qemu", "zstd"];

/// libvirt as Debian's users have it, and the libraries of it that the build root lacks. They are unpacked, not installed.
pub const LIBVIRT: [&str; 15] = [
    "libvirt-daemon",
    "libvirt-daemon-common",
    "libvirt-daemon-log",
    "libvirt-daemon-driver-qemu",
    "libvirt-common",
    "libvirt0",
    "libvirt-clients",
    "apparmor",
    "libapparmor1",
    "libcurl3t64-gnutls",
    "libjson-c5",
    "libngtcp2-16",
    "libngtcp2-crypto-gnutls8",
    "libssh-4",
    "libtirpc3t64",
];
