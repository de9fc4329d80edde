// SPDX-License-Identifier: GPL-2.0
//! What builds for tests do wrong, or look at, on their way: steps that are left out, bugs for
//! tests to find, calls that fail.
//!
//! The rest of the module calls these functions and nothing else of this room. What is shipped
//! has none of the parameters that ask for it: there each is 0, and nothing is left of the calls.

#[cfg(pagemove_test)]
use crate::host::ffi;
use crate::host::ffi::page;
use crate::host::task;
pub(crate) use crate::testing::bug::{has_bug, Bug};
pub(crate) use crate::testing::gates::{
    await_ends, be_restless, hold_batch_up, hold_blame_up, hold_end_up, hold_look_up,
    hold_pinning_up, hold_split_up, hold_unpin_up, keep_look, let_batches_go, meet_look,
};
pub(crate) use crate::testing::pretence::{
    hides_domains, other_iommu, pretends_cold, pretends_direct, pretends_down, pretends_no_snoop,
    pretends_reset, pretends_silent,
};
#[cfg(pagemove_test)]
use crate::testing::{marker, posted, spare};
use core::sync::atomic::{AtomicU64, Ordering};
use engine::resize::ResizeSteps;
use engine::rtm::Duty;
use engine::{Checksum, Iova, Steps, CHUNK_PAGES, PAGE_SIZE};
use kernel::prelude::*;
use kernel::uaccess::{UserPtr, UserSlice};

/// Whether this build can do any of it.
pub(crate) const IS_POSSIBLE: bool = cfg!(pagemove_test);

/// Reads a parameter that only builds for tests have.
macro_rules! test_parameter {
    ($name:ident) => {{
        #[cfg(pagemove_test)]
        {
            u64::from(parameter!($name))
        }
        #[cfg(not(pagemove_test))]
        {
            0u64
        }
    }};
}

/// Returns the steps that are left out of a move, or of a page's way home.
pub(crate) fn left_out_of(is_home: bool) -> Steps {
    match is_home && has_bug(Bug::HomeUnchecked) {
        true => Steps::COMPARE | Steps::VERIFICATION,
        false => left_out(),
    }
}

/// The parameter's values from here on name a step by its bit.
const FIRST_BIT: u64 = 100;

/// Returns the steps that are left out.
pub(crate) fn left_out() -> Steps {
    match test_parameter!(sabotage) {
        bit if bit >= FIRST_BIT => {
            let bit = u32::try_from(bit.saturating_sub(FIRST_BIT)).ok();
            let step = bit.and_then(|bit| 1u64.checked_shl(bit));
            Steps::from_bits_truncate(step.unwrap_or(0))
        }
        1 => Steps::FIRST_INVALIDATION,
        2 => Steps::AD_CLEAR,
        3 => Steps::CPU_HOLD,
        4 => Steps::COMPARE,
        5 => Steps::VERIFICATION,
        6 => Steps::READ_BACK,
        9 => Steps::MEETING,
        _ => Steps::empty(),
    }
}

/// Returns whether to put the old entry back after this commit, as a blind update of A
/// by an IOMMU would: every seventh, if asked to.
#[cfg(pagemove_test)]
pub(crate) fn spoils_now() -> bool {
    static COMMITS: AtomicU64 = AtomicU64::new(0);
    test_parameter!(inject) == 1 && COMMITS.fetch_add(1, Ordering::Relaxed) % 7 == 6
}

/// What to do to START of a page that was just committed.
#[cfg(pagemove_test)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mischief {
    /// Writes to it, as the hardware might let a device.
    Write,
    /// Gives it a second user, as VFIO might, who writes to it.
    WriteAndPin,
}

/// Returns what to do to START of the page with this place in its region, if asked to.
#[cfg(pagemove_test)]
pub(crate) fn mischief_to(index: Option<u64>) -> Option<Mischief> {
    const LOST: u64 = 5;
    const SHARED: u64 = 6;
    let is_bug = [Bug::HastyBlame, Bug::AllForOne, Bug::BlameEach]
        .map(has_bug)
        .contains(&true);
    if ![28, 36].contains(&test_parameter!(inject)) && !is_bug {
        return None;
    }
    match index {
        Some(LOST) => Some(Mischief::Write),
        Some(SHARED) => Some(Mischief::WriteAndPin),
        _ => None,
    }
}

/// Returns the steps that are left out of a change of size.
pub(crate) fn resized_without() -> ResizeSteps {
    match test_parameter!(inject) {
        64 => ResizeSteps::FILL_FIRST,
        // So that what strays is merged as well.
        65 => ResizeSteps::SHAPE,
        _ => ResizeSteps::empty(),
    }
}

