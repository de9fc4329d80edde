// SPDX-License-Identifier: GPL-2.0
//! Calls that ask, and verdicts.

use pagemove_uapi::{
    Error, Info, Verdict, FINDING_AD_FIRST, FINDING_AD_SET, FINDING_VALID_CHANGE, FORMAT_VTDSS,
    INFO_SIZE_V0, IOC_INFO, PAGE_SIZE,
};

use super::files::drop_made;
use super::offers::filled;
use super::sweep::Path;
use super::world::World;
use crate::call::Call;

const ASKING: &[i32] = &[libc::EFAULT];

pub fn paths() -> Vec<Path<World>> {
    vec![
        Path::new("INFO", ASKING, |world| quietly(world.control().info())),
        Path::new("INFO, of a newer caller", ASKING, newer_info),
        Path::new("STATS", ASKING, |world| quietly(world.control().stats())),
        Path::new("REGION_LIST", ASKING, |world| {
            quietly(world.control().region_list())
        }),
        Path {
            prepare: filled,
            settle: drop_made,
            ..Path::new("REGION_QUERY", ASKING, query)
        },
        Path::new("DEVICE_LIST", ASKING, |world| {
            quietly(world.control().device_list())
        }),
        Path::new("SESSION_LIST", ASKING, |world| {
            quietly(world.control().session_list())
        }),
        Path::new("VERDICT_LIST", ASKING, |world| {
            quietly(world.control().verdict_list())
        }),
        Path::new("APERTURE_LIST", ASKING, |world| {
            quietly(world.control().aperture_list())
        }),
        Path::new("WINDOW_LIST", ASKING, |world| {
            quietly(world.control().window_list())
        }),
        Path {
            again: false,
            ..Path::new(
                "VERDICT_SET, a new one",
                &[libc::EFAULT, libc::ENOMEM, libc::EPERM],
                verdict,
            )
        },
        Path::new(
            "VERDICT_SET, the same again",
            &[libc::EFAULT, libc::EPERM],
            verdict,
        ),
    ]
}

pub fn quietly<T>(result: Result<T, Error>) -> Result<(), i32> {
    result.map(drop).map_err(|error| error.errno)
}

/// The ways of the list calls with a device open and pages moved: there is something to write.
pub fn of_something() -> Vec<Path<World>> {
    let path = |name, go| Path::new(name, ASKING, go);
    vec![
        path("REGION_LIST of something", |world| {
            quietly(world.control().region_list())
        }),
        path("DEVICE_LIST of something", |world| {
            quietly(world.control().device_list())
        }),
        path("SESSION_LIST of something", |world| {
            quietly(world.control().session_list())
        }),
        path("VERDICT_LIST of something", |world| {
            quietly(world.control().verdict_list())
        }),
        Path {
            prepare: super::windows::show_one,
            ..path("APERTURE_LIST of something", |world| {
                quietly(world.control().aperture_list())
            })
        },
    ]
}

/// INFO by a program that knows more members than the module.
fn newer_info(world: &mut World) -> Result<(), i32> {
    let call = Call::new("info", IOC_INFO, Info::default(), INFO_SIZE_V0);
    call.with_tail(&[0; 64]).issue(world.control())
}

fn query(world: &mut World) -> Result<(), i32> {
    let id = world.made.region.as_ref().ok_or(libc::EIO)?.id;
    quietly(world.control().region_details(id, 0, 2 * PAGE_SIZE as u64))
}

/// On an IOMMU that is not there.
fn verdict(world: &mut World) -> Result<(), i32> {
    let here = pagemove_uapi::cpu::Cpu::here().map_err(|_| libc::EIO)?;
    let mut iommu = [0; 16];
    iommu[..5].copy_from_slice(b"dmar9");
    quietly(world.control().verdict_set(&Verdict {
        iommu,
        format: FORMAT_VTDSS,
        cpu: here.signature,
        microcode: here.microcode,
        engines: 0,
        findings: FINDING_AD_SET | FINDING_AD_FIRST | FINDING_VALID_CHANGE,
        flags: 0,
        registers: 0,
    }))
}
