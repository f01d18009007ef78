//! tract, with concrete shapes: symbolic ones make it several times slower.

use crate::Loaded;
use crate::arrays::{Array, Data};
use anyhow::{Context, Result, bail};
use std::sync::Arc;
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

struct Model {
    plan: Arc<TypedRunnableModel>,
    inputs: TVec<TValue>,
    names: Vec<String>,
}

pub fn load(path: &str, inputs: &[(String, Array)], threads: usize) -> Result<Box<dyn Loaded>> {
    if threads > 1 {
        set_default_executor(Executor::multithread(threads));
    }
    let mut model =
        tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true).model_for_path(path)?;
    let mut ordered = TVec::new();
    for (place, outlet) in model.input_outlets()?.to_vec().into_iter().enumerate() {
        let name = model.node(outlet.node).name.clone();
        let (_, array) = inputs.iter().find(|(given, _)| *given == name).with_context(|| format!("no input {name}"))?;
        let tensor = tensor(array)?;
        let shape: TVec<usize> = array.shape.iter().copied().collect();
        model.set_input_fact(place, InferenceFact::dt_shape(tensor.datum_type(), shape))?;
        ordered.push(tensor.into_tvalue());
    }
    let name = |outlet: &OutletId| model.outlet_label(*outlet).unwrap_or(&model.node(outlet.node).name).to_owned();
    let names = model.output_outlets()?.iter().map(name).collect();
    let plan = model.into_optimized()?.into_runnable()?;
    Ok(Box::new(Model { plan, inputs: ordered, names }))
}

fn tensor(array: &Array) -> Result<Tensor> {
    Ok(match &array.data {
        Data::F32(values) => Tensor::from_shape(&array.shape, values)?,
        Data::I32(values) => Tensor::from_shape(&array.shape, values)?,
        Data::I64(values) => Tensor::from_shape(&array.shape, values)?,
    })
}

impl Loaded for Model {
    fn run(&self) -> Result<Vec<(String, Array)>> {
        let outputs = self.plan.run(self.inputs.clone())?;
        let mut named = Vec::new();
        for (name, output) in self.names.iter().zip(outputs) {
            if output.datum_type() != f32::datum_type() {
                bail!("output {name} is no f32");
            }
            let view = output.to_plain_array_view::<f32>()?;
            let data = Data::F32(view.iter().copied().collect());
            named.push((name.clone(), Array { shape: output.shape().to_vec(), data }));
        }
        Ok(named)
    }
}
