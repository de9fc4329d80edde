// SPDX-License-Identifier: GPL-2.0
//! The operator's command.

use std::process::{Command, Stdio};

use crate::events::Event;

/// A line for the shell, and what it finds in its environment besides PAGEMOVE_EVENT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hook {
    pub line: Option<String>,
    pub environment: Vec<(&'static str, String)>,
}

impl Hook {
    /// Runs it and waits. Its output goes where errors go, so that results stay readable.
    pub fn run(&self, event: Event) -> Result<(), String> {
        let Some(line) = &self.line else {
            return Ok(());
        };
        let status = Command::new("/bin/sh")
            .args(["-c", line])
            .env("PAGEMOVE_EVENT", event.name())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(std::io::stderr())
            .status()
            .map_err(|error| format!("/bin/sh can not be run: {error}"))?;
        if !status.success() {
            return Err(format!("'{line}' for the event {}: {status}", event.name()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(line: &str) -> Hook {
        Hook {
            line: Some(line.to_string()),
            environment: vec![("PAGEMOVE_NAME", "vm 1".to_string())],
        }
    }

    #[test]
    fn it_is_told_the_event() {
        let line = "test \"$PAGEMOVE_EVENT,$PAGEMOVE_NAME\" = 'enter,vm 1'";
        assert_eq!(hook(line).run(Event::Enter), Ok(()));
        assert!(hook(line).run(Event::Leave).is_err());
    }

    #[test]
    fn its_exit_status_counts() {
        let error = hook("exit 7").run(Event::Leave).unwrap_err();
        assert!(
            error.contains("'exit 7' for the event leave") && error.contains('7'),
            "{error}"
        );
        assert_eq!(Hook::default().run(Event::Leave), Ok(()));
    }
}
