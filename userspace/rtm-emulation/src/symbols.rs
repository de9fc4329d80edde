// SPDX-License-Identifier: GPL-2.0
//! Where functions of the kernel and its modules are, for [`Filter::addresses`].
//!
//! [`Filter::addresses`]: crate::Filter::addresses

use std::fs;
use std::io;
use std::ops::Range;

/// Returns the code of the one function of `module` whose symbol contains `part`. None: there
/// is none, or more than one.
pub fn of_module(module: &str, part: &str) -> io::Result<Option<Range<u64>>> {
    Ok(find(&fs::read_to_string("/proc/kallsyms")?, module, part))
}

fn find(table: &str, module: &str, part: &str) -> Option<Range<u64>> {
    let bracketed = format!("[{module}]");
    let mut functions: Vec<(u64, &str)> = table
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
            let ours = words.next() == Some(&bracketed) && kind.eq_ignore_ascii_case("t");
            ours.then_some((u64::from_str_radix(address, 16).ok()?, name))
        })
        .collect();
    functions.sort_unstable();
    let mut found = functions.iter().filter(|(_, name)| name.contains(part));
    let (start, _) = *found.next()?;
    if found.next().is_some() {
        return None;
    }
    // The last function of the module ends with its page at the latest.
    let after = functions
        .iter()
        .map(|(address, _)| *address)
        .find(|address| *address > start);
    Some(start..after.unwrap_or((start | 0xfff) + 1))
}

#[cfg(test)]
mod tests {
    use super::find;

    const TABLE: &str = "ffffffff81000000 T other\nffffffffc0000040 t _RNv8transact\t[pagemove]\n\
        ffffffffc0000000 t _RNv5trial\t[pagemove]\nffffffffc00000a0 t next\t[pagemove]\n\
        ffffffffc0000050 d data_transact\t[pagemove]\nffffffffc0001000 t a_transact\t[edu]\n";

    #[test]
    fn a_function_goes_on_to_the_next() {
        assert_eq!(
            find(TABLE, "pagemove", "transact"),
            Some(0xffff_ffff_c000_0040..0xffff_ffff_c000_00a0)
        );
        assert_eq!(
            find(TABLE, "pagemove", "next"),
            Some(0xffff_ffff_c000_00a0..0xffff_ffff_c000_1000)
        );
        assert_eq!(find(TABLE, "pagemove", "absent"), None);
        assert_eq!(find(TABLE, "pagemove", "t"), None);
    }
}
