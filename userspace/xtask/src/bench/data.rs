// SPDX-License-Identifier: GPL-2.0
//! What `pagemove-bench` has measured (userspace/bench/src/figure.rs, profile.rs), and on what.

use anyhow::{ensure, Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// All of a run: build/bench/bench.json.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Bench {
    pub host: Host,
    pub rig: Rig,
    pub figures: Vec<Figure>,
    pub profiles: Vec<Profile>,
}

/// The machine that the VM ran on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Host {
    pub date: String,
    pub cpus: usize,
    pub model: String,
    /// What else it had to do: the mean of a minute, before and afterwards.
    pub load: [f64; 2],
    pub emulator: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Rig {
    pub kernel: String,
    pub cpus: usize,
    pub rounds: usize,
    pub noise: Option<Spread>,
    pub counter: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Spread {
    pub samples: usize,
    pub least: f64,
    pub low: f64,
    pub median: f64,
    pub high: f64,
    pub most: f64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Figure {
    pub method: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<bool>,
    pub pages: usize,
    pub busy: bool,
    pub ns: Option<Spread>,
    pub instructions: Option<Spread>,
    pub gap_ns: Option<Spread>,
    pub moved: f64,
    pub aborts: f64,
}

/// Where the instructions of a call are.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Profile {
    pub memory: String,
    pub engine: String,
    pub verify: bool,
    pub pages: usize,
    pub per_page: f64,
    pub user: u64,
    pub transactions: f64,
    pub functions: Vec<Share>,
    pub elsewhere: Vec<Share>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Share {
    pub name: String,
    pub per_page: f64,
}

impl Bench {
    /// Finds what the program printed for the runner.
    pub fn parse(host: Host, output: &str) -> Result<Self> {
        let rig = lines(output, "rig")?.pop();
        let bench = Self {
            host,
            rig: rig.context("the program measured nothing")?,
            figures: lines(output, "figure")?,
            profiles: lines(output, "profile")?,
        };
        ensure!(!bench.figures.is_empty(), "there are no figures");
        Ok(bench)
    }

    /// Lists the lengths of calls.
    pub fn lengths(&self) -> Vec<usize> {
        let mut lengths: Vec<usize> = self.figures.iter().map(|figure| figure.pages).collect();
        lengths.sort_unstable();
        lengths.dedup();
        lengths
    }

    /// Lists what was compared, in its order: each once, whatever the length of its calls.
    pub fn rows(&self, busy: bool) -> Vec<&Figure> {
        let mut rows: Vec<&Figure> = Vec::new();
        for figure in self.figures.iter().filter(|figure| figure.busy == busy) {
            if !rows.iter().any(|row| row.is_like(figure)) {
                rows.push(figure);
            }
        }
        rows
    }

    /// Returns the figure of a row for calls of this length.
    pub fn find(&self, row: &Figure, pages: usize) -> Option<&Figure> {
        self.figures
            .iter()
            .find(|figure| figure.pages == pages && figure.is_like(row))
    }
}

impl Figure {
    fn is_like(&self, other: &Self) -> bool {
        let key = |figure: &Self| {
            (
                figure.method.clone(),
                figure.memory.clone(),
                figure.verify,
                figure.busy,
            )
        };
        key(self) == key(other)
    }

    /// What it is, in words.
    pub fn name(&self) -> String {
        let words = match self.method.as_str() {
            "vfio-once" => "VFIO: unmap, copy, map, all at once",
            "vfio-each" => "VFIO: unmap, copy, map, page by page",
            "iommu-each" => "kernel: iommu_unmap, copy, iommu_map",
            "move_pages" => "move_pages(2), no device",
            "copy-flush" => "copy and one flush (the floor)",
            "still" => "nothing moves",
            engine => engine,
        };
        let memory = self.memory.iter().map(|memory| format!(", {memory}"));
        let verify = self.verify.map(|verify| match verify {
            true => ", verified",
            false => ", not verified",
        });
        [words.to_string()]
            .into_iter()
            .chain(memory)
            .chain(verify.map(String::from))
            .collect()
    }
}

impl Spread {
    /// Half of what is between the quarters, of the median.
    pub fn noise(&self) -> f64 {
        (self.high - self.low) / 2.0 / self.median.max(f64::MIN_POSITIVE)
    }
}

fn lines<T: DeserializeOwned>(output: &str, kind: &str) -> Result<Vec<T>> {
    let mark = format!("bench-{kind} ");
    output
        .lines()
        .filter_map(|line| line.strip_prefix(&mark))
        .map(|json| serde_json::from_str(json).with_context(|| format!("a {kind}: {json}")))
        .collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub const OUTPUT: &str = concat!(
        "TAP version 13\n# round 0: 1.0 s\n",
        r#"bench-rig {"kernel":"7.3.4","cpus":2,"rounds":9,"noise":{"samples":9,"least":1,"low":9,"median":10,"high":11,"most":20},"counter":true}"#,
        "\n",
        r#"bench-figure {"method":"adbit","memory":"memfd","verify":true,"pages":1,"busy":false,"ns":{"samples":9,"least":1000,"low":9000,"median":10000,"high":11000,"most":20000},"instructions":{"samples":3,"least":900,"low":910,"median":920,"high":930,"most":940},"gap_ns":null,"moved":1.0,"aborts":0.0}"#,
        "\n",
        r#"bench-figure {"method":"adbit","memory":"memfd","verify":true,"pages":8,"busy":false,"ns":null,"instructions":null,"gap_ns":null,"moved":1.0,"aborts":0.0}"#,
        "\n",
        r#"bench-figure {"method":"copy-flush","pages":8,"busy":false,"ns":{"samples":9,"least":1,"low":1,"median":500,"high":1,"most":1},"instructions":null,"gap_ns":null,"moved":1.0,"aborts":0.0}"#,
        "\n",
        r#"bench-figure {"method":"still","pages":8,"busy":true,"ns":null,"instructions":null,"gap_ns":{"samples":9,"least":1,"low":1,"median":70000,"high":1,"most":1},"moved":0.0,"aborts":0.0}"#,
        "\n",
        r#"bench-profile {"memory":"memfd","engine":"adbit","verify":true,"pages":8,"per_page":100.0,"user":5,"transactions":0.0,"functions":[{"name":"pagemove::machine::copy::copy_page","per_page":60.0},{"name":"memcpy","per_page":40.0}],"elsewhere":[]}"#,
        "\nok 1 - all\n",
    );

    pub fn host() -> Host {
        Host {
            date: "2026-11-29".into(),
            cpus: 2,
            model: "a CPU".into(),
            load: [0.5, 2.0],
            emulator: "QEMU 11".into(),
        }
    }

    #[test]
    fn figures_of_a_row_are_those_of_all_its_lengths() {
        let bench = Bench::parse(host(), OUTPUT).unwrap();
        assert_eq!(bench.lengths(), [1, 8]);
        let rows = bench.rows(false);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].name(), "adbit, memfd, verified");
        let ns = bench.find(rows[0], 1).unwrap().ns.unwrap();
        assert_eq!((ns.median, ns.noise()), (10000.0, 0.1));
        assert!(bench.find(rows[1], 1).is_none());
        assert_eq!(bench.rows(true)[0].name(), "nothing moves");
    }

    #[test]
    fn a_run_without_figures_is_none() {
        assert!(Bench::parse(host(), "").is_err());
        let rig = OUTPUT.lines().nth(2).unwrap();
        assert!(Bench::parse(host(), rig).is_err());
        assert!(Bench::parse(host(), &OUTPUT.replace("\"rounds\"", "\"round\"")).is_err());
    }
}
