//! The importer's side: plain types of the builder interface, and the calls. Each import runs in a fresh instance, which is gone afterwards.
//!
//! What an importer may read is decided by whoever implements [`ImportSources`]; what it builds is judged by the [`ImportSink`]. Both are the
//! `import` room's work.

use super::bindings::importer as generated;
use super::check::is_id;
use super::instance::{Basics, Fresh, Guard, State};
use super::load::Code;
use super::{Kind, Plugin, PluginError};
use generated::exports::sunmao::kernel::importer as exported;
use generated::sunmao::kernel::{sink as wire_sink, sources as wire_sources, types as words};
use std::any::Any;
use std::time::Duration;
use sunmao_plugin_sdk::ErrorCode;
use wasmtime::Store;
use wasmtime::component::Resource;

/// Attributes and facts: the plain types of the ABI.
pub use sunmao_plugin_sdk::abi::{Attribute, Kv, Quantisation};

/// A file goes through an importer at this rate at least, on top of the setup deadline: it reads structure, not weights.
const IMPORT_BYTES_PER_SECOND: u64 = 64 << 20;
/// What one call may pass to the host by value.
const VALUES_MAX_BYTES: usize = 32 << 20;
/// Most bytes of one `read`.
const READ_MAX_BYTES: u32 = 16 << 20;
/// Source handles that one import holds at a time.
const HANDLES_MAX: u32 = 4096;
const FORMATS_MAX: usize = 64;

/// A format that an importer reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// `onnx`, `gguf`, ...
    pub id: String,
    /// For a person.
    pub name: String,
    /// Versions that are read, for a person.
    pub versions: String,
    /// Without the dot, lower case.
    pub extensions: Vec<String>,
}

/// A no from the host to an importer, or from an importer to the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// The kind of error.
    pub code: ErrorCode,
    /// One line for a person.
    pub message: String,
}

impl Rejection {
    /// A no with its reason.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// A dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim {
    /// A number.
    Known(u64),
    /// The number of a symbol.
    Symbolic(u32),
}

/// A length that a request decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Symbol {
    /// Empty: the host makes one up.
    pub name: String,
    /// Smallest length.
    pub min: u64,
    /// Largest; `u64::MAX`: no bound known.
    pub max: u64,
    /// At least 1.
    pub multiple_of: u64,
    /// Further facts.
    pub ext: Vec<Kv>,
}

/// Where the bytes of a weight are.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Id of a source.
    pub source: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes as stored.
    pub length: u64,
    /// `raw-le`, ...
    pub encoding: String,
    /// In elements; empty: dense.
    pub strides: Vec<u64>,
    /// Further facts.
    pub ext: Vec<Kv>,
}

/// What a value is initialised with.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A range of a source.
    Weight(Weight),
    /// Bytes.
    Literal(Vec<u8>),
}

/// What lasts from one run of a session to its next.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionState {
    /// `kv`, `ring`, `plain`.
    pub kind: String,
    /// The axis that grows.
    pub axis: Option<u32>,
    /// Largest length of that axis; 0: the host decides.
    pub capacity: u64,
    /// The value that holds the new state.
    pub next: Option<u32>,
}

/// What a value is to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Comes with a request.
    Input,
    /// Goes to whoever asked.
    Output,
    /// The same in every request.
    Constant,
    /// Lasts from run to run.
    State,
    /// Computed.
    Intermediate,
}

/// A tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Unique in the model, or empty.
    pub name: String,
    /// Element type by its code; 0: unknown.
    pub dtype: u16,
    /// none: rank unknown.
    pub shape: Option<Vec<Dim>>,
    /// What it is.
    pub role: Role,
    /// For constants, and for states that do not start at zero.
    pub content: Option<Content>,
    /// Scale and zero point.
    pub quantisation: Option<Quantisation>,
    /// For states.
    pub state: Option<SessionState>,
    /// Further facts.
    pub ext: Vec<Kv>,
}

