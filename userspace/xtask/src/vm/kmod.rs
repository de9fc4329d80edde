// SPDX-License-Identifier: GPL-2.0
//! A kernel's own modules: find one by its name, with what it depends on, and
//! unpack it.

use crate::root::image::Image;
use crate::root::BuildRoot;
use anyhow::{bail, Context, Result};
use object::{Object, ObjectSection};
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::NamedTempFile;

/// A module in the order in which it has to be loaded.
#[derive(Debug)]
pub struct Kmod {
    pub name: String,
    pub file: PathBuf,
}

/// The modules, and where unpacked ones are kept.
pub struct Kmods<'a> {
    root: &'a BuildRoot,
    image: &'a Image,
    unpacked: PathBuf,
    paths: HashMap<String, PathBuf>,
}

impl<'a> Kmods<'a> {
    pub fn new(root: &'a BuildRoot, image: &'a Image, unpacked: PathBuf) -> Result<Self> {
        let order = image.modules.join("modules.order");
        let list =
            fs::read_to_string(&order).with_context(|| format!("reading {}", order.display()))?;
        let mut paths = HashMap::new();
        for line in list.lines() {
            paths.insert(module_name(Path::new(line)), file(image, line));
        }
        Ok(Self {
            root,
            image,
            unpacked: unpacked.join(&image.release),
            paths,
        })
    }

    /// Returns `names` and all they depend on, dependencies first, each once.
    pub fn resolve(&self, names: &[String]) -> Result<Vec<Kmod>> {
        let mut order = Vec::new();
        for name in names {
            self.visit(&name.replace('-', "_"), &mut order)?;
        }
        Ok(order)
    }

    fn visit(&self, name: &str, order: &mut Vec<Kmod>) -> Result<()> {
        if order.iter().any(|kmod| kmod.name == name) {
            return Ok(());
        }
        let file = self.unpack(name)?;
        let info = ModInfo::read(&file)?;
        for dependency in info.depends() {
            self.visit(&dependency.replace('-', "_"), order)?;
        }
        order.push(Kmod {
            name: name.to_string(),
            file,
        });
        Ok(())
    }

    fn unpack(&self, name: &str) -> Result<PathBuf> {
        let Some(packed) = self.paths.get(name) else {
            bail!("kernel {} has no module {name}", self.image.release);
        };
        if !self.image.packed {
            return Ok(packed.clone());
        }
        let file = self.unpacked.join(format!("{name}.ko"));
        if file.exists() {
            return Ok(file);
        }
        fs::create_dir_all(&self.unpacked)?;
        let output = self
            .root
            .tool("usr/bin/xz")
            .arg("-dc")
            .arg(packed)
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            bail!("xz could not unpack {}", packed.display());
        }
        put(&file, &output.stdout)?;
        Ok(file)
    }
}

/// Writes a file that is never seen in part: several threads, and other runners, may unpack
/// the same module at once.
pub fn put(file: &Path, bytes: &[u8]) -> Result<()> {
    let mut whole = NamedTempFile::new_in(file.parent().context("a file without a directory")?)?;
    whole.write_all(bytes)?;
    whole
        .persist(file)
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(())
}

/// Returns the file of a line of modules.order: where modules are installed that has their names,
/// in a tree those of their objects.
fn file(image: &Image, line: &str) -> PathBuf {
    match image.packed {
        true => image.modules.join(format!("{line}.xz")),
        false => image.modules.join(line).with_extension("ko"),
    }
}

fn module_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().replace('-', "_")
}

/// What `modinfo` prints: the strings of a module's .modinfo section.
pub struct ModInfo {
    entries: Vec<(String, String)>,
}

impl ModInfo {
    pub fn read(file: &Path) -> Result<Self> {
        let data = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let elf = object::File::parse(&*data)
            .with_context(|| format!("{} is not an ELF file", file.display()))?;
        let section = elf
            .section_by_name(".modinfo")
            .with_context(|| format!("{} has no .modinfo", file.display()))?;
        let text = String::from_utf8_lossy(section.data()?).into_owned();
        let entries = text.split('\0').filter_map(|entry| entry.split_once('='));
        Ok(Self {
            entries: entries
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
        })
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries
            .iter()
            .find(|entry| entry.0 == key)
            .map(|entry| entry.1.as_str())
    }

    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.entries
            .iter()
            .filter(move |entry| entry.0 == key)
            .map(|entry| entry.1.as_str())
    }

    pub fn depends(&self) -> impl Iterator<Item = &str> {
        self.get("depends")
            .unwrap_or_default()
            .split(',')
            .filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_unpack_the_same_module_see_it_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("vfio.ko");
        let bytes = vec![7; 1 << 16];
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        put(&file, &bytes).unwrap();
                        assert_eq!(fs::read(&file).unwrap().len(), bytes.len());
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
