// SPDX-License-Identifier: GPL-2.0
//! QEMU's monitor: one line of JSON for each command, answer and event (QEMU's qmp-spec).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use pagemove_testkit::slowness::slowness;
use serde_json::{json, Value};

pub struct Monitor {
    lines: BufReader<UnixStream>,
    events: Vec<Value>,
}

impl Monitor {
    pub fn connect(path: &str) -> Result<Self> {
        let stream = UnixStream::connect(path).with_context(|| path.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(60) * slowness()))?;
        let mut monitor = Self {
            lines: BufReader::new(stream),
            events: Vec::new(),
        };
        // What QEMU says of itself.
        monitor.line()?;
        monitor.execute("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        let length = self.lines.read_line(&mut line).context("QEMU's monitor")?;
        if length == 0 {
            bail!("QEMU has closed its monitor");
        }
        serde_json::from_str(&line).with_context(|| line)
    }

    /// Returns what QEMU answers. Events that come before are kept.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let text = json!({ "execute": command, "arguments": arguments }).to_string();
        self.lines.get_mut().write_all((text + "\n").as_bytes())?;
        loop {
            let mut answer = self.line()?;
            if let Some(error) = answer.get("error") {
                bail!("{command}: {}", error["desc"]);
            }
            if answer.get("return").is_some() {
                return Ok(answer["return"].take());
            }
            self.events.push(answer);
        }
    }

    /// Returns what the monitor for people says.
    pub fn tell(&mut self, command: &str) -> Result<String> {
        let arguments = json!({ "command-line": command });
        let said = self.execute("human-monitor-command", arguments)?;
        Ok(said.as_str().unwrap_or_default().to_string())
    }

    /// Tells whether the guest runs, as QEMU calls it: `running`, `shutdown`, `internal-error`.
    pub fn status(&mut self) -> Result<String> {
        let status = self.execute("query-status", json!({}))?;
        Ok(status["status"].as_str().unwrap_or_default().to_string())
    }

    /// Tells whether a device that the guest was asked to give up has gone.
    pub fn has_deleted(&mut self, id: &str) -> Result<bool> {
        // Whatever is asked: events come before the answer.
        self.status()?;
        Ok(self
            .events
            .iter()
            .any(|event| event["event"] == "DEVICE_DELETED" && event["data"]["device"] == id))
    }
}
