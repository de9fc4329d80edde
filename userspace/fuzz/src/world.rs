// SPDX-License-Identifier: GPL-2.0
//! What a program works on: open files, mappings, devices, and memory for arguments.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use anyhow::Result;
use pagemove_testkit::child::Pid;
use pagemove_uapi::{Control, PciAddress};

use crate::calls::devices::Assigned;
use crate::calls::{files, maps};
use crate::scratch::Area;
use crate::shared::Shared;
use crate::value::{BOXES, FILES, MAPS};
use crate::witness::Witness;

/// How a call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub errno: i32,
    pub reason: u32,
    /// Something else that tells ways apart, for the guidance without coverage.
    pub way: u32,
}

impl Outcome {
    pub const OK: Outcome = Outcome {
        errno: 0,
        reason: 0,
        way: 0,
    };

    pub fn errno(errno: i32) -> Self {
        Self { errno, ..Self::OK }
    }

    /// Reads the result of a system call that returns -1 for an error.
    pub fn of(result: i64) -> Self {
        if result >= 0 {
            return Self::OK;
        }
        Self::errno(
            std::io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EIO),
        )
    }
}

/// What does not change while programs run.
pub struct Machine {
    /// Functions that programs attach.
    pub devices: Vec<PciAddress>,
    /// CPUID leaf 1 EAX, and microcode.
    pub cpu: (u32, u32),
    /// Whether the module has calls that only test builds have.
    pub test_build: bool,
}

pub struct File {
    pub fd: OwnedFd,
    /// The id of its region, if it is one.
    pub region: Option<u32>,
}

/// Numbers of what there is, as of the beginning of the program.
#[derive(Default)]
pub struct Live {
    pub regions: Vec<u32>,
    pub apertures: Vec<(u32, u64)>,
    pub windows: Vec<u32>,
}

pub struct World {
    pub machine: &'static Machine,
    pub shared: &'static Shared,
    /// Which process of the campaign this is.
    pub worker: usize,
    pub files: [Option<File>; FILES],
    /// Whether something may be mapped there.
    pub maps: [bool; MAPS],
    /// Devices outlast a program: to open one resets it, which takes long.
    pub boxes: [Option<Assigned>; BOXES],
    pub structure: Area,
    pub arrays: [Area; 2],
    pub targets: Area,
    pub live: Live,
    /// A file of our own, to look around with.
    pub control: Control,
    pub witness: Option<Witness>,
    pub children: Vec<Pid>,
    /// Calls that a child shall make, after a call of `fork`.
    pub fork: Option<usize>,
    pub privileged: bool,
    /// What a smaller program still has to reach; what it reaches is taken out.
    pub look_again: BTreeSet<u64>,
    /// What should not have happened in this program.
    pub problems: Vec<String>,
}

impl World {
    pub fn new(machine: &'static Machine, shared: &'static Shared, worker: usize) -> Result<Self> {
        Ok(Self {
            machine,
            shared,
            worker,
            files: [const { None }; FILES],
            maps: [false; MAPS],
            boxes: [const { None }; BOXES],
            structure: Area::new()?,
            arrays: [Area::new()?, Area::new()?],
            targets: Area::new()?,
            live: Live::default(),
            control: Control::open()?,
            witness: None,
            children: Vec::new(),
            fork: None,
            privileged: true,
            look_again: BTreeSet::new(),
            problems: Vec::new(),
        })
    }

    /// Gives a child memory of its own for arguments: its parent's is shared with it.
    pub fn leave_shared_memory(&mut self) -> bool {
        let areas = [(); 4].map(|()| Area::new());
        let Ok(areas) = areas.into_iter().collect::<Result<Vec<_>>>() else {
            return false;
        };
        let Ok([structure, first, second, targets]) = <[Area; 4]>::try_from(areas) else {
            return false;
        };
        self.structure = structure;
        self.arrays = [first, second];
        self.targets = targets;
        true
    }

    pub fn fd(&self, slot: u64) -> RawFd {
        let file = self.files.get(slot as usize).and_then(Option::as_ref);
        file.map_or(-1, |file| file.fd.as_raw_fd())
    }

    pub fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    /// Numbers of what there is now.
    pub fn look_around(&mut self) {
        if let Ok(regions) = self.control.region_list() {
            self.live.regions = regions
                .iter()
                .rev()
                .take(16)
                .map(|region| region.id)
                .collect();
        }
        if self.live.windows.is_empty() || self.live.apertures.is_empty() {
            let apertures = self.control.aperture_list().unwrap_or_default();
            self.live.apertures = apertures.iter().map(|a| (a.id, a.length)).collect();
            let windows = self.control.window_list().unwrap_or_default();
            self.live.windows = windows.iter().map(|w| w.id).collect();
        }
    }

    /// Ends what a program began. Devices stay attached, with nothing mapped but the witness.
    pub fn tidy(&mut self) {
        self.set_privilege(true);
        files::reap(self);
        for index in 0..BOXES {
            if let Some(assigned) = &self.boxes[index] {
                assigned.unmap_all();
            }
        }
        maps::unmap_all(self);
        for file in self.files.iter_mut().skip(crate::value::SHARED_FILES) {
            *file = None;
        }
        self.map_witness();
    }

    /// Lets the device of the first box reach the witness.
    pub fn map_witness(&mut self) {
        if let (Some(witness), Some(assigned)) = (&self.witness, &self.boxes[0]) {
            witness.map_for(assigned);
        }
    }

    pub fn set_privilege(&mut self, on: bool) {
        if self.privileged != on && files::set_privilege(on) {
            self.privileged = on;
        }
    }
}
