// SPDX-License-Identifier: GPL-2.0
//! The rewrite as a whole: module in, module out.

use crate::calls::Calls;
use crate::distance::Distance;
use crate::emit::{self, Surroundings};
use crate::error::Error;
use crate::helpers::Helpers;
use crate::module::Module;
use crate::options::Options;
use crate::output;
use crate::points::Points;
use crate::unroll::unroll;
use wasm_encoder::CodeSection;

/// A module whose programs can be stopped and taken up elsewhere.
#[derive(Debug)]
pub struct Portable {
    pub wasm: Vec<u8>,
    pub points: Points,
    /// How long a program may run without a poll.
    pub distance: Distance,
}

/// Rewrites a module.
pub fn rewrite(wasm: &[u8], options: Options) -> Result<Portable, Error> {
    let mut module = Module::read(wasm)?;
    let calls = Calls::of(&module);
    for body in &mut module.bodies {
        unroll(body, &calls);
    }
    let functions =
        u32::try_from(module.functions.len()).map_err(|_| Error::TooLarge("functions"))?;
    let around = Surroundings {
        calls: &calls,
        helpers: Helpers::behind(functions, module.memories),
        options,
    };
    let mut points = Points::default();
    let mut code = CodeSection::new();
    for body in &module.bodies {
        if calls.stops(body.index) {
            let first = points.points.len() + 1;
            let first = u32::try_from(first).map_err(|_| Error::TooLarge("points"))?;
            let emitted = emit::function(body, &around, first)?;
            code.function(&emitted.function);
            points.points.extend(emitted.points);
        } else {
            code.raw(body.raw);
        }
    }
    for function in around.helpers.functions() {
        code.function(&function);
    }
    let wasm = output::assemble(&module, &around.helpers, &code, &points)?;
    Ok(Portable {
        distance: Distance::of(&module, &calls),
        wasm,
        points,
    })
}
