// SPDX-License-Identifier: GPL-2.0
//! Open files that one process hands to another, by a socket (SCM_RIGHTS).

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::net::UnixStream;

use anyhow::{ensure, Context, Result};
use nix::sys::socket::{recvmsg, sendmsg, ControlMessage, ControlMessageOwned, MsgFlags};

/// As many as are handed over at a time.
const MOST: usize = 8;

/// Hands files over; they stay open here as well.
pub fn send(to: &UnixStream, files: &[&File]) -> Result<()> {
    let numbers: Vec<RawFd> = files.iter().map(|file| file.as_raw_fd()).collect();
    let text = [IoSlice::new(b"f")];
    let rights = [ControlMessage::ScmRights(&numbers)];
    sendmsg::<()>(to.as_raw_fd(), &text, &rights, MsgFlags::empty(), None)
        .context("handing files over")?;
    Ok(())
}

/// Takes files that are handed over, in their order.
pub fn receive(from: &UnixStream) -> Result<Vec<File>> {
    let mut byte = [0];
    let mut text = [IoSliceMut::new(&mut byte)];
    let mut room = nix::cmsg_space!([RawFd; MOST]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(from.as_raw_fd(), &mut text, Some(&mut room), flags)
        .context("taking files")?;
    let mut files = Vec::new();
    for part in message.cmsgs().context("taking files")? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            for number in numbers {
                // SAFETY: a descriptor that the kernel has just made for us.
                files.push(unsafe { File::from_raw_fd(number) });
            }
        }
    }
    ensure!(!files.is_empty(), "no file came");
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    #[test]
    fn a_file_comes_as_it_is_open() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let path = std::env::temp_dir().join(format!("handing-{}", std::process::id()));
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).open(&path);
        let mut file = file.unwrap();
        std::fs::remove_file(&path).unwrap();
        send(&ours, &[&file, &file]).unwrap();
        let mut files = receive(&theirs).unwrap();
        assert_eq!(files.len(), 2);
        files[1].write_all(b"text").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
    }
}
