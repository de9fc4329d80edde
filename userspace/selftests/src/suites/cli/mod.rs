// SPDX-License-Identifier: GPL-2.0
//! The program `pagemove` against the real module: what it prints, its exit
//! codes, and that an interrupted move tells exactly what it did.

mod output;
pub mod running;

use std::fs::File;
use std::io::Read;
use std::os::fd::FromRawFd;
use std::process::{Command, ExitCode, Output, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::module;
use pagemove_uapi::{text, Control, PAGE_SIZE};
use serde_json::Value;

use crate::bench::{self, Bench, IOVA};
use pagemove_testkit::tap::{self, Case, Outcome, Pass};

const PROGRAM: &str = "pagemove";
const PAGES: usize = 8192;

/// The bench goes before the last cases.
type State = Option<Bench>;

type Check = fn(&mut State) -> Outcome;

const CHECKS: &[(&str, Check)] = &[
    ("info tells engines and limits", info),
    ("list shows the open device and the region", list),
    ("move: everything is at the destination: 0", moves),
    ("move: pages that are there before: 0", moves_nothing),
    ("query says the same", query),
    ("stats: the windows of these moves", stats),
    (
        "move: a node that does not exist: 2, and it says what would be right",
        wrong_node,
    ),
    ("move: an IOVA that is not mapped: 2", not_mapped),
    ("move: a device that does not exist: 2", no_device),
    (
        "move: output that can not be written: 6, and standard error has it",
        output::full,
    ),
    ("move: no time at all: 3, the source is intact", no_time),
    (
        "move: not enough time: 5, and the numbers are exact",
        little_time,
    ),
    (
        "move: interrupted: 5, and the numbers are exact",
        interrupted,
    ),
    (
        "status shows a move, cancel ends it: 5, and who waits for it is told",
        running::cancelled,
    ),
    (
        "status shows no move that was killed, and wait does not know how it ended: 7",
        running::killed,
    ),
    ("move: a bar on a terminal, and only there", progress),
    ("move: an IOMMU that can not do it: 4", unsupported),
    ("without the module: 4", no_module),
];

pub fn main(_: &[String]) -> ExitCode {
    match Bench::open(PAGES) {
        Ok(bench) => {
            let cases = CHECKS
                .iter()
                .map(|(name, check)| Case::new(*name, check))
                .collect();
            tap::run(&mut Some(bench), cases)
        }
        Err(error) => tap::fail_all(&error),
    }
}

fn bench(state: &State) -> Result<&Bench> {
    state.as_ref().context("the bench is gone")
}

/// Runs the program; its exit code and its JSON.
pub fn run(line: &str) -> Result<(i32, Value)> {
    let output = Command::new(PROGRAM)
        .arg("--json")
        .args(line.split_whitespace())
        .output();
    answer(output.context("starting pagemove")?)
}

fn answer(output: Output) -> Result<(i32, Value)> {
    let code = output
        .status
        .code()
        .with_context(|| format!("pagemove was ended, {}", output.status))?;
    let json = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("its JSON: {:?}", String::from_utf8_lossy(&output.stdout)))?;
    Ok((code, json))
}

/// The command that moves the first pages of the bench.
fn line(bench: &Bench, pages: usize, node: i32) -> String {
    let length = pages * PAGE_SIZE;
    format!(
        "move --device {} --iova {IOVA:#x} --length {length} --to-node {node}",
        bench.device
    )
}

fn expect(line: &str, code: i32, wanted: &[(&str, Value)]) -> Outcome {
    expect_json(line, code, wanted).map(|_| Pass)
}

/// Runs the program, and checks its exit code and members of its JSON, which is returned.
pub fn expect_json(line: &str, code: i32, wanted: &[(&str, Value)]) -> Result<Value> {
    let (found, json) = run(line)?;
    ensure!(found == code, "exit code {found} instead of {code}: {json}");
    for (path, value) in wanted {
        let found = json.pointer(path).unwrap_or(&Value::Null);
        ensure!(
            found == value,
            "{path} is {found} instead of {value}: {json}"
        );
    }
    Ok(json)
}

fn number(json: &Value, path: &str) -> Result<u64> {
    json.pointer(path)
        .and_then(Value::as_u64)
        .with_context(|| format!("no {path} in {json}"))
}

fn info(_: &mut State) -> Outcome {
    expect(
        "info",
        0,
        &[
            ("/abi_version", 1.into()),
            ("/engines/0", "adbit".into()),
            ("/formats/0", "x86_64".into()),
            ("/test_build", false.into()),
            ("/page_size", 4096.into()),
            ("/version", env!("CARGO_PKG_VERSION").into()),
            ("/parameters/allow_incoherent", true.into()),
            ("/parameters/allow_unqualified", true.into()),
            ("/parameters/longest_us", 100.into()),
            ("/rtm", false.into()),
            ("/rtm_reason", "no-rtm".into()),
        ],
    )?;
    tells_tested_kernels()
}

