// SPDX-License-Identifier: GPL-2.0
//! The page of a run, for Documentation/.

use super::data::{Bench, Figure, Profile, Share};
use super::table::{self, number, Of, Table};
use super::{steps, SHOWN};

/// Functions of a profile that are shown.
const FUNCTIONS: usize = 24;

const HEAD: &str = "\
# What a move costs

Made by `make bench-page` from what `make bench` has measured; nobody edits it by hand. What it is
compared with, how it is measured and what can not be seen here is said at its end.

**The machine is an emulated one, and only ratios mean anything.** A flush of the IOTLB costs what
QEMU needs for it, not what an IOMMU does; a transaction is interpreted instruction by instruction.
";

const TAIL: &str = "\
## What is measured

Everything in one VM, round after round, so that what disturbs the machine disturbs all rows. Each row has
memory of its own on node 0 and moves it to node 1 and back; calls of different lengths have different pages.
After each call every page is asked for its node, and at the end every word of all memory is compared.

| row | what it does |
| --- | --- |
| `adbit`, `rtm` | one call to PAGEMOVE_IOC_MOVE, on pages of a memfd or of a region of /dev/pagemove, that an NVMe has mapped through VFIO |
| VFIO, all at once | unmap of all pages, a copy to other memory, map of that: DMA in between would fail, so a busy device rests meanwhile |
| VFIO, page by page | the same for each page |
| kernel | `iommu_unmap()`, copy, `iommu_map()` for each page, by a module (`tests/bench`) |
| move_pages(2) | of memory that no device maps, so that Linux can move it by itself |
| floor | a copy by SSE, and an unmap of one page that nobody uses: one flush |
| nothing moves | the device alone |

- The rows of VFIO, of the kernel's functions and of the floor have the memory that they go to from the beginning;
  pagemove and move_pages(2) allocate it, and free what they leave.
- VFIO's rows say nothing of whether a write was lost: nobody may write meanwhile. pagemove lets the device go
  on, finds out whether it wrote, and with verification looks once more.
- *Times* are those of a page that was moved: the median, and half of what is between the quarters.
- *Busy*: the NVMe reads pages in no order and writes them back, 8 transfers at a time. What meets a move is
  tried again, at most 20 times; what then stays is not moved (the table says how much was).
- *The longest gap* is that between two completions of the device from before the call to after it; in a longer call
  there are more of them. While nothing moved it was looked for in 20 ms.
- *Instructions* are counted by a plugin of the emulator (`tests/instruction-counter`), which is off while times are
  taken. A row's are those of the caller's CPU, in the kernel and in user space, and do not depend on what else the host
  does. Those of `rtm` do: they are of both CPUs, and editor and helper wait for each other; emulated transactions are
  among them. The least of some calls is shown: in others the clock ticked more often. What QEMU does for a device or an
  IOMMU is no instruction of the guest's.
- Copies: the C library's and the kernel's are one instruction (`rep movs`), which an emulator does piece by
  piece. So the baselines copy by SSE, the module in `tests/bench` word by word as pagemove does, and Linux's
  move_pages(2) looks slower than it is.
- Emulated CPUs, IOMMU and devices share the host's CPUs; the noise above is what became of it.
";

pub fn of(bench: &Bench) -> String {
    let mut text = HEAD.to_string();
    text += &rig(bench);
    text += "\n![times of a page](benchmarks.svg)\n";
    let times = "## Time of a page";
    text += &section(
        times,
        "The device is quiet; µs.",
        &table::of(bench, false, Of::Time),
    );
    text += &section(
        "## Instructions of a page",
        "The device is quiet.",
        &table::of(bench, false, Of::Instructions),
    );
    text += &section(
        "## Under DMA",
        "µs for each page that was moved.",
        &table::of(bench, true, Of::Time),
    );
    let gaps = table::of(bench, true, Of::Gap);
    text += &section("", "The longest gap between two completions, in ms.", &gaps);
    text += &moved(bench);
    text += &costs(bench);
    text + "\n" + TAIL
}

/// How much was moved, if it was not all.
fn moved(bench: &Bench) -> String {
    let all = |figure: &&Figure| figure.method == "still" || figure.moved == 1.0;
    if bench
        .figures
        .iter()
        .filter(|figure| figure.busy)
        .all(|figure| all(&figure))
    {
        return "\nEach call moved all of its pages.\n".to_string();
    }
    section(
        "",
        "Pages that one call moved.",
        &table::of(bench, true, Of::Moved),
    )
}

fn section(title: &str, words: &str, table: &Table) -> String {
    let title = match title {
        "" => String::new(),
        title => format!("\n{title}\n"),
    };
    format!("{title}\n{words}\n\n{}", table.markdown())
}

