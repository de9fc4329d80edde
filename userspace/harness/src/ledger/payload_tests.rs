// SPDX-License-Identifier: GPL-2.0

use super::*;

const SEED: u64 = 7;
const NEW: Content = Content::Payload {
    device: 3,
    block: 1,
    version: 20,
};
const OLD: Content = Content::Payload {
    device: 2,
    block: 0,
    version: 11,
};
const POISON: Content = Content::Poison {
    page: 9,
    sequence: 43,
};

fn page(content: Content) -> Page {
    let mut page = [0; WORDS];
    content.render(SEED, &mut page);
    page
}

#[test]
fn a_page_says_what_it_holds() {
    for content in [Content::Zero, NEW, OLD, POISON] {
        assert_eq!(Content::of(&page(content)), Some(content));
    }
}

#[test]
fn a_checksum_is_of_what_was_rendered() {
    for content in [NEW, OLD, POISON] {
        assert_eq!(page(content)[3], checksum(&page(content)));
    }
}

#[test]
fn one_flipped_bit_anywhere_is_noticed() {
    let good = page(NEW);
    for bit in 0..PAGE_SIZE * 8 {
        let mut bad = good;
        bad[bit / 64] ^= 1 << (bit % 64);
        assert_ne!(Content::of(&bad), Some(NEW), "bit {bit}");
        let verdict = judge(SEED, &bad, NEW, POISON, &[OLD]);
        assert_eq!(
            verdict,
            Verdict {
                lost: 0,
                stale: 0,
                corrupt: 8
            },
            "bit {bit}"
        );
    }
}

#[test]
fn contents_share_no_words_but_their_magic() {
    let (new, old, poison) = (page(NEW), page(OLD), page(POISON));
    for index in 1..WORDS {
        assert!(
            new[index] != old[index] && new[index] != poison[index] && old[index] != poison[index]
        );
    }
}

#[test]
fn a_lost_write_is_told_from_a_stale_read() {
    assert!(judge(SEED, &page(NEW), NEW, POISON, &[OLD]).is_good());
    assert_eq!(
        judge(SEED, &page(POISON), NEW, POISON, &[OLD]).lost,
        PAGE_SIZE
    );
    // The magic is the same in both payloads.
    assert_eq!(
        judge(SEED, &page(OLD), NEW, POISON, &[OLD]).stale,
        PAGE_SIZE - 8
    );
}

#[test]
fn an_older_version_of_the_block_is_stale_however_old_it_is() {
    let older = |device, block, version| {
        let content = Content::Payload {
            device,
            block,
            version,
        };
        judge(SEED, &page(content), NEW, POISON, &[])
    };
    let verdict = older(3, 1, 2);
    assert_eq!((verdict.lost, verdict.corrupt), (0, 0));
    assert!(verdict.stale >= PAGE_SIZE - 32, "{verdict:?}");
    // A newer version, and those of other blocks, are none.
    for (device, block, version) in [(3, 1, 21), (3, 2, 2), (2, 1, 2)] {
        let verdict = older(device, block, version);
        assert!(verdict.stale == 0 && verdict.corrupt > 0, "{verdict:?}");
    }
}

#[test]
fn a_torn_page_counts_each_part() {
    let mut torn = page(NEW);
    torn[256..300].copy_from_slice(&page(POISON)[256..300]);
    torn[300..310].copy_from_slice(&page(OLD)[300..310]);
    torn[310] = 0x1234;
    assert_eq!(
        judge(SEED, &torn, NEW, POISON, &[OLD]),
        Verdict {
            lost: 44 * 8,
            stale: 80,
            corrupt: 8
        }
    );
}

#[test]
fn digests_see_every_bit_and_the_order() {
    let good = page(NEW);
    let whole = digest(&good);
    for bit in (0..PAGE_SIZE * 8).step_by(37) {
        let mut bad = good;
        bad[bit / 64] ^= 1 << (bit % 64);
        assert_ne!(digest(&bad), whole, "bit {bit}");
    }
    let mut swapped = good;
    swapped.swap(10, 11);
    assert_ne!(digest(&swapped), whole);
    assert_ne!(digest(&[0; WORDS]), 0);
}

#[test]
fn the_seed_matters() {
    let mut other = [0; WORDS];
    NEW.render(SEED + 1, &mut other);
    assert!(!judge(SEED, &other, NEW, POISON, &[OLD]).is_good());
}
