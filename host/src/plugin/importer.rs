//! The importer's side: the calls. Each import runs in a fresh instance, which is gone afterwards.
//!
//! What an importer may read is decided by whoever implements [`ImportSources`]; what it builds is judged by the [`ImportSink`]. Both are the
//! `import` room's work.

mod answers;
mod convert;
mod types;

pub(super) use answers::ImportState;
pub use answers::{BuilderHandle, SourceHandle};
pub use types::{
    Attribute, Content, Dim, Format, ImportSink, ImportSources, Kv, Node, Quantisation, Rejection, Role, SessionState,
    Symbol, Value, Weight,
};

use super::bindings::importer as generated;
use super::check::is_id;
use super::instance::{Fresh, Guard};
use super::load::Code;
use super::{Kind, Plugin, PluginError};
use answers::Job;
use convert::{attribute, code};
use generated::exports::sunmao::kernel::importer as exported;
use generated::sunmao::kernel::types as words;
use std::any::Any;
use std::time::Duration;
use wasmtime::Store;
use wasmtime::component::Resource;

/// A file goes through an importer at this rate at least, on top of the setup deadline: it reads structure, not weights.
const IMPORT_BYTES_PER_SECOND: u64 = 64 << 20;
/// What one call may pass to the host by value.
const VALUES_MAX_BYTES: usize = 32 << 20;
const FORMATS_MAX: usize = 64;

impl Plugin {
    /// What an importer reads; nothing for a chip.
    pub fn formats(&self) -> &[Format] {
        match self.kind() {
            Kind::Importer(facts) => &facts.formats,
            Kind::Chip(_) => &[],
        }
    }
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
