// SPDX-License-Identifier: GPL-2.0
//! What the user sees while something long runs: on a terminal a line that
//! moves, else a line a step. What the programs print goes to a log.

use anyhow::{bail, Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Lines of output that are shown when a program fails.
const TAIL: usize = 25;

pub struct Report {
    title: &'static str,
    log: File,
    log_path: PathBuf,
    bar: Option<ProgressBar>,
    step: String,
    since: Instant,
}

impl Report {
    pub fn new(title: &'static str, log: &Path) -> Result<Self> {
        if let Some(dir) = log.parent() {
            fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        }
        let file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed:>4} {wide_msg}");
            bar.set_style(style.expect("the template is constant"));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Ok(Self {
            title,
            log: file,
            log_path: log.to_path_buf(),
            bar,
            step: String::new(),
            since: Instant::now(),
        })
    }

    /// Begins a step; the one before has succeeded.
    pub fn step(&mut self, text: &str) {
        self.finish_step();
        self.step = text.to_string();
        self.since = Instant::now();
        match &self.bar {
            Some(bar) => {
                bar.reset_elapsed();
                bar.set_prefix(format!("{}: {text}", self.title));
                bar.set_message("");
            }
            None => eprintln!("{}: {text} ...", self.title),
        }
    }

    /// Ends the last step, which has succeeded.
    pub fn done(mut self) {
        self.finish_step();
    }

    fn finish_step(&mut self) {
        if self.step.is_empty() {
            return;
        }
        let line = format!(
            "{}: {}: done in {:.0} s",
            self.title,
            self.step,
            self.since.elapsed().as_secs_f64()
        );
        self.step.clear();
        self.say(&line);
    }

    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// Runs a program to its end. Fails, and shows the end of its output, if it does.
    pub fn run(&mut self, command: &mut Command) -> Result<()> {
        self.capture(command).map(drop)
    }

    /// Runs a program as `run` does, and returns what it printed.
    pub fn capture(&mut self, command: &mut Command) -> Result<String> {
        writeln!(self.log, "$ {command:?}")?;
        let (output, input) = pipe2(OFlag::O_CLOEXEC)?;
        let name = command.get_program().to_string_lossy().into_owned();
        command
            .stdin(Stdio::null())
            .stdout(input.try_clone()?)
            .stderr(input);
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        // The command keeps our ends of the pipe: without this it would never end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut text = String::new();
        let mut tail = VecDeque::new();
        for line in BufReader::new(File::from(output)).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            writeln!(self.log, "{line}")?;
            if let Some(bar) = &self.bar {
                bar.set_message(line.trim().to_string());
            }
            text.push_str(&line);
            text.push('\n');
            tail.push_back(line);
            if tail.len() > TAIL {
                tail.pop_front();
            }
        }
        let status = child.wait()?;
        if !status.success() {
            for line in &tail {
                self.say(&format!("  {line}"));
            }
            bail!(
                "{}: {name} failed ({status}); its whole output is in {}",
                self.step,
                self.log_path.display()
            );
        }
        Ok(text)
    }
}
