// SPDX-License-Identifier: GPL-2.0
//! An image to try things with.

use pagemove_image::{
    Access, File, Global, Image, Memory, Message, Messages, Peer, Program, Times, Value, PAGE,
};

/// Returns an image with something of everything; others with another `seed`.
pub fn image(seed: u8, pages: usize) -> Image {
    let mut bytes = vec![0; pages * PAGE];
    for (place, byte) in bytes.iter_mut().enumerate() {
        if place / 8192 % 4 != 1 {
            *byte = (place as u8).wrapping_mul(7).wrapping_add(seed);
        }
    }
    Image {
        program: Program {
            module: [seed; 32],
            name: "kv".into(),
            function: "run".into(),
            arguments: vec!["--size".into(), seed.to_string()],
        },
        frames: vec![seed, 1, 2, 3, 9, 0, 0, 0],
        globals: vec![
            Global {
                index: 0,
                value: Value::I32(u32::from(seed)),
            },
            Global {
                index: 3,
                value: Value::F64(0x7ff8_0000_0000_0001),
            },
        ],
        memories: vec![
            Memory::of(0, &bytes).expect("whole pages"),
            Memory::of(1, &[0; PAGE]).expect("whole pages"),
        ],
        files: vec![File {
            number: 3,
            path: "data/log".into(),
            offset: 1 << 33,
            access: Access {
                read: false,
                write: true,
                append: true,
            },
        }],
        messages: Some(messages(seed)),
        times: Times {
            ran_ns: 123_456_789,
            timers_ns: vec![5, u64::MAX],
        },
    }
}

/// Returns what rank 1 of 3 knows: two messages are kept for rank 0, and two from rank 2 were not taken.
fn messages(seed: u8) -> Messages {
    let message = |number, tag, bytes: Vec<u8>| Message { number, tag, bytes };
    let first = Peer {
        epoch: 4,
        sent: 9,
        retained: vec![message(8, 7, vec![seed; 5]), message(9, 7, Vec::new())],
        received: 3,
        told: 3,
        ..Peer::default()
    };
    let third = Peer {
        breaks: 1,
        doubt: true,
        received: 300,
        told: 200,
        ..Peer::default()
    };
    Messages {
        rank: 1,
        epoch: 6,
        peers: vec![first, Peer::default(), third],
        list: vec![
            (2, message(298, 1, vec![seed; 3])),
            (2, message(300, 2, Vec::new())),
        ],
    }
}
