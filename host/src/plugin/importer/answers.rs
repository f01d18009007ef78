//! What an importer calls: sources to read from, a builder to put the graph into. Types are turned round; the answers come from the job.

use super::convert::{kvs, plain_attribute, plain_value, refuse, to_wire};
use super::generated::sunmao::kernel::{sink as wire_sink, sources as wire_sources, types as words};
use super::{ImportSink, ImportSources, Kv, Node, Rejection, Symbol};
use crate::plugin::error::clean;
use crate::plugin::instance::{Basics, State};
use sunmao_plugin_sdk::ErrorCode;
use wasmtime::component::Resource;

/// Most bytes of one `read`.
const READ_MAX_BYTES: u32 = 16 << 20;
/// Source handles that one import holds at a time.
const HANDLES_MAX: u32 = 4096;

/// State of an importer's store.
pub(in crate::plugin) struct ImportState {
    pub(super) basics: Basics,
    /// none: a call that imports nothing.
    pub(super) job: Option<Job>,
}

pub(super) struct Job {
    pub(super) sources: Box<dyn ImportSources>,
    pub(super) sink: Box<dyn ImportSink>,
    pub(super) handles: u32,
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
        self.job()?.sink.warn(clean(&message));
        Ok(())
    }

    fn drop(&mut self, _: Resource<BuilderHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}
