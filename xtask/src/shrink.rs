//! Makes a module of WebAssembly and its script smaller on their way to the browser, without changing what they do:
//! classes that nothing uses go with their functions, functions that are alike in every byte become one, functions that
//! look alike stand together so that brotli finds them, and the long names of imports become short ones.

use std::collections::HashMap;
use std::convert::Infallible;

use anyhow::anyhow;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, Encode, ExportSection, FunctionSection, ImportSection, Module};
use wasmparser::{
    CodeSectionReader, ConstExpr, ElementItems, ExportSectionReader, ExternalKind, FunctionBody, FunctionSectionReader, ImportSectionReader, Operator, Parser,
    Payload, TypeRef,
};

/// The module and the script that wasm-bindgen made for it, smaller.
///
/// # Errors
/// The module cannot be read.
pub fn shrink(wasm: &[u8], script: &str) -> anyhow::Result<(Vec<u8>, String)> {
    let script = without_idle_classes(script);
    let module = Functions::of(wasm)?;
    let exports = module.exports.iter().filter(|export| is_mentioned(&script, export.0)).map(|export| export.1);
    let renumbering = module.renumbering(&module.reached_from(exports))?;
    let names = short_names(&module.import_names, &script);
    let mut writer = Writer {
        renumbering,
        names,
        script: Some(&script),
    };
    let mut out = Module::new();
    writer.parse_core_module(&mut out, Parser::new(0), wasm).map_err(unreadable)?;
    let script = writer.names.iter().fold(script.clone(), |script, (long, short)| script.replace(long, short));
    Ok((out.finish(), script))
}

fn unreadable(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the browser half cannot be read as WebAssembly: {error}")
}

