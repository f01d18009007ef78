//! Looks at a component before anything is compiled: is it one, which world is it for, what does it import. Most plugins that are refused
//! are refused here, with the reason and the remedy.

use super::PluginError;
use wasmparser::{CanonicalFunction, CanonicalOption, Encoding, Parser, Payload, Validator, WasmFeatures};

/// Version of the ABI that this host speaks.
pub const ABI_VERSION: &str = "0.1.0";
const PACKAGE: &str = "sunmao:kernel/";
const INTERFACES: [&str; 4] = ["types", "log", "sources", "sink"];

/// Which world a component is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    Chip,
    Importer,
}

/// What a component says about itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inspection {
    pub(super) world: World,
    /// Whether it imports WASI.
    pub(super) wasi: bool,
}

/// The proposals that plugins may use. Not multi-memory (the host needs the second one), not tail calls (recursion must end at the
/// stack's limit), not threads, exceptions, GC or 64-bit memories.
fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::CALL_INDIRECT_OVERLONG
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::BULK_MEMORY_OPT
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::FLOATS
        | WasmFeatures::SIMD
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::GC_TYPES
        | WasmFeatures::COMPONENT_MODEL
}

/// Checks that a component is valid, and uses no proposal that plugins may not. Must pass before anything is rewritten or compiled; what is in
/// the cache has passed.
pub(super) fn validate(bytes: &[u8]) -> Result<(), PluginError> {
    let checked = Validator::new_with_features(features()).validate_all(bytes).map_err(|error| {
        PluginError::refused(
            format!("the component is not valid, or uses what plugins may not: {error}"),
            "build it for wasm32 without threads, exceptions, tail calls and multiple memories",
        )
    });
    checked.map(drop)
}

/// Checks what a component says about itself. It need not be valid yet.
pub(super) fn inspect(bytes: &[u8], wasi_inert: bool) -> Result<Inspection, PluginError> {
    kind_of_file(bytes)?;
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0usize);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(unreadable)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import.map_err(unreadable)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export.map_err(unreadable)?.name.name.to_owned());
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    check_strings(&function.map_err(unreadable)?)?;
                }
            }
            _ => {}
        }
    }
    let world = world(&exports)?;
    let mut wasi = false;
    for import in &imports {
        wasi |= check_import(import, world, wasi_inert)?;
    }
    Ok(Inspection { world, wasi })
}

fn unreadable(error: wasmparser::BinaryReaderError) -> PluginError {
    PluginError::refused(format!("the component cannot be read: {error}"), "build it again")
}

fn kind_of_file(bytes: &[u8]) -> Result<(), PluginError> {
    match Parser::new(0).parse(bytes, true) {
        Ok(wasmparser::Chunk::Parsed { payload: Payload::Version { encoding, .. }, .. }) => match encoding {
            Encoding::Component => Ok(()),
            Encoding::Module => Err(PluginError::refused(
                "the file is a core module, not a component",
                "wrap it with `wasm-tools component new`, or build it with `cargo xtask build-plugins`",
            )),
        },
        _ => Err(PluginError::refused(
            "the file is not WebAssembly",
            "name a component that was built against plugin-sdk/wit",
        )),
    }
}

/// Strings are UTF-8. The other encodings are where runtimes had holes, and no toolchain of ours makes them.
fn check_strings(function: &CanonicalFunction) -> Result<(), PluginError> {
    let options = match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => options,
        _ => return Ok(()),
    };
    if options.iter().any(|option| matches!(option, CanonicalOption::UTF16 | CanonicalOption::CompactUTF16)) {
        return Err(PluginError::refused(
            "the component passes strings in UTF-16",
            "build it with a toolchain that passes UTF-8 (Rust, C, TinyGo)",
        ));
    }
    Ok(())
}

fn world(exports: &[String]) -> Result<World, PluginError> {
    let find = |interface: &str| {
        let versions = exports.iter().filter_map(|name| name.strip_prefix(PACKAGE)?.strip_prefix(interface));
        versions.filter_map(|rest| rest.strip_prefix('@')).next()
    };
    let (world, version) = match (find("device"), find("importer")) {
        (Some(version), None) => (World::Chip, version),
        (None, Some(version)) => (World::Importer, version),
        (Some(_), Some(_)) => {
            return Err(PluginError::refused(
                "the component exports a chip and an importer",
                "build two components, one for each world",
            ));
        }
        (None, None) => {
            return Err(PluginError::refused(
                format!("the component exports neither `{PACKAGE}device` nor `{PACKAGE}importer`"),
                "implement `Chip` or `Importer` of the plugin SDK and export it",
            ));
        }
    };
    check_version(version)?;
    Ok(world)
}

