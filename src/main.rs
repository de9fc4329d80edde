// SPDX-License-Identifier: GPL-2.0
//! pagemove: moves pinned DMA pages while the device keeps running.
//!
//! The crate `engine` decides; this crate is the glue that lets it act. See
//! `Documentation/design.md`.

/// Reads a module parameter.
macro_rules! parameter {
    ($name:ident) => {
        crate::compat::value(&crate::module_parameters::$name)
    };
}

#[allow(
    dead_code,
    unreachable_pub,
    reason = "one file for module and user space: each uses a part"
)]
mod abi;
mod aperture;
mod args;
mod compat;
mod device;
mod event;
mod file;
mod home;
mod host;
mod iommu;
mod machine;
mod mover;
#[allow(dead_code, unreachable_pub, reason = "as of `abi`")]
mod numbers;
mod page;
mod params;
mod refusal;
mod region;
mod session;
mod shmem;
mod stats;
mod testing;
mod window;

use kernel::debugfs;
use kernel::prelude::*;

/// What modinfo and sysfs tell as the module's version, as MODULE_VERSION() of C does.
#[used]
#[link_section = ".modinfo"]
static VERSION: [u8; VERSION_TEXT.len()] = version_text();

const VERSION_TEXT: &str = concat!("version=", env!("PAGEMOVE_VERSION"), "\0");

const fn version_text() -> [u8; VERSION_TEXT.len()] {
    match VERSION_TEXT.as_bytes().first_chunk() {
        Some(bytes) => *bytes,
        None => [0; VERSION_TEXT.len()],
    }
}

/// Emits what the kernel knows of the module: with this description, and these parameters after
/// those that every build has.
macro_rules! module_with {
    ($description:tt, $($test_parameters:tt)*) => {
        module! {
            type: Pagemove,
            name: "pagemove",
            authors: ["The pagemove authors"],
            description: $description,
            license: "GPL",
            imports_ns: ["GENERIC_PT_IOMMU"],
            params: {
                allow_incoherent: u8 {
                    default: 0,
                    description: "1: move pages behind an IOMMU whose walker does not snoop (emulators only)",
                },
                allow_unqualified: u8 {
                    default: 0,
                    description: "1: use engines that no verdict of pagemove qualify allows on this machine",
                },
                longest_us: u32 {
                    default: 100,
                    description: "longest time of a transaction, in us: interrupts are off on its CPU",
                },
                region_chunks: u8 {
                    default: 0,
                    description: "1: memory of regions in pieces of 2 MiB where there are some, which IOMMUs map as one and moves split",
                },
                limit_mib: u64 {
                    default: 0,
                    description: "most memory that the pages of all regions may have together, in MiB; 0: no limit but cgroups",
                },
                patience_ms: u32 {
                    default: 1000,
                    description: "how long to wait for a device that does not answer an invalidation, in ms",
                },
                $($test_parameters)*
            },
        }
    };
}

#[cfg(not(pagemove_test))]
module_with! {
    "Moves pinned DMA pages while the device keeps running",
}

