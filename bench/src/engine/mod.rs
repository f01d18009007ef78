//! The figures of the engine: how fast, how small and how soon ready it is beside ONNX Runtime, OpenVINO and onnxruntime-web, and how near its
//! kernels come to what the machine can do.

mod kernels;
mod loading;
mod speed;
mod web;
mod weights;

use crate::contest::Means;
use crate::figure::Report;
use crate::models::{Index, Kind, Model};
use crate::rig::Rig;

/// What figures are measured with.
pub(crate) struct Setting<'a> {
    pub(crate) means: &'a Means,
    pub(crate) rig: &'a Rig,
    pub(crate) index: &'a Index,
    pub(crate) quick: bool,
}

/// Models that a sample is taken of: the two kinds of convolution, a transformer, one that is over in a moment, and theirs in int8.
const SAMPLE: [&str; 5] = ["resnet50", "mobilenetv2", "minilm", "ppocrv5_cls", "mobilenetv2_int8"];

impl<'a> Setting<'a> {
    /// The models of a kind, all of them or the sample.
    fn models(&self, kind: Kind) -> impl Iterator<Item = &'a Model> {
        let quick = self.quick;
        let wanted = move |model: &&Model| {
            !quick || matches!(kind, Kind::Small | Kind::Exact) || SAMPLE.contains(&&model.name[..])
        };
        self.index.models.iter().filter(move |model| model.kind == kind).filter(wanted)
    }
}

/// All of them. Kernels come first: they take seconds, and say whether the machine is quiet.
pub(crate) fn measure(report: &mut Report<'_>, setting: &Setting<'_>) {
    kernels::measure(report, setting);
    speed::measure(report, setting);
    loading::measure(report, setting);
    report.section("web", |report| web::measure(report, setting));
}
