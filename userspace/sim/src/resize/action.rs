// SPDX-License-Identifier: GPL-2.0
//! What can happen next.

use std::fmt;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The editor does its next step.
    Editor,
    /// A device begins an access to a piece.
    Begin {
        device: usize,
        piece: usize,
        write: bool,
    },
    /// One that uses the leaf's translation, though it has the piece's.
    BeginByLeaf {
        device: usize,
        piece: usize,
        write: bool,
    },
    /// What a device is at goes on.
    Proceed { device: usize },
    /// The IOMMU takes the invalidation from its queue.
    Evict,
    /// The invalidation fails.
    Fail,
    /// The IOMMU forgets the leaf.
    ForgetLeaf,
    /// It forgets a piece.
    ForgetPiece { piece: usize },
    /// It forgets where the table is.
    ForgetTable,
    /// Somebody takes the leaf away.
    Take,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = |write: bool| if write { "write" } else { "read" };
        match *self {
            Self::Editor => write!(f, "editor"),
            Self::Begin {
                device,
                piece,
                write,
            } => write!(f, "device {device} begins to {} piece {piece}", what(write)),
            Self::BeginByLeaf {
                device,
                piece,
                write,
            } => write!(
                f,
                "device {device} begins to {} piece {piece}, by the leaf",
                what(write)
            ),
            Self::Proceed { device } => write!(f, "device {device}"),
            Self::Evict => write!(f, "the IOMMU takes the invalidation from its queue"),
            Self::Fail => write!(f, "the invalidation fails"),
            Self::ForgetLeaf => write!(f, "the IOTLB evicts the leaf"),
            Self::ForgetPiece { piece } => write!(f, "the IOTLB evicts piece {piece}"),
            Self::ForgetTable => write!(f, "the page-walk cache evicts the table"),
            Self::Take => write!(f, "somebody takes the leaf away"),
        }
    }
}
