//! A way around work that wasmtime does in each call of a function of a component: it looks the core function up by its number in the module that
//! defines it, finds where its code lies and writes a reference to it, which takes longer than all else that it does around a call. A function that
//! the module merely imports has its reference ready. So `run`, the one function that is called while a model runs, is lifted from a module that
//! imports it and exports it again, and has no code.

use wasm_encoder::{Component, EntityType, ExportKind, ExportSection, ImportSection, InstanceSection, Module};
use wasm_encoder::{ModuleArg, ModuleSection, TypeSection, ValType};
use wasmparser::{ComponentAlias, ComponentAliasSectionReader, ComponentTypeRef, ExternalKind, Parser, Payload};

/// The core function, as the toolchain names it: whatever the version of the interface.
const PREFIX: &str = "sunmao:kernel/device@";
const SUFFIX: &str = "#run";
/// What `run: func(first: u32, count: u32, shard: u32, shards: u32, base: u32) -> result<_, error>` is as a core function.
const PARAMETERS: [ValType; 5] = [ValType::I32; 5];
const RESULTS: [ValType; 1] = [ValType::I32];

/// Where in a component the module goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relay {
    name: String,
    /// The instance that exports the function.
    from: u32,
    /// Number of the module, which comes behind all others, and of its instance.
    module: u32,
    instance: u32,
}

impl Relay {
    /// None: the component lifts no such function, or not as toolchains do, behind all its modules and instances. It is then left as it is.
    pub(super) fn find(component: &[u8]) -> Option<Self> {
        let (mut depth, mut modules, mut instances) = (0, 0, 0);
        let mut found: Option<Self> = None;
        for payload in Parser::new(0).parse_all(component) {
            match payload.ok()? {
                Payload::ModuleSection { .. } => {
                    modules += u32::from(depth == 0);
                    depth += 1;
                }
                Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::InstanceSection(section) if depth == 0 => instances += section.count(),
                Payload::ComponentImportSection(section) => {
                    for import in section {
                        if matches!(import.ok()?.ty, ComponentTypeRef::Module(_)) {
                            return None;
                        }
                    }
                }
                Payload::ComponentAliasSection(section) => {
                    for alias in section {
                        let Some((from, name)) = lifted(&alias.ok()?) else { continue };
                        if depth != 0 || found.is_some() {
                            return None;
                        }
                        found = Some(Self { name: name.into(), from, module: modules, instance: instances });
                    }
                }
                _ => {}
            }
        }
        found.filter(|relay| (relay.module, relay.instance) == (modules, instances))
    }

    /// Writes module and instance, where they are due before this section.
    pub(super) fn before(&self, component: &mut Component, section: &ComponentAliasSectionReader<'_>) {
        let due = section.clone().into_iter().any(|alias| alias.is_ok_and(|alias| self.stands_for(&alias)));
        if !due {
            return;
        }
        let (mut types, mut imports, mut exports) = (TypeSection::new(), ImportSection::new(), ExportSection::new());
        types.ty().function(PARAMETERS, RESULTS);
        imports.import("", &self.name, EntityType::Function(0));
        exports.export(&self.name, ExportKind::Func, 0);
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&exports);
        let mut instances = InstanceSection::new();
        instances.instantiate(self.module, [("", ModuleArg::Instance(self.from))]);
        component.section(&ModuleSection(&module)).section(&instances);
    }

    /// The instance to take the function from, where this is the alias of it.
    pub(super) fn instance_for(&self, alias: &ComponentAlias<'_>) -> Option<u32> {
        self.stands_for(alias).then_some(self.instance)
    }

    fn stands_for(&self, alias: &ComponentAlias<'_>) -> bool {
        lifted(alias) == Some((self.from, &self.name))
    }
}

/// Instance and name, if this is the function.
fn lifted<'a>(alias: &ComponentAlias<'a>) -> Option<(u32, &'a str)> {
    match *alias {
        ComponentAlias::CoreInstanceExport { kind: ExternalKind::Func, instance_index, name }
            if name.starts_with(PREFIX) && name.ends_with(SUFFIX) =>
        {
            Some((instance_index, name))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::instrument;
    use super::*;

    const RUN: &str = "sunmao:kernel/device@0.1.0#run";

    fn component(end: &str) -> Vec<u8> {
        let text = format!(
            r#"(component
                (core module $a (memory (export "m") 1)
                    (func (export "{RUN}") (param i32 i32 i32 i32 i32) (result i32) local.get 0))
                (core instance $a (instantiate $a))
                (alias core export $a "{RUN}" (core func $run))
                {end})"#
        );
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn run_is_taken_from_a_module_that_imports_it() {
        let out = instrument(&component("")).unwrap().bytes;
        wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all()).validate_all(&out).unwrap();
        assert_eq!(
            Relay::find(&component("")).map(|relay| (relay.from, relay.module, relay.instance)),
            Some((0, 1, 1))
        );
        assert_eq!(Relay::find(&out).map(|relay| (relay.from, relay.module, relay.instance)), Some((1, 2, 2)));
    }

    #[test]
    fn components_of_another_make_are_left_alone() {
        for end in [
            "(core module)",
            "(core module $b) (core instance (instantiate $b))",
            &format!(r#"(alias core export $a "{RUN}" (core func $again))"#),
        ] {
            assert_eq!(Relay::find(&component(end)), None, "{end}");
        }
        assert_eq!(Relay::find(&wat::parse_str("(component (core module))").unwrap()), None);
        assert_eq!(Relay::find(b"no component"), None);
    }
}
