// SPDX-License-Identifier: GPL-2.0
//! What a call to the kernel failed with.

use std::fmt;

use crate::{abi, errno, text};

/// Which call it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Open,
    Info,
    RegionSetup,
    RegionList,
    RegionQuery,
    DeviceList,
    Move,
    Stats,
    SessionList,
    Experiment,
    VerdictSet,
    VerdictList,
    ApertureList,
    Offer,
    Arrive,
    Retract,
    Wanted,
    Used,
    Maps,
    WindowList,
    WindowSet,
    Lift,
    Events,
}

impl Call {
    #[cfg(test)]
    pub(crate) const ALL: [Call; 23] = [
        Call::Open,
        Call::Info,
        Call::RegionSetup,
        Call::RegionList,
        Call::RegionQuery,
        Call::DeviceList,
        Call::Move,
        Call::Stats,
        Call::SessionList,
        Call::Experiment,
        Call::VerdictSet,
        Call::VerdictList,
        Call::ApertureList,
        Call::Offer,
        Call::Arrive,
        Call::Retract,
        Call::Wanted,
        Call::Used,
        Call::Maps,
        Call::WindowList,
        Call::WindowSet,
        Call::Lift,
        Call::Events,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Call::Open => "open",
            Call::Info => "info",
            Call::RegionSetup => "region setup",
            Call::RegionList => "region list",
            Call::RegionQuery => "region query",
            Call::DeviceList => "device list",
            Call::Move => "move",
            Call::Stats => "stats",
            Call::SessionList => "session list",
            Call::Experiment => "experiment",
            Call::VerdictSet => "verdict set",
            Call::VerdictList => "verdict list",
            Call::ApertureList => "aperture list",
            Call::Offer => "offer",
            Call::Arrive => "arrive",
            Call::Retract => "retract",
            Call::Wanted => "wanted",
            Call::Used => "used",
            Call::Maps => "maps",
            Call::WindowList => "window list",
            Call::WindowSet => "window set",
            Call::Lift => "lift",
            Call::Events => "events",
        }
    }
}

/// The errno of a call and, where the kernel gave one, the reason beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    pub call: Call,
    pub errno: i32,
    /// PAGEMOVE_REASON_*; NONE where the call has no such member.
    pub reason: u32,
    /// Of the page that it is about; none where it is about the call as a whole.
    pub iova: Option<u64>,
}

impl Error {
    pub fn new(call: Call, errno: i32) -> Self {
        Self::with_reason(call, errno, abi::REASON_NONE)
    }

    pub fn with_reason(call: Call, errno: i32, reason: u32) -> Self {
        Self {
            call,
            errno,
            reason,
            iova: None,
        }
    }

    /// Says which page it is about, where it is about one.
    pub fn at(self, iova: Option<u64>) -> Self {
        Self { iova, ..self }
    }

    /// Returns whether the reason is one of a page, and not of the call or who made it.
    pub(crate) fn is_of_a_page(&self) -> bool {
        !matches!(
            self.reason,
            abi::REASON_NONE
                | abi::REASON_SIGNAL
                | abi::REASON_DEADLINE
                | abi::REASON_NODE
                | abi::REASON_CPUS
                | abi::REASON_NO_APERTURE
        )
    }