#[cfg(pagemove_test)]
module_with! {
    "Moves pinned DMA pages while the device keeps running (TEST BUILD)",
    sabotage: u8 {
        default: 0,
        description: "step to leave out: 1 first invalidation, 2 A/D clear, 3 CPU hold, 4 compare, 5 verification, 6 read-back from an aperture; 7 errors of copies to user memory, 8 free END that is not used; 9 meeting before an attempt by rtm; 100 and more: the step of the engines that has this bit less 100 (src/engine/batch/step.rs)",
    },
    inject: u8 {
        default: 0,
        description: "1: put the old entry back after some commits, 2: say that devices are gone, 3: delay stores to apertures, 4: say that their links are down, 5: hold the first callbacks up in which VFIO's pins are given up, 6: hold up what fails to make a region of use, 7: find a memory error in the sixth page of each region, 8: keep pages of files frozen for 2 ms, 10: let pages take 2 ms on their way home, 11: wait 5 s when the last device of a container is closed, 32: say that devices sleep without power, 71: keep helpers awake until they are wanted, 72: hold a call up that has given a chunk its table until VFIO wants it back, 74: have no 2 MiB in one piece each second time, 100: let the next arena have the memory of the last one, 76: move no leaf whole, 75: split no leaf, and rest for 20 ms within each that is copied, 46: say that A and D were not set yet when a write landed, 47: say that devices have their TLBs off, as while they are reset, 49: hold the first batch up until a device is opened, 53: hold two batches up for 15 s that may pin their pages, 28: write to START of the sixth page of a region after its commit, and of the seventh, which gets a second user; bugs for tests to find: 20 write too much to the caller, 21 damage a page that is moved, 22 keep closed regions, 23 unpin in a callback of VFIO's, which is held up as by 5, 24 limit_mib limits nothing, 73 move pages of a chunk that another call splits, with the same as by 72, 48 take a device for one without a TLB while it is reset, with the same as by 47, 50 open a device while pages move on the terms of before, which are held up as by 49, 26 list regions before they are of use, which is held up as by 6, 27 use no number of a region again, 29 look for no second user when a sum differs, 30 hold one domain against its IOMMU, both with the same as by 28, 34 let VFIO pin pages without a look, 31 disturb CPUs that were set aside, 33 take devices for gone that sleep, with the same as by 32, 52 ask the TLBs of devices that sleep, 54 let calls that wait for others to pin forget their deadline, with the same as by 53, 70 tell events without waking who waits for them, 40 count no references to pages of files, 41 count but do not freeze them, for 2 ms, 45 take a verdict for one on whatever IOMMU has its name, 51 and for devices with ATS and those without, 43 bring pages home whatever their device does, in 2 ms, 101 take a window for the same whatever it shows, 102 let a device reach the slots of pages that are lost, both with the same as by 100, 103 let an aperture that goes wait for its pages whatever became of it, 110 hold back what devices have written to apertures until somebody reads there, 111 read nothing, with the same, 112 hold it back until somebody has waited, 113 do not read again after that, 114 say that devices with TLBs reach apertures past the root complex, 115 do not ask, 118 give pins up 2 s late, 120 20 ms late, 119 let slots be used before that, with the same, 116 say that devices may pass by the caches of CPUs, 117 do not ask",
    },
    last_region: u32 {
        default: 0,
        description: "last number that a region may have; 0: as without this",
    },
    stall_step: u8 {
        default: 0,
        description: "step before which the helper stalls: 1 take the request ... 10 report, 11 answer that it is there; 0: none",
    },
    stall_us: u32 {
        default: 10000,
        description: "for how long, in us",
    },
    stall_for_ms: u32 {
        default: 1000,
        description: "from the first stall on for so many ms",
    },
    stall_iova: u64 {
        default: 0,
        description: "only when the page at this IOVA is the first that is moved; 0: any",
    },
    mark: u8 {
        default: 0,
        description: "1: mark begin and end of each copy in QEMU's trace (QEMU only)",
    },
}

/// Lists that are there for as long as the module is: each is made usable before anything is
/// reachable, in this order, and frees its room at the end. (They are empty then, but keep the
/// room that they once needed, and a `static` is never dropped.)
macro_rules! lists {
    ($($(#[$build:meta])? $($part:ident)::+,)*) => {
        /// The lists, usable while this lives.
        struct Lists(());

        impl Lists {
            /// Makes them usable.
            ///
            /// # Safety
            ///
            /// Called once, before anything of this module is reachable.
            unsafe fn new() -> Self {
                $(
                    $(#[$build])?
                    // SAFETY: the caller's contract.
                    unsafe { $($part)::+::init() };
                )*
                Self(())
            }
        }

        impl Drop for Lists {
            fn drop(&mut self) {
                $($(#[$build])? $($part)::+::end();)*
            }
        }
    };
}

lists! {
    // Its threads end with it.
    session,
    region::list,
    region::number,
    page::arena,
    device::list,
    aperture,
    window,
    iommu::quarantine,
    iommu::table,
    iommu::verdict,
    #[cfg(pagemove_test)]
    testing::posted,
    #[cfg(pagemove_test)]
    testing::arenas,
    #[cfg(pagemove_test)]
    testing::spare,
}

/// The module. Fields are dropped in this order: nobody can open a device any
/// more, then none is bound, then nothing is queued, then the threads have ended, then the lists
/// are empty.
#[pin_data]
struct Pagemove {
    #[pin]
    file: file::DeviceFile,
    #[pin]
    counters: debugfs::File<()>,
    #[pin]
    sessions_file: debugfs::File<()>,
    _directory: debugfs::Dir,
    _driver: device::vfio::Driver,
    _queue: host::queue::Queue,
    _apertures: aperture::link::Driver,
    _lists: Lists,
}

impl kernel::InPlaceModule for Pagemove {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        // SAFETY: init runs once, before anything of this module is reachable.
        let lists = unsafe { Lists::new() };
        #[cfg(pagemove_test)]
        testing::sabotage::OTHER_CALLS.call_once(|| testing::command);
        home::by(mover::homecoming::WAYS);
        compat::say_range();
        params::say(session::cpus::outlook());
        let directory = debugfs::Dir::new(c"pagemove");
        pin_init::pin_init_scope(move || {
            params::check()?;
            let queue = host::queue::Queue::begin()?;
            let driver = device::vfio::Driver::register()?;
            let apertures = aperture::link::Driver::register()?;
            Ok(try_pin_init!(Self {
                counters <- directory.read_callback_file(c"stats", (), &|(), f| stats::print(&region::list::sums(), f)),
                sessions_file <- directory.read_callback_file(c"sessions", (), &|(), f| session::print(f)),
                file <- file::DeviceFile::register(),
                _driver: driver,
                _queue: queue,
                _apertures: apertures,
                _lists: lists,
                _directory: directory,
            }))
        })
    }
}
