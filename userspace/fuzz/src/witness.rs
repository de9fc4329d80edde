// SPDX-License-Identifier: GPL-2.0
//! A witness: pages of a region with a known content that a device maps, that everybody may
//! move, offer and unmap, and that nobody writes. So their content has to stay.

use std::os::fd::AsRawFd;
use std::ptr;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::random::mix;
use pagemove_uapi::Control;

use crate::calls::devices::Assigned;
use crate::touch;
use crate::value::{PAGE, WITNESS_IOVA};

pub const PAGES: u64 = 8;
const ADDRESS: u64 = 0x2000_0000_0000;
const WORDS: u64 = PAGE / 8;
/// How often to try a page that another process has offered at that moment.
const TRIES: usize = 3;

pub struct Witness {
    control: Control,
    id: u32,
    seed: u64,
}

fn content(seed: u64, page: u64, word: u64) -> u64 {
    mix(seed ^ (page * WORDS + word))
}

impl Witness {
    /// Pages that were never used have to be zero before they are filled.
    pub fn new(seed: u64) -> Result<Self> {
        let control = Control::open()?;
        let id = control.region_setup(PAGES * PAGE, Some((seed % 2) as i32))?;
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_FIXED,
        );
        let fd = control.file().as_raw_fd();
        // SAFETY: addresses that are for this alone.
        let base = unsafe {
            libc::mmap(
                ADDRESS as *mut _,
                (PAGES * PAGE) as usize,
                protection,
                flags,
                fd,
                0,
            )
        };
        ensure!(
            base != libc::MAP_FAILED,
            "mmap of the witness: {}",
            std::io::Error::last_os_error()
        );
        let witness = Self { control, id, seed };
        witness.fill()?;
        Ok(witness)
    }

    fn fill(&self) -> Result<()> {
        for page in 0..PAGES {
            for word in 0..WORDS {
                let at = ADDRESS + page * PAGE + word * 8;
                let old = self.read(at).context("a fresh page of the witness")?;
                ensure!(
                    old.is_none_or(|old| old == 0),
                    "a fresh page has {old:x?} in word {word}"
                );
                // SAFETY: in the mapping, where no Rust value lives.
                let stored = unsafe { touch::store(at, content(self.seed, page, word)) };
                ensure!(stored.is_ok(), "a store to the witness");
            }
        }
        Ok(())
    }

    /// A word, or nothing where it has to be waited for again and again.
    fn read(&self, at: u64) -> Result<Option<u64>> {
        for _ in 0..TRIES {
            match touch::load(at) {
                Ok(word) => return Ok(Some(word)),
                Err(libc::SIGALRM) => {
                    self.control.retract(self.id, 0, PAGES * PAGE)?;
                }
                Err(signal) => anyhow::bail!("signal {signal} at {at:#x}"),
            }
        }
        Ok(None)
    }

    pub fn map_for(&self, assigned: &Assigned) {
        // It is mapped already, or is in another program's way: both are fine.
        assigned.map(WITNESS_IOVA, ADDRESS, PAGES * PAGE, 3);
    }

    /// What is wrong with one of its pages.
    pub fn damage(&self, page: u64) -> Option<String> {
        let page = page % PAGES;
        let _hurry = touch::Hurry::new();
        for word in 0..WORDS {
            let expected = content(self.seed, page, word);
            match self.read(ADDRESS + page * PAGE + word * 8) {
                Ok(Some(found)) if found == expected => {}
                Ok(None) => return None,
                Ok(Some(found)) => {
                    return Some(format!("word {word} of page {page} of the witness is {found:#x} instead of {expected:#x}"))
                }
                Err(error) => return Some(format!("page {page} of the witness: {error:#}")),
            }
        }
        None
    }

    pub fn damage_anywhere(&self) -> Option<String> {
        (0..PAGES).find_map(|page| self.damage(page))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // Offers of other processes would keep the region for ever.
        let _ = self.control.retract(self.id, 0, PAGES * PAGE);
        // SAFETY: the mapping of `new`.
        unsafe {
            libc::munmap(
                ptr::with_exposed_provenance_mut(ADDRESS as usize),
                (PAGES * PAGE) as usize,
            )
        };
    }
}
