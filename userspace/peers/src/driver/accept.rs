// SPDX-License-Identifier: GPL-2.0
//! Connections that others make.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use super::connection;
use super::shared::Shared;
use crate::frame::{Frame, Frames, Hello};
use crate::who::StreamId;

/// How long somebody may take to say who he is, and how many may take that at a time.
const PATIENCE: Duration = Duration::from_secs(10);
const STRANGERS: usize = 256;
/// How often what is in doubt is looked after, and an end is noticed.
const TICK: u16 = 20;

/// Serves a listener until the process is gone or closed.
pub fn serve(shared: &Arc<Shared>, listener: TcpListener) {
    let weak = Arc::downgrade(shared);
    let strangers = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || loop {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::from(TICK)).is_ok_and(|count| count > 0);
        let Some(shared) = weak.upgrade() else { return };
        {
            let mut inner = shared.lock();
            if inner.closed {
                return;
            }
            shared.settle(&mut inner);
        }
        let accepted = if ready { listener.accept().ok() } else { None };
        let Some((socket, _)) = accepted else {
            continue;
        };
        if strangers.fetch_add(1, Ordering::Relaxed) >= STRANGERS {
            strangers.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (weak, strangers) = (weak.clone(), strangers.clone());
        thread::spawn(move || {
            let told = introduce(&socket);
            strangers.fetch_sub(1, Ordering::Relaxed);
            if let Some((hello, frames)) = told {
                adopt(&weak, socket, hello, frames);
            }
        });
    });
}

/// Waits for the first frame.
fn introduce(mut socket: &TcpStream) -> Option<(Hello, Frames)> {
    let until = Instant::now() + PATIENCE;
    // On some systems it would be as the listener is.
    socket.set_nonblocking(false).ok()?;
    let mut frames = Frames::default();
    let mut bytes = [0; 256];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        socket.set_read_timeout(Some(left)).ok()?;
        let got = socket.read(&mut bytes).ok().filter(|got| *got > 0)?;
        frames.feed(&bytes[..got]);
        match frames.take().ok()? {
            Some(Frame::Hello(hello)) => {
                socket.set_read_timeout(None).ok()?;
                return Some((hello, frames));
            }
            Some(_) => return None,
            None => {}
        }
    }
}

fn adopt(weak: &Weak<Shared>, socket: TcpStream, hello: Hello, frames: Frames) {
    let Some(shared) = weak.upgrade() else { return };
    connection::set(&socket);
    let stream = StreamId {
        opener: hello.from,
        target: hello.to,
        breaks: hello.breaks,
    };
    let (Ok(clone), Ok(writer)) = (socket.try_clone(), socket.try_clone()) else {
        return;
    };
    let mut inner = shared.lock();
    if inner.closed || hello.from.rank == inner.endpoint.me().rank {
        return;
    }
    if inner.connections.contains_key(&stream) {
        // The same request again: the first is still here.
        let mut out = Vec::new();
        inner.cut(stream);
        inner.endpoint.broken(stream, &mut out);
        shared.perform(&mut inner, out);
    }
    let (handle, jobs) = inner.add(stream, Some(clone));
    drop(inner);
    thread::spawn(move || connection::write(writer, &jobs));
    let goes_on = shared.heard(stream, handle, vec![Frame::Hello(hello)]);
    drop(shared);
    let _ = goes_on;
    connection::read(weak, socket, stream, handle, frames);
}
