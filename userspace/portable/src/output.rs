// SPDX-License-Identifier: GPL-2.0
//! Puts the new module together: the sections of the old one, and what is added to them.

use crate::control;
use crate::error::Error;
use crate::helpers::{Helpers, TYPES};
use crate::module::Module;
use crate::points::Points;
use std::borrow::Cow;
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    CodeSection, CustomSection, DataCountSection, DataSection, ElementSection, ExportKind,
    ExportSection, FunctionSection, GlobalSection, ImportSection, MemorySection, MemoryType,
    TableSection, TypeSection,
};
use wasmparser::{Parser, Payload};

/// The sections of a module that are kept.
#[derive(Default)]
struct Sections<'a> {
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    exports: ExportSection,
    elements: ElementSection,
    data_count: Option<u32>,
    data: DataSection,
    custom: Vec<CustomSection<'a>>,
}

/// Makes the new module.
pub fn assemble(
    module: &Module<'_>,
    helpers: &Helpers,
    code: &CodeSection,
    points: &Points,
) -> Result<Vec<u8>, Error> {
    let mut sections = Sections::default();
    for payload in Parser::new(0).parse_all(module.wasm) {
        sections.take(payload?).map_err(|error| match error {
            wasm_encoder::reencode::Error::ParseError(error) => Error::Invalid(error),
            _ => Error::TooLarge("sections of a kind that is not known"),
        })?;
    }
    sections.add(module, helpers);
    let mut encoded = wasm_encoder::Module::new();
    encoded.section(&sections.types);
    encoded.section(&sections.imports);
    encoded.section(&sections.functions);
    encoded.section(&sections.tables);
    encoded.section(&sections.memories);
    encoded.section(&sections.globals);
    encoded.section(&sections.exports);
    encoded.section(&sections.elements);
    if let Some(count) = sections.data_count {
        encoded.section(&DataCountSection { count });
    }
    encoded.section(code);
    encoded.section(&sections.data);
    for custom in &sections.custom {
        encoded.section(custom);
    }
    encoded.section(&CustomSection {
        name: control::SECTION.into(),
        data: Cow::Owned(points.encode()),
    });
    Ok(encoded.finish())
}

impl<'a> Sections<'a> {
    /// Takes a section over as it is.
    fn take(&mut self, payload: Payload<'a>) -> Result<(), wasm_encoder::reencode::Error> {
        let mut same = RoundtripReencoder;
        match payload {
            Payload::TypeSection(reader) => same.parse_type_section(&mut self.types, reader)?,
            Payload::ImportSection(reader) => {
                same.parse_import_section(&mut self.imports, reader)?
            }
            Payload::FunctionSection(reader) => {
                same.parse_function_section(&mut self.functions, reader)?;
            }
            Payload::TableSection(reader) => same.parse_table_section(&mut self.tables, reader)?,
            Payload::MemorySection(reader) => {
                same.parse_memory_section(&mut self.memories, reader)?
            }
            Payload::GlobalSection(reader) => {
                same.parse_global_section(&mut self.globals, reader)?
            }
            Payload::ExportSection(reader) => {
                same.parse_export_section(&mut self.exports, reader)?
            }
            Payload::ElementSection(reader) => {
                same.parse_element_section(&mut self.elements, reader)?;
            }
            Payload::DataCountSection { count, .. } => self.data_count = Some(count),
            Payload::DataSection(reader) => same.parse_data_section(&mut self.data, reader)?,
            Payload::CustomSection(section) if section.name() != control::SECTION => {
                self.custom.push(CustomSection {
                    name: section.name().into(),
                    data: section.data().into(),
                });
            }
            // The start function is exported instead: a program that goes on has been started.
            _ => {}
        }
        Ok(())
    }

    /// Adds helpers, the memory of frames, and the names by which a host finds the state.
    fn add(&mut self, module: &Module<'_>, helpers: &Helpers) {
        for (place, (params, results)) in (0u32..).zip(TYPES) {
            let ty = module.types.len() as u32 + place;
            self.types
                .ty()
                .function(params.iter().copied(), results.iter().copied());
            self.functions.function(ty);
        }
        self.memories.memory(MemoryType {
            minimum: 1,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        self.exports
            .export(control::MEMORY, ExportKind::Memory, helpers.memory);
        for memory in 0..module.memories {
            let name = format!("{}{memory}", control::PROGRAM_MEMORY);
            self.exports.export(&name, ExportKind::Memory, memory);
        }
        for (global, _) in (0u32..).zip(&module.globals).filter(|(_, ty)| ty.mutable) {
            let name = format!("{}{global}", control::PROGRAM_GLOBAL);
            self.exports.export(&name, ExportKind::Global, global);
        }
        if let Some(start) = module.start {
            self.exports.export(control::START, ExportKind::Func, start);
        }
    }
}
