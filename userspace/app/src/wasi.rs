// SPDX-License-Identifier: GPL-2.0
//! What a program may ask of its host: the part of WASI (preview 1) that needs no files.
//!
//! Nothing here is an address or a descriptor of the host's: a program's clock is how long it has run, and its
//! standard streams are whatever those of the host are that it runs on now.

use pagemove_peers::driver::Node;
use std::io::{stderr, stdin, stdout, Read, Write};
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wasmi::{Caller, Error, Linker};

/// Errors of WASI.
const SUCCESS: i32 = 0;
const BAD_DESCRIPTOR: i32 = 8;
const FAULT: i32 = 21;
const INVALID: i32 = 28;
const IO: i32 = 29;
const NO_SEEK: i32 = 70;

const MODULE: &str = "wasi_snapshot_preview1";
/// The program's first memory, as the rewrite exports it.
const MEMORY: &str = "pagemove:memory:0";
/// Bytes that are read or written in one call, at most.
const MOST: usize = 1 << 20;

/// What the host knows of a program.
pub struct Host {
    /// Its arguments, its name first.
    arguments: Vec<String>,
    /// How long it had run when this host took it up.
    before: Duration,
    since: Instant,
    pub line: Option<Line>,
}

/// By what a program that is a rank sends and receives.
#[derive(Clone)]
pub struct Line {
    pub node: Arc<Node>,
    /// Somebody wants it to stand.
    pub wanted: Arc<AtomicBool>,
}

impl Host {
    pub fn new(name: &str, arguments: &[String], ran_ns: u64) -> Self {
        let arguments = std::iter::once(name.to_string()).chain(arguments.iter().cloned());
        Host {
            arguments: arguments.collect(),
            before: Duration::from_nanos(ran_ns),
            since: Instant::now(),
            line: None,
        }
    }

    /// Returns for how long the program has run, on all hosts, in nanoseconds.
    pub fn ran_ns(&self) -> u64 {
        let ran = self.before.saturating_add(self.since.elapsed());
        u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A place in the program's memory, or nothing if it is outside.
pub struct Place<'c, 'a>(pub &'c mut Caller<'a, Host>);

impl<'c> Place<'c, '_> {
    fn get(&mut self, at: i32, count: usize) -> Option<&mut [u8]> {
        Place(&mut *self.0).take(at, count)
    }

    /// Returns a part of the memory, for as long as the caller is borrowed.
    pub fn take(self, at: i32, count: usize) -> Option<&'c mut [u8]> {
        let memory = self.0.get_export(MEMORY);
        let memory = memory.and_then(wasmi::Extern::into_memory)?;
        let from = at as u32 as usize;
        let bytes = memory.data_mut(self.0);
        bytes.get_mut(from..from.checked_add(count)?)
    }

    pub fn put(&mut self, at: i32, bytes: &[u8]) -> Option<()> {
        self.get(at, bytes.len())?.copy_from_slice(bytes);
        Some(())
    }

    fn number(&mut self, at: i32) -> Option<u32> {
        Some(u32::from_le_bytes(*self.get(at, 4)?.first_chunk()?))
    }

    /// Returns the pieces of memory that a list of places and lengths tells.
    fn list(&mut self, at: i32, count: i32) -> Option<Vec<(i32, usize)>> {
        let count = usize::try_from(count).ok().filter(|&count| count <= 1024)?;
        let mut pieces = Vec::new();
        for piece in 0..count as i32 {
            let entry = at.checked_add(piece.checked_mul(8)?)?;
            let (place, length) = (self.number(entry)?, self.number(entry.checked_add(4)?)?);
            pieces.push((place as i32, (length as usize).min(MOST)));
        }
        Some(pieces)
    }
}

/// Makes an answer of whether places were in the program's memory.
fn answer(done: Option<()>) -> i32 {
    done.map_or(FAULT, |()| SUCCESS)
}

pub fn define(linker: &mut Linker<Host>) -> Result<(), Error> {
    define_arguments(linker)?;
    define_streams(linker)?;
    linker.func_wrap(MODULE, "proc_exit", |code: i32| -> Result<(), Error> {
        Err(Error::i32_exit(code))
    })?;
    linker.func_wrap(MODULE, "sched_yield", || SUCCESS)?;
    linker.func_wrap(MODULE, "clock_time_get", clock)?;
    linker.func_wrap(
        MODULE,
        "random_get",
        |mut caller: Caller<'_, Host>, at: i32, count: i32| {
            let mut place = Place(&mut caller);
            match place.get(at, count as u32 as usize).map(getrandom::fill) {
                Some(Ok(())) => SUCCESS,
                Some(Err(_)) => IO,
                None => FAULT,
            }
        },
    )?;
    // The programs of the tests tell numbers.
    linker.func_wrap("env", "note", |value: i64| {
        let _ = writeln!(stdout(), "{}", value as u64);
    })?;
    Ok(())
}

