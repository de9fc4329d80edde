// SPDX-License-Identifier: GPL-2.0
//! Names and meanings of the errno values that `/dev/pagemove` uses.

/// An errno: its number, its name and what it means here.
struct Errno {
    number: i32,
    name: &'static str,
    help: &'static str,
}

/// The list in the header, in its order.
const ERRNOS: &[Errno] = &[
    Errno {
        number: libc::EINVAL,
        name: "EINVAL",
        help:
            "a value is out of range: addresses and lengths have to be multiples of 4096 that are \
               not zero and do not wrap, the node has to exist, be online and have memory, editor \
               and helper have to be two CPUs that are online, a verdict has to be of this machine \
               and to allow only engines that its findings support",
    },
    Errno {
        number: libc::E2BIG,
        name: "E2BIG",
        help:
            "this program asks for something that the loaded module is too old to know: load the \
               module of the same version",
    },
    Errno {
        number: libc::EOPNOTSUPP,
        name: "EOPNOTSUPP",
        help: "the module does not know this flag or engine, or can not use it here: see \
               `pagemove info` and `pagemove list` for what works",
    },
    Errno {
        number: libc::ENOTTY,
        name: "ENOTTY",
        help: "this is not pagemove's device file, or its module does not know this call: use \
               /dev/pagemove and load the module of the same version",
    },
    Errno {
        number: libc::EFAULT,
        name: "EFAULT",
        help:
            "a pointer given to the kernel can not be read or written: pass memory that is mapped \
               and writable",
    },
    Errno {
        number: libc::EPERM,
        name: "EPERM",
        help: "moving needs CAP_SYS_ADMIN and a kernel that is not locked down: run as root, with \
               kernel lockdown off",
    },
    Errno {
        number: libc::EACCES,
        name: "EACCES",
        help: "the file may not be opened by this user, or an experiment names a page that is not \
               of the caller's own region: run as root, and experiment with a region of your own",
    },
    Errno {
        number: libc::ENODEV,
        name: "ENODEV",
        help: "no PCI function has this address: `pagemove list` shows those that can be used",
    },
    Errno {
        number: libc::ENXIO,
        name: "ENXIO",
        help: "the PCI function is not bound to pagemove_vfio: write pagemove_vfio to its \
               driver_override in sysfs and bind it",
    },
    Errno {
        number: libc::ENOTCONN,
        name: "ENOTCONN",
        help: "no VMM has this device open, so it maps no memory: start the guest first",
    },
    Errno {
        number: libc::EXDEV,
        name: "EXDEV",
        help:
            "the memory is also mapped for a device that pagemove_vfio does not drive: bind every \
               device of the guest to pagemove_vfio",
    },
    Errno {
        number: libc::ENOENT,
        name: "ENOENT",
        help: "the IOVA is not mapped for this device, or no region has this id: `pagemove list` \
               shows regions, the VMM's memory map shows IOVAs",
    },
    Errno {
        number: libc::EADDRNOTAVAIL,
        name: "EADDRNOTAVAIL",
        help: "the IOVA maps memory that is not a page of a region: give the guest memory from \
               /dev/pagemove (memory-backend-file, mem-path=/dev/pagemove, share=on)",
    },
    Errno {
        number: libc::ESTALE,
        name: "ESTALE",
        help: "the page belongs to a region whose file is closed: keep the region open or mapped \
               while its pages are to be moved",
    },
    Errno {
        number: libc::EBUSY,
        name: "EBUSY",
        help: "another call is moving this page, the region was set up before, or a helper waits \
               for a device that does not answer: wait for the other call, open the device file \
               anew, or remove the device. A window has pages that are offered, or the peer's are \
               there: bring them home first",
    },
    Errno {
        number: libc::EAGAIN,
        name: "EAGAIN",
        help: "the mapping is being removed or the device is being closed: try again",
    },
    Errno {
        number: libc::ETIME,
        name: "ETIME",
        help: "the deadline passed before every page was moved: give more time or fewer pages",
    },
    Errno {
        number: libc::EINTR,
        name: "EINTR",
        help: "a signal arrived before every page was moved: run it again for the rest",
    },
    Errno {
        number: libc::ENOMEM,
        name: "ENOMEM",
        help: "there is no free memory at the destination node or for the call itself: free some, \
               or choose another node",
    },
    Errno {
        number: libc::ENOLINK,
        name: "ENOLINK",
        help:
            "the link to the peer is down, so that it can not be asked to leave the window: wait \
               until it is up",
    },
    Errno {
        number: libc::ETIMEDOUT,
        name: "ETIMEDOUT",
        help: "the peer does not answer: see whether pagemove_ntb is loaded and alive there",
    },
    Errno {
        number: libc::EREMOTEIO,
        name: "EREMOTEIO",
        help: "the peer can not use the window: the kernel's log there says why",
    },
    Errno {
        number: libc::ENOSPC,
        name: "ENOSPC",
        help: "the module has as many verdicts as it can keep: load it anew",
    },
    Errno {
        number: libc::EIO,
        name: "EIO",
        help:
            "verification found a lost write, and the engine is disabled for this IOMMU: stop the \
               guest and do not use pagemove on this machine",
    },
];

fn find(number: i32) -> Option<&'static Errno> {
    ERRNOS.iter().find(|errno| errno.number == number)
}

/// Returns the symbolic name, or `errno N` for one this ABI does not use.
pub fn name(number: i32) -> String {
    find(number).map_or_else(|| format!("errno {number}"), |errno| errno.name.to_string())
}

/// Returns what it means here and what would be right, if this ABI uses it.
pub fn help(number: i32) -> Option<&'static str> {
    find(number).map(|errno| errno.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the names that the list at the head of the header defines.
    fn documented() -> Vec<&'static str> {
        include_str!("../../../include/uapi/linux/pagemove.h")
            .lines()
            .skip_while(|line| !line.contains("What an errno means"))
            .take_while(|line| !line.contains("Whatever PAGEMOVE_IOC_MOVE"))
            .filter_map(|line| line.strip_prefix(" *  "))
            .filter_map(|line| {
                line.split_whitespace()
                    .next()
                    .filter(|_| !line.starts_with(' '))
            })
            .collect()
    }

    #[test]
    fn every_errno_of_the_header_has_a_text() {
        let documented = documented();
        assert!(
            documented.len() >= 20,
            "the list was not found: {documented:?}"
        );
        for name in documented {
            assert!(
                ERRNOS.iter().any(|errno| errno.name == name),
                "{name} has no text"
            );
        }
    }

    #[test]
    fn every_text_says_what_would_be_right() {
        for errno in ERRNOS {
            assert!(errno.help.contains(": "), "{}", errno.name);
            assert!(!errno.help.ends_with('.'), "{}", errno.name);
        }
    }
}
