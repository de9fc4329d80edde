// SPDX-License-Identifier: GPL-2.0
//! `checkpoint` and `list`: what is asked of programs that run.

use crate::args::Checkpoint;
use crate::desk::{ask, Answer, Question};
use crate::exit::{Exit, Failure};
use crate::{places, report};
use serde_json::json;
use std::process::ExitCode;

pub fn checkpoint(args: &Checkpoint, json: bool) -> Result<ExitCode, Failure> {
    // The program may be in another directory.
    let file =
        std::path::absolute(&args.file).map_err(Failure::of(Exit::System, args.file.display()))?;
    let question = Question::Checkpoint {
        file,
        stop: args.stop,
    };
    match ask(&args.name, &question)? {
        Answer::Written(written) => {
            let mut text = format!(
                "written      {}: {} bytes of frames, {} of memory; stopped after {} us, in the file after {} us",
                args.file.display(),
                written.frames_bytes,
                written.memory_bytes,
                written.stopped_us,
                written.written_us,
            );
            if let (Some(messages), Some(drained)) = (written.messages, written.drained_us) {
                text += &format!("; {messages} messages, all there after {drained} us");
            }
            let value =
                json!({ "result": Exit::Done.name(), "name": args.name, "written": written });
            report::say(json, &text, &value);
            Ok(Exit::Done.into())
        }
        Answer::Refused(why) => Err(Failure::new(Exit::Usage, why)),
        Answer::Failed(why) => Err(Failure::new(Exit::System, why)),
        Answer::Status(_) => Err(Failure::new(Exit::System, "it answered something else")),
    }
}

pub fn list(json: bool) -> Result<ExitCode, Failure> {
    for name in places::names()? {
        // Who has ended in the meantime is not there any more.
        let Ok(Answer::Status(status)) = ask(&name, &Question::Status) else {
            continue;
        };
        let mut text = format!(
            "{name:<20} pid {:<8} ran {:.1} s, memory {} bytes",
            status.pid,
            status.ran_ns as f64 / 1e9,
            status.memory_bytes
        );
        if let Some(seat) = &status.rank {
            text += &format!(
                ", rank {} of {}, {} messages not taken",
                seat.rank, seat.of, seat.messages
            );
        }
        report::say(json, &text, &json!({ "name": name, "status": status }));
    }
    Ok(Exit::Done.into())
}
