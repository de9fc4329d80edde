// SPDX-License-Identifier: GPL-2.0
//! Why a call can't go on: a reason for the user, and the errno that the header
//! gives it. The only place that maps one to the other.

use crate::{abi, errno};
use kernel::prelude::*;

/// A reason to refuse or to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Format,
    Iommu,
    Incoherent,
    LargeLeaf,
    SharedDomain,
    /// The page is mapped in another domain.
    SharedPage,
    Aliased,
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
    /// An experiment with somebody else's page.
    NotScratch,
    /// No aperture has the number, or it is going.
    NoAperture,
    /// The offset is none of a slot.
    NoSlot,
    /// Another page is there.
    SlotTaken,
    /// The page was in an aperture when VFIO mapped it.
    NoPin,
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
    /// PAGEMOVE_REASON_*.
    pub(crate) const fn reason(self) -> u32 {
        match self {
            Self::Format => abi::REASON_FORMAT,
            Self::Iommu => abi::REASON_IOMMU,
            Self::Incoherent => abi::REASON_INCOHERENT,
            Self::LargeLeaf => abi::REASON_LARGE_LEAF,
            Self::SharedDomain | Self::SharedPage => abi::REASON_SHARED_DOMAIN,
            Self::Aliased => abi::REASON_ALIASED,
            Self::Disabled => abi::REASON_DISABLED,
            Self::NotMapped => abi::REASON_NOT_MAPPED,
            Self::NotRegion => abi::REASON_NOT_REGION,
            Self::ClosedRegion => abi::REASON_CLOSED_REGION,
            Self::Busy => abi::REASON_BUSY,
            Self::Unmapping => abi::REASON_UNMAPPING,
            Self::Deadline => abi::REASON_DEADLINE,
            Self::Signal => abi::REASON_SIGNAL,
            Self::NoMemory => abi::REASON_NO_MEMORY,
            Self::LostWrite => abi::REASON_LOST_WRITE,
            Self::NoVaddr => abi::REASON_NO_VADDR,
            Self::NoDomain => abi::REASON_NO_DOMAIN,
            Self::Unqualified => abi::REASON_UNQUALIFIED,
            Self::NoRtm => abi::REASON_NO_RTM,
            Self::Tsc => abi::REASON_TSC,
            Self::Cpus => abi::REASON_CPUS,
            Self::Encrypted => abi::REASON_ENCRYPTED,
            Self::Stuck => abi::REASON_STUCK,
            Self::NotScratch => abi::REASON_NOT_SCRATCH,
            Self::NoAperture => abi::REASON_NO_APERTURE,
            Self::NoSlot => abi::REASON_NO_SLOT,
            Self::SlotTaken => abi::REASON_SLOT_TAKEN,
            Self::NoPin => abi::REASON_NO_PIN,
            Self::Offered => abi::REASON_OFFERED,
            Self::Elsewhere => abi::REASON_ELSEWHERE,
            Self::OtherPage => abi::REASON_OTHER_PAGE,
            Self::NoWindow => abi::REASON_NO_WINDOW,
            Self::NotInWindow => abi::REASON_NOT_IN_WINDOW,
            Self::NoDevice | Self::NotBound | Self::NotOpen | Self::BadPointer => abi::REASON_NONE,
        }
    }

    /// The errno that the header gives this reason.
    pub(crate) fn error(self) -> Error {
        match self {
            Self::Format
            | Self::Iommu
            | Self::Incoherent
            | Self::LargeLeaf
            | Self::Aliased
            | Self::NoDomain
            | Self::Unqualified
            | Self::NoRtm
            | Self::Tsc
            | Self::NoPin
            | Self::Encrypted => errno::eopnotsupp(),
            Self::Cpus | Self::NoAperture | Self::NoSlot | Self::NoWindow => EINVAL,
            Self::NotScratch => EACCES,
            Self::SharedDomain | Self::SharedPage => EXDEV,
            Self::Disabled | Self::LostWrite => EIO,
            Self::NotMapped | Self::NoVaddr => ENOENT,
            Self::NotRegion | Self::Elsewhere | Self::NotInWindow | Self::OtherPage => {
                errno::eaddrnotavail()
            }
            Self::ClosedRegion => errno::estale(),
            Self::Busy | Self::Offered | Self::Stuck | Self::SlotTaken => EBUSY,
            Self::Unmapping => EAGAIN,
            Self::Deadline => errno::etime(),
            Self::Signal => EINTR,
            Self::NoMemory => ENOMEM,
            Self::NoDevice => ENODEV,
            Self::NotBound => ENXIO,
            Self::NotOpen => errno::enotconn(),
            Self::BadPointer => EFAULT,
        }
    }

    /// Whether it is about one page, not the device or the call.
    pub(crate) const fn is_of_page(self) -> bool {
        matches!(
            self,
            Self::LargeLeaf
                | Self::SharedPage
                | Self::Aliased
                | Self::NotScratch
                | Self::NotMapped
                | Self::NotRegion
                | Self::ClosedRegion
                | Self::Busy
                | Self::NoSlot
                | Self::SlotTaken
                | Self::NoPin
                | Self::Offered
                | Self::OtherPage
                | Self::NoVaddr
        )
    }
}
