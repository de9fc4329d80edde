// SPDX-License-Identifier: GPL-2.0
//! Two VMs at a time, joined by a network. A device of the first may show the RAM of the
//! second.

use super::fate::Fate;
use super::profile::Profile;
use super::run::{self, Beside, Outcome, Vm};
use anyhow::{ensure, Context, Result};
use std::path::{Path, PathBuf};
use std::thread;

/// Where the second VM's logs are, below those of the first.
pub const PEER: &str = "peer";

/// The end of the network that a VM has.
#[derive(Clone, Debug)]
pub enum Socket {
    Listen(PathBuf),
    Connect(PathBuf),
}

/// Checks that the first can run beside the second.
pub fn check(first: &Profile, second: &Profile) -> Result<()> {
    ensure!(
        second.peer_ram.is_empty(),
        "only the first of a pair can show its peer's RAM"
    );
    ensure!(
        first.peer_ram.is_empty() || second.shared_ram,
        "the first shows the second's RAM, which has no shared_ram"
    );
    match (&first.link, &second.link) {
        (Some(one), Some(other)) => ensure!(
            one.address != other.address,
            "both have the address {}",
            one.address
        ),
        (None, None) => {}
        _ => anyhow::bail!("only one of the pair has a link"),
    }
    Ok(())
}

/// Runs both to their ends. When one has failed the other is ended, too.
pub fn run(first: &Vm, second: &Vm, logs: &Path) -> Result<[Outcome; 2]> {
    check(first.profile, second.profile)?;
    let logs = run::fresh(logs)?;
    let peer_logs = run::fresh(&logs.join(PEER))?;
    // In the directory for temporary files: the path of a socket has to be short.
    let dir = tempfile::Builder::new()
        .prefix("pagemove-pair-")
        .tempdir()?;
    let socket = dir.path().join("link");
    let (listen, connect) = (Socket::Listen(socket.clone()), Socket::Connect(socket));
    let (ram, peer_ram) = (run::ram(first.profile)?, run::ram(second.profile)?);
    let fate = &Fate::default();
    let one = Beside {
        ram: ram.as_ref(),
        peer_ram: peer_ram.as_ref(),
        link: Some(&connect),
        fate: Some(fate),
    };
    let other = Beside {
        ram: peer_ram.as_ref(),
        peer_ram: None,
        link: Some(&listen),
        fate: Some(fate),
    };
    let (one, other) = thread::scope(|scope| {
        let peer = scope.spawn(|| noted(fate, run::boot(second, &other, &peer_logs)));
        let one = noted(fate, run::boot(first, &one, &logs));
        (one, peer.join().expect("the thread of the peer panicked"))
    });
    match (one, other) {
        (Err(one), Err(other)) => Err(one.context(format!("the peer: {other:#}; the first host"))),
        (one, other) => Ok([one.context("the first host")?, other.context("the peer")?]),
    }
}

fn noted(fate: &Fate, result: Result<Outcome>) -> Result<Outcome> {
    fate.note(&result);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::profile::Link;

    fn with_link(address: &str) -> Profile {
        let link = Some(Link {
            id: "l0".into(),
            address: address.into(),
        });
        Profile {
            link,
            ..Profile::bare("x")
        }
    }

    #[test]
    fn both_have_a_link_or_none_has() {
        let (one, other) = (with_link("10.0.0.1/24"), with_link("10.0.0.2/24"));
        check(&one, &other).unwrap();
        check(&Profile::bare("x"), &Profile::bare("y")).unwrap();
        assert!(check(&one, &one).is_err());
        assert!(check(&one, &Profile::bare("y")).is_err());
        assert!(check(&Profile::bare("x"), &other).is_err());
    }

    #[test]
    fn ram_that_is_shown_has_to_be_shared() {
        let plain = Profile::bare("x");
        let shows = Profile {
            peer_ram: vec!["w0".into()],
            ..plain.clone()
        };
        let shared = Profile {
            shared_ram: true,
            ..plain.clone()
        };
        check(&shows, &shared).unwrap();
        assert!(check(&shows, &plain).is_err());
        assert!(check(&shared, &shows).is_err());
    }
}
