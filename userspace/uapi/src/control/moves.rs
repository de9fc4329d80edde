// SPDX-License-Identifier: GPL-2.0
//! Moves: the request, and the report of what was done.

use super::Control;
use crate::abi::*;
use crate::{Call, Error, PciAddress};

/// What [`Control::move_pages`] is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveRequest {
    pub device: PciAddress,
    pub iova: u64,
    /// Bytes.
    pub length: u64,
    /// Destination NUMA node.
    pub node: i32,
    pub engine: u32,
    pub flags: u32,
    /// Further attempts at an aborted page.
    pub retries: u32,
    /// From the start of the call; 0: none.
    pub deadline_ns: u64,
    /// CPUs of the engine `rtm`; none: the module chooses.
    pub editor_cpu: Option<u32>,
    pub helper_cpu: Option<u32>,
}

/// What a move did. Exact whether or not the call failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoveReport {
    pub pages_moved: u64,
    /// Pages with a result, from the first.
    pub pages_done: u64,
    /// Pages that were at the node before.
    pub pages_there: u64,
    /// Of the first attempts; ENGINE_AUTO: none was made.
    pub engine_used: u32,
    pub aborts: [u64; ABORT_SLOTS],
    /// What ended the call early, if anything did.
    pub error: Option<Error>,
}

impl Control {
    /// Moves pages. With `results`, that vector is replaced by one result for
    /// each page of the request.
    pub fn move_pages(
        &self,
        request: &MoveRequest,
        results: Option<&mut Vec<PageResult>>,
    ) -> MoveReport {
        self.start(request, &Move::default(), results)
    }

    /// Moves pages to an aperture, page `n` of the request to the offset `targets[n]`; the
    /// request's node says nothing.
    pub fn move_pages_out(
        &self,
        request: &MoveRequest,
        aperture: u32,
        targets: &[u64],
        results: Option<&mut Vec<PageResult>>,
    ) -> MoveReport {
        match out(request, aperture, targets) {
            Ok(to) => self.start(request, &to, results),
            Err(error) => failed(error),
        }
    }

    /// Moves pages that have to be those of a region from `offset` on: to an aperture, as
    /// [`Control::move_pages_out`] does, or to the request's node.
    pub fn move_region_pages(
        &self,
        request: &MoveRequest,
        (region, offset): (u32, u64),
        aperture: Option<(u32, &[u64])>,
        results: Option<&mut Vec<PageResult>>,
    ) -> MoveReport {
        let to = aperture.map_or(Ok(Move::default()), |(id, targets)| {
            out(request, id, targets)
        });
        let named = |to| Move {
            region: region.saturating_add(1),
            offset,
            ..to
        };
        match to {
            Ok(to) => self.start(request, &named(to), results),
            Err(error) => failed(error),
        }
    }

    /// Begins a call. `to`: an aperture or none, a region or none.
    fn start(
        &self,
        request: &MoveRequest,
        to: &Move,
        results: Option<&mut Vec<PageResult>>,
    ) -> MoveReport {
        let pages = (request.length / PAGE_SIZE as u64).min(MAX_MOVE_PAGES as u64 + 1) as usize;
        let mut results = results;
        let buffer = results.as_deref_mut().map_or(0, |results| {
            results.clear();
            results.resize(
                pages,
                PageResult {
                    abort: ABORT_NONE,
                    ..Default::default()
                },
            );
            results.as_mut_ptr() as u64
        });
        let mut call = Move {
            aperture: to.aperture,
            targets: to.targets,
            region: to.region,
            offset: to.offset,
            ..move_argument(request, buffer)
        };
        // SAFETY: the results have one element for each page of the request, or
        // more than the kernel accepts in one call, and outlive it. So have the targets.
        let result = unsafe { self.call(Call::Move, IOC_MOVE, &mut call) };
        let results = results.as_deref().map_or(&[][..], Vec::as_slice);
        let refused = refused_page(request.iova, call.pages_done, results);
        MoveReport {
            pages_moved: call.pages_moved,
            pages_done: call.pages_done,
            pages_there: call.pages_there,
            engine_used: call.engine_used,
            aborts: call.aborts,
            error: result.err().map(|error| Error {
                reason: call.reason,
                iova: refused,
                ..error
            }),
        }
    }
}

