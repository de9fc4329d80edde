// SPDX-License-Identifier: GPL-2.0

use super::*;

fn poke(address: u64, value: u8) {
    // SAFETY: inside an area of the test.
    unsafe { ptr::write_volatile(address as *mut u8, value) };
}

#[test]
fn a_byte_beside_the_structure_is_noticed() {
    let mut area = Area::new().unwrap();
    let bytes = [1u8; 24];
    for place in ["good", "odd", "exact"] {
        let spot = area.put(place, &bytes, 16, 0);
        assert_eq!(area.damage(spot, Some(&bytes)), None);
        poke(spot.address, 9);
        assert_eq!(area.damage(spot, Some(&bytes)), None, "inside it may write");
        poke(spot.address + 16, 9);
        assert!(area
            .damage(spot, Some(&bytes))
            .unwrap()
            .contains("knows of"));
        let spot = area.put(place, &bytes, 16, 0);
        poke(spot.address - 1, 9);
        assert!(area.damage(spot, Some(&bytes)).unwrap().contains("beside"));
        if place != "exact" {
            let spot = area.put(place, &bytes, 24, 0);
            poke(spot.address + 24, 0);
            assert!(area.damage(spot, Some(&bytes)).unwrap().contains("beside"));
        }
    }
}

#[test]
fn a_byte_after_an_array_is_noticed() {
    let mut area = Area::new().unwrap();
    let spot = area.room("good", 80, 0);
    poke(spot.address + 79, 1);
    assert_eq!(area.damage(spot, None), None);
    poke(spot.address + 80, 1);
    assert!(area.damage(spot, None).is_some());
    let nowhere = area.room("null", 80, 0);
    assert_eq!(area.damage(nowhere, None), None);
}

#[test]
fn places_are_what_they_say() {
    touch::install();
    let mut area = Area::new().unwrap();
    let bytes = [7u8; 24];
    let exact = area.put("exact", &bytes, 24, 0).address;
    assert!(touch::load(exact + 16).is_ok());
    assert!(touch::load(exact + 24).is_err());
    let across = area.put("across", &bytes, 24, 0).address;
    assert!(touch::load(across).is_ok());
    assert!(touch::load(across + 16).is_err());
    let read_only = area.put("readonly", &bytes, 24, 0).address;
    assert_eq!(touch::load(read_only), Ok(0x0707_0707_0707_0707));
    // SAFETY: the test's own area.
    assert!(unsafe { touch::store(read_only, 1) }.is_err());
    for place in ["null", "hole", "kernel", "wrap"] {
        assert!(
            touch::load(area.put(place, &bytes, 24, 0).address).is_err(),
            "{place}"
        );
    }
}
