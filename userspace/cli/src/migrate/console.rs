// SPDX-License-Identifier: GPL-2.0
//! What the operator sees while an agent runs, and the operator's commands.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget};
use pagemove_migrate::events::{Event, Events, Served};
use pagemove_migrate::hook::Hook;
use pagemove_migrate::message::{Hello, Progress};

use super::report;
use crate::output::say;
use crate::quantity;
use crate::running::Running;

const NAME: &str = "PAGEMOVE_NAME";

/// The phase in which nobody has connected.
pub const LISTENING: &str = "listening";
const MOVING: &str = "moving";

pub struct Console<'r> {
    running: &'r Running,
    hook: Mutex<Hook>,
    bar: ProgressBar,
    log: Option<Mutex<File>>,
}

impl<'r> Console<'r> {
    pub fn new(
        hook: Hook,
        bar: ProgressBar,
        log: Option<&Path>,
        running: &'r Running,
    ) -> std::io::Result<Self> {
        let log = log.map(File::create).transpose()?.map(Mutex::new);
        let hook = Mutex::new(hook);
        Ok(Self {
            running,
            hook,
            bar,
            log,
        })
    }

    pub fn without_bar(
        hook: Hook,
        log: Option<&Path>,
        running: &'r Running,
    ) -> std::io::Result<Self> {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self::new(hook, bar, log, running)
    }

    /// Tells that the other host is there.
    pub fn is_connected(&self) {
        self.running.goes_on(MOVING);
    }

    /// Tells that nobody is connected any more.
    pub fn listens(&self) {
        self.running.starts(LISTENING, None);
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Events for Console<'_> {
    fn hook(&self, event: Event) -> Result<(), String> {
        self.bar.suspend(|| say!("event: {}", event.name()));
        self.running.goes_on(event.name());
        let hook = self
            .hook
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        hook.run(event)
    }

    fn begins(&self, hello: &Hello) {
        let mode = report::mode_name(hello.mode);
        say!(
            "{}: {mode}, {}",
            hello.name,
            quantity::pages(hello.span.count.into())
        );
        self.running.starts(MOVING, Some(hello.span.count.into()));
        let mut hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner);
        hook.environment.retain(|(key, _)| *key != NAME);
        hook.environment.push((NAME, hello.name.clone()));
    }

    fn progress(&self, progress: &Progress) {
        self.bar.set_position(progress.done.into());
        self.running.has_done(progress.done.into());
        self.bar
            .set_message(format!("{} aborted attempts", progress.aborts));
    }

    fn served(&self, served: &Served) {
        let Some(log) = &self.log else { return };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk is no reason to keep CPUs waiting.
        let _ = writeln!(
            log,
            "{} page {} after {} ns",
            served.order, served.page, served.latency_ns
        );
    }
}
