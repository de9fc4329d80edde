// SPDX-License-Identifier: GPL-2.0
//! What the steps of an engine see to beside that nothing is lost: A and D of entries, calls that end, pages that stay.
//! Arguments: an engine, and parameters of the module; one that leaves a step out has to turn a case red.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_testkit::{module, pci};
use pagemove_uapi::{
    MoveRequest, PageResult, ABORT_APERTURE, ABORT_IN_USE, ABORT_OVERWRITTEN, ENGINE_ADBIT,
    ENGINE_RTM, PAGE_ABORTED, PAGE_MOVED, PAGE_SIZE, USED_ACCESSED, USED_DIRTY,
};

use crate::bench;
use crate::rig::Rig;

const USAGE: &str = "steps wants: adbit or rtm, and maybe parameters of the module";
const PARAMETERS: &str = "allow_incoherent=1 allow_unqualified=1 longest_us=3000";
/// One commit in seven is put back by the build for tests (`inject=1`).
const PAGES: usize = 14;
/// Enough for a page that other DMA is in the way of.
const RETRIES: u32 = 2000;
/// More than any call makes in the time it is given.
const ENDLESS: u16 = 10_000;
const DEADLINE: Duration = Duration::from_millis(30);

/// How to call.
struct Scene {
    engine: u32,
    more: String,
}

type Check = fn(&Scene) -> Result<()>;

pub fn main(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (name, more) = match words[..] {
        [engine] => (engine, ""),
        [engine, more] => (engine, more),
        _ => ("", ""),
    };
    let both: [(&str, Check); 4] = [
        ("what a device has written has D where it goes", kept),
        ("a page that does not reach its aperture stays", stays),
        ("what something else uses stays", in_use),
        ("a call ends at its deadline", deadline),
    ];
    let adbit: [(&str, Check); 3] = [
        ("a page that nobody has used has A where it goes", set),
        ("a page that stays has A and D as before", restored),
        (
            "a page whose entry comes back has A and D as before",
            put_back,
        ),
    ];
    let (engine, checks) = match name {
        "adbit" => (ENGINE_ADBIT, [&both[..], &adbit[..]].concat()),
        "rtm" => (ENGINE_RTM, both.to_vec()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(1);
        }
    };
    let mut scene = Scene {
        engine,
        more: more.to_string(),
    };
    let cases = checks
        .into_iter()
        .map(|(name, check)| {
            Case::new(name, move |scene: &mut Scene| {
                check(scene)?;
                Ok(Pass)
            })
        })
        .collect();
    tap::run(&mut scene, cases)
}

impl Scene {
    fn open(&self, parameters: &str) -> Result<Rig> {
        let nothing = bench::wait_for_no_pages(Duration::from_secs(20));
        // Who leaves a step out keeps what may be in use still.
        ensure!(nothing.is_ok() || !self.more.is_empty(), "{nothing:?}");
        module::unload_pagemove(Duration::from_secs(10))?;
        let more = &self.more;
        module::load_pagemove_with(&format!("{PARAMETERS} {parameters} {more}"))?;
        Rig::open(PAGES)
    }

    fn request(&self, rig: &Rig, pages: usize) -> MoveRequest {
        MoveRequest {
            retries: RETRIES,
            ..rig.request(0, pages, self.engine, rig.nodes.there)
        }
    }

    /// Moves a page and returns what USED says of it.
    fn moved(&self, rig: &Rig) -> Result<u64> {
        let (report, results) = rig.move_patiently(&self.request(rig, 1));
        ensure!(
            report.error.is_none() && outcome(&results)? == PAGE_MOVED,
            "{}",
            bench::describe(&report)
        );
        used(rig, 0, false)
    }

    /// Moves a page to an aperture whose link is down.
    fn in_vain(&self, rig: &Rig) -> Result<()> {
        let function = *pci::find(pci::IVSHMEM)?.first().context("no aperture")?;
        pci::bind(function, "pagemove_aperture")?;
        let apertures = rig.control.aperture_list()?;
        let id = apertures.first().context("no aperture")?.id;
        let (report, results) = rig.move_out(0, id, &[0x5000]);
        let result = results.first().context("no result")?;
        ensure!(
            (result.outcome, result.abort) == (PAGE_ABORTED, ABORT_APERTURE),
            "over a dead link: outcome {}, {}",
            result.outcome,
            bench::describe(&report)
        );
        Ok(())
    }
}

