// SPDX-License-Identifier: GPL-2.0
//! Kernels that look for mistakes (`make check-debug`): what is different there for a test.

use std::fs;
use std::sync::OnceLock;

/// What KASAN keeps of freed memory at most, so that it notices who still uses it: a part of all
/// memory (mm/kasan/quarantine.c, QUARANTINE_FRACTION).
const QUARANTINE: u64 = 32;

fn release() -> &'static str {
    static RELEASE: OnceLock<String> = OnceLock::new();
    RELEASE.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim()
            .to_string()
    })
}

/// How many times as long as on the stock kernel a wait may take: as many as the runner gives a
/// test there.
pub fn slowness() -> u32 {
    slowness_of(release())
}

fn slowness_of(release: &str) -> u32 {
    if ["-kasan", "-kcsan"]
        .iter()
        .any(|flavour| release.ends_with(flavour))
    {
        6
    } else {
        1
    }
}

/// How many bytes of `memory` may be kept although nobody uses them.
pub fn kept_when_free(memory: u64) -> u64 {
    kept_by(release(), memory)
}

fn kept_by(release: &str, memory: u64) -> u64 {
    if release.ends_with("-kasan") {
        memory / QUARANTINE
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_look_for_mistakes_get_time() {
        assert_eq!(slowness_of("7.2.12-kasan"), 6);
        assert_eq!(slowness_of("7.2.12+deb13-amd64"), 1);
    }

    #[test]
    fn kasan_keeps_what_is_free() {
        assert_eq!(kept_by("7.2.12-kasan", 64), 2);
        assert_eq!(kept_by("7.2.12-kcsan", 64), 0);
    }
}
