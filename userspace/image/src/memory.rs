// SPDX-License-Identifier: GPL-2.0
//! A linear memory: how large it is, and those of its pages that are not all zeros.

/// Bytes of a page of WebAssembly's.
pub const PAGE: usize = 65536;
/// Pages of the largest memory that 32 bits can address.
pub const MOST_PAGES: u32 = 65536;
/// Zeros are left out in units of so many bytes.
const UNIT: usize = 4096;

/// A linear memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Its index in the module.
    pub index: u32,
    /// How large it is, in pages.
    pub pages: u32,
    /// What is not zero, in order, without overlap.
    pub runs: Vec<Run>,
}

/// Bytes that lie one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub offset: u32,
    pub bytes: Vec<u8>,
}

impl Memory {
    /// Takes a memory as it is; nothing if it is no whole number of pages, or too many.
    pub fn of(index: u32, bytes: &[u8]) -> Option<Self> {
        if bytes.len() % PAGE != 0 {
            return None;
        }
        let pages = u32::try_from(bytes.len() / PAGE)
            .ok()
            .filter(|&pages| pages <= MOST_PAGES)?;
        let mut runs: Vec<Run> = Vec::new();
        let mut ended = true;
        for (unit, offset) in bytes.chunks(UNIT).zip((0u32..).step_by(UNIT)) {
            if unit.iter().all(|&byte| byte == 0) {
                ended = true;
                continue;
            }
            match runs.last_mut().filter(|_| !ended) {
                Some(run) => run.bytes.extend(unit),
                None => runs.push(Run {
                    offset,
                    bytes: unit.to_vec(),
                }),
            }
            ended = false;
        }
        Some(Memory { index, pages, runs })
    }

    /// Returns how many bytes it has, zeros with them.
    pub fn len(&self) -> u64 {
        u64::from(self.pages) * PAGE as u64
    }

    pub fn is_empty(&self) -> bool {
        self.pages == 0
    }

    /// Puts what is not zero into a memory that is all zeros, and that was grown to so many pages.
    ///
    /// Fails, and writes nothing, if that memory is too small.
    pub fn put(&self, memory: &mut [u8]) -> Result<(), TooSmall> {
        if (memory.len() as u64) < self.len() {
            return Err(TooSmall);
        }
        for run in &self.runs {
            let from = run.offset as usize;
            let place = memory
                .get_mut(from..from.saturating_add(run.bytes.len()))
                .ok_or(TooSmall)?;
            place.copy_from_slice(&run.bytes);
        }
        Ok(())
    }
}

/// The memory has fewer pages than that of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;
