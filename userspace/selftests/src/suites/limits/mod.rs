// SPDX-License-Identifier: GPL-2.0
//! What a caller can make the kernel allocate, and what waits for a caller.

mod charges;
mod late;
mod locks;
mod payers;
mod processes;
mod total;

use std::process::ExitCode;

pub(crate) use charges::is_back;
pub use charges::{eat, EATER};

use crate::bench::Bench;
use pagemove_testkit::tap::{self, Case};

const PAGES: usize = 256;

pub fn main(_: &[String]) -> ExitCode {
    let mut bench = match Bench::open(PAGES) {
        Ok(bench) => Some(bench),
        Err(error) => return tap::fail_all(&error),
    };
    let mut cases = vec![
        Case::new(
            "pages are charged to the cgroup of who touches the region, not of who opened it",
            charges::of_the_mapper,
        ),
        Case::new(
            "a page that moves stays charged to it, whoever moves it",
            charges::of_a_move,
        ),
        Case::new("closing a region takes the charge back", charges::back),
        Case::new(
            "at the cgroup's limit a move has the room of a batch, or none; nothing is lost, nobody killed",
            charges::refused,
        ),
        Case::new(
            "with room for 6 MiB a call moves 16 MiB",
            charges::little_room,
        ),
        Case::new(
            "beyond it the VMM is killed, and nobody else",
            charges::killed,
        ),
    ];
    cases.extend(locks::cases());
    cases.extend([
        Case::new(
            "late: each half of a region is charged to the cgroup that it was touched in, and stays so when it moves",
            late::of_a_region,
        ),
        Case::new("late: of a memfd, the same", late::of_a_memfd),
        Case::new(
            "late: pages that are made by OFFER are charged to the cgroup that the VMM is in then",
            late::of_an_offer,
        ),
        Case::new(
            "late: the limit counts of the cgroup that a VMM has come into",
            late::limited,
        ),
        Case::new(
            "late: a cgroup that the VMM has left can be removed; its pages are the parent's, and move",
            late::removed_of_a_region,
        ),
        Case::new(
            "late: of a memfd, the same",
            late::removed_of_a_memfd,
        ),
        Case::new(
            "a page that is written to a process which has ended is paid by who writes it",
            payers::of_who_has_ended,
        ),
        Case::new(
            "OFFER is paid by the first process that maps the region, however often it is mapped, and by whom",
            payers::of_the_first,
        ),
        Case::new(
            "processes that mapped a region and have ended are forgotten",
            processes::ended,
        ),
        Case::new(
            "limit_mib: a page beyond the limit is SIGBUS, and others go on",
            total::of_faults,
        ),
        Case::new(
            "limit_mib: a move that would need more is refused with its reason",
            total::of_moves,
        ),
    ]);
    tap::run(&mut bench, cases)
}
