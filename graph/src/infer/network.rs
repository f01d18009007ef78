//! Convolution, pooling, resizing: everything with spatial axes.

use super::{Fact, Facts, Scope, axis_index, length, unify};
use crate::{DType, Dim, Node};

pub(super) fn covers(op: &str) -> bool {
    matches!(
        op,
        "Conv"
            | "ConvTranspose"
            | "ConvInteger"
            | "QLinearConv"
            | "DeformConv"
            | "MaxPool"
            | "AveragePool"
            | "LpPool"
            | "GlobalMaxPool"
            | "GlobalAveragePool"
            | "GlobalLpPool"
            | "MaxRoiPool"
            | "RoiAlign"
            | "Resize"
            | "GridSample"
            | "AffineGrid"
    )
}

pub(super) fn infer(scope: &Scope<'_>) -> Facts {
    match scope.node.op.as_str() {
        "Conv" | "DeformConv" => {
            scope.same_dtype(0, 1)?;
            conv(scope, 1, scope.dtype(0))
        }
        "ConvInteger" => conv(scope, 1, Some(DType::I32)),
        "QLinearConv" => conv(scope, 3, scope.dtype(7)),
        "ConvTranspose" => conv_transpose(scope),
        "MaxPool" | "AveragePool" | "LpPool" => pool(scope),
        "GlobalMaxPool" | "GlobalAveragePool" | "GlobalLpPool" => {
            scope.want_rank(0, 2, usize::MAX)?;
            let shape = scope.shape(0).map(|shape| {
                shape.iter().enumerate().map(|(axis, dim)| if axis < 2 { *dim } else { Dim::Known(1) }).collect()
            });
            Ok(vec![Fact::new(scope.dtype(0), shape)])
        }
        "MaxRoiPool" | "RoiAlign" => {
            let channels = scope.shape(0).and_then(|shape| shape.get(1).copied()).unwrap_or(Dim::Unknown);
            let boxes = scope.shape(1).and_then(|shape| shape.first().copied()).unwrap_or(Dim::Unknown);
            let (height, width) = match scope.node.integers("pooled_shape") {
                Some([height, width]) => (*height, *width),
                Some(_) => return Err("needs two numbers in `pooled_shape`".to_owned()),
                None => (scope.attribute("output_height", 1), scope.attribute("output_width", 1)),
            };
            let shape =
                vec![boxes, channels, Dim::Known(length(height, "height")?), Dim::Known(length(width, "width")?)];
            Ok(vec![Fact::new(scope.dtype(0), Some(shape))])
        }
        "Resize" => resize(scope),
        "GridSample" => {
            scope.want_rank(0, 3, usize::MAX)?;
            let (Some(x), Some(grid)) = (scope.shape(0), scope.shape(1)) else {
                return Ok(vec![Fact::new(scope.dtype(0), None)]);
            };
            if grid.len() != x.len() {
                return Err("needs a grid of the input's rank".to_owned());
            }
            let shape = [&x[..2], &grid[1..grid.len() - 1]].concat();
            Ok(vec![Fact::new(scope.dtype(0), Some(shape))])
        }
        _ => {
            // AffineGrid: theta [N, 2, 3] or [N, 3, 4], size [N, C, (D,) H, W].
            let shape = match scope.integers(1) {
                Some(size) if size.len() >= 3 => {
                    let mut shape = vec![Dim::Known(length(size[0], "size")?)];
                    for part in &size[2..] {
                        shape.push(Dim::Known(length(*part, "size")?));
                    }
                    shape.push(Dim::Known(size.len() as u64 - 2));
                    Some(shape)
                }
                _ => None,
            };
            Ok(vec![Fact::new(scope.dtype(0), shape)])
        }
    }
}

/// One spatial axis of a window that slides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spatial {
    pub(crate) kernel: u64,
    pub(crate) stride: u64,
    pub(crate) dilation: u64,
    pub(crate) pad_begin: u64,
    pub(crate) pad_end: u64,
}

/// How the padding of a sliding window is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AutoPad {
    Explicit,
    SameUpper,
    SameLower,
    Valid,
}

/// The window attributes of a convolution or a pool, checked.
#[derive(Clone, Debug)]
pub(crate) struct PoolGeometry {
    pub(crate) axes: Vec<Spatial>,
    pub(crate) auto_pad: AutoPad,
}

