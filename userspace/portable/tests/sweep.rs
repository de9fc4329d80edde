// SPDX-License-Identifier: GPL-2.0
//! Every program stops at every k-th poll, and each time the other engine goes on.

mod common;

use common::engine::Value;
use common::interpreter::Interpreted;
use common::programs::PROGRAMS;
use common::second::Second;
use common::sweep::{nothing, plain, sweep};
use pagemove_portable::{rewrite, Options, Poll};

/// Every so many polls there is a stop. A loop looks at the word again when it goes on, so that 2 is a stop
/// at every turn.
const EVERY: [i32; 6] = [2, 3, 4, 5, 6, 7];

#[test]
fn programs_end_as_without_a_stop() {
    let counted = Options {
        poll: Poll::Counted,
        ..Options::default()
    };
    for program in PROGRAMS {
        let wasm = program.wasm();
        let rewritten = rewrite(&wasm, counted).expect("it can be rewritten");
        let arguments = [Value::I32(program.size)];
        let right = plain(&Interpreted::new(&wasm), "run", &arguments, &["memory"]);
        assert!(
            right
                .results
                .as_ref()
                .is_ok_and(|results| results[0] != Value::I64(0)),
            "{right:?}"
        );
        let first = Interpreted::new(&rewritten.wasm);
        let second = Second::new(&rewritten.wasm);
        for k in EVERY {
            let swept = sweep(
                &[&first, &second],
                &rewritten.points,
                "run",
                &arguments,
                k,
                &["memory"],
                &nothing,
            );
            println!(
                "{:8} every {k}: {:5} stops, frames of at most {} bytes, {} deep, distance {}",
                program.name,
                swept.stops,
                swept.frames,
                swept.depth,
                rewritten.distance.instructions
            );
            assert!(
                swept.end == right,
                "{} differs with a stop at every {k}. poll",
                program.name
            );
            assert!(
                swept.stops > 50,
                "{}: only {} stops",
                program.name,
                swept.stops
            );
        }
    }
}
