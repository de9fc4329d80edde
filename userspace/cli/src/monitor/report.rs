// SPDX-License-Identifier: GPL-2.0
//! A line for each event, in words or as JSON.

use std::collections::BTreeMap;

use pagemove_uapi::{errno, text, Event, PciAddress, PAGE_SIZE, REASON_NONE};
use pagemove_uapi::{
    EVENT_APERTURE_ADDED, EVENT_APERTURE_REMOVED, EVENT_DEVICE_CLOSED, EVENT_DEVICE_OPENED,
    EVENT_LIFTED, EVENT_LINK_DOWN, EVENT_LINK_UP, EVENT_LOST_WRITE, EVENT_MOVE_BEGUN,
    EVENT_MOVE_ENDED, EVENT_REGION_CLOSED, EVENT_REGION_MADE,
};
use serde::Serialize;

use super::clock::{utc, Clock};
use super::rate::Crossed;
use crate::stats::{aborts_by_name, human_counts};
use crate::{list, quantity};

/// A line of the output.
#[derive(Debug, PartialEq, Serialize)]
pub struct Line {
    kind: String,
    /// Of the event; null of what this program tells itself.
    number: Option<u64>,
    time_ns: u64,
    unix_ns: u64,
    #[serde(flatten)]
    about: About,
}

/// What a line says beside that: the members that its kind has.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum About {
    Region {
        region: u32,
        pid: Option<i32>,
        command: Option<String>,
        length: u64,
        pages: u64,
    },
    MoveBegun {
        #[serde(flatten)]
        call: Call,
        pages: u64,
        iova: String,
    },
    MoveEnded {
        #[serde(flatten)]
        call: Call,
        pages_moved: u64,
        aborted: u64,
        errno: Option<String>,
        reason: Option<String>,
    },
    Aperture {
        aperture: u32,
        device: String,
        bar: u64,
        length: u64,
    },
    LostWrite {
        device: String,
        iommu: bool,
    },
    Lifted {
        device: String,
        lifted: u64,
    },
    Device {
        device: String,
    },
    Lost {
        lost: u64,
    },
    Aborts {
        per_second: f64,
        above: u64,
        aborts: BTreeMap<String, u64>,
    },
    /// Of a kind that is newer than this program.
    Other {
        id: u32,
        values: [u64; 2],
    },
}

/// Whose call it is.
#[derive(Debug, PartialEq, Serialize)]
struct Call {
    call: u32,
    device: String,
    pid: Option<i32>,
    command: Option<String>,
}

impl Line {
    pub fn of(event: &Event, clock: Clock) -> Self {
        Self {
            kind: text::name_or_number(text::EVENTS, event.kind),
            number: Some(event.number),
            time_ns: event.time_ns,
            unix_ns: clock.unix_ns_of(event.time_ns),
            about: About::of(event),
        }
    }

    /// Makes the line of events that were not read in time.
    pub fn lost(lost: u64, clock: Clock) -> Self {
        Self::own("lost", About::Lost { lost }, clock)
    }

    /// Makes the line of a rate of aborts.
    pub fn aborts(crossed: &Crossed, clock: Clock) -> Self {
        let kind = match crossed.is_above {
            true => "aborts-above",
            false => "aborts-below",
        };
        let about = About::Aborts {
            per_second: (crossed.per_second * 10.0).round() / 10.0,
            above: crossed.most,
            aborts: aborts_by_name(&crossed.aborts),
        };
        Self::own(kind, about, clock)
    }

    fn own(kind: &str, about: About, clock: Clock) -> Self {
        Self {
            kind: kind.to_string(),
            number: None,
            time_ns: clock.monotonic_ns,
            unix_ns: clock.unix_ns,
            about,
        }
    }

    pub fn human(&self) -> String {
        format!("{} {}", utc(self.unix_ns), self.words())
    }

