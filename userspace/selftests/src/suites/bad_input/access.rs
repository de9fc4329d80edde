// SPDX-License-Identifier: GPL-2.0
//! Who may open the device file, and who may move.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure, Context};
use pagemove_uapi::{self as uapi, Control, DEVICE};

use super::{refused, skip, State};
use crate::bench::{self, Bench};
use pagemove_testkit::child::{drop_capability, status_of, CAP_SYS_ADMIN};
use pagemove_testkit::tap::{Case, Outcome, Pass};

const NOBODY: libc::uid_t = 65534;
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

pub fn cases() -> Vec<Case<State>> {
    vec![
        Case::new("access: the device file has mode 0600", |_: &mut State| {
            let mode = fs::metadata(DEVICE)
                .context("the device file")?
                .permissions()
                .mode()
                & 0o7777;
            ensure!(mode == 0o600, "its mode is {mode:o}");
            Ok(Pass)
        }),
        Case::new(
            "access: another user can not open it: EACCES",
            |_: &mut State| {
                let errno = status_of(|| {
                    // SAFETY: gives up rights of this child.
                    unsafe {
                        libc::setgroups(0, std::ptr::null());
                        if libc::setresgid(NOBODY, NOBODY, NOBODY) != 0
                            || libc::setresuid(NOBODY, NOBODY, NOBODY) != 0
                        {
                            return 255;
                        }
                    }
                    Control::open().err().map_or(0, |error| error.errno)
                })?;
                ensure!(errno == libc::EACCES, "{errno} instead of EACCES");
                Ok(Pass)
            },
        ),
        Case::new(
            "access: a move without CAP_SYS_ADMIN: EPERM",
            |state: &mut State| {
                let bench = state.bench()?;
                let request = bench.request(0, 1, bench.nodes.there);
                let errno = status_of(|| {
                    if drop_capability(CAP_SYS_ADMIN).is_err() {
                        return 255;
                    }
                    bench::errno_of(&bench.control.move_pages(&request, None))
                })?;
                ensure!(errno == libc::EPERM, "{errno} instead of EPERM");
                state.nothing_moved()?;
                Ok(Pass)
            },
        ),
    ]
}

/// Locks the kernel down, for good, and tries a move.
pub fn lockdown() -> Outcome {
    if !Path::new(LOCKDOWN).exists() {
        mount_securityfs();
    }
    if !Path::new(LOCKDOWN).exists() {
        return skip("this kernel has no lockdown");
    }
    let bench = Bench::open(4)?;
    for level in ["integrity", "confidentiality"] {
        if let Err(error) = fs::write(LOCKDOWN, level) {
            bail!("locking down to {level}: {error}");
        }
        let (report, results) = bench.move_pages(&bench.request(0, 1, bench.nodes.there));
        refused(&report, &results, (libc::EPERM, uapi::REASON_NONE))
            .with_context(|| level.to_string())?;
    }
    bench.region.map.check(0)?;
    drop(bench);
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    Ok(Pass)
}

fn mount_securityfs() {
    // SAFETY: C strings. If it fails the file is still not there, which is checked.
    unsafe {
        libc::mount(
            c"securityfs".as_ptr(),
            c"/sys/kernel/security".as_ptr(),
            c"securityfs".as_ptr(),
            0,
            std::ptr::null(),
        )
    };
}