fn clock(mut caller: Caller<'_, Host>, id: i32, _precision: i64, at: i32) -> i32 {
    let now = match id {
        0 => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)),
        1..=3 => caller.data().ran_ns(),
        _ => return INVALID,
    };
    answer(Place(&mut caller).put(at, &now.to_le_bytes()))
}

fn define_arguments(linker: &mut Linker<Host>) -> Result<(), Error> {
    fn sizes(texts: &[String]) -> (u32, u32) {
        let bytes: usize = texts.iter().map(|text| text.len() + 1).sum();
        (texts.len() as u32, bytes as u32)
    }
    linker.func_wrap(
        MODULE,
        "args_sizes_get",
        |mut caller: Caller<'_, Host>, count_at: i32, bytes_at: i32| {
            let (count, bytes) = sizes(&caller.data().arguments);
            let mut place = Place(&mut caller);
            let put = place.put(count_at, &count.to_le_bytes());
            answer(put.and_then(|()| place.put(bytes_at, &bytes.to_le_bytes())))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "args_get",
        |mut caller: Caller<'_, Host>, list_at: i32, mut text_at: i32| {
            let texts = caller.data().arguments.clone();
            let mut place = Place(&mut caller);
            for (number, text) in (0i32..).zip(&texts) {
                let entry = list_at.wrapping_add(number.wrapping_mul(4));
                let bytes = [text.as_bytes(), b"\0"].concat();
                let put = place.put(entry, &text_at.to_le_bytes());
                if put.and_then(|()| place.put(text_at, &bytes)).is_none() {
                    return FAULT;
                }
                text_at = text_at.wrapping_add(bytes.len() as i32);
            }
            SUCCESS
        },
    )?;
    linker.func_wrap(
        MODULE,
        "environ_sizes_get",
        |mut caller: Caller<'_, Host>, count_at: i32, bytes_at: i32| {
            let mut place = Place(&mut caller);
            let put = place.put(count_at, &[0; 4]);
            answer(put.and_then(|()| place.put(bytes_at, &[0; 4])))
        },
    )?;
    linker.func_wrap(MODULE, "environ_get", |_: i32, _: i32| SUCCESS)?;
    Ok(())
}

fn define_streams(linker: &mut Linker<Host>) -> Result<(), Error> {
    linker.func_wrap(MODULE, "fd_write", write)?;
    linker.func_wrap(MODULE, "fd_read", read)?;
    let known = |descriptor: i32| match (0..3).contains(&descriptor) {
        true => SUCCESS,
        false => BAD_DESCRIPTOR,
    };
    linker.func_wrap(MODULE, "fd_close", known)?;
    linker.func_wrap(MODULE, "fd_seek", |_: i32, _: i64, _: i32, _: i32| NO_SEEK)?;
    linker.func_wrap(MODULE, "fd_prestat_get", |_: i32, _: i32| BAD_DESCRIPTOR)?;
    linker.func_wrap(MODULE, "fd_prestat_dir_name", |_: i32, _: i32, _: i32| {
        BAD_DESCRIPTOR
    })?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_get",
        move |mut caller: Caller<'_, Host>, descriptor: i32, at: i32| {
            if known(descriptor) != SUCCESS {
                return BAD_DESCRIPTOR;
            }
            // A character device, with all rights and no flags.
            let mut stat = [0; 24];
            stat[0] = 2;
            stat[8..].fill(0xff);
            answer(Place(&mut caller).put(at, &stat))
        },
    )?;
    Ok(())
}

fn write(mut caller: Caller<'_, Host>, descriptor: i32, at: i32, count: i32, told_at: i32) -> i32 {
    let mut place = Place(&mut caller);
    let Some(pieces) = place.list(at, count) else {
        return FAULT;
    };
    let mut bytes = Vec::new();
    for (at, length) in pieces {
        match place.get(at, length) {
            Some(piece) => bytes.extend_from_slice(piece),
            None => return FAULT,
        }
    }
    let written = match descriptor {
        1 => stdout().write_all(&bytes).and_then(|()| stdout().flush()),
        2 => stderr().write_all(&bytes),
        _ => return BAD_DESCRIPTOR,
    };
    match written {
        Ok(()) => answer(place.put(told_at, &(bytes.len() as u32).to_le_bytes())),
        Err(_) => IO,
    }
}

fn read(mut caller: Caller<'_, Host>, descriptor: i32, at: i32, count: i32, told_at: i32) -> i32 {
    if descriptor != 0 {
        return BAD_DESCRIPTOR;
    }
    let mut place = Place(&mut caller);
    let first = place
        .list(at, count)
        .and_then(|pieces| pieces.into_iter().find(|piece| piece.1 > 0));
    let mut done = 0;
    if let Some((at, length)) = first {
        let Some(bytes) = place.get(at, length) else {
            return FAULT;
        };
        match stdin().read(bytes) {
            Ok(count) => done = count as u32,
            Err(_) => return IO,
        }
    }
    answer(place.put(told_at, &done.to_le_bytes()))
}
