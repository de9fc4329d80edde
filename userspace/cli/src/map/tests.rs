// SPDX-License-Identifier: GPL-2.0
//! Pictures as JSON, text and SVG.

use std::collections::BTreeSet;

use pagemove_uapi::{Place, PAGE_SIZE};

use super::testing::{aperture, guest, layouts, node, run};
use super::*;

fn picture(runs: &[Mapping], most: usize) -> Picture {
    Picture::new(vec![PciAddress::new(0, 0, 3, 0)], runs, most)
}

/// Pages at two nodes, an aperture and a BAR, with a hole.
fn small() -> Vec<Mapping> {
    vec![
        run(0, 0x4000, node(0)),
        run(0x4000, 0x2000, node(1)),
        run(0x6000, 0x1000, aperture(2)),
        run(0x9000, 0x1000, Place::default()),
    ]
}

#[test]
fn json_shape() {
    let report = MapReport {
        pictures: vec![PictureReport::from(&picture(&small(), 100))],
    };
    let json = serde_json::to_value(report).unwrap();
    crate::report::expect_documented(&json);
    let one = &json["pictures"][0];
    assert_eq!(one["devices"], serde_json::json!(["0000:00:03.0"]));
    assert_eq!(
        (&one["bytes"], &one["block_bytes"]),
        (&0x8000.into(), &PAGE_SIZE.into())
    );
    assert_eq!(
        one["segments"],
        serde_json::json!([
            { "iova": "0x0", "blocks": "000011A" },
            { "iova": "0x9000", "blocks": "-" },
        ])
    );
    assert_eq!(
        one["holes"],
        serde_json::json!([{ "iova": "0x7000", "length": 0x2000 }])
    );
    assert_eq!(
        one["kinds"][2],
        serde_json::json!({
            "symbol": "A",
            "place": { "kind": "aperture", "number": 2 },
            "bytes": 4096,
        })
    );
    assert_eq!(
        (&one["mixed_blocks"], &one["hidden_holes"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn text_of_a_small_guest() {
    let text = words::all(&[picture(&small(), 100)]);
    let expected = "\
0000:00:03.0: 32.0K mapped
0x0     000011A
        hole of 8K, 0x7000 to 0x8fff
0x0              -
0  node 0                        16.0K
1  node 1                        8.00K
A  aperture 2                    4.00K
-  no place: memory of a device  4.00K
A block is 4K; at the edges of holes it may be mapped in part.
";
    assert_eq!(text, expected, "{text}");
    let mixed = words::all(&[picture(&small(), 2)]);
    for part in [
        "*  several of these in one block  1 block\n",
        "A block is 32K",
        "1 hole is too small to be drawn.",
    ] {
        assert!(mixed.contains(part), "{part} in\n{mixed}");
    }
    assert!(words::all(&[picture(&[], 10)]).contains("0000:00:03.0: 0 mapped"));
    assert!(words::all(&[]).contains("No device is open"));
}

#[test]
fn text_of_a_guest_of_4_gib() {
    let text = words::all(&[picture(&guest(4 << 30), words::MOST_BLOCKS)]);
    for part in [
        "A block is 2M",
        "\n             hole of 2096896K, 0x80000000 to 0xfffbffff\n",
        &format!("\n0xf8000000   {:63}0\n0x100000000  0000", ""),
        "1 hole is too small",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

/// However large the guest, and however many its pieces: the output has a bound.
#[test]
fn what_is_printed_has_a_bound() {
    let (mut longest, mut largest, mut report) = (0, 0, 0);
    for (name, runs) in layouts() {
        let coarse = picture(&runs, words::MOST_BLOCKS);
        let text = words::all(std::slice::from_ref(&coarse));
        assert!(text.lines().count() <= 270, "{name}");
        longest = longest.max(text.len());
        let json = serde_json::to_string(&PictureReport::from(&coarse)).unwrap();
        report = report.max(json.len());
        largest = largest.max(svg::draw(&picture(&runs, svg::MOST_BLOCKS)).len());
    }
    assert!(longest <= 16 << 10, "text: {longest}");
    assert!(report <= 16 << 10, "JSON: {report}");
    assert!(largest <= 256 << 10, "SVG: {largest}");
    // The bound is not that little is drawn: a large guest fills half of the blocks at least.
    for shift in 31..60 {
        let drawn = picture(&guest(1 << shift), svg::MOST_BLOCKS);
        let blocks: usize = drawn.segments.iter().map(|one| one.blocks.len()).sum();
        assert!(
            2 * blocks >= svg::MOST_BLOCKS * 3 / 4,
            "1 << {shift}: {blocks}"
        );
    }
}

/// Returns the names of elements; says where they are not closed in their order.
fn elements(svg: &str) -> Result<Vec<String>, String> {
    let (mut open, mut all) = (Vec::new(), Vec::new());
    for piece in svg.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').ok_or("a tag without an end")?;
        if text.contains('>') || tag.matches('"').count() % 2 != 0 {
            return Err(format!("not escaped: {piece}"));
        }
        let name = tag.split([' ', '/']).find(|part| !part.is_empty());
        let name = name.ok_or("a tag without a name")?.to_string();
        if tag.starts_with('/') {
            if open.pop() != Some(name.clone()) {
                return Err(format!("{name} is closed and was not open"));
            }
            continue;
        }
        if !tag.ends_with('/') {
            open.push(name.clone());
        }
        all.push(name);
    }
    match open.is_empty() {
        true => Ok(all),
        false => Err(format!("not closed: {open:?}")),
    }
}

/// Returns the area that paths fill. Each of their pieces is `M x y h w v height h -w z`.
fn area(svg: &str) -> usize {
    let paths = svg
        .split(" d=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    let pieces = paths.flat_map(|path| path.split('M').skip(1));
    let piece = |piece: &str| {
        let (_, rest) = piece.split_once('h').unwrap();
        let (width, rest) = rest.split_once('v').unwrap();
        let (height, _) = rest.split_once('h').unwrap();
        width.parse::<usize>().unwrap() * height.parse::<usize>().unwrap()
    };
    pieces.map(piece).sum()
}

#[test]
fn an_svg_is_whole_and_by_itself() {
    for (name, runs) in layouts().into_iter().chain([("small".into(), small())]) {
        let picture = picture(&runs, svg::MOST_BLOCKS);
        let svg = svg::draw(&picture);
        let all = elements(&svg).unwrap_or_else(|error| panic!("{name}: {error}"));
        let known = ["svg", "title", "desc", "style", "rect", "text", "path"];
        assert!(
            all.iter().all(|one| known.contains(&one.as_str())),
            "{name}"
        );
        assert_eq!(svg.matches("://").count(), 1, "{name}: its namespace alone");
        assert!(!svg.contains("url(") && !svg.contains("href"), "{name}");
        assert!(svg.contains(&format!("<title id=\"title\">{}<", words::title(&picture))));
        // Each block is filled, wherever what is in it is.
        let blocks: usize = picture.segments.iter().map(|one| one.blocks.len()).sum();
        assert_eq!(area(&svg), blocks * 6 * 12, "{name}");
    }
}

#[test]
fn an_svg_has_a_colour_and_a_legend_for_each_place() {
    let all: Vec<Mapping> = (0..16)
        .map(|n| run(n << 12, 4096, node(n as i32)))
        .chain((16..32).map(|n| run(n << 12, 4096, aperture(n as i32))))
        .chain([run(32 << 12, 4096, Place::default())])
        .collect();
    let picture = picture(&all, 100);
    assert_eq!(picture.kinds.len(), 33);
    let svg = svg::draw(&picture);
    let colours: Vec<&str> = svg
        .split("<path fill=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert_eq!(colours.len(), 33);
    assert_eq!(colours.iter().collect::<BTreeSet<_>>().len(), 33);
    for kind in &picture.kinds {
        let words = format!(">{}: 4.00K</text>", name(kind));
        assert!(svg.contains(&words), "{words}");
    }
    assert!(!svg.contains("Two colours"));
    assert!(svg::draw(&super::tests::picture(&small(), 2)).contains("Two colours"));
}

#[test]
fn devices_that_map_the_same_share_a_picture() {
    let device = |number| PciAddress::new(0, 0, number, 0);
    let shared = together(vec![
        (device(3), small()),
        (device(4), guest(1 << 30)),
        (device(5), small()),
    ]);
    let devices: Vec<_> = shared.iter().map(|(devices, _)| devices.clone()).collect();
    assert_eq!(devices, [vec![device(3), device(5)], vec![device(4)]]);
}

#[test]
fn a_title_names_a_few_devices() {
    let devices = (1..=6)
        .map(|number| PciAddress::new(0, 0, number, 0))
        .collect();
    let title = words::title(&Picture::new(devices, &small(), 100));
    let expected = "0000:00:01.0, 0000:00:02.0, 0000:00:03.0 and 3 more: 32.0K mapped";
    assert_eq!(title, expected);
}

#[test]
fn a_file_is_written_or_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guest.svg");
    let pictures = [picture(&small(), 100)];
    assert_eq!(write(&pictures, &file), Exit::Done);
    assert_eq!(fs::read_to_string(&file).unwrap(), svg::draw(&pictures[0]));
    assert_eq!(
        write(&pictures, &folder.path().join("none/guest.svg")),
        Exit::Kernel
    );
    // Nothing to draw, and more than one file can show.
    let other = folder.path().join("other.svg");
    assert_eq!(write(&[], &other), Exit::Kernel);
    let two = [pictures[0].clone(), picture(&guest(1 << 30), 100)];
    assert_eq!(write(&two, &other), Exit::Kernel);
    assert!(!other.exists());
}
