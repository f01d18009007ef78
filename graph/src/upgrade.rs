//! Brings nodes of older opsets to the frozen revision of their operator.
//!
//! Attributes that became inputs turn into constants; Constant nodes turn into constant values; what an older revision meant otherwise is
//! spelled out in today's operators. Types and ranks are inferred along the way as far as they follow, because some
//! upgrades depend on them.

use crate::edit::fresh_name;
use crate::infer::Inference;
use crate::schema;
use crate::tensor::{Tensor, from_attribute};
use crate::text::clipped;
use crate::validate::{GraphErrors, complete, problem};
use crate::{Attribute, DType, Dim, Graph, Node, Value, ValueId};

/// Channels that an upgrade writes indices for.
const CHANNELS_MAX: u64 = 1 << 20;

/// What cannot be upgraded, and what to do about it.
type Refusal = (String, &'static str);

/// Upgrades every node. They must be sorted, and their operators known.
pub(crate) fn upgrade(graph: &mut Graph, errors: &mut GraphErrors) {
    let mut inference = Inference::new();
    let raw = std::mem::take(&mut graph.nodes);
    graph.nodes.reserve(raw.len());
    for node in raw {
        let original = node.clone_head();
        let mut step = Step { values: &mut graph.values };
        let nodes = match step.node(node) {
            Ok(nodes) => nodes,
            Err((what, remedy)) => {
                errors.push(problem(&original, what, remedy));
                continue;
            }
        };
        for mut node in nodes {
            let schema = schema::find(&node.op).expect("upgrades give operators of the tables");
            if let Err(problem) = complete(&mut node, schema) {
                errors.push(problem);
                continue;
            }
            // Contradictions are reported by `infer`, which knows all constants.
            let _ = inference.node(&mut graph.values, &graph.symbols, &node);
            graph.nodes.push(node);
        }
    }
}

struct Step<'a> {
    values: &'a mut Vec<Value>,
}

