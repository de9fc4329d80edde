// SPDX-License-Identifier: GPL-2.0
//! Sizes, addresses and times, as people write and read them.

use std::time::Duration;

use pagemove_uapi::PAGE_SIZE;

const PAGE: u64 = PAGE_SIZE as u64;

/// Digits behind the point that a number may have.
const MOST_DIGITS: usize = 12;

/// Reads bytes: decimal or 0x…, with K, M, G or T (and optionally iB) for powers of 1024, which may have a
/// fraction: 1.5G.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "'{text}' is no size or address: write bytes such as 4096, 64K, 2M, 1.5G or 0x10000"
        )
    };
    let too_large = || format!("'{text}' is more than 64 bits can say: give a smaller one");
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        return u64::from_str_radix(digits, 16).map_err(|_| too_large());
    }
    let (number, unit) = split(text);
    let unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    match times(number, unit).ok_or_else(wrong)? {
        Product::Whole(bytes) => u64::try_from(bytes).map_err(|_| too_large()),
        Product::Broken => Err(format!("'{text}' is no whole number of bytes")),
        Product::TooLarge => Err(too_large()),
    }
}

/// Splits what is a number, perhaps with a point in it, from its unit.
fn split(text: &str) -> (&str, &str) {
    let is_of_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    text.split_at(text.bytes().take_while(is_of_number).count())
}

/// What a number of units is in the smallest unit.
enum Product {
    Whole(u128),
    /// A fraction of it is left.
    Broken,
    TooLarge,
}

/// Multiplies a decimal number exactly. None if it is no number.
fn times(number: &str, unit: u64) -> Option<Product> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) || fraction.len() > MOST_DIGITS {
        return None;
    }
    let scale = 10u128.pow(fraction.len() as u32);
    let scaled = whole.parse::<u64>().ok().and_then(|whole| {
        let fraction = fraction.parse::<u128>().ok()?;
        (u128::from(whole) * scale + fraction).checked_mul(unit.into())
    });
    Some(match scaled {
        None => Product::TooLarge,
        Some(scaled) if scaled % scale != 0 => Product::Broken,
        Some(scaled) => Product::Whole(scaled / scale),
    })
}

/// Reads bytes in a second: a size, with or without `/s`.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    match parse_bytes(text.strip_suffix("/s").unwrap_or(text))? {
        0 => Err(format!(
            "'{text}' is no rate: give bytes a second, such as 100M"
        )),
        bytes => Ok(bytes),
    }
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

/// Reads a time with its unit, which may have a fraction; zero is none.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "'{text}' is no time: write a number and ns, us, ms, s, min or h, such as 10ms or 1.5s"
        )
    };
    let (number, unit) = split(text);
    let unit_ns: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(wrong()),
    };
    let too_long = || format!("'{text}' is too long: give less than 500 years");
    match times(number, unit_ns).ok_or_else(wrong)? {
        Product::Whole(0) => Err(format!("'{text}' is no time at all: give more than zero")),
        Product::Whole(ns) => {
            let ns = u64::try_from(ns).map_err(|_| too_long())?;
            Ok(Duration::from_nanos(ns))
        }
        Product::Broken => Err(format!("'{text}' is no whole number of nanoseconds")),
        Product::TooLarge => Err(too_long()),
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

/// Formats bytes with three digits or so, in the largest unit that leaves one before the point: 3.20G.
pub fn about(bytes: u64) -> String {
    for (shift, unit) in [(40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')] {
        if bytes >= 1 << shift {
            return three_digits(bytes as f64 / (1u64 << shift) as f64) + &unit.to_string();
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
    format!("{} {unit}", three_digits(value))
}

fn three_digits(value: f64) -> String {
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$}")
}

/// Formats a number of pages: `1 page`, `2 pages`.
pub fn pages(count: u64) -> String {
    format!("{count} page{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
#[path = "quantity_tests.rs"]
mod tests;
