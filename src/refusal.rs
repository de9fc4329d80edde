// SPDX-License-Identifier: GPL-2.0
//! Why a call can't go on: a reason for the user, and the errno that the header
//! gives it. The only place that maps one to the other.

use crate::abi;
use kernel::bindings;
use kernel::error::Error;

/// A reason to refuse or to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Format,
    Iommu,
    Incoherent,
    LargeLeaf,
    /// No leaf of 2 MiB could be split there.
    NotLarge,
    SharedDomain,
    /// The page is mapped in another domain.
    SharedPage,
    Disabled,
    NotMapped,
    NotRegion,
    ClosedRegion,
    Busy,
    Unmapping,
    Deadline,
    Signal,
    NoMemory,
    LostWrite,
    NoVaddr,
    NoDomain,
    /// No verdict allows the engine.
    Unqualified,
    NoRtm,
    Tsc,
    /// Editor and helper need two CPUs.
    Cpus,
    Encrypted,
    /// A helper waits for a device that does not answer.
    Stuck,
    /// The helper did not get its CPU in time, again and again.
    Absent,
    /// An experiment with somebody else's page.
    NotScratch,
    /// No aperture has the number, or it is going.
    NoAperture,
    /// The offset is none of a slot.
    NoSlot,
    /// Another page is there.
    SlotTaken,
    /// A peer may write the page.
    Offered,
    /// The page lives in an aperture.
    Elsewhere,
    /// It is not the page that the call names.
    OtherPage,
    /// No window has the number, or it shows nothing.
    NoWindow,
    /// The window does not show the page.
    NotInWindow,
    /// Anonymous memory, or a private copy.
    Anonymous,
    /// Memory that is neither shmem nor a region's.
    NotShmem,
    LargeFolio,
    SwapCache,
    Userfaultfd,
    /// Somebody else has a reference to the page, or its lock.
    InUse,
    Poisoned,
    /// VFIO pins another frame at the address than the table maps.
    OtherFrame,
    /// A device of the domain has a TLB of its own, and the page is one of a file.
    Ats,
    /// The container is of VFIO's first version.
    Type1V1,
    /// A device of the domain has a TLB of its own, and sleeps.
    Asleep,
    /// A device reaches the aperture past the root complex, by what its own TLB tells.
    Direct,
    /// A device may pass by the CPUs' caches, and its IOMMU does not keep it from that.
    NoSnoop,
    /// There is no PCI function at the address.
    NoDevice,
    /// The function is not bound to our driver.
    NotBound,
    /// No VMM has it open.
    NotOpen,
    /// The caller's result array can't be written.
    BadPointer,
}

