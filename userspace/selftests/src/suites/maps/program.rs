// SPDX-License-Identifier: GPL-2.0
//! The program goes through what is mapped: by device, region and process.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::tap::{Case, Outcome, Pass};
use pagemove_uapi::PAGE_SIZE;
use serde_json::Value;

use crate::suites::cli::expect_json as expect;

use super::{anonymous_iova, State, ANONYMOUS, PAGES, SECOND, SHARED};

const PROGRAM: &str = "pagemove";

pub fn cases() -> Vec<Case<State>> {
    vec![
        Case::new(
            "pagemove maps: the same in words and in JSON",
            shows as fn(&mut State) -> Outcome,
        ),
        Case::new(
            "pagemove move --dry-run: it says what, and moves nothing",
            foretells,
        ),
        Case::new(
            "pagemove move --pid: all regions of a process, past holes and others",
            of_process,
        ),
        Case::new("pagemove move --region: that one alone", of_region),
        Case::new(
            "pagemove move --all: what is there already is counted",
            of_all,
        ),
        Case::new("pagemove move --limit: no faster than that", limited),
        Case::new("pagemove move of a process without a device: 2", of_nobody),
    ]
}

/// Brings both regions to a node and checks what is in them.
fn bring(state: &State, node: i32) -> Result<()> {
    expect(&format!("move --all --to-node {node}"), 0, &[])?;
    ensure!(state.bench.region.pages_on(node)? == PAGES);
    ensure!(state.second.pages_on(node)? == SECOND);
    check(state)
}

fn check(state: &State) -> Result<()> {
    state.bench.region.map.check(0)?;
    state.second.map.check(1)?;
    state.shared.check(2)
}

fn shows(state: &mut State) -> Outcome {
    let nodes = state.bench.nodes;
    bring(state, nodes.here)?;
    let device = state.bench.device;
    expect(
        &format!("maps {device}"),
        0,
        &[
            ("/devices/0/device", device.to_string().into()),
            ("/devices/0/runs/0/memory", "region".into()),
            ("/devices/0/runs/0/region", state.bench.region.id.into()),
            ("/devices/0/runs/0/length", (PAGES * PAGE_SIZE).into()),
            ("/devices/0/runs/0/place/number", nodes.here.into()),
            ("/devices/0/runs/1/region", state.second.id.into()),
            ("/devices/0/runs/2/memory", "anonymous".into()),
        ],
    )?;
    let of_second = format!("maps --region {}", state.second.id);
    let json = expect(&of_second, 0, &[])?;
    let runs = json["devices"][0]["runs"].as_array().map(Vec::len);
    ensure!(runs == Some(1), "{json}");
    let output = Command::new(PROGRAM)
        .args(["maps", &device.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = format!("region {}", state.bench.region.id);
    ensure!(text.contains(&line) && text.contains("anonymous"), "{text}");
    Ok(Pass)
}

fn foretells(state: &mut State) -> Outcome {
    let nodes = state.bench.nodes;
    let line = format!("move --all --to-node {} --dry-run", nodes.there);
    let json = expect(&line, 0, &[("/possible", true.into())])?;
    let number = |name: &str| {
        json[name]
            .as_u64()
            .with_context(|| format!("{name}: {json}"))
    };
    let to_move = (PAGES + SECOND + SHARED) as u64;
    ensure!(number("pages_to_move")? == to_move, "{json}");
    ensure!(number("pages_in_no_region")? == SHARED as u64, "{json}");
    let left_out = json["left_out"][0]["length"].as_u64();
    ensure!(left_out == Some((ANONYMOUS * PAGE_SIZE) as u64), "{json}");
    ensure!(
        state.bench.region.pages_on(nodes.here)? == PAGES,
        "pages were moved"
    );
    let json = expect(
        "move --all --to-node 99 --dry-run",
        3,
        &[("/possible", false.into())],
    )?;
    ensure!(
        json["obstacles"].to_string().contains("no node 99"),
        "{json}"
    );
    Ok(Pass)
}

fn of_process(state: &mut State) -> Outcome {
    let node = state.bench.nodes.there;
    let line = format!("move --pid {} --to-node {node}", std::process::id());
    expect(
        &line,
        0,
        &[
            ("/status", "moved".into()),
            ("/device", state.bench.device.to_string().into()),
            ("/pages", (PAGES + SECOND + SHARED).into()),
            ("/pages_moved", (PAGES + SECOND + SHARED).into()),
            ("/ranges/1/region", state.second.id.into()),
            ("/ranges/2/region", Value::Null),
            ("/ranges/2/pages_moved", SHARED.into()),
            (
                "/left_out/0/iova",
                format!("{:#x}", anonymous_iova()).into(),
            ),
            ("/left_out/0/length", (ANONYMOUS * PAGE_SIZE).into()),
            ("/error", Value::Null),
        ],
    )?;
    ensure!(state.bench.region.pages_on(node)? == PAGES);
    ensure!(state.second.pages_on(node)? == SECOND);
    check(state)?;
    Ok(Pass)
}

fn of_region(state: &mut State) -> Outcome {
    let nodes = state.bench.nodes;
    let line = format!("move --region {} --to-node {}", state.second.id, nodes.here);
    expect(
        &line,
        0,
        &[
            ("/pages_moved", SECOND.into()),
            ("/pages", SECOND.into()),
            ("/left_out", Value::Array(Vec::new())),
        ],
    )?;
    ensure!(state.second.pages_on(nodes.here)? == SECOND);
    ensure!(state.bench.region.pages_on(nodes.there)? == PAGES);
    let nothing = format!("move --region 4711 --to-node {}", nodes.here);
    expect(&nothing, 2, &[("/error/kind", "host".into())])?;
    Ok(Pass)
}

fn of_all(state: &mut State) -> Outcome {
    let nodes = state.bench.nodes;
    let line = format!(
        "move {} --all --to-node {}",
        state.bench.device, nodes.there
    );
    expect(
        &line,
        0,
        &[
            ("/pages_moved", SECOND.into()),
            ("/pages_there", (PAGES + SHARED).into()),
        ],
    )?;
    check(state)?;
    Ok(Pass)
}

fn limited(state: &mut State) -> Outcome {
    let nodes = state.bench.nodes;
    // Half a second for the second region.
    let rate = 2 * SECOND * PAGE_SIZE;
    let start = Instant::now();
    let line = format!(
        "move --region {} --to-node {} --limit {rate}",
        state.second.id, nodes.here
    );
    expect(&line, 0, &[("/pages_moved", SECOND.into())])?;
    let took = start.elapsed();
    ensure!(took >= Duration::from_millis(500), "it took {took:?}");
    check(state)?;
    Ok(Pass)
}

fn of_nobody(_: &mut State) -> Outcome {
    let json = expect(
        "move --pid 1 --to-node 0",
        2,
        &[("/error/kind", "host".into())],
    )?;
    let text = json["error"]["message"].to_string();
    ensure!(text.contains("process 1 has no device open"), "{text}");
    Ok(Pass)
}
