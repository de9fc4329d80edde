// SPDX-License-Identifier: GPL-2.0

use pagemove_uapi::{PciAddress, MEMORY_DEVICE, MEMORY_OTHER, PLACE_NODE};

use super::*;

fn node(number: i32) -> Place {
    Place {
        kind: PLACE_NODE,
        number,
    }
}

fn guest() -> Maps {
    let region = Mapping {
        iova: 0,
        length: 0xa0000,
        memory: MEMORY_REGION,
        region: 3,
        offset: 0,
        place: node(1),
        leaf: 4096,
    };
    let runs = vec![
        region,
        Mapping {
            iova: 0x10_0000,
            offset: 0x10_0000,
            length: 1 << 30,
            place: node(0),
            ..region
        },
        Mapping {
            iova: 0xfffc_0000,
            length: 0x4_0000,
            memory: MEMORY_OTHER,
            region: 0,
            offset: 0,
            ..region
        },
        Mapping {
            iova: 0x1_0000_0000,
            length: 0x1000,
            memory: MEMORY_DEVICE,
            region: 0,
            offset: 0,
            place: Place::default(),
            leaf: 4096,
        },
    ];
    (PciAddress::new(0, 0, 3, 0), runs)
}

#[test]
fn json_shape() {
    let json = serde_json::to_value(json(&[guest()])).unwrap();
    crate::report::expect_documented(&json);
    let device = &json["devices"][0];
    assert_eq!(device["device"], "0000:00:03.0");
    let run = |n: usize| &device["runs"][n];
    assert_eq!(run(1)["iova"], "0x100000");
    assert_eq!(run(1)["length"], 1 << 30);
    assert_eq!(run(1)["memory"], "region");
    assert_eq!(
        (&run(1)["region"], &run(1)["offset"]),
        (&3.into(), &0x10_0000.into())
    );
    assert_eq!(
        run(0)["place"],
        serde_json::json!({ "kind": "node", "number": 1 })
    );
    assert_eq!(run(2)["memory"], "other");
    assert!(run(2)["region"].is_null() && run(2)["offset"].is_null());
    assert_eq!(run(3)["memory"], "device");
    assert!(run(3)["place"]["number"].is_null());
    assert_eq!(device["totals"][0]["pages"], (1 << 30) / 4096);
    assert_eq!(device["totals"].as_array().unwrap().len(), 4);
}

#[test]
fn words() {
    let text = human(&[guest()], false);
    for line in [
        "0000:00:03.0 maps 1.00G in 4 runs\n",
        "IOVA         LENGTH  MEMORY    OFFSET    PLACE   LEAF\n",
        "0x100000     1G      region 3  0x100000  node 0  4K\n",
        "0xfffc0000   256K    other     -         node 1  4K\n",
        "0x100000000  4K      device    -         none    4K\n",
        "262144 pages of region 3: node 0\n",
        "1 page of device: no place\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert!(human(&[], false).contains("No device is open"));
}

#[test]
fn of_many_runs_the_first_are_shown() {
    let (device, runs) = guest();
    let many: Vec<Mapping> = runs.iter().cycle().take(40).copied().collect();
    let text = human(&[(device, many.clone())], false);
    assert!(text.contains("and 8 more"), "{text}");
    assert!(!human(&[(device, many)], true).contains("more"));
}

#[test]
fn one_region_alone() {
    assert_eq!(of_region(guest(), Some(3)).1.len(), 2);
    assert_eq!(of_region(guest(), Some(4)).1.len(), 0);
    assert_eq!(of_region(guest(), None).1.len(), 4);
}
