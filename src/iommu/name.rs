// SPDX-License-Identifier: GPL-2.0
//! What an IOMMU is called, and where its registers are.

use crate::host::ffi;
use kernel::prelude::*;
use kernel::str::CStr;

/// What sysfs gives an attribute to write to.
const PAGE: usize = 4096;

/// Returns the physical address of the registers of the IOMMU that a PCI function is behind; 0: its
/// driver does not tell. Fails for want of memory.
///
/// # Safety
///
/// `pdev` is bound to a driver, so that its IOMMU does not change.
pub(crate) unsafe fn registers_of(pdev: *mut ffi::pci_dev) -> Result<u64> {
    // The allocator aligns a page to a page, as sysfs_emit() wants it.
    let mut text = KVec::from_elem(0u8, PAGE, GFP_KERNEL)?;
    // SAFETY: the caller's contract; the text is a page.
    let length = unsafe { ffi::pagemove_pci_iommu_registers(pdev, text.as_mut_ptr().cast()) };
    let length = usize::try_from(length).unwrap_or(0);
    Ok(text.get(..length).and_then(of_hex).unwrap_or(0))
}

/// Reads hexadecimal digits that a line may end.
fn of_hex(text: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(text).ok()?;
    u64::from_str_radix(text.trim_end(), 16).ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct IommuName(pub(crate) [u8; 16]);

impl IommuName {
    /// Asks for the name of the IOMMU that a PCI function is behind.
    ///
    /// # Safety
    ///
    /// `pdev` is bound to a driver, so that its IOMMU does not change.
    pub(crate) unsafe fn of(pdev: *mut ffi::pci_dev) -> Self {
        let mut name = [0; 16];
        // SAFETY: the caller's contract.
        let raw = unsafe { ffi::pagemove_pci_iommu_name(pdev) };
        if !raw.is_null() {
            // SAFETY: a NUL-terminated string, as the driver core makes them.
            let text = unsafe { CStr::from_char_ptr(raw) };
            // The last byte stays NUL.
            for (to, from) in name.iter_mut().take(15).zip(text.to_bytes()) {
                *to = *from;
            }
        }
        Self(name)
    }

    /// Tells Intel's from others.
    pub(crate) fn is_vtd(&self) -> bool {
        self.0.starts_with(b"dmar")
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        self.0.get(..end).unwrap_or(&[])
    }
}
