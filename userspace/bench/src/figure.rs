// SPDX-License-Identifier: GPL-2.0
//! What was measured of one thing, in figures: a line of JSON for the runner each (xtask, bench/).

use serde::Serialize;

/// How several measurements of one thing differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub samples: usize,
    pub least: f64,
    /// A quarter is below it.
    pub low: f64,
    pub median: f64,
    pub high: f64,
    pub most: f64,
}

impl Spread {
    /// None: there is nothing.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut all: Vec<f64> = samples.into_iter().collect();
        all.sort_by(f64::total_cmp);
        let at = |share: f64| -> Option<f64> {
            let place = share * (all.len().checked_sub(1)? as f64);
            let (below, rest) = (place.floor(), place.fract());
            let [a, b] = [below as usize, place.ceil() as usize].map(|n| all[n]);
            Some(a + (b - a) * rest)
        };
        Some(Self {
            samples: all.len(),
            least: at(0.0)?,
            low: at(0.25)?,
            median: at(0.5)?,
            high: at(0.75)?,
            most: at(1.0)?,
        })
    }
}

/// What moves how many pages of what, and how that went. Times are of a page, in ns.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<bool>,
    pub pages: usize,
    /// Whether the device works on these pages meanwhile.
    pub busy: bool,
    /// For each page that was moved.
    pub ns: Option<Spread>,
    /// For each page, of the caller's CPU in user space and the kernel, emulated transactions among
    /// them; by rtm of both CPUs.
    pub instructions: Option<Spread>,
    /// Of the longest time between two completions of the device.
    pub gap_ns: Option<Spread>,
    /// Of the pages that were asked for, all calls together.
    pub moved: f64,
    /// For each page that was asked for.
    pub aborts: f64,
}

/// What this machine does at different times for the same work, in ns.
#[derive(Clone, Debug, Serialize)]
pub struct Rig {
    pub kernel: String,
    pub cpus: usize,
    pub rounds: usize,
    /// A fixed number of additions, once a round.
    pub noise: Option<Spread>,
    /// Whether instructions were counted.
    pub counter: bool,
}

/// Prints one thing for the runner.
pub fn tell(kind: &str, what: &impl Serialize) {
    match serde_json::to_string(what) {
        Ok(json) => println!("bench-{kind} {json}"),
        Err(error) => println!("# {kind}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        let spread = Spread::of([5.0, 1.0, 3.0, 4.0, 2.0]).unwrap();
        assert_eq!((spread.least, spread.low, spread.median), (1.0, 2.0, 3.0));
        assert_eq!((spread.high, spread.most, spread.samples), (4.0, 5.0, 5));
        assert_eq!(Spread::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Spread::of([]), None);
    }
}
