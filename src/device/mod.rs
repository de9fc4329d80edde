// SPDX-License-Identifier: GPL-2.0
//! A device that is bound to our VFIO driver, and the moves that hold it (`hold.rs`).
//!
//! # Lock order
//!
//! [`list`] > [`Device::state`] > [`stays::Stays`]. None is held while VFIO is called.

mod asked;
pub(crate) mod changing;
mod doubts;
mod errand;
mod giving;
mod heir;
pub(crate) mod hold;
pub(crate) mod kept;
pub(crate) mod list;
mod run;
pub(crate) mod stays;
mod vdev;
pub(crate) mod vfio;

use crate::device::stays::Stays;
use crate::device::vdev::Vdev;
use crate::host::ffi;
use crate::host::pci::Function;
use crate::iommu::domain::{Domain, DomainId, Nature};
use crate::iommu::leaves;
use crate::iommu::name::{registers_of, IommuName};
use crate::iommu::quarantine::Member;
use crate::iommu::verdict::Behind;
use crate::testing::sabotage::{self, Bug};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use engine::{BatchSizer, Iova, PageSpan, PhysAddr, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::{new_condvar, new_mutex, Arc, CondVar, Mutex};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Pinning,
    Moving,
    Unpinning,
    Over,
}

struct Listed {
    /// Holds in the order in which they began, of all devices.
    number: u64,
    span: PageSpan,
    phase: Phase,
    /// Of pages that come home.
    is_away: bool,
    cancel: Arc<AtomicBool>,
}

struct State {
    /// From before it can do anything until after it can't any more: moves there have to know it.
    domain: Option<Domain>,
    open: bool,
    /// Moves that do not know it are waited for still.
    joins: bool,
    /// It had a TLB of its own in use since it was opened. That is off while the device is reset, and comes
    /// back.
    had_ats: bool,
    /// Pages were pinned by way of it since it was opened.
    has_pinned: bool,
    holds: KVec<Listed>,
    /// Pages of the container that are away, while the device is open.
    stays: Option<Arc<Stays>>,
    /// The same, between `closing` and `closed` of the last device of a container.
    left: Option<Arc<Stays>>,
    /// All its holds have ended, and none begins: the domain may go.
    is_over: bool,
}

/// See the file's head.
#[pin_data]
pub(crate) struct Device {
    /// segment << 16 | bus << 8 | devfn.
    pub(crate) address: u32,
    pub(crate) node: i32,
    pub(crate) iommu: IommuName,
    /// Where that one's registers are; 0: not known.
    pub(crate) registers: u64,
    function: Function,
    vdev: Vdev,
    #[pin]
    state: Mutex<State>,
    /// The size of batches that the last call came to; 0: none has.
    batch: AtomicUsize,
    /// A hold changed its phase or ended.
    #[pin]
    changed: CondVar,
}

