// SPDX-License-Identifier: GPL-2.0
//! A series of kernels, "7.3", of which the newest patch level is taken.

use super::pin::SUPPORTED;

/// One of those that the module is tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series(pub(super) &'static str);

impl Series {
    pub fn name(self) -> &'static str {
        self.0
    }

    /// Finds the series with this name, for command lines.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = SUPPORTED.into_iter().find(|series| series.0 == text);
        found.ok_or_else(|| format!("supported series are {}", names()))
    }
}

/// Returns the names of all that are supported, "7.2, 7.3".
pub fn names() -> String {
    SUPPORTED.map(Series::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn only_supported_series_have_a_name() {
        for series in SUPPORTED {
            assert_eq!(Series::parse(series.name()), Ok(series));
        }
        assert!(Series::parse("7").unwrap_err().contains(&names()));
        assert!(Series::parse("").is_err());
    }

    /// The module warns on other kernels, by a list of its own.
    #[test]
    fn the_module_is_tested_on_the_same_series() {
        let kbuild = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Kbuild");
        let text = std::fs::read_to_string(kbuild).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("tested-series := "))
            .unwrap();
        assert_eq!(line.split(' ').collect::<Vec<_>>().join(", "), names());
    }
}