fn outcome(results: &[PageResult]) -> Result<u8> {
    Ok(results.first().context("no result")?.outcome)
}

fn used(rig: &Rig, page: usize, clear: bool) -> Result<u64> {
    let iova = bench::IOVA + (page * PAGE_SIZE) as u64;
    let used = rig
        .control
        .used(rig.device, iova, PAGE_SIZE as u64, clear)?;
    Ok(u64::from(*used.first().context("no answer")?))
}

/// What a device has written has both.
fn has_both(rig: &Rig, page: usize) -> Result<()> {
    let found = used(rig, page, false)?;
    ensure!(
        found & (USED_ACCESSED | USED_DIRTY) == USED_ACCESSED | USED_DIRTY,
        "page {page}, which was written: A and D are {found:#x}"
    );
    Ok(())
}

fn kept(scene: &Scene) -> Result<()> {
    let mut rig = scene.open("")?;
    rig.write_by_device(0, 3)?;
    let found = scene.moved(&rig)?;
    ensure!(found & USED_DIRTY != 0, "it has lost D: {found:#x}");
    rig.check(0, 3)
}

fn set(scene: &Scene) -> Result<()> {
    let mut rig = scene.open("")?;
    used(&rig, 0, true)?;
    let before = used(&rig, 0, false)?;
    ensure!(before & USED_ACCESSED == 0, "A is not cleared");
    let found = scene.moved(&rig)?;
    ensure!(found & USED_ACCESSED != 0, "it has no A: {found:#x}");
    rig.check(0, 0)
}

fn stays(scene: &Scene) -> Result<()> {
    let mut rig = scene.open("inject=4")?;
    scene.in_vain(&rig)?;
    rig.check(0, 0)
}

fn restored(scene: &Scene) -> Result<()> {
    let mut rig = scene.open("inject=4")?;
    rig.write_by_device(0, 3)?;
    scene.in_vain(&rig)?;
    has_both(&rig, 0)?;
    rig.check(0, 3)
}

fn put_back(scene: &Scene) -> Result<()> {
    let mut rig = scene.open("inject=1")?;
    for page in 0..PAGES {
        rig.write_by_device(page, 3)?;
    }
    let mut request = scene.request(&rig, PAGES);
    request.retries = 0;
    let (report, results) = rig.move_pages(&request);
    let is_it =
        |result: &PageResult| (result.outcome, result.abort) == (PAGE_ABORTED, ABORT_OVERWRITTEN);
    let page = results.iter().position(is_it);
    let page = page.with_context(|| format!("none came back: {}", bench::describe(&report)))?;
    has_both(&rig, page)?;
    rig.check(page, 3)
}

/// Has a pipe use the first page while `check` runs.
fn with_pipe(rig: &Rig, check: impl FnOnce(&Rig) -> Result<()>) -> Result<()> {
    let loan = rig.lend_to_pipe(0)?;
    check(rig)?;
    loan.end()
}

fn in_use(scene: &Scene) -> Result<()> {
    let mut rig = scene.open("")?;
    with_pipe(&rig, |rig| {
        let mut request = scene.request(rig, 1);
        request.retries = 3;
        let (report, results) = rig.move_patiently(&request);
        let result = results.first().context("no result")?;
        ensure!(
            (result.outcome, result.abort) == (PAGE_ABORTED, ABORT_IN_USE),
            "in use: outcome {}, {}",
            result.outcome,
            bench::describe(&report)
        );
        Ok(())
    })?;
    rig.check(0, 0)
}

/// Calls for a page that is in use all the time. What is said of it is that; and the call ends long before it has made all of its
/// attempts.
fn ends_soon(rig: &Rig, request: &MoveRequest) -> Result<()> {
    let (report, results) = rig.move_pages(request);
    let attempts = results.first().context("no result")?.attempts;
    tap::note(&format!(
        "{attempts} attempts, {}",
        bench::describe(&report)
    ));
    ensure!(attempts < ENDLESS, "it made all of its attempts");
    Ok(())
}

fn deadline(scene: &Scene) -> Result<()> {
    let mut rig = scene.open("")?;
    with_pipe(&rig, |rig| {
        let mut request = scene.request(rig, 1);
        request.retries = ENDLESS.into();
        request.deadline_ns = DEADLINE.as_nanos() as u64;
        ends_soon(rig, &request)
    })?;
    rig.check(0, 0)
}