impl Step<'_> {
    fn node(&mut self, mut node: Node) -> Result<Vec<Node>, Refusal> {
        let (_, revision) =
            schema::lookup(&node.op, node.revision).map_err(|error| (error.to_string(), "export the model anew"))?;
        // A remnant of opset 1.
        node.attributes.remove("consumed_inputs");
        match node.op.as_str() {
            "Constant" => return self.constant(node).map(|()| vec![]),
            "Scan" if revision < 9 => self.batch_scan(&mut node),
            "Loop" => self.loop_bounds(&mut node),
            "Softmax" | "LogSoftmax" | "Hardmax" if revision < 13 => return self.softmax(node),
            "Dropout" if revision < 10 && node.output(1).is_some() => return self.dropout(node, revision),
            "GroupNormalization" if revision < 21 => return self.group_normalization(node),
            _ => {}
        }
        self.in_place(&mut node, revision)?;
        for (key, index) in schema::tensor_attributes(&node.op) {
            tensor_to_input(&mut node, key, *index)?;
        }
        Ok(vec![node])
    }

    fn in_place(&mut self, node: &mut Node, revision: u16) -> Result<(), Refusal> {
        match node.op.as_str() {
            "Clip" if revision < 11 => {
                self.bound(node, "min", 1)?;
                self.bound(node, "max", 2)?;
            }
            "Squeeze" | "Unsqueeze" if revision < 13 => self.list_to_input(node, "axes", 1)?,
            "ReduceSum" if revision < 13 => self.axes_to_input(node)?,
            op if op.starts_with("Reduce") && op != "ReduceSum" && revision < 18 => self.axes_to_input(node)?,
            "Slice" if revision < 10 => {
                self.list_to_input(node, "starts", 1)?;
                self.list_to_input(node, "ends", 2)?;
                self.list_to_input(node, "axes", 3)?;
            }
            "Pad" if revision < 11 => {
                self.list_to_input(node, "pads", 1)?;
                match node.attributes.remove("value") {
                    None => {}
                    Some(Attribute::Number(0.0)) => {}
                    Some(Attribute::Number(value)) => self.scalar_to_input(node, value, 2)?,
                    Some(_) => return Err(wrong_type("value")),
                }
            }
            "Split" => {
                if revision < 13 {
                    self.list_to_input(node, "split", 1)?;
                }
                if node.input(1).is_none() && !node.attributes.contains_key("num_outputs") {
                    node.attributes.insert("num_outputs".to_owned(), Attribute::Integer(node.outputs.len() as i64));
                }
            }
            "TopK" if revision < 10 => match node.attributes.remove("k") {
                Some(Attribute::Integer(k)) => self.set_input(node, 1, Tensor::vector(&[k])),
                _ => return Err(wrong_type("k")),
            },
            "Dropout" => {
                for gone in ["ratio", "is_test"] {
                    if revision < 12 {
                        node.attributes.remove(gone);
                    }
                }
            }
            "BatchNormalization" => {
                if matches!(node.attributes.remove("spatial"), Some(Attribute::Integer(0))) {
                    return Err((
                        "normalises every place by itself (spatial=0)".to_owned(),
                        "export the model with opset 9 or later",
                    ));
                }
                if revision < 14 {
                    // Statistics for training; nobody reads them in inference, and who does finds no producer.
                    node.outputs.truncate(1);
                }
            }
            "Upsample" => {
                if revision < 9 {
                    match node.attributes.remove("scales") {
                        Some(Attribute::Numbers(scales)) => {
                            let scales: Vec<f32> = scales.iter().map(|scale| *scale as f32).collect();
                            self.set_input(node, 1, Tensor::from_f32(vec![scales.len() as u64], &scales));
                        }
                        _ => return Err(wrong_type("scales")),
                    }
                }
                node.op = "Resize".to_owned();
                asymmetric(node);
            }
            "Resize" => {
                if revision < 11 {
                    asymmetric(node);
                }
                // An empty roi, scales or sizes means none.
                for index in 1..node.inputs.len() {
                    if let Some(id) = node.inputs[index]
                        && self.values[id.index()].shape.as_deref() == Some(&[Dim::Known(0)])
                    {
                        node.inputs[index] = None;
                    }
                }
            }
            "Scatter" => node.op = "ScatterElements".to_owned(),
            "GridSample" => {
                let renamed = match node.text("mode") {
                    Some("bilinear") => Some("linear"),
                    Some("bicubic") => Some("cubic"),
                    _ => None,
                };
                if let Some(mode) = renamed {
                    node.attributes.insert("mode".to_owned(), Attribute::Text(mode.to_owned()));
                }
            }
            "RoiAlign" if revision < 16 => {
                let mode = Attribute::Text("output_half_pixel".to_owned());
                node.attributes.insert("coordinate_transformation_mode".to_owned(), mode);
            }
            "DFT" if revision < 20 => {
                let axis = match node.attributes.remove("axis") {
                    None => 1,
                    Some(Attribute::Integer(axis)) => axis,
                    Some(_) => return Err(wrong_type("axis")),
                };
                self.set_input(node, 2, Tensor::from_i64(vec![], &[axis]));
            }
            "Optional" => {
                // Inference finds the type; an empty optional needs none.
                node.attributes.remove("type");
            }
            "ai.onnx.ml.LabelEncoder" if revision < 2 => self.classes_to_keys(node)?,
            "ai.onnx.ml.TreeEnsemble" => {
                // How often each node was visited, for a compiler of trees.
                node.attributes.remove("nodes_hitrates");
            }
            "LSTM" | "GRU" | "RNN" => {
                node.attributes.remove("output_sequence");
            }
            _ => {}
        }
        Ok(())
    }

    /// Scan of opset 8 had a batch axis and a length for each of its rows; an empty list of lengths is none.
    fn batch_scan(&mut self, node: &mut Node) {
        node.op = "sunmao.BatchScan".to_owned();
        if let Some(directions) = node.attributes.remove("directions") {
            node.attributes.insert("scan_input_directions".to_owned(), directions);
        }
        if node.input(0).is_none() {
            self.set_input(node, 0, Tensor::vector(&[]));
        }
    }

    /// A loop without a trip count runs as long as its condition holds; without a condition that is true from the start.
    fn loop_bounds(&mut self, node: &mut Node) {
        while node.own_inputs() < 2 {
            let own = node.own_inputs();
            node.inputs.insert(own, None);
        }
        if node.input(0).is_none() {
            self.set_input(node, 0, Tensor::from_i64(vec![], &[i64::MAX]));
        }
        if node.input(1).is_none() {
            let yes = Tensor { dtype: DType::Bool, shape: vec![], bytes: [1].into() };
            self.set_input(node, 1, yes);
        }
    }

    /// A Constant node becomes a constant value.
    fn constant(&mut self, node: Node) -> Result<(), Refusal> {
        let Some(output) = node.output(0) else { return Ok(()) };
        let mut attributes = node.attributes.into_iter();
        let (Some((key, attribute)), None) = (attributes.next(), attributes.next()) else {
            return Err(("does not have exactly one attribute".to_owned(), "the file is damaged"));
        };
        let (dtype, shape, role) = match (key.as_str(), &attribute) {
            ("value", Attribute::Value(id)) => {
                let source = &self.values[id.index()];
                (source.dtype, source.shape.clone(), source.role.clone())
            }
            (
                "value_int" | "value_ints" | "value_float" | "value_floats" | "value_string" | "value_strings",
                attribute,
            ) => {
                let tensor = from_attribute(attribute).ok_or_else(|| wrong_type(&key))?;
                let value = tensor.into_value(String::new());
                (value.dtype, value.shape, value.role)
            }
            _ => {
                let what = format!("has the content `{}`", clipped(&key));
                return Err((what, "only dense tensors, numbers and strings are read"));
            }
        };
        let value = &mut self.values[output.index()];
        (value.dtype, value.shape, value.role) = (dtype, shape, role);
        Ok(())
    }

    /// Before opset 13 these worked on the input as a matrix, rows up to `axis`.
    fn softmax(&mut self, mut node: Node) -> Result<Vec<Node>, Refusal> {
        let axis = match node.attributes.remove("axis") {
            None => 1,
            Some(Attribute::Integer(axis)) => axis,
            Some(_) => return Err(wrong_type("axis")),
        };
        let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
            node.attributes.insert("axis".to_owned(), Attribute::Integer(-1));
            return Ok(vec![node]);
        };
        if let Some(shape) = self.values[input.index()].shape.clone() {
            let rank = shape.len() as i64;
            let own = if axis < 0 { axis.saturating_add(rank) } else { axis };
            if own >= 0 && own < rank && shape[own as usize + 1..].iter().all(|dim| *dim == Dim::Known(1)) {
                node.attributes.insert("axis".to_owned(), Attribute::Integer(own));
                return Ok(vec![node]);
            }
        }
        let flat = self.computed(output);
        let soft = self.computed(output);
        let target = self.computed(output);
        let make = |op: &str, inputs: &[ValueId], made: ValueId, attributes: &[(&str, i64)]| Node {
            name: node.name.clone(),
            op: op.to_owned(),
            revision: 0,
            attributes: attributes.iter().map(|(key, value)| ((*key).to_owned(), Attribute::Integer(*value))).collect(),
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: vec![Some(made)],
            epilogue: vec![],
        };
        Ok(vec![
            make("Flatten", &[input], flat, &[("axis", axis)]),
            make(&node.op, &[flat], soft, &[("axis", -1)]),
            make("Shape", &[input], target, &[]),
            make("Reshape", &[soft, target], output, &[]),
        ])
    }

    /// The mask was of the data's type once.
    fn dropout(&mut self, mut node: Node, revision: u16) -> Result<Vec<Node>, Refusal> {
        self.in_place(&mut node, revision)?;
        let (Some(input), Some(mask)) = (node.input(0), node.output(1)) else { return Ok(vec![node]) };
        let kept = self.computed(mask);
        node.outputs[1] = Some(kept);
        let cast = Node {
            op: "CastLike".to_owned(),
            inputs: vec![Some(kept), Some(input)],
            outputs: vec![Some(mask)],
            ..node.clone_head()
        };
        Ok(vec![node, cast])
    }

    /// Opset 18 gave one scale and one shift a group: each channel gets those of its group.
    fn group_normalization(&mut self, mut node: Node) -> Result<Vec<Node>, Refusal> {
        let refuse = |what: &str| (what.to_owned(), "export the model with opset 21 or later");
        let (Some(input), Some(groups)) = (node.input(0), node.integer("num_groups").filter(|groups| *groups > 0))
        else {
            return Err(refuse("has no input or no groups"));
        };
        let shape = self.values[input.index()].shape.clone().unwrap_or_default();
        let channels = shape.get(1).and_then(|dim| dim.known()).filter(|channels| *channels <= CHANNELS_MAX);
        let Some(channels) = channels else {
            return Err(refuse("normalises a number of channels that is not known, or too large"));
        };
        let each = channels / groups.unsigned_abs();
        let indices: Vec<i64> = (0..channels).map(|channel| (channel / each.max(1)) as i64).collect();
        let mut nodes = vec![];
        for index in [1, 2] {
            let Some(given) = node.input(index) else { return Err(refuse("has no scale or no shift")) };
            let spread = self.computed(given);
            let mut gather = Node { op: "Gather".to_owned(), outputs: vec![Some(spread)], ..node.clone_head() };
            gather.inputs = vec![Some(given)];
            self.set_input(&mut gather, 1, Tensor::vector(&indices));
            nodes.push(gather);
            node.inputs[index] = Some(spread);
        }
        nodes.push(node);
        Ok(nodes)
    }

    /// The first LabelEncoder turned classes into their places, or places into classes, by the type of its input.
    fn classes_to_keys(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let Some(Attribute::Texts(classes)) = node.attributes.remove("classes_strings") else {
            return Err(wrong_type("classes_strings"));
        };
        let places = Attribute::Integers((0..classes.len() as i64).collect());
        let classes = Attribute::Texts(classes);
        let pairs = match node.input(0).and_then(|id| self.values[id.index()].dtype) {
            Some(DType::String) => [("keys_strings", classes), ("values_int64s", places)],
            Some(DType::I64) => [("keys_int64s", places), ("values_strings", classes)],
            _ => {
                let what = "has an input of which it is not known whether it is string or i64".to_owned();
                return Err((what, "export the model with ai.onnx.ml 2 or later"));
            }
        };
        node.attributes.extend(pairs.map(|(key, attribute)| (key.to_owned(), attribute)));
        Ok(())
    }

    fn computed(&mut self, like: ValueId) -> ValueId {
        let name = fresh_name(&self.values[like.index()].name, self.values.len());
        self.add(Value::computed(name))
    }

    fn add(&mut self, value: Value) -> ValueId {
        let id =
            ValueId(u32::try_from(self.values.len()).expect("values are bounded by validate, upgrades add a few each"));
        self.values.push(value);
        id
    }

    fn set_input(&mut self, node: &mut Node, index: usize, tensor: Tensor) {
        let base = node.output(0).map_or("constant".to_owned(), |output| self.values[output.index()].name.clone());
        let name = fresh_name(&base, self.values.len());
        let id = self.add(tensor.into_value(name));
        if node.inputs.len() <= index {
            node.inputs.resize(index + 1, None);
        }
        node.inputs[index] = Some(id);
    }

    fn list_to_input(&mut self, node: &mut Node, key: &str, index: usize) -> Result<(), Refusal> {
        match node.attributes.remove(key) {
            None => Ok(()),
            Some(Attribute::Integers(list)) => {
                self.set_input(node, index, Tensor::vector(&list));
                Ok(())
            }
            Some(_) => Err(wrong_type(key)),
        }
    }

    /// No axes, or an empty list of them, means all.
    fn axes_to_input(&mut self, node: &mut Node) -> Result<(), Refusal> {
        if matches!(node.attributes.get("axes"), Some(Attribute::Integers(axes)) if axes.is_empty()) {
            node.attributes.remove("axes");
        }
        self.list_to_input(node, "axes", 1)
    }

    fn scalar_to_input(&mut self, node: &mut Node, number: f64, index: usize) -> Result<(), Refusal> {
        let dtype = node.input(0).and_then(|id| self.values[id.index()].dtype).unwrap_or(DType::F32);
        let tensor = Tensor::from_numbers(dtype, vec![], &[number])
            .ok_or_else(|| (format!("works on {dtype}"), "this revision of the operator does not"))?;
        self.set_input(node, index, tensor);
        Ok(())
    }

    /// The bounds of a Clip; those at the end of f32 are none.
    fn bound(&mut self, node: &mut Node, key: &str, index: usize) -> Result<(), Refusal> {
        match node.attributes.remove(key) {
            None => Ok(()),
            Some(Attribute::Number(bound)) if index == 1 && bound <= f64::from(f32::MIN) => Ok(()),
            Some(Attribute::Number(bound)) if index == 2 && bound >= f64::from(f32::MAX) => Ok(()),
            Some(Attribute::Number(bound)) => self.scalar_to_input(node, bound, index),
            Some(_) => Err(wrong_type(key)),
        }
    }
}

