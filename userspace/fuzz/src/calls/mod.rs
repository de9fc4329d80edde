// SPDX-License-Identifier: GPL-2.0
//! The calls of a program, one function each.

pub mod devices;
pub mod files;
pub mod ioctls;
pub mod maps;

use crate::value::Value;

/// The number that an argument is, where nothing else makes sense.
pub fn number(values: &[Value], at: usize) -> u64 {
    match values.get(at) {
        Some(Value::Number(number)) => *number,
        Some(Value::Own(n) | Value::Live(n) | Value::Name(n)) => u64::from(*n),
        None => 0,
    }
}
