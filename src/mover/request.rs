// SPDX-License-Identifier: GPL-2.0
//! What a call asks for, checked.

use crate::abi;
use crate::aperture::Aperture;
use crate::device::Device;
use crate::host::task;
use crate::machine::source::Source;
use crate::mover::doubt;
use crate::page::{self, Tag};
use crate::refusal::Refusal;
use crate::region::backing::{Backing, Site};
use crate::region::claim::Claim;
use crate::region::Neighbours;
use crate::session::cpus::CpuPair;
use crate::shmem::new::NewFolio;
use engine::{Iova, Method, PageSpan, CHUNK_PAGES, CHUNK_SIZE, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

/// Where to move the pages.
pub(crate) enum Destination {
    Node(i32),
    /// To the frames that their slots keep.
    Home,
    /// To these offsets in the aperture, one for each page of the call.
    Aperture(Arc<Aperture>, KVVec<u64>),
}

impl Destination {
    /// Tells whether a page in this place is there.
    pub(crate) fn is_at(&self, place: abi::Place) -> bool {
        match self {
            Self::Home => false,
            Self::Node(node) => place.kind == abi::PLACE_NODE && place.number == *node,
            Self::Aperture(aperture, _) => {
                place.kind == abi::PLACE_APERTURE && place.number as u32 == aperture.id
            }
        }
    }

    /// Takes END for page `n` of the call, which is `source`; `ends`: where its neighbours in a
    /// region are about to go; `goes_on`: whether it may wait for one that is about to be free.
    pub(crate) fn end_for(
        &self,
        source: &Source,
        n: u64,
        ends: Neighbours,
        goes_on: impl Fn() -> bool,
    ) -> Result<Backing, Refusal> {
        let no_memory = |_| Refusal::NoMemory;
        match (self, source) {
            (Self::Node(node), Source::Region(claim)) => claim
                .new_end(*node, ends)
                .map(Backing::Memory)
                .map_err(no_memory),
            (Self::Node(node), Source::File(_)) => NewFolio::at_node(*node)
                .map(Backing::File)
                .map_err(no_memory),
            (Self::Aperture(aperture, offsets), Source::Region(claim)) => {
                let offset = offsets.get(n as usize).ok_or(Refusal::NoSlot)?;
                let slot = aperture.take(*offset, claim.tag());
                slot.or_else(|_| {
                    // It may be one that nobody could look at when its page left it.
                    if let Some(doubtful) = aperture.doubtful_at(*offset) {
                        doubt::review_patiently(&doubtful, goes_on);
                    }
                    aperture.take(*offset, claim.tag())
                })
                .map(Backing::Slot)
            }
            // `homecoming.rs` takes them itself.
            (Self::Home, _) => Err(Refusal::NoAperture),
            // Nobody would tell us that a CPU waits for it.
            (Self::Aperture(..), Source::File(_)) => Err(Refusal::NotRegion),
        }
    }
}

/// What to move, checked.
pub(crate) struct Request {
    pub(crate) device: Arc<Device>,
    pub(crate) span: PageSpan,
    pub(crate) to: Destination,
    pub(crate) retries: u32,
    /// In ns, as [`task::now`] tells time.
    pub(crate) deadline: Option<u64>,
    pub(crate) verify: bool,
    pub(crate) even_if_there: bool,
    /// The engine that is asked for; none: the best that works.
    pub(crate) engine: Option<Method>,
    pub(crate) watch: bool,
    pub(crate) clear_accessed: bool,
    /// No leaf of 2 MiB is split.
    pub(crate) keep_leaves: bool,
    /// None moves whole.
    pub(crate) in_pieces: bool,
    /// An experiment with pages of this region alone.
    pub(crate) experiment: Option<u32>,
    /// The region and the index that the first page has to be of; the others follow it.
    pub(crate) of: Option<(u32, u64)>,
    pub(crate) editor_cpu: Option<u32>,
    pub(crate) helper_cpu: Option<u32>,
}

impl Request {
    /// Returns that of a page that comes home.
    pub(crate) fn home(device: Arc<Device>, span: PageSpan, retries: u32) -> Self {
        Self {
            device,
            span,
            to: Destination::Home,
            retries,
            deadline: None,
            verify: true,
            even_if_there: true,
            engine: None,
            watch: false,
            clear_accessed: false,
            keep_leaves: false,
            in_pieces: false,
            experiment: None,
            of: None,
            editor_cpu: None,
            helper_cpu: None,
        }
    }

    /// Checks that the page may be what `iova` maps, as far as the caller says.
    pub(crate) fn check(&self, source: &Source, iova: Iova) -> Result<(), Refusal> {
        let claim = source.claim();
        let is_own = |id| claim.is_some_and(|claim| claim.region.id == id);
        if self.experiment.is_some_and(|id| !is_own(id)) {
            return Err(Refusal::NotScratch);
        }
        let is_named = self.names(claim.map(Claim::tag), iova);
        is_named.then_some(()).ok_or(Refusal::OtherPage)
    }

    /// Tells whether the page at `iova` may be one of a region with this tag, as far as the caller says.
    pub(crate) fn names(&self, tag: Option<Tag>, iova: Iova) -> bool {
        self.of.is_none_or(|(region, first)| {
            let n = iova.0.saturating_sub(self.span.first().0) >> PAGE_SHIFT;
            let index = first.saturating_add(n);
            tag == Some(Tag { region, index })
        })
    }

    /// Tells whether signals are no reason to stop. In the fault of a CPU whose access is the
    /// kernel's own nobody would come to handle them.
    pub(crate) fn is_deaf(&self) -> bool {
        matches!(self.to, Destination::Home)
    }

    /// Returns the CPUs of the session.
    pub(crate) fn cpus(&self) -> Result<CpuPair, Refusal> {
        CpuPair::new(self.editor_cpu, self.helper_cpu, self.device.node)
    }

    /// Returns the 2 MiB that begin with page number `first`, if the call wants all of them, the device maps them by one leaf,
    /// and they may be a region's; and the node to which they go. A hint: nothing holds them.
    pub(super) fn leaf_at(&self, first: u64) -> Option<(PageSpan, i32)> {
        let Destination::Node(node) = self.to else {
            return None;
        };
        let is_plain = !self.watch && !self.clear_accessed && self.experiment.is_none();
        let pages = u64::from(CHUNK_PAGES);
        let left = self.span.pages().saturating_sub(first);
        let span = self.part(first, pages).ok()?;
        if self.in_pieces || !is_plain || left < pages || span.first().0 % CHUNK_SIZE != 0 {
            return None;
        }
        let (start, bytes) = self.device.glance_leaf(span.first())?;
        let is_there = self.to.is_at(Site::Memory(start).place()) && !self.even_if_there;
        let is_ours = page::is_memory(start) && page::tag_of(start).is_some();
        (bytes == CHUNK_SIZE && is_ours && !is_there).then_some((span, node))
    }

    /// Returns `pages` pages of the span from number `first` on.
    pub(crate) fn part(&self, first: u64, pages: u64) -> Result<PageSpan, Refusal> {
        let offset = first.saturating_mul(PAGE_SIZE);
        let first = Iova(self.span.first().0.saturating_add(offset));
        PageSpan::new(first, pages.saturating_mul(PAGE_SIZE)).ok_or(Refusal::NotMapped)
    }

    /// Refuses to go on when the caller has a signal or the deadline has passed. Lets a suspend
    /// have its way first: no batch may be under way.
    #[inline(never)]
    pub(crate) fn check_time(&self) -> Result<(), Refusal> {
        // Nobody waits for this thread, which holds no lock.
        task::pause();
        if task::has_signal() {
            return Err(Refusal::Signal);
        }
        match self.deadline {
            Some(at) if task::now() > at => Err(Refusal::Deadline),
            _ => Ok(()),
        }
    }
}