/// A constant that an attribute names becomes an input.
fn tensor_to_input(node: &mut Node, key: &str, index: usize) -> Result<(), Refusal> {
    match node.attributes.remove(key) {
        None => Ok(()),
        Some(Attribute::Value(id)) => {
            if node.inputs.len() <= index {
                node.inputs.resize(index + 1, None);
            }
            node.inputs[index] = Some(id);
            Ok(())
        }
        Some(_) => Err(wrong_type(key)),
    }
}

fn wrong_type(key: &str) -> Refusal {
    (format!("has no attribute `{}` of the right type", clipped(key)), "the file is damaged")
}

/// How Upsample and the first Resize computed: inputs X, scales.
fn asymmetric(node: &mut Node) {
    if node.inputs.len() == 2 {
        node.inputs.insert(1, None);
    }
    for (key, value) in [("coordinate_transformation_mode", "asymmetric"), ("nearest_mode", "floor")] {
        node.attributes.insert(key.to_owned(), Attribute::Text(value.to_owned()));
    }
    if matches!(node.text("mode"), Some("bilinear" | "trilinear")) {
        node.attributes.insert("mode".to_owned(), Attribute::Text("linear".to_owned()));
    }
}

impl Node {
    /// Name, operator and outputs: enough for a message.
    fn clone_head(&self) -> Node {
        Node {
            name: self.name.clone(),
            op: self.op.clone(),
            revision: self.revision,
            attributes: std::collections::BTreeMap::new(),
            inputs: vec![],
            outputs: self.outputs.clone(),
            epilogue: vec![],
        }
    }
}
