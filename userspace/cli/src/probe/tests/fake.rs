// SPDX-License-Identifier: GPL-2.0
//! Made-up machines: directories with the files of sysfs and procfs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

pub struct Fake {
    directory: TempDir,
}

/// Capability registers of VT-d, all that matters set: scalable mode, first and
/// second stage, coherent walks, draining, snoop control.
pub const CAP: u64 = 1 << 55 | 1 << 54 | 47 << 16 | 6 << 8 | 6;
pub const ECAP: u64 = 1 << 48 | 1 << 47 | 1 << 46 | 1 << 43 | 1 << 7 | 0b111;
/// Of AMD-Vi: v2 tables for requests without PASID.
pub const EFR: u64 = 1 << 48 | 1 << 4;

pub const NVME: &str = "0000:01:00.0";
pub const PORT: &str = "0000:00:01.0";

impl Fake {
    pub fn empty() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory for a test"),
        }
    }

    /// Makes a kernel and a CPU, and nothing else.
    pub fn new(vendor: &str, flags: &str, command_line: &str) -> Self {
        let fake = Self::empty();
        fake.file("proc/cmdline", command_line);
        fake.file("proc/sys/kernel/osrelease", "7.2.0");
        fake.file(
            "proc/cpuinfo",
            &format!(
                "processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: 6\nmodel\t\t: 143\n\
                 model name\t: Test CPU\nstepping\t: 8\nmicrocode\t: 0x2b0\n\
                 flags\t\t: fpu tsc {flags}\n\nprocessor\t: 1\n"
            ),
        );
        fake.file("sys/kernel/security/lockdown", "[none] integrity\n");
        for name in ["vfio_iommu_type1", "vfio_pci_core"] {
            fake.directory(&format!("sys/module/{name}"));
        }
        fake.file("dev/kmsg", "");
        fake.clocks("tsc", "tsc hpet");
        fake.cpus(&[(0, "0"), (0, "1")]);
        fake.file("sys/devices/system/node/has_memory", "0-1\n");
        for node in 0..2 {
            fake.file(
                &format!("sys/devices/system/node/node{node}/meminfo"),
                &format!("Node {node} MemTotal: 1024 kB\nNode {node} MemFree: 512 kB\n"),
            );
        }
        fake
    }

    /// Makes an Intel machine with an IOMMU in scalable mode and a drive behind it.
    pub fn intel() -> Self {
        Self::intel_with(CAP, ECAP, "quiet intel_iommu=on,sm_on")
    }

    pub fn intel_with(cap: u64, ecap: u64, command_line: &str) -> Self {
        let fake = Self::new("GenuineIntel", "rtm constant_tsc nonstop_tsc", command_line);
        fake.vtd(&format!("{cap:x}\n"), &format!("{ecap:x}\n"));
        fake.drive("dmar0");
        fake
    }

    pub fn amd_with(features: &str, command_line: &str) -> Self {
        let fake = Self::new("AuthenticAMD", "constant_tsc nonstop_tsc", command_line);
        fake.file("sys/class/iommu/ivhd0/amd-iommu/cap", "b0f0000\n");
        fake.file("sys/class/iommu/ivhd0/amd-iommu/features", features);
        fake.drive("ivhd0");
        fake
    }

    pub fn vtd(&self, cap: &str, ecap: &str) {
        let directory = "sys/class/iommu/dmar0/intel-iommu";
        self.file(&format!("{directory}/cap"), cap);
        self.file(&format!("{directory}/ecap"), ecap);
        self.file(&format!("{directory}/version"), "6:0\n");
        self.file(&format!("{directory}/domains_supported"), "65536\n");
        self.file(&format!("{directory}/domains_used"), "7\n");
    }

    /// Adds a drive alone in its group, below a port with ACS.
    fn drive(&self, iommu: &str) {
        self.function(PORT, &[], "0x060400", &port(0b1_1101, 0b1_1101));
        self.function(NVME, &[PORT], "0x010802", &Space::express(0).bytes);
        self.group(NVME, 1, iommu);
        self.group(PORT, 0, iommu);
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn file(&self, name: &str, text: &str) {
        self.bytes(name, text.as_bytes());
    }

    pub fn bytes(&self, name: &str, bytes: &[u8]) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().expect("a name with a directory")).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn directory(&self, name: &str) {
        fs::create_dir_all(self.root().join(name)).unwrap();
    }

    pub fn link(&self, name: &str, target: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().expect("a name with a directory")).unwrap();
        symlink(target, path).unwrap();
    }

    pub fn remove(&self, name: &str) {
        let path = self.root().join(name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    pub fn clocks(&self, current: &str, available: &str) {
        let directory = "sys/devices/system/clocksource/clocksource0";
        self.file(&format!("{directory}/current_clocksource"), current);
        self.file(&format!("{directory}/available_clocksource"), available);
    }

    /// Adds CPUs by package and by the list of threads of their core.
    pub fn cpus(&self, places: &[(u32, &str)]) {
        let directory = "sys/devices/system/cpu";
        let last = places.len() - 1;
        self.file(&format!("{directory}/online"), &format!("0-{last}\n"));
        for (cpu, (package, siblings)) in places.iter().enumerate() {
            let topology = format!("{directory}/cpu{cpu}/topology");
            self.file(
                &format!("{topology}/physical_package_id"),
                &package.to_string(),
            );
            self.file(&format!("{topology}/thread_siblings_list"), siblings);
        }
    }

    /// Adds a PCI function below bridges, the uppermost first.
    pub fn function(&self, address: &str, above: &[&str], class: &str, config: &[u8]) {
        let path = [&["pci0000:00"], above, &[address]].concat().join("/");
        let directory = format!("sys/devices/{path}");
        self.file(&format!("{directory}/class"), class);
        self.file(&format!("{directory}/vendor"), "0x8086");
        self.file(&format!("{directory}/device"), "0x0953");
        self.file(&format!("{directory}/numa_node"), "-1");
        self.file(&format!("{directory}/driver_override"), "(null)");
        self.bytes(&format!("{directory}/config"), config);
        let target = format!("../../../devices/{path}");
        self.link(&format!("sys/bus/pci/devices/{address}"), &target);
    }

    pub fn group(&self, address: &str, group: u32, iommu: &str) {
        let device = format!("sys/bus/pci/devices/{address}");
        self.directory(&format!(
            "sys/kernel/iommu_groups/{group}/devices/{address}"
        ));
        self.file(&format!("sys/kernel/iommu_groups/{group}/type"), "DMA-FQ\n");
        self.link(
            &format!("{device}/iommu_group"),
            &format!("../../../kernel/iommu_groups/{group}"),
        );
        self.link(&format!("{device}/iommu"), &format!("../iommu/{iommu}"));
        self.directory(&format!("sys/class/iommu/{iommu}/devices/{address}"));
    }

    pub fn driver(&self, address: &str, name: &str) {
        self.link(
            &format!("sys/bus/pci/devices/{address}/driver"),
            &format!("../../../bus/pci/drivers/{name}"),
        );
    }
}

/// Configuration space.
pub struct Space {
    pub bytes: Vec<u8>,
    end: usize,
}

impl Space {
    /// Makes 4096 bytes with a PCI Express capability of a port type.
    pub fn express(port_type: u8) -> Self {
        let mut bytes = vec![0; 4096];
        bytes[..4].copy_from_slice(&[0x86, 0x80, 0x53, 0x09]);
        bytes[0x06] = 1 << 4;
        bytes[0x34] = 0x40;
        // Power management first, so that the list has to be followed.
        bytes[0x40..0x42].copy_from_slice(&[0x01, 0x60]);
        bytes[0x60..0x62].copy_from_slice(&[0x10, 0x00]);
        bytes[0x62] = port_type << 4 | 2;
        Self { bytes, end: 0x100 }
    }

    /// Adds an extended capability with two registers.
    pub fn with(mut self, id: u16, first: u16, second: u16) -> Self {
        let at = self.end;
        if at > 0x100 {
            let next = (at as u16) << 4 | 1;
            let before = at - 0x10;
            self.bytes[before + 2..before + 4].copy_from_slice(&next.to_le_bytes());
        }
        self.bytes[at..at + 2].copy_from_slice(&id.to_le_bytes());
        self.bytes[at + 2] = 1;
        self.bytes[at + 4..at + 6].copy_from_slice(&first.to_le_bytes());
        self.bytes[at + 6..at + 8].copy_from_slice(&second.to_le_bytes());
        self.end = at + 0x10;
        self
    }
}

/// Returns the configuration space of a root port with ACS.
pub fn port(supported: u16, enabled: u16) -> Vec<u8> {
    Space::express(4).with(0x0d, supported, enabled).bytes
}
