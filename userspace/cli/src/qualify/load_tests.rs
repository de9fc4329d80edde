// SPDX-License-Identifier: GPL-2.0
//! The load against a device made of memory copies, with and without what has to be
//! noticed.

use super::*;
use pagemove_devices::device::{Completion, Limits};
use pagemove_devices::memory::{Memory, Source};
use std::collections::VecDeque;

const PAGES: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    DropOne,
    TearOne,
    FailOne,
    Silent,
}

struct Copier {
    memory: Slice,
    content: Vec<u64>,
    done: VecDeque<Completion>,
    wrong: Wrong,
    countdown: u32,
    depth: u16,
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
    let memory = Memory::new(Source::Memfd, (PAGES + 1) * PAGE_SIZE, 0, None)?;
    let whole = Slice::whole(&memory);
    let pages = whole.part(0, PAGES * PAGE_SIZE);
    let ballast = whole.part(PAGES * PAGE_SIZE, PAGE_SIZE);
    let content: Vec<u64> = (0..PAGE_SIZE as u64 / 8).map(|word| word * word).collect();
    let mut copier = Copier {
        memory: whole.clone(),
        content: content.clone(),
        done: VecDeque::new(),
        wrong,
        countdown: 10,
        depth,
    };
    let load = Load::new(&mut copier, pages, ballast, &content, DEPTH);
    let ((), counts) = load.during(|counts| {
        while counts.dmas() < 100 && wrong != Wrong::Silent {
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
    };
    let load = Load::new(&mut copier, pages.clone(), pages, &content, 1);
    let error = load
        .during(|_| -> Result<()> { anyhow::bail!("no") })
        .unwrap_err();
    assert_eq!(error.to_string(), "no");
}
