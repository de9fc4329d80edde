// SPDX-License-Identifier: GPL-2.0
//! A virtio network card whose line leads back to itself: what it sends waits there
//! until it receives it. So the line is the store of a [`DmaDevice`], and pages of
//! guest memory go out as frames and come back (Virtual I/O Device specification 1.2,
//! 5.1).
//!
//! It is the device with ATS. QEMU's card translates a frame's addresses and copies
//! its bytes in one go, unlike its disks: Documentation/emulation.md.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{ensure, Context, Result};
use pagemove_uapi::PAGE_SIZE;

use crate::device::{Completion, Depth, Direction, DmaDevice, Limits, Setup, Transfer};
use crate::memory::Slice;
use crate::vfio::Assigned;
use crate::virtio_pci::VirtioPci;
use crate::virtqueue::{Piece, Used, Virtqueue, CHAIN, REQUESTS};

const RECEIVE: u16 = 0;
const SEND: u16 = 1;

/// struct virtio_net_hdr with the member num_buffers.
const HEADER_BYTES: u32 = 12;
/// Each header has a place of its own, by direction and tag.
const HEADER_PLACE: usize = 16;
/// Frames of more pages would need more descriptors; one is the header's.
const MAX_PAGES: usize = CHAIN as usize - 1;

/// One of the two queues.
struct Lane {
    number: u16,
    queue: Virtqueue,
    doorbell: usize,
    headers: Slice,
}

pub struct VirtioNet {
    transport: VirtioPci,
    send: Lane,
    receive: Lane,
    depth: u16,
    /// Places in the store of what is on the line, in the order of the line.
    line: VecDeque<u64>,
    /// Transfers that have to wait until what they want is next on the line, by place.
    waiting: BTreeMap<u64, Transfer>,
    /// Bytes that each request is about, by direction and tag.
    lengths: BTreeMap<(u16, u16), usize>,
    depth_seen: Depth,
}

impl VirtioNet {
    /// Two queues, and a page of headers.
    pub const CONTROL_PAGES: usize = 3;

    pub fn start(assigned: &Assigned, control: Slice, setup: Setup) -> Result<Self> {
        ensure!(
            setup.depth > 0 && setup.depth <= REQUESTS,
            "the queue depth has to be 1 to {REQUESTS}"
        );
        let transport = VirtioPci::start(assigned)?;
        let headers = control.part(2 * PAGE_SIZE, PAGE_SIZE);
        headers.fill(0);
        let lane = |number: u16| -> Result<Lane> {
            let at = usize::from(number);
            let queue = Virtqueue::new(control.part(at * PAGE_SIZE, PAGE_SIZE));
            let doorbell = transport.enable(number, &queue)?;
            let headers = headers.part(at * PAGE_SIZE / 2, PAGE_SIZE / 2);
            Ok(Lane {
                number,
                queue,
                doorbell,
                headers,
            })
        };
        let (receive, send) = (lane(RECEIVE)?, lane(SEND)?);
        transport.go();
        Ok(Self {
            transport,
            send,
            receive,
            depth: setup.depth,
            line: VecDeque::new(),
            waiting: BTreeMap::new(),
            lengths: BTreeMap::new(),
            depth_seen: Depth::default(),
        })
    }

    /// Gives the card buffers for what is next on the line, as far as somebody waits
    /// for it: frames come in the order in which they were sent.
    fn receive_next(&mut self) {
        while let Some(place) = self.line.front() {
            let Some(transfer) = self.waiting.remove(place) else {
                return;
            };
            self.line.pop_front();
            self.offer(&transfer);
        }
    }

    fn offer(&mut self, transfer: &Transfer) {
        let lane = match transfer.direction {
            Direction::ReadsMemory => &mut self.send,
            Direction::WritesMemory => &mut self.receive,
        };
        self.lengths
            .insert((lane.number, transfer.tag), transfer.length);
        lane.offer(transfer);
        self.depth_seen.note(self.lengths.len() as u16);
        self.transport.notify(lane.number, lane.doorbell);
    }

    fn complete(&mut self, number: u16, used: Used) -> Result<Completion> {
        let length = self
            .lengths
            .remove(&(number, used.tag))
            .with_context(|| format!("the card completed what nobody asked for: {used:?}"))?;
        // Of what it reads the card writes nothing.
        let expected = if number == RECEIVE {
            HEADER_BYTES as usize + length
        } else {
            0
        };
        let error = (used.length as usize != expected)
            .then(|| format!("the card wrote {} bytes, not {expected}", used.length));
        Ok(Completion {
            tag: used.tag,
            error,
        })
    }
}

impl Lane {
    fn offer(&mut self, transfer: &Transfer) {
        let written = transfer.direction == Direction::WritesMemory;
        let header = Piece {
            iova: self.headers.iova(usize::from(transfer.tag) * HEADER_PLACE),
            length: HEADER_BYTES,
            written,
        };
        let pages = (0..transfer.length).step_by(PAGE_SIZE).map(|offset| Piece {
            iova: transfer.iova + offset as u64,
            length: PAGE_SIZE as u32,
            written,
        });
        let pieces: Vec<Piece> = [header].into_iter().chain(pages).collect();
        self.queue.offer(transfer.tag, &pieces);
    }
}

impl DmaDevice for VirtioNet {
    fn limits(&self) -> Limits {
        Limits {
            depth: self.depth,
            max_length: MAX_PAGES * PAGE_SIZE,
            store: u64::from(self.depth) * (MAX_PAGES * PAGE_SIZE) as u64,
            iova_end: u64::MAX,
            in_order: true,
            timeout_s: 20,
        }
    }

    fn submit(&mut self, transfer: &Transfer) -> Result<()> {
        ensure!(
            transfer.tag < self.depth
                && transfer.length % PAGE_SIZE == 0
                && (1..=MAX_PAGES).contains(&(transfer.length / PAGE_SIZE)),
            "{transfer:?} is no frame"
        );
        match transfer.direction {
            Direction::ReadsMemory => {
                self.line.push_back(transfer.store);
                self.offer(transfer);
            }
            Direction::WritesMemory => {
                ensure!(
                    self.line.contains(&transfer.store),
                    "{transfer:?} wants what was not sent"
                );
                self.waiting.insert(transfer.store, *transfer);
                self.receive_next();
            }
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<Completion>> {
        if let Some(used) = self.send.queue.take() {
            return self.complete(SEND, used).map(Some);
        }
        let received = self.receive.queue.take();
        received
            .map(|used| self.complete(RECEIVE, used))
            .transpose()
    }

    /// Requests that the card has, as far as it has not said that they are done.
    fn depth_seen(&self) -> Depth {
        self.depth_seen
    }

    fn stop(&mut self) -> Result<()> {
        self.transport.reset()
    }
}
