//! Convenience operators, said in the core's words as the ONNX specification does.

use super::node_facts::{float, known, through};
use crate::edit::{Editor, Rewrite, Rule, Sketch};
use crate::tensor::Tensor;
use crate::{Attribute, DType, Node, ValueId};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "cast-like-to-cast", ops: &["CastLike"], apply: cast_like },
    Rule { name: "constant-of-shape-to-expand", ops: &["ConstantOfShape"], apply: constant_of_shape },
    Rule { name: "prelu-to-where", ops: &["PRelu"], apply: prelu },
    Rule {
        name: "activation-to-core",
        ops: &["Selu", "Celu", "ThresholdedRelu", "Softsign", "Mish", "Shrink"],
        apply: activation,
    },
    Rule {
        name: "reduce-to-core",
        ops: &["ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"],
        apply: reduce,
    },
    Rule { name: "instance-to-group-normalization", ops: &["InstanceNormalization"], apply: instance_normalization },
    Rule { name: "mean-variance-normalization-to-core", ops: &["MeanVarianceNormalization"], apply: mean_variance },
    Rule { name: "depth-to-space-to-transpose", ops: &["DepthToSpace", "SpaceToDepth"], apply: depth_space },
    Rule { name: "one-hot-to-equal", ops: &["OneHot"], apply: one_hot },
    Rule { name: "hardmax-to-equal", ops: &["Hardmax"], apply: hardmax },
    Rule { name: "eye-like-to-constant", ops: &["EyeLike"], apply: eye_like },
    Rule { name: "gated-swish-to-core", ops: &["SwiGLU"], apply: gated_swish },
    Rule { name: "center-crop-pad-to-slice-and-pad", ops: &["CenterCropPad"], apply: center_crop_pad },
    Rule { name: "dropout-to-identity", ops: &["Dropout"], apply: dropout },
];

/// Largest constant that a rule here writes out, elements.
const WRITTEN_MAX: u64 = 1 << 20;

fn integer(value: i64) -> Attribute {
    Attribute::Integer(value)
}

fn cast_like(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some(dtype) = node.output(0).and_then(|output| editor.dtype(output)) else { return Ok(None) };
    let Some((input, _)) = through(node) else { return Ok(None) };
    let Some(sketch) = Sketch::new(editor, node) else { return Ok(None) };
    sketch.finish(
        "Cast",
        &[input],
        &[
            ("to", integer(dtype.code().into())),
            ("saturate", integer(node.integer("saturate").unwrap_or(1))),
            ("round_mode", Attribute::Text(node.text("round_mode").unwrap_or("up").to_owned())),
        ],
    )
}

fn constant_of_shape(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((shape, output)) = through(node) else { return Ok(None) };
    let value = match node.attributes.get("value") {
        Some(Attribute::Value(id)) => {
            let id = *id;
            if editor.concrete(id).is_none_or(|shape| shape.iter().any(|length| *length != 1)) {
                return Ok(None);
            }
            editor.reshaped_constant(id, &[])
        }
        _ => editor.constant(Tensor::from_f32(vec![], &[0.0]), output),
    };
    let Some(sketch) = Sketch::new(editor, node) else { return Ok(None) };
    sketch.finish("Expand", &[value, shape], &[])
}

fn prelu(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(input), Some(slope)) = (node.input(0), node.input(1)) else { return Ok(None) };
    let Some(dtype) = float(editor, input) else { return Ok(None) };
    if let Some(alpha) = editor.scalar(slope)? {
        let Some(sketch) = Sketch::new(editor, node) else { return Ok(None) };
        return sketch.finish("LeakyRelu", &[input], &[("alpha", Attribute::Number(alpha))]);
    }
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let Some(zero) = sketch.scalar(dtype, 0.0) else { return Ok(None) };
    let negative = sketch.op("Less", &[input, zero], &[]);
    let scaled = sketch.op("Mul", &[input, slope], &[]);
    sketch.finish("Where", &[negative, scaled, input], &[])
}

