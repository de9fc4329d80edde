// SPDX-License-Identifier: GPL-2.0
//! The load against a device made of memory copies, with and without what has to be
//! noticed.

use super::*;
use pagemove_devices::device::{Completion, Limits, SINK_PAGES};
use pagemove_devices::memory::{Memory, Source};
use std::collections::VecDeque;

const PAGES: usize = 4;
/// The depth of a device that reads as well.
const READING: u16 = DEPTH - 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    DropOne,
    TearOne,
    FailOne,
    Silent,
    /// What it has read is not what is there.
    StrayLook,
}

struct Copier {
    memory: Slice,
    content: Vec<u64>,
    done: VecDeque<Completion>,
    wrong: Wrong,
    countdown: u32,
    depth: u16,
    looks: u64,
}

impl DmaDevice for Copier {
    fn limits(&self) -> Limits {
        Limits {
            depth: self.depth,
            max_length: PAGE_SIZE,
            store: PAGE_SIZE as u64,
            iova_end: u64::MAX,
            in_order: false,
            timeout_s: 0,
        }
    }

    fn submit(&mut self, transfer: &Transfer) -> Result<()> {
        self.countdown = self.countdown.saturating_sub(1);
        let wrong = if self.countdown == 1 {
            self.wrong
        } else {
            Wrong::Nothing
        };
        let length = match wrong {
            Wrong::DropOne => 0,
            Wrong::TearOne => self.content.len() - 8,
            _ => self.content.len(),
        };
        self.memory
            .write_words(transfer.iova as usize, &self.content[..length]);
        if self.wrong != Wrong::Silent {
            self.done.push_back(Completion {
                tag: transfer.tag,
                error: (wrong == Wrong::FailOne).then(|| "failed".to_string()),
            });
        }
        Ok(())
    }

    fn look(&mut self, tag: u16, page: &Slice, sink: &Slice) -> Result<()> {
        self.looks += 1;
        let strays = self.wrong == Wrong::StrayLook && self.looks == 10;
        for index in 1..SINK_PAGES {
            page.write_word((index - 1) * 8, sink.iova(index * PAGE_SIZE));
            let to = match strays {
                true => sink.iova(0),
                false => page.read_word((index - 1) * 8),
            };
            self.memory.write_words(to as usize, &self.content);
        }
        self.done.push_back(Completion { tag, error: None });
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<Completion>> {
        Ok(self.done.pop_front())
    }

    fn stop(&mut self) -> Result<()> {
        Ok(())
    }
}

fn run(wrong: Wrong) -> Result<Counts> {
    run_with(wrong, PAGES as u16)
}

fn run_with(wrong: Wrong, depth: u16) -> Result<Counts> {
    let memory = Memory::new(Source::Memfd, (PAGES + 1 + SINK_PAGES) * PAGE_SIZE, 0, None)?;
    let whole = Slice::whole(&memory);
    let page = |page: usize| whole.part(page * PAGE_SIZE, PAGE_SIZE);
    let sink = whole.part((PAGES + 1) * PAGE_SIZE, SINK_PAGES * PAGE_SIZE);
    let content: Vec<u64> = (0..PAGE_SIZE as u64 / 8).map(|word| word * word).collect();
    let mut copier = Copier {
        memory: whole.clone(),
        content: content.clone(),
        done: VecDeque::new(),
        wrong,
        countdown: 10,
        depth,
        looks: 0,
    };
    let looked_at = content.repeat(SINK_PAGES - 1);
    let (ballast, read) = (sink.part(0, PAGE_SIZE), page(PAGES));
    let pages = (0..PAGES).map(page).collect();
    let load = Load::new(&mut copier, pages, ballast, &content, DEPTH);
    let load = match depth {
        READING => load.reading(read, sink, &looked_at),
        _ => load,
    };
    let ((), counts) = load.during(|counts| {
        let is_enough = || counts.dmas() >= 100 && (depth != READING || counts.reads() >= 20);
        while !is_enough() && wrong != Wrong::Silent {
            std::thread::yield_now();
        }
        Ok(())
    })?;
    Ok(counts)
}

#[test]
fn a_device_that_does_what_it_shall() {
    let counts = run(Wrong::Nothing).unwrap();
    assert!(counts.dmas() >= 100);
    assert_eq!((counts.lost(), counts.errors()), (0, 0));
}

#[test]
fn a_device_that_does_one_at_a_time_and_one_with_ballast() {
    for depth in [1, 3, DEPTH] {
        let counts = run_with(Wrong::Nothing, depth).unwrap();
        assert!(counts.dmas() >= 100, "depth {depth}");
        assert_eq!((counts.lost(), counts.errors()), (0, 0), "depth {depth}");
    }
}

#[test]
fn one_write_that_is_missing_or_torn_is_found() {
    for wrong in [Wrong::DropOne, Wrong::TearOne] {
        let counts = run(wrong).unwrap();
        assert_eq!((counts.lost(), counts.errors()), (1, 0));
    }
}

#[test]
fn pages_are_read_beside_and_a_read_that_strays_is_found() {
    let counts = run_with(Wrong::Nothing, READING).unwrap();
    assert!(counts.reads() >= 20 && counts.dmas() > counts.reads());
    assert_eq!((counts.lost(), counts.errors()), (0, 0));
    let counts = run_with(Wrong::StrayLook, READING).unwrap();
    assert_eq!((counts.lost(), counts.errors()), (1, 0));
    // There is no room for it.
    let counts = run_with(Wrong::Nothing, PAGES as u16).unwrap();
    assert_eq!(counts.reads(), 0);
}

#[test]
fn only_what_ends_in_its_time_has_met() {
    let counts = Counts::new();
    counts.count(true);
    counts.meet(3_600_000_000_000);
    counts.count(true);
    counts.count(false);
    counts.part();
    counts.count(true);
    assert_eq!((counts.dmas(), counts.met(), counts.lost()), (4, 2, 1));
    counts.meet(0);
    counts.count(true);
    assert_eq!(counts.met(), 2);
}

#[test]
fn one_error_of_the_device_is_counted() {
    let counts = run(Wrong::FailOne).unwrap();
    assert_eq!((counts.lost(), counts.errors()), (0, 1));
}

#[test]
fn a_device_that_never_answers_is_an_error() {
    let error = run(Wrong::Silent).unwrap_err();
    assert!(format!("{error:#}").contains("comes back"), "{error:#}");
}

#[test]
fn the_load_ends_when_the_work_fails() {
    let memory = Memory::new(Source::Memfd, PAGE_SIZE, 0, None).unwrap();
    let pages = Slice::whole(&memory);
    let content = vec![7; PAGE_SIZE / 8];
    let mut copier = Copier {
        memory: pages.clone(),
        content: content.clone(),
        done: VecDeque::new(),
        wrong: Wrong::Nothing,
        countdown: 0,
        depth: 1,
        looks: 0,
    };
    let load = Load::new(&mut copier, vec![pages.clone()], pages, &content, 1);
    let error = load
        .during(|_| -> Result<()> { anyhow::bail!("no") })
        .unwrap_err();
    assert_eq!(error.to_string(), "no");
}
