// SPDX-License-Identifier: GPL-2.0

use super::*;

const PAIR: &str = r#"
[profile.a]
about = "x"
machine = "q35"
cpus = 2
nodes = [640, 640]
devices = ["ivshmem-plain,memdev=w0", "virtio-net-pci,netdev=l0"]
peer_ram = ["w0"]
link = { id = "l0", address = "10.77.0.1/24" }
[profile.b]
about = "y"
machine = "q35"
cpus = 2
nodes = [512]
shared_ram = true
mirrors = ["own"]
devices = []
"#;

#[test]
fn what_a_pair_needs_is_read() {
    let profiles = Profiles::parse(PAIR).unwrap();
    let (a, b) = (profiles.get("a").unwrap(), profiles.get("b").unwrap());
    assert_eq!((a.mib(), a.shared_ram, a.needs_peer()), (1280, false, true));
    assert_eq!(a.link.as_ref().unwrap().address, "10.77.0.1/24");
    assert_eq!((b.mib(), b.shared_ram, b.needs_peer()), (512, true, false));
    assert_eq!(
        (&a.peer_ram[..], &b.mirrors[..]),
        (&["w0".to_string()][..], &["own".to_string()][..])
    );
}

#[test]
fn shared_ram_has_to_fit_a_bar() {
    for nodes in ["[500]", "[256, 256]", "[4096]", "[]", "[0]"] {
        let text = PAIR.replace("nodes = [512]", &format!("nodes = {nodes}"));
        assert!(Profiles::parse(&text).is_err(), "{nodes}");
    }
    assert!(Profiles::parse(&PAIR.replace("nodes = [512]", "nodes = [2048]")).is_ok());
}

#[test]
fn a_mirror_without_shared_ram_is_refused() {
    assert!(Profiles::parse(&PAIR.replace("shared_ram = true\n", "")).is_err());
}

#[test]
fn a_member_that_nobody_knows_is_refused() {
    assert!(Profiles::parse(&PAIR.replace("shared_ram", "shared_rams")).is_err());
    assert!(Profiles::parse(&PAIR.replace("address", "adress")).is_err());
}
