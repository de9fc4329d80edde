// SPDX-License-Identifier: GPL-2.0
//! A module that is read and found valid: its functions, and who can call whom by a table.

use crate::body::Body;
use crate::error::Error;
use wasmparser::{
    CompositeInnerType, ConstExpr, ElementItems, ElementSectionReader, ExternalKind, FuncType,
    FuncValidatorAllocations, GlobalType, Operator, Parser, Payload, TypeRef, ValidPayload,
    Validator, WasmFeatures,
};

/// What a module may use. Single instructions are refused by `operators::check`, by name.
fn features() -> WasmFeatures {
    WasmFeatures::WASM3 | WasmFeatures::THREADS | WasmFeatures::LEGACY_EXCEPTIONS
}

#[derive(Debug)]
pub struct Module<'a> {
    pub wasm: &'a [u8],
    pub types: Vec<FuncType>,
    /// The type of each function, imported ones first.
    pub functions: Vec<u32>,
    pub imported_functions: usize,
    /// How many memories there are, imported ones with them.
    pub memories: u32,
    /// All globals, imported ones first.
    pub globals: Vec<GlobalType>,
    pub start: Option<u32>,
    /// Of each function, whether a table may have it.
    pub in_table: Vec<bool>,
    pub bodies: Vec<Body<'a>>,
}

/// What is needed while it is read.
#[derive(Default)]
struct Tables {
    /// Whether others than the module can put functions into a table.
    shared: bool,
    exported: Vec<u32>,
    listed: Vec<u32>,
}