// SAFETY: `vdev` is used under a hold only, which keeps the device open and bound, and so the
// pointer valid; or while the state says that it is open. The rest may be used by any thread.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl Device {
    /// Makes the device that is being probed.
    ///
    /// # Safety
    ///
    /// Both pointers are of the device that is being probed.
    pub(crate) unsafe fn new(
        pdev: *mut ffi::pci_dev,
        vdev: *mut ffi::VfioDevice,
    ) -> Result<Arc<Self>> {
        // SAFETY: the caller's contract.
        let function = unsafe { Function::new(pdev) };
        // SAFETY: the device is being bound.
        let iommu = unsafe { IommuName::of(pdev) };
        // SAFETY: as before.
        let registers = unsafe { registers_of(pdev) }?;
        if iommu.is_vtd() && registers == 0 {
            pr_warn!(
                "an IOMMU does not tell where its registers are: its verdicts go by its name\n"
            );
        }
        let other = sabotage::other_iommu(function.address());
        Arc::pin_init(
            pin_init!(Self {
                address: function.address(),
                node: function.node(),
                iommu: other.map_or(iommu, IommuName),
                registers,
                function,
                vdev: Vdev(vdev),
                batch: AtomicUsize::new(0),
                state <- new_mutex!(State {
                    domain: None,
                    open: false,
                    joins: false,
                    had_ats: false,
                    has_pinned: false,
                    holds: KVec::new(),
                    stays: None,
                    left: None,
                    is_over: true,
                }),
                changed <- new_condvar!(),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns how many pages to move at once: as the last call came to, whose device was as busy as it
    /// is now, most likely.
    pub(crate) fn sizer(&self, largest: usize) -> BatchSizer {
        match self.batch.load(Ordering::Relaxed) {
            0 => BatchSizer::new(largest),
            size => BatchSizer::with(size, largest),
        }
    }

    /// Keeps that for the next call.
    pub(crate) fn keep_size(&self, sizer: &BatchSizer) {
        self.batch.store(sizer.size(), Ordering::Relaxed);
    }

    /// Returns what lost writes are held against.
    pub(crate) fn member(&self) -> Member {
        Member {
            function: self.address,
            iommu: self.iommu,
        }
    }

    /// Returns what a verdict has to be about to count for it.
    pub(crate) fn behind(&self) -> Behind {
        Behind {
            iommu: self.iommu,
            registers: self.registers,
            has_ats: self.has_ats(),
        }
    }

    /// Returns whether it has a TLB of its own that is in use, or will be again.
    pub(crate) fn has_ats(&self) -> bool {
        let mut state = self.state.lock();
        let has = self.function.has_ats() && !sabotage::pretends_reset();
        state.had_ats |= has;
        has || (state.had_ats && !sabotage::has_bug(Bug::AtsOfNow))
    }

    /// Returns whether its translated requests reach a function past the root complex.
    fn goes_direct(&self, to: &Function) -> bool {
        self.function.goes_direct(to) || sabotage::pretends_direct()
    }

    /// Returns whether it may do something in a domain, as one that is being closed may still.
    pub(crate) fn is_in(&self, domain: DomainId) -> bool {
        self.state.lock().is_in(domain)
    }

    /// Tells whether pages were pinned by way of it since it was opened: from then on VFIO takes its group
    /// for one that says itself which pages it has written to (facts.md F23).
    pub(crate) fn has_dirty_scope(&self) -> bool {
        let state = self.state.lock();
        state.open && state.has_pinned
    }

    /// Tells of the domain, while a VMM has the device open. Both may end at once.
    pub(crate) fn open_domain(&self) -> Option<Option<Nature>> {
        let state = self.state.lock();
        state.open.then(|| state.domain.map(Domain::nature))
    }

    /// Returns the page that `iova` maps, if any. A hint: nothing holds it.
    #[inline(never)]
    pub(crate) fn glance(&self, iova: Iova) -> Option<PhysAddr> {
        self.glance_leaf(iova).map(|(page, _)| page)
    }

    /// Returns where the leaf begins that maps `iova`, and its bytes; as [`Self::glance`].
    #[inline(never)]
    pub(crate) fn glance_leaf(&self, iova: Iova) -> Option<(PhysAddr, u64)> {
        let span = PageSpan::new(iova, PAGE_SIZE)?;
        let mut found = None;
        self.with_open_domain(|domain| {
            leaves::for_each(domain, span, |_, page, bytes| found = Some((page, bytes)));
        });
        found
    }

    /// Does something with the domain, if the device is open; it stays open
    /// meanwhile.
    pub(crate) fn with_open_domain(&self, f: impl FnOnce(Domain)) {
        let state = self.state.lock();
        if let (true, Some(domain)) = (state.open, state.domain) {
            f(domain);
        }
    }
}

impl State {
    /// Returns whether pages may be moved by way of it.
    const fn takes_holds(&self) -> bool {
        self.open && !self.joins
    }

    /// Returns whether pages of its container may be looked at that are away, or were.
    fn takes_holds_away(&self) -> bool {
        let is_over = self.is_over && !sabotage::has_bug(Bug::LateHold);
        self.all_stays().is_some() && !is_over
    }

    fn is_in(&self, domain: DomainId) -> bool {
        self.domain.is_some_and(|own| own.id() == domain)
    }

    /// Returns the pages of the container that are away, while the device is open or being closed.
    fn all_stays(&self) -> Option<&Arc<Stays>> {
        self.stays.as_ref().or(self.left.as_ref())
    }
}
