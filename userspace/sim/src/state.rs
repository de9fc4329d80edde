// SPDX-License-Identifier: GPL-2.0
//! The engine and the world together: what may happen, and one thing happening.

use crate::action::Action;
use crate::config::Config;
use crate::cpu::Why;
use crate::editor::is_final;
use crate::helper::HelperCpu;
use crate::iommu::Stage as InvalidationStage;
use crate::memory::{address, entry_of, iova, Place};
use crate::monitor::{place_of, FORMAT};
use crate::world::World;
use crate::{DEVICES, PAGES, WORDS};
use engine::rtm::{AbortBits, Duty, Either, Helper, Status};
use engine::{AbortCounts, Job, Outcome, PageMove, Run, Stage};
use std::sync::Arc;

/// A state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub world: World,
    pub run: Run<Either>,
    pub helper: Helper,
    pages: [PageMove; PAGES],
}

impl State {
    /// Before anything was done.
    pub fn new(config: &Arc<Config>) -> Self {
        let page = |n| {
            let (start, end) = (address(Place::Start, n), address(Place::End, n));
            PageMove::new(iova(n), entry_of(n), FORMAT, start, end)
        };
        let pages = [page(0), page(1)];
        Self {
            world: World::new(config),
            run: Run::new::<World>(&config.policy, &pages[..config.workload.pages]),
            helper: Helper::new(),
            pages,
        }
    }

    /// The pages that are moved.
    pub fn pages(&self) -> &[PageMove] {
        &self.pages[..self.world.config.workload.pages]
    }

    /// The caller has its answer.
    pub fn is_done(&self) -> bool {
        self.run.stage() == Stage::Done
    }

    /// Nothing is under way any more.
    pub fn is_quiet(&self) -> bool {
        let world = &self.world;
        let idle = |d: &crate::Device| d.op == crate::Op::Idle;
        let landed = world.memory.posted.iter().flatten().all(Option::is_none);
        let helper = self.helper.duty() == Duty::Idle && !world.mail.fresh;
        self.is_done() && helper && landed && world.devices.iter().all(idle)
    }

    /// Everything that may happen now.
    pub fn actions(&self, actions: &mut Vec<Action>) {
        self.cpu_actions(actions);
        for device in 0..DEVICES {
            self.device_actions(device, actions);
        }
        self.other_actions(actions);
    }

    fn cpu_actions(&self, actions: &mut Vec<Action>) {
        let world = &self.world;
        if !self.is_done() {
            actions.push(Action::Editor);
        }
        if self.helper.duty() != Duty::Idle || world.mail.fresh {
            actions.push(Action::Helper);
        }
        if world.clock_runs && world.clock < world.config.last_tick() {
            actions.push(Action::Tick);
        }
        let Some(tx) = world.tx.as_ref().filter(|tx| tx.is_active()) else {
            return;
        };
        let load = &world.config.workload;
        if tx.has_buffered() {
            actions.push(Action::Drain);
        }
        if load.interrupts {
            actions.push(Action::Interrupt);
        }
        if load.capacity && tx.watches() {
            actions.push(Action::Capacity);
        }
    }

    fn device_actions(&self, device: usize, actions: &mut Vec<Action>) {
        let world = &self.world;
        let it = &world.devices[device];
        if it.gone {
            return;
        }
        if it.op != crate::Op::Idle {
            actions.push(Action::Proceed { device });
        } else {
            for page in 0..world.config.workload.pages {
                if it.accesses > 0 {
                    actions.push(Action::Read { device, page });
                    if !it.kind.only_reads {
                        actions.push(Action::Write { device, page });
                    }
                }
                if it.requests > 0 {
                    for write in [false, true] {
                        actions.push(Action::Request {
                            device,
                            page,
                            write,
                        });
                    }
                }
            }
        }
        let waiting = world.invalidation.stage == InvalidationStage::Evicted;
        let asked = it.kind.ats && it.kind.answers && waiting;
        if asked && !world.invalidation.devices[device] && world.iommu_is_clean() {
            actions.push(Action::EvictDevice { device });
        }
        if it.kind.vanishes {
            actions.push(Action::Vanish { device });
        }
    }