/// Tells whether nothing moves whole, as if each time a device were faster.
pub(crate) fn moves_none_whole() -> bool {
    test_parameter!(inject) == 76
}

/// Rests within 2 MiB that are copied where no leaf is to be split, so that a device comes in between.
pub(crate) fn stretch_whole() {
    const REST_NS: u64 = 20_000_000;
    if keeps_leaves() {
        task::sleep(REST_NS);
    }
}

/// Tells whether no leaf is to be split, as on a machine that does not allow it.
pub(crate) fn keeps_leaves() -> bool {
    test_parameter!(inject) == 75
}

/// Tells whether there is no chunk to be had for a region, as asked for: each second time.
pub(crate) fn is_fragmented() -> bool {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    test_parameter!(inject) == 74 && ASKED.fetch_add(1, Ordering::Relaxed) % 2 == 0
}

/// Lets a table be known for a moment before it is filled, if that is left out.
pub(crate) fn stretch_fill() {
    static FILLS: AtomicU64 = AtomicU64::new(0);
    if test_parameter!(inject) == 64 && FILLS.fetch_add(1, Ordering::Relaxed) % 512 == 0 {
        task::sleep(100_000_000);
    }
}

/// Returns the entry to put into a table: of a neighbour, if asked to, but for the first ones, which tell where the
/// chunk is.
pub(crate) fn strayed(entry: u64) -> u64 {
    let piece = entry / PAGE_SIZE % u64::from(CHUNK_PAGES);
    match test_parameter!(inject) {
        65 if piece > 1 => entry ^ PAGE_SIZE,
        _ => entry,
    }
}

/// Returns which of A and D an entry is said to hold when a write has landed: none, if the IOMMU shall
/// look as if it set them later.
pub(crate) fn seen_marks() -> u64 {
    match test_parameter!(inject) {
        46 => 0,
        _ => u64::MAX,
    }
}

/// Keeps pages of a file frozen for longer, if asked to: for so long that who makes a dma-buf of
/// them comes meanwhile.
pub(crate) fn stretch_frozen() {
    if test_parameter!(inject) == 8 || has_bug(Bug::NoFreeze) {
        spin();
    }
}

/// Lets a page that was copied home wait for its commit, if asked to: so long that its device is at
/// work meanwhile.
pub(crate) fn stretch_home() {
    if test_parameter!(inject) == 10 || has_bug(Bug::HomeUnchecked) {
        spin();
    }
}

/// Spins for so long that somebody else comes meanwhile.
fn spin() {
    const FOR_NS: u64 = 2_000_000;
    task::spin(FOR_NS);
}

/// Returns where to read a page from: nowhere, if a memory error shall be found in it, as in each
/// that is the sixth of its region if asked to. `index`: its place there.
pub(crate) fn read_from(page: *const u64, index: impl FnOnce() -> Option<u64>) -> *const u64 {
    const IN_ERROR: u64 = 5;
    if test_parameter!(inject) == 7 && index() == Some(IN_ERROR) {
        // The last page of the address space is never mapped.
        return core::ptr::without_provenance((PAGE_SIZE as usize).wrapping_neg());
    }
    page
}

/// Holds the first callbacks of VFIO's up that have to give pins up, if asked to: for so long
/// that another unmap comes to the lock that VFIO holds meanwhile.
pub(crate) fn hold_callback_up(is_needed: impl FnOnce() -> bool) {
    const HELD: u64 = 4;
    const HOLD_NS: u64 = 1_000_000_000;
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let asked =
        test_parameter!(inject) == 5 || is_unpinning_slow() || has_bug(Bug::UnpinInCallback);
    if asked && is_needed() && CALLS.fetch_add(1, Ordering::Relaxed) < HELD {
        task::sleep(HOLD_NS);
    }
}

/// Holds who gives pins up before he calls VFIO, if asked to: once for longer than VFIO's calls but the last
/// wait all together, or each time for so long that an unmap gets VFIO's lock before him.
pub(crate) fn hold_unpinning_up(is_urgent: impl Fn() -> bool) {
    const ONCE_NS: u64 = 20_000_000_000;
    const EACH_NS: u64 = 20_000_000;
    const SLOT_NS: u64 = 2_000_000_000;
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let once = test_parameter!(inject) == 12 || has_bug(Bug::LastCallReturns);
    if once && is_urgent() && CALLS.fetch_add(1, Ordering::Relaxed) == 0 {
        task::sleep(ONCE_NS);
    }
    if is_unpinning_slow() && is_urgent() {
        task::sleep(EACH_NS);
    }
    if test_parameter!(inject) == 118 || has_bug(Bug::HastySlot) {
        task::sleep(SLOT_NS);
    }
    if test_parameter!(inject) == 120 {
        task::sleep(EACH_NS);
    }
}

