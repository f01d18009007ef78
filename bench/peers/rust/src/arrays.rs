//! numpy's .npz, as far as models need it.

use anyhow::{Context, Result, bail};
use npyz::WriterBuilder;
use npyz::npz::{NpzArchive, NpzWriter};

/// An array, row-major.
#[derive(Clone)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Data,
}

/// The element types that models here take and give.
#[derive(Clone)]
pub enum Data {
    F32(Vec<f32>),
    I32(Vec<i32>),
    I64(Vec<i64>),
}

/// All arrays of a file by name.
pub fn read(path: &str) -> Result<Vec<(String, Array)>> {
    let mut archive = NpzArchive::open(path).with_context(|| path.to_owned())?;
    let names: Vec<String> = archive.array_names().map(str::to_owned).collect();
    let mut arrays = Vec::new();
    for name in names {
        let file = archive.by_name(&name)?.with_context(|| format!("{path}: no {name}"))?;
        let shape = file.shape().iter().map(|&length| length as usize).collect();
        let kind = file.dtype().descr();
        let data = match kind.trim_matches(|c| c == '\'' || c == '"') {
            "<f4" => Data::F32(file.into_vec()?),
            "<i4" => Data::I32(file.into_vec()?),
            "<i8" => Data::I64(file.into_vec()?),
            other => bail!("{path}: {name} has elements of {other}, which are not read here"),
        };
        arrays.push((name, Array { shape, data }));
    }
    Ok(arrays)
}

/// Writes arrays by name.
pub fn write(path: &str, arrays: &[(String, Array)]) -> Result<()> {
    let mut archive = NpzWriter::create(path).with_context(|| path.to_owned())?;
    for (name, Array { shape, data }) in arrays {
        let shape: Vec<u64> = shape.iter().map(|&length| length as u64).collect();
        macro_rules! put {
            ($values:expr) => {{
                let mut file = archive.array(name, Default::default())?.default_dtype().shape(&shape).begin_nd()?;
                file.extend($values.iter().copied())?;
                file.finish()?;
            }};
        }
        match data {
            Data::F32(values) => put!(values),
            Data::I32(values) => put!(values),
            Data::I64(values) => put!(values),
        }
    }
    Ok(())
}
