// SPDX-License-Identifier: GPL-2.0
//! Everything around the device: module, VFIO, lockdown, nodes, apertures.

use super::fake::{Space, NVME};
use super::*;
use crate::probe::fact::Known;
use crate::probe::finding::Kind;
use crate::probe::kernel::{self, CommandLine};
use crate::probe::module::Listed;
use crate::probe::report::Trouble;
use crate::probe::vfio::State;
use crate::probe::{aperture, verdict};

const ADBIT: &str = "adbit";

#[test]
fn probe_a_good_host() {
    let report = report(&Fake::intel());
    assert_eq!(report.verdict, Verdict::Possible);
    assert_eq!(verdict(&report, ADBIT), Verdict::Possible);
    assert_eq!(has(&report, ADBIT, "module-not-loaded").kind, Kind::Step);
}

#[test]
fn probe_an_engine_that_this_version_does_not_run() {
    let report = report_of(&Fake::intel(), with_rtm(1), None);
    let known = pagemove_uapi::text::ENGINES
        .iter()
        .any(|text| text.name == "rtm");
    let expected = if known {
        Verdict::Possible
    } else {
        Verdict::NotPossible
    };
    assert_eq!(verdict(&report, "rtm"), expected);
    assert_eq!(
        finding(&report, "rtm", "engine-not-in-version").is_none(),
        known
    );
    has_not(&report, ADBIT, "engine-not-in-version");
}

#[test]
fn probe_lockdown() {
    let fake = Fake::intel();
    let file = "sys/kernel/security/lockdown";
    for (text, expected) in [
        ("[none] integrity confidentiality\n", Verdict::Possible),
        ("none [integrity] confidentiality\n", Verdict::NotPossible),
        ("none integrity [confidentiality]\n", Verdict::NotPossible),
        ("nonsense\n", Verdict::Unknown),
    ] {
        fake.file(file, text);
        assert_eq!(report(&fake).verdict, expected, "{text}");
    }
    fake.remove(file);
    let finding = has(&report(&fake), ADBIT, "lockdown-unknown");
    assert!(finding.fix.contains("mount"), "{}", finding.fix);
    fake.file("sys/kernel/security/lsm", "capability,landlock");
    assert_eq!(report(&fake).verdict, Verdict::Possible);
}

#[test]
fn probe_vfio() {
    let fake = Fake::intel();
    for name in ["vfio_iommu_type1", "vfio_pci_core"] {
        fake.remove(&format!("sys/module/{name}"));
    }
    assert_eq!(
        has(&report(&fake), ADBIT, "vfio-unknown").kind,
        Kind::Unknown
    );
    fake.file(
        "lib/modules/7.2.0/modules.builtin",
        "kernel/drivers/vfio/vfio.ko\n",
    );
    fake.file(
        "lib/modules/7.2.0/modules.dep",
        "kernel/other-vfio-pci-core.ko.xz:\n",
    );
    let missing = report(&fake);
    assert_eq!(missing.vfio.type1, Known(State::Missing));
    assert_eq!(has(&missing, ADBIT, "vfio-missing").kind, Kind::Blocker);
    fake.file(
        "lib/modules/7.2.0/modules.dep",
        "kernel/drivers/vfio/vfio_iommu_type1.ko.xz: kernel/drivers/vfio/vfio.ko.xz\n\
         kernel/drivers/vfio/pci/vfio-pci-core.ko.xz:\n",
    );
    let there = report(&fake);
    assert_eq!(there.vfio.vfio_pci_core, Known(State::NotLoaded));
    assert_eq!(has(&there, ADBIT, "vfio-not-loaded").kind, Kind::Step);
    assert_eq!(there.verdict, Verdict::Possible);
    fake.file(
        "lib/modules/7.2.0/modules.builtin",
        "kernel/drivers/vfio/vfio_iommu_type1.ko\nkernel/drivers/vfio/pci/vfio-pci-core.ko\n",
    );
    has_not(&report(&fake), ADBIT, "vfio-not-loaded");
}

#[test]
fn probe_large_pages() {
    let fake = Fake::intel();
    let file = "sys/module/vfio_iommu_type1/parameters/disable_hugepages";
    let of = |text: &str| {
        fake.file(file, text);
        report(&fake).vfio.disable_hugepages
    };
    assert_eq!(of("Y\n"), Known(Some(true)));
    assert_eq!(of("N\n"), Known(Some(false)));
    assert!(of("maybe").why().unwrap().contains("neither Y nor N"));
    fake.remove(file);
    assert_eq!(report(&fake).vfio.disable_hugepages, Known(None));
}

#[test]
fn probe_a_module_that_can_not_be_asked() {
    let fake = Fake::intel();
    fake.directory("sys/module/pagemove");
    fake.file("dev/pagemove", "");
    let report = report(&fake);
    let finding = has(&report, ADBIT, "module-unknown");
    assert!(finding.what.contains("ENOTTY"), "{}", finding.what);
    assert_eq!(report.verdict, Verdict::Unknown);
}

