// SPDX-License-Identifier: GPL-2.0
//! The slots: signal 2 of an attempt, from the helper to an editor that is inside a
//! transaction (US 11,928,496 B2, FIG. 2).
//!
//! A line that the transaction has read must not be written, and a line that a
//! prefetcher brought in may count as read. So the slots lie where no prefetcher goes
//! that the editor's reads could set off:
//!
//! - Each is on a page of its own, whatever pages of memory those are. Prefetchers that
//!   complete a pair of lines (128 bytes) or follow a stream stay within a page, where
//!   there is no other slot.
//! - In order of their numbers, no three of them lie at one stride, *whichever others are
//!   skipped between them*. The page of a slot is its number with the bits reversed, so
//!   all even pages come before all odd ones. Were `b`, read between `a` and `c`, halfway
//!   between them, the pages of `a` and `c` would agree in their lowest bit, and that of
//!   `b`, being between them in the order, with both. Drop that bit and argue again: in
//!   the end they are one page.
//! - Each is one line further into its page than the slot on the page before it. So the
//!   address of a slot is a multiple of its page's number, and what was said of pages
//!   holds for addresses. It also spreads the slots over all sets of a 64-set cache, and
//!   leaves the lines where one page meets the next without a slot, but for the first
//!   line and the last of the whole: the next-page prefetcher finds none.
//!
//! The patent links the slots into a list that prefetchers do not follow. Here the clock
//! says which slot is due, and any number of them may be skipped; the way to it through
//! a list would read the lines of the skipped ones, which the helper is about to write.
//! The table of offsets is read instead, which nobody writes. It holds offsets, not
//! addresses, so that nothing in it looks like a pointer to be followed.

use super::generation::Generation;
use super::sync::{AtomicU64, Orderings, Shipped};
use crate::rtm::times::MAX_SLOTS;
use core::marker::PhantomData;

/// A cache line, in bytes.
const LINE: usize = 64;
/// A page, in bytes.
const PAGE: usize = 4096;
/// How many slots.
const COUNT: usize = MAX_SLOTS as usize;
/// From a slot to the next higher address of one, in bytes: a page and a line.
const STRIDE: usize = PAGE + LINE;
/// Where the last slot in order of addresses lies, in bytes.
const LAST: usize = (COUNT - 1) * STRIDE;

/// Where slot `n` lies: bytes from the beginning of [`Slots`].
pub const OFFSETS: [u32; COUNT] = {
    let mut offsets = [0; COUNT];
    let mut n = 0;
    while n < COUNT {
        let unused_bits = u32::BITS - MAX_SLOTS.ilog2();
        offsets[n] = ((n as u32).reverse_bits() >> unused_bits) * STRIDE as u32;
        n += 1;
    }
    offsets
};

/// Bytes of [`Slots`] that one element stands for. loom would have to keep account of
/// each line, on a small stack; it gets those alone that hold a slot, and no alignment.
const UNIT: usize = if cfg!(feature = "loom") { STRIDE } else { LINE };

/// A line. Only the first word of some is ever used.
#[cfg_attr(not(feature = "loom"), repr(C, align(64)))]
struct Line(AtomicU64);

impl Line {
    #[cfg(not(feature = "loom"))]
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[cfg(feature = "loom")]
    fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

/// [`MAX_SLOTS`] booleans: 256 KiB, aligned to a page of 4096 bytes. It is for one
/// editor, one helper and one [`super::Mailbox`], whose generations it is set with.
///
/// It does not fit a kernel stack. All bytes zero is a valid value, with no slot set:
/// allocate it so (virtually contiguous is enough), or make it a `static`.
///
/// A slot is set when it holds the generation of the attempt; so none has to be cleared,
/// and what an earlier attempt has set is not set in this one.
#[cfg_attr(not(feature = "loom"), repr(C, align(4096)))]
pub struct Slots<O: Orderings = Shipped> {
    lines: [Line; LAST / UNIT + 1],
    orderings: PhantomData<fn() -> O>,
}

impl<O: Orderings> Slots<O> {
    /// Returns slots of which none is set.
    #[cfg(not(feature = "loom"))]
    pub const fn new() -> Self {
        Self {
            lines: [const { Line::new() }; LAST / UNIT + 1],
            orderings: PhantomData,
        }
    }

    /// Returns slots of which none is set.
    #[cfg(feature = "loom")]
    pub fn new() -> Self {
        Self {
            lines: core::array::from_fn(|_| Line::new()),
            orderings: PhantomData,
        }
    }

    /// Tells where slot `n` lies: bytes from the beginning. `None` if there is none.
    pub fn offset_of(n: u64) -> Option<usize> {
        let offset = OFFSETS.get(usize::try_from(n).ok()?)?;
        usize::try_from(*offset).ok()
    }

    /// Sets slot `n`, for the helper: whoever finds it set sees what was written before
    /// (release). Nothing happens if there is no such slot.
    #[inline]
    pub fn set(&self, n: u64, generation: Generation) {
        if let Some(word) = self.word(n) {
            word.store(generation.get(), O::SET);
        }
    }

    /// Whether slot `n` is set in the attempt of this generation (acquire). A slot that
    /// does not exist is never set.
    #[inline]
    pub fn is_set(&self, n: u64, generation: Generation) -> bool {
        self.word(n)
            .is_some_and(|word| word.load(O::IS_SET) == generation.get())
    }

    /// Returns the word of slot `n`.
    pub(crate) fn word(&self, n: u64) -> Option<&AtomicU64> {
        let offset = Self::offset_of(n)?;
        self.lines.get(offset / UNIT).map(|line| &line.0)
    }
}

static_assertions::const_assert!(MAX_SLOTS.is_power_of_two());
static_assertions::assert_impl_all!(Slots: Send, Sync);
#[cfg(not(feature = "loom"))]
static_assertions::const_assert_eq!(size_of::<Slots>(), COUNT * PAGE);
#[cfg(not(feature = "loom"))]
static_assertions::const_assert_eq!(align_of::<Slots>(), PAGE);
#[cfg(not(feature = "loom"))]
static_assertions::const_assert_eq!(size_of::<Line>(), LINE);
