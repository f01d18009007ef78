//! Rewrites a component so that every stretch of its code that could run long passes a *poll*: a read of a page that only the host
//! can protect. `watchdog` protects it when a deadline has passed, and the next poll traps.
//!
//! A poll is `i32.const 0; i32.load offset=4*k memory=N; drop`, where N is a memory added to the module behind its own one, and k counts
//! the polls of the function. The offsets differ because the compiler drops a load of an address that it knows was read before and not written
//! since: with one address, an inner loop without stores would lose its poll to that of the outer loop.
//!
//! Where polls go: at the head of each `loop`; at the entry of each function that calls twice or more, unless all it calls are functions that
//! call nothing (calls without loops can take exponential time, but it takes height); before each bulk operation; and after every 2048 operators without one. Bulk operations on memory are cut into pieces (`bulk`).
//!
//! On the way the function that is called most gets a shorter way into the component (`relay`).
//!
//! The rewriting presumes a component that passed `inspect`: valid, one memory a module, no tail calls.

mod bulk;
mod relay;

use self::bulk::Helpers;
use self::relay::Relay;
use super::PluginError;
use wasm_encoder::reencode::{self, Reencode, ReencodeComponent};
use wasm_encoder::{Instruction, MemArg, MemoryType, SectionId};
use wasmparser::{FunctionBody, Operator, Payload};

/// Changes with whatever this module writes: compiled components of another version are not used.
pub(super) const VERSION: u32 = 3;

/// Maximum, in pages, of an added memory: by it the memory creator tells them from a plugin's own. A component that declares
/// a memory of exactly this maximum is refused.
pub(super) const POLL_MAXIMUM_PAGES: u64 = 0x5afe;

/// Bytes that polls may read: one page of WebAssembly.
pub(super) const POLL_BYTES: u64 = 65536;

const POLLS_PER_FUNCTION: u64 = POLL_BYTES / 4;
const STRAIGHT_OPERATORS: u32 = 2048;

/// A component with polls.
#[derive(Debug)]
pub(super) struct Instrumented {
    pub(super) bytes: Vec<u8>,
    pub(super) polls: u64,
}

/// Adds polls to every core module of a component.
pub(super) fn instrument(component: &[u8]) -> Result<Instrumented, PluginError> {
    let mut rewriter = Rewriter { relay: Relay::find(component), ..Rewriter::default() };
    let mut out = wasm_encoder::Component::new();
    rewriter.parse_component(&mut out, wasmparser::Parser::new(0), component).map_err(|error| match error {
        reencode::Error::UserError(refusal) => refusal.into(),
        other => PluginError::refused(
            format!("the component cannot be given safepoints: {other}"),
            "build it with the toolchain that the SDK names",
        ),
    })?;
    Ok(Instrumented { bytes: out.finish(), polls: rewriter.polls })
}

/// Why a module cannot be rewritten.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("a core module has more than one memory")]
    Memories,
    #[error("a core module declares a memory that is shared, 64-bit or of another page size")]
    MemoryKind,
    #[error("a core module declares a memory of {POLL_MAXIMUM_PAGES} pages at most, a number that the host reserves")]
    ReservedMaximum,
    #[error("a function of a core module has more than {POLLS_PER_FUNCTION} loops")]
    FunctionSize,
    #[error("a core module has too many functions")]
    Functions,
}

impl From<Refusal> for PluginError {
    fn from(refusal: Refusal) -> Self {
        Self::refused(refusal.to_string(), "build it for wasm32 with one ordinary memory (`wasm32-unknown-unknown`)")
    }
}

type Error = reencode::Error<Refusal>;

/// What is known about the module being rewritten.
#[derive(Clone, Debug, Default)]
struct Module {
    /// Whether anything in it can run long. If not, nothing is added: the small glue modules stay as they are.
    polled: bool,
    /// Number of the added memory.
    memory: u32,
    has_memory_section: bool,
    done_memory: bool,
    helpers: Helpers,
    /// One for each function: whether it calls nothing. Of what is imported nobody knows: modules can call each other to any height.
    leaves: Vec<bool>,
}

#[derive(Default)]
struct Rewriter {
    module: Module,
    polls: u64,
    relay: Option<Relay>,
}

/// Writes polls into one function.
struct Poller {
    memory: u32,
    count: u64,
}

