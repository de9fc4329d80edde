// SPDX-License-Identifier: GPL-2.0
//! `pagemove probe` on a real kernel: the tables that it expects are those that
//! the module sees, and every no has its reason. The argument is the format.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use serde_json::Value;

use crate::bench::{self, Bench};
use pagemove_testkit::module;
use pagemove_testkit::tap::{self, Case, Outcome, Pass};

const USAGE: &str = "probe wants one of: x86_64 vtdss amdv1 none";
const NOBODY: u32 = 65534;

pub fn main(args: &[String]) -> ExitCode {
    let mut cases = vec![
        Case::new("what securityfs would tell is not guessed", |_: &mut ()| {
            before_securityfs()
        }),
        Case::new("without root it says what needs root", |_| without_root()),
    ];
    match args.first().map(String::as_str) {
        Some("none") => cases.push(Case::new("no IOMMU: 1, with the reason", |_| no_iommu())),
        Some(format @ ("x86_64" | "vtdss" | "amdv1")) => cases.extend(with_iommu(format)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(1);
        }
    }
    cases.push(Case::new("rtm: not possible, and why", |_| no_rtm()));
    tap::run(&mut (), cases)
}

fn with_iommu(format: &str) -> Vec<Case<()>> {
    let (named, twin, judged) = (format.to_string(), format.to_string(), format.to_string());
    let mut cases = vec![
        Case::new(
            format!("{format}: expected before a device is open, and seen after"),
            move |_: &mut ()| expected(&named),
        ),
        Case::new(
            "the twin: other registers, another expectation",
            move |_| other_registers(&twin),
        ),
        Case::new(format!("{format}: the verdict on adbit"), move |_| {
            verdict(&judged)
        }),
        Case::new("without the module it answers, too", |_| without_module()),
    ];
    if format == "x86_64" {
        cases.push(Case::new(
            "x86_64: without allow_incoherent=1 it is a no",
            |_| incoherent(),
        ));
    }
    cases
}

/// Runs the program; its exit code and its JSON.
fn probe(line: &str, user: Option<u32>) -> Result<(i32, Value)> {
    let mut command = Command::new("/bin/pagemove");
    command
        .args(["probe", "--json"])
        .args(line.split_whitespace());
    if let Some(user) = user {
        command.gid(user).uid(user);
    }
    let output = command.output().context("starting pagemove")?;
    let code = output.status.code().context("pagemove was ended")?;
    let json = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("its JSON: {:?}", String::from_utf8_lossy(&output.stdout)))?;
    Ok((code, json))
}

fn entry<'a>(list: &'a Value, key: &str, value: &Value) -> Result<&'a Value> {
    let mut entries = list.as_array().into_iter().flatten();
    entries
        .find(|entry| &entry[key] == value)
        .with_context(|| format!("no {key} {value} in {list}"))
}

fn engine<'a>(json: &'a Value, name: &str) -> Result<&'a Value> {
    entry(&json["engines"], "engine", &name.into())
}

/// A finding about this engine, on the host or on a device; it has to say what helps.
fn has(json: &Value, name: &str, code: &str) -> Result<()> {
    let devices = json["devices"].as_array().into_iter().flatten();
    let judged = devices.map(|device| entry(&device["engines"], "engine", &name.into()));
    for judged in judged.chain([engine(json, name)]) {
        if let Ok(finding) = entry(&judged?["findings"], "code", &code.into()) {
            let fix = finding["fix"].as_str().unwrap_or_default();
            ensure!(!fix.is_empty(), "{code} without a fix: {finding}");
            return Ok(());
        }
    }
    anyhow::bail!("{name} has no finding {code}: {json}")
}

fn check_verdict(json: &Value, name: &str, expected: &str) -> Result<()> {
    let verdict = &engine(json, name)?["verdict"];
    ensure!(verdict == expected, "{name} is {verdict}: {json}");
    Ok(())
}

/// The VM has no securityfs unless somebody mounts it.
fn before_securityfs() -> Outcome {
    let (code, json) = probe("", None)?;
    ensure!(code == 1, "exit code {code}");
    has(&json, "adbit", "lockdown-unknown")?;
    let securityfs = c"securityfs";
    // SAFETY: C strings.
    let result = unsafe {
        libc::mount(
            securityfs.as_ptr(),
            c"/sys/kernel/security".as_ptr(),
            securityfs.as_ptr(),
            0,
            std::ptr::null(),
        )
    };
    ensure!(result == 0, "mount: {}", std::io::Error::last_os_error());
    let (_, json) = probe("", None)?;
    let lockdown = &json["kernel"]["lockdown"];
    ensure!(lockdown == "none", "lockdown is {lockdown}");
    Ok(Pass)
}

fn without_root() -> Outcome {
    let device = first_device()?;
    let (_, json) = probe(&device, Some(NOBODY))?;
    for path in ["/module/info", "/tsc/log", "/devices/0/ats"] {
        let why = json.pointer(path).context("a member is missing")?["unknown"].as_str();
        ensure!(
            why.is_some_and(|why| why.starts_with("needs root")),
            "{path}: {why:?}"
        );
    }
    let (_, json) = probe(&device, None)?;
    for path in ["/module/info/abi_version", "/tsc/log"] {
        let found = json.pointer(path).context("a member is missing")?;
        ensure!(found["unknown"].is_null(), "{path}, as root: {found}");
    }
    let ats = &json["devices"][0]["ats"];
    ensure!(ats.is_null(), "ATS of a device without: {ats}");
    Ok(Pass)
}

fn first_device() -> Result<String> {
    let devices = bench::devices()?;
    let device = devices.first().context("the VM has no device for tests")?;
    Ok(device.to_string())
}