impl PoolGeometry {
    /// Reads kernel_shape (or takes it from the weight), strides, dilations, pads, auto_pad for `rank` spatial axes.
    pub(crate) fn read(node: &Node, rank: usize, weight: Option<&[Dim]>) -> Result<Option<Self>, String> {
        let list = |key: &str, default: i64, count: usize| -> Result<Vec<u64>, String> {
            let values = match node.integers(key) {
                Some(values) if !values.is_empty() => values.to_vec(),
                _ => vec![default; count],
            };
            if values.len() != count {
                return Err(format!("has {} numbers in `{key}` where its input needs {count}", values.len()));
            }
            values.into_iter().map(|value| length(value, key)).collect()
        };
        let from_weight: Option<Vec<u64>> = weight.and_then(|weight| weight.iter().map(|dim| dim.known()).collect());
        let kernel = match (node.integers("kernel_shape").filter(|shape| !shape.is_empty()), from_weight) {
            (Some(_), from_weight) => {
                let kernel = list("kernel_shape", 1, rank)?;
                if from_weight.as_ref().is_some_and(|weight| *weight != kernel) {
                    return Err(format!(
                        "has kernel_shape {kernel:?} and a weight of {:?}",
                        from_weight.unwrap_or_default()
                    ));
                }
                kernel
            }
            (None, Some(from_weight)) => from_weight,
            (None, None) => return Ok(None),
        };
        if kernel.len() != rank {
            return Err(format!("has a weight with {} spatial axes for an input with {rank}", kernel.len()));
        }
        let strides = list("strides", 1, rank)?;
        let dilations = list("dilations", 1, rank)?;
        let pads = list("pads", 0, rank * 2)?;
        let auto_pad = match node.text("auto_pad").unwrap_or("NOTSET") {
            "NOTSET" | "" => AutoPad::Explicit,
            "SAME_UPPER" => AutoPad::SameUpper,
            "SAME_LOWER" => AutoPad::SameLower,
            "VALID" => AutoPad::Valid,
            other => return Err(format!("has the unknown auto_pad `{}`", crate::text::clipped(other))),
        };
        for (key, values) in [("kernel_shape", &kernel), ("strides", &strides), ("dilations", &dilations)] {
            if values.contains(&0) {
                return Err(format!("has a 0 in `{key}`"));
            }
        }
        let explicit = auto_pad == AutoPad::Explicit;
        let axes = (0..rank)
            .map(|axis| Spatial {
                kernel: kernel[axis],
                stride: strides[axis],
                dilation: dilations[axis],
                pad_begin: if explicit { pads[axis] } else { 0 },
                pad_end: if explicit { pads[axis + rank] } else { 0 },
            })
            .collect();
        Ok(Some(PoolGeometry { axes, auto_pad }))
    }

    /// The same with explicit padding for an input of those lengths; none while a length that matters is unknown.
    pub(crate) fn resolved(&self, input: &[Dim]) -> Result<Option<Self>, String> {
        let mut axes = self.axes.clone();
        if matches!(self.auto_pad, AutoPad::SameUpper | AutoPad::SameLower) {
            for (axis, dim) in axes.iter_mut().zip(input) {
                let total = match dim.known() {
                    Some(size) => axis.same_padding(size)?,
                    // Steps of 1 need the same padding at every length.
                    None if axis.stride == 1 => axis.extent()? - 1,
                    None => return Ok(None),
                };
                let small = total / 2;
                (axis.pad_begin, axis.pad_end) =
                    if self.auto_pad == AutoPad::SameUpper { (small, total - small) } else { (total - small, small) };
            }
        }
        Ok(Some(PoolGeometry { axes, auto_pad: AutoPad::Explicit }))
    }

    /// Lengths of the result.
    fn output(&self, input: &[Dim], ceil: bool) -> Result<Vec<Dim>, String> {
        self.axes
            .iter()
            .zip(input)
            .map(|(axis, dim)| match (self.auto_pad, dim) {
                (AutoPad::SameUpper | AutoPad::SameLower, Dim::Known(size)) => {
                    Ok(Dim::Known(size.div_ceil(axis.stride)))
                }
                (AutoPad::SameUpper | AutoPad::SameLower, Dim::Symbol(_)) if axis.stride == 1 => Ok(*dim),
                (AutoPad::SameUpper | AutoPad::SameLower, _) => Ok(Dim::Unknown),
                (_, Dim::Known(size)) => axis.slide(*size, ceil).map(Dim::Known),
                (_, Dim::Symbol(_)) if axis.keeps_length() => Ok(*dim),
                _ => Ok(Dim::Unknown),
            })
            .collect()
    }
}

