// SPDX-License-Identifier: GPL-2.0
//! Who changes the size: the engine's steps, and what the module does between them.

use super::config::{Config, Glue, Script};
use super::world::{chunk, World};
use engine::resize::{Merge, MergePhase, Merged, Split, SplitPhase, Splitted};

/// What was said of the chunk last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Said {
    /// Nothing yet, or not any more.
    Nothing,
    /// It has its leaf, and nobody knows a table.
    Leaf,
    /// It has its table, and nobody knows a leaf.
    Table,
    /// Either may be known.
    Either,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Task {
    Splits(Split),
    Merges(Merge),
    Done,
}

/// See the file's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Editor {
    task: Task,
    said: Said,
}

impl Editor {
    pub(super) fn new(config: &Config) -> Self {
        let task = match config.script {
            Script::Split | Script::SplitAndMerge | Script::SplitTaken => {
                Task::Splits(Split::new())
            }
            Script::Merge | Script::MergeScattered | Script::MergeTaken => {
                Task::Merges(Merge::new())
            }
        };
        Self {
            task,
            said: Said::Nothing,
        }
    }

    pub fn is_done(&self) -> bool {
        self.task == Task::Done
    }

    pub fn said(&self) -> Said {
        self.said
    }

    pub(super) fn step(&mut self, world: &mut World) {
        let config = world.config;
        let chunk = chunk(config.format);
        match &mut self.task {
            Task::Splits(split) => {
                split.step(world, &chunk, config.without);
                if config.glue.contains(Glue::FREE_LAST)
                    && matches!(split.phase(), SplitPhase::AwaitTable(_))
                {
                    world.free();
                }
                if let Some(result) = split.result() {
                    self.is_split(world, result);
                }
            }
            Task::Merges(merge) => {
                self.said = Said::Nothing;
                merge.step(world, &chunk, config.without);
                if config.glue.contains(Glue::FREE_LAST)
                    && matches!(merge.phase(), MergePhase::AwaitTable(_))
                {
                    world.free();
                }
                if let Some(result) = merge.result() {
                    self.is_merged(world, result);
                }
            }
            Task::Done => {}
        }
    }

    fn is_split(&mut self, world: &mut World, result: Splitted) {
        let keeps = !world.config.glue.contains(Glue::KEEP_UNSETTLED);
        self.task = Task::Done;
        self.said = match result {
            Splitted::Split => {
                if world.config.script == Script::SplitAndMerge {
                    self.task = Task::Merges(Merge::new());
                }
                Said::Table
            }
            Splitted::Not(_) => {
                world.free();
                Said::Leaf
            }
            Splitted::Unsettled if keeps => Said::Either,
            Splitted::Unsettled => {
                world.free();
                Said::Either
            }
        };
    }

    fn is_merged(&mut self, world: &mut World, result: Merged) {
        let keeps = !world.config.glue.contains(Glue::KEEP_UNSETTLED);
        self.task = Task::Done;
        self.said = match result {
            Merged::Merged => {
                world.free();
                Said::Leaf
            }
            Merged::Not(_) => Said::Table,
            Merged::Unsettled if keeps => Said::Either,
            Merged::Unsettled => {
                world.free();
                Said::Either
            }
        };
    }
}