fn activation(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((x, _)) = through(node) else { return Ok(None) };
    let Some(dtype) = float(editor, x) else { return Ok(None) };
    let number = |key: &str, default: f64| node.number(key).unwrap_or(default);
    let alpha = |value: f64| [("alpha", Attribute::Number(value))];
    let op = node.op.clone();
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let constants = [
        ("gamma", number("gamma", 1.0)),
        ("alpha", number("alpha", 1.0)),
        ("lambd", number("lambd", 0.5)),
        ("-lambd", -number("lambd", 0.5)),
        ("bias", number("bias", 0.0)),
        ("0", 0.0),
        ("1", 1.0),
    ];
    let mut made = std::collections::BTreeMap::new();
    for (key, value) in constants {
        let Some(id) = sketch.scalar(dtype, value) else { return Ok(None) };
        made.insert(key, id);
    }
    let constant = |key: &str| made[key];
    match op.as_str() {
        "Selu" => {
            let elu = sketch.op("Elu", &[x], &alpha(number("alpha", 1.0)));
            sketch.finish("Mul", &[elu, constant("gamma")], &[])
        }
        "Celu" => {
            let inner = sketch.op("Div", &[x, constant("alpha")], &[]);
            let elu = sketch.op("Elu", &[inner], &alpha(1.0));
            sketch.finish("Mul", &[elu, constant("alpha")], &[])
        }
        "ThresholdedRelu" => {
            let above = sketch.op("Greater", &[x, constant("alpha")], &[]);
            sketch.finish("Where", &[above, x, constant("0")], &[])
        }
        "Softsign" => {
            let size = sketch.op("Abs", &[x], &[]);
            let below = sketch.op("Add", &[size, constant("1")], &[]);
            sketch.finish("Div", &[x, below], &[])
        }
        "Mish" => {
            let soft = sketch.op("Softplus", &[x], &[]);
            let tanh = sketch.op("Tanh", &[soft], &[]);
            sketch.finish("Mul", &[x, tanh], &[])
        }
        _ => {
            let above = sketch.op("Greater", &[x, constant("lambd")], &[]);
            let below = sketch.op("Less", &[x, constant("-lambd")], &[]);
            let down = sketch.op("Sub", &[x, constant("bias")], &[]);
            let up = sketch.op("Add", &[x, constant("bias")], &[]);
            let positive = sketch.op("Where", &[above, down, constant("0")], &[]);
            sketch.finish("Where", &[below, up, positive], &[])
        }
    }
}

fn reduce(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((x, output)) = through(node) else { return Ok(None) };
    if float(editor, x).is_none() {
        // Integer sums of squares are exact either way.
        if !matches!(node.op.as_str(), "ReduceL1" | "ReduceSumSquare") || editor.dtype(x).is_none() {
            return Ok(None);
        }
    }
    let noop = node.integer("noop_with_empty_axes").unwrap_or(0);
    let keep = node.integer("keepdims").unwrap_or(1);
    let flags = |keep: i64| [("keepdims", integer(keep)), ("noop_with_empty_axes", integer(noop))];
    let axes = node.input(1);
    let op = node.op.clone();
    let final_shape = editor.concrete(output);
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let with_axes = |x: ValueId| -> Vec<ValueId> { [Some(x), axes].into_iter().flatten().collect() };
    match op.as_str() {
        "ReduceL1" => {
            let size = sketch.op("Abs", &[x], &[]);
            sketch.finish("ReduceSum", &with_axes(size), &flags(keep))
        }
        "ReduceSumSquare" => {
            let square = sketch.op("Mul", &[x, x], &[]);
            sketch.finish("ReduceSum", &with_axes(square), &flags(keep))
        }
        "ReduceL2" => {
            let square = sketch.op("Mul", &[x, x], &[]);
            let sum = sketch.op("ReduceSum", &with_axes(square), &flags(keep));
            sketch.finish("Sqrt", &[sum], &[])
        }
        "ReduceLogSum" => {
            let sum = sketch.op("ReduceSum", &with_axes(x), &flags(keep));
            sketch.finish("Log", &[sum], &[])
        }
        _ => {
            // Around the largest element, so that nothing overflows. Without kept axes the last step gives them up.
            if keep == 0 && final_shape.is_none() {
                return Ok(None);
            }
            let largest = sketch.op("ReduceMax", &with_axes(x), &flags(1));
            let distance = sketch.op("Sub", &[x, largest], &[]);
            let power = sketch.op("Exp", &[distance], &[]);
            let sum = sketch.op("ReduceSum", &with_axes(power), &flags(1));
            let log = sketch.op("Log", &[sum], &[]);
            match final_shape.filter(|_| keep == 0) {
                None => sketch.finish("Add", &[log, largest], &[]),
                Some(shape) => {
                    let kept = sketch.op("Add", &[log, largest], &[]);
                    let lengths: Vec<i64> = shape.iter().map(|length| *length as i64).collect();
                    let target = sketch.vector(&lengths);
                    sketch.finish("Reshape", &[kept, target], &[("allowzero", integer(1))])
                }
            }
        }
    }
}

