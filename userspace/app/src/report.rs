// SPDX-License-Identifier: GPL-2.0
//! What the tool says, on standard error.

use crate::exit::Failure;
use serde_json::{json, Value};
use std::io::{stderr, Write};

/// Says a line, or its meaning as JSON.
pub fn say(json: bool, text: &str, value: &Value) {
    // Who closes standard error does not want to know.
    let _ = match json {
        true => writeln!(stderr(), "{value}"),
        false => writeln!(stderr(), "{text}"),
    };
}

pub fn failure(failure: &Failure, json: bool) {
    let value = json!({ "error": failure.text, "result": failure.exit.name() });
    say(json, &format!("pagemove-app: {}", failure.text), &value);
}