fn is_unpinning_slow() -> bool {
    test_parameter!(inject) == 13
}

/// Holds the last close of a container up, before it brings pages home, if asked to: for so long that
/// others come meanwhile.
pub(crate) fn hold_close_up() {
    const HOLD_NS: u64 = 5_000_000_000;
    if test_parameter!(inject) == 11 {
        task::sleep(HOLD_NS);
    }
}

/// Holds a region up that could not be mapped or set up, before others see what became of it, if
/// asked to.
pub(crate) fn hold_listing_up(done: Result) {
    const HOLD_NS: u64 = 1_000_000_000;
    let asked = test_parameter!(inject) == 6 || has_bug(Bug::LooseList);
    if asked && done.is_err() {
        task::sleep(HOLD_NS);
    }
}

/// Returns the last number that a region may have, if there shall be few.
pub(crate) fn last_region() -> Option<u32> {
    u32::try_from(test_parameter!(last_region))
        .ok()
        .filter(|last| *last != 0)
}

/// Copies a page to an aperture, if stores there shall stay under way until they are asked for.
/// Returns its sum and its last word, or none.
///
/// # Safety
///
/// Both are whole pages of ours, and `to` may be written late.
pub(crate) unsafe fn copy_late(
    from: *const u64,
    to: *mut u64,
    sum: Checksum,
) -> Option<(Checksum, u64)> {
    #[cfg(pagemove_test)]
    if test_parameter!(inject) == 3 {
        // SAFETY: the caller's contract.
        return unsafe { posted::copy(from, to, sum) };
    }
    let _ = (from, to, sum);
    None
}

/// Lets arrive what is under way to an aperture that is read back: stores, and what devices write.
pub(crate) fn arrive() {
    #[cfg(pagemove_test)]
    if test_parameter!(inject) == 3 || shall_push() {
        posted::flush();
    }
}

/// Tells whether what devices write to apertures is pushed by who reads them back, or comes later.
#[cfg(pagemove_test)]
fn shall_push() -> bool {
    test_parameter!(inject) == 110 || has_bug(Bug::HomeUndrained)
}

/// Tells whether it comes by itself, while who has copied a page waits.
#[cfg(pagemove_test)]
fn shall_pause() -> bool {
    test_parameter!(inject) == 112 || has_bug(Bug::HomeReadOnce)
}

/// Tells whether a page that comes from an aperture is not read a second time.
pub(crate) fn reads_home_once() -> bool {
    has_bug(Bug::HomeReadOnce) || has_bug(Bug::HomeUnchecked)
}

/// Makes the last write of a device to a page in an aperture one that is still under way, each second time, if asked
/// to.
pub(crate) fn hold_dma_back(page: *mut u64) {
    #[cfg(pagemove_test)]
    if shall_push() || shall_pause() {
        static TIMES: AtomicU64 = AtomicU64::new(0);
        if TIMES.fetch_add(1, Ordering::Relaxed) % 2 == 0 {
            // SAFETY: the caller's page is a whole one, in an aperture.
            unsafe { posted::hold_back(page) };
        }
    }
    let _ = page;
}

/// Lets that land, if it comes by itself. Where nobody reads again it comes later than anybody looks.
pub(crate) fn land_dma() {
    #[cfg(pagemove_test)]
    if shall_pause() && !has_bug(Bug::HomeReadOnce) {
        posted::flush();
    }
}

/// Returns the memory of the last arena that has gone, if one of so many pages shall have it: as behind a bridge, a peer
/// that comes back then shows other memory at the same place.
pub(crate) fn spare_arena(pages: usize) -> Option<*mut page> {
    #[cfg(pagemove_test)]
    return spare::take(pages);
    #[cfg(not(pagemove_test))]
    {
        let _ = pages;
        None
    }
}

/// Keeps the memory of an arena for that, if asked to.
pub(crate) fn keep_arena(memory: *mut page, pages: usize) -> bool {
    #[cfg(pagemove_test)]
    return spare::keep(memory, pages);
    #[cfg(not(pagemove_test))]
    {
        let _ = (memory, pages);
        false
    }
}