/// One operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// As in the source.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Opset that it was written for.
    pub opset: u16,
    /// Attributes that the source has.
    pub attributes: Vec<Kv>,
    /// Value numbers.
    pub inputs: Vec<Option<u32>>,
    /// Value numbers.
    pub outputs: Vec<Option<u32>>,
    /// Further facts.
    pub ext: Vec<Kv>,
}

/// The files of a model, by number. 0 is the model file.
pub trait ImportSources: Any + Send {
    /// Name without directory.
    fn name(&self, source: u32) -> String;
    /// Bytes.
    fn size(&self, source: u32) -> u64;
    /// Bytes from `offset` on: as many as asked for, fewer at the end.
    fn read(&mut self, source: u32, offset: u64, length: u32) -> Result<Vec<u8>, Rejection>;
    /// Another file of the model.
    fn open(&mut self, source: u32, relative: &str) -> Result<u32, Rejection>;
    /// What `open` would accept.
    fn siblings(&mut self, source: u32) -> Vec<String>;
    /// Unpacks a range into a new source.
    fn inflate(&mut self, source: u32, offset: u64, length: u64, method: &str, unpacked: u64)
    -> Result<u32, Rejection>;
}

/// Where the graph goes. Every item is judged as it comes.
pub trait ImportSink: Any + Send {
    /// A new symbol.
    fn symbol(&mut self, symbol: Symbol) -> Result<u32, Rejection>;
    /// A new value.
    fn value(&mut self, value: Value) -> Result<u32, Rejection>;
    /// A new block.
    fn block(&mut self) -> Result<u32, Rejection>;
    /// A node of a block.
    fn node(&mut self, block: u32, node: Node) -> Result<(), Rejection>;
    /// The end of a block.
    fn finish_block(&mut self, block: u32, params: &[u32], results: &[u32]) -> Result<(), Rejection>;
    /// A fact about the model.
    fn meta(&mut self, fact: Kv);
    /// Something that was imported other than the file says.
    fn warn(&mut self, message: String);
}

/// Asks an importer what it reads.
pub(super) fn formats(plugin: &Plugin) -> Result<Vec<Format>, PluginError> {
    let mut instance = Instance::new(plugin, None)?;
    let limit = plugin.limits().setup_deadline;
    let answer = instance.call("formats", limit, |importer, store| importer.call_formats(store))?;
    let broken = |what: String| PluginError::broken("formats", what);
    if answer.is_empty() || answer.len() > FORMATS_MAX {
        return Err(broken(format!("{} formats, and not 1 to {FORMATS_MAX}", answer.len())));
    }
    let formats = answer.into_iter().map(|format| {
        let words = format.extensions.len() <= FORMATS_MAX
            && format.extensions.iter().all(|word| is_id(&word.replace(['_', '.'], "-")));
        if !is_id(&format.id) || !words {
            return Err(broken("a format or extension that is not made of a-z, 0-9 and -".into()));
        }
        Ok(Format {
            id: format.id,
            name: super::error::clean(&format.name),
            versions: super::error::clean(&format.versions),
            extensions: format.extensions,
        })
    });
    formats.collect()
}

/// How sure an importer is that a file is its own: 0 to 100.
pub fn probe(plugin: &Plugin, name: &str, size: u64, prefix: &[u8], suffix: &[u8]) -> Result<u8, PluginError> {
    let mut instance = Instance::new(plugin, None)?;
    let limit = plugin.limits().setup_deadline;
    let sure =
        instance.call("probe", limit, |importer, store| importer.call_probe(store, name, size, prefix, suffix))?;
    Ok(sure.min(100))
}

