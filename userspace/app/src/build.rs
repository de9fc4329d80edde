// SPDX-License-Identifier: GPL-2.0
//! `build`: rewrites a module.

use crate::args::Build;
use crate::exit::{Exit, Failure};
use crate::{module, report};
use serde_json::json;
use std::fs;
use std::process::ExitCode;

pub fn run(args: &Build, json: bool) -> Result<ExitCode, Failure> {
    let before = module::read(&args.module)?;
    let portable = module::rewrite_for_engine(&before, &args.module)?;
    fs::write(&args.output, &portable.wasm).map_err(Failure::of(
        Exit::System,
        format!("writing {}", args.output.display()),
    ))?;
    let distance = portable.distance;
    let points = portable.points.points.len();
    let frame = portable
        .points
        .points
        .iter()
        .map(|point| point.size)
        .max()
        .unwrap_or(0);
    let text = format!(
        "rewritten    {} -> {} bytes, {points} points, frames of at most {frame} bytes\n\
         distance     at most {} instructions without a poll (function {})",
        before.len(),
        portable.wasm.len(),
        distance.instructions,
        distance.function,
    );
    let value = json!({
        "result": Exit::Done.name(),
        "bytes_before": before.len(),
        "bytes": portable.wasm.len(),
        "points": points,
        "frame_bytes": frame,
        "distance": distance.instructions,
        "distance_function": distance.function,
    });
    report::say(json, &text, &value);
    Ok(Exit::Done.into())
}
