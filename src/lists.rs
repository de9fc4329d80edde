// SPDX-License-Identifier: GPL-2.0
//! The memory of the lists that are there for as long as the module is. They are empty in the
//! end, but keep the room that they once needed, and a `static` is never dropped.

/// Frees that room when it is dropped: nobody uses the lists any more, and nothing is in them.
pub(crate) struct Lists;

impl Drop for Lists {
    fn drop(&mut self) {
        crate::region::list::end();
        crate::device::list::end();
        crate::region::mms::end();
        crate::iommu::quarantine::end();
        crate::aperture::end();
        crate::window::end();
        crate::iommu::verdict::end();
        #[cfg(pagemove_test)]
        {
            crate::testing::posted::end();
            crate::testing::arenas::end();
        }
    }
}