impl Spatial {
    fn extent(&self) -> Result<u64, String> {
        (self.kernel - 1)
            .checked_mul(self.dilation)
            .and_then(|extent| extent.checked_add(1))
            .ok_or_else(|| "has too large a kernel".to_owned())
    }

    fn same_padding(&self, size: u64) -> Result<u64, String> {
        let out = size.div_ceil(self.stride);
        let covered =
            out.saturating_sub(1).checked_mul(self.stride).and_then(|start| start.checked_add(self.extent().ok()?));
        Ok(covered.ok_or("has too large a kernel")?.saturating_sub(size))
    }

    fn keeps_length(&self) -> bool {
        let padding = self.pad_begin.checked_add(self.pad_end);
        self.stride == 1 && self.extent().is_ok_and(|extent| padding == Some(extent - 1))
    }

    fn slide(&self, size: u64, ceil: bool) -> Result<u64, String> {
        let extent = self.extent()?;
        let padded = size
            .checked_add(self.pad_begin)
            .and_then(|padded| padded.checked_add(self.pad_end))
            .ok_or("has too much padding")?;
        let room = padded
            .checked_sub(extent)
            .ok_or_else(|| format!("slides a window of {extent} over {padded} elements (padding counted)"))?;
        if !ceil {
            return Ok(room / self.stride + 1);
        }
        let out = room.div_ceil(self.stride) + 1;
        // A window that would start in the padding behind the input is left out.
        let starts_outside = (out - 1).checked_mul(self.stride).is_none_or(|start| start >= size + self.pad_begin);
        Ok(if starts_outside && out > 1 { out - 1 } else { out })
    }
}

fn conv(scope: &Scope<'_>, weight: usize, dtype: Option<DType>) -> Facts {
    scope.want_rank(0, 3, usize::MAX)?;
    let (Some(x), Some(w)) = (scope.shape(0), scope.shape(weight)) else {
        return Ok(vec![Fact::new(dtype, None)]);
    };
    if x.len() != w.len() {
        return Err(format!("has an input of rank {} and a weight of rank {}", x.len(), w.len()));
    }
    let group = length(scope.attribute("group", 1), "group")?;
    check_groups(x[1], w[1], w[0], group)?;
    let bias = if scope.node.op == "Conv" { 2 } else { usize::MAX };
    if let (Some([Dim::Known(bias)]), Dim::Known(channels)) = (scope.shape(bias).filter(|_| scope.has(bias)), w[0])
        && *bias != channels
    {
        return Err(format!("has a bias of {bias} elements for {channels} output channels"));
    }
    let mut shape = vec![x[0], w[0]];
    match PoolGeometry::read(scope.node, x.len() - 2, Some(&w[2..]))? {
        Some(geometry) => shape.extend(geometry.output(&x[2..], false)?),
        None => shape.resize(x.len(), Dim::Unknown),
    }
    Ok(vec![Fact::new(dtype, Some(shape))])
}

fn check_groups(channels: Dim, per_group: Dim, filters: Dim, group: u64) -> Result<(), String> {
    if group == 0 {
        return Err("has 0 groups".to_owned());
    }
    if let Dim::Known(per_group) = per_group {
        let needed = per_group.checked_mul(group).ok_or("has too many groups")?;
        unify(channels, Dim::Known(needed)).map_err(|(have, need)| {
            format!("has {have} input channels where its weight and {group} groups need {need}")
        })?;
    }
    match filters {
        Dim::Known(filters) if filters % group != 0 => Err(format!("has {filters} output channels for {group} groups")),
        _ => Ok(()),
    }
}

