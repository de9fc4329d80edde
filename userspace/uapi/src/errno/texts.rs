// SPDX-License-Identifier: GPL-2.0
//! What an errno of a call means, and what would be right. Where the kernel gives a reason beside
//! the errno, that says more ([`crate::text::REASONS`]).

use crate::Call;
use libc as c;

/// Says what a call needs that EPERM denies it.
macro_rules! rights {
    ($what:literal) => {
        concat!(
            $what,
            " needs CAP_SYS_ADMIN and a kernel that is not locked down: run as root, with kernel \
             lockdown off"
        )
    };
}

/// Returns what it means for this call and what would be right; none where this ABI does not use it.
pub fn help(call: Call, number: i32) -> Option<&'static str> {
    let own = match call {
        Call::Open => open(number),
        Call::Info | Call::Stats => None,
        Call::RegionSetup => region_setup(number),
        Call::RegionQuery => region_query(number),
        Call::Move => moves(number).or_else(|| device(number)),
        Call::Experiment => experiment(number).or_else(|| device(number)),
        Call::Used => used(number).or_else(|| device(number)),
        Call::Maps => maps(number),
        Call::VerdictSet => verdict_set(number),
        Call::Offer => offer(number).or_else(|| offered(number)),
        Call::Arrive | Call::Retract => offered(number),
        Call::Wanted => wanted(number).or_else(|| offered(number)),
        Call::WindowSet => window_set(number),
        Call::Lift => lift(number),
        Call::Events => events(number),
        Call::RegionList
        | Call::DeviceList
        | Call::SessionList
        | Call::VerdictList
        | Call::ApertureList
        | Call::WindowList => None,
    };
    own.or_else(|| any(number))
}

/// Of a call that has no words of its own for it.
fn any(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EINVAL => {
            "the loaded module takes a value of this call for impossible: load the module of the \
             same version as this program"
        }
        c::E2BIG => {
            "this program asks for something that the loaded module is too old to know: load the \
             module of the same version"
        }
        c::EOPNOTSUPP => {
            "the loaded module does not know a flag of this call: load the module of the same version"
        }
        c::ENOTTY => {
            "this is not pagemove's device file, or its module does not know this call: use \
             /dev/pagemove and load the module of the same version"
        }
        c::EFAULT => {
            "a pointer given to the kernel can not be read or written: pass memory that is mapped \
             and writable"
        }
        c::ENOMEM => "there is no memory for the call itself: free some",
        _ => return None,
    })
}

/// Of the device file. A missing module has a sentence of its own.
fn open(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EACCES | c::EPERM => "this user may not open the device file: run as root",
        _ => return None,
    })
}

/// Of calls that name a device and addresses of it.
fn device(number: i32) -> Option<&'static str> {
    Some(match number {
        c::ENODEV => "no PCI function has this address: `pagemove list` shows those that can be used",
        c::ENXIO => {
            "the PCI function is not bound to pagemove_vfio: write pagemove_vfio to its \
             driver_override in sysfs and bind it"
        }
        c::ENOTCONN => "no VMM has this device open, so it maps no memory: start the guest first",
        c::EXDEV => {
            "the memory is also mapped for a device that pagemove_vfio does not drive: bind every \
             device of the guest to pagemove_vfio"
        }
        c::ENOENT => {
            "the device has no mapping at this IOVA: give one that the VMM has mapped; what it maps \
             of the guest's memory begins again behind each hole"
        }
        c::EADDRNOTAVAIL => {
            "the IOVA maps memory that can not be moved: give the guest shared memory in pages of \
             4096 bytes (memory-backend-memfd, share=on) or a region of /dev/pagemove"
        }
        c::ESTALE => {
            "the page belongs to a region whose file is closed: keep the region open or mapped \
             while its pages are to be used"
        }
        c::EBUSY => "another call is moving this page, or something else uses it: wait for it to end",
        c::EAGAIN => "the mapping is being removed or the device is being closed: try again",
        _ => return None,
    })
}

fn moves(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EINVAL => {
            "a value is out of range: addresses and lengths have to be multiples of 4096 that are \
             not zero and do not wrap, the node has to exist, be online and have memory, editor and \
             helper have to be two CPUs that are online, the aperture has to exist and have a page \
             at each offset"
        }
        c::EOPNOTSUPP => {
            "the module does not know this flag or engine, or can not use it here: see `pagemove \
             info` and `pagemove list` for what works"
        }
        c::EPERM => rights!("moving"),
        c::EACCES => {
            "the page is not of the caller's own region, which moving it in this way is for: map a \
             region of the same open file"
        }
        c::EBUSY => {
            "another call is moving this page, the page is offered, another page is at this offset \
             of the aperture, or a helper waits for a device that does not answer: wait for the \
             other call, choose a free offset, or remove the device"
        }
        c::ETIME => {
            "the deadline passed before every page was moved: give more time or fewer pages"
        }
        c::EINTR => "a signal arrived before every page was moved: run it again for the rest",
        c::ENOMEM => {
            "there is no free memory at the destination node or for the call itself: free some, or \
             choose another node"
        }
        c::EIO => {
            "verification found a lost write, and the engine is disabled for this IOMMU: stop the \
             guest and do not use pagemove on this machine"
        }
        _ => return None,
    })
}