/// The format that is expected behind the IOMMU of the first test device.
fn expectation(json: &Value) -> Result<&Value> {
    let iommu = &json["devices"][0]["iommu"];
    Ok(&entry(&json["iommus"], "name", iommu)?["format"])
}

fn expected(format: &str) -> Outcome {
    let device = first_device()?;
    let (_, before) = probe(&device, None)?;
    let expected = expectation(&before)?;
    ensure!(expected == format, "{expected} is expected: {before}");
    let seen = &before["devices"][0]["module"]["format"];
    ensure!(seen.is_null(), "nobody has it open, and yet: {seen}");
    let _bench = Bench::open(4)?;
    let (_, json) = probe(&device, None)?;
    let seen = &json["devices"][0]["module"]["format"];
    ensure!(seen == format, "the module sees {seen}: {json}");
    let notes = json["notes"].as_array().context("no notes")?;
    let surprise = notes
        .iter()
        .find(|note| note.to_string().contains("not the expected"));
    ensure!(surprise.is_none(), "{surprise:?}");
    Ok(Pass)
}

/// Bits and words that make Linux choose otherwise; see cli/src/probe.
fn altered(format: &str, register: u64) -> (u64, &'static str) {
    const FIRST_STAGE: u64 = 1 << 47 | 1 << 43;
    const V2_TABLES: u64 = 1 << 48 | 1 << 4;
    match format {
        "x86_64" => (register & !FIRST_STAGE, "intel_iommu=sm_on"),
        "vtdss" => (register | FIRST_STAGE, "intel_iommu=sm_on"),
        _ => (register | V2_TABLES, "amd_iommu=pgtbl_v2"),
    }
}

fn other_registers(format: &str) -> Outcome {
    let directory = if format == "amdv1" {
        "sys/class/iommu/ivhd0/amd-iommu"
    } else {
        "sys/class/iommu/dmar0/intel-iommu"
    };
    let root = Path::new("/tmp/probe-twin");
    for name in ["proc", directory] {
        fs::create_dir_all(root.join(name))?;
    }
    let same = |file: &str| fs::copy(Path::new("/").join(file), root.join(file));
    same("proc/cmdline")?;
    let file = if format == "amdv1" {
        format!("{directory}/features")
    } else {
        same(&format!("{directory}/cap"))?;
        format!("{directory}/ecap")
    };
    same(&file)?;
    let line = format!("--root {}", root.display());
    let (_, json) = probe(&line, None)?;
    let copied = &json["iommus"][0]["format"];
    ensure!(copied == format, "a faithful copy gives {copied}");
    let text = fs::read_to_string(root.join(&file))?;
    let (first, rest) = text.trim().split_once(':').unwrap_or((text.trim(), "0"));
    let (register, words) = altered(format, u64::from_str_radix(first, 16)?);
    let separator = if format == "amdv1" {
        format!(":{rest}")
    } else {
        String::new()
    };
    fs::write(root.join(&file), format!("{register:x}{separator}\n"))?;
    fs::write(root.join("proc/cmdline"), words)?;
    let (_, json) = probe(&line, None)?;
    let found = &json["iommus"][0]["format"];
    ensure!(found.is_string() && found != format, "still {found}");
    Ok(Pass)
}

fn verdict(format: &str) -> Outcome {
    let bench = Bench::open(4)?;
    let (code, json) = probe(&bench.device.to_string(), None)?;
    let works = format == "x86_64";
    ensure!(code == i32::from(!works), "exit code {code}: {json}");
    if works {
        check_verdict(&json, "adbit", "possible")?;
    } else {
        check_verdict(&json, "adbit", "not-possible")?;
        has(&json, "adbit", "format")?;
    }
    Ok(Pass)
}

/// With other parameters than the VM's, or not at all; then as it was.
fn reloaded(parameters: Option<&str>, check: impl FnOnce() -> Outcome) -> Outcome {
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    module::unload_pagemove(Duration::from_secs(20))?;
    if let Some(parameters) = parameters {
        module::load_pagemove_with(parameters)?;
    }
    let outcome = check();
    if parameters.is_some() {
        bench::wait_for_no_pages(Duration::from_secs(20))?;
        module::unload_pagemove(Duration::from_secs(20))?;
    }
    module::load_pagemove()?;
    outcome
}

fn without_module() -> Outcome {
    reloaded(None, || {
        let (code, json) = probe("", None)?;
        ensure!(code <= 1, "exit code {code}");
        ensure!(json["module"]["loaded"] == false, "{json}");
        ensure!(expectation(&json)?.is_string(), "{json}");
        has(&json, "adbit", "module-not-loaded")?;
        Ok(Pass)
    })
}

/// QEMU's IOMMU says that it does not snoop.
fn incoherent() -> Outcome {
    reloaded(Some(""), || {
        let bench = Bench::open(4)?;
        let (code, json) = probe(&bench.device.to_string(), None)?;
        ensure!(code == 1, "exit code {code}");
        check_verdict(&json, "adbit", "not-possible")?;
        has(&json, "adbit", "incoherent")?;
        Ok(Pass)
    })
}

fn no_iommu() -> Outcome {
    let (code, json) = probe("", None)?;
    ensure!(code == 1, "exit code {code}");
    check_verdict(&json, "adbit", "not-possible")?;
    has(&json, "adbit", "no-iommu")?;
    ensure!(json["devices"] == serde_json::json!([]), "{json}");
    Ok(Pass)
}

/// TCG's CPU has no RTM.
fn no_rtm() -> Outcome {
    let (_, json) = probe("", None)?;
    check_verdict(&json, "rtm", "not-possible")?;
    has(&json, "rtm", "no-rtm")?;
    Ok(Pass)
}