    fn other_actions(&self, actions: &mut Vec<Action>) {
        let world = &self.world;
        let load = &world.config.workload;
        if world.invalidation.stage == InvalidationStage::Queued {
            actions.push(Action::Evict);
        }
        if load.invalidation_fails
            && world.invalidation.stage != InvalidationStage::Idle
            && !world.invalidation.failed
        {
            actions.push(Action::InvalidationFails);
        }
        for page in 0..load.pages {
            for word in 0..WORDS {
                if world.memory.posted[page][word].is_some() {
                    actions.push(Action::Land { page, word });
                }
            }
            if world.cpu_writes > 0 && !world.cpu_held {
                actions.push(Action::CpuWrite { page });
            }
            if world.software_bits > 0 {
                actions.push(Action::SoftwareBit { page });
            }
        }
        let moved = (0..load.pages).any(|n| place_of(world.entries[n], n) == Some(Place::End));
        if load.link_fails && world.link_up && !moved {
            actions.push(Action::LinkDown);
        }
        if load.stops && !world.stopped && !self.is_done() {
            actions.push(Action::Stop);
        }
    }

    /// One thing happens.
    pub fn apply(&mut self, action: Action) {
        let world = &mut self.world;
        match action {
            Action::Editor => self.editor_step(),
            Action::Helper => {
                let without = world.config.policy.without;
                self.helper.step(&mut HelperCpu(world), without);
            }
            Action::Tick => world.clock += 1,
            Action::Drain => {
                if let Some(tx) = &mut world.tx {
                    tx.drain_one();
                }
            }
            Action::Interrupt => world.doom(Status(0), Why::Interrupt),
            Action::Capacity => {
                let status = Status(AbortBits::CAPACITY.bits());
                world.doom(status, Why::Capacity);
            }
            Action::Read { device, page } => world.begin(device, page, false, false),
            Action::Write { device, page } => world.begin(device, page, true, false),
            Action::Request {
                device,
                page,
                write,
            } => world.begin(device, page, write, true),
            Action::Proceed { device } => world.proceed(device),
            Action::Evict => world.evict(),
            Action::EvictDevice { device } => world.evict_device(device),
            Action::InvalidationFails => world.invalidation.failed = true,
            Action::Vanish { device } => world.vanish(device),
            Action::Land { page, word } => world.memory.land(page, word),
            Action::LinkDown => {
                world.link_up = false;
                world.memory.posted = Default::default();
            }
            Action::CpuWrite { page } => world.cpu_write(page),
            Action::SoftwareBit { page } => world.set_software_bit(page),
            Action::Stop => world.stopped = true,
        }
    }

    fn editor_step(&mut self) {
        let config = self.world.config.clone();
        let mut aborts = AbortCounts::default();
        let mut job = Job {
            policy: &config.policy,
            pages: &mut self.pages[..config.workload.pages],
            aborts: &mut aborts,
        };
        self.run.step(&mut self.world, &mut job);
        if self.run.stage() != Stage::Done {
            return;
        }
        assert!(is_final(job.pages), "the engine left a page behind");
        for (n, page) in job.pages.iter().enumerate() {
            self.world.freed[n] = match page.outcome() {
                _ if !page.is_settled() => None,
                Outcome::LostWrite => None,
                Outcome::Moved => Some(Place::Start),
                Outcome::Aborted(_) | Outcome::NotTried => Some(Place::End),
            };
        }
    }

    /// Tells which of its pages backs address `n`, for a device.
    pub fn mapped(&self, n: usize) -> Option<Place> {
        place_of(self.world.entries[n], n)
    }

    /// Whether the page that is mapped has every byte that was written last.
    pub fn is_whole(&self, n: usize) -> bool {
        let world = &self.world;
        self.mapped(n)
            .is_some_and(|place| *world.memory.page(place, n) == world.newest[n])
    }
}
