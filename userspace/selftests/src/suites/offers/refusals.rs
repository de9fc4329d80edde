// SPDX-License-Identifier: GPL-2.0
//! Calls about offers with values that no call can have.

use std::os::fd::AsFd;

use anyhow::{ensure, Result};
use pagemove_uapi::{
    raw_ioctl, Offer, Offered, Wanted, IOC_ARRIVE, IOC_OFFER, IOC_RETRACT, IOC_WANTED, MAX_ENTRIES,
};

use super::{case, flags_of, region, State, PAGE};
use crate::bench::expect_errno;
use crate::region::Region;
use pagemove_testkit::tap::Case;

pub fn cases() -> Vec<Case<State>> {
    vec![
        case(
            "OFFER: what is wrong is refused, and nothing is offered",
            offers,
        ),
        case("ARRIVE and RETRACT: what is wrong is refused", ends),
        case("WANTED: what is wrong is refused", wants),
    ]
}

fn raw<T>(region: &Region, request: u32, mut argument: T) -> Result<(), i32> {
    // SAFETY: the structure is as long as it says; what it points to is room for a page's
    // entry, or has to be refused.
    unsafe {
        raw_ioctl(
            region.control.file().as_fd(),
            request,
            (&raw mut argument).cast(),
        )
    }
}

fn offers(_: &mut State) -> Result<()> {
    let region = region(4)?;
    let mut target = [0u64; 4];
    let good = Offer {
        size: size_of::<Offer>() as u32,
        region: region.id,
        length: PAGE,
        targets: target.as_mut_ptr() as u64,
        ..Default::default()
    };
    let wrong: [(&str, i32, Offer); 11] = [
        ("a flag", libc::EOPNOTSUPP, Offer { flags: 2, ..good }),
        (
            "no such region",
            libc::ENOENT,
            Offer {
                region: 999_999,
                ..good
            },
        ),
        ("a window", libc::EINVAL, Offer { window: 1, ..good }),
        (
            "an offset between pages",
            libc::EINVAL,
            Offer { offset: 8, ..good },
        ),
        (
            "half a page",
            libc::EINVAL,
            Offer {
                length: 2048,
                ..good
            },
        ),
        ("no page", libc::EINVAL, Offer { length: 0, ..good }),
        (
            "past the end",
            libc::EINVAL,
            Offer {
                offset: 3 * PAGE,
                length: 2 * PAGE,
                ..good
            },
        ),
        (
            "an end that wraps",
            libc::EINVAL,
            Offer {
                offset: PAGE.wrapping_neg(),
                length: 2 * PAGE,
                ..good
            },
        ),
        (
            "too many",
            libc::EINVAL,
            Offer {
                length: (u64::from(MAX_ENTRIES) + 1) * PAGE,
                ..good
            },
        ),
        (
            "a reserved member",
            libc::EINVAL,
            Offer {
                reserved: 1,
                ..good
            },
        ),
        (
            "nowhere to write",
            libc::EFAULT,
            Offer { targets: 8, ..good },
        ),
    ];
    for (name, errno, offer) in wrong {
        expect_errno(name, raw(&region, IOC_OFFER, offer), errno)?;
    }
    for page in 0..4 {
        ensure!(
            flags_of(&region.control, region.id, page)? == 0,
            "page {page} was offered"
        );
    }
    Ok(())
}

fn ends(_: &mut State) -> Result<()> {
    let region = region(4)?;
    let good = Offered {
        size: size_of::<Offered>() as u32,
        region: region.id,
        length: PAGE,
        ..Default::default()
    };
    let wrong = [
        ("a flag", libc::EOPNOTSUPP, Offered { flags: 1, ..good }),
        (
            "no such region",
            libc::ENOENT,
            Offered {
                region: 999_999,
                ..good
            },
        ),
        (
            "a reserved member",
            libc::EINVAL,
            Offered {
                reserved: 1,
                ..good
            },
        ),
        (
            "an offset between pages",
            libc::EINVAL,
            Offered { offset: 8, ..good },
        ),
        ("no page", libc::EINVAL, Offered { length: 0, ..good }),
        (
            "past the end",
            libc::EINVAL,
            Offered {
                length: 5 * PAGE,
                ..good
            },
        ),
    ];
    for request in [IOC_ARRIVE, IOC_RETRACT] {
        for (name, errno, offered) in wrong {
            expect_errno(name, raw(&region, request, offered), errno)?;
        }
    }
    Ok(())
}

fn wants(_: &mut State) -> Result<()> {
    let region = region(4)?;
    let good = Wanted {
        size: size_of::<Wanted>() as u32,
        region: region.id,
        ..Default::default()
    };
    let wrong = [
        ("a flag", libc::EOPNOTSUPP, Wanted { flags: 1, ..good }),
        (
            "no such region",
            libc::ENOENT,
            Wanted {
                region: 999_999,
                ..good
            },
        ),
        (
            "a reserved member",
            libc::EINVAL,
            Wanted {
                reserved: 1,
                ..good
            },
        ),
        (
            "too many",
            libc::EINVAL,
            Wanted {
                capacity: MAX_ENTRIES + 1,
                ..good
            },
        ),
    ];
    for (name, errno, wanted) in wrong {
        expect_errno(name, raw(&region, IOC_WANTED, wanted), errno)?;
    }
    Ok(())
}
