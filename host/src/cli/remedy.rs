//! What to do about an error from the rooms below, in one line. Errors say what is wrong and where; only the command line knows what its user can change.

use crate::device::DeviceError;
use crate::engine::EngineError;
use crate::import::ImportError;
use crate::memory::MemoryError;
use crate::plan::PlanError;
use crate::plugin::PluginError;
use std::io::ErrorKind;
use sunmao_graph::GraphError;

const REPORT: &str = "report it to the plugin's author; --chip-type picks another chip";
const SLOW: &str = "raise deadline_ms of this plugin in plugins.toml, or report it to the plugin's author";
const MEMORY: &str = "end other programs, raise the container's memory limit, or use a smaller model or smaller inputs";
const EXPORT: &str =
    "export the model again from the program that it comes from; `python -m onnx.checker` says more about an ONNX file";
const SHAPES: &str = "give every input a length for each axis (`host inspect --shape NAME=1x3x224x224`), or export the model with fixed shapes";
const SYSTEM: &str = "`host doctor` checks the machine's limits";

/// A plugin that was not loaded, or failed.
pub(super) fn of_plugin(error: &PluginError) -> String {
    match error {
        PluginError::Refused { remedy, .. } => return remedy.clone(),
        PluginError::Unreadable { source, .. } if source.kind() == ErrorKind::NotFound => {
            "check the path; `cargo xtask build-plugins` builds the project's own plugins"
        }
        PluginError::Unreadable { .. } => "make it readable for the user that runs the host",
        PluginError::AbiMismatch { .. } => "take a plugin and a host that were made for the same version",
        PluginError::Deadline { .. } => SLOW,
        PluginError::OutOfMemory { .. } => {
            "raise memory_mib of this plugin in plugins.toml, or report it to the plugin's author"
        }
        PluginError::Trap { .. } | PluginError::Broken { .. } | PluginError::Plugin { .. } | PluginError::Dead => {
            REPORT
        }
        PluginError::Memory(error) => return of_memory(error),
        PluginError::Misuse { .. } => "this is a bug of the host: please report it with the model",
        PluginError::Runtime(_) => SYSTEM,
    }
    .into()
}

/// A model that could not be planned, placed or run.
pub(super) fn of_engine(error: &EngineError) -> String {
    match error {
        EngineError::ArenaFull { .. } | EngineError::TooLarge { .. } => "use a smaller model or smaller inputs".into(),
        EngineError::OutOfMemory { .. } => MEMORY.into(),
        EngineError::Rejected { .. } => "look at the data of the request: a kernel cannot compute with it".into(),
        EngineError::Aborted | EngineError::Panic | EngineError::NativePanic { .. } => {
            "this is a bug of the host: please report it with the model; --fast-paths off may avoid it".into()
        }
        EngineError::Broken(broken) => of_plugin(&broken.error),
        EngineError::Plugin(error) => of_plugin(error),
        EngineError::Plan(error) => of_plan(error),
        EngineError::Memory(error) => of_memory(error),
    }
}

fn of_plan(error: &PlanError) -> String {
    match error {
        PlanError::Unplaced(_) => {
            "pick a chip that runs these operators with --chip-type, leave out --strict, or export the model without them".into()
        }
        PlanError::ArenaTooLarge { .. } => "use smaller inputs, or a smaller batch".into(),
        PlanError::Requirements { .. } => REPORT.into(),
        PlanError::Device(error) => match error {
            DeviceError::Unsupported { .. } => "pick another chip with --chip-type, or leave out --strict".into(),
            DeviceError::SetAside { .. } => "replace the chip's file and start again, or leave out --strict".into(),
            DeviceError::NotConcrete { .. } => SHAPES.into(),
            DeviceError::TooLarge { .. } => "use a smaller input, or split the model".into(),
            DeviceError::TensorAttribute { .. } | DeviceError::Constant { .. } => EXPORT.into(),
            DeviceError::Broken(broken) => of_plugin(&broken.error),
            DeviceError::Plugin(error) => of_plugin(error),
            DeviceError::Native { .. } => "this is a bug of the host: please report it with the model; --fast-paths off may avoid it".into(),
        },
    }
}

/// A model file that could not be read.
pub(super) fn of_import(error: &ImportError) -> String {
    match error {
        ImportError::Unreadable { source, .. } if source.kind() == ErrorKind::NotFound => {
            "check the path; it is taken relative to the working directory".into()
        }
        ImportError::Unreadable { .. } => "make it readable for the user that runs the host".into(),
        ImportError::NotAFile { .. } => "name the model file itself, or a package NAME.sunmao".into(),
        ImportError::UnknownFormat { .. } | ImportError::NoSuchFormat { .. } => {
            "check that it is a whole model file; convert it to one of these formats, or drop an importer for it into the plugins folder".into()
        }
        ImportError::Importer { source: PluginError::Plugin { .. }, .. } | ImportError::Rejected { .. } => EXPORT.into(),
        ImportError::Importer { source, .. } => of_plugin(source),
    }
}

/// A graph that is none, or that does not fit its shapes.
pub(super) fn of_graph(error: &GraphError) -> String {
    match error {
        GraphError::Specialise(_) => SHAPES.into(),
        GraphError::Invalid(_) | GraphError::Infer(_) | GraphError::Evaluate { .. } | GraphError::Untyped { .. } => {
            EXPORT.into()
        }
        GraphError::Weight { .. } => {
            "check that the model's files are whole, unchanged, and lie where the model expects them".into()
        }
    }
}

fn of_memory(error: &MemoryError) -> String {
    match error {
        MemoryError::System { .. } => SYSTEM.into(),
        MemoryError::Unmeasured { .. } => "mount /proc".into(),
        MemoryError::OutOfRange { .. } | MemoryError::Misaligned { .. } => {
            "this is a bug of the host: please report it with the model".into()
        }
    }
}