/// What it was measured on.
pub fn rig(bench: &Bench) -> String {
    let (host, rig) = (&bench.host, &bench.rig);
    let noise = rig.noise.map_or("unknown".to_string(), |noise| {
        format!(
            "the same additions took {} to {} ms, the middle half ±{:.0}%",
            number(noise.least / 1e6),
            number(noise.most / 1e6),
            noise.noise() * 100.0
        )
    });
    let mut table = Table::new(vec!["".into(), "".into()]);
    for (what, value) in [
        ("measured", host.date.clone()),
        ("host", format!("{} CPUs, {}", host.cpus, host.model)),
        ("emulator", format!("{}, TCG: no KVM", host.emulator)),
        (
            "guest",
            format!(
                "Linux {}, {} CPUs, a NUMA node for each",
                rig.kernel, rig.cpus
            ),
        ),
        ("IOMMU", "VT-d, first-stage tables, emulated".to_string()),
        ("rounds", rig.rounds.to_string()),
        ("noise", noise),
        (
            "load of the host",
            format!("{} before, {} at the end", host.load[0], host.load[1]),
        ),
    ] {
        table.add(vec![what.to_string(), value]);
    }
    let mut text = String::from("\n");
    text += &table.markdown().replacen("---:", "---", 1);
    text
}

/// Where the instructions go, by steps and by functions.
fn costs(bench: &Bench) -> String {
    let mut text = String::from(
        "\n## Where the instructions go\n\nOf one page of a verified call to `adbit`, in the kernel, on the \
         caller's CPU.\n",
    );
    let shown: Vec<&Profile> = bench
        .profiles
        .iter()
        .filter(|profile| profile.engine == "adbit" && profile.verify)
        .collect();
    if shown.is_empty() {
        return text + "\nThey were not counted.\n";
    }
    text += "\n";
    text += &side_by_side("step", &shown, steps::of, usize::MAX).markdown();
    let long: Vec<&Profile> = shown
        .into_iter()
        .filter(|profile| profile.pages == SHOWN)
        .collect();
    text += &format!(
        "\nThe same of calls of {SHOWN} pages, by function of the kernel's and of the module's, whose names begin \
         with `main`, `engine` and `pagemove_`; what was inlined belongs to its caller:\n\n"
    );
    text + &side_by_side("function", &long, functions, FUNCTIONS).markdown()
}

/// The functions, with names that are shown as they are.
fn functions(profile: &Profile) -> Vec<Share> {
    let named = |function: &Share| Share {
        name: format!("`{}`", function.name),
        ..function.clone()
    };
    profile.functions.iter().map(named).collect()
}

/// A table with a column for each profile, and its sums.
pub fn side_by_side(
    what: &str,
    profiles: &[&Profile],
    shares: impl Fn(&Profile) -> Vec<Share>,
    most: usize,
) -> Table {
    let columns: Vec<Vec<Share>> = profiles.iter().map(|profile| shares(profile)).collect();
    let mut names: Vec<(&str, f64)> = Vec::new();
    for share in columns.iter().flatten() {
        match names.iter_mut().find(|(name, _)| *name == share.name) {
            Some((_, sum)) => *sum += share.per_page,
            None => names.push((&share.name, share.per_page)),
        }
    }
    names.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut head = vec![what.to_string()];
    head.extend(
        profiles
            .iter()
            .map(|profile| format!("{} {}", profile.memory, profile.pages)),
    );
    let mut table = Table::new(head);
    for (name, _) in names.iter().take(most) {
        let mut row = vec![name.to_string()];
        row.extend(columns.iter().map(|column| {
            let share = column.iter().find(|share| share.name == *name);
            share.map_or(String::new(), |share| number(share.per_page))
        }));
        table.add(row);
    }
    let mut sums = vec!["all".to_string()];
    sums.extend(
        columns
            .iter()
            .map(|column| number(column.iter().map(|share| share.per_page).sum())),
    );
    table.add(sums);
    table
}

#[cfg(test)]
mod tests {
    use super::super::data::tests::{host, OUTPUT};
    use super::*;

    #[test]
    fn the_page_says_rig_figures_and_costs() {
        let bench = Bench::parse(host(), OUTPUT).unwrap();
        let page = of(&bench);
        for part in [
            "| host | 2 CPUs, a CPU |",
            "| adbit, memfd, verified | 10.0 ±10% |  |",
            "| nothing moves |  | 0.07",
            "| all | 100 |",
        ] {
            assert!(page.contains(part), "{part} is missing:\n{page}");
        }
    }

    #[test]
    fn columns_are_added_up() {
        let bench = Bench::parse(host(), OUTPUT).unwrap();
        let profiles: Vec<&Profile> = bench.profiles.iter().collect();
        let table = side_by_side(
            "function",
            &profiles,
            |profile| profile.functions.clone(),
            1,
        );
        assert_eq!(
            table.text(),
            "function                            memfd 8\n\
             pagemove::machine::copy::copy_page     60.0\n\
             all                                     100\n"
        );
    }
}
