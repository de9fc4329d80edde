// SPDX-License-Identifier: GPL-2.0
//! Host A's agent: `pagemove migrate` in a process of its own.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};

use crate::guest::Layout;

/// What every call names.
#[derive(Clone, Debug)]
pub struct Migration {
    pub tool: String,
    pub engine: String,
    /// The address of host B's agent, or of a forwarder to it.
    pub to: String,
    pub aperture: u32,
    pub layout: Layout,
    /// The guest's CPUs leave and come back when the agent says so.
    pub hooks: bool,
}

/// Where an interrupted migration notes how to go on.
const STATE: &str = "/tmp/migrations";
const NAME: &str = "guest";

/// Where hooks leave the name of their event, and wait until that is gone.
const HOOK: &str = "/tmp/hook";

/// The events that hooks wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Leave,
    /// Or `return`.
    Enter,
}

/// Takes an event that a hook waits with. It goes on when [`answer_hook`] is called.
pub fn asked_by_hook() -> Option<Event> {
    match fs::read_to_string(HOOK).ok()?.trim() {
        "leave" => Some(Event::Leave),
        "enter" | "return" => Some(Event::Enter),
        _ => None,
    }
}

pub fn answer_hook() -> Result<()> {
    fs::remove_file(HOOK).context("the hook's file")
}

/// Forgets what a hook has asked whose agent is gone.
pub fn forget_hook() {
    // There may be none.
    let _ = fs::remove_file(HOOK);
}

/// The shell's part: `complete` asks for nothing.
fn hook() -> String {
    format!(
        "[ $PAGEMOVE_EVENT = complete ] || {{ echo $PAGEMOVE_EVENT > {HOOK}.new && mv {HOOK}.new {HOOK} && \
         while [ -e {HOOK} ]; do sleep 0.01; done; }}"
    )
}

/// An agent that runs. Dropping it kills it.
pub struct Agent {
    child: Child,
    output: PathBuf,
}

/// How an agent ended.
#[derive(Clone, Debug)]
pub struct End {
    pub code: Option<i32>,
    pub output: String,
}

impl End {
    pub fn is_good(&self) -> bool {
        self.code == Some(0)
    }
}

impl Migration {
    fn command(&self, verb: &str) -> Result<Command> {
        let region = self
            .layout
            .region
            .context("the guest's memory is no region")?;
        let mut command = Command::new(&self.tool);
        command
            .arg(verb)
            .args(["--to", &format!("tcp:{}", self.to)])
            .args(["--state", STATE, "--name", NAME]);
        command.args([
            &self.layout.device,
            &self.layout.iova.to_string(),
            &self.layout.length.to_string(),
        ]);
        command.args([
            "--region",
            &region.to_string(),
            "--aperture",
            &self.aperture.to_string(),
        ]);
        if verb == "migrate" {
            command.args(["--engine", &self.engine]);
            if self.hooks {
                command.args(["--hook", &hook()]);
            }
        }
        Ok(command)
    }

    /// Begins to move everything to B.
    pub fn out(&self, more: &[&str]) -> Result<Agent> {
        let mut command = self.command("migrate")?;
        command.args(more);
        Agent::start(command)
    }

    /// Begins to move everything home.
    pub fn back(&self) -> Result<Agent> {
        let mut command = self.command("migrate")?;
        command.args(["--back", "--node", "0"]);
        Agent::start(command)
    }

    /// Goes on with what was interrupted.
    pub fn resume(&self) -> Result<Agent> {
        let mut command = Command::new(&self.tool);
        command.args(["resume", NAME, "--state", STATE]);
        Agent::start(command)
    }

    pub fn plan(&self) -> Result<Agent> {
        Agent::start(self.command("plan")?)
    }
}

impl Agent {
    fn start(mut command: Command) -> Result<Self> {
        let output = PathBuf::from("/tmp/migrate.out");
        let file = File::create(&output)?;
        let errors = file.try_clone()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .context("can not start the agent of host A")?;
        Ok(Self { child, output })
    }

    pub fn is_done(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits until it ends. `meanwhile` is done all the time.
    pub fn wait(
        mut self,
        patience: Duration,
        mut meanwhile: impl FnMut() -> Result<()>,
    ) -> Result<End> {
        let end = Instant::now() + patience;
        let status = loop {
            meanwhile()?;
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(
                Instant::now() < end,
                "the agent of A runs on after {patience:?}: {}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        Ok(End {
            code: status.code(),
            output: self.output(),
        })
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("killing the agent of A")?;
        self.child.wait().context("waiting for the agent of A")?;
        Ok(())
    }

    /// Ctrl-C.
    pub fn interrupt(&self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT)
            .context("interrupting the agent of A")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
