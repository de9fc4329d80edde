// SPDX-License-Identifier: GPL-2.0
//! The guest's memory: a file, or a huge page, that is mapped here and, through VFIO, for
//! the device. All accesses are volatile, for a device writes it at any time; no
//! Rust reference into it is ever made.

mod huge;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{Control, PAGE_SIZE};

use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::sys::mman::{mmap, mmap_anonymous, munmap, MapFlags, ProtFlags};

/// Where the memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// A region of /dev/pagemove: its pages can be moved.
    Pagemove,
    /// A memfd, as any VMM has: its pages can be moved, too, from node to node.
    Memfd,
    /// The same, whose pages are neighbours, 2 MiB at a time, as they happen to be where much memory is free: the IOMMU
    /// maps them by large leaves. (They come from huge pages that are split.)
    Contiguous,
}

/// Bytes of a huge page.
pub const HUGE_PAGE: usize = 2 << 20;

/// Guest memory, mapped at one IOVA.
///
/// # Invariants
///
/// `base` is the start of a mapping of `length` bytes that lives as long as this value.
pub struct Memory {
    base: *mut u8,
    length: usize,
    iova: u64,
    region: Option<u32>,
    /// Keeps the region open for as long as it is mapped.
    control: Option<Control>,
    /// The memfd, if it is none.
    file: Option<OwnedFd>,
}