/// Reads a model: `sources` are what the importer may read, `sink` is where the graph goes.
pub fn import<S: ImportSources, K: ImportSink>(
    plugin: &Plugin,
    sources: S,
    sink: K,
    options: &[Kv],
) -> Result<(S, K), PluginError> {
    const CALL: &str = "import-model";
    let size = sources.size(0);
    let limit = plugin.limits().setup_deadline + Duration::from_secs(size / IMPORT_BYTES_PER_SECOND);
    let options: Vec<_> =
        options.iter().map(|kv| words::Kv { key: kv.key.clone(), val: attribute(kv.val.clone()) }).collect();
    let mut instance =
        Instance::new(plugin, Some(Job { sources: Box::new(sources), sink: Box::new(sink), handles: 0 }))?;
    let answer = instance.call(CALL, limit, |importer, store| {
        importer.call_import_model(store, Resource::new_borrow(0), Resource::new_borrow(0), &options)
    })?;
    answer.map_err(|error| PluginError::Plugin {
        call: CALL,
        code: code(error.code),
        message: super::error::clean(&error.message),
        index: error.index,
    })?;
    let job = instance.store.into_data().job.expect("the job was put in above and nobody takes it out");
    let (sources, sink): (Box<dyn Any>, Box<dyn Any>) = (job.sources, job.sink);
    let sources = sources.downcast::<S>().expect("what was put in above");
    let sink = sink.downcast::<K>().expect("what was put in above");
    Ok((*sources, *sink))
}

struct Instance {
    guard: Guard,
    importer: exported::Guest,
    store: Store<ImportState>,
}

impl Instance {
    fn new(plugin: &Plugin, job: Option<Job>) -> Result<Self, PluginError> {
        let Code::Importer { pre, wasi } = plugin.code() else {
            return Err(PluginError::misuse("instantiate", "the plugin is no importer"));
        };
        let Fresh { mut store, mut guard } =
            Fresh::new(plugin, *wasi, VALUES_MAX_BYTES, |basics| ImportState { basics, job });
        let world = guard.instantiate(plugin.limits().setup_deadline, || pre.instantiate(&mut store))?;
        Ok(Self { guard, importer: world.sunmao_kernel_importer().clone(), store })
    }

    fn call<R>(
        &mut self,
        name: &'static str,
        limit: Duration,
        call: impl FnOnce(&exported::Guest, &mut Store<ImportState>) -> wasmtime::Result<R>,
    ) -> Result<R, PluginError> {
        let (importer, store) = (&self.importer, &mut self.store);
        self.guard.call(name, limit, || call(importer, store))
    }
}

/// State of an importer's store.
pub(super) struct ImportState {
    basics: Basics,
    /// none: a call that imports nothing.
    job: Option<Job>,
}

struct Job {
    sources: Box<dyn ImportSources>,
    sink: Box<dyn ImportSink>,
    handles: u32,
}

impl State for ImportState {
    fn basics(&mut self) -> &mut Basics {
        &mut self.basics
    }
}

/// Behind a `source` handle. The handle's representation is the source's id: there is nothing to keep.
#[derive(Debug)]
pub struct SourceHandle(());

/// Behind a `builder` handle: there is one in an import.
#[derive(Debug)]
pub struct BuilderHandle(());

type Answer<T> = wasmtime::Result<Result<T, words::Error>>;

impl ImportState {
    /// The job. Handles exist only while there is one, so a plugin without cannot get here.
    fn job(&mut self) -> wasmtime::Result<&mut Job> {
        self.job.as_mut().ok_or_else(|| wasmtime::format_err!("there is nothing to import"))
    }

    fn hand_out(&mut self, id: Result<u32, Rejection>) -> Answer<Resource<SourceHandle>> {
        let job = self.job()?;
        Ok(match id {
            Ok(_) if job.handles >= HANDLES_MAX => {
                Err(refuse(ErrorCode::LimitExceeded, "too many open sources: drop some"))
            }
            Ok(id) => {
                job.handles += 1;
                Ok(Resource::new_own(id))
            }
            Err(rejection) => Err(to_wire(rejection)),
        })
    }
}

impl words::Host for ImportState {}
impl wire_sink::Host for ImportState {}

impl wire_sources::Host for ImportState {
    fn inflate(
        &mut self,
        source: Resource<SourceHandle>,
        offset: u64,
        length: u64,
        method: String,
        unpacked: u64,
    ) -> Answer<Resource<SourceHandle>> {
        let id = self.job()?.sources.inflate(source.rep(), offset, length, &method, unpacked);
        self.hand_out(id)
    }
}

