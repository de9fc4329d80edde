// SPDX-License-Identifier: GPL-2.0
//! A file whose file system does not answer when it is read: FUSE, with nobody who reads for it. The file is
//! the file system's root.

use std::ffi::CString;
use std::fs::File;
use std::io::{Error, Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::wait;

/// linux/fuse.h: opcodes, and the version that is spoken.
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const INIT: u32 = 26;
const VERSION: [u32; 2] = [7, 31];
/// Bytes of the head of a request, and of an answer's.
const REQUEST: usize = 40;
const ANSWER: usize = 16;
const INIT_OUT: usize = 64;
const OPEN_OUT: usize = 16;
const ATTR_OUT: usize = 104;
/// Where they are in fuse_attr_out: how long it is valid, then the attributes' size, mode and links.
const VALID: usize = 0;
const SIZE: usize = 24;
const MODE: usize = 76;
const LINKS: usize = 80;
const FILE_MODE: u32 = libc::S_IFREG | 0o600;
const LONGEST_REQUEST: usize = 1 << 20;

pub struct StuckFile {
    path: CString,
    length: u64,
    fuse: File,
    is_read: Arc<AtomicBool>,
}

impl StuckFile {
    /// Mounts one of this many bytes. Until it is served, who opens it waits.
    pub fn new(length: u64) -> Result<Self> {
        let path = PathBuf::from("/tmp/stuck");
        File::create(&path).context("the file to mount on")?;
        let fuse = File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .context("/dev/fuse")?;
        let path = CString::new(path.to_str().context("a path")?)?;
        let options = format!(
            "fd={},rootmode={FILE_MODE:o},user_id=0,group_id=0",
            fuse.as_raw_fd()
        );
        let options = CString::new(options)?;
        let name = c"fuse";
        // SAFETY: strings that live until it returns.
        let result = unsafe {
            libc::mount(
                name.as_ptr(),
                path.as_ptr(),
                name.as_ptr(),
                libc::MS_NOSUID | libc::MS_NODEV,
                options.as_ptr().cast(),
            )
        };
        ensure!(result == 0, "mounting FUSE: {}", Error::last_os_error());
        Ok(Self {
            path,
            length,
            fuse,
            is_read: Arc::default(),
        })
    }

    /// Begins to answer what is asked but for reads, in a thread that ends when the file system is aborted. It is
    /// not to be one of a process that has the file mapped: whose memory is waited for can't map or touch any.
    pub fn serve(&self) -> Result<()> {
        let mut fuse = self.fuse.try_clone()?;
        let (length, is_read) = (self.length, self.is_read.clone());
        std::thread::spawn(move || while answer(&mut fuse, length, &is_read).is_ok() {});
        Ok(())
    }

    pub fn open(&self) -> Result<File> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(self.path.to_str()?)
            .context("opening a file of FUSE's")?;
        // Only who asks for its length has the kernel ask for it.
        let length = file.metadata()?.len();
        ensure!(length == self.length, "the file has {length} bytes");
        Ok(file)
    }

    /// Waits until somebody waits for what is in the file.
    pub fn wait_for_access(&self, most: Duration) -> Result<()> {
        wait::until("an access to the file", most, || {
            Ok(self.is_read.load(Ordering::SeqCst))
        })
        .map(drop)
    }

    /// Lets everybody fail who waits.
    pub fn abort(&self) -> Result<()> {
        // SAFETY: a string that lives until it returns.
        let result = unsafe { libc::umount2(self.path.as_ptr(), libc::MNT_FORCE) };
        // Busy, since it is mapped: but aborted.
        let error = Error::last_os_error();
        ensure!(
            result == 0 || error.raw_os_error() == Some(libc::EBUSY),
            "aborting FUSE: {error}"
        );
        Ok(())
    }
}

impl Drop for StuckFile {
    fn drop(&mut self) {
        let _ = self.abort();
        // SAFETY: a string that lives until it returns.
        unsafe { libc::umount2(self.path.as_ptr(), libc::MNT_DETACH) };
    }
}

/// Answers the next request, unless it is to read.
fn answer(fuse: &mut File, length: u64, is_read: &AtomicBool) -> Result<()> {
    let mut request = vec![0; LONGEST_REQUEST];
    let bytes = fuse.read(&mut request)?;
    ensure!(bytes >= REQUEST, "a request of {bytes} bytes");
    let (opcode, unique) = (word(&request, 4), &request[8..16]);
    let (errno, body) = match opcode {
        READ => {
            is_read.store(true, Ordering::SeqCst);
            return Ok(());
        }
        INIT => (0, init()),
        GETATTR => (0, attributes(length)),
        OPEN => (0, vec![0; OPEN_OUT]),
        _ => (-libc::ENOSYS, Vec::new()),
    };
    let mut answer = Vec::with_capacity(ANSWER + body.len());
    answer.extend(((ANSWER + body.len()) as u32).to_ne_bytes());
    answer.extend(errno.to_ne_bytes());
    answer.extend(unique);
    answer.extend(body);
    // Who has asked may be gone by now.
    let _ = fuse.write(&answer);
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_ne_bytes)
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}

fn init() -> Vec<u8> {
    let mut body = vec![0; INIT_OUT];
    for (n, word) in VERSION.iter().enumerate() {
        put(&mut body, n * 4, &word.to_ne_bytes());
    }
    body
}

fn attributes(length: u64) -> Vec<u8> {
    let mut body = vec![0; ATTR_OUT];
    put(&mut body, VALID, &3600u64.to_ne_bytes());
    put(&mut body, SIZE, &length.to_ne_bytes());
    put(&mut body, MODE, &FILE_MODE.to_ne_bytes());
    put(&mut body, LINKS, &1u32.to_ne_bytes());
    body
}
