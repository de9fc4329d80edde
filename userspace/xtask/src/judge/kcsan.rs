// SPDX-License-Identifier: GPL-2.0
//! Reports of KCSAN: which of them are about us. The kernel has races of its own that nobody has
//! annotated, and only we are tested.

const TITLE: &str = "BUG: KCSAN:";
/// Names of functions in our modules end so.
const OURS: &str = "[pagemove";
/// Behind "read to" and "write to" come the frames, the innermost first: what makes the access, and
/// what calls that (the kernel's lists and helpers work on our memory, too).
const FRAMES: usize = 2;

/// Returns whether line `at` is the title of a report on an access that we do not make.
pub fn is_of_others(lines: &[&str], at: usize) -> bool {
    let Some(title) = lines.get(at).filter(|line| line.contains(TITLE)) else {
        return false;
    };
    if title.contains(OURS) {
        return false;
    }
    let report = lines
        .iter()
        .skip(at + 1)
        .take_while(|line| !line.contains("========"));
    let report: Vec<&&str> = report.collect();
    let is_access = |line: &str| line.contains(" to 0x") && line.contains(" bytes by ");
    let accesses: Vec<usize> = (0..report.len())
        .filter(|n| is_access(report[*n]))
        .collect();
    let ours = accesses.iter().any(|n| {
        report
            .iter()
            .skip(n + 1)
            .take(FRAMES)
            .any(|line| line.contains(OURS))
    });
    // A report that says of no access where it was made may be about us.
    !accesses.is_empty() && !ours
}

#[cfg(test)]
mod tests {
    use super::is_of_others;

    /// Returns a report with these functions as the innermost frames of the second access.
    fn report(first: &str, second: &str) -> String {
        format!(
            "[1.0] ==================\n[1.0] BUG: KCSAN: data-race in hrtimer_wakeup / {first}\n[1.0] \n\
             [1.0] write to 0xffffc900007efe48 of 8 bytes by interrupt on cpu 1:\n[1.0]  hrtimer_wakeup+0x1b/0x40\n\
             [1.0]  __hrtimer_run_queues+0x373/0x570\n[1.0]  x [pagemove]\n[1.0] \n\
             [1.0] read to 0xffffc900007efe48 of 8 bytes by task 80 on cpu 1:\n[1.0]  {first}\n[1.0]  {second}\n\
             [1.0]  ioctl+0x1/0x2 [pagemove]\n[1.0] ==================\n"
        )
    }

    fn found(text: &str) -> bool {
        let lines: Vec<&str> = text.lines().collect();
        is_of_others(
            &lines,
            lines
                .iter()
                .position(|line| line.contains("KCSAN"))
                .unwrap(),
        )
    }

    #[test]
    fn the_innermost_frames_decide() {
        assert!(found(&report(
            "do_nanosleep+0x1/0x2",
            "hrtimer_nanosleep+0x1/0x2"
        )));
        assert!(!found(&report("work+0x1/0x2 [pagemove]", "ioctl+0x1/0x2")));
        assert!(!found(&report(
            "list_add+0x1/0x2",
            "work+0x1/0x2 [pagemove_ntb]"
        )));
    }

    #[test]
    fn what_is_no_whole_report_is_ours() {
        assert!(!found("[1.0] BUG: KCSAN: data-race in x / y\n"));
        assert!(!is_of_others(&["[1.0] BUG: KASAN: x"], 0));
        assert!(!is_of_others(&[], 0));
    }
}
