// SPDX-License-Identifier: GPL-2.0
//! A report as text.

use super::aperture::{self, Apertures};
use super::cpu::Cpu;
use super::device::Device;
use super::fact::{Fact, Known};
use super::finding::{Finding, Kind, Verdict};
use super::iommu::Iommu;
use super::numa::Node;
use super::report::Report;
use super::tsc::Tsc;
use super::verdict::Engine;
use crate::quantity;

/// Lines with a label in front, in sections.
struct Page {
    text: String,
    /// Findings whose help was printed.
    helped: Vec<Finding>,
}

impl Page {
    fn section(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(title);
        self.text.push('\n');
    }

    fn line(&mut self, label: &str, text: impl AsRef<str>) {
        let line = format!("  {label:<14} {}", text.as_ref());
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn finding(&mut self, finding: &Finding) {
        let (label, helps) = match finding.kind {
            Kind::Blocker => ("no", "fix"),
            Kind::Unknown => ("unknown", "try"),
            Kind::Step => ("to do", "by"),
        };
        self.line(&format!("  {label}"), &finding.what);
        if !self.helped.contains(finding) {
            self.line(&format!("  {helps}"), &finding.fix);
            self.helped.push(finding.clone());
        }
    }
}

fn say<T>(fact: &Fact<T>, words: impl FnOnce(&T) -> String) -> String {
    match fact {
        Known(value) => words(value),
        Fact::Unknown(unknown) => format!("unknown ({})", unknown.unknown),
    }
}

fn yes(fact: &Fact<bool>) -> String {
    say(fact, |value| if *value { "yes" } else { "no" }.to_string())
}

fn or_none(fact: &Fact<Option<String>>) -> String {
    say(fact, |value| value.clone().unwrap_or_else(|| "none".into()))
}

pub fn text(report: &Report) -> String {
    let mut page = Page {
        text: String::new(),
        helped: Vec::new(),
    };
    page.section("Engines");
    for engine in &report.engines {
        write_engine(&mut page, engine, &report.devices);
    }
    page.section("CPU");
    write_cpu(&mut page, &report.cpu);
    write_tsc(&mut page, &report.tsc);
    let cores = say(&report.sockets, |sockets| {
        let each = sockets.iter().map(|socket| {
            format!(
                "socket {}: {}, threads {}",
                socket.package, socket.cores, socket.threads
            )
        });
        each.collect::<Vec<_>>().join(", ")
    });
    page.line("cores", cores);
    page.section("IOMMUs");
    match &report.iommus {
        Known(iommus) if iommus.is_empty() => page.line("none", "in use"),
        Known(iommus) => iommus.iter().for_each(|one| write_iommu(&mut page, one)),
        Fact::Unknown(unknown) => page.line("unknown", &unknown.unknown),
    }
    page.section("Devices");
    if report.devices.is_empty() {
        page.line("none", "that a guest could have is behind an IOMMU");
    }
    for device in &report.devices {
        write_device(&mut page, device);
    }
    page.section("Kernel");
    write_kernel(&mut page, report);
    page.section("Destinations");
    write_nodes(&mut page, &report.nodes);
    write_apertures(&mut page, &report.apertures);
    if !report.notes.is_empty() {
        page.section("Notes");
        for note in &report.notes {
            page.line("-", note);
        }
    }
    page.text
}

fn write_engine(page: &mut Page, engine: &Engine, devices: &[Device]) {
    let with = match engine.verdict {
        Verdict::Possible => format!(" with {}", engine.devices.join(", ")),
        _ => String::new(),
    };
    page.line(&engine.engine, format!("{}{with}", engine.verdict.words()));
    for finding in &engine.findings {
        page.finding(finding);
    }
    if engine.verdict == Verdict::Possible || Verdict::of(&engine.findings) == engine.verdict {
        return;
    }
    // The host would do: then the devices say why not, each reason once.
    let mut said: Vec<&Finding> = Vec::new();
    let all = devices.iter().flat_map(|device| &device.engines);
    for finding in all
        .filter(|possible| possible.engine == engine.engine)
        .flat_map(|possible| &possible.findings)
        .filter(|finding| finding.kind != Kind::Step)
    {
        if !said.contains(&finding) {
            page.finding(finding);
            said.push(finding);
        }
    }
}

fn write_cpu(page: &mut Page, cpu: &Cpu) {
    page.line("name", say(&cpu.name, String::clone));
    let number = |fact: &Fact<u32>| say(fact, |value| value.to_string());
    page.line(
        "model",
        format!(
            "{} family {} model {} stepping {}, microcode {}",
            say(&cpu.vendor, String::clone),
            number(&cpu.family),
            number(&cpu.model),
            number(&cpu.stepping),
            or_none(&cpu.microcode)
        ),
    );
    page.line("hypervisor", yes(&cpu.hypervisor));
    page.line(
        "RTM",
        format!(
            "kernel {}, CPUID {}, always aborts {}",
            yes(&cpu.rtm),
            yes(&cpu.cpuid_rtm),
            yes(&cpu.rtm_always_abort)
        ),
    );
    let trial = say(&cpu.trial, |trial| match trial {
        None => "none: CPUID has no RTM".to_string(),
        Some(trial) => format!("{} of {} committed", trial.committed, trial.begun),
    });
    page.line("transactions", trial);
    page.line("tsx=", or_none(&cpu.tsx_option));
    page.line("TAA", or_none(&cpu.tsx_async_abort));
    page.line("MDS", or_none(&cpu.mds));
}

fn write_tsc(page: &mut Page, tsc: &Tsc) {
    page.line(
        "TSC",
        format!(
            "constant {}, nonstop {}, option {}",
            yes(&tsc.constant),
            yes(&tsc.nonstop),
            or_none(&tsc.option)
        ),
    );
    page.line(
        "clock",
        format!(
            "{}, of {}",
            say(&tsc.current_clocksource, String::clone),
            say(&tsc.available_clocksources, |clocks| clocks.join(" "))
        ),
    );
    if let Known(lines) = &tsc.log {
        for line in lines {
            page.line("log", line);
        }
    }
}

fn write_iommu(page: &mut Page, iommu: &Iommu) {
    let version = match &iommu.version {
        Known(Some(version)) => format!(", version {version}"),
        _ => String::new(),
    };
    let devices = say(&iommu.devices, |count| count.to_string());
    let domains = match (&iommu.domains_used, &iommu.domains_supported) {
        (Known(Some(used)), Known(Some(most))) => format!(", {used} of {most} domains"),
        _ => String::new(),
    };
    page.line(&iommu.name, format!("{devices} devices{domains}{version}"));
    let format = say(&iommu.format, |format| format.name().to_string());
    page.line("  VFIO tables", format!("{format}: {}", iommu.format_why));
    page.line("  coherent", yes(&iommu.coherent));
    page.line("  emulated", yes(&iommu.emulated));
    match &iommu.fields {
        Known(fields) => {
            let each = fields
                .iter()
                .map(|field| format!("{}={}", field.name, field.value));
            page.line("  fields", each.collect::<Vec<_>>().join(" "));
        }
        Fact::Unknown(unknown) => page.line("  fields", format!("unknown ({})", unknown.unknown)),
    }
    for note in &iommu.notes {
        page.line("  note", note);
    }
}

fn write_device(page: &mut Page, device: &Device) {
    let or_none = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".into());
    let text = |fact: &Fact<String>| say(fact, String::clone);
    let node = say(&device.node, |node| {
        node.map_or("none".into(), |node| node.to_string())
    });
    page.line(
        &device.address,
        format!(
            "{} class {}, node {node}",
            text(&device.id),
            text(&device.class)
        ),
    );
    page.line(
        "  driver",
        format!(
            "{}, bus mastering {}",
            or_none(&device.driver),
            yes(&device.bus_master)
        ),
    );
    let members = say(&device.group_members, |members| {
        if members.is_empty() {
            return "alone".to_string();
        }
        let each = members.iter().map(|member| member.address.as_str());
        format!("with {}", each.collect::<Vec<_>>().join(" "))
    });
    page.line(
        "  group",
        format!(
            "{} {members}, IOMMU {}",
            or_none(&device.group),
            or_none(&device.iommu)
        ),
    );
    let enabled = |on: bool| if on { "enabled" } else { "disabled" }.to_string();
    let none = || "none".to_string();
    page.line(
        "  ATS, PRI",
        format!(
            "ATS {}, PRI {}, PASID {}",
            say(&device.ats, |ats| ats
                .map_or_else(none, |ats| enabled(ats.enabled))),
            say(&device.pri, |pri| pri
                .map_or_else(none, |pri| enabled(pri.enabled))),
            say(&device.pasid, |pasid| pasid
                .map_or_else(none, |pasid| enabled(pasid.enabled))),
        ),
    );
    write_peers(page, device);
    if let Some(listed) = &device.module {
        let format = listed.format.as_deref().unwrap_or("not open");
        page.line(
            "  module",
            format!("{format}, engines: {}", listed.engines.join(" ")),
        );
    }
    for possible in &device.engines {
        page.line(&format!("  {}", possible.engine), possible.verdict.words());
    }
    let mut said: Vec<&Finding> = Vec::new();
    for finding in device
        .engines
        .iter()
        .flat_map(|possible| &possible.findings)
    {
        if !said.contains(&finding) {
            page.finding(finding);
            said.push(finding);
        }
    }
}

fn write_peers(page: &mut Page, device: &Device) {
    let peers = &device.peer_to_peer;
    let isolated = say(&peers.redirected, |redirected| {
        if *redirected {
            "not below the IOMMU"
        } else {
            "possible below the IOMMU"
        }
        .to_string()
    });
    page.line("  peers", format!("{isolated}: {}", peers.why));
    for hop in &peers.path {
        let acs = say(&hop.acs, |acs| match acs {
            None => "no ACS".to_string(),
            Some(acs) => {
                format!(
                    "ACS {} of {}",
                    acs.enabled.join(" "),
                    acs.supported.join(" ")
                )
            }
        });
        let kind = say(&hop.kind, String::clone);
        page.line("  path", format!("{} ({kind}): {acs}", hop.address));
    }
}

fn write_kernel(page: &mut Page, report: &Report) {
    page.line("release", say(&report.kernel.release, String::clone));
    let options = say(&report.kernel.options, |words| match &words[..] {
        [] => "none that matter here".to_string(),
        words => words.join(" "),
    });
    page.line("options", options);
    page.line("lockdown", say(&report.kernel.lockdown, String::clone));
    let state = |fact: &Fact<_>| {
        say(fact, |state| match state {
            super::vfio::State::Loaded => "loaded".to_string(),
            super::vfio::State::NotLoaded => "not loaded".to_string(),
            super::vfio::State::Missing => "missing".to_string(),
        })
    };
    page.line("VFIO type 1", state(&report.vfio.type1));
    page.line("vfio_pci_core", state(&report.vfio.vfio_pci_core));
    page.line("vfio_pci", state(&report.vfio.vfio_pci));
    page.line("iommufd", state(&report.vfio.iommufd));
    let module = say(&report.module.info, |info| match info {
        None => "not loaded".to_string(),
        Some(info) => format!(
            "loaded, {}ABI {}, engines {}{}, formats {}",
            info.version
                .as_ref()
                .map_or_else(String::new, |version| format!("version {version}, ")),
            info.abi_version,
            info.engines.join(" "),
            info.rtm_reason
                .as_ref()
                .map_or_else(String::new, |reason| format!(" (rtm is off: {reason})")),
            info.formats.join(" ")
        ),
    });
    page.line("pagemove", module);
    if let Known(Some(info)) = &report.module.info {
        if let Some(parameters) = &info.parameters {
            page.line("parameters", parameters.human());
        }
    }
}

fn write_nodes(page: &mut Page, nodes: &Fact<Vec<Node>>) {
    match nodes {
        Known(nodes) => {
            for node in nodes {
                let bytes = |fact: &Fact<u64>| say(fact, |bytes| quantity::bytes(*bytes));
                page.line(
                    &format!("node {}", node.number),
                    format!("{}, {} free", bytes(&node.bytes), bytes(&node.free_bytes)),
                );
            }
        }
        Fact::Unknown(unknown) => page.line("nodes", format!("unknown ({})", unknown.unknown)),
    }
}

fn write_apertures(page: &mut Page, apertures: &Apertures) {
    let bus = say(&apertures.ntb_bus, |bus| match bus {
        None => "none in this kernel now".to_string(),
        Some(names) if names.is_empty() => "empty".to_string(),
        Some(names) => names.join(" "),
    });
    page.line("NTB bus", bus);
    for function in &apertures.functions {
        let windows = say(&function.windows, |windows| {
            let each = windows
                .iter()
                .map(|window| format!("BAR {} of {}", window.bar, quantity::bytes(window.bytes)));
            each.collect::<Vec<_>>().join(", ")
        });
        page.line(&function.address, format!("{}: {windows}", function.why));
    }
    if apertures.functions.is_empty() {
        page.line(
            "apertures",
            format!("none; it would take {}", aperture::NEEDED),
        );
    }
}
