// SPDX-License-Identifier: GPL-2.0
//! The abort status, bit by bit (Intel SDM volume 1, 17.3.5).

use crate::rtm::{AbortBits, Code, Status};
use crate::Abort;

const CODES: [(Code, Abort); 4] = [
    (Code::PteChanged, Abort::PteChanged),
    (Code::Late, Abort::Late),
    (Code::Timeout, Abort::Timeout),
    (Code::Deadline, Abort::Deadline),
];

#[test]
fn bits_are_where_the_manual_has_them() {
    let table = [
        (0, AbortBits::EXPLICIT),
        (1, AbortBits::RETRY),
        (2, AbortBits::CONFLICT),
        (3, AbortBits::CAPACITY),
        (4, AbortBits::DEBUG),
        (5, AbortBits::NESTED),
    ];
    for (bit, flag) in table {
        assert_eq!(Status(1 << bit).bits(), flag);
    }
    assert_eq!(AbortBits::all().bits(), 0x3f);
    assert_eq!(Status(0).bits(), AbortBits::empty());
    // Reserved bits and the argument are none of them.
    assert_eq!(Status(0xffff_ffc0).bits(), AbortBits::empty());
}

#[test]
fn each_bit_alone_has_a_cause() {
    let table = [
        (0, Abort::Interrupt),
        (1, Abort::Explicit),
        (1 << 1, Abort::Interrupt),
        (1 << 2, Abort::Conflict),
        (1 << 3, Abort::Capacity),
        (1 << 4, Abort::Interrupt),
        (1 << 5, Abort::Interrupt),
    ];
    for (status, cause) in table {
        assert_eq!(Status(status).cause(), cause, "{status:#x}");
    }
}

#[test]
fn the_argument_is_told_from_the_bits() {
    for (code, cause) in CODES {
        let status = Status::explicit(code);
        assert_eq!(status.0, (code as u32) << 24 | 1);
        assert_eq!(status.argument(), Some(code as u8));
        assert_eq!(status.cause(), cause);
        // Without bit 0 the upper byte says nothing.
        let other = Status(status.0 & !1);
        assert_eq!((other.argument(), other.cause()), (None, Abort::Interrupt));
    }
    for argument in (0..=u8::MAX).filter(|n| !(1..=4).contains(n)) {
        let status = Status(u32::from(argument) << 24 | 1);
        assert_eq!(status.argument(), Some(argument));
        assert_eq!(status.cause(), Abort::Explicit);
    }
}

#[test]
fn an_xabort_is_the_cause_whatever_else_is_set() {
    for others in 0..32 {
        for (code, cause) in CODES {
            assert_eq!(
                Status(Status::explicit(code).0 | others << 1).cause(),
                cause
            );
        }
    }
    let both = AbortBits::CONFLICT | AbortBits::CAPACITY | AbortBits::RETRY;
    assert_eq!(Status(both.bits()).cause(), Abort::Conflict);
    let small = AbortBits::CAPACITY | AbortBits::RETRY | AbortBits::NESTED;
    assert_eq!(Status(small.bits()).cause(), Abort::Capacity);
}

/// What XBEGIN leaves when it has begun is no status of an abort.
#[test]
fn started_is_no_status() {
    for argument in 0..=u32::from(u8::MAX) {
        for bits in 0..=AbortBits::all().bits() {
            assert_ne!(argument << 24 | bits, Status::STARTED);
        }
    }
    for (code, _) in CODES {
        assert_ne!(Status::explicit(code).0, Status::STARTED);
    }
}

/// Only what another attempt can change is tried again.
#[test]
fn a_transaction_that_was_late_for_its_deadline_is_not_tried_again() {
    for (code, _) in CODES {
        let again = Status::explicit(code).cause().is_transient();
        assert_eq!(again, code != Code::Deadline);
    }
    for bits in 0..=AbortBits::all().bits() {
        assert!(Status(bits).cause().is_transient(), "{bits:#x}");
    }
}
