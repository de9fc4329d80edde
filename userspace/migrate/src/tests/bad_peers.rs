// SPDX-License-Identifier: GPL-2.0
//! Peers that say what they may not: each is refused with a reason, and nothing is changed.

use super::rig::{Rig, PAGES};
use crate::drive::{run_source, run_target, TargetTerms};
use crate::failure::Failure;
use crate::frame::{wrap, Frames, MAX_FRAME};
use crate::host::TargetHost;
use crate::link::{Receiver, Sender};
use crate::message::{Answer, Hello, Message, Mode, Offer, Progress, Welcome, MAX_RUNS};
use crate::opening;
use crate::sim::pipe::{pipe, Pipe};
use crate::sim::{Side, World};
use crate::source::Source;
use crate::span::{Run, PAGE};
use crate::target::Target;
use crate::version::{HOLES, SPOKEN};
use crate::wire::{Heard, Wire};

fn world() -> World {
    World::new(PAGES, 3)
}

fn hello(mode: Mode) -> Hello {
    Hello {
        mode,
        name: "vm1".to_string(),
        page_size: 4096,
        region_pages: Some(PAGES),
        span: Run::new(0, PAGES),
    }
}

/// Returns what B says to the last of `messages`; those before have to be right.
fn refusal(world: &World, mode: Mode, post_copy: bool, messages: &[Message]) -> String {
    let kernel = world.b();
    let events = world.operator(Side::B);
    let (mut target, _) =
        Target::greet(&hello(mode), 2, post_copy, &kernel, &events).expect("the Hello is right");
    let (last, before) = messages.split_last().expect("there is one");
    for message in before {
        target.receive(message.clone()).expect("it is right");
    }
    let before = format!(
        "{:?} {:?}",
        world.check_always(),
        kernel.states(Run::new(0, PAGES))
    );
    let failure = target.receive(last.clone()).expect_err("it is wrong");
    let after = format!(
        "{:?} {:?}",
        world.check_always(),
        kernel.states(Run::new(0, PAGES))
    );
    assert_eq!(before, after, "{last:?} changed something");
    assert!(!target.is_done());
    failure.to_string()
}

#[test]
fn b_refuses_what_a_may_not_say() {
    let ask = |first, count| Message::Ask(Run::new(first, count));
    let moved = |first, count| Message::Moved(vec![Run::new(first, count)]);
    let holes = |first, count| Message::Holes(vec![Run::new(first, count)]);
    let home = |first, count| Message::Home(vec![Run::new(first, count)]);
    let (out, back) = (Mode::Out, Mode::Back);
    for (mode, messages, reason) in [
        (
            out,
            vec![ask(0, PAGES + 1)],
            "are not all of the migration's",
        ),
        (out, vec![ask(PAGES, 1)], "are not all of the migration's"),
        (
            out,
            vec![ask(u32::MAX, u32::MAX)],
            "are not all of the migration's",
        ),
        (out, vec![ask(0, 0)], "a run of no pages"),
        (
            out,
            vec![holes(0, PAGES)],
            "all of the migration's pages are in holes",
        ),
        (out, vec![holes(PAGES, 1)], "are not all of the migration's"),
        (out, vec![holes(3, 2), ask(0, PAGES)], "some are in a hole"),
        (
            out,
            vec![ask(0, 4), holes(5, 1)],
            "Holes came where it is not due",
        ),
        (
            out,
            vec![holes(3, 2), ask(0, 3), moved(2, 2)],
            "some are in a hole",
        ),
        (
            out,
            vec![holes(3, 2), Message::Complete],
            "Complete came when 0 of 22",
        ),
        (
            back,
            vec![holes(3, 2), Message::SwitchOver, home(3, 1)],
            "some are in a hole",
        ),
        (
            Mode::Release,
            vec![holes(3, 2)],
            "Holes came where it is not due",
        ),
        (out, vec![moved(0, 1)], "not all of them were offered"),
        (
            out,
            vec![ask(0, 4), moved(3, 2)],
            "not all of them were offered",
        ),
        (
            out,
            vec![ask(0, PAGES), moved(0, PAGES + 1)],
            "are not all of the migration's",
        ),
        (out, vec![ask(0, PAGES), moved(3, 0)], "a run of no pages"),
        (out, vec![home(0, 1)], "Home came where it is not due"),
        (out, vec![Message::Complete], "Complete came when 0 of 24"),
        (out, vec![Message::SwitchOver], "page 0 is not offered"),
        (
            out,
            vec![ask(0, PAGES), Message::SwitchOver],
            "page 0 has not come",
        ),
        (
            out,
            vec![Message::Switched],
            "Switched came where it is not due",
        ),
        (
            out,
            vec![Message::Completed],
            "Completed came where it is not due",
        ),
        (
            out,
            vec![Message::Want(vec![1])],
            "Want came where it is not due",
        ),
        (
            out,
            vec![Message::Offers(vec![])],
            "Offers came where it is not due",
        ),
        (back, vec![ask(0, 1)], "Ask came where it is not due"),
        (back, vec![home(0, 1)], "Home came where it is not due"),
        (
            back,
            vec![Message::SwitchOver, Message::SwitchOver],
            "SwitchOver came where",
        ),
        (
            back,
            vec![Message::SwitchOver, home(PAGES, 1)],
            "are not all of the migration's",
        ),
        (
            back,
            vec![Message::SwitchOver, home(0, PAGES - 1), Message::Complete],
            "Complete came when 23 of 24 pages were home",
        ),
        (Mode::Plan, vec![ask(0, 1)], "Ask came where it is not due"),
        (
            Mode::Plan,
            vec![Message::SwitchOver],
            "SwitchOver came where it is not due",
        ),
        (
            Mode::Release,
            vec![home(0, 1)],
            "Home came where it is not due",
        ),
    ] {
        let world = world();
        // Offers of earlier messages are no change by the last one.
        let text = refusal(&world, mode, false, &messages);
        assert!(text.contains(reason), "{messages:?}: {text}");
        assert_eq!(world.check_always(), [""; 0], "{messages:?}");
    }
}

