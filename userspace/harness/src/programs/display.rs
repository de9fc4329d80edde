// SPDX-License-Identifier: GPL-2.0
//! A live display: a block of lines that is drawn over itself on a terminal,
//! or a plain line now and then where there is none.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two drawings, with and without a terminal.
const LIVE: Duration = Duration::from_millis(200);
const PLAIN: Duration = Duration::from_secs(2);

/// Columns where nobody says how many there are.
const COLUMNS: usize = 80;

pub struct Display {
    /// None: plain lines.
    columns: Option<usize>,
    /// Lines of the block on the screen.
    drawn: usize,
    last: Option<Instant>,
}

impl Display {
    /// Live on a terminal, or where PAGEMOVE_TTY=1 says that the far end is one.
    pub fn from_environment() -> Self {
        let far = std::env::var("PAGEMOVE_TTY").is_ok_and(|value| value == "1");
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let live = far || (std::io::stdout().is_terminal() && !dumb);
        let columns = std::env::var("COLUMNS")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(COLUMNS);
        Self {
            columns: live.then_some(columns.clamp(40, 200)),
            drawn: 0,
            last: None,
        }
    }

    pub fn is_live(&self) -> bool {
        self.columns.is_some()
    }

    /// Returns whether it is time to draw again.
    pub fn is_due(&self) -> bool {
        let interval = if self.is_live() { LIVE } else { PLAIN };
        self.last.is_none_or(|last| last.elapsed() >= interval)
    }

    /// Draws a block; without a terminal, `plain` is printed instead.
    pub fn draw(&mut self, block: &[String], plain: &str) {
        self.last = Some(Instant::now());
        let text = match self.columns {
            Some(columns) => {
                let text = redraw(block, self.drawn, columns);
                self.drawn = block.len();
                text
            }
            None => format!("{plain}\n"),
        };
        print(&text);
    }
}

pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nothing can be done if nobody listens.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints for people whether all was well, and returns the exit code that says so.
pub fn conclude(good: bool) -> ExitCode {
    if good {
        print("Nothing was lost.\n");
        ExitCode::SUCCESS
    } else {
        print("FAILED\n");
        ExitCode::FAILURE
    }
}

/// Goes back over the lines that were drawn, and draws new ones. Lines are cut:
/// one that wraps would take two.
fn redraw(block: &[String], drawn: usize, columns: usize) -> String {
    let mut text = String::new();
    if drawn > 0 {
        text.push_str(&format!("\x1b[{drawn}A"));
    }
    for line in block {
        text.push_str("\r\x1b[K");
        text.extend(line.chars().take(columns - 1));
        text.push_str("\r\n");
    }
    text
}

/// A bar of `width` characters.
pub fn bar(done: u64, all: u64, width: usize) -> String {
    let filled = if all == 0 {
        0
    } else {
        (done.min(all) as usize * width) / all as usize
    };
    format!("[{}{}]", "#".repeat(filled), ".".repeat(width - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        assert_eq!(bar(0, 10, 4), "[....]");
        assert_eq!(bar(5, 10, 4), "[##..]");
        assert_eq!(bar(11, 10, 4), "[####]");
        assert_eq!(bar(1, 0, 4), "[....]");
    }

    #[test]
    fn a_block_is_drawn_over_itself_and_cut() {
        let block = ["abcdefgh".to_string(), "x".to_string()];
        assert_eq!(redraw(&block, 0, 5), "\r\x1b[Kabcd\r\n\r\x1b[Kx\r\n");
        assert!(redraw(&block, 2, 5).starts_with("\x1b[2A"));
    }

    #[test]
    fn without_a_terminal_there_are_no_escapes() {
        let mut display = Display {
            columns: None,
            drawn: 0,
            last: None,
        };
        assert!(display.is_due());
        display.draw(&["block".to_string()], "plain");
        assert!(!display.is_due() && display.drawn == 0);
    }
}