/// Marks begin and end of a copy in the emulator's trace, if asked to: the end is when the result
/// is dropped. `index`: the place of the page in its region.
pub(crate) fn mark_copy(index: impl FnOnce() -> Option<u64>) -> impl Sized {
    #[cfg(pagemove_test)]
    return marker::Mark::copy_of((test_parameter!(mark) == 1).then(index).flatten());
    #[cfg(not(pagemove_test))]
    drop(index);
}

/// Lets the helper stall before one of its steps, if asked to: so long each time, from
/// the first time on for so many ms. `first`: of what is moved.
pub(crate) fn stall(duty: Duty, first: Iova) {
    let step = match duty {
        Duty::Idle => return,
        Duty::Take => 1,
        Duty::AwaitSignal1 => 2,
        Duty::Invalidate => 3,
        Duty::AwaitInvalidation => 4,
        Duty::Copy { .. } => 5,
        Duty::PutSum(..) => 6,
        Duty::Publish(_) => 7,
        Duty::Clock => 8,
        Duty::Signal { .. } => 9,
        Duty::Report(_) => 10,
    };
    let iova = test_parameter!(stall_iova);
    if iova == 0 || iova == first.0 {
        stall_at(step);
    }
}

/// Lets the helper stall before it answers that it is there, if asked to: so it misses the
/// meeting, as if another thread had its CPU.
pub(crate) fn stall_meeting() {
    stall_at(11);
}

fn stall_at(step: u64) {
    static UNTIL: AtomicU64 = AtomicU64::new(0);
    if test_parameter!(stall_step) != step {
        return;
    }
    let now = task::now();
    let until = now.saturating_add(test_parameter!(stall_for_ms).saturating_mul(1_000_000));
    let _ = UNTIL.compare_exchange(0, until, Ordering::Relaxed, Ordering::Relaxed);
    if now < UNTIL.load(Ordering::Relaxed) {
        task::sleep(test_parameter!(stall_us).saturating_mul(1000));
    }
}

/// Returns whether VFIO shall not pin what it is asked for next.
pub(crate) fn fails_to_pin() -> bool {
    #[cfg(pagemove_test)]
    // SAFETY: asks whether a test wants this call to fail.
    return unsafe { ffi::pagemove_fault_pin() };
    #[cfg(not(pagemove_test))]
    false
}

/// Returns EFAULT, if the copy from or to user memory that follows shall fail.
pub(crate) fn may_copy() -> Result {
    #[cfg(pagemove_test)]
    // SAFETY: asks whether a test wants this call to fail.
    if unsafe { ffi::pagemove_fault_copy() } {
        return Err(EFAULT);
    }
    Ok(())
}

/// Copies to user memory by `copy`, if that shall not fail. A test that lets calls fail has to
/// find a module that forgets such errors.
pub(crate) fn copy_out(copy: impl FnOnce() -> Result) -> Result {
    match may_copy() {
        Err(_) if test_parameter!(sabotage) == 7 => Ok(()),
        may => may.and_then(|()| copy()),
    }
}

/// Loses END of pages where memory is short, for the same. Returns whether it has.
pub(crate) fn leak<T>(ends: &mut KVec<T>) -> bool {
    if test_parameter!(sabotage) != 8 {
        return false;
    }
    ends.drain_all().for_each(core::mem::forget);
    true
}

/// Writes where nothing is to be written, but only over a guard of the fuzzer's: its other
/// processes have to live to tell. In builds for tests it stays a function of that name, by which
/// `fail-nth` leaves its calls alone.
#[cfg_attr(pagemove_test, inline(never))]
pub(crate) fn overrun(address: usize) {
    const GUARD: u32 = 0xa5a5_a5a5;
    if !has_bug(Bug::Overrun) {
        return;
    }
    let slice = || UserSlice::new(UserPtr::from_addr(address), 4);
    if slice().reader().read::<u32>() == Ok(GUARD) {
        let _ = slice().writer().write_slice(&[0; 4]);
    }
}

/// The calls that only builds for tests have: a command and its argument.
#[cfg(pagemove_test)]
pub(crate) static OTHER_CALLS: spin::Once<fn(u32, usize) -> Result> = spin::Once::new();

/// Does what an ioctl asks for that is none of the interface.
pub(crate) fn other_call(command: u32, argument: usize) -> Result {
    #[cfg(pagemove_test)]
    if let Some(call) = OTHER_CALLS.get() {
        return call(command, argument);
    }
    let _ = (command, argument);
    Err(ENOTTY)
}