fn conv_transpose(scope: &Scope<'_>) -> Facts {
    scope.same_dtype(0, 1)?;
    scope.want_rank(0, 3, usize::MAX)?;
    let dtype = scope.dtype(0);
    let (Some(x), Some(w)) = (scope.shape(0), scope.shape(1)) else {
        return Ok(vec![Fact::new(dtype, None)]);
    };
    if x.len() != w.len() {
        return Err(format!("has an input of rank {} and a weight of rank {}", x.len(), w.len()));
    }
    unify(x[1], w[0]).map_err(|(have, need)| format!("has {have} input channels where its weight needs {need}"))?;
    let group = length(scope.attribute("group", 1), "group")?;
    if group == 0 {
        return Err("has 0 groups".to_owned());
    }
    if let Dim::Known(channels) = w[0]
        && channels % group != 0
    {
        return Err(format!("has {channels} input channels for {group} groups"));
    }
    let filters = match w[1] {
        Dim::Known(filters) => Dim::Known(filters.checked_mul(group).ok_or("has too many output channels")?),
        _ => Dim::Unknown,
    };
    let rank = x.len() - 2;
    let mut shape = vec![x[0], filters];
    if let Some(output) = scope.node.integers("output_shape").filter(|output| !output.is_empty()) {
        // Some exporters give batch and channels as well.
        let spatial =
            output.len().checked_sub(rank).map(|skip| &output[skip..]).ok_or("has too short an `output_shape`")?;
        for size in spatial {
            shape.push(Dim::Known(length(*size, "output_shape")?));
        }
        return Ok(vec![Fact::new(dtype, Some(shape))]);
    }
    let extra = scope.node.integers("output_padding").filter(|extra| !extra.is_empty());
    match PoolGeometry::read(scope.node, rank, Some(&w[2..]))? {
        None => shape.resize(x.len(), Dim::Unknown),
        Some(geometry) => {
            for (axis, window) in geometry.axes.iter().enumerate() {
                let extra = match extra {
                    None => 0,
                    Some(extra) if extra.len() == rank => length(extra[axis], "output_padding")?,
                    Some(_) => return Err("has an `output_padding` of the wrong length".to_owned()),
                };
                shape.push(match (geometry.auto_pad, x[axis + 2]) {
                    (AutoPad::SameUpper | AutoPad::SameLower, Dim::Known(size)) => {
                        Dim::Known(size.checked_mul(window.stride).ok_or("has too long a result")?)
                    }
                    (_, Dim::Known(size)) => Dim::Known(window.unslide(size, extra)?),
                    _ => Dim::Unknown,
                });
            }
        }
    }
    Ok(vec![Fact::new(dtype, Some(shape))])
}

impl Spatial {
    /// Length of the result of a transposed convolution without its padding taken off.
    fn full(&self, size: u64, extra: u64) -> Result<u64, String> {
        self.stride
            .checked_mul(size.saturating_sub(1))
            .and_then(|full| full.checked_add(self.extent().ok()?))
            .and_then(|full| full.checked_add(extra))
            .ok_or_else(|| "has too long a result".to_owned())
    }

    pub(super) fn unslide(&self, size: u64, extra: u64) -> Result<u64, String> {
        let cut = self.pad_begin.checked_add(self.pad_end).ok_or("has too much padding")?;
        self.full(size, extra)?.checked_sub(cut).ok_or_else(|| "has more padding than result".to_owned())
    }
}

/// The explicit padding of a transposed convolution that asks for an output shape or for automatic padding: begins, then ends.
pub(crate) fn transpose_pads(
    node: &Node,
    input: &[u64],
    output: &[u64],
    weight: &[Dim],
) -> Result<Option<Vec<i64>>, String> {
    let Some(geometry) = PoolGeometry::read(node, input.len(), Some(weight))? else { return Ok(None) };
    let extra = node.integers("output_padding").unwrap_or_default();
    let upper = geometry.auto_pad == AutoPad::SameUpper;
    let (mut begins, mut ends) = (vec![], vec![]);
    for (axis, window) in geometry.axes.iter().enumerate() {
        let extra = length(extra.get(axis).copied().unwrap_or(0), "output_padding")?;
        let length = |length: u64| i64::try_from(length).map_err(|_| "has too much padding");
        // Less than nothing where the result is larger than what the input gives: zeros at its end.
        let total = length(window.full(input[axis], extra)?)?.saturating_sub(length(output[axis])?);
        let small = total.div_euclid(2);
        let (begin, end) = if upper { (small, total - small) } else { (total - small, small) };
        begins.push(begin);
        ends.push(end);
    }
    begins.extend(ends);
    Ok(Some(begins))
}

