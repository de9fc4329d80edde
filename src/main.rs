// SPDX-License-Identifier: GPL-2.0
//! pagemove: moves pinned DMA pages while the device keeps running.
//!
//! The crate `engine` decides; this crate is the glue that lets it act. See
//! `Documentation/design.md`.

// One file for module and user space: each uses a part.
#[allow(dead_code, unreachable_pub)]
mod abi;
mod aliases;
mod args;
mod claim;
mod device;
mod domain;
mod errno;
mod ffi;
mod file;
mod frames;
mod ioctl;
mod machine;
#[cfg(pagemove_test)]
mod marker;
mod mms;
mod mover;
mod page;
mod pagemap;
mod params;
mod quarantine;
mod reclaim;
mod refusal;
mod region;
mod registry;
mod retired;
mod sharing;
mod stats;
mod vfio;
mod vma;

use kernel::debugfs;
use kernel::prelude::*;

#[cfg(not(pagemove_test))]
module! {
    type: Pagemove,
    name: "pagemove",
    authors: ["The pagemove authors"],
    description: "Moves pinned DMA pages while the device keeps running",
    license: "GPL",
    imports_ns: ["GENERIC_PT_IOMMU"],
    params: {
        allow_incoherent: u8 {
            default: 0,
            description: "1: move pages behind an IOMMU whose walker does not snoop (emulators only)",
        },
    },
}

#[cfg(pagemove_test)]
module! {
    type: Pagemove,
    name: "pagemove",
    authors: ["The pagemove authors"],
    description: "Moves pinned DMA pages while the device keeps running (TEST BUILD)",
    license: "GPL",
    imports_ns: ["GENERIC_PT_IOMMU"],
    params: {
        allow_incoherent: u8 {
            default: 0,
            description: "1: move pages behind an IOMMU whose walker does not snoop (emulators only)",
        },
        sabotage: u8 {
            default: 0,
            description: "step to leave out: 1 first invalidation, 2 A/D clear, 3 CPU hold, 4 compare, 5 verification",
        },
        inject: u8 {
            default: 0,
            description: "1: put the old entry back after some commits",
        },
        mark: u8 {
            default: 0,
            description: "1: mark begin and end of each copy in QEMU's trace (QEMU only)",
        },
    },
}

/// The module. Fields are dropped in this order: nobody can open a device any
/// more, then none is bound, then the work item has ended.
#[pin_data]
struct Pagemove {
    #[pin]
    file: file::DeviceFile,
    #[pin]
    counters: debugfs::File<()>,
    _directory: debugfs::Dir,
    _driver: vfio::Driver,
    _reclaimer: reclaim::Reclaimer,
}

impl kernel::InPlaceModule for Pagemove {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        // SAFETY: init runs once, before anything of this module is reachable.
        unsafe {
            registry::init();
            mms::init();
            quarantine::init();
        }
        let directory = debugfs::Dir::new(c"pagemove");
        pin_init::pin_init_scope(move || {
            let driver = vfio::Driver::register()?;
            Ok(try_pin_init!(Self {
                counters <- directory.read_callback_file(c"stats", (), &|_, f| stats::print(f)),
                file <- file::DeviceFile::register(),
                _driver: driver,
                _reclaimer: reclaim::Reclaimer,
                _directory: directory,
            }))
        })
    }
}