#[test]
fn b_refuses_a_wrong_hello() {
    let right = hello(Mode::Out);
    let long = Run::new(1, PAGES);
    for (wrong, reason) in [
        (
            Hello {
                page_size: 16384,
                ..right.clone()
            },
            "16384 bytes",
        ),
        (
            Hello {
                region_pages: Some(PAGES - 1),
                ..right.clone()
            },
            "memory of the same size",
        ),
        (
            Hello {
                span: long,
                ..right.clone()
            },
            "are not all of the migration's",
        ),
        (
            Hello {
                span: Run::new(0, 0),
                ..right.clone()
            },
            "a run of no pages",
        ),
        (
            Hello {
                span: Run::new(u32::MAX, u32::MAX),
                ..right.clone()
            },
            "are not all",
        ),
    ] {
        let world = world();
        let kernel = world.b();
        let events = world.operator(Side::B);
        let refused = Target::greet(&wrong, 2, false, &kernel, &events);
        let text = refused.map(|_| ()).expect_err("it is wrong");
        assert!(text.contains(reason), "{wrong:?}: {text}");
        assert_eq!(world.check_home(), [""; 0]);
    }
}

fn welcome(post_copy: bool) -> Welcome {
    Welcome {
        region_pages: PAGES,
        post_copy,
        offered: 0,
        awaited: 0,
    }
}

/// Returns what A says to a B that answers Ask as `offers` and goes on with `messages`.
fn a_says(world: &World, post_copy: bool, messages: &[Message]) -> String {
    let kernel = world.a();
    let events = world.operator(Side::A);
    let job = Rig::new(Mode::Out, post_copy).job();
    let mut source = Source::new(job, &kernel, &events).unwrap();
    source
        .welcome(2, welcome(post_copy), Default::default())
        .unwrap();
    source.step(Default::default()).unwrap();
    let (last, before) = messages.split_last().expect("there is one");
    for message in before {
        source.receive(message.clone()).expect("it is right");
        source.step(Default::default()).expect("it is right");
    }
    source
        .receive(last.clone())
        .expect_err("it is wrong")
        .to_string()
}

