// SPDX-License-Identifier: GPL-2.0
//! The engine and the world together: what may happen, and one thing happening.

use crate::action::Action;
use crate::config::{Config, Glue, Home, Leaves};
use crate::cpu::Why;
use crate::editor::is_final;
use crate::helper::HelperCpu;
use crate::iommu::Stage as InvalidationStage;
use crate::memory::{address, entry_of, iova, Place};
use crate::monitor::{place_of, FORMAT};
use crate::world::World;
use crate::{DEVICES, PAGES, WORDS};
use engine::rtm::{AbortBits, Duty, Either, Helper, Phase, Status};
use engine::{AbortCounts, Job, Outcome, PageMove, PageState, Run, Stage};
use std::sync::Arc;

/// A state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub world: World,
    pub run: Run<Either>,
    pub helper: Helper,
    pages: [PageMove; PAGES],
}

/// The chunk that all pages are.
fn chunk() -> PageMove {
    let (start, end) = (address(Place::Start, 0), address(Place::End, 0));
    let chunk = PageMove::whole(iova(0), entry_of(0), FORMAT, start, end);
    chunk.expect("the addresses are a chunk's")
}

impl State {
    /// Before anything was done.
    pub fn new(config: &Arc<Config>) -> Self {
        let page = |n| {
            let (start, end) = (address(Place::Start, n), address(Place::End, n));
            PageMove::new(iova(n), entry_of(n), FORMAT, start, end)
        };
        let pages = match config.workload.leaves {
            Leaves::Pages => [page(0), page(1)],
            Leaves::Whole | Leaves::Pieces => [chunk(), page(1)],
        };
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
        let landed = (0..PAGES).all(|page| !world.memory.is_posted(page));
        let updated = world.devices.iter().all(|device| device.late.is_none());
        let helper = self.helper.duty() == Duty::Idle && !world.mail.fresh;
        self.is_done() && helper && landed && updated && world.devices.iter().all(idle)
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
            let load = &world.config.workload;
            for page in load.in_reach() {
                if it.accesses > 0 {
                    actions.push(Action::Read { device, page });
                    if !it.kind.only_reads {
                        actions.push(Action::Write { device, page });
                    }
                }
                if it.requests > 0 {
                    // Ahead of use an IOMMU itself only reads.
                    for write in [false, true].into_iter().take(1 + usize::from(it.kind.ats)) {
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
        let at_it = world.unit_of(device) == world.invalidation.unit;
        let asked = it.kind.ats && it.kind.answers && waiting && at_it;
        if asked && !world.invalidation.devices[device] && world.iommu_is_clean() {
            actions.push(Action::EvictDevice { device });
        }
        if it.kind.vanishes {
            actions.push(Action::Vanish { device });
        }
        if it.late.is_some() {
            actions.push(Action::LateUpdate { device });
        }
    }

    fn other_actions(&self, actions: &mut Vec<Action>) {
        let world = &self.world;
        let load = &world.config.workload;
        if world.invalidation.stage == InvalidationStage::Queued {
            actions.push(Action::Evict);
        }
        let reverted = |page: &PageMove| matches!(page.state(), PageState::Reverted { .. });
        let last = load.last_invalidation_fails && self.pages().iter().any(reverted);
        if (load.invalidation_fails || last)
            && world.invalidation.stage != InvalidationStage::Idle
            && !world.invalidation.failed
        {
            actions.push(Action::InvalidationFails);
        }
        for page in load.moved() {
            let leaf = load.leaf_of(page);
            for word in 0..WORDS {
                if world.memory.posted[page][word].is_some() {
                    actions.push(Action::Land { page, word });
                }
                if world.memory.dmas[page][word].is_some() {
                    actions.push(Action::LandDma { page, word });
                }
            }
            let is_first = leaf == page;
            if is_first && world.changes > 0 {
                actions.push(Action::ChangeLeaf { page });
            }
            let may_be_used = load.in_use && !world.used[leaf] && !world.cpu_held;
            if is_first && may_be_used && !self.is_done() {
                actions.push(Action::Use { page });
            }
            if world.cpu_writes > 0 && (!world.cpu_held || world.used[leaf]) {
                actions.push(Action::CpuWrite { page });
            }
            if is_first && world.software_bits > 0 {
                actions.push(Action::SoftwareBit { page });
            }
        }
        let moved = (0..load.pages).any(|n| place_of(world.entries[n], n) == Some(Place::End));
        let is_home = world.config.hardware.home != Home::Memory;
        let fails = load.link_fails && world.link_up && world.links == 0;
        if fails && (!moved || is_home) {
            actions.push(Action::LinkDown);
        }
        if load.peer_returns && !world.link_up {
            actions.push(Action::LinkUp { other: false });
            // Memory that a page goes to can be another between its read-back and its commit:
            // that is beyond any engine.
            if is_home {
                actions.push(Action::LinkUp { other: true });
            }
        }
        if load.evictions {
            self.evictions(actions);
        }
        let waits =
            matches!(self.run.attempt(), Either::Rtm(it) if it.phase() == Phase::AwaitReport);
        if load.impatient && waits && !world.impatient && !self.is_done() {
            actions.push(Action::Impatience);
        }
        if load.stops && !world.stopped && !self.is_done() {
            actions.push(Action::Stop);
        }
    }

    fn evictions(&self, actions: &mut Vec<Action>) {
        let world = &self.world;
        for (unit, iotlb) in world.iotlbs.iter().enumerate() {
            if world.lines[unit].is_some() {
                actions.push(Action::ForgetLine { unit });
            }
            for page in (0..PAGES).filter(|page| iotlb[*page].is_some()) {
                actions.push(Action::Forget { unit, page });
            }
        }
        for (device, it) in world.devices.iter().enumerate() {
            for page in (0..PAGES).filter(|page| it.tlb[*page].is_some()) {
                actions.push(Action::ForgetOwn { device, page });
            }
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
            Action::LandDma { page, word } => world.land_dma(page, word),
            Action::LateUpdate { device } => world.late_update(device),
            Action::Forget { unit, page } => world.iotlbs[unit][page] = None,
            Action::ForgetLine { unit } => world.lines[unit] = None,
            Action::ForgetOwn { device, page } => world.devices[device].tlb[page] = None,
            Action::ChangeLeaf { page } => world.change_leaf(page),
            Action::Use { page } => world.used[page] = true,
            Action::Impatience => world.impatient = true,
            Action::LinkDown => {
                world.link_up = false;
                world.memory.posted = Default::default();
            }
            Action::LinkUp { other } => world.link_comes_up(other),
            Action::CpuWrite { page } => world.cpu_write(page),
            Action::SoftwareBit { page } => world.set_software_bit(page),
            Action::Stop => world.stopped = true,
        }
    }

    fn editor_step(&mut self) {
        let config = self.world.config.clone();
        let before = self.pages;
        let mut aborts = AbortCounts::default();
        let mut job = Job {
            policy: &config.policy,
            pages: &mut self.pages[..config.workload.pages],
            aborts: &mut aborts,
        };
        self.run.step(&mut self.world, &mut job);
        for (n, (page, before)) in job.pages.iter().zip(before).enumerate() {
            if matches!(page.state(), PageState::Aborted(_)) && page.state() != before.state() {
                self.world.given_back(n);
            }
        }
        if self.run.stage() != Stage::Done {
            return;
        }
        assert!(is_final(job.pages), "the engine left a page behind");
        for (n, page) in job.pages.iter().enumerate() {
            self.world.freed[n] = match page.outcome() {
                _ if !page.is_settled() && !config.without.contains(Glue::SETTLED) => None,
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
        let mut pages = world.config.workload.pages_of(n);
        self.mapped(n).is_some_and(|place| {
            pages.all(|page| *world.memory.page(place, page) == world.newest[page])
        })
    }
}