/// Returns what a module would list of the drive.
fn listed(format: &str, engines: &[&str], reason: Option<&str>) -> Listed {
    Listed {
        address: NVME.to_string(),
        open: true,
        format: Some(format.to_string()),
        engines: engines.iter().map(|name| name.to_string()).collect(),
        reason: reason.map(String::from),
        message: reason.map(|reason| format!("it is {reason}: change it")),
    }
}

fn judged(fake: &Fake, listed: Listed) -> Report {
    let mut report = report(fake);
    let device = &mut report.devices[0];
    device.module = Some(listed);
    device.engines.clear();
    verdict::judge(&mut report);
    report
}

#[test]
fn probe_the_word_of_the_module_counts() {
    let incoherent = Fake::intel_with(fake::CAP, fake::ECAP & !(1 << 48), "intel_iommu=sm_on");
    assert_eq!(report(&incoherent).verdict, Verdict::NotPossible);
    let report = judged(&incoherent, listed("x86_64", &["adbit"], None));
    assert_eq!(report.verdict, Verdict::Possible);
    let report = judged(&Fake::intel(), listed("x86_64", &[], Some("disabled")));
    let finding = has(&report, ADBIT, "disabled");
    assert_eq!((finding.kind, &*finding.fix), (Kind::Blocker, "change it"));
    assert_eq!(report.verdict, Verdict::NotPossible);
}

#[test]
fn probe_a_wrong_expectation_is_noted() {
    let noted = |format: &str| {
        let report = judged(&Fake::intel(), listed(format, &["adbit"], None));
        verdict::surprises(&report)
    };
    assert!(noted("x86_64").is_empty());
    assert!(noted("vtdss")[0].contains("not the expected x86_64"));
}

#[test]
fn probe_nodes() {
    let fake = Fake::intel();
    let of = |fake: &Fake| report(fake).nodes;
    let nodes = of(&fake);
    let nodes = nodes.known().unwrap();
    assert_eq!((nodes.len(), &nodes[1].bytes), (2, &Known(1 << 20)));
    assert_eq!(nodes[0].free_bytes, Known(512 << 10));
    fake.file(
        "sys/devices/system/node/node1/meminfo",
        "Node 1 MemTotal: lots\n",
    );
    assert!(of(&fake).known().unwrap()[1].bytes.known().is_none());
    fake.file("sys/devices/system/node/has_memory", "0\n");
    let notes = report(&fake).notes;
    assert!(notes.iter().any(|note| note.contains("only one NUMA node")));
    fake.file("sys/devices/system/node/has_memory", "all\n");
    assert!(of(&fake).why().unwrap().contains("has_memory"));
}

#[test]
fn probe_apertures() {
    let fake = Fake::intel();
    let none = report(&fake).apertures;
    assert!(none.functions.is_empty() && none.ntb_bus == Known(None));
    let bridge = "0000:7f:00.0";
    fake.function(bridge, &[], "0x068000", &Space::express(9).bytes);
    fake.driver(bridge, "ntb_hw_intel");
    fake.directory("sys/bus/ntb/devices/0000:7f:00.0");
    let resource = format!("sys/bus/pci/devices/{bridge}/resource");
    fake.file(
        &resource,
        "0x00000000fb800000 0x00000000fb80ffff 0x0000000000140204\n\
         0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
         0x0000010000000000 0x000001003fffffff 0x000000000014220c\n",
    );
    let found = report(&fake).apertures;
    assert_eq!(found.ntb_bus, Known(Some(vec![bridge.to_string()])));
    let window = aperture::Window {
        bar: 2,
        bytes: 1 << 30,
        prefetchable: true,
    };
    assert_eq!(found.functions[0].windows, Known(vec![window]));
    fake.file(&resource, "frob\n");
    let found = report(&fake).apertures;
    assert!(found.functions[0].windows.known().is_none());
}

#[test]
fn probe_no_sysfs_is_trouble() {
    let fake = Fake::intel();
    fake.remove("sys");
    let tree = Tree::new(fake.root());
    let trouble = Report::gather(&tree, None, &tree.path("dev/pagemove"), None);
    assert!(matches!(trouble, Err(Trouble::NoTree(_))));
}

#[test]
fn probe_only_options_that_matter_are_shown() {
    let fake = Fake::new(
        "GenuineIntel",
        "",
        "root=/dev/sda1 tsx=on password=x iommu=pt",
    );
    let tree = Tree::new(fake.root());
    let kernel = kernel::read(&tree, &CommandLine::read(&tree));
    let expected = ["tsx=on", "iommu=pt"].map(String::from).to_vec();
    assert_eq!(kernel.options, Known(expected));
}