#[test]
fn a_refuses_what_b_may_not_say() {
    let offers = |target| {
        let run = Run::new(0, PAGES);
        Message::Offers(vec![Offer { run, target }])
    };
    let double = Message::Offers(vec![
        Offer {
            run: Run::new(0, 12),
            target: 0,
        },
        Offer {
            run: Run::new(12, 12),
            target: 11 * PAGE,
        },
    ]);
    for (post_copy, messages, reason) in [
        (false, vec![offers(1)], "not that of a page"),
        (false, vec![offers(PAGE * 1000)], "not all in the aperture"),
        (
            false,
            vec![offers(u64::MAX - PAGE + 1)],
            "not all in the aperture",
        ),
        (false, vec![double], "offered twice"),
        (
            false,
            vec![Message::Offers(vec![])],
            "asked for and not offered",
        ),
        (
            false,
            vec![Message::Switched],
            "Switched came where it is not due",
        ),
        (
            false,
            vec![Message::Completed],
            "Completed came where it is not due",
        ),
        (false, vec![Message::Want(vec![0])], "where no CPU waits"),
        (
            true,
            vec![Message::Want(vec![0])],
            "before all pages were offered",
        ),
        (
            false,
            vec![offers(0), offers(0)],
            "Offers came where it is not due",
        ),
        (
            false,
            vec![Message::Moved(vec![])],
            "Moved came where it is not due",
        ),
        (
            false,
            vec![Message::SwitchOver],
            "SwitchOver came where it is not due",
        ),
        (
            false,
            vec![Message::Progress(Progress::default())],
            "Progress came where",
        ),
    ] {
        let world = world();
        let text = a_says(&world, post_copy, &messages);
        assert!(text.contains(reason), "{messages:?}: {text}");
        assert_eq!(world.check_home(), [""; 0], "{messages:?}");
    }
    // A page that is not of the migration, when pages may be wanted.
    let world = world();
    let kernel = world.b();
    let targets = kernel.offer(Run::new(0, PAGES), true).unwrap();
    let offers = targets.iter().zip(0..).map(|(target, page)| Offer {
        run: Run::new(page, 1),
        target: *target,
    });
    let offers = Message::Offers(offers.collect());
    let text = a_says(&world, true, &[offers, Message::Want(vec![PAGES])]);
    assert!(text.contains("are not all of the migration's"), "{text}");
}

#[test]
fn a_refuses_a_region_of_another_size_and_post_copy_of_old_peers() {
    let world = world();
    let kernel = world.a();
    let events = world.operator(Side::A);
    let job = Rig::new(Mode::Out, false).job();
    let mut source = Source::new(job, &kernel, &events).unwrap();
    let small = Welcome {
        region_pages: 5,
        ..welcome(false)
    };
    let failure = source.welcome(2, small, Default::default()).unwrap_err();
    assert!(
        failure.to_string().contains("5 pages, this one 24"),
        "{failure}"
    );
    let failure = source
        .welcome(1, welcome(true), Default::default())
        .unwrap_err();
    assert!(
        failure.to_string().contains("in a version that has none"),
        "{failure}"
    );
}

fn receiver(version: u16) -> Receiver {
    let mut receiver = Receiver::default();
    receiver.agree(version, 77);
    receiver
}

#[test]
fn frames_that_were_recorded_are_refused() {
    let mut sender = Sender::new(77);
    let (one, two, three) = (
        sender.seal(Message::SwitchOver),
        sender.seal(Message::Complete),
        sender.seal(Message::Complete),
    );
    let mut again = receiver(2);
    again.feed(&one);
    again.feed(&one);
    assert_eq!(again.message(), Ok(Some(Message::SwitchOver)));
    assert_eq!(
        again.message().unwrap_err().0,
        "message 1 came where 2 was due"
    );
    let mut missing = receiver(2);
    missing.feed(&one);
    missing.feed(&three);
    missing.message().unwrap();
    assert_eq!(
        missing.message().unwrap_err().0,
        "message 3 came where 2 was due"
    );
    let mut other = Receiver::default();
    other.agree(2, 78);
    other.feed(&two);
    assert_eq!(
        other.message().unwrap_err().0,
        "a message of another connection"
    );
    let mut early = Receiver::default();
    early.feed(&one);
    assert!(early
        .message()
        .unwrap_err()
        .0
        .contains("before the versions were agreed on"));
}

#[test]
fn messages_of_other_versions_and_of_any_length_are_refused() {
    let sealed = |message| Sender::new(77).seal(message);
    let mut old = receiver(1);
    old.feed(&sealed(Message::Want(vec![1])));
    assert_eq!(old.message().unwrap_err().0, "Want is not of version 1");
    let mut many = receiver(2);
    many.feed(&sealed(Message::Moved(vec![Run::new(0, 1); MAX_RUNS + 1])));
    assert!(many.message().unwrap_err().0.contains("16385 entries"));
    let mut text = receiver(2);
    text.feed(&sealed(Message::Error("a\x1b[2J\nb".repeat(5000))));
    let Ok(Some(Message::Error(text))) = text.message() else {
        panic!("texts are cut")
    };
    assert!(text.len() <= 4096 && !text.contains(char::is_control));
    let mut long = sealed(Message::Complete);
    long.push(0);
    long[3] += 1;
    let mut receiver = receiver(2);
    receiver.feed(&long);
    assert!(receiver
        .message()
        .unwrap_err()
        .0
        .contains("1 bytes too many"));
    receiver.feed(&wrap(&[77, 2, 99]));
    assert!(receiver
        .message()
        .unwrap_err()
        .0
        .contains("can not be read"));
}