    /// Makes an error from that of the system call just made.
    pub fn last(call: Call) -> Self {
        let errno = std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO);
        Self::new(call, errno)
    }

    /// Returns whether it says that pagemove can not work here at all, as opposed to a
    /// call that was wrong: the module is not loaded, or refuses this machine.
    pub fn is_unsupported(&self) -> bool {
        match self.call {
            Call::Open => matches!(self.errno, libc::ENOENT | libc::ENODEV | libc::ENXIO),
            _ => self.errno == libc::EOPNOTSUPP,
        }
    }

    /// Returns whether a move by `rtm` was given up because the helper did not get its CPU in
    /// time, as happens on a busy machine. Nothing is wrong with the call.
    pub fn is_absence(&self) -> bool {
        (self.errno, self.reason) == (libc::EBUSY, abi::REASON_CPUS)
    }

    /// Returns whether the call may succeed if it is made again soon, with nothing done about
    /// it: others were in its way. Whoever makes it again has to end some time.
    pub fn is_transient(&self) -> bool {
        self.is_absence()
            || (self.errno, self.reason) == (libc::EBUSY, abi::REASON_BUSY)
            || (self.errno, self.reason) == (libc::EAGAIN, abi::REASON_UNMAPPING)
    }

    /// Returns one sentence: what is wrong, and what would be right.
    pub fn message(&self) -> String {
        if self.call == Call::Open && self.is_unsupported() {
            return "the module pagemove is not loaded: load it with `insmod pagemove.ko` first"
                .to_string();
        }
        if self.is_absence() {
            return "rtm was given up, for its helper did not get its CPU in time, again and again: \
                    try again, name other CPUs, or let the engine auto choose"
                .to_string();
        }
        if let Some(reason) = text::reason(self.reason).filter(|_| self.reason != abi::REASON_NONE)
        {
            return reason.help.to_string();
        }
        match errno::help(self.call, self.errno) {
            Some(help) => help.to_string(),
            None => std::io::Error::from_raw_os_error(self.errno).to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.call.name())?;
        if let Some(iova) = self.iova {
            write!(f, "IOVA {iova:#x}: ")?;
        }
        write!(f, "{} ({})", self.message(), errno::name(self.errno))
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_speaks_before_the_errno() {
        let error = Error::with_reason(Call::Move, libc::EOPNOTSUPP, abi::REASON_LARGE_LEAF);
        assert!(error.to_string().contains("disable_hugepages=1"), "{error}");
        assert!(error.to_string().ends_with("(EOPNOTSUPP)"), "{error}");
    }

    #[test]
    fn a_reason_unknown_to_this_program_leaves_the_errno() {
        let error = Error::with_reason(Call::Move, libc::ESTALE, 4711);
        assert!(
            error.to_string().contains("whose file is closed"),
            "{error}"
        );
    }

    #[test]
    fn the_page_is_named_where_there_is_one() {
        let error = Error::with_reason(Call::Move, libc::ENOENT, abi::REASON_NOT_MAPPED);
        assert!(error
            .to_string()
            .starts_with("move: the device has no mapping"));
        let error = error.at(Some(0xa0000)).to_string();
        assert!(
            error.starts_with("move: IOVA 0xa0000: the device"),
            "{error}"
        );
    }

    #[test]
    fn who_only_opens_hears_of_no_experiment() {
        let error = Error::new(Call::Open, libc::EACCES);
        assert!(!error.to_string().contains("experiment"), "{error}");
    }

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        let of = |errno, reason| Error::with_reason(Call::Move, errno, reason);
        for (errno, reason, is_transient, is_absence) in [
            (libc::EBUSY, abi::REASON_CPUS, true, true),
            (libc::EBUSY, abi::REASON_BUSY, true, false),
            (libc::EAGAIN, abi::REASON_UNMAPPING, true, false),
            // CPUs that are offline, or one CPU only.
            (libc::EINVAL, abi::REASON_CPUS, false, false),
            (libc::EOPNOTSUPP, abi::REASON_CPUS, false, false),
            (libc::EBUSY, abi::REASON_STUCK, false, false),
            (libc::EBUSY, abi::REASON_OFFERED, false, false),
            (libc::EBUSY, abi::REASON_LOST_WRITE, false, false),
        ] {
            let error = of(errno, reason);
            assert_eq!(error.is_transient(), is_transient, "{error}");
            assert_eq!(error.is_absence(), is_absence, "{error}");
        }
        let absent = of(libc::EBUSY, abi::REASON_CPUS).message();
        assert!(absent.contains("try again"), "{absent}");
        let refused = of(libc::EINVAL, abi::REASON_CPUS).message();
        assert!(refused.contains("online"), "{refused}");
    }

    #[test]
    fn a_missing_file_means_a_missing_module() {
        let error = Error::new(Call::Open, libc::ENOENT);
        assert!(error.is_unsupported());
        assert!(error.to_string().contains("insmod"), "{error}");
        assert!(!Error::new(Call::Open, libc::EACCES).is_unsupported());
        assert!(!Error::new(Call::Move, libc::ENOENT).is_unsupported());
    }
}
