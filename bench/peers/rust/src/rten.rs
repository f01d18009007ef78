//! rten, with packed weights.

use crate::Loaded;
use crate::arrays::{Array, Data};
use anyhow::{Context, Result, bail};
use rten::{ModelOptions, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;
use std::sync::Arc;

struct Model {
    model: rten::Model,
    pool: Arc<ThreadPool>,
    inputs: Vec<(NodeId, Value)>,
    outputs: Vec<NodeId>,
    names: Vec<String>,
}

pub fn load(path: &str, inputs: &[(String, Array)], threads: usize) -> Result<Box<dyn Loaded>> {
    let mut options = ModelOptions::with_all_ops();
    options.prepack_weights(true);
    let model = options.load_file(path)?;
    let mut given = Vec::new();
    for (name, array) in inputs {
        let id = model.node_id(name).with_context(|| format!("no input {name}"))?;
        let shape = array.shape.as_slice();
        // It has no 64-bit integers.
        let value: Value = match &array.data {
            Data::F32(values) => Tensor::from_data(shape, values.clone()).into(),
            Data::I32(values) => Tensor::from_data(shape, values.clone()).into(),
            Data::I64(values) => {
                let narrow: Result<Vec<i32>, _> = values.iter().map(|&value| i32::try_from(value)).collect();
                Tensor::from_data(shape, narrow?).into()
            }
        };
        given.push((id, value));
    }
    let outputs = model.output_ids().to_vec();
    let name = |id: &NodeId| model.node_info(*id).and_then(|node| node.name().map(str::to_owned)).unwrap_or_default();
    let names = outputs.iter().map(name).collect();
    let pool = Arc::new(ThreadPool::with_num_threads(threads));
    Ok(Box::new(Model { model, pool, inputs: given, outputs, names }))
}

impl Loaded for Model {
    fn run(&self) -> Result<Vec<(String, Array)>> {
        let inputs = self.inputs.iter().map(|(id, value)| (*id, value.as_view().into())).collect();
        let options = RunOptions::default().with_thread_pool(Some(self.pool.clone()));
        let mut named = Vec::new();
        for (name, value) in self.names.iter().zip(self.model.run(inputs, &self.outputs, Some(options))?) {
            let Value::FloatTensor(tensor) = value else { bail!("output {name} is no f32") };
            named.push((name.clone(), Array { shape: tensor.shape().to_vec(), data: Data::F32(tensor.to_vec()) }));
        }
        Ok(named)
    }
}