/// Returns everything that the peer sent until it closed.
fn rest_of(wire: &Pipe) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while let Heard::Bytes(count) = wire.receive(&mut buffer, Default::default()).unwrap() {
        all.extend_from_slice(&buffer[..count]);
    }
    all
}

/// Returns what B does when `bytes` are all that comes.
fn b_hears(world: &World, bytes: &[u8]) -> (Result<(), Failure>, Vec<u8>) {
    let (ours, theirs) = pipe();
    ours.send(bytes).unwrap();
    ours.hang_up();
    let terms = TargetTerms {
        versions: SPOKEN,
        post_copy: false,
    };
    let (_, result) = run_target(
        &theirs,
        terms,
        &world.b(),
        &world.operator(Side::B),
        &|| false,
    );
    (result, rest_of(&ours))
}

#[test]
fn strangers_are_told_nothing() {
    let right = opening::hello(SPOKEN, &hello(Mode::Out));
    let named = Hello {
        name: "../x\n".to_string(),
        ..hello(Mode::Out)
    };
    for (bytes, reason) in [
        (wrap(&opening::hello(SPOKEN, &named)), "name that is none"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "bytes was announced"),
        (wrap(b"pagemOve"), "does not speak pagemove's protocol"),
        (wrap(b"pagemove\0"), "ends too early"),
        (wrap(b"pagemove\0\x01\0\x02"), "Hello can not be read"),
        (wrap(&[&right[..], b"x"].concat()), "1 bytes too many"),
        (
            (MAX_FRAME as u32 + 1).to_be_bytes().to_vec(),
            "1048577 bytes was announced",
        ),
        (wrap(&right)[..9].to_vec(), "ended within a frame"),
        (vec![], "the peer closed it"),
    ] {
        let world = world();
        let (result, said) = b_hears(&world, &bytes);
        let text = result.expect_err("it is wrong").to_string();
        assert!(text.contains(reason), "{bytes:?}: {text}");
        assert!(said.is_empty(), "{bytes:?}");
        assert_eq!(world.check_home(), [""; 0]);
    }
}

#[test]
fn a_frame_that_ends_early_is_refused_and_the_peer_told() {
    let world = world();
    let mut bytes = wrap(&opening::hello(SPOKEN, &hello(Mode::Out)));
    bytes.extend_from_slice(&wrap(&[1, 2, 3])[..5]);
    let (result, said) = b_hears(&world, &bytes);
    assert!(result
        .unwrap_err()
        .to_string()
        .contains("ended within a frame"));
    let mut frames = Frames::default();
    frames.feed(&said);
    let welcome = frames.payload().unwrap().unwrap();
    assert!(matches!(
        opening::read_answer(&welcome, SPOKEN),
        Ok((HOLES, _, Answer::Welcome(_)))
    ));
    assert!(frames.payload().unwrap().is_some(), "the peer is told why");
}

#[test]
fn a_refuses_a_strange_answer() {
    let answer = Answer::Welcome(welcome(false));
    let chosen = |version| opening::answer(SPOKEN, Some((version, 5, &answer)));
    for (bytes, reason) in [
        (
            wrap(b"SSH-2.0-OpenSSH"),
            "does not speak pagemove's protocol",
        ),
        (wrap(&chosen(2)), "the peer chose version 2"),
        (wrap(&chosen(4)), "the peer chose version 4"),
        (wrap(&chosen(HOLES)[..20]), "ends too early"),
        (wrap(&chosen(HOLES)[..23]), "Answer can not be read"),
    ] {
        let world = world();
        let (ours, theirs) = pipe();
        theirs.send(&bytes).unwrap();
        let kernel = world.a();
        let events = world.operator(Side::A);
        let job = Rig::new(Mode::Out, false).job();
        let mut source = Source::new(job, &kernel, &events).unwrap();
        let result = run_source(&ours, &mut source, SPOKEN, &|| false);
        let text = result.expect_err("it is wrong").to_string();
        assert!(text.contains(reason), "{bytes:?}: {text}");
        assert_eq!(world.check_home(), [""; 0]);
    }
}