impl Refusal {
    /// Returns the PAGEMOVE_REASON_* and the number of the errno that the header gives it.
    const fn answer(self) -> (u32, u32) {
        match self {
            Self::Format => (abi::REASON_FORMAT, bindings::EOPNOTSUPP),
            Self::Iommu => (abi::REASON_IOMMU, bindings::EOPNOTSUPP),
            Self::Incoherent => (abi::REASON_INCOHERENT, bindings::EOPNOTSUPP),
            Self::LargeLeaf => (abi::REASON_LARGE_LEAF, bindings::EOPNOTSUPP),
            Self::SharedDomain => (abi::REASON_SHARED_DOMAIN, bindings::EXDEV),
            Self::SharedPage => (abi::REASON_SHARED_DOMAIN, bindings::EXDEV),
            Self::Disabled => (abi::REASON_DISABLED, bindings::EIO),
            Self::NotMapped => (abi::REASON_NOT_MAPPED, bindings::ENOENT),
            Self::NotRegion => (abi::REASON_NOT_REGION, bindings::EADDRNOTAVAIL),
            Self::ClosedRegion => (abi::REASON_CLOSED_REGION, bindings::ESTALE),
            Self::Busy => (abi::REASON_BUSY, bindings::EBUSY),
            Self::Unmapping => (abi::REASON_UNMAPPING, bindings::EAGAIN),
            Self::Deadline => (abi::REASON_DEADLINE, bindings::ETIME),
            Self::Signal => (abi::REASON_SIGNAL, bindings::EINTR),
            Self::NoMemory => (abi::REASON_NO_MEMORY, bindings::ENOMEM),
            Self::LostWrite => (abi::REASON_LOST_WRITE, bindings::EIO),
            Self::NoVaddr => (abi::REASON_NO_VADDR, bindings::ENOENT),
            Self::NoDomain => (abi::REASON_NO_DOMAIN, bindings::EOPNOTSUPP),
            Self::Unqualified => (abi::REASON_UNQUALIFIED, bindings::EOPNOTSUPP),
            Self::NoRtm => (abi::REASON_NO_RTM, bindings::EOPNOTSUPP),
            Self::Tsc => (abi::REASON_TSC, bindings::EOPNOTSUPP),
            Self::Cpus => (abi::REASON_CPUS, bindings::EINVAL),
            Self::Encrypted => (abi::REASON_ENCRYPTED, bindings::EOPNOTSUPP),
            Self::Stuck => (abi::REASON_STUCK, bindings::EBUSY),
            Self::Absent => (abi::REASON_CPUS, bindings::EBUSY),
            Self::NotScratch => (abi::REASON_NOT_SCRATCH, bindings::EACCES),
            Self::NoAperture => (abi::REASON_NO_APERTURE, bindings::EINVAL),
            Self::NoSlot => (abi::REASON_NO_SLOT, bindings::EINVAL),
            Self::SlotTaken => (abi::REASON_SLOT_TAKEN, bindings::EBUSY),
            Self::Offered => (abi::REASON_OFFERED, bindings::EBUSY),
            Self::Elsewhere => (abi::REASON_ELSEWHERE, bindings::EADDRNOTAVAIL),
            Self::OtherPage => (abi::REASON_OTHER_PAGE, bindings::EADDRNOTAVAIL),
            Self::NoWindow => (abi::REASON_NO_WINDOW, bindings::EINVAL),
            Self::NotInWindow => (abi::REASON_NOT_IN_WINDOW, bindings::EADDRNOTAVAIL),
            Self::Anonymous => (abi::REASON_ANONYMOUS, bindings::EADDRNOTAVAIL),
            Self::NotShmem => (abi::REASON_NOT_SHMEM, bindings::EADDRNOTAVAIL),
            Self::LargeFolio => (abi::REASON_LARGE_FOLIO, bindings::EOPNOTSUPP),
            Self::SwapCache => (abi::REASON_SWAP_CACHE, bindings::EBUSY),
            Self::Userfaultfd => (abi::REASON_USERFAULTFD, bindings::EOPNOTSUPP),
            Self::InUse => (abi::REASON_IN_USE, bindings::EBUSY),
            Self::Poisoned => (abi::REASON_POISONED, bindings::EADDRNOTAVAIL),
            Self::OtherFrame => (abi::REASON_OTHER_FRAME, bindings::EADDRNOTAVAIL),
            Self::Ats => (abi::REASON_ATS, bindings::EOPNOTSUPP),
            Self::Type1V1 => (abi::REASON_TYPE1_V1, bindings::EOPNOTSUPP),
            Self::NotLarge => (abi::REASON_NOT_LARGE, bindings::EOPNOTSUPP),
            Self::Asleep => (abi::REASON_ASLEEP, bindings::EBUSY),
            Self::Direct => (abi::REASON_DIRECT, bindings::EOPNOTSUPP),
            Self::NoSnoop => (abi::REASON_NO_SNOOP, bindings::EOPNOTSUPP),
            Self::NoDevice => (abi::REASON_NONE, bindings::ENODEV),
            Self::NotBound => (abi::REASON_NONE, bindings::ENXIO),
            Self::NotOpen => (abi::REASON_NONE, bindings::ENOTCONN),
            Self::BadPointer => (abi::REASON_NONE, bindings::EFAULT),
        }
    }

    /// Returns the PAGEMOVE_REASON_* that the caller is told.
    pub(crate) const fn reason(self) -> u32 {
        self.answer().0
    }

    /// Returns the errno that the call fails with.
    pub(crate) fn error(self) -> Error {
        errno(self.answer().1)
    }

    /// Tells whether it is about one page, not the device or the call.
    pub(crate) const fn is_of_page(self) -> bool {
        matches!(
            self,
            Self::LargeLeaf
                | Self::NotLarge
                | Self::SharedPage
                | Self::NotScratch
                | Self::NotMapped
                | Self::NotRegion
                | Self::ClosedRegion
                | Self::Busy
                | Self::NoSlot
                | Self::SlotTaken
                | Self::Offered
                | Self::OtherPage
                | Self::NoVaddr
                | Self::Anonymous
                | Self::NotShmem
                | Self::LargeFolio
                | Self::SwapCache
                | Self::Userfaultfd
                | Self::InUse
                | Self::Poisoned
                | Self::OtherFrame
        )
    }
}

/// Returns the error of a flag or a kind that this module does not know, or has no support for;
/// `kernel::error::code` does not name it.
pub(crate) fn eopnotsupp() -> Error {
    errno(bindings::EOPNOTSUPP)
}

fn errno(number: u32) -> Error {
    Error::from_errno(-(number as i32))
}
