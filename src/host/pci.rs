// SPDX-License-Identifier: GPL-2.0
//! PCI functions.

use crate::host::ffi;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use kernel::bindings;
use kernel::prelude::*;
use kernel::str::CStr;
use kernel::types::NotThreadSafe;

/// A PCI function, by a counted reference: its structure stays, whatever becomes of the device.
pub(crate) struct Function(NonNull<ffi::pci_dev>);

// SAFETY: a counted reference, which any thread may use and give up.
unsafe impl Send for Function {}
// SAFETY: as above; what is asked for is read, or has the kernel's own locks.
unsafe impl Sync for Function {}

impl Function {
    /// Takes a reference.
    ///
    /// # Safety
    ///
    /// `pdev` is a function that is there.
    pub(crate) unsafe fn new(pdev: *mut ffi::pci_dev) -> Self {
        // SAFETY: the caller's contract.
        unsafe { Self(NonNull::new_unchecked(bindings::pci_dev_get(pdev))) }
    }

    /// Finds the function at an address.
    pub(crate) fn at(segment: u16, bus: u8, devfn: u8) -> Option<Self> {
        let (segment, bus, devfn) = (i32::from(segment), u32::from(bus), u32::from(devfn));
        // SAFETY: any address may be asked for; the reference that it takes is ours.
        let pdev = unsafe { bindings::pci_get_domain_bus_and_slot(segment, bus, devfn) };
        NonNull::new(pdev).map(Self)
    }

    /// Calls `f` with each function until it says that this is enough. Returns whether it did.
    /// None goes meanwhile: `f` must not wait for one that is unplugged.
    pub(crate) fn any(mut f: impl FnMut(&Self) -> bool) -> bool {
        let _look = Look::begin();
        visit_all(&mut f)
    }

    pub(crate) fn as_ptr(&self) -> *mut ffi::pci_dev {
        self.0.as_ptr()
    }

    /// Returns segment << 16 | bus << 8 | devfn.
    pub(crate) fn address(&self) -> u32 {
        // SAFETY: a referenced function, here and below.
        unsafe { ffi::pagemove_pci_address(self.as_ptr()) }
    }

    /// Returns the NUMA node that it is near to, or -1.
    pub(crate) fn node(&self) -> i32 {
        // SAFETY: as above.
        unsafe { ffi::pagemove_pci_node(self.as_ptr()) }
    }

    /// Returns whether it still answers configuration requests.
    pub(crate) fn is_present(&self) -> bool {
        // SAFETY: as above.
        unsafe { ffi::pagemove_pci_is_present(self.as_ptr()) }
    }

    /// Returns whether it sleeps (D1 to D3cold), as far as the kernel has put it to sleep.
    pub(crate) fn is_asleep(&self) -> bool {
        // SAFETY: as above.
        unsafe { ffi::pagemove_pci_is_asleep(self.as_ptr()) }
    }

    /// Returns whether it has a TLB of its own that is in use.
    pub(crate) fn has_ats(&self) -> bool {
        // SAFETY: as above.
        unsafe { ffi::pagemove_pci_has_ats(self.as_ptr()) }
    }

    /// Returns whether its translated requests reach another function past the root complex.
    pub(crate) fn goes_direct(&self, to: &Self) -> bool {
        // SAFETY: as above, both of them.
        unsafe { ffi::pagemove_pci_goes_direct(self.as_ptr(), to.as_ptr()) }
    }

    /// Returns whether it may ask for DMA that does not look into the CPUs' caches.
    pub(crate) fn may_pass_caches(&self) -> bool {
        // SAFETY: as above.
        unsafe { ffi::pagemove_pci_may_pass_caches(self.as_ptr()) }
    }

    /// Returns whether it is bound to our own driver.
    pub(crate) fn is_ours(&self) -> bool {
        // SAFETY: as above.
        unsafe { ffi::pagemove_pci_is_ours(self.as_ptr()) }
    }

    /// Returns the domain that it is attached to: a number to compare, which may be that of none.
    pub(crate) fn domain(&self) -> *mut ffi::iommu_domain {
        // SAFETY: as above; nothing is done with the domain.
        unsafe { ffi::pagemove_pci_domain(self.as_ptr()) }
    }

    /// Returns whether a driver is bound to it.
    pub(crate) fn has_driver(&self) -> bool {
        // SAFETY: as above.
        unsafe { ffi::pagemove_pci_has_driver(self.as_ptr()) }
    }

    /// Returns whether its driver has this name.
    pub(crate) fn is_driven_by(&self, name: &CStr) -> bool {
        // SAFETY: as above, and a NUL-terminated string.
        unsafe { ffi::pagemove_pci_is_driven_by(self.as_ptr(), name.as_char_ptr()) }
    }
}

/// Calls `f` with each function in turn, for as long as it says no.
fn visit_all<F: FnMut(&Function) -> bool>(f: &mut F) -> bool {
    /// Gives a function to the `F` that `context` points to.
    ///
    /// # Safety
    ///
    /// Nobody else uses the `F` meanwhile, and the function stays.
    unsafe extern "C" fn visit<F: FnMut(&Function) -> bool>(
        context: *mut core::ffi::c_void,
        pdev: *mut ffi::pci_dev,
    ) -> bool {
        // SAFETY: as the caller promises.
        let f = unsafe { &mut *context.cast::<F>() };
        // The reference is the bus's, which keeps it while it is visited.
        let function = NonNull::new(pdev).map(|pdev| ManuallyDrop::new(Function(pdev)));
        function.is_some_and(|function| f(&function))
    }
    let context = core::ptr::from_mut(f).cast();
    // SAFETY: `context` is `f`, which nobody else uses before this returns.
    unsafe { ffi::pagemove_pci_any(visit::<F>, context) }
}

/// Functions that are found while this lives keep their IOMMU group: who unplugs one waits.
struct Look(NotThreadSafe);

impl Look {
    fn begin() -> Self {
        // SAFETY: the caller sleeps as it likes, and `drop` ends it. Who waits for this holds
        // nothing that is needed meanwhile.
        unsafe { ffi::pagemove_pci_look() };
        Self(NotThreadSafe)
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        // SAFETY: it was made after `pagemove_pci_look`, in the same thread.
        unsafe { ffi::pagemove_pci_look_away() };
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // SAFETY: the reference that `self` is.
        unsafe { bindings::pci_dev_put(self.as_ptr()) };
    }
}