    fn words(&self) -> String {
        let kind = &self.kind;
        match &self.about {
            About::Region {
                region,
                pid,
                command,
                length,
                pages,
            } => {
                let size = quantity::bytes(*length);
                let has = quantity::bytes(pages.saturating_mul(PAGE_SIZE as u64));
                let who = process(*pid, command.as_deref());
                format!("{kind} {region}: {size}, {has} allocated{who}")
            }
            About::MoveBegun { call, pages, iova } => {
                format!(
                    "{kind} {call}: {pages} pages from {iova} on",
                    call = call.words()
                )
            }
            About::MoveEnded {
                call,
                pages_moved,
                aborted,
                errno,
                reason,
            } => {
                let why = match (errno, reason) {
                    (Some(errno), Some(reason)) => format!(", {errno} ({reason})"),
                    (Some(errno), None) => format!(", {errno}"),
                    (None, _) => String::new(),
                };
                format!(
                    "{kind} {call}: {pages_moved} pages moved, {aborted} attempts aborted{why}",
                    call = call.words()
                )
            }
            About::Aperture {
                aperture,
                device,
                bar,
                length,
            } => {
                let size = quantity::bytes(*length);
                format!("{kind} {aperture}: {size} of {device}, number {bar}")
            }
            About::LostWrite { device, iommu } => {
                let where_ = match iommu {
                    true => "behind its IOMMU",
                    false => "in its domain",
                };
                format!("{kind} {device}: no page is moved {where_} again until `pagemove lift`")
            }
            About::Lifted { device, lifted: 1 } => format!("{kind} {device}: one lost write"),
            About::Lifted { device, lifted } => format!("{kind} {device}: {lifted} lost writes"),
            About::Device { device } => format!("{kind} {device}"),
            About::Lost { lost: 1 } => "lost 1 event: it was not read in time".to_string(),
            About::Lost { lost } => format!("lost {lost} events: they were not read in time"),
            About::Aborts {
                per_second,
                above,
                aborts,
            } => {
                format!(
                    "{kind} {above} a second: {per_second} ({})",
                    human_counts(aborts)
                )
            }
            About::Other { id, values } => {
                format!("kind {kind}, newer than this program: {id}, {values:?}")
            }
        }
    }
}

impl About {
    fn of(event: &Event) -> Self {
        let [first, second] = event.values;
        let device = || PciAddress::from(event).to_string();
        match event.kind {
            EVENT_REGION_MADE | EVENT_REGION_CLOSED => Self::Region {
                region: event.id,
                pid: pid(event),
                command: list::command_of(event.pid),
                length: first,
                pages: second,
            },
            EVENT_MOVE_BEGUN => Self::MoveBegun {
                call: Call::of(event),
                pages: first,
                iova: format!("{second:#x}"),
            },
            EVENT_MOVE_ENDED => Self::MoveEnded {
                call: Call::of(event),
                pages_moved: first,
                aborted: second,
                errno: (event.error != 0).then(|| errno::name(event.error as i32)),
                reason: (event.reason != REASON_NONE)
                    .then(|| text::name_or_number(text::REASONS, event.reason)),
            },
            EVENT_APERTURE_ADDED | EVENT_APERTURE_REMOVED => Self::Aperture {
                aperture: event.id,
                device: device(),
                bar: second,
                length: first,
            },
            EVENT_LOST_WRITE => Self::LostWrite {
                device: device(),
                iommu: first != 0,
            },
            EVENT_LIFTED => Self::Lifted {
                device: device(),
                lifted: first,
            },
            EVENT_DEVICE_OPENED | EVENT_DEVICE_CLOSED | EVENT_LINK_UP | EVENT_LINK_DOWN => {
                Self::Device { device: device() }
            }
            _ => Self::Other {
                id: event.id,
                values: event.values,
            },
        }
    }
}

impl Call {
    fn of(event: &Event) -> Self {
        Self {
            call: event.id,
            device: PciAddress::from(event).to_string(),
            pid: pid(event),
            command: list::command_of(event.pid),
        }
    }

    fn words(&self) -> String {
        let who = process(self.pid, self.command.as_deref());
        format!("{} {}{who}", self.call, self.device)
    }
}

fn pid(event: &Event) -> Option<i32> {
    (event.pid > 0).then_some(event.pid)
}

fn process(pid: Option<i32>, command: Option<&str>) -> String {
    // A process names itself.
    let plain = |name: &str| name.replace(char::is_control, "?");
    match (pid, command) {
        (Some(pid), Some(command)) => format!(" by {pid} ({})", plain(command)),
        (Some(pid), None) => format!(" by {pid}"),
        (None, _) => String::new(),
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
