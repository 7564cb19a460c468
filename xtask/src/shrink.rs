//! Makes a module of WebAssembly smaller on its way to the browser, without changing what it does: functions that are
//! alike in every byte become one, functions that look alike stand together so that brotli finds them, and the long
//! names of imports become short ones.

use std::collections::HashMap;
use std::convert::Infallible;

use anyhow::anyhow;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, Encode, FunctionSection, ImportSection, Module};
use wasmparser::{CodeSectionReader, FunctionBody, FunctionSectionReader, ImportSectionReader, Parser, Payload, TypeRef};

/// The module and its script, smaller.
///
/// # Errors
/// The module cannot be read.
pub fn shrink(wasm: &[u8], script: &str) -> anyhow::Result<(Vec<u8>, String)> {
    let module = Functions::of(wasm)?;
    let renumbering = module.renumbering()?;
    let names = short_names(&module.import_names, script);
    let script = names.iter().fold(script.to_owned(), |script, (long, short)| script.replace(long, short));
    let mut writer = Writer { renumbering, names };
    let mut out = Module::new();
    writer.parse_core_module(&mut out, Parser::new(0), wasm).map_err(unreadable)?;
    Ok((out.finish(), script))
}

fn unreadable(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the browser half cannot be read as WebAssembly: {error}")
}

/// The functions of a module.
struct Functions<'a> {
    import_names: Vec<String>,
    imports: usize,
    types: Vec<u32>,
    bodies: Vec<FunctionBody<'a>>,
    /// The operators of each body without their operands.
    shapes: Vec<Vec<u8>>,
}

/// What becomes of the functions: `numbers` has the new index of each old one, `order` the bodies that stay.
struct Renumbering {
    numbers: Vec<u32>,
    order: Vec<usize>,
}

impl<'a> Functions<'a> {
    fn of(wasm: &'a [u8]) -> anyhow::Result<Self> {
        let mut found = Self {
            import_names: Vec::new(),
            imports: 0,
            types: Vec::new(),
            bodies: Vec::new(),
            shapes: Vec::new(),
        };
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(unreadable)? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.map_err(unreadable)?;
                        if matches!(import.ty, TypeRef::Func(_)) {
                            found.imports += 1;
                            found.import_names.push(import.name.to_owned());
                        }
                    }
                }
                Payload::FunctionSection(section) => found.types = section.into_iter().collect::<Result<_, _>>().map_err(unreadable)?,
                Payload::CodeSectionEntry(body) => {
                    found.shapes.push(shape(wasm, &body).map_err(unreadable)?);
                    found.bodies.push(body);
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn renumbering(&self) -> anyhow::Result<Renumbering> {
        let same = self.representatives()?;
        let mut order: Vec<usize> = (0..self.bodies.len()).filter(|index| same[*index] == *index).collect();
        order.sort_by_key(|index| (self.types[*index], &self.shapes[*index]));
        let mut numbers: Vec<u32> = (0..u32::try_from(self.imports + self.bodies.len())?).collect();
        for (new, old) in order.iter().enumerate() {
            numbers[self.imports + old] = u32::try_from(self.imports + new)?;
        }
        for (index, first) in same.iter().enumerate() {
            numbers[self.imports + index] = numbers[self.imports + first];
        }
        Ok(Renumbering { numbers, order })
    }

    /// The first function of the same type and bytes, for each. Callers of merged functions may become alike in turn.
    fn representatives(&self) -> anyhow::Result<Vec<usize>> {
        let mut same: Vec<usize> = (0..self.bodies.len()).collect();
        loop {
            let numbers = (0..self.imports).chain(same.iter().map(|first| self.imports + first));
            let mut writer = Writer {
                renumbering: Renumbering {
                    numbers: numbers.map(u32::try_from).collect::<Result<_, _>>()?,
                    order: Vec::new(),
                },
                names: HashMap::new(),
            };
            let mut first_of: HashMap<(u32, Vec<u8>), usize> = HashMap::new();
            let mut next = Vec::with_capacity(same.len());
            for (index, body) in self.bodies.iter().enumerate() {
                let mut section = CodeSection::new();
                writer.parse_function_body(&mut section, body.clone()).map_err(unreadable)?;
                let mut bytes = Vec::new();
                section.encode(&mut bytes);
                next.push(*first_of.entry((self.types[index], bytes)).or_insert(index));
            }
            if next == same {
                return Ok(same);
            }
            same = next;
        }
    }
}

fn shape(wasm: &[u8], body: &FunctionBody<'_>) -> wasmparser::Result<Vec<u8>> {
    let mut operators = body.get_operators_reader()?;
    let mut shape = Vec::new();
    while !operators.eof() {
        let (_, offset) = operators.read_with_offset()?;
        shape.extend(wasm.get(offset));
    }
    Ok(shape)
}

/// A short name for every import whose own ends in a hash. The script has those names nowhere else.
fn short_names(imports: &[String], script: &str) -> HashMap<String, String> {
    let is_hashed = |name: &str| {
        name.rsplit_once('_')
            .is_some_and(|(_, hash)| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let mut hashed: Vec<&String> = imports.iter().filter(|name| is_hashed(name) && script.contains(name.as_str())).collect();
    hashed.sort_unstable();
    hashed.dedup();
    hashed
        .into_iter()
        .enumerate()
        .map(|(number, name)| (name.clone(), format!("_{number}")))
        .collect()
}

struct Writer {
    renumbering: Renumbering,
    names: HashMap<String, String>,
}

impl Reencode for Writer {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error<Infallible>> {
        Ok(self.renumbering.numbers[index as usize])
    }

    fn parse_import_section(&mut self, out: &mut ImportSection, section: ImportSectionReader<'_>) -> Result<(), Error<Infallible>> {
        for import in section.into_imports() {
            let mut import = import?;
            let name = self.names.get(import.name).cloned();
            import.name = name.as_deref().unwrap_or(import.name);
            self.parse_import(out, import)?;
        }
        Ok(())
    }

    fn parse_function_section(&mut self, out: &mut FunctionSection, section: FunctionSectionReader<'_>) -> Result<(), Error<Infallible>> {
        let types = section.into_iter().collect::<wasmparser::Result<Vec<u32>>>()?;
        for index in &self.renumbering.order {
            out.function(types[*index]);
        }
        Ok(())
    }

    fn parse_code_section(&mut self, out: &mut CodeSection, section: CodeSectionReader<'_>) -> Result<(), Error<Infallible>> {
        let bodies = section.into_iter().collect::<wasmparser::Result<Vec<_>>>()?;
        for index in self.renumbering.order.clone() {
            self.parse_function_body(out, bodies[index].clone())?;
        }
        Ok(())
    }
}
