// SPDX-License-Identifier: GPL-2.0
//! `pagemove sessions`: editors and helpers of the engine rtm, what they have
//! learned of each other's times, and what became of their transactions.

use std::collections::BTreeMap;

use pagemove_uapi::{Control, Error, Session, SESSION_BUSY, SESSION_STUCK};
use serde::Serialize;

use crate::exit::Exit;
use crate::stats::{aborts_by_name, human_counts};
use crate::{output, report};

#[derive(Serialize)]
struct SessionsReport {
    sessions: Vec<SessionReport>,
}

#[derive(Serialize)]
struct SessionReport {
    editor_cpu: u32,
    helper_cpu: u32,
    busy: bool,
    stuck: bool,
    schedule: ScheduleReport,
    tsc_khz: u64,
    transactions: u64,
    commits: u64,
    irqs_off_max_ns: u64,
    /// Attempts, not pages.
    aborts: BTreeMap<String, u64>,
}

/// Of the next transaction.
#[derive(Serialize)]
struct ScheduleReport {
    /// From the post to signal 1.
    lead_ns: u64,
    /// From signal 1 to slot 0.
    first_slot_ns: u64,
    /// From one slot to the next.
    interval_ns: u64,
    slots: u32,
}

impl From<&Session> for SessionReport {
    fn from(session: &Session) -> Self {
        Self {
            editor_cpu: session.editor_cpu,
            helper_cpu: session.helper_cpu,
            busy: session.flags & SESSION_BUSY != 0,
            stuck: session.flags & SESSION_STUCK != 0,
            schedule: ScheduleReport {
                lead_ns: session.lead_ns,
                first_slot_ns: session.first_slot_ns,
                interval_ns: session.interval_ns,
                slots: session.slots,
            },
            tsc_khz: session.tsc_khz,
            transactions: session.transactions,
            commits: session.commits,
            irqs_off_max_ns: session.irqs_off_max_ns,
            aborts: aborts_by_name(&session.aborts),
        }
    }
}

impl SessionReport {
    fn state(&self) -> &'static str {
        match (self.stuck, self.busy) {
            (true, _) => "stuck",
            (false, true) => "busy",
            (false, false) => "idle",
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.editor_cpu.to_string(),
            self.helper_cpu.to_string(),
            self.state().to_string(),
            self.schedule.lead_ns.to_string(),
            self.schedule.first_slot_ns.to_string(),
            self.schedule.interval_ns.to_string(),
            self.schedule.slots.to_string(),
            self.transactions.to_string(),
            self.commits.to_string(),
            self.irqs_off_max_ns.to_string(),
            human_counts(&self.aborts),
        ]
    }
}

const COLUMNS: [&str; 11] = [
    "EDITOR",
    "HELPER",
    "STATE",
    "LEAD/ns",
    "FIRST/ns",
    "INTERVAL/ns",
    "SLOTS",
    "BEGUN",
    "COMMITS",
    "IRQS-OFF/ns",
    "ABORTS",
];

pub fn run(control: &Control, as_json: bool) -> Result<Exit, Error> {
    let sessions = control
        .session_list()?
        .iter()
        .map(SessionReport::from)
        .collect();
    let report = SessionsReport { sessions };
    if as_json {
        report::json(&report);
    } else {
        output::result(&human(&report.sessions));
    }
    Ok(Exit::Done)
}

fn human(sessions: &[SessionReport]) -> String {
    if sessions.is_empty() {
        return "There is no session: the first move by rtm makes one.\n".to_string();
    }
    let mut rows = vec![COLUMNS.map(String::from).to_vec()];
    rows.extend(sessions.iter().map(SessionReport::row));
    let mut text = report::table(&rows);
    for session in sessions.iter().filter(|session| session.stuck) {
        text.push_str(&format!(
            "The helper on CPU {} waits for a device that does not answer: remove the device.\n",
            session.helper_cpu
        ));
    }
    text
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
