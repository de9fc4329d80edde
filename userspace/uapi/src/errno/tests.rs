// SPDX-License-Identifier: GPL-2.0
//! Names and texts against the header and the page on the ABI.

use super::*;
use crate::Call;

/// Returns the names that the list at the head of the header defines.
fn documented() -> Vec<&'static str> {
    include_str!("../../../../include/uapi/linux/pagemove.h")
        .lines()
        .skip_while(|line| !line.contains("What an errno means"))
        .take_while(|line| !line.contains("Whatever PAGEMOVE_IOC_MOVE"))
        .filter_map(|line| line.strip_prefix(" *  "))
        .filter_map(|line| {
            line.split_whitespace()
                .next()
                .filter(|_| !line.starts_with(' '))
        })
        .collect()
}

/// Returns the errnos that Documentation/uapi.md gives a call, by the name of its ioctl.
fn of_call(ioctl: &str) -> Vec<&'static str> {
    let row = include_str!("../../../../Documentation/uapi.md")
        .lines()
        .filter(|line| line.starts_with("| 0x"))
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
        .find(|cells| cells.get(2) == Some(&ioctl))
        .unwrap_or_else(|| panic!("{ioctl} is not in the table"));
    let own = row[6].split(", ").filter(|name| !name.is_empty());
    let admin = (row[4] == "admin").then_some("EPERM");
    own.chain(admin)
        .chain(["EINVAL", "E2BIG", "EFAULT", "EOPNOTSUPP", "ENOTTY"])
        .collect()
}

fn number(name: &str) -> i32 {
    let known = NAMES.iter().find(|(_, known)| *known == name);
    known.unwrap_or_else(|| panic!("{name} has no number")).0
}

#[test]
fn every_errno_of_the_header_has_a_name() {
    let documented = documented();
    assert!(
        documented.len() >= 20,
        "the list was not found: {documented:?}"
    );
    for name in documented {
        number(name);
    }
}

#[test]
fn every_errno_of_a_call_has_a_text() {
    for call in Call::ALL {
        if call == Call::Open {
            continue;
        }
        let ioctl = call.name().to_uppercase().replace(' ', "_");
        for name in of_call(&ioctl) {
            let text = help(call, number(name));
            assert!(text.is_some(), "{ioctl} has no words for {name}");
        }
    }
}

#[test]
fn every_text_says_what_would_be_right() {
    for call in Call::ALL {
        for (number, name) in NAMES {
            let Some(text) = help(call, *number) else {
                continue;
            };
            assert!(text.contains(": "), "{call:?} {name}");
            assert!(
                !text.ends_with('.') && !text.contains("  "),
                "{call:?} {name}"
            );
        }
    }
}

/// What only some calls are about: no other call's text has the word.
#[test]
fn texts_are_about_their_call() {
    use Call::*;
    let calls: [(&str, &[Call]); 8] = [
        ("experiment", &[Experiment]),
        ("verdict", &[VerdictSet]),
        ("window", &[WindowSet, Offer]),
        ("peer", &[WindowSet, Offer]),
        ("deadline", &[Move]),
        ("helper", &[Move]),
        ("IOVA", &[Move, Experiment, Used]),
        ("moving", &[Move, Experiment, Used]),
    ];
    for call in Call::ALL {
        for (number, name) in NAMES {
            let text = help(call, *number).unwrap_or_default();
            for (word, its) in calls {
                assert!(
                    !text.contains(word) || its.contains(&call),
                    "{call:?} {name} talks of {word}: {text}"
                );
            }
        }
    }
}