impl Poller {
    fn poll(&mut self, function: &mut wasm_encoder::Function) -> Result<(), Error> {
        if self.count == POLLS_PER_FUNCTION {
            return Err(Error::UserError(Refusal::FunctionSize));
        }
        let at = MemArg { offset: 4 * self.count, align: 2, memory_index: self.memory };
        function.instruction(&Instruction::I32Const(0));
        function.instruction(&Instruction::I32Load(at));
        function.instruction(&Instruction::Drop);
        self.count += 1;
        Ok(())
    }
}

/// Looks through a module before it is rewritten.
fn survey(data: &[u8], parser: wasmparser::Parser) -> Result<Module, Error> {
    let mut module = Module::default();
    let (mut imported_functions, mut functions, mut types) = (0u32, 0u32, 0u32);
    let mut bodies = Vec::new();
    for payload in parser.parse_all(data) {
        match payload? {
            Payload::TypeSection(section) => {
                for group in section {
                    types += group?.types().len() as u32;
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    match import?.ty {
                        wasmparser::TypeRef::Memory(memory) => {
                            check_memory(&memory)?;
                            module.memory += 1;
                        }
                        wasmparser::TypeRef::Func(_) | wasmparser::TypeRef::FuncExact(_) => imported_functions += 1,
                        _ => {}
                    }
                }
            }
            Payload::FunctionSection(section) => functions = section.count(),
            Payload::MemorySection(section) => {
                module.has_memory_section = true;
                for memory in section {
                    check_memory(&memory?)?;
                    module.memory += 1;
                }
            }
            Payload::CodeSectionEntry(body) => {
                let function = Function::survey(&body)?;
                module.helpers.fill |= function.fills;
                module.helpers.copy |= function.copies;
                bodies.push(function);
            }
            _ => {}
        }
    }
    module.leaves = vec![false; imported_functions as usize];
    module.leaves.extend(bodies.iter().map(|function| function.calls == 0));
    module.polled = bodies.iter().any(|function| function.polled(&module.leaves));
    if module.memory > 1 {
        return Err(Error::UserError(Refusal::Memories));
    }
    let own = imported_functions.checked_add(functions).ok_or(Error::UserError(Refusal::Functions))?;
    module.helpers.number(own, types);
    Ok(module)
}

fn check_memory(memory: &wasmparser::MemoryType) -> Result<(), Error> {
    if memory.shared || memory.memory64 || memory.page_size_log2.is_some_and(|size| size != 16) {
        return Err(Error::UserError(Refusal::MemoryKind));
    }
    if memory.maximum == Some(POLL_MAXIMUM_PAGES) {
        return Err(Error::UserError(Refusal::ReservedMaximum));
    }
    Ok(())
}

/// What is known about one function before it is rewritten.
#[derive(Clone, Debug, Default)]
struct Function {
    loops: bool,
    calls: u32,
    /// Functions called by number, and whether there are others.
    callees: Vec<u32>,
    calls_by_value: bool,
    operators: u32,
    bulk: bool,
    fills: bool,
    copies: bool,
}

impl Function {
    fn survey(body: &FunctionBody<'_>) -> Result<Self, Error> {
        let mut function = Self::default();
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            function.operators = function.operators.saturating_add(1);
            function.loops |= matches!(operator, Operator::Loop { .. });
            match operator {
                Operator::Call { function_index } => {
                    function.calls += 1;
                    function.callees.push(function_index);
                }
                Operator::CallIndirect { .. } | Operator::CallRef { .. } => {
                    function.calls += 1;
                    function.calls_by_value = true;
                }
                _ => {}
            }
            function.bulk |= is_bulk(&operator);
            function.fills |= matches!(operator, Operator::MemoryFill { .. });
            function.copies |= matches!(operator, Operator::MemoryCopy { .. });
        }
        Ok(function)
    }

    fn polled_at_entry(&self, leaves: &[bool]) -> bool {
        let leaf = |&callee: &u32| leaves.get(callee as usize).copied().unwrap_or(false);
        self.calls >= 2 && (self.calls_by_value || !self.callees.iter().all(leaf))
    }

    fn polled(&self, leaves: &[bool]) -> bool {
        self.loops || self.bulk || self.polled_at_entry(leaves) || self.operators > STRAIGHT_OPERATORS
    }
}

/// Operations whose time goes with an operand.
fn is_bulk(operator: &Operator<'_>) -> bool {
    use Operator::*;
    matches!(
        operator,
        MemoryCopy { .. }
            | MemoryFill { .. }
            | MemoryInit { .. }
            | MemoryGrow { .. }
            | TableCopy { .. }
            | TableFill { .. }
            | TableInit { .. }
            | TableGrow { .. }
    )
}

