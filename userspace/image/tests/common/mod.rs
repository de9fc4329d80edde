// SPDX-License-Identifier: GPL-2.0
//! An image to try things with.

use pagemove_image::{Access, File, Global, Image, Memory, Message, Program, Times, Value, PAGE};

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
        messages: vec![
            Message {
                from: 1,
                tag: 7,
                bytes: vec![seed; 5],
            },
            Message {
                from: 2,
                tag: 7,
                bytes: Vec::new(),
            },
        ],
        times: Times {
            ran_ns: 123_456_789,
            timers_ns: vec![5, u64::MAX],
        },
    }
}
