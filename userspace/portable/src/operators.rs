// SPDX-License-Identifier: GPL-2.0
//! What instructions are called, and which of them are refused.

use crate::error::Error;
use wasmparser::{for_each_operator, Operator};

macro_rules! define_names {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        /// Returns the extension that an instruction came with, and the instruction's name as
        /// wasmparser has it.
        fn names(operator: &Operator<'_>) -> (&'static str, &'static str) {
            match operator {
                $(Operator::$op { .. } => (stringify!($proposal), stringify!($visit)),)*
                _ => ("unknown", "visit_unknown"),
            }
        }
    };
}
for_each_operator!(define_names);

/// Words of which the part behind the first underscore is the instruction, as in `i32.add`.
const PREFIXES: [&str; 27] = [
    "i32", "i64", "f32", "f64", "v128", "i8x16", "i16x8", "i32x4", "i64x2", "f32x4", "f64x2",
    "local", "global", "table", "memory", "data", "elem", "ref", "struct", "array", "any",
    "extern", "i31", "atomic", "cont", "i16x8", "i32x4",
];

/// Returns an instruction's name, as the text format has it (but for dots within the rest).
pub fn name(operator: &Operator<'_>) -> String {
    let (_, visit) = names(operator);
    let plain = visit.strip_prefix("visit_").unwrap_or(visit);
    match plain.split_once('_') {
        Some((first, rest)) if PREFIXES.contains(&first) => {
            let rest = match rest.strip_prefix("atomic_") {
                Some(rest) => format!("atomic.{rest}"),
                None => rest.to_string(),
            };
            format!("{first}.{rest}")
        }
        _ => plain.to_string(),
    }
}

/// Refuses an instruction that a stop could not keep, or that is not known here.
pub fn check(operator: &Operator<'_>, function: u32, offset: u64) -> Result<(), Error> {
    let why = match names(operator).0 {
        "mvp" | "sign_extension" | "saturating_float_to_int" => return Ok(()),
        "bulk_memory" | "reference_types" => match operator {
            Operator::MemoryCopy { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryInit { .. }
            | Operator::TypedSelect { .. }
            | Operator::RefNull { .. }
            | Operator::RefIsNull
            | Operator::RefFunc { .. }
            | Operator::TableGet { .. }
            | Operator::TableSize { .. } => return Ok(()),
            Operator::DataDrop { .. } | Operator::ElemDrop { .. } => {
                "whether a segment was dropped is no part of an image"
            }
            _ => "the contents of tables are no part of an image",
        },
        "simd" | "relaxed_simd" => "SIMD is not supported yet",
        "threads" | "shared_everything_threads" => "threads are not supported yet",
        "exceptions" | "legacy_exceptions" => "exceptions are not supported yet",
        "tail_call" => "tail calls are not supported yet",
        "gc" | "function_references" => "references are not supported yet",
        _ => "its extension is not supported yet",
    };
    Err(Error::Unsupported {
        what: name(operator),
        why,
        function: Some(function),
        offset,
    })
}