/// Checks that the range of kernels that the module says it is tested on has this one, and that the program
/// prints it.
fn tells_tested_kernels() -> Outcome {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|text| text.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (number(), number()) else {
        bail!("a kernel {release}");
    };
    let info = Control::open()?.info()?;
    let tested = info.tested_first..=info.tested_last;
    ensure!(
        tested.contains(&(major << 16 | minor << 8)),
        "a kernel {release}, tested are {tested:x?}"
    );
    let (_, json) = run("info")?;
    for (path, version) in [
        ("/tested_first", info.tested_first),
        ("/tested_last", info.tested_last),
    ] {
        let name = text::series(version).context("no series")?;
        ensure!(json.pointer(path) == Some(&name.into()), "{path}: {json}");
    }
    Ok(Pass)
}

fn list(state: &mut State) -> Outcome {
    let bench = bench(state)?;
    let (code, json) = run("list")?;
    ensure!(code == 0, "exit code {code}");
    let find = |list: &str, member: &str, value: Value| {
        json[list]
            .as_array()
            .into_iter()
            .flatten()
            .find(|entry| entry[member] == value)
            .cloned()
    };
    let device = find("devices", "address", bench.device.to_string().into())
        .context("the device is not listed")?;
    ensure!(
        device["open"] == true && device["engines"][0] == "adbit",
        "{device}"
    );
    let region =
        find("regions", "id", bench.region.id.into()).context("the region is not listed")?;
    ensure!(
        region["pages"] == PAGES && region["command"] == "pagemove-selfte",
        "{region}"
    );
    Ok(Pass)
}

fn moves(state: &mut State) -> Outcome {
    let bench = bench(state)?;
    expect(
        &line(bench, PAGES, bench.nodes.there),
        0,
        &[
            ("/status", "moved".into()),
            ("/pages", PAGES.into()),
            ("/pages_moved", PAGES.into()),
            ("/engine", "adbit".into()),
            ("/error", Value::Null),
        ],
    )?;
    bench.region.map.check(0)?;
    Ok(Pass)
}

fn moves_nothing(state: &mut State) -> Outcome {
    let bench = bench(state)?;
    expect(
        &line(bench, 64, bench.nodes.there),
        0,
        &[("/pages_moved", 0.into()), ("/pages_there", 64.into())],
    )?;
    let again = format!(
        "{} --even-if-there --pages",
        line(bench, 64, bench.nodes.there)
    );
    expect(
        &again,
        0,
        &[
            ("/pages_moved", 64.into()),
            ("/results/63/outcome", "moved".into()),
        ],
    )
}

fn query(state: &mut State) -> Outcome {
    let bench = bench(state)?;
    expect(
        &format!("query {}", bench.region.id),
        0,
        &[
            ("/totals/0/pages", PAGES.into()),
            ("/totals/0/place/number", bench.nodes.there.into()),
            ("/runs/0/pages", PAGES.into()),
        ],
    )
}

fn stats(_: &mut State) -> Outcome {
    let (code, json) = run("stats")?;
    ensure!(code == 0, "exit code {code}");
    let window = |name: &str| number(&json, &format!("/window_ns/{name}"));
    ensure!(number(&json, "/pages_moved")? == window("count")?, "{json}");
    let (p50, p99, max) = (window("p50")?, window("p99")?, window("max")?);
    ensure!(
        0 < p50 && p50 <= p99 && p99 <= max,
        "p50 {p50}, p99 {p99}, max {max}"
    );
    ensure!(number(&json, "/region_pages")? == PAGES as u64, "{json}");
    Ok(Pass)
}

fn wrong_node(state: &mut State) -> Outcome {
    let bench = bench(state)?;
    let wrong = line(bench, 1, 99);
    expect(
        &wrong,
        2,
        &[
            ("/error/errno", "EINVAL".into()),
            ("/error/reason", "node".into()),
        ],
    )?;
    let output = Command::new(PROGRAM)
        .args(wrong.split_whitespace())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        said.contains("has_memory") && said.lines().count() == 1,
        "it says {said:?}"
    );
    Ok(Pass)
}

fn not_mapped(state: &mut State) -> Outcome {
    let line = line(bench(state)?, 1, 0).replace(&format!("{IOVA:#x}"), "0x8000");
    expect(
        &line,
        2,
        &[
            ("/error/errno", "ENOENT".into()),
            ("/error/reason", "not-mapped".into()),
            ("/error/iova", "0x8000".into()),
        ],
    )
}

fn no_device(_: &mut State) -> Outcome {
    let line = "move --device 0000:ff:1f.7 --iova 0 --length 4K --to-node 0";
    expect(
        line,
        2,
        &[
            ("/error/errno", "ENODEV".into()),
            ("/status", "kernel-error".into()),
        ],
    )
}

fn no_time(state: &mut State) -> Outcome {
    let bench = bench(state)?;
    let late = format!("{} --deadline 1ns", line(bench, 64, bench.nodes.here));
    expect(
        &late,
        3,
        &[
            ("/status", "aborted".into()),
            ("/pages_moved", 0.into()),
            ("/error/reason", "deadline".into()),
        ],
    )
}