// SAFETY: the mapping is memory that is only accessed with volatile
// loads and stores of aligned words; it belongs to no thread.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Makes guest memory of `length` bytes; `node` is where a region begins.
    pub fn new(source: Source, length: usize, iova: u64, node: Option<i32>) -> Result<Arc<Self>> {
        ensure!(
            length > 0 && length % PAGE_SIZE == 0,
            "{length} bytes are no whole pages"
        );
        ensure!(
            iova % PAGE_SIZE as u64 == 0,
            "IOVA {iova:#x} is not aligned to a page"
        );
        match source {
            Source::Pagemove => Self::region(length, iova, node),
            Source::Memfd => Self::memfd(length, iova, map_shared),
            Source::Contiguous => Self::memfd(length, iova, map_aligned),
        }
    }

    fn region(length: usize, iova: u64, node: Option<i32>) -> Result<Arc<Self>> {
        let control = Control::open()?;
        let id = control.region_setup(length as u64, node)?;
        let base = map_shared(control.file().as_fd(), length).context("can not mmap the region")?;
        // INVARIANT: map_shared made the mapping; only drop removes it.
        Ok(Arc::new(Self {
            base,
            length,
            iova,
            region: Some(id),
            control: Some(control),
            file: None,
        }))
    }

    fn memfd(
        length: usize,
        iova: u64,
        map: fn(BorrowedFd<'_>, usize) -> Result<*mut u8>,
    ) -> Result<Arc<Self>> {
        let file =
            memfd_create("pagemove-harness", MFdFlags::MFD_CLOEXEC).context("memfd_create")?;
        nix::unistd::ftruncate(&file, length as i64).context("ftruncate")?;
        let base = map(file.as_fd(), length).context("can not mmap the memfd")?;
        // INVARIANT: as above.
        Ok(Arc::new(Self {
            base,
            length,
            iova,
            region: None,
            control: None,
            file: Some(file),
        }))
    }

    /// Makes pages neighbours, 2 MiB at a time; what is left at the end may stay as it is. For
    /// [`Source::Contiguous`], before any of it is used.
    pub fn make_contiguous(&self) -> Result<()> {
        const HUGE: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
        const SPLIT: &str = "/sys/kernel/debug/split_huge_pages";
        std::fs::write(HUGE, "force")
            .with_context(|| format!("asking for huge pages by {HUGE}"))?;
        for offset in (0..self.length).step_by(PAGE_SIZE) {
            self.write_word(offset, 0);
        }
        std::fs::write(HUGE, "never").with_context(|| format!("giving {HUGE} back"))?;
        let first = self.base as usize;
        let whole = format!(
            "{},{first:#x},{:#x}",
            std::process::id(),
            first + self.length
        );
        std::fs::write(SPLIT, whole).with_context(|| format!("splitting huge pages by {SPLIT}"))
    }

    /// Makes guest memory of one huge page, which an IOMMU can map by one leaf: none where
    /// none is to be had.
    pub fn huge(iova: u64) -> Result<Option<Arc<Self>>> {
        ensure!(
            iova % HUGE_PAGE as u64 == 0,
            "IOVA {iova:#x} is not aligned to a huge page"
        );
        let base = match huge::reserved()? {
            Some(base) => Some(base),
            None => huge::collapsed()?,
        };
        // INVARIANT: one of the two made the mapping; only drop removes it.
        Ok(base.map(|base| {
            Arc::new(Self {
                base,
                length: HUGE_PAGE,
                iova,
                region: None,
                control: None,
                file: None,
            })
        }))
    }

    pub fn length(&self) -> usize {
        self.length
    }

    pub fn iova(&self) -> u64 {
        self.iova
    }

    /// The id of the region, if this is one.
    pub fn region_id(&self) -> Option<u32> {
        self.region
    }

    /// The open file of the region, if this is one.
    pub fn file(&self) -> Option<&Control> {
        self.control.as_ref()
    }

    /// The number of the memfd's descriptor in this process, if this is one.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.file.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The address in this process, for VFIO.
    pub fn address(&self) -> *mut u8 {
        self.base
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        let size = size_of::<T>();
        assert!(
            offset % size == 0 && offset + size <= self.length,
            "offset {offset:#x} is outside"
        );
        // SAFETY: in bounds, as just checked.
        unsafe { self.base.add(offset).cast() }
    }

    pub fn read_word(&self, offset: usize) -> u64 {
        // SAFETY: at() gives an aligned address inside the mapping.
        unsafe { ptr::read_volatile(self.at(offset)) }
    }

    pub fn write_word(&self, offset: usize, value: u64) {
        // SAFETY: as above.
        unsafe { ptr::write_volatile(self.at(offset), value) }
    }

    pub fn read_half(&self, offset: usize) -> u16 {
        // SAFETY: as above.
        unsafe { ptr::read_volatile(self.at(offset)) }
    }

    pub fn write_half(&self, offset: usize, value: u16) {
        // SAFETY: as above.
        unsafe { ptr::write_volatile(self.at(offset), value) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let base = ptr::NonNull::new(self.base.cast()).expect("a mapping is not at 0");
        // SAFETY: by the invariant this is our mapping, and no Slice is left,
        // for each holds a reference to this value.
        if let Err(error) = unsafe { munmap(base, self.length) } {
            eprintln!("# munmap of guest memory: {error}");
        }
    }
}

/// Maps it so that huge pages of it can be mapped as such.
fn map_aligned(file: BorrowedFd<'_>, length: usize) -> Result<*mut u8> {
    let room = std::num::NonZeroUsize::new(length + HUGE_PAGE).context("too long")?;
    let length = std::num::NonZeroUsize::new(length).context("no length")?;
    let (none, private) = (ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE);
    // SAFETY: a new mapping at an address that the kernel chooses.
    let reserved = unsafe { mmap_anonymous(None, room, none, private) }?;
    let begin = (reserved.as_ptr() as usize).next_multiple_of(HUGE_PAGE);
    let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
    // SAFETY: inside of what was just reserved, and nobody uses. (The rest stays reserved.)
    let base = unsafe {
        mmap(
            std::num::NonZeroUsize::new(begin),
            length,
            both,
            flags,
            file,
            0,
        )
    }?;
    Ok(base.as_ptr().cast())
}

fn map_shared(file: BorrowedFd<'_>, length: usize) -> Result<*mut u8> {
    let length = std::num::NonZeroUsize::new(length).context("no length")?;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let base = unsafe {
        mmap(
            None,
            length,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED,
            file,
            0,
        )
    }?;
    Ok(base.as_ptr().cast())
}

/// A part of guest memory.
#[derive(Clone)]
pub struct Slice {
    memory: Arc<Memory>,
    offset: usize,
    length: usize,
}

impl Slice {
    pub fn whole(memory: &Arc<Memory>) -> Self {
        Self {
            memory: memory.clone(),
            offset: 0,
            length: memory.length(),
        }
    }

    /// A part of this part. Panics if it is not inside.
    pub fn part(&self, offset: usize, length: usize) -> Self {
        assert!(
            offset + length <= self.length,
            "{offset:#x}+{length:#x} is outside {:#x}",
            self.length
        );
        Self {
            memory: self.memory.clone(),
            offset: self.offset + offset,
            length,
        }
    }

    pub fn length(&self) -> usize {
        self.length
    }

    /// The address of its first byte in this process, for accesses that are volatile.
    pub fn address(&self) -> *mut u8 {
        self.memory.address().wrapping_add(self.offset)
    }

    pub fn pages(&self) -> usize {
        self.length / PAGE_SIZE
    }

    /// Where it begins in the whole memory.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The address a device uses for a byte of it.
    pub fn iova(&self, offset: usize) -> u64 {
        debug_assert!(offset <= self.length);
        self.memory.iova() + (self.offset + offset) as u64
    }

    pub fn read_word(&self, offset: usize) -> u64 {
        assert!(offset + 8 <= self.length);
        self.memory.read_word(self.offset + offset)
    }

    pub fn write_word(&self, offset: usize, value: u64) {
        assert!(offset + 8 <= self.length);
        self.memory.write_word(self.offset + offset, value);
    }

    /// Sixteen bits, which a ring's index is.
    pub fn read_half(&self, offset: usize) -> u16 {
        assert!(offset + 2 <= self.length);
        self.memory.read_half(self.offset + offset)
    }

    pub fn write_half(&self, offset: usize, value: u16) {
        assert!(offset + 2 <= self.length);
        self.memory.write_half(self.offset + offset, value);
    }

    /// The address of `count` words, for volatile accesses.
    fn words(&self, offset: usize, count: usize) -> *mut u64 {
        assert!(
            offset % 8 == 0 && offset + count * 8 <= self.length,
            "{offset:#x}: {count} words"
        );
        // SAFETY: a slice is inside its memory's mapping, and this inside it.
        unsafe { self.memory.address().add(self.offset + offset).cast() }
    }

    /// Copies whole words out.
    pub fn read_words(&self, offset: usize, words: &mut [u64]) {
        let base = self.words(offset, words.len());
        for (index, word) in words.iter_mut().enumerate() {
            // SAFETY: words() has checked the bounds of all of them.
            *word = unsafe { ptr::read_volatile(base.add(index)) };
        }
    }

    /// Copies whole words in.
    pub fn write_words(&self, offset: usize, words: &[u64]) {
        let base = self.words(offset, words.len());
        for (index, word) in words.iter().enumerate() {
            // SAFETY: as above.
            unsafe { ptr::write_volatile(base.add(index), *word) };
        }
    }

    /// Sets all of it to one value.
    pub fn fill(&self, value: u64) {
        for offset in (0..self.length).step_by(8) {
            self.write_word(offset, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_see_the_same_words() {
        let memory = Memory::new(Source::Memfd, 4 * PAGE_SIZE, 0x10000, None).unwrap();
        let second = Slice::whole(&memory).part(PAGE_SIZE, PAGE_SIZE);
        second.write_words(8, &[1, 2, 3]);
        assert_eq!(memory.read_word(PAGE_SIZE + 16), 2);
        assert_eq!(second.iova(8), 0x10000 + PAGE_SIZE as u64 + 8);
        let mut words = [0; 4];
        second.read_words(0, &mut words);
        assert_eq!(words, [0, 1, 2, 3]);
    }

    #[test]
    fn a_huge_page_is_memory_at_its_own_multiple() {
        assert!(Memory::huge(0x1000).is_err());
        // Whether there is one is a matter of the machine.
        if let Some(memory) = Memory::huge(4 * HUGE_PAGE as u64).unwrap() {
            assert_eq!(memory.length(), HUGE_PAGE);
            assert_eq!(memory.address() as usize % HUGE_PAGE, 0);
            memory.write_word(HUGE_PAGE - 8, 7);
            assert_eq!(memory.read_word(HUGE_PAGE - 8), 7);
        }
    }

    #[test]
    #[should_panic(expected = "words")]
    fn words_end_with_their_slice() {
        let memory = Memory::new(Source::Memfd, 2 * PAGE_SIZE, 0, None).unwrap();
        Slice::whole(&memory)
            .part(0, PAGE_SIZE)
            .read_words(PAGE_SIZE - 8, &mut [0; 2]);
    }

    #[test]
    #[should_panic(expected = "is outside")]
    fn a_part_can_not_reach_past_its_whole() {
        let memory = Memory::new(Source::Memfd, PAGE_SIZE, 0, None).unwrap();
        Slice::whole(&memory).part(8, PAGE_SIZE);
    }
}
