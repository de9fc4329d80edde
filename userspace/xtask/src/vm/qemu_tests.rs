// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::vm::profile::Link;

fn two_nodes() -> Profile {
    Profile {
        cpus: 2,
        nodes: vec![640, 512],
        ..Profile::bare("x")
    }
}

/// Returns the argument after each `option`.
fn after<T: AsRef<std::ffi::OsStr>>(args: &[T], option: &str) -> Vec<String> {
    let pairs = args.windows(2).filter(|pair| pair[0].as_ref() == option);
    pairs
        .map(|pair| pair[1].as_ref().to_str().unwrap().to_string())
        .collect()
}

#[test]
fn each_node_has_memory_and_cpus() {
    let args = machine(&two_nodes(), None);
    assert_eq!(after(&args, "-m"), ["1152M"]);
    assert_eq!(after(&args, "-smp"), ["2,sockets=2,cores=1,threads=1"]);
    assert_eq!(
        after(&args, "-object"),
        [
            "memory-backend-ram,id=mem0,size=640M",
            "memory-backend-ram,id=mem1,size=512M"
        ]
    );
    let numa = after(&args, "-numa");
    assert_eq!(
        numa[..2],
        ["node,nodeid=0,memdev=mem0", "node,nodeid=1,memdev=mem1"]
    );
    assert_eq!(
        numa[2..],
        [0, 1].map(|n| format!("cpu,node-id={n},socket-id={n},core-id=0,thread-id=0"))
    );
}

#[test]
fn shared_ram_and_what_shows_it_are_one_file() {
    let ram = SharedRam::new(512).unwrap();
    let args = machine(
        &Profile {
            shared_ram: true,
            ..Profile::bare("x")
        },
        Some(&ram),
    );
    let of = |id: &str| {
        format!(
            "memory-backend-file,id={id},size=512M,share=on,mem-path={}",
            ram.path().display()
        )
    };
    assert_eq!(after(&args, "-object"), [of("mem0")]);
    assert_eq!(after(&args, "-numa")[0], "node,nodeid=0,memdev=mem0");
    let shown = shown(&["w0".into(), "w1".into()], Some(&ram));
    assert_eq!(after(&shown, "-object"), [of("w0"), of("w1")]);
}

#[test]
fn the_ends_of_a_link_meet() {
    let link = |socket: Option<Socket>| {
        let link = Some(Link {
            id: "l0".into(),
            address: "10.77.0.1/24".into(),
        });
        super::link(
            &Profile {
                link,
                ..Profile::bare("x")
            },
            socket.as_ref(),
        )
    };
    let listen = link(Some(Socket::Listen("/run/s".into())));
    assert_eq!(
        after(&listen, "-netdev"),
        ["stream,id=l0,server=on,addr.type=unix,addr.path=/run/s"]
    );
    let connect = link(Some(Socket::Connect("/run/s".into())));
    assert_eq!(
        after(&connect, "-netdev"),
        ["stream,id=l0,server=off,reconnect-ms=200,addr.type=unix,addr.path=/run/s"]
    );
    assert!(link(None).is_empty());
    assert!(super::link(&Profile::bare("x"), Some(&Socket::Listen("/run/s".into()))).is_empty());
}
