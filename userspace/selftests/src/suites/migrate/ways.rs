// SPDX-License-Identifier: GPL-2.0
//! Migrations that come to their end: out, back, post-copy, release.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{PAGE_SIZE, PLACE_APERTURE, PLACE_NODE};
use serde_json::Value;

use super::{case, Hosts, Nothing, Receiver, LONG, PAGES};
use crate::rig::content;
use pagemove_testkit::tap::Case;

pub fn cases() -> Vec<Case<Nothing>> {
    vec![
        case(
            "plan: says what would move, and changes nothing on either host",
            plans,
        ),
        case(
            "out and back: every byte, for CPUs of both hosts and the device",
            there_and_back,
        ),
        case(
            "out and back by single pages, hot ones first",
            in_other_ways,
        ),
        case(
            "by the region alone: all that the device maps, past a hole, and back",
            by_region,
        ),
        case("hooks are run on both sides, in order", hooks),
        case(
            "post-copy: CPUs on B wait, are served first, and see the truth",
            post_copy,
        ),
        case(
            "release: refused while pages are out, done when A is closed",
            release,
        ),
    ]
}

fn plans() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let receiver = Receiver::start(hosts.b.id, &[])?;
    let plan = hosts.run("plan", &receiver.address.clone(), &[])?;
    plan.expect(0)?;
    ensure!(plan.json["possible"] == Value::Bool(true), "{}", plan.json);
    ensure!(
        plan.number("pages_to_move")? == PAGES as u64,
        "{}",
        plan.json
    );
    ensure!(
        plan.json["peer"]["region_pages"] == PAGES as u64 + 1,
        "{}",
        plan.json
    );
    ensure!(receiver.end()?.code == 0);
    ensure!(!hosts.is_noted(), "a plan is noted");
    hosts.check_home(1)
}

fn there_and_back() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let (out, received) = hosts.migrate(&[], &[])?;
    out.expect(0)?;
    ensure!(received.code == 0, "{}", received.errors);
    ensure!(out.number("pages_moved")? == PAGES as u64, "{}", out.json);
    ensure!(out.number("pages_on_peer")? == PAGES as u64, "{}", out.json);
    ensure!(
        received.json["pages_arrived"] == PAGES as u64,
        "{}",
        received.json
    );
    ensure!(!hosts.is_noted(), "it is noted, though it is done");
    hosts.check_out(1)?;
    hosts.check_device(5, 9)?;
    hosts.rig.fill(5, 1);
    let (back, received) = hosts.migrate(&["--back"], &[])?;
    back.expect(0)?;
    ensure!(back.number("pages_here")? == PAGES as u64, "{}", back.json);
    ensure!(
        received.json["pages_retracted"] == PAGES as u64,
        "{}",
        received.json
    );
    hosts.check_home(1)
}

fn in_other_ways() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let (out, _) = hosts.migrate(&["--batch", "1", "--order", "hot-first"], &[])?;
    out.expect(0)?;
    hosts.check_out(1)?;
    let (again, _) = hosts.migrate(&[], &[])?;
    again.expect(0)?;
    ensure!(
        again.number("pages_there")? == PAGES as u64,
        "{}",
        again.json
    );
    let (back, _) = hosts.migrate(&["--back", "--batch", "7"], &[])?;
    back.expect(0)?;
    hosts.check_home(1)
}

/// In the middle, and not mapped for the device.
const HOLE: usize = 20;

fn by_region() -> Result<()> {
    let mut hosts = Hosts::open()?;
    hosts.rig.leave_out(HOLE)?;
    for direction in ["", "--back"] {
        let receiver = Receiver::start(hosts.b.id, &[])?;
        let out = region_alone(&hosts, &receiver.address, direction)?;
        let received = receiver.end()?;
        out.expect(0)?;
        ensure!(received.code == 0, "{}", received.errors);
        // The one that the device writes back to goes, too.
        ensure!(out.number("pages")? == PAGES as u64, "{}", out.json);
        // On the way back that one is home already: a CPU has looked at it.
        let gone = out.number("pages_moved")? + out.number("pages_there")?;
        ensure!(gone == PAGES as u64, "{}", out.json);
        ensure!(received.json["pages"] == PAGES as u64, "{}", received.json);
        let away = direction.is_empty();
        for page in (0..PAGES).filter(|page| *page != HOLE) {
            let is_out = hosts.rig.place_of(page)?.kind == PLACE_APERTURE;
            ensure!(
                is_out == away,
                "page {page} is elsewhere after {direction:?}"
            );
            match away {
                true => hosts.rig.check_by_device(page, 1)?,
                false => hosts.rig.check(page, 1)?,
            }
        }
        let place = hosts.rig.place_of(HOLE)?;
        ensure!(place.kind == PLACE_NODE, "the hole is at {place:?}");
    }
    Ok(())
}

fn region_alone(hosts: &Hosts, to: &str, more: &str) -> Result<super::Migrated> {
    let line = format!(
        "--json migrate --to {to} --region {} --aperture {} --state {} {more}",
        hosts.rig.region()?,
        hosts.aperture,
        super::NOTES
    );
    let child = std::process::Command::new("pagemove")
        .args(line.split_whitespace())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .context("starting pagemove")?;
    super::finish(child)
}

