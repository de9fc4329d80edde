// SPDX-License-Identifier: GPL-2.0
//! Locks on files, which std has from Rust 1.89 on.

use nix::fcntl::{Flock, FlockArg};
use std::fs::File;

/// A locked file; dropping it unlocks.
pub type Lock = Flock<File>;

/// Locks `file` for one holder; waits for all others.
pub fn alone(file: File) -> nix::Result<Lock> {
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error)
}

/// Locks `file` for any number of holders; waits for who has it alone.
pub fn shared(file: File) -> nix::Result<Lock> {
    Flock::lock(file, FlockArg::LockShared).map_err(|(_, error)| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_or_several() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::open(file.path()).unwrap();
        let refused =
            |arg: FlockArg| matches!(Flock::lock(open(), arg), Err((_, nix::Error::EWOULDBLOCK)));
        let first = shared(open()).unwrap();
        let second = shared(open()).unwrap();
        assert!(refused(FlockArg::LockExclusiveNonblock));
        drop((first, second));
        let only = alone(open()).unwrap();
        assert!(refused(FlockArg::LockSharedNonblock));
        drop(only);
        assert!(!refused(FlockArg::LockSharedNonblock));
    }
}