/// Pages on the node that they are moved to, before and after: what a partial
/// move says has to be that.
fn partial(
    bench: &Bench,
    expected: &str,
    cut: impl Fn(&str, Duration) -> Result<(i32, Value)>,
) -> Outcome {
    let mut time = Duration::from_millis(30);
    for _ in 0..60 {
        run(&line(bench, PAGES, bench.nodes.here))?;
        let before = bench.region.pages_on(bench.nodes.there)? as u64;
        ensure!(before == 0, "{before} pages are still there");
        let (code, json) = cut(&line(bench, PAGES, bench.nodes.there), time)?;
        let there = bench.region.pages_on(bench.nodes.there)? as u64;
        ensure!(
            number(&json, "/pages_moved")? == there,
            "{there} pages are there: {json}"
        );
        bench.region.map.check_page(0, 0)?;
        match code {
            0 => time = time * 2 / 3,
            3 => time = time * 3 / 2,
            5 => {
                ensure!(
                    json["status"] == "partial" && json["error"]["reason"] == expected,
                    "{json}"
                );
                bench.region.map.check(0)?;
                return Ok(Pass);
            }
            _ => bail!("exit code {code}: {json}"),
        }
    }
    bail!("no move was cut short in the middle")
}

fn little_time(state: &mut State) -> Outcome {
    partial(bench(state)?, "deadline", |line, time| {
        run(&format!("{line} --deadline {}us", time.as_micros()))
    })
}

/// SIGINT, as from a terminal. Sent too early it ends a program that has not
/// begun, which counts as no move at all.
fn interrupted(state: &mut State) -> Outcome {
    partial(bench(state)?, "signal", |line, time| {
        let child = Command::new(PROGRAM)
            .arg("--json")
            .args(line.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        thread::sleep(time);
        // SAFETY: our child, which was not waited for.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        let output = child.wait_with_output()?;
        if output.status.code().is_none() {
            return Ok((3, serde_json::json!({ "pages_moved": 0 })));
        }
        answer(output)
    })
}

/// A move with its messages going to a terminal; what was written there.
fn on_terminal(line: &str) -> Result<String> {
    mount_terminals();
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: places for two descriptors; the rest may be null.
    let result = unsafe {
        libc::openpty(
            &mut ours,
            &mut theirs,
            std::ptr::null_mut(),
            std::ptr::null(),
            std::ptr::null(),
        )
    };
    ensure!(result == 0, "openpty: {}", std::io::Error::last_os_error());
    // SAFETY: descriptors that were just made for us.
    let (mut ours, theirs) = unsafe { (File::from_raw_fd(ours), File::from_raw_fd(theirs)) };
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        // Ends with EIO when the program has closed its side.
        let _ = ours.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let status = Command::new(PROGRAM)
        .args(line.split_whitespace())
        .stdout(Stdio::null())
        .stderr(theirs)
        .status()?;
    ensure!(status.success(), "{status}");
    Ok(reader.join().expect("reading does not panic"))
}

/// The VM has no terminals unless somebody asks for them.
fn mount_terminals() {
    if std::path::Path::new("/dev/pts/ptmx").exists() {
        return;
    }
    // If this fails openpty says so.
    let _ = std::fs::create_dir_all("/dev/pts");
    let options = c"newinstance,ptmxmode=0666";
    // SAFETY: C strings.
    unsafe {
        libc::mount(
            c"devpts".as_ptr(),
            c"/dev/pts".as_ptr(),
            c"devpts".as_ptr(),
            0,
            options.as_ptr().cast(),
        )
    };
}

fn progress(state: &mut State) -> Outcome {
    let bench = bench(state)?;
    let line = |node| format!("{} --even-if-there --chunk 64", line(bench, PAGES, node));
    let shown = on_terminal(&line(bench.nodes.there))?;
    ensure!(shown.contains("pages"), "on a terminal it showed {shown:?}");
    let quiet = Command::new(PROGRAM)
        .args(line(bench.nodes.here).split_whitespace())
        .output()?;
    ensure!(quiet.status.success(), "{}", quiet.status);
    ensure!(
        quiet.stderr.is_empty(),
        "without one: {:?}",
        String::from_utf8_lossy(&quiet.stderr)
    );
    ensure!(
        String::from_utf8_lossy(&quiet.stdout).starts_with("moved 8192 of 8192 pages"),
        "{quiet:?}"
    );
    Ok(Pass)
}

fn unsupported(state: &mut State) -> Outcome {
    *state = None;
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    module::unload_pagemove(Duration::from_secs(20))?;
    // QEMU's IOMMU says that it does not snoop.
    module::load_pagemove_with("")?;
    let bench = Bench::open(4)?;
    let outcome = expect(
        &line(&bench, 4, bench.nodes.there),
        4,
        &[
            ("/status", "unsupported".into()),
            ("/error/reason", "incoherent".into()),
        ],
    );
    drop(bench);
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    outcome
}

fn no_module(_: &mut State) -> Outcome {
    module::unload_pagemove(Duration::from_secs(20))?;
    let outcome = expect(
        "info",
        4,
        &[
            ("/error/call", "open".into()),
            ("/error/errno", "ENOENT".into()),
        ],
    );
    module::load_pagemove()?;
    outcome
}