impl<'a> Module<'a> {
    /// Reads a module; refuses it if it is not valid, or has what can not be kept.
    pub fn read(wasm: &'a [u8]) -> Result<Self, Error> {
        let mut module = Module {
            wasm,
            types: Vec::new(),
            functions: Vec::new(),
            imported_functions: 0,
            memories: 0,
            globals: Vec::new(),
            start: None,
            in_table: Vec::new(),
            bodies: Vec::new(),
        };
        let mut tables = Tables::default();
        let mut validator = Validator::new_with_features(features());
        let mut allocations = Some(FuncValidatorAllocations::default());
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            module.section(&payload, &mut tables)?;
            if let ValidPayload::Func(function, code) = validator.payload(&payload)? {
                let ty = module.types.get(function.ty as usize);
                let ty = ty.ok_or(Error::TooLarge("types"))?.clone();
                let function = function.into_validator(allocations.take().unwrap_or_default());
                let body = Body::read(function, &code, &module.types, &ty)?;
                module.bodies.push(body);
            }
        }
        module.in_table = vec![false; module.functions.len()];
        let others: &[u32] = if tables.shared { &tables.exported } else { &[] };
        for &function in tables.listed.iter().chain(others) {
            if let Some(flag) = module.in_table.get_mut(function as usize) {
                *flag = true;
            }
        }
        Ok(module)
    }

    /// Returns the type of a function; all are valid.
    pub fn type_of(&self, function: u32) -> Option<&FuncType> {
        self.types
            .get(*self.functions.get(function as usize)? as usize)
    }

    fn section(&mut self, payload: &Payload<'a>, tables: &mut Tables) -> Result<(), Error> {
        match payload {
            Payload::Version {
                encoding, range, ..
            } if *encoding != wasmparser::Encoding::Module => {
                return Err(unsupported(
                    "a component",
                    "take the core module in it",
                    range.start,
                ));
            }
            Payload::TypeSection(reader) => {
                for group in reader.clone() {
                    for ty in group?.into_types() {
                        self.add_type(ty, reader.range().start)?;
                    }
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.clone().into_imports_with_offsets() {
                    let (offset, import) = import?;
                    self.import(&import.ty, import.name, offset, tables)?;
                }
                self.imported_functions = self.functions.len();
            }
            Payload::FunctionSection(reader) => {
                for ty in reader.clone() {
                    self.functions.push(ty?);
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader.clone().into_iter_with_offsets() {
                    let (offset, memory) = memory?;
                    check_memory(&memory, offset)?;
                    self.memories += 1;
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader.clone().into_iter_with_offsets() {
                    let (offset, global) = global?;
                    check_global(&global.ty, offset)?;
                    self.globals.push(global.ty);
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader.clone() {
                    let export = export?;
                    match export.kind {
                        ExternalKind::Func => tables.exported.push(export.index),
                        ExternalKind::Table => tables.shared = true,
                        _ => {}
                    }
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(*func),
            Payload::ElementSection(reader) => elements(reader, &mut tables.listed)?,
            Payload::TagSection(reader) => {
                let why = "exceptions are not supported yet";
                return Err(unsupported("a tag", why, reader.range().start));
            }
            _ => {}
        }
        Ok(())
    }

    fn add_type(&mut self, ty: wasmparser::SubType, offset: u64) -> Result<(), Error> {
        match ty.composite_type.inner {
            CompositeInnerType::Func(ty) => self.types.push(ty),
            _ => {
                let why = "garbage collected values are not supported yet";
                return Err(unsupported("a type that is no function's", why, offset));
            }
        }
        Ok(())
    }

    fn import(
        &mut self,
        ty: &TypeRef,
        name: &str,
        offset: u64,
        tables: &mut Tables,
    ) -> Result<(), Error> {
        match ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => self.functions.push(*ty),
            TypeRef::Table(_) => tables.shared = true,
            TypeRef::Memory(ty) => {
                check_memory(ty, offset)?;
                self.memories += 1;
            }
            TypeRef::Global(ty) => {
                check_global(ty, offset)?;
                self.globals.push(*ty);
            }
            TypeRef::Tag(_) => {
                let why = "exceptions are not supported yet";
                return Err(unsupported(
                    &format!("the imported tag {name}"),
                    why,
                    offset,
                ));
            }
        }
        Ok(())
    }
}

fn unsupported(what: &str, why: &'static str, offset: u64) -> Error {
    Error::Unsupported {
        what: what.to_string(),
        why,
        function: None,
        offset,
    }
}

fn check_memory(ty: &wasmparser::MemoryType, offset: u64) -> Result<(), Error> {
    if ty.memory64 {
        return Err(unsupported(
            "a memory of 64 bits",
            "it is not supported yet",
            offset,
        ));
    }
    if ty.shared {
        return Err(unsupported(
            "a shared memory",
            "threads are not supported yet",
            offset,
        ));
    }
    if ty.page_size_log2.is_some() {
        return Err(unsupported(
            "a memory with pages of its own size",
            "they are not known",
            offset,
        ));
    }
    Ok(())
}

fn check_global(ty: &GlobalType, offset: u64) -> Result<(), Error> {
    let why = match ty.content_type {
        wasmparser::ValType::V128 => "SIMD is not supported yet",
        wasmparser::ValType::Ref(_) if ty.mutable => {
            "a reference is no data that an image can have"
        }
        _ => return Ok(()),
    };
    Err(unsupported(
        &format!("a global of type {}", ty.content_type),
        why,
        offset,
    ))
}

/// Adds the functions of all segments.
fn elements(reader: &ElementSectionReader<'_>, listed: &mut Vec<u32>) -> Result<(), Error> {
    for element in reader.clone() {
        match element?.items {
            ElementItems::Functions(functions) => {
                for function in functions {
                    listed.push(function?);
                }
            }
            ElementItems::Expressions(_, expressions) => {
                for expression in expressions {
                    listed.extend(function_of(&expression?)?);
                }
            }
        }
    }
    Ok(())
}

/// Returns the function that a constant expression refers to.
fn function_of(expression: &ConstExpr<'_>) -> Result<Option<u32>, Error> {
    for operator in expression.get_operators_reader() {
        if let Operator::RefFunc { function_index } = operator? {
            return Ok(Some(function_index));
        }
    }
    Ok(None)
}
