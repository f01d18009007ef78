//! `host infer`: one request from files to files, without a server.

use super::arguments;
use super::assemble::{Assembled, options};
use super::failure::Failure;
use super::files::{describe, is_whole, read_inputs, write_outputs};
use super::print;
use super::profile;
use super::progress::during;
use crate::formats::shape_text;
use crate::session::Tensor;
use half::{bf16, f16};
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Instant;
use sunmao_graph::DType;

/// Loads the model, runs it once, writes or sums up what it gives.
pub(super) fn infer(arguments: &arguments::Infer) -> Result<ExitCode, Failure> {
    let assembled = Assembled::once(&arguments.common)?;
    let model = &arguments.model;
    let session =
        during(&format!("loading {}", model.display()), || assembled.session(model, options(&arguments.common)))?;
    if arguments.input.is_empty() && !session.inputs().is_empty() {
        let out = format!("inputs\n{}outputs\n{}", describe(session.inputs()), describe(session.outputs()));
        print(&out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let inputs = read_inputs(&arguments.input, session.inputs())?;
    let (outputs, profile) = if arguments.profile.is_some() {
        let (outputs, profile) = profile::runs(&session, inputs, arguments)?;
        (outputs, Some(profile))
    } else {
        let start = Instant::now();
        let outputs = during("computing", || session.infer(inputs, &[]))
            .map_err(|error| Failure::from(error).at(model.display()))?;
        tracing::info!(chip = %session.chip().name, elapsed_us = start.elapsed().as_micros() as u64, "computed");
        (outputs, None)
    };
    match &arguments.output {
        Some(path) => write_outputs(path, &outputs)?,
        None => print(&outputs.iter().map(|(name, tensor)| summary(name, tensor)).collect::<String>())?,
    }
    if let (Some(profile), Some(file)) = (&profile, &arguments.profile) {
        profile::report(profile, file.as_deref())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// First elements that are shown.
const SHOWN: usize = 8;

fn summary(name: &str, tensor: &Tensor) -> String {
    let shape: Vec<_> = tensor.shape.iter().copied().map(Some).collect();
    let mut out = format!("{name}  {}  {}\n", tensor.dtype, shape_text(&shape));
    let Some(values) = is_whole(tensor).then(|| numbers(tensor)).flatten() else { return out };
    let shown: Vec<_> = values.iter().take(SHOWN).map(f64::to_string).collect();
    let more = if values.len() > SHOWN { ", ..." } else { "" };
    let _ = writeln!(out, "  values  {}{more}", shown.join(", "));
    let finite = || values.iter().copied().enumerate().filter(|(_, value)| value.is_finite());
    if values.len() > 1
        && let Some((at, max)) = finite().reduce(|best, next| if next.1 > best.1 { next } else { best })
    {
        let min = finite().fold(f64::INFINITY, |min, (_, value)| min.min(value));
        let mean = finite().map(|(_, value)| value).sum::<f64>() / finite().count() as f64;
        let _ = writeln!(out, "  min {min}  max {max} (element {at})  mean {mean:.6}");
    }
    let odd = values.len() - finite().count();
    if odd > 0 {
        let _ = writeln!(out, "  {odd} of {} elements are infinite or no numbers", values.len());
    }
    out
}

fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    let data = &tensor.data;
    macro_rules! each {
        ($type:ty, $convert:expr) => {
            data.as_chunks::<{ size_of::<$type>() }>()
                .0
                .iter()
                .map(|item| $convert(<$type>::from_le_bytes(*item)))
                .collect()
        };
    }
    Some(match tensor.dtype {
        // By its shortest text: 0.1 as f32 shall not become 0.10000000149.
        DType::F32 => each!(f32, |value: f32| value.to_string().parse().unwrap_or(f64::from(value))),
        DType::F64 => each!(f64, |value: f64| value),
        DType::F16 => each!(f16, f16::to_f64),
        DType::BF16 => each!(bf16, bf16::to_f64),
        DType::I8 => each!(i8, f64::from),
        DType::I16 => each!(i16, f64::from),
        DType::I32 => each!(i32, f64::from),
        DType::I64 => each!(i64, |value: i64| value as f64),
        DType::U8 | DType::Bool => each!(u8, f64::from),
        DType::U16 => each!(u16, f64::from),
        DType::U32 => each!(u32, f64::from),
        DType::U64 => each!(u64, |value: u64| value as f64),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_shows_what_one_wants_to_know_first() {
        let data = [0.1f32, 3.0, f32::NAN, -1.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = Tensor { dtype: DType::F32, shape: vec![1, 4], data };
        let expected = "y  f32  1x4\n  values  0.1, 3, NaN, -1\n  min -1  max 3 (element 1)  mean 0.700000\n  1 of 4 elements are infinite or no numbers\n";
        assert_eq!(summary("y", &tensor), expected);
        assert_eq!(
            summary("e", &Tensor { dtype: DType::I64, shape: vec![0], data: vec![] }),
            "e  i64  0\n  values  \n"
        );
    }
}