/// One group for each channel.
fn instance_normalization(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(x), Some(scale), Some(shift)) = (node.input(0), node.input(1), node.input(2)) else { return Ok(None) };
    let Some(channels) = editor.shape(x).and_then(|shape| shape.get(1)?.known()) else { return Ok(None) };
    let epsilon = Attribute::Number(node.number("epsilon").unwrap_or(1e-5));
    let Some(sketch) = Sketch::new(editor, node) else { return Ok(None) };
    sketch.finish(
        "GroupNormalization",
        &[x, scale, shift],
        &[("num_groups", integer(channels as i64)), ("epsilon", epsilon)],
    )
}

fn mean_variance(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((x, _)) = through(node) else { return Ok(None) };
    let Some(dtype) = float(editor, x) else { return Ok(None) };
    let axes = node.integers("axes").unwrap_or(&[0, 2, 3]).to_vec();
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let axes = sketch.vector(&axes);
    let Some(epsilon) = sketch.scalar(dtype, 1e-9) else { return Ok(None) };
    let mean = sketch.op("ReduceMean", &[x, axes], &[]);
    let distance = sketch.op("Sub", &[x, mean], &[]);
    let square = sketch.op("Mul", &[distance, distance], &[]);
    let variance = sketch.op("ReduceMean", &[square, axes], &[]);
    let deviation = sketch.op("Sqrt", &[variance], &[]);
    let below = sketch.op("Add", &[deviation, epsilon], &[]);
    sketch.finish("Div", &[distance, below], &[])
}

fn depth_space(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((x, output)) = through(node) else { return Ok(None) };
    let Some(shape) = editor.shape(x).and_then(known) else { return Ok(None) };
    let (&[n, c, h, w], Some(to)) = (shape.as_slice(), editor.concrete(output)) else { return Ok(None) };
    let block = node.integer("blocksize").unwrap_or(1).max(1);
    let (n, c, h, w) = (n as i64, c as i64, h as i64, w as i64);
    let (split, perm): ([i64; 6], [i64; 6]) = match (node.op.as_str(), node.text("mode")) {
        ("SpaceToDepth", Some("CRD")) => ([n, c, h / block, block, w / block, block], [0, 1, 3, 5, 2, 4]),
        ("SpaceToDepth", _) => ([n, c, h / block, block, w / block, block], [0, 3, 5, 1, 2, 4]),
        (_, Some("CRD")) => ([n, c / (block * block), block, block, h, w], [0, 1, 4, 2, 5, 3]),
        _ => ([n, block, block, c / (block * block), h, w], [0, 3, 4, 1, 5, 2]),
    };
    let last: Vec<i64> = to.iter().map(|length| *length as i64).collect();
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let (split, last) = (sketch.vector(&split), sketch.vector(&last));
    let wide = sketch.op("Reshape", &[x, split], &[("allowzero", integer(1))]);
    let moved = sketch.op("Transpose", &[wide], &[("perm", Attribute::Integers(perm.to_vec()))]);
    sketch.finish("Reshape", &[moved, last], &[("allowzero", integer(1))])
}