/// Returns the IOVA of the page that ended a call, which is the last one with a result; none where
/// it ended for another cause than a page.
fn refused_page(iova: u64, pages_done: u64, results: &[PageResult]) -> Option<u64> {
    let last = pages_done.checked_sub(1)?;
    let result = results.get(usize::try_from(last).ok()?)?;
    matches!(result.outcome, PAGE_REFUSED | PAGE_LOST_WRITE)
        .then(|| iova.saturating_add(last.saturating_mul(PAGE_SIZE as u64)))
}

/// Returns the destination, if there is one for each page.
fn out(request: &MoveRequest, aperture: u32, targets: &[u64]) -> Result<Move, Error> {
    if (targets.len() as u64).saturating_mul(PAGE_SIZE as u64) < request.length {
        return Err(Error::new(Call::Move, libc::EINVAL));
    }
    Ok(Move {
        aperture: aperture.saturating_add(1),
        targets: targets.as_ptr() as u64,
        ..Default::default()
    })
}

/// Returns the report of a call that was not made.
fn failed(error: Error) -> MoveReport {
    MoveReport {
        error: Some(error),
        ..Default::default()
    }
}

fn move_argument(request: &MoveRequest, results: u64) -> Move {
    Move {
        size: size_of::<Move>() as u32,
        flags: request.flags,
        segment: request.device.segment,
        bus: request.device.bus,
        devfn: request.device.devfn,
        engine: request.engine,
        iova: request.iova,
        length: request.length,
        node: request.node,
        retries: request.retries,
        deadline_ns: request.deadline_ns,
        results,
        result_size: size_of::<PageResult>() as u32,
        editor_cpu: cpu_argument(request.editor_cpu),
        helper_cpu: cpu_argument(request.helper_cpu),
        ..Default::default()
    }
}

/// Returns a CPU for the module: 0 leaves the choice to it, so that CPU 0 is 1. A number that does
/// not fit is of no CPU either way.
fn cpu_argument(cpu: Option<u32>) -> u32 {
    cpu.map_or(0, |cpu| cpu.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(editor_cpu: Option<u32>, helper_cpu: Option<u32>) -> MoveRequest {
        MoveRequest {
            device: PciAddress::new(1, 2, 3, 4),
            iova: 0x10000,
            length: 0x2000,
            node: 1,
            engine: ENGINE_RTM,
            flags: MOVE_WATCH,
            retries: 7,
            deadline_ns: 8,
            editor_cpu,
            helper_cpu,
        }
    }

    #[test]
    fn cpu_0_is_not_any_cpu() {
        let argument = move_argument(&request(Some(0), Some(5)), 0);
        assert_eq!((argument.editor_cpu, argument.helper_cpu), (1, 6));
        let argument = move_argument(&request(None, Some(u32::MAX)), 0);
        assert_eq!((argument.editor_cpu, argument.helper_cpu), (0, u32::MAX));
    }

    #[test]
    fn the_page_that_ended_a_call_is_the_last_with_a_result() {
        let result = |outcome| PageResult {
            outcome,
            ..Default::default()
        };
        let results = [
            result(PAGE_MOVED),
            result(PAGE_REFUSED),
            result(PAGE_NOT_TRIED),
        ];
        assert_eq!(refused_page(0x9f000, 2, &results), Some(0xa0000));
        // A signal or a deadline is of no page.
        assert_eq!(refused_page(0x9f000, 1, &results), None);
        assert_eq!(refused_page(0x9f000, 0, &results), None);
        assert_eq!(refused_page(0x9f000, 7, &results), None);
    }

    #[test]
    fn the_kernel_is_told_how_long_a_result_is() {
        let argument = move_argument(&request(None, None), 0xf000);
        assert_eq!(argument.size as usize, MOVE_SIZE_V0 + 40);
        assert_eq!(argument.result_size as usize, size_of::<PageResult>());
        assert_eq!(
            (argument.results, argument.engine, argument.flags),
            (0xf000, ENGINE_RTM, MOVE_WATCH)
        );
        assert_eq!(
            (argument.segment, argument.bus, argument.devfn),
            (1, 2, 3 << 3 | 4)
        );
    }
}