impl wire_sources::HostSource for ImportState {
    fn name(&mut self, source: Resource<SourceHandle>) -> wasmtime::Result<String> {
        Ok(self.job()?.sources.name(source.rep()))
    }

    fn size(&mut self, source: Resource<SourceHandle>) -> wasmtime::Result<u64> {
        Ok(self.job()?.sources.size(source.rep()))
    }

    fn read(&mut self, source: Resource<SourceHandle>, offset: u64, length: u32) -> Answer<Vec<u8>> {
        if length > READ_MAX_BYTES {
            return Ok(Err(refuse(ErrorCode::LimitExceeded, "a read of more than 16 MiB: read in pieces")));
        }
        Ok(self.job()?.sources.read(source.rep(), offset, length).map_err(to_wire))
    }

    fn open(&mut self, source: Resource<SourceHandle>, relative: String) -> Answer<Resource<SourceHandle>> {
        let id = self.job()?.sources.open(source.rep(), &relative);
        self.hand_out(id)
    }

    fn siblings(&mut self, source: Resource<SourceHandle>) -> wasmtime::Result<Vec<String>> {
        Ok(self.job()?.sources.siblings(source.rep()))
    }

    fn id(&mut self, source: Resource<SourceHandle>) -> wasmtime::Result<u32> {
        Ok(source.rep())
    }

    fn drop(&mut self, _: Resource<SourceHandle>) -> wasmtime::Result<()> {
        let job = self.job()?;
        job.handles = job.handles.saturating_sub(1);
        Ok(())
    }
}

impl wire_sink::HostBuilder for ImportState {
    fn symbol(&mut self, _: Resource<BuilderHandle>, symbol: wire_sink::Symbol) -> Answer<u32> {
        let symbol = Symbol {
            name: symbol.name,
            min: symbol.min,
            max: symbol.max,
            multiple_of: symbol.multiple_of,
            ext: kvs(symbol.ext),
        };
        Ok(self.job()?.sink.symbol(symbol).map_err(to_wire))
    }

    fn value(&mut self, _: Resource<BuilderHandle>, value: wire_sink::Value) -> Answer<u32> {
        Ok(self.job()?.sink.value(plain_value(value)).map_err(to_wire))
    }

    fn block(&mut self, _: Resource<BuilderHandle>) -> Answer<u32> {
        Ok(self.job()?.sink.block().map_err(to_wire))
    }

    fn node(&mut self, _: Resource<BuilderHandle>, block: u32, node: wire_sink::Node) -> Answer<()> {
        let node = Node {
            name: node.name,
            op: node.op,
            opset: node.opset,
            attributes: kvs(node.attributes),
            inputs: node.inputs,
            outputs: node.outputs,
            ext: kvs(node.ext),
        };
        Ok(self.job()?.sink.node(block, node).map_err(to_wire))
    }

    fn finish_block(
        &mut self,
        _: Resource<BuilderHandle>,
        block: u32,
        params: Vec<u32>,
        results: Vec<u32>,
    ) -> Answer<()> {
        Ok(self.job()?.sink.finish_block(block, &params, &results).map_err(to_wire))
    }

    fn meta(&mut self, _: Resource<BuilderHandle>, fact: words::Kv) -> wasmtime::Result<()> {
        self.job()?.sink.meta(Kv { key: fact.key, val: plain_attribute(fact.val) });
        Ok(())
    }

    fn warn(&mut self, _: Resource<BuilderHandle>, message: String) -> wasmtime::Result<()> {
        self.job()?.sink.warn(super::error::clean(&message));
        Ok(())
    }

