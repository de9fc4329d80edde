// SPDX-License-Identifier: GPL-2.0
//! The kernel as QEMU is given it: unpacked, if it can be. A bzImage unpacks itself, which takes an
//! emulated CPU some seconds in each VM; one that is an ELF file with a note that says where it is
//! entered (PVH, XEN_ELFNOTE_PHYS32_ENTRY) is started as it is. It is the same kernel, but the part
//! of a bzImage that would move it to a random address (KASLR) does not run.

use super::kmod::put;
use crate::root::image::Image;
use crate::root::BuildRoot;
use anyhow::{bail, Context, Result};
use object::elf::NoteType;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::Endianness;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

/// How data begins that zstd has packed (RFC 8878, 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Fields of a bzImage's header, by their offsets (Documentation/arch/x86/boot.rst).
const SETUP_SECTS: usize = 0x1f1;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// Of a note: whose it is, and what (include/xen/interface/elfnote.h).
const XEN: &[u8] = b"Xen";
const PHYS32_ENTRY: NoteType = NoteType(18);

/// Returns the file that QEMU is to boot for `image`; `dir` is where unpacked files are kept.
pub fn bootable(root: &BuildRoot, image: &Image, dir: &Path) -> Result<PathBuf> {
    let dir = dir.join(&image.release);
    let file = dir.join(name(image)?);
    if file.exists() {
        return Ok(file);
    }
    let packed =
        fs::read(&image.vmlinuz).with_context(|| format!("reading {}", image.vmlinuz.display()))?;
    let Some(payload) = payload(&packed).filter(|payload| payload.starts_with(&ZSTD)) else {
        return Ok(image.vmlinuz.clone());
    };
    let vmlinux = unpack(root, payload)?;
    if !has_entry(&vmlinux).unwrap_or(false) {
        return Ok(image.vmlinuz.clone());
    }
    fs::create_dir_all(&dir)?;
    put(&file, &vmlinux)?;
    Ok(file)
}

/// Returns a name that another packed kernel does not have: packages keep the time of their build.
fn name(image: &Image) -> Result<String> {
    let data = fs::metadata(&image.vmlinuz)
        .with_context(|| format!("looking at {}", image.vmlinuz.display()))?;
    let (flavour, length, time) = (image.flavour.name(), data.len(), data.mtime());
    Ok(format!("vmlinux-{flavour}-{length}-{time}"))
}

/// Returns what a bzImage has packed, without the four bytes of its length at the end.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes) as usize)
    };
    // Documentation/arch/x86/boot.rst: 0 stands for 4, for old loaders.
    let sectors = match *image.get(SETUP_SECTS)? {
        0 => 4,
        count => usize::from(count),
    };
    let begin = (sectors + 1) * 512 + word(PAYLOAD_OFFSET)?;
    let end = begin + word(PAYLOAD_LENGTH)?.checked_sub(4)?;
    image.get(begin..end)
}

fn unpack(root: &BuildRoot, payload: &[u8]) -> Result<Vec<u8>> {
    let mut zstd = root
        .tool("usr/bin/zstd")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .context("starting the build root's zstd")?;
    let mut stdin = zstd.stdin.take().context("zstd's input is not a pipe")?;
    let output = thread::scope(|scope| {
        // What it does not take it will tell of itself.
        scope.spawn(move || drop(stdin.write_all(payload)));
        zstd.wait_with_output()
    })?;
    if !output.status.success() {
        bail!("the build root's zstd could not unpack the kernel");
    }
    Ok(output.stdout)
}

/// Returns whether an ELF file says where QEMU may enter it.
fn has_entry(vmlinux: &[u8]) -> Result<bool> {
    let elf = ElfFile64::<Endianness>::parse(vmlinux).context("the kernel is not an ELF file")?;
    let endian = elf.endian();
    for segment in elf.elf_program_headers() {
        let Some(mut notes) = segment.notes(endian, vmlinux)? else {
            continue;
        };
        while let Some(note) = notes.next()? {
            if note.name() == XEN && note.n_type(endian) == PHYS32_ENTRY {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(sectors: u8, offset: u32, length: u32) -> Vec<u8> {
        let mut image = vec![0; 8192];
        image[SETUP_SECTS] = sectors;
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&offset.to_le_bytes());
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        for (at, byte) in image.iter_mut().enumerate().skip(1024) {
            *byte = at as u8;
        }
        image
    }

    #[test]
    fn the_payload_is_what_the_header_says() {
        let three = image(3, 100, 12);
        assert_eq!(payload(&three), Some(&three[2148..2156]));
        let zero = image(0, 0, 8);
        assert_eq!(payload(&zero), Some(&zero[2560..2564]), "0 stands for 4");
    }

    #[test]
    fn a_header_that_lies_has_no_payload() {
        for (sectors, offset, length) in [
            (3, 8192, 8),
            (3, 0, 3),
            (255, 0, 8),
            (3, u32::MAX, u32::MAX),
        ] {
            assert_eq!(payload(&image(sectors, offset, length)), None);
        }
        assert_eq!(payload(&[0; 100]), None);
    }

    /// An ELF file with one segment of notes, which holds one note.
    fn elf(name: &[u8], kind: NoteType) -> Vec<u8> {
        let mut note = Vec::new();
        note.extend((name.len() as u32 + 1).to_le_bytes());
        note.extend(8u32.to_le_bytes());
        note.extend(kind.0.to_le_bytes());
        note.extend(name);
        note.resize(note.len().next_multiple_of(4).max(16), 0);
        note.extend(0x1000u64.to_le_bytes());
        let mut elf = vec![0u8; 120];
        elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        elf[16] = 2;
        elf[18] = 62;
        elf[20] = 1;
        elf[32] = 64;
        elf[52] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = 4;
        elf[72] = 120;
        for at in [96, 104] {
            elf[at..at + 8].copy_from_slice(&(note.len() as u64).to_le_bytes());
        }
        elf[112] = 4;
        elf.extend(note);
        elf
    }

    #[test]
    fn a_kernel_is_entered_where_its_note_says() {
        assert!(has_entry(&elf(b"Xen", PHYS32_ENTRY)).unwrap());
        assert!(!has_entry(&elf(b"Xen", NoteType(17))).unwrap());
        assert!(!has_entry(&elf(b"GNU", PHYS32_ENTRY)).unwrap());
        assert!(has_entry(b"not an ELF file").is_err());
    }
}