fn hooks() -> Result<()> {
    let hosts = Hosts::open()?;
    let file = "/tmp/hooks";
    let _ = fs::remove_file(file);
    let hook = format!("echo $PAGEMOVE_SIDE $PAGEMOVE_EVENT $PAGEMOVE_NAME >> {file}");
    let (out, _) = hosts.migrate(&["--hook", &hook], &["--hook", &hook])?;
    out.expect(0)?;
    let expected = "source leave vm1\ntarget enter vm1\ntarget complete vm1\nsource complete vm1\n";
    let found = fs::read_to_string(file)?;
    ensure!(found == expected, "the hooks saw {found:?}");
    let (back, _) = hosts.migrate(&["--back"], &["--hook", "exit 3"])?;
    back.expect(3)?;
    ensure!(back.errors.contains("the hook failed"), "{}", back.errors);
    hosts.migrate(&["--back"], &[])?.0.expect(0)?;
    Ok(())
}

/// Some CPUs wait for pages far from the first when the first page moves.
fn post_copy() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let (entered, log) = (Path::new("/tmp/entered"), "/tmp/served");
    let _ = fs::remove_file(entered);
    let hook = format!(
        "test $PAGEMOVE_EVENT != enter || {{ touch {}; sleep 1; }}",
        entered.display()
    );
    let receiver = Receiver::start(hosts.b.id, &["--post-copy", "--hook", &hook, "--log", log])?;
    let to = receiver.address.clone();
    let wanted = [40usize, 29, 31];
    let out = thread::scope(|scope| {
        let b = &hosts.b.map;
        let readers = wanted.map(|page| {
            scope.spawn(move || {
                let end = Instant::now() + LONG;
                while !entered.exists() && Instant::now() < end {
                    thread::sleep(Duration::from_millis(2));
                }
                let wrong = |word: &usize| b.read(page, *word) != content(page, *word, 1);
                (0..PAGE_SIZE / 8).find(wrong)
            })
        });
        let out = hosts.run("migrate", &to, &["--batch", "1"])?;
        for (reader, page) in readers.into_iter().zip(wanted) {
            let wrong = reader.join().ok().context("a reader panicked")?;
            ensure!(
                wrong.is_none(),
                "a CPU on B saw something else in page {page}"
            );
        }
        Ok(out)
    })?;
    let received = receiver.end()?;
    out.expect(0)?;
    ensure!(received.code == 0, "{}", received.errors);
    hosts.check_out(1)?;
    let log = fs::read_to_string(log)?;
    ensure!(
        received.json["served"] == log.lines().count() as u64,
        "{}",
        received.json
    );
    for page in wanted {
        ensure!(
            log.contains(&format!(" page {page} after ")),
            "page {page} was not served: {log}"
        );
    }
    let p50 = received.json["latency_ns"]["p50"]
        .as_u64()
        .context("no p50")?;
    ensure!(p50 > 0, "{}", received.json);
    hosts.migrate(&["--back"], &[])?.0.expect(0)?;
    hosts.check_home(1)
}

fn release() -> Result<()> {
    let mut hosts = Hosts::open()?;
    hosts.migrate(&[], &[])?.0.expect(0)?;
    hosts.check_out(1)?;
    let receiver = Receiver::start(hosts.b.id, &[])?;
    let early = hosts.run("migrate", &receiver.address.clone(), &["--release"])?;
    early.expect(3)?;
    ensure!(
        early.errors.contains("still reached through the aperture"),
        "{}",
        early.errors
    );
    // A's VMM goes; what is on B stays, with its content.
    let device = hosts.rig.device;
    let region = hosts.rig.region()?;
    let Hosts { rig, b, aperture } = hosts;
    drop(rig);
    wait_for_empty(aperture)?;
    let length = (PAGES * PAGE_SIZE).to_string();
    let (region, aperture) = (region.to_string(), aperture.to_string());
    let iova = format!("{:#x}", crate::bench::IOVA);
    let line = [
        "--json",
        "migrate",
        "--release",
        "--to",
        &receiver.address,
        &device.to_string(),
        &iova,
        &length,
        "--region",
        &region,
        "--aperture",
        &aperture,
        "--state",
        super::NOTES,
    ];
    let released = std::process::Command::new("pagemove").args(line).output()?;
    ensure!(
        released.status.code() == Some(0),
        "{}",
        String::from_utf8_lossy(&released.stderr)
    );
    let received = receiver.end()?;
    ensure!(
        received.json["pages_retracted"] == PAGES as u64,
        "{}",
        received.json
    );
    for page in 0..PAGES {
        for word in 0..PAGE_SIZE / 8 {
            ensure!(
                b.map.read(page, word) == content(page, word, 1),
                "page {page} has changed"
            );
        }
    }
    Ok(())
}

fn wait_for_empty(aperture: u32) -> Result<()> {
    let control = pagemove_uapi::Control::open()?;
    let end = Instant::now() + LONG;
    loop {
        let apertures = control.aperture_list()?;
        let it = apertures
            .iter()
            .find(|it| it.id == aperture)
            .context("no aperture")?;
        if it.pages == 0 {
            return Ok(());
        }
        ensure!(
            Instant::now() < end,
            "{} pages stay in the aperture",
            it.pages
        );
        thread::sleep(Duration::from_millis(20));
    }
}