    fn drop(&mut self, _: Resource<BuilderHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

fn plain_value(value: wire_sink::Value) -> Value {
    let dim = |dim| match dim {
        wire_sink::Dim::Known(n) => Dim::Known(n),
        wire_sink::Dim::Symbolic(n) => Dim::Symbolic(n),
    };
    let content = value.content.map(|content| match content {
        wire_sink::Content::Literal(bytes) => Content::Literal(bytes),
        wire_sink::Content::Weight(weight) => Content::Weight(Weight {
            source: weight.source,
            offset: weight.offset,
            length: weight.length,
            encoding: weight.encoding,
            strides: weight.strides,
            ext: kvs(weight.ext),
        }),
    });
    Value {
        name: value.name,
        dtype: value.dtype,
        shape: value.shape.map(|shape| shape.into_iter().map(dim).collect()),
        role: match value.role {
            wire_sink::Role::Input => Role::Input,
            wire_sink::Role::Output => Role::Output,
            wire_sink::Role::Constant => Role::Constant,
            wire_sink::Role::State => Role::State,
            wire_sink::Role::Intermediate => Role::Intermediate,
        },
        content,
        quantisation: value.quantisation.map(|q| Quantisation {
            axis: q.axis,
            block: q.block,
            scale: q.scale,
            zero: q.zero,
        }),
        state: value.state.map(|state| SessionState {
            kind: state.kind,
            axis: state.axis,
            capacity: state.capacity,
            next: state.next,
        }),
        ext: kvs(value.ext),
    }
}

fn kvs(list: Vec<words::Kv>) -> Vec<Kv> {
    list.into_iter().map(|kv| Kv { key: kv.key, val: plain_attribute(kv.val) }).collect()
}

fn plain_attribute(value: words::Attribute) -> Attribute {
    use words::Attribute as W;
    match value {
        W::Integer(v) => Attribute::Integer(v),
        W::Number(v) => Attribute::Number(v),
        W::Text(v) => Attribute::Text(v),
        W::Integers(v) => Attribute::Integers(v),
        W::Numbers(v) => Attribute::Numbers(v),
        W::Texts(v) => Attribute::Texts(v),
        W::Bytes(v) => Attribute::Bytes(v),
        W::Value(v) => Attribute::Value(v),
        W::Block(v) => Attribute::Block(v),
    }
}

fn attribute(value: Attribute) -> words::Attribute {
    use words::Attribute as W;
    match value {
        Attribute::Integer(v) => W::Integer(v),
        Attribute::Number(v) => W::Number(v),
        Attribute::Text(v) => W::Text(v),
        Attribute::Integers(v) => W::Integers(v),
        Attribute::Numbers(v) => W::Numbers(v),
        Attribute::Texts(v) => W::Texts(v),
        Attribute::Bytes(v) => W::Bytes(v),
        Attribute::Value(v) => W::Value(v),
        Attribute::Block(v) => W::Block(v),
    }
}

fn to_wire(rejection: Rejection) -> words::Error {
    refuse(rejection.code, rejection.message)
}

fn refuse(code: ErrorCode, message: impl Into<String>) -> words::Error {
    use {ErrorCode as E, words::ErrorCode as W};
    let code = match code {
        E::Unsupported => W::Unsupported,
        E::InvalidArgument => W::InvalidArgument,
        E::InvalidData => W::InvalidData,
        E::OutOfMemory => W::OutOfMemory,
        E::LimitExceeded => W::LimitExceeded,
        E::NotFound => W::NotFound,
        E::Internal => W::Internal,
    };
    words::Error { code, message: message.into(), index: None, offset: None, ext: Vec::new() }
}

fn code(code: words::ErrorCode) -> ErrorCode {
    use {ErrorCode as E, words::ErrorCode as W};
    match code {
        W::Unsupported => E::Unsupported,
        W::InvalidArgument => E::InvalidArgument,
        W::InvalidData => E::InvalidData,
        W::OutOfMemory => E::OutOfMemory,
        W::LimitExceeded => E::LimitExceeded,
        W::NotFound => E::NotFound,
        W::Internal => E::Internal,
    }
}

impl Plugin {
    /// What an importer reads; nothing for a chip.
    pub fn formats(&self) -> &[Format] {
        match self.kind() {
            Kind::Importer(facts) => &facts.formats,
            Kind::Chip(_) => &[],
        }
    }
}
