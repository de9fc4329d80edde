// SPDX-License-Identifier: GPL-2.0
//! Sizes, addresses and times, as people write and read them.

use std::time::Duration;

use pagemove_uapi::PAGE_SIZE;

const PAGE: u64 = PAGE_SIZE as u64;

/// Reads bytes: decimal or 0x…, with K, M, G or T (and optionally iB) for powers of 1024.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!("'{text}' is no size or address: write bytes such as 4096, 64K, 2M, 1G or 0x10000")
    };
    let too_large = || format!("'{text}' is more than 64 bits can say: give a smaller one");
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        return u64::from_str_radix(digits, 16).map_err(|_| too_large());
    }
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(wrong()),
    };
    if digits.is_empty() {
        return Err(wrong());
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(too_large)
}

/// Reads bytes that begin a page.
pub fn parse_page_offset(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text)?;
    if bytes % PAGE != 0 {
        return Err(format!(
            "{text} is not the start of a page: give a multiple of {PAGE}"
        ));
    }
    Ok(bytes)
}

/// Reads bytes that fill one page or more.
pub fn parse_page_length(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text)?;
    if bytes == 0 || bytes % PAGE != 0 {
        return Err(format!(
            "{text} is not whole pages: give a multiple of {PAGE} that is not zero"
        ));
    }
    Ok(bytes)
}

/// Reads a time with its unit; zero is none.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("'{text}' is no time: write a number and ns, us, ms, s or min, such as 10ms");
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let unit_ns: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "min" => 60_000_000_000,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    match number.checked_mul(unit_ns) {
        Some(0) => Err(format!("'{text}' is no time at all: give more than zero")),
        Some(ns) => Ok(Duration::from_nanos(ns)),
        None => Err(format!("'{text}' is too long: give less than 500 years")),
    }
}

/// Formats bytes in the largest unit that keeps the number whole: 2M, 4K, 5000.
pub fn bytes(bytes: u64) -> String {
    for (shift, unit) in [(40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Formats a time with three digits or so: 640 ns, 1.31 µs, 12.0 ms, 3.20 s.
pub fn nanoseconds(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {unit}")
}

/// Formats a number of pages: `1 page`, `2 pages`.
pub fn pages(count: u64) -> String {
    format!("{count} page{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
#[path = "quantity_tests.rs"]
mod tests;
