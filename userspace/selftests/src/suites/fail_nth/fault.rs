// SPDX-License-Identifier: GPL-2.0
//! The module parameter by which a build for tests lets one call into the kernel fail
//! (src/fault/fault.c).

use std::collections::BTreeMap;
use std::fs;

use anyhow::{ensure, Context, Result};

const PARAMETER: &str = "/sys/module/pagemove/parameters/fault";

/// What the module holds of the kernel, by kind.
pub type Held = BTreeMap<String, i64>;

/// A call that was made to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired {
    /// What was called.
    pub call: String,
    /// From where: `symbol+offset`, the innermost first.
    pub frames: Vec<String>,
}

/// What the parameter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Calls that could have failed.
    pub passed: u64,
    pub held: Held,
    pub fired: Option<Fired>,
}

/// Returns whether the module that is loaded can do it.
pub fn is_there() -> bool {
    fs::metadata(PARAMETER).is_ok()
}

/// Lets the `n`-th call from now on fail, of those with `only` in their name.
pub fn arm(n: u64, only: &str) -> Result<()> {
    fs::write(PARAMETER, format!("{n} ours {only}")).context(PARAMETER)
}

/// Lets the `n`-th call from now on fail, whoever makes it.
pub fn arm_all(n: u64, only: &str) -> Result<()> {
    fs::write(PARAMETER, format!("{n} all {only}")).context(PARAMETER)
}

/// No call fails any more.
pub fn disarm() -> Result<()> {
    arm(0, "")
}

pub fn read() -> Result<Report> {
    Report::parse(&fs::read_to_string(PARAMETER).context(PARAMETER)?)
}

impl Report {
    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let &["passed", passed, "fired", fired] = first.as_slice() else {
            anyhow::bail!("not what it should say: {text}");
        };
        let held = lines
            .next()
            .and_then(|line| line.strip_prefix("held "))
            .context("nothing is held?")?;
        let held = held.split(' ').map(|part| {
            let (name, number) = part.split_once('=').context("no name=number")?;
            Ok((name.to_string(), number.parse()?))
        });
        let call = lines.next().map(str::to_string);
        ensure!(
            (fired == "1") == call.is_some(),
            "it fired or it did not: {text}"
        );
        // symbol+offset/size [module]
        let frames = lines
            .map(|line| line.split('/').next().unwrap_or(line).to_string())
            .collect();
        Ok(Self {
            passed: passed.parse()?,
            held: held.collect::<Result<_>>()?,
            fired: call.map(|call| Fired { call, frames }),
        })
    }
}

impl Fired {
    /// The kernel's own fault injection does not say what it was.
    pub const IN_THE_KERNEL: &str = "something in the kernel";

    /// Returns whether a function of pagemove's whose name has this in it was on the way.
    pub fn is_in(&self, function: &str) -> bool {
        self.frames
            .iter()
            .any(|frame| demangled(frame).contains(function))
    }

    /// For a person to read: what failed, and where.
    pub fn describe(&self) -> String {
        let frames: Vec<String> = self
            .frames
            .iter()
            .take(5)
            .map(|frame| demangled(frame))
            .collect();
        format!("{} < {}", self.call, frames.join(" < "))
    }
}

/// `symbol+0x12` without the hashes of crates.
pub fn demangled(frame: &str) -> String {
    let (symbol, offset) = frame.split_once('+').unwrap_or((frame, ""));
    format!("{:#}+{offset}", rustc_demangle::demangle(symbol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parameter_says_is_read() {
        let quiet = Report::parse("passed 3 fired 0\nheld objects=4 pages=0\n").unwrap();
        assert_eq!(
            (quiet.passed, quiet.fired, quiet.held["objects"]),
            (3, None, 4)
        );
        let text = "passed 1 fired 1\nheld objects=4\nkrealloc\na+0x12/0x30 [pagemove]\nb+0x1/0x2 [pagemove]\n";
        let fired = Report::parse(text).unwrap().fired.unwrap();
        assert_eq!((fired.call.as_str(), fired.frames.len()), ("krealloc", 2));
        assert_eq!(fired.frames[0], "a+0x12");
        assert!(fired.is_in("a+0x12") && !fired.is_in("c"));
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in [
            "",
            "passed 1",
            "passed 1 fired 1\nheld objects=1\n",
            "passed x fired 0\nheld objects=1\n",
        ] {
            assert!(Report::parse(text).is_err(), "{text}");
        }
    }
}
