// SPDX-License-Identifier: GPL-2.0
//! A guest in a process of its own, and the talk with it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{bail, Context, Result};

use crate::guest::Layout;
use crate::ledger::account::Status;

/// A running guest. Dropping it kills it.
pub struct GuestProcess {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub layout: Layout,
}

impl GuestProcess {
    /// Starts this program as a guest with these arguments.
    pub fn start(arguments: &[String]) -> Result<Self> {
        let program = std::env::current_exe().context("can not find this program")?;
        Self::spawn(program.into_os_string(), arguments)
    }

    /// Starts a guest by another program, the harness.
    pub fn spawn(program: OsString, arguments: &[String]) -> Result<Self> {
        let mut child = Command::new(program)
            .arg("guest")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("can not start the guest")?;
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().context("no output")?);
        match read_layout(&mut output) {
            Ok(layout) => Ok(Self {
                child,
                input,
                output,
                layout,
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has counted up to now.
    pub fn status(&mut self) -> Result<Status> {
        self.say("status")?;
        self.read_status()
    }

    /// Lets no DMA be in flight until [`GuestProcess::go_on`]. Says for each page the digest of
    /// what it has to hold, where that is known.
    pub fn pause(&mut self) -> Result<Vec<Option<u64>>> {
        self.say("pause")?;
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .context("can not read from the guest")?;
        let digests: Option<Vec<Option<u64>>> = serde_json::from_str(&line)
            .with_context(|| format!("the guest said '{}'", line.trim()))?;
        digests.context("the guest can not pause: it has ended")
    }

    /// Keeps its CPUs off its memory, while its device goes on, or lets them go on.
    pub fn hands_off(&mut self, off: bool) -> Result<()> {
        self.say(if off { "leave" } else { "enter" })?;
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .context("can not read from the guest")?;
        match line.trim() {
            "true" => Ok(()),
            other => bail!("the guest said '{other}': it has ended"),
        }
    }

    pub fn go_on(&mut self) -> Result<()> {
        self.say("go")
    }

    fn say(&mut self, word: &str) -> Result<()> {
        let input = self.input.as_mut().context("the guest was told to stop")?;
        writeln!(input, "{word}")
            .and_then(|()| input.flush())
            .context("the guest is gone")
    }

    fn read_status(&mut self) -> Result<Status> {
        let mut line = String::new();
        if self
            .output
            .read_line(&mut line)
            .context("can not read from the guest")?
            == 0
        {
            bail!(
                "the guest ended without a last status: {:?}",
                self.child.try_wait()
            );
        }
        serde_json::from_str(&line).with_context(|| format!("the guest said '{}'", line.trim()))
    }

    /// Lets it check every page and end. Returns its last status.
    pub fn stop(mut self) -> Result<Status> {
        self.input = None;
        loop {
            let status = self.read_status()?;
            if status.ended {
                let exit = self.child.wait().context("can not wait for the guest")?;
                let expected = i32::from(!status.is_clean());
                if exit.code() != Some(expected) {
                    bail!(
                        "the guest ended with {exit}, its status says {}",
                        status.describe_losses()
                    );
                }
                return Ok(status);
            }
        }
    }
}

fn read_layout(output: &mut impl BufRead) -> Result<Layout> {
    let mut line = String::new();
    if output
        .read_line(&mut line)
        .context("can not read from the guest")?
        == 0
    {
        bail!("the guest ended before its DMA began");
    }
    if let Ok(layout) = serde_json::from_str(&line) {
        return Ok(layout);
    }
    match serde_json::from_str::<Status>(&line) {
        Ok(status) => bail!("the guest could not begin: {}", status.describe_losses()),
        Err(_) => bail!("the guest said '{}'", line.trim()),
    }
}

impl Drop for GuestProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;

    #[test]
    fn a_guest_that_fails_at_once_says_why() {
        let status = Status {
            failed: Some("no such device".into()),
            ended: true,
            ..Default::default()
        };
        let line = serde_json::to_string(&status).unwrap() + "\n";
        let error = read_layout(&mut line.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("no such device"), "{error}");
    }

    #[test]
    fn a_guest_that_says_nothing_is_an_error() {
        assert!(read_layout(&mut &b""[..]).is_err());
        assert!(GuestProcess::spawn("/bin/false".into(), &[]).is_err());
    }

    #[test]
    fn a_guest_that_dies_is_noticed() {
        let layout = r#"{"device":"0:0","kind":"edu","driver":"d","pid":1,"region":null,"iova":0,"length":0,"control_pages":0,"cpu_pages":0,"data_pages":0}"#;
        let script = Script::new(&format!("echo '{layout}'\nread line\nexit 0\n"));
        let mut guest = GuestProcess::spawn(script.path.clone().into_os_string(), &[]).unwrap();
        assert!(guest
            .status()
            .unwrap_err()
            .to_string()
            .contains("without a last status"));
    }
}
