// SPDX-License-Identifier: GPL-2.0
//! The figures as they are written, one reading of them, to keep what is wrong with them
//! checkable. Requests, grants and refusals travel apart from the channels, as datagrams do,
//! in order between two processes; who grants is connected from then on (figure 4, line 7), who
//! gets a grant, wherever he reads it, uses that channel (lines 4 and 5); a process moves
//! between two of its calls; and a marker in line 6 of figure 6 is not what that waits for.

use crate::world::Op;
use pagemove_peers::{Epoch, Rank, Who};
use stateright::{Model, Property};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A connection, by who granted it to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel {
    granter: Who,
    asker: Who,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Control {
    Request,
    Grant(Channel),
    Refusal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Item {
    Data(u64),
    PeerMigrating,
    EndOfMessages,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Doing {
    Program,
    /// Figure 4.
    Connecting(Rank),
    /// Figure 6, line 6.
    Migrating(BTreeSet<Channel>),
    Initializing,
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    doing: Doing,
    /// cc, whose keys are the set Connected.
    cc: BTreeMap<Rank, Channel>,
    /// All that it reads from.
    channels: BTreeSet<Channel>,
    pl: Vec<Epoch>,
    list: VecDeque<(Rank, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Figures {
    processes: BTreeMap<Who, Process>,
    scheduler: Vec<Epoch>,
    next: Vec<usize>,
    sent: Vec<Vec<u64>>,
    log: Vec<Vec<(Rank, u64)>>,
    moves: Vec<u8>,
    controls: BTreeMap<(Who, Who), VecDeque<Control>>,
    items: BTreeMap<(Channel, Who), VecDeque<Item>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Call(Rank),
    Control(Who, Who),
    Item(Channel, Who),
    Migrate(Rank),
    Transfer(Rank),
}

#[derive(Clone, Copy, Debug)]
pub struct AsWritten {
    pub scripts: &'static [&'static [Op]],
    pub moves: &'static [u8],
}

impl AsWritten {
    fn call(&self, it: &Figures, rank: Rank) -> Option<&'static Op> {
        self.scripts[usize::from(rank)].get(it.next[usize::from(rank)])
    }

    /// Whether a process reads messages of whatever kind: in recv, which is where it ends, too.
    fn receives(&self, it: &Figures, who: Who) -> bool {
        let call = self.call(it, who.rank);
        matches!(call, None | Some(Op::Recv(_)))
    }

    fn is_done(&self, it: &Figures) -> bool {
        let done = |n: usize| it.next[n] == self.scripts[n].len() && it.moves[n] == 0;
        (0..self.scripts.len()).all(done)
            && it
                .processes
                .values()
                .all(|process| matches!(process.doing, Doing::Program | Doing::Over))
    }
}

impl Figures {
    fn now(&self, rank: Rank) -> Who {
        let mut all = self.processes.iter().filter(|(who, _)| who.rank == rank);
        let runs = |doing: &Doing| !matches!(doing, Doing::Initializing | Doing::Over);
        *all.find(|(_, it)| runs(&it.doing)).expect("one runs").0
    }

    fn tell(&mut self, from: Who, to: Who, control: Control) {
        self.controls
            .entry((from, to))
            .or_default()
            .push_back(control);
    }

    fn put(&mut self, channel: Channel, from: Who, item: Item) {
        let to = if channel.granter == from {
            channel.asker
        } else {
            channel.granter
        };
        self.items.entry((channel, to)).or_default().push_back(item);
    }

    /// grant_connection_to.
    fn grant(&mut self, who: Who, asker: Who) {
        let channel = Channel {
            granter: who,
            asker,
        };
        let process = self.processes.get_mut(&who).unwrap();
        process.cc.insert(asker.rank, channel);
        process.channels.insert(channel);
        self.tell(who, asker, Control::Grant(channel));
    }

    /// Figure 4, line 2.
    fn ask(&mut self, who: Who, dest: Rank) {
        let process = self.processes.get_mut(&who).unwrap();
        process.doing = Doing::Connecting(dest);
        let epoch = process.pl[usize::from(dest)];
        self.tell(who, Who { rank: dest, epoch }, Control::Request);
    }

    fn control(&mut self, from: Who, to: Who) {
        let queue = self.controls.get_mut(&(from, to)).unwrap();
        let control = queue.pop_front().unwrap();
        if queue.is_empty() {
            self.controls.remove(&(from, to));
        }
        let refuses = matches!(self.processes[&to].doing, Doing::Migrating(_) | Doing::Over);
        match control {
            Control::Request if refuses => self.tell(to, from, Control::Refusal),
            Control::Request => self.grant(to, from),
            Control::Grant(channel) if !refuses => {
                let process = self.processes.get_mut(&to).unwrap();
                process.cc.insert(from.rank, channel);
                process.channels.insert(channel);
            }
            Control::Grant(_) => {}
            Control::Refusal => {
                let epoch = self.scheduler[usize::from(from.rank)];
                let process = self.processes.get_mut(&to).unwrap();
                process.pl[usize::from(from.rank)] = epoch;
                if process.doing == Doing::Connecting(from.rank) {
                    self.ask(to, from.rank);
                }
            }
        }
        let process = self.processes.get_mut(&to).unwrap();
        if let Doing::Connecting(dest) = process.doing {
            // Line 1.
            if process.cc.contains_key(&dest) {
                process.doing = Doing::Program;
            }
        }
    }

    fn item(&mut self, channel: Channel, to: Who) {
        let queue = self.items.get_mut(&(channel, to)).unwrap();
        let item = queue.pop_front().unwrap();
        if queue.is_empty() {
            self.items.remove(&(channel, to));
        }
        let from = if channel.granter == to {
            channel.asker
        } else {
            channel.granter
        };
        let process = self.processes.get_mut(&to).unwrap();
        match (item, &mut process.doing) {
            (Item::Data(number), _) => process.list.push_back((from.rank, number)),
            (Item::EndOfMessages, Doing::Migrating(waiting)) => {
                waiting.remove(&channel);
            }
            // Line 6 of figure 6 has no word for it.
            (Item::PeerMigrating, Doing::Migrating(_)) | (Item::EndOfMessages, _) => {}
            (Item::PeerMigrating, _) => {
                process.channels.remove(&channel);
                if process.cc.get(&from.rank) == Some(&channel) {
                    process.cc.remove(&from.rank);
                }
                self.put(channel, to, Item::EndOfMessages);
            }
        }
    }

    fn migrate(&mut self, rank: Rank) {
        let who = self.now(rank);
        let epoch = who.epoch + 1;
        self.moves[usize::from(rank)] -= 1;
        self.scheduler[usize::from(rank)] = epoch;
        let new = Process {
            doing: Doing::Initializing,
            cc: BTreeMap::new(),
            channels: BTreeSet::new(),
            pl: self.scheduler.clone(),
            list: VecDeque::new(),
        };
        self.processes.insert(Who { rank, epoch }, new);
        let process = self.processes.get_mut(&who).unwrap();
        let waiting: BTreeSet<_> = process.cc.values().copied().collect();
        process.doing = Doing::Migrating(waiting.clone());
        for channel in waiting {
            self.put(channel, who, Item::PeerMigrating);
        }
    }

    fn transfer(&mut self, rank: Rank) {
        let who = self.now(rank);
        let old = self.processes.get_mut(&who).unwrap();
        old.doing = Doing::Over;
        old.cc.clear();
        old.channels.clear();
        let mut list = std::mem::take(&mut old.list);
        let epoch = who.epoch + 1;
        let new = self.processes.get_mut(&Who { rank, epoch }).unwrap();
        list.append(&mut new.list);
        new.list = list;
        new.pl = self.scheduler.clone();
        new.doing = Doing::Program;
    }
}

impl Model for AsWritten {
    type State = Figures;
    type Action = Step;

    fn init_states(&self) -> Vec<Figures> {
        let of = self.scripts.len();
        let process = Process {
            doing: Doing::Program,
            cc: BTreeMap::new(),
            channels: BTreeSet::new(),
            pl: vec![0; of],
            list: VecDeque::new(),
        };
        let first = |rank| (Who { rank, epoch: 0 }, process.clone());
        vec![Figures {
            processes: (0..of as Rank).map(first).collect(),
            scheduler: vec![0; of],
            next: vec![0; of],
            sent: vec![vec![0; of]; of],
            log: vec![Vec::new(); of],
            moves: self.moves.to_vec(),
            controls: BTreeMap::new(),
            items: BTreeMap::new(),
        }]
    }

    fn actions(&self, it: &Figures, actions: &mut Vec<Step>) {
        for rank in 0..self.scripts.len() as Rank {
            let who = it.now(rank);
            match &it.processes[&who].doing {
                Doing::Program => {
                    if self.call(it, rank).is_some() {
                        actions.push(Step::Call(rank));
                    }
                    if it.moves[usize::from(rank)] > 0 {
                        actions.push(Step::Migrate(rank));
                    }
                }
                Doing::Migrating(waiting) if waiting.is_empty() => {
                    actions.push(Step::Transfer(rank));
                }
                _ => {}
            }
        }
        for (from, to) in it.controls.keys() {
            if it.processes[to].doing != Doing::Program || self.receives(it, *to) {
                actions.push(Step::Control(*from, *to));
            }
        }
        for ((channel, to), items) in &it.items {
            let process = &it.processes[to];
            let reads = match process.doing {
                // The signal has a handler, which reads up to the marker.
                Doing::Program => self.receives(it, *to) || items.contains(&Item::PeerMigrating),
                Doing::Connecting(_) => items.contains(&Item::PeerMigrating),
                Doing::Migrating(_) | Doing::Initializing => true,
                Doing::Over => false,
            };
            if reads && process.channels.contains(channel) {
                actions.push(Step::Item(*channel, *to));
            }
        }
    }

    fn next_state(&self, last: &Figures, step: Step) -> Option<Figures> {
        let mut it = last.clone();
        match step {
            Step::Call(rank) => {
                let n = usize::from(rank);
                let who = it.now(rank);
                match *self.call(&it, rank)? {
                    Op::Send(dest) => match it.processes[&who].cc.get(&dest).copied() {
                        Some(channel) => {
                            let number = &mut it.sent[n][usize::from(dest)];
                            *number += 1;
                            let item = Item::Data(*number);
                            it.put(channel, who, item);
                            it.next[n] += 1;
                        }
                        None => it.ask(who, dest),
                    },
                    Op::Recv(src) => {
                        let list = &mut it.processes.get_mut(&who)?.list;
                        let index = list.iter().position(|(from, _)| *from == src)?;
                        let found = list.remove(index)?;
                        it.log[n].push(found);
                        it.next[n] += 1;
                    }
                }
            }
            Step::Control(from, to) => it.control(from, to),
            Step::Item(channel, to) => it.item(channel, to),
            Step::Migrate(rank) => it.migrate(rank),
            Step::Transfer(rank) => it.transfer(rank),
        }
        (it != *last).then_some(it)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::sometimes("done", |model: &Self, it: &Figures| model.is_done(it)),
            Property::always("order", |_, it: &Figures| {
                it.log.iter().all(|log| {
                    (0..it.log.len() as Rank).all(|rank| {
                        let of_rank: Vec<u64> = log
                            .iter()
                            .filter(|(from, _)| *from == rank)
                            .map(|(_, number)| *number)
                            .collect();
                        of_rank.iter().copied().eq(1..=of_rank.len() as u64)
                    })
                })
            }),
            Property::always("arrives", |model: &Self, it: &Figures| {
                let mut steps = Vec::new();
                model.actions(it, &mut steps);
                let moves = |step| model.next_state(it, step).is_some();
                model.is_done(it) || steps.into_iter().any(moves)
            }),
        ]
    }
}
