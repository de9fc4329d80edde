// SPDX-License-Identifier: GPL-2.0
//! Waiting for what the kernel does later.

use std::time::{Duration, Instant};

use anyhow::{bail, Result};

use crate::cpus;
use crate::slowness::slowness;

/// Asks until the answer is yes, and returns how long it took.
pub fn until(
    what: &str,
    most: Duration,
    mut done: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let most = most * slowness();
    let start = Instant::now();
    loop {
        if done()? {
            return Ok(start.elapsed());
        }
        if start.elapsed() > most {
            bail!("after {most:?} still not so: {what}");
        }
        cpus::visit_every()?;
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Tries until it works, and returns the last error when the time is over.
pub fn until_it_works<T>(most: Duration, mut try_it: impl FnMut() -> Result<T>) -> Result<T> {
    let since = Instant::now();
    loop {
        match try_it() {
            Err(_) if since.elapsed() < most => std::thread::sleep(Duration::from_millis(20)),
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends() {
        assert!(until("never", Duration::from_millis(30), || Ok(false)).is_err());
        assert!(until("at once", Duration::ZERO, || Ok(true)).is_ok());
        let most = Duration::from_millis(30);
        assert!(until_it_works(most, || -> Result<()> { bail!("never") }).is_err());
    }
}
