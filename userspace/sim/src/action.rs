// SPDX-License-Identifier: GPL-2.0
//! What can happen next.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The editor does its next step.
    Editor,
    /// The helper does its next step.
    Helper,
    /// The clock goes on.
    Tick,
    /// The oldest store of the transaction leaves the store buffer.
    Drain,
    /// An interrupt comes to the editor's CPU.
    Interrupt,
    /// The transaction does not fit.
    Capacity,
    /// A device begins a read.
    Read { device: usize, page: usize },
    /// A device begins a write.
    Write { device: usize, page: usize },
    /// A device asks for a translation ahead of use.
    Request {
        device: usize,
        page: usize,
        write: bool,
    },
    /// What a device is at goes on.
    Proceed { device: usize },
    /// The IOMMU takes the invalidation from its queue.
    Evict,
    /// A device takes the invalidation.
    EvictDevice { device: usize },
    /// The invalidation fails.
    InvalidationFails,
    /// A device vanishes.
    Vanish { device: usize },
    /// A posted write lands.
    Land { page: usize, word: usize },
    /// A DMA to a START behind a window lands.
    LandDma { page: usize, word: usize },
    /// The IOMMU sets A and D for a walk of a device that may be long over.
    LateUpdate { device: usize },
    /// An IOMMU forgets a translation.
    Forget { unit: usize, page: usize },
    /// An IOMMU forgets a line of entries.
    ForgetLine { unit: usize },
    /// A device forgets a translation.
    ForgetOwn { device: usize, page: usize },
    /// Somebody makes a leaf map something else, or what it mapped before.
    ChangeLeaf { page: usize },
    /// Another CPU gets a reference to a page.
    Use { page: usize },
    /// The editor has no more patience with the helper.
    Impatience,
    /// The link to END goes down.
    LinkDown,
    /// The link is up again; behind it is other memory, or the same.
    LinkUp { other: bool },
    /// Another CPU writes to a page.
    CpuWrite { page: usize },
    /// Another CPU sets a software bit of an entry.
    SoftwareBit { page: usize },
    /// The caller is told to stop.
    Stop,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Editor => write!(f, "editor"),
            Self::Helper => write!(f, "helper"),
            Self::Tick => write!(f, "one tick passes"),
            Self::Drain => write!(f, "a store leaves the editor's store buffer"),
            Self::Interrupt => write!(f, "an interrupt comes to the editor's CPU"),
            Self::Capacity => write!(f, "the transaction does not fit into the cache"),
            Self::Read { device, page } => write!(f, "device {device} begins to read page {page}"),
            Self::Write { device, page } => {
                write!(f, "device {device} begins to write page {page}")
            }
            Self::Request {
                device,
                page,
                write,
            } => {
                let what = if *write { "write" } else { "read" };
                write!(f, "device {device} asks to {what} page {page} later")
            }
            Self::Proceed { device } => write!(f, "device {device}"),
            Self::Evict => write!(f, "the IOMMU takes the invalidation from its queue"),
            Self::EvictDevice { device } => write!(f, "device {device} takes the invalidation"),
            Self::InvalidationFails => write!(f, "the invalidation fails"),
            Self::Vanish { device } => write!(f, "device {device} vanishes"),
            Self::Land { page, word } => {
                write!(f, "the posted write to word {word} of END {page} lands")
            }
            Self::LandDma { page, word } => {
                write!(f, "the DMA to word {word} of START {page} lands")
            }
            Self::LateUpdate { device } => {
                write!(f, "A and D are set for the walk of device {device}")
            }
            Self::Forget { unit, page } => write!(f, "IOTLB {unit} evicts page {page}"),
            Self::ForgetLine { unit } => write!(f, "IOMMU {unit} evicts the line of entries"),
            Self::ForgetOwn { device, page } => write!(f, "device {device} evicts page {page}"),
            Self::ChangeLeaf { page } => write!(f, "somebody changes leaf {page}"),
            Self::Use { page } => write!(f, "another CPU gets a reference to page {page}"),
            Self::Impatience => write!(f, "the editor has no more patience"),
            Self::LinkDown => write!(f, "the link goes down"),
            Self::LinkUp { other: true } => write!(f, "the link is up, to other memory"),
            Self::LinkUp { other: false } => write!(f, "the link is up again"),
            Self::CpuWrite { page } => write!(f, "another CPU writes to page {page}"),
            Self::SoftwareBit { page } => write!(f, "another CPU sets a bit of entry {page}"),
            Self::Stop => write!(f, "the caller is told to stop"),
        }
    }
}