fn pool(scope: &Scope<'_>) -> Facts {
    scope.want_rank(0, 3, usize::MAX)?;
    let shape = match scope.shape(0) {
        None => None,
        Some(x) => {
            let geometry = PoolGeometry::read(scope.node, x.len() - 2, None)?.ok_or("has no kernel_shape")?;
            let mut shape = x[..2].to_vec();
            shape.extend(geometry.output(&x[2..], scope.attribute("ceil_mode", 0) != 0)?);
            Some(shape)
        }
    };
    Ok(vec![Fact::new(scope.dtype(0), shape.clone()), Fact::new(Some(DType::I64), shape)])
}

fn resize(scope: &Scope<'_>) -> Facts {
    let Some(x) = scope.shape(0) else { return Ok(vec![Fact::new(scope.dtype(0), None)]) };
    let axes: Vec<usize> = match scope.node.integers("axes") {
        Some(axes) => axes.iter().map(|axis| axis_index(*axis, x.len())).collect::<Result<_, _>>()?,
        None => (0..x.len()).collect(),
    };
    let given = |index: usize| scope.has(index) && scope.shape(index) != Some(&[Dim::Known(0)]);
    let count_fits = |count: usize, what: &str| {
        if count == axes.len() { Ok(()) } else { Err(format!("has {count} {what} for {} axes", axes.len())) }
    };
    let mut shape = x.to_vec();
    if given(3) {
        match scope.elems(3) {
            Some(sizes) => {
                count_fits(sizes.len(), "sizes")?;
                for (axis, size) in axes.iter().zip(sizes) {
                    shape[*axis] = super::numbers::as_dim(*size)?;
                }
                keep_ratio(scope, x, &axes, &mut shape)?;
            }
            None => axes.iter().for_each(|axis| shape[*axis] = Dim::Unknown),
        }
    } else if given(2) {
        match scope.elems(2) {
            Some(scales) => {
                count_fits(scales.len(), "scales")?;
                for (axis, scale) in axes.iter().zip(scales) {
                    shape[*axis] = match (*scale, x[*axis]) {
                        (super::Elem::Float(scale), dim) => scaled(dim, scale)?,
                        _ => Dim::Unknown,
                    };
                }
            }
            None => axes.iter().for_each(|axis| shape[*axis] = Dim::Unknown),
        }
    } else {
        return Err("has neither scales nor sizes".to_owned());
    }
    Ok(vec![Fact::new(scope.dtype(0), Some(shape))])
}

fn scaled(dim: Dim, scale: f64) -> Result<Dim, String> {
    if !scale.is_finite() || scale <= 0.0 {
        return Err(format!("has the scale {scale}"));
    }
    match dim {
        _ if scale == 1.0 => Ok(dim),
        Dim::Known(size) => {
            // Scales are f32; the product is taken in f32 as well, as the specification's own model does.
            let size = (size as f32 * scale as f32).floor();
            if size > super::AXIS_MAX as f32 {
                return Err(format!("would make an axis of length {size}"));
            }
            Ok(Dim::Known(size as u64))
        }
        _ => Ok(Dim::Unknown),
    }
}

/// keep_aspect_ratio_policy: one scale for all axes.
fn keep_ratio(scope: &Scope<'_>, x: &[Dim], axes: &[usize], shape: &mut [Dim]) -> Result<(), String> {
    let larger = match scope.node.text("keep_aspect_ratio_policy") {
        None | Some("stretch") => return Ok(()),
        Some("not_larger") => false,
        Some("not_smaller") => true,
        Some(other) => {
            return Err(format!("has the unknown keep_aspect_ratio_policy `{}`", crate::text::clipped(other)));
        }
    };
    let ratios: Option<Vec<f64>> = axes
        .iter()
        .map(|axis| match (shape[*axis], x[*axis]) {
            (Dim::Known(to), Dim::Known(from)) if from > 0 => Some(to as f64 / from as f64),
            _ => None,
        })
        .collect();
    let ratio = ratios.and_then(|ratios| ratios.into_iter().reduce(|a, b| if larger { a.max(b) } else { a.min(b) }));
    for axis in axes {
        shape[*axis] = match (ratio, x[*axis]) {
            (Some(ratio), Dim::Known(from)) => Dim::Known((from as f64 * ratio + 0.5).floor() as u64),
            _ => Dim::Unknown,
        };
    }
    Ok(())
}