/// Whether the import is WASI's; an error when it is not to be had.
fn check_import(import: &str, world: World, wasi_inert: bool) -> Result<bool, PluginError> {
    if let Some(rest) = import.strip_prefix(PACKAGE) {
        let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
        if INTERFACES.contains(&interface) {
            check_version(version)?;
            let importers_only = matches!(interface, "sources" | "sink");
            if importers_only && world == World::Chip {
                return Err(PluginError::refused(
                    format!("a chip imports `{import}`, which only importers get"),
                    "leave it out: a chip computes and reads no files",
                ));
            }
            return Ok(false);
        }
    }
    if import.starts_with("wasi:") {
        if wasi_inert {
            return Ok(true);
        }
        return Err(PluginError::refused(
            format!("the component imports `{import}`, and plugins have no WASI"),
            "build it for `wasm32-unknown-unknown`, or set `wasi = \"inert\"` for it in plugins.toml (an empty WASI: no files, \
             no network, no environment, no time)",
        ));
    }
    Err(PluginError::refused(
        format!("the component imports `{import}`, which this host does not have"),
        format!("import nothing but `{PACKAGE}log`, `{PACKAGE}sources` and `{PACKAGE}sink`"),
    ))
}

/// While the version is 0.x the minor number is the breaking one; a patch that is newer may want what this host lacks.
fn check_version(wants: &str) -> Result<(), PluginError> {
    let parts = |text: &str| -> Option<[u64; 3]> {
        let mut numbers = text.split('.').map(|part| part.parse().ok());
        let parts = [numbers.next()??, numbers.next()??, numbers.next()??];
        numbers.next().is_none().then_some(parts)
    };
    let has = parts(ABI_VERSION).expect("the host's own version is three numbers");
    match parts(wants) {
        Some(wants) if wants[..2] == has[..2] && wants[2] <= has[2] => Ok(()),
        _ => Err(PluginError::AbiMismatch { wants: super::error::clean(wants), has: ABI_VERSION }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refusal(wat: &str, wasi: bool) -> String {
        let bytes = wat::parse_str(wat).unwrap();
        validate(&bytes).and_then(|()| inspect(&bytes, wasi)).unwrap_err().to_string()
    }

    fn importing(import: &str) -> String {
        format!(
            r#"(component (import "{import}" (instance)) (instance $i) (export "sunmao:kernel/device@0.1.0" (instance $i)))"#
        )
    }

    #[test]
    fn what_is_no_component_is_named() {
        assert!(inspect(b"hello", false).unwrap_err().to_string().contains("not WebAssembly"));
        assert!(inspect(b"", false).unwrap_err().to_string().contains("not WebAssembly"));
        let module = wat::parse_str("(module)").unwrap();
        assert!(inspect(&module, false).unwrap_err().to_string().contains("core module"));
        assert!(refusal("(component)", false).contains("exports neither"));
    }

    #[test]
    fn imports_are_named_with_a_remedy() {
        assert!(refusal(&importing("wasi:cli/environment@0.2.6"), false).contains("wasi = \"inert\""));
        assert!(refusal(&importing("acme:gpu/driver@1.0.0"), true).contains("acme:gpu/driver@1.0.0"));
        assert!(refusal(&importing("sunmao:kernel/sources@0.1.0"), false).contains("only importers"));
        let bytes = wat::parse_str(importing("wasi:cli/environment@0.2.6")).unwrap();
        assert_eq!(inspect(&bytes, true).unwrap(), Inspection { world: World::Chip, wasi: true });
    }

    #[test]
    fn versions_are_told_apart() {
        let text = refusal(&importing("sunmao:kernel/log@0.2.0"), false);
        assert!(text.contains("0.2.0") && text.contains("0.1.0") && text.contains("update the host"), "{text}");
        let export = r#"(component (instance $i) (export "sunmao:kernel/device@0.0.3" (instance $i)))"#;
        assert!(refusal(export, false).contains("build the plugin again"));
        assert!(check_version("0.1.0").is_ok());
        assert!(check_version("0.1.1").is_err());
        assert!(check_version("0.1").is_err());
        assert!(check_version("1.0.0").is_err());
    }

    #[test]
    fn proposals_that_would_escape_the_deadline_are_refused() {
        let nested = |module: &str| format!("(component (core module {module}))");
        for module in
            ["(memory 1) (memory 1)", "(memory 1 1 shared)", "(memory i64 1)", "(func $f return_call $f)", "(tag)"]
        {
            assert!(refusal(&nested(module), false).contains("not valid, or uses"), "{module}");
        }
    }

    #[test]
    fn strings_are_utf8() {
        let component = r#"(component
            (core module $m (memory (export "m") 1) (func (export "f") (param i32 i32)) (func (export "r") (param i32 i32 i32 i32) (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func (export "f") (param "s" string) (canon lift (core func $i "f") (memory (core memory $i "m")) (realloc (core func $i "r")) string-encoding=utf16)))"#;
        assert!(refusal(component, false).contains("UTF-16"));
    }
}
