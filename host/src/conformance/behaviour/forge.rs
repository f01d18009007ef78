//! Spoils sound components: other versions, other imports, tables and allocators that no toolchain would write.

use wasm_encoder::reencode::{self, Reencode, ReencodeComponent};
use wasmparser::{ExternalKind, FunctionBody, Parser, Payload, TypeRef};

/// Every occurrence of `from` replaced by `to`, which is as long.
pub(super) fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "a longer text would move what is behind it");
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(from.len()).position(|part| part == from.as_bytes()) {
        bytes[at + found..][..to.len()].copy_from_slice(to.as_bytes());
        at += found + to.len();
    }
    bytes
}

/// A guest whose marker says `mode`.
pub(super) fn marked(bytes: &[u8], marker: &str, mode: u8) -> Result<Vec<u8>, String> {
    let found = bytes.windows(marker.len()).position(|part| part == marker.as_bytes());
    let at = found.ok_or_else(|| format!("the guest has no marker {marker}: `cargo xtask build-plugins --all`"))?;
    let mut bytes = bytes.to_vec();
    bytes[at + marker.len()..][..2].copy_from_slice(format!("{mode:02}").as_bytes());
    Ok(bytes)
}

/// The same component with tables of at least `elements`.
pub(super) fn with_tables_of(bytes: &[u8], elements: u64) -> Result<Vec<u8>, String> {
    rewritten(bytes, Spoiler { table: Some(elements), ..Spoiler::default() })
}

/// The same component with an allocator for arguments that always answers `address`.
pub(super) fn with_allocator_answering(bytes: &[u8], address: i32) -> Result<Vec<u8>, String> {
    rewritten(bytes, Spoiler { address: Some(address), ..Spoiler::default() })
}

fn rewritten(bytes: &[u8], mut spoiler: Spoiler) -> Result<Vec<u8>, String> {
    let mut out = wasm_encoder::Component::new();
    spoiler.parse_component(&mut out, Parser::new(0), bytes).map_err(|error| error.to_string())?;
    Ok(out.finish())
}

#[derive(Default)]
struct Spoiler {
    table: Option<u64>,
    address: Option<i32>,
    /// Number of the allocator's body in the module that is being written, if it has one.
    allocator: Option<u32>,
    bodies: u32,
}

type Error = reencode::Error<std::convert::Infallible>;

impl Reencode for Spoiler {
    type Error = std::convert::Infallible;

    fn table_type(&mut self, table: wasmparser::TableType) -> Result<wasm_encoder::TableType, Error> {
        let mut table = reencode::utils::table_type(self, table)?;
        if let Some(elements) = self.table {
            table.minimum = elements;
            table.maximum = None;
        }
        Ok(table)
    }

    fn parse_function_body(
        &mut self,
        code: &mut wasm_encoder::CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error> {
        let number = self.bodies;
        self.bodies += 1;
        match self.address.filter(|_| self.allocator == Some(number)) {
            Some(address) => {
                let mut function = wasm_encoder::Function::new([]);
                function.instructions().i32_const(address).end();
                code.function(&function);
                Ok(())
            }
            None => reencode::utils::parse_function_body(self, code, body),
        }
    }
}

impl ReencodeComponent for Spoiler {
    fn parse_component_submodule(
        &mut self,
        component: &mut wasm_encoder::Component,
        parser: Parser,
        module: &[u8],
    ) -> Result<(), Error> {
        self.allocator = allocator(module, parser.clone())?;
        self.bodies = 0;
        reencode::component_utils::parse_component_submodule(self, component, parser, module)
    }
}

/// Which body of a module is `cabi_realloc`.
fn allocator(data: &[u8], parser: Parser) -> Result<Option<u32>, Error> {
    let (mut imported, mut exported) = (0, None);
    for payload in parser.parse_all(data) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.name == "cabi_realloc" && export.kind == ExternalKind::Func {
                        exported = Some(export.index);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(exported.and_then(|index| index.checked_sub(imported)))
}
