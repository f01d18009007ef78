//! Convolutions over channels-first f32 tensors with constant weights.

mod band;
mod dense;
mod direct;
mod gather;
pub(crate) mod geometry;
mod transform;
pub(crate) mod transposed;
mod winograd;

use crate::arguments::Op;
use geometry::Geometry;
use sunmao_plugin_sdk::Kernel;

/// The fast kernel for a Conv operation, if there is one.
pub(crate) fn prepare(op: Op<'_>) -> Option<Box<dyn Kernel>> {
    let geometry = Geometry::of(op)?;
    let direct = direct::DirectConv::new(op, geometry)?;
    if geometry.is_depthwise() && geometry.groups > 1 {
        return Some(Box::new(direct));
    }
    let dense = dense::DenseConv::new(op, geometry)?;
    let product = dense.nanoseconds().min(direct.nanoseconds());
    if let Some(kernel) = winograd::prepare(op, geometry, product) {
        return Some(kernel);
    }
    if direct.nanoseconds() < dense.nanoseconds() { Some(Box::new(direct)) } else { Some(Box::new(dense)) }
}