/// The functions of a module.
struct Functions<'a> {
    import_names: Vec<String>,
    imports: usize,
    exports: Vec<(&'a str, u32)>,
    /// Called by the start of the module or held by its tables and globals.
    held: Vec<u32>,
    types: Vec<u32>,
    bodies: Vec<FunctionBody<'a>>,
    /// The operators of each body without their operands.
    shapes: Vec<Vec<u8>>,
    /// What each body calls or takes the address of.
    calls: Vec<Vec<u32>>,
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
            exports: Vec::new(),
            held: Vec::new(),
            types: Vec::new(),
            bodies: Vec::new(),
            shapes: Vec::new(),
            calls: Vec::new(),
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
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.map_err(unreadable)?;
                        if export.kind == ExternalKind::Func {
                            found.exports.push((export.name, export.index));
                        }
                    }
                }
                Payload::StartSection { func, .. } => found.held.push(func),
                Payload::ElementSection(section) => {
                    for element in section {
                        found.held.extend(held_by(element.map_err(unreadable)?.items).map_err(unreadable)?);
                    }
                }
                Payload::GlobalSection(section) => {
                    for global in section {
                        found.held.extend(named_in(&global.map_err(unreadable)?.init_expr).map_err(unreadable)?);
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    let (shape, calls) = read(wasm, &body).map_err(unreadable)?;
                    found.shapes.push(shape);
                    found.calls.push(calls);
                    found.bodies.push(body);
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Which bodies can run at all, when these functions are exported.
    fn reached_from(&self, exports: impl Iterator<Item = u32>) -> Vec<bool> {
        let mut is_reached = vec![false; self.bodies.len()];
        let mut left: Vec<u32> = exports.chain(self.held.iter().copied()).collect();
        while let Some(function) = left.pop() {
            let Some(index) = (function as usize).checked_sub(self.imports) else {
                continue;
            };
            if !std::mem::replace(&mut is_reached[index], true) {
                left.extend(&self.calls[index]);
            }
        }
        is_reached
    }

    fn renumbering(&self, is_reached: &[bool]) -> anyhow::Result<Renumbering> {
        let same = self.representatives()?;
        let mut stays = vec![false; same.len()];
        for index in (0..same.len()).filter(|index| is_reached[*index]) {
            stays[same[index]] = true;
        }
        let mut order: Vec<usize> = (0..same.len()).filter(|index| stays[*index]).collect();
        order.sort_by_key(|index| self.types[*index]);
        let alike = order.chunk_by(|one, next| self.types[*one] == self.types[*next]);
        let order: Vec<usize> = alike.flat_map(|group| by_likeness(group, &self.shapes)).collect();
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
                script: None,
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

/// Operators that are compared as one.
const RUN: usize = 4;
/// Samples by which functions are compared, and how many of them two that are alike share at least.
const SAMPLES: u64 = 24;
const SHARED: usize = 2;

/// Puts next to each function of a group the one that shares most with it, beginning with the longest. How much two share
/// is told by samples of their runs of operators (MinHash).
fn by_likeness(group: &[usize], shapes: &[Vec<u8>]) -> Vec<usize> {
    let samples: Vec<Vec<u64>> = group.iter().map(|index| samples(&shapes[*index])).collect();
    let mut holders: HashMap<(usize, u64), Vec<usize>> = HashMap::new();
    for (place, samples) in samples.iter().enumerate() {
        for key in samples.iter().copied().enumerate() {
            holders.entry(key).or_default().push(place);
        }
    }
    let length = |place: &usize| shapes[group[*place]].len();
    let mut longest: Vec<usize> = (0..group.len()).collect();
    longest.sort_by_key(|place| std::cmp::Reverse(length(place)));
    let mut is_placed = vec![false; group.len()];
    let mut order = Vec::with_capacity(group.len());
    for first in longest {
        let mut next = (!is_placed[first]).then_some(first);
        while let Some(place) = next {
            is_placed[place] = true;
            order.push(group[place]);
            let mut shared: HashMap<usize, usize> = HashMap::new();
            for key in samples[place].iter().copied().enumerate() {
                let others = holders.entry(key).or_default();
                others.retain(|other| !is_placed[*other]);
                others.iter().for_each(|other| *shared.entry(*other).or_default() += 1);
            }
            let alike = shared.into_iter().filter(|(_, count)| *count >= SHARED);
            // The same order in every build, whatever the map's.
            let nearest = alike.max_by_key(|(other, count)| (*count, std::cmp::Reverse(length(other).abs_diff(length(&place))), *other));
            next = nearest.map(|(other, _)| other);
        }
    }
    order
}

fn samples(shape: &[u8]) -> Vec<u64> {
    let least = |seed: u64| shape.windows(RUN.min(shape.len().max(1))).map(|run| mixed(run, seed)).min().unwrap_or_default();
    (0..SAMPLES).map(least).collect()
}

/// A hash of a run; each seed makes another one (the finaliser of SplitMix64).
fn mixed(run: &[u8], seed: u64) -> u64 {
    let mut value = run
        .iter()
        .fold(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), |value, byte| value.rotate_left(8) ^ u64::from(*byte));
    for multiplier in [0xbf58_476d_1ce4_e5b9_u64, 0x94d0_49bb_1331_11eb] {
        value = (value ^ (value >> 30)).wrapping_mul(multiplier);
    }
    value ^ (value >> 31)
}

/// The operators of a body, and the functions that it names.
fn read(wasm: &[u8], body: &FunctionBody<'_>) -> wasmparser::Result<(Vec<u8>, Vec<u32>)> {
    let mut operators = body.get_operators_reader()?;
    let (mut shape, mut calls) = (Vec::new(), Vec::new());
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        shape.extend(wasm.get(offset));
        calls.extend(named_by(&operator));
    }
    Ok((shape, calls))
}

fn named_by(operator: &Operator<'_>) -> Option<u32> {
    match operator {
        Operator::Call { function_index } | Operator::ReturnCall { function_index } | Operator::RefFunc { function_index } => Some(*function_index),
        _ => None,
    }
}

fn named_in(expression: &ConstExpr<'_>) -> wasmparser::Result<Vec<u32>> {
    let operators = expression.get_operators_reader().into_iter();
    operators
        .filter_map(|operator| operator.map(|operator| named_by(&operator)).transpose())
        .collect()
}

fn held_by(items: ElementItems<'_>) -> wasmparser::Result<Vec<u32>> {
    match items {
        ElementItems::Functions(functions) => functions.into_iter().collect(),
        ElementItems::Expressions(_, expressions) => {
            let mut held = Vec::new();
            for expression in expressions {
                held.extend(named_in(&expression?)?);
            }
            Ok(held)
        }
    }
}

/// Whether the script calls an export.
fn is_mentioned(script: &str, export: &str) -> bool {
    script.contains(&format!("wasm.{export}"))
}

/// Leaves out the classes that nothing makes: wasm-bindgen writes one for each that a library offers to scripts.
fn without_idle_classes(script: &str) -> String {
    let names: Vec<&str> = script.lines().filter_map(|line| line.strip_prefix("class ")?.strip_suffix(" {")).collect();
    names
        .into_iter()
        .fold(script.to_owned(), |script, name| without_class(&script, name).unwrap_or(script))
}

/// The script without a class, its registration for disposal and its finalizer; `None` when something else names it.
fn without_class(script: &str, name: &str) -> Option<String> {
    let without = without_part(script, &format!("class {name} {{"), "\n}\n")?;
    let without = without_part(&without, &format!("if (Symbol.dispose) {name}."), "\n").unwrap_or(without);
    let without = without_part(&without, &format!("const {name}Finalization = "), ";\n").unwrap_or(without);
    (!without.contains(name)).then_some(without)
}

fn without_part(script: &str, begin: &str, end: &str) -> Option<String> {
    let (before, rest) = script.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{after}"))
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

struct Writer<'a> {
    renumbering: Renumbering,
    names: HashMap<String, String>,
    /// What uses the exports; those that it does not name go.
    script: Option<&'a str>,
}

impl Reencode for Writer<'_> {
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

    fn parse_export_section(&mut self, out: &mut ExportSection, section: ExportSectionReader<'_>) -> Result<(), Error<Infallible>> {
        for export in section {
            let export = export?;
            if export.kind != ExternalKind::Func || self.script.is_none_or(|script| is_mentioned(script, export.name)) {
                self.parse_export(out, export)?;
            }
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

#[cfg(test)]
mod tests {
    use super::{short_names, shrink, without_idle_classes};

    const SCRIPT: &str = "class Idle {
    free() {
        wasm.idle_free(this.ptr);
    }
}
if (Symbol.dispose) Idle.prototype[Symbol.dispose] = Idle.prototype.free;

class Used {
}
export function start() {
    // Makes one.
    return new Used(wasm.start());
}
const imports = { log_0123456789abcdef: function(a) { console.log(a); } };
const IdleFinalization = (typeof FinalizationRegistry === 'undefined')
    ? { register: () => {} }
    : new FinalizationRegistry(ptr => wasm.idle_free(ptr));
";

    /// Imports `log_…`; functions 1 and 2 are alike, 3 (`start`) calls both and the import, 4 (`idle_free`) calls 2.
    fn module() -> Vec<u8> {
        use wasm_encoder::*;
        let mut types = TypeSection::new();
        types.ty().function([], [ValType::I32]);
        let mut imports = ImportSection::new();
        imports.import("./berth_bg.js", "log_0123456789abcdef", EntityType::Function(0));
        let mut functions = FunctionSection::new();
        let mut code = CodeSection::new();
        let mut add = |body: &[Instruction<'_>]| {
            functions.function(0);
            let mut function = Function::new([]);
            body.iter().for_each(|instruction| {
                function.instruction(instruction);
            });
            function.instruction(&Instruction::End);
            code.function(&function);
        };
        add(&[Instruction::I32Const(7)]);
        add(&[Instruction::I32Const(7)]);
        add(&[
            Instruction::Call(1),
            Instruction::Call(2),
            Instruction::Drop,
            Instruction::Drop,
            Instruction::Call(0),
        ]);
        add(&[Instruction::Call(2), Instruction::Drop, Instruction::I32Const(1)]);
        let mut exports = ExportSection::new();
        exports.export("start", ExportKind::Func, 3).export("idle_free", ExportKind::Func, 4);
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions).section(&exports).section(&code);
        module.finish()
    }

    #[test]
    fn what_nothing_uses_goes_and_what_is_alike_becomes_one() {
        let (wasm, script) = shrink(&module(), SCRIPT).expect("it can be read");
        wasmparser::validate(&wasm).expect("it is valid");
        let small = super::Functions::of(&wasm).expect("it can be read");
        assert_eq!(small.bodies.len(), 2, "the two alike, and the one that starts");
        assert_eq!(small.exports.iter().map(|export| export.0).collect::<Vec<_>>(), ["start"]);
        assert_eq!(small.import_names, ["_0"]);
        let start = small.exports[0].1 as usize - small.imports;
        assert_eq!(small.calls[start], [small.calls[start][0], small.calls[start][0], 0]);
        assert!(
            script.contains("_0: function(a)") && script.contains("class Used {") && !script.contains("Idle"),
            "{script}"
        );
    }

    #[test]
    fn classes_that_are_made_stay() {
        let script = SCRIPT.replace("new Used", "new Idle");
        assert!(without_idle_classes(&script).contains("class Idle {"));
    }

    #[test]
    fn what_is_alike_stands_together() {
        let long: Vec<u8> = (0..60).collect();
        let other: Vec<u8> = (100..140).collect();
        let like_long: Vec<u8> = (2..58).collect();
        let shapes = [other, long, Vec::new(), like_long];
        assert_eq!(super::by_likeness(&[0, 1, 2, 3], &shapes), [1, 3, 0, 2]);
    }

    #[test]
    fn only_names_with_a_hash_become_short() {
        let imports = ["memory".to_owned(), "log_0123456789abcdef".to_owned(), "cast_0123".to_owned()];
        let names = short_names(&imports, "memory log_0123456789abcdef cast_0123");
        assert_eq!(names.len(), 1);
        assert_eq!(names["log_0123456789abcdef"], "_0");
    }
}