impl Reencode for Rewriter {
    type Error = Refusal;

    fn parse_type_section(
        &mut self,
        types: &mut wasm_encoder::TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<(), Error> {
        reencode::utils::parse_type_section(self, types, section)?;
        if self.module.polled {
            self.module.helpers.types(types);
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut wasm_encoder::FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        reencode::utils::parse_function_section(self, functions, section)?;
        if self.module.polled {
            self.module.helpers.functions(functions);
        }
        Ok(())
    }

    fn parse_memory_section(
        &mut self,
        memories: &mut wasm_encoder::MemorySection,
        section: wasmparser::MemorySectionReader<'_>,
    ) -> Result<(), Error> {
        reencode::utils::parse_memory_section(self, memories, section)?;
        if self.module.polled {
            memories.memory(poll_memory());
        }
        Ok(())
    }

    /// Adds a memory section to a module that has none of its own.
    fn intersperse_section_hook(
        &mut self,
        module: &mut wasm_encoder::Module,
        _after: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), Error> {
        let follows = before.is_none_or(|section| {
            !matches!(
                section,
                SectionId::Custom | SectionId::Type | SectionId::Import | SectionId::Function | SectionId::Table
            )
        });
        let state = &mut self.module;
        if state.polled && !state.has_memory_section && !state.done_memory && follows {
            let mut memories = wasm_encoder::MemorySection::new();
            memories.memory(poll_memory());
            module.section(&memories);
            state.done_memory = true;
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut wasm_encoder::CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        reencode::utils::parse_code_section(self, code, section)?;
        if self.module.polled {
            self.polls += self.module.helpers.code(code, self.module.memory)?;
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut wasm_encoder::CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error> {
        let survey = Function::survey(&body)?;
        let mut poller = Poller { memory: self.module.memory, count: 0 };
        let mut function = self.new_function_with_parsed_locals(&body)?;
        if survey.polled_at_entry(&self.module.leaves) {
            poller.poll(&mut function)?;
        }
        let mut straight = 0;
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            let is_loop = matches!(operator, Operator::Loop { .. });
            if is_bulk(&operator) || straight == STRAIGHT_OPERATORS {
                poller.poll(&mut function)?;
                straight = 0;
            }
            match self.module.helpers.replacement(&operator) {
                Some(call) => function.instruction(&call),
                None => function.instruction(&self.instruction(operator)?),
            };
            straight += 1;
            if is_loop {
                poller.poll(&mut function)?;
                straight = 0;
            }
        }
        self.polls += poller.count;
        code.function(&function);
        Ok(())
    }
}

impl ReencodeComponent for Rewriter {
    fn parse_component_payload(
        &mut self,
        component: &mut wasm_encoder::Component,
        payload: Payload<'_>,
        whole_component: &[u8],
    ) -> Result<(), Error> {
        if let (Some(relay), Payload::ComponentAliasSection(section)) = (&self.relay, &payload) {
            relay.before(component, section);
        }
        reencode::component_utils::parse_component_payload(self, component, payload, whole_component)
    }

    fn component_alias<'a>(&mut self, alias: wasmparser::ComponentAlias<'a>) -> Result<wasm_encoder::Alias<'a>, Error> {
        let relayed = self.relay.as_ref().and_then(|relay| relay.instance_for(&alias));
        let mut alias = reencode::component_utils::component_alias(self, alias)?;
        if let (Some(relay), wasm_encoder::Alias::CoreInstanceExport { instance, .. }) = (relayed, &mut alias) {
            *instance = relay;
        }
        Ok(alias)
    }

    fn parse_component_submodule(
        &mut self,
        component: &mut wasm_encoder::Component,
        parser: wasmparser::Parser,
        submodule: &[u8],
    ) -> Result<(), Error> {
        // The library walks a submodule without asking `Reencode::parse_core_module`, so the survey belongs here.
        self.module = survey(submodule, parser.clone())?;
        reencode::component_utils::parse_component_submodule(self, component, parser, submodule)
    }
}

fn poll_memory() -> MemoryType {
    MemoryType { minimum: 1, maximum: Some(POLL_MAXIMUM_PAGES), memory64: false, shared: false, page_size_log2: None }
}

#[cfg(test)]
mod tests {
    use super::super::PluginError;
    use super::super::chip::ChipState;
    use super::super::inspect::validate;
    use super::super::instance::Fresh;
    use super::super::testing::{chip, runtime};
    use super::*;
    use std::time::Duration;
    use wasmtime::component::{Component, Linker};

    /// Polls that a core module gets, as the only one of a component. What comes out is valid, and the second time finds the memory.
    #[track_caller]
    fn polls(module: &str) -> u64 {
        let component = wat::parse_str(format!("(component (core module {module}))")).unwrap();
        validate(&component).unwrap();
        let out = instrument(&component).unwrap();
        wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all()).validate_all(&out.bytes).unwrap();
        out.polls
    }

    #[test]
    fn only_what_can_run_long_gets_polls() {
        assert_eq!(polls("(func) (func call 0)"), 0);
        assert_eq!(polls("(func (loop) (loop (loop)))"), 3);
        assert_eq!(polls("(func) (func call 0 call 0)"), 0, "what it calls calls nothing");
        assert_eq!(polls("(func) (func call 0) (func call 1 call 1)"), 1);
        assert_eq!(polls(r#"(import "" "" (func)) (func call 0 call 0)"#), 1);
        assert_eq!(polls(r#"(table 1 funcref) (func i32.const 0 call_indirect i32.const 0 call_indirect)"#), 1);
        assert_eq!(polls(&format!("(func {})", "nop ".repeat(5000))), 2);
        // One at the operation, two in the function that stands for it, or one where only one way leads.
        assert_eq!(polls("(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))"), 2);
        assert_eq!(polls("(memory 1) (func (memory.copy (i32.const 0) (i32.const 0) (i32.const 0)))"), 3);
    }

    #[test]
    fn modules_of_every_make_get_their_memory() {
        for parts in
            ["", "(memory 1)", r#"(import "" "m" (memory 1))"#, "(table 1 funcref)", "(global i32 (i32.const 0))"]
        {
            assert_eq!(polls(&format!(r#"{parts} (func (export "f") (loop))"#)), 1, "{parts}");
        }
    }

    /// Runs the export `spin` of a component for 20 ms.
    fn stopped(component: &str) -> PluginError {
        let component = wat::parse_str(component).unwrap();
        validate(&component).unwrap();
        let engine = &runtime().engine;
        let component = Component::new(engine, instrument(&component).unwrap().bytes).unwrap();
        let mut fresh = Fresh::new(&chip(), false, 1 << 20, ChipState);
        let linker = Linker::<ChipState>::new(engine);
        let (store, limit) = (&mut fresh.store, Duration::from_millis(20));
        let instance =
            fresh.guard.instantiate(Duration::from_secs(60), || linker.instantiate(&mut *store, &component)).unwrap();
        let spin = instance.get_typed_func::<(), ()>(&mut *store, "spin").unwrap();
        fresh.guard.call("spin", limit, || spin.call(store, ())).unwrap_err()
    }

    #[test]
    fn a_module_that_imports_its_memory_is_stopped() {
        let error = stopped(
            r#"(component
                (core module $a (memory (export "m") 1))
                (core module $b (import "a" "m" (memory 1)) (func (export "spin") (loop $l (br $l))))
                (core instance $a (instantiate $a))
                (core instance $b (instantiate $b (with "a" (instance $a))))
                (func (export "spin") (canon lift (core func $b "spin"))))"#,
        );
        assert!(matches!(error, PluginError::Deadline { .. }), "{error}");
    }

    #[test]
    fn modules_that_call_each_other_to_a_great_height_are_stopped() {
        let mut text = String::from(
            r#"(component (core module $base (memory (export "m") 1) (func (export "f")))
            (core module $twice (import "" "f" (func)) (func (export "f") call 0 call 0))
            (core instance $i0 (instantiate $base))"#,
        );
        for level in 1..60 {
            text += &format!(r#"(core instance $i{level} (instantiate $twice (with "" (instance $i{}))))"#, level - 1);
        }
        text += r#"(func (export "spin") (canon lift (core func $i59 "f"))))"#;
        let error = stopped(&text);
        assert!(matches!(error, PluginError::Deadline { .. }), "{error}");
    }

    #[test]
    fn two_memories_are_refused() {
        let text = r#"(component (core module (import "" "m" (memory 1)) (memory 1)))"#;
        assert!(validate(&wat::parse_str(text).unwrap()).is_err());
        assert!(instrument(&wat::parse_str(text).unwrap()).is_err(), "also where nobody validated before");
    }
}