fn one_hot(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(indices), Some(depth), Some(values), Some(output)) =
        (node.input(0), node.input(1), node.input(2), node.output(0))
    else {
        return Ok(None);
    };
    let (Some(rank), true) = (editor.shape(output).map(<[_]>::len), editor.value(depth).is_constant()) else {
        return Ok(None);
    };
    let Some(depth) = editor
        .single_number(depth)?
        .filter(|depth| *depth >= 1.0 && *depth <= WRITTEN_MAX as f64 && editor.affords(WRITTEN_MAX))
    else {
        return Ok(None);
    };
    let axis = node.integer("axis").unwrap_or(-1);
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    let Some(place) = usize::try_from(axis).ok().filter(|axis| *axis < rank) else { return Ok(None) };
    let mut classes_shape = vec![1; rank];
    classes_shape[place] = depth as u64;
    let classes: Vec<i64> = (0..depth as i64).collect();
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let classes = sketch.editor.constant(Tensor::from_i64(classes_shape, &classes), output);
    let depth = sketch.editor.constant(Tensor::from_i64(vec![], &[depth as i64]), output);
    let (zero, one) = (sketch.vector(&[0]), sketch.vector(&[1]));
    let whole = sketch.op("Cast", &[indices], &[("to", integer(DType::I64.code().into()))]);
    // Negative indices count from the end.
    let negative = sketch.op("Less", &[whole, zero], &[]);
    let wrapped = sketch.op("Add", &[whole, depth], &[]);
    let index = sketch.op("Where", &[negative, wrapped, whole], &[]);
    let axes = sketch.vector(&[axis]);
    let column = sketch.op("Unsqueeze", &[index, axes], &[]);
    let hit = sketch.op("Equal", &[column, classes], &[]);
    let off = sketch.op("Gather", &[values, zero], &[]);
    let on = sketch.op("Gather", &[values, one], &[]);
    sketch.finish("Where", &[hit, on, off], &[])
}

fn hardmax(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((x, output)) = through(node) else { return Ok(None) };
    let (Some(dtype), Some(shape)) = (float(editor, x), editor.shape(x)) else { return Ok(None) };
    let rank = shape.len();
    let axis = node.integer("axis").unwrap_or(-1);
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    let Some(place) = usize::try_from(axis).ok().filter(|axis| *axis < rank) else { return Ok(None) };
    let Some(length) = shape[place].known().filter(|length| *length <= WRITTEN_MAX && editor.affords(WRITTEN_MAX))
    else {
        return Ok(None);
    };
    let mut places_shape = vec![1; rank];
    places_shape[place] = length;
    let places: Vec<i64> = (0..length as i64).collect();
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let places = sketch.editor.constant(Tensor::from_i64(places_shape, &places), output);
    let largest = sketch.op("ArgMax", &[x], &[("axis", integer(axis)), ("keepdims", integer(1))]);
    let hit = sketch.op("Equal", &[largest, places], &[]);
    sketch.finish("Cast", &[hit], &[("to", integer(dtype.code().into()))])
}