fn experiment(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EINVAL => {
            "a value is out of range: the IOVA has to be a multiple of 4096 (of 2 MiB where a size is \
             changed), and the time no longer than this kind of experiment takes"
        }
        c::EOPNOTSUPP => {
            "the module does not know this kind of experiment, or can not try it here: see \
             `pagemove info` and `pagemove list` for what works"
        }
        c::EPERM => rights!("an experiment"),
        c::EACCES => {
            "an experiment names a page that is not of the caller's own region: experiment with a \
             region of your own"
        }
        c::EINTR => "a signal arrived before the experiment was done: run it again",
        c::EIO => {
            "verification found a lost write there, so that no size is changed: stop the guest and do \
             not use pagemove on this machine"
        }
        _ => return None,
    })
}

fn used(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EINVAL => {
            "a value is out of range: addresses and lengths have to be multiples of 4096 that are \
             not zero and do not wrap"
        }
        c::EOPNOTSUPP => {
            "the tables of this device tell nobody which pages it has used: take the pages in order"
        }
        c::EPERM => rights!("asking which pages a device has used"),
        c::EINTR => "a signal arrived before every page was looked at: run it again",
        _ => return None,
    })
}

fn region_setup(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EINVAL => {
            "a value is out of range: the length has to be a multiple of 4096, not zero and 64 GiB \
             at most, the node has to exist, be online and have memory"
        }
        c::EBUSY => "this open file has a region already: open the device file anew",
        c::ENOMEM => "there is no memory for the tables of a region: free some",
        _ => return None,
    })
}

fn region_query(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EINVAL => {
            "the range is not one of the region: give an offset and a length that are multiples of \
             4096 and end within it"
        }
        c::ENOENT => "no region has this id: `pagemove list` shows those that there are",
        _ => return None,
    })
}

fn maps(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EOPNOTSUPP => {
            "the tables of the device's IOMMU are of a format that the module can not read: see \
             `pagemove list`"
        }
        c::EPERM => rights!("asking what a device maps"),
        c::EINTR => "a signal arrived before all was told: run it again",
        c::ENODEV | c::ENXIO | c::ENOTCONN => return device(number),
        _ => return None,
    })
}

fn lift(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EPERM => rights!("using a device again"),
        c::ENODEV | c::ENXIO => return device(number),
        _ => return None,
    })
}

fn events(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EINVAL => {
            "no event has this number yet: begin with 0, or with what the call before has told"
        }
        c::EPERM => "watching what others do needs CAP_SYS_ADMIN: run as root",
        _ => return None,
    })
}

fn verdict_set(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EINVAL => {
            "the verdict contradicts itself or is of another CPU or microcode: qualify this machine \
             anew"
        }
        c::EPERM => rights!("setting a verdict"),
        c::ENOSPC => "the module has as many verdicts as it can keep: load it anew",
        c::ENOMEM => "there is no memory for the verdict: free some",
        _ => return None,
    })
}

/// Of calls about pages of a region that are offered to another host.
fn offered(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EINVAL => {
            "the range is not one of the region: give an offset and a length that are multiples of \
             4096 and end within it"
        }
        c::ENOENT => "no region has this id: `pagemove list` shows those that there are",
        c::EPERM => rights!("offering pages to another host"),
        _ => return None,
    })
}

fn offer(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EOPNOTSUPP => {
            "the module does not know this flag, or the pages can not be offered here: load the \
             module of the same version"
        }
        c::ESTALE => "the region is closed: keep its file open or mapped while pages are offered",
        c::EADDRNOTAVAIL => {
            "a page is in an aperture, or in memory that the window does not show: bring it home, or \
             offer pages that nobody has touched yet"
        }
        c::EBUSY => "another call has this page: wait for it to end",
        c::EINTR => "a signal arrived before every page was offered: run it again",
        c::ENOMEM => {
            "there is no free memory for the pages that are offered: free some, or let the window \
             show more"
        }
        _ => return None,
    })
}

fn wanted(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EINTR => "a signal arrived before a page was wanted: ask again",
        _ => return None,
    })
}

fn window_set(number: i32) -> Option<&'static str> {
    Some(match number {
        c::EINVAL => {
            "a value is out of range: the window has to exist, the length has to be a power of two \
             that it can show, or zero, the node has to exist, be online and have memory"
        }
        c::EPERM => rights!("setting a window"),
        c::EBUSY => {
            "the window has pages that are offered, or the peer's are there: bring them home first"
        }
        c::ENOMEM => {
            "the node has no free memory in one piece for the window: free some, or show less of it"
        }
        c::ENOLINK => {
            "the link to the peer is down, so that it can not be asked to leave the window: wait \
             until it is up"
        }
        c::ETIMEDOUT => {
            "the peer does not answer: see whether pagemove_ntb is loaded and alive there"
        }
        c::EREMOTEIO => "the peer can not use the window: the kernel's log there says why",
        _ => return None,
    })
}
