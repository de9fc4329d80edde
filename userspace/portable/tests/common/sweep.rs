// SPDX-License-Identifier: GPL-2.0
//! A run that is stopped at every k-th poll, and taken up each time by a new instance.

use super::engine::{Code, Instance, Value};
use pagemove_portable::{control, Points};

/// All that can be seen of a program when it has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub results: Result<Vec<Value>, String>,
    /// Of each export that is looked at, what is in it.
    pub seen: Vec<Option<Vec<u8>>>,
    pub notes: Vec<u64>,
}

/// The state of a program that stands.
#[derive(Clone, Debug)]
pub struct State {
    pub memories: Vec<(String, Vec<u8>)>,
    pub globals: Vec<(String, Value)>,
    pub frames: Vec<u8>,
    pub notes: Vec<u64>,
}

/// What a sweep has done.
#[derive(Clone, Debug)]
pub struct Swept {
    pub end: End,
    pub stops: usize,
    /// Bytes of frames, at most.
    pub frames: usize,
    /// How deep calls were, at most.
    pub depth: usize,
}

/// No test needs so many; a program that was damaged may.
const MOST_STOPS: usize = 20_000;

/// Something to be done wrongly to a state, on its way.
pub type Damage = dyn Fn(&mut State, &Points);

impl End {
    /// Forgets why it has ended with a trap: engines tell it in their own words.
    pub fn without_reason(mut self) -> Self {
        self.results = self.results.map_err(|_| String::new());
        self
    }
}

/// Runs an exported function of a module that was not rewritten.
pub fn plain(code: &dyn Code, name: &str, arguments: &[Value], seen: &[&str]) -> End {
    let mut instance = code.instantiate().expect("it can begin");
    let results = instance.call(name, Some(arguments));
    end(&mut *instance, results, seen)
}

fn end(instance: &mut dyn Instance, results: Result<Vec<Value>, String>, seen: &[&str]) -> End {
    End {
        results,
        seen: seen.iter().map(|name| instance.seen(name)).collect(),
        notes: instance.notes().clone(),
    }
}

/// Takes the state of a program that stands.
pub fn take(instance: &mut dyn Instance) -> State {
    let mut memories = Vec::new();
    for index in 0.. {
        let name = format!("{}{index}", control::PROGRAM_MEMORY);
        let Some(bytes) = instance.memory(&name) else {
            break;
        };
        memories.push((name, bytes));
    }
    let all = instance.memory(control::MEMORY).expect("it was rewritten");
    let from = control::FRAMES as usize;
    let to = from + instance.word(control::TOP) as usize;
    State {
        memories,
        globals: instance.globals(),
        frames: all[from..to].to_vec(),
        notes: instance.notes().clone(),
    }
}

/// Gives a new instance the state of another one; it is to be called again.
pub fn give(instance: &mut dyn Instance, state: &State) {
    for (name, bytes) in &state.memories {
        instance.set_memory(name, bytes);
    }
    for (name, value) in &state.globals {
        instance.set_global(name, *value);
    }
    let mut control = vec![0; control::FRAMES as usize];
    control.extend(&state.frames);
    instance.set_memory(control::MEMORY, &control);
    instance.set_word(control::TOP, state.frames.len() as i32);
    instance.set_word(control::WORD, control::REWINDS);
    *instance.notes() = state.notes.clone();
}

/// Runs an exported function of a rewritten module with a stop at every `k`-th poll; each time
/// the next one of `engines` goes on.
pub fn sweep(
    engines: &[&dyn Code],
    points: &Points,
    name: &str,
    arguments: &[Value],
    k: i32,
    seen: &[&str],
    damage: &Damage,
) -> Swept {
    let mut swept = Swept {
        end: End {
            results: Ok(Vec::new()),
            seen: Vec::new(),
            notes: Vec::new(),
        },
        stops: 0,
        frames: 0,
        depth: 0,
    };
    let mut instance = engines[0].instantiate().expect("it can begin");
    instance.set_word(control::TICKS, k);
    let mut results = instance.call(name, Some(arguments));
    while results.is_ok() && instance.word(control::WORD) == control::UNWINDS {
        swept.stops += 1;
        assert!(swept.stops < MOST_STOPS, "it stops and stops");
        let mut state = take(&mut *instance);
        swept.frames = swept.frames.max(state.frames.len());
        let frames = points
            .frames(&state.frames)
            .expect("frames fit their points");
        swept.depth = swept.depth.max(frames.len());
        damage(&mut state, points);
        instance = engines[swept.stops % engines.len()]
            .instantiate()
            .expect("it can begin");
        give(&mut *instance, &state);
        instance.set_word(control::TICKS, k);
        results = instance.call(name, None);
    }
    if results.is_ok() {
        assert_eq!(instance.word(control::TOP), 0, "frames are left");
    }
    swept.end = end(&mut *instance, results, seen);
    swept
}

/// Nothing is damaged.
pub fn nothing(_: &mut State, _: &Points) {}