fn eye_like(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some(output) = node.output(0) else { return Ok(None) };
    let (Some(dtype), Some(shape)) = (editor.dtype(output), editor.concrete(output)) else { return Ok(None) };
    let &[rows, columns] = shape.as_slice() else { return Ok(None) };
    if rows.checked_mul(columns).is_none_or(|count| count > WRITTEN_MAX || !editor.affords(count)) {
        return Ok(None);
    }
    let k = i128::from(node.integer("k").unwrap_or(0));
    let elements: Vec<f64> = (0..rows)
        .flat_map(|row| {
            (0..columns).map(move |column| if i128::from(column) - i128::from(row) == k { 1.0 } else { 0.0 })
        })
        .collect();
    let Some(tensor) = Tensor::from_numbers(dtype, shape, &elements) else { return Ok(None) };
    let eye = editor.constant(tensor, output);
    if editor.replace(output, eye) {
        return Ok(Some(vec![]));
    }
    let Some(sketch) = Sketch::new(editor, node) else { return Ok(None) };
    sketch.finish("Identity", &[eye], &[])
}

fn gated_swish(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let (Some(gate), Some(linear)) = (node.input(0), node.input(1)) else { return Ok(None) };
    let alpha = Attribute::Number(node.number("alpha").unwrap_or(1.0));
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let swish = sketch.op("Swish", &[gate], &[("alpha", alpha)]);
    sketch.finish("Mul", &[swish, linear], &[])
}

/// Axes that are too long lose elements at both ends, those that are too short get zeros; of an odd number the end has one more.
fn center_crop_pad(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((x, output)) = through(node) else { return Ok(None) };
    let (Some(from), Some(to)) = (editor.concrete(x), editor.concrete(output)) else { return Ok(None) };
    let signed = |shape: &[u64]| shape.iter().map(|length| i64::try_from(*length)).collect::<Result<Vec<_>, _>>();
    let (Ok(from), Ok(to)) = (signed(&from), signed(&to)) else { return Ok(None) };
    let axes: Vec<i64> = (0..from.len() as i64).collect();
    let surplus: Vec<i64> = from.iter().zip(&to).map(|(from, to)| (from - to).max(0)).collect();
    let lack: Vec<i64> = from.iter().zip(&to).map(|(from, to)| (to - from).max(0)).collect();
    let starts: Vec<i64> = surplus.iter().map(|surplus| surplus / 2).collect();
    let ends: Vec<i64> =
        starts.iter().zip(from.iter().zip(&to)).map(|(start, (from, to))| start + from.min(to)).collect();
    let mut pads: Vec<i64> = lack.iter().map(|lack| lack / 2).collect();
    pads.extend(lack.iter().map(|lack| lack - lack / 2));
    let Some(mut sketch) = Sketch::new(editor, node) else { return Ok(None) };
    let (starts, ends, axes) = (sketch.vector(&starts), sketch.vector(&ends), sketch.vector(&axes));
    let pads = sketch.vector(&pads);
    let middle = sketch.op("Slice", &[x, starts, ends, axes], &[]);
    sketch.finish("Pad", &[middle, pads], &[("mode", Attribute::Text("constant".to_owned()))])
}

/// Outside of training, and with a ratio of 0, everything is kept, and a mask says so.
fn dropout(editor: &mut Editor<'_>, node: &Node) -> Rewrite {
    let Some((x, output)) = through(node) else { return Ok(None) };
    let training = match node.input(2) {
        None => false,
        Some(training) => editor.integers(training)?.is_none_or(|flag| flag != [0]),
    };
    let keeps_all = match node.input(1) {
        Some(ratio) if training => editor.scalar(ratio)? == Some(0.0),
        _ => !training,
    };
    if !keeps_all {
        return Ok(None);
    }
    let mut made = vec![editor.node(node, "Identity", &[Some(x)], &[Some(output)], &[])];
    if let Some(mask) = node.output(1) {
        let Some(shape) = editor.concrete(x) else { return Ok(None) };
        let lengths: Vec<i64> = shape.iter().map(|length| *length as i64).collect();
        let shape = editor.constant(Tensor::vector(&lengths), output);
        let kept = Tensor::from_numbers(DType::Bool, vec![], &[1.0]).expect("booleans are plain");
        let kept = editor.constant(kept, output);
        made.push(editor.node(node, "Expand", &[Some(kept), Some(shape)], &[Some(mask)], &[]));
    }
    Ok(Some(made))
}
