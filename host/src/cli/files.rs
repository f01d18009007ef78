//! Tensors for `infer` from files, and its outputs to files.

use super::failure::Failure;
use crate::formats::{
    self, datatype, parse_array, parse_data, parse_dtype, parse_shape, read_npy, read_npz, read_raw, shape_text,
    write_npy, write_npz,
};
use crate::session::{Tensor, TensorSpec};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::fs;
use std::path::{Path, PathBuf};
use sunmao_graph::Container;

const HELP: &str = "write -i NAME=FILE.npy, NAME=FILE.json, NAME=FILE.npz:ARRAY, or NAME=FILE.bin:f32:1x3x224x224";

/// The tensors that the `-i` arguments name; `wanted` gives the element types of what does not say its own.
pub(super) fn read_inputs(arguments: &[String], wanted: &[TensorSpec]) -> Result<Vec<(String, Tensor)>, Failure> {
    let mut tensors = Vec::new();
    for argument in arguments {
        match argument.split_once('=') {
            Some((name, file)) if !name.is_empty() => tensors.push((name.to_owned(), read_one(name, file, wanted)?)),
            // A whole archive brings its own names.
            _ if has_extension(Path::new(argument), "npz") => {
                let arrays =
                    read_npz(&read_file(Path::new(argument))?).map_err(|error| Failure::from(error).at(argument))?;
                tensors.extend(arrays);
            }
            _ => match wanted {
                [only] => tensors.push((only.name.clone(), read_one(&only.name, argument, wanted)?)),
                _ => return Err(Failure::usage(format!("-i {argument}: which input is it for?"), HELP)),
            },
        }
    }
    Ok(tensors)
}

fn read_one(name: &str, file: &str, wanted: &[TensorSpec]) -> Result<Tensor, Failure> {
    let spec = wanted.iter().find(|spec| spec.name == name);
    let read = |file: &str| read_file(Path::new(file));
    // A file whose own name has colons goes before anything that may be meant by them.
    if !Path::new(file).is_file() {
        let mut parts = file.rsplitn(3, ':');
        if let (Some(shape), Some(dtype), Some(path)) = (parts.next(), parts.next(), parts.next()) {
            let described = parse_dtype(dtype).and_then(|dtype| Ok((dtype, parse_shape(shape)?)));
            let (dtype, shape) =
                described.map_err(|error| Failure::usage(format!("-i {name}={file}: {error}"), HELP))?;
            return read_raw(read(path)?, dtype, shape).map_err(|error| Failure::from(error).at(path));
        }
        if let Some((path, array)) = file.rsplit_once(':').filter(|(path, _)| has_extension(Path::new(path), "npz")) {
            return from_npz(path, Some(array), name);
        }
    }
    let path = Path::new(file);
    if has_extension(path, "npz") {
        return from_npz(file, None, name);
    }
    let bytes = read(file)?;
    let at_file = |error: formats::FormatError| Failure::from(error).at(file);
    if has_extension(path, "npy") || bytes.starts_with(b"\x93NUMPY") {
        return read_npy(&bytes).map_err(at_file);
    }
    if has_extension(path, "json") {
        return from_json(&bytes, spec).map_err(|failure| failure.at(file));
    }
    Err(Failure::usage(
        format!("-i {name}={file}: raw bytes need their type and shape"),
        format!("write it as {name}={file}:f32:1x3x224x224"),
    ))
}

fn from_npz(path: &str, array: Option<&str>, input: &str) -> Result<Tensor, Failure> {
    let mut arrays = read_npz(&read_file(Path::new(path))?).map_err(|error| Failure::from(error).at(path))?;
    let index = match array {
        Some(array) => arrays.iter().position(|(name, _)| name == array),
        None if arrays.len() == 1 => Some(0),
        None => arrays.iter().position(|(name, _)| name == input),
    };
    match index {
        Some(index) => Ok(arrays.swap_remove(index).1),
        None => {
            let names: Vec<_> = arrays.iter().map(|(name, _)| name.as_str()).collect();
            let wanted = array.unwrap_or(input);
            Err(Failure::new(
                format!("{path}: no array `{wanted}`; it holds {}", names.join(", ")),
                format!("choose one with {input}={path}:ARRAY"),
            ))
        }
    }
}

/// The protocol's form of a tensor, or a bare array of the element type that the model takes.
fn from_json(bytes: &[u8], spec: Option<&TensorSpec>) -> Result<Tensor, Failure> {
    #[derive(Deserialize)]
    struct Described<'a> {
        datatype: String,
        shape: Vec<u64>,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let text: &RawValue =
        serde_json::from_slice(bytes).map_err(|error| Failure::new(format!("not JSON: {error}"), HELP))?;
    if text.get().starts_with('{') {
        let help = "write {\"datatype\": \"FP32\", \"shape\": [1, 3], \"data\": [...]}, or the bare array";
        let described: Described<'_> =
            serde_json::from_str(text.get()).map_err(|error| Failure::new(error.to_string(), help))?;
        let dtype = parse_dtype(&described.datatype)?;
        let data = parse_data(described.data.get(), dtype, &described.shape)?;
        return Ok(Tensor { dtype, shape: described.shape, data });
    }
    let spec = spec.ok_or_else(|| {
        Failure::new("the model has no input of that name", "`host infer MODEL` without -i prints what the model takes")
    })?;
    Ok(parse_array(text.get(), spec.dtype)?)
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        Failure::new(
            format!("{}: {error}", path.display()),
            "check the path; it is taken relative to the working directory",
        )
    })
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

/// Writes the outputs as the file's extension says; a path without one, or a folder, gets raw bytes and a description.
pub(super) fn write_outputs(path: &Path, outputs: &[(String, Tensor)]) -> Result<(), Failure> {
    if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.extension().is_none() {
        return write_folder(path, outputs);
    }
    let bytes = if has_extension(path, "npz") {
        write_npz(outputs)?
    } else if has_extension(path, "npy") {
        let [(_, tensor)] = outputs else {
            return Err(Failure::usage(
                format!("{}: an .npy file holds one tensor, the model gives {}", path.display(), outputs.len()),
                "write them to an .npz file",
            ));
        };
        write_npy(tensor)?
    } else if has_extension(path, "json") {
        to_json(outputs)?
    } else {
        return Err(Failure::usage(
            format!("{}: unknown kind of file", path.display()),
            "name it .npz, .npy or .json, or give a folder for raw bytes",
        ));
    };
    write_whole(path, &bytes)
}

fn to_json(outputs: &[(String, Tensor)]) -> Result<Vec<u8>, Failure> {
    #[derive(serde::Serialize)]
    struct Output<'a> {
        name: &'a str,
        datatype: String,
        shape: &'a [u64],
        data: formats::FlatData<'a>,
    }
    let of = |(name, tensor): &'_ (String, Tensor)| -> String {
        datatype(tensor.dtype).map_or_else(|| format!("{} of {name}", tensor.dtype), str::to_owned)
    };
    let outputs: Vec<_> = outputs
        .iter()
        .map(|output| Output {
            name: &output.0,
            datatype: of(output),
            shape: &output.1.shape,
            data: formats::FlatData(&output.1),
        })
        .collect();
    #[derive(serde::Serialize)]
    struct All<'a> {
        outputs: Vec<Output<'a>>,
    }
    let mut bytes = serde_json::to_vec(&All { outputs })
        .map_err(|error| Failure::new(error.to_string(), "write the outputs to an .npz file"))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn write_folder(folder: &Path, outputs: &[(String, Tensor)]) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| {
        Failure::new(format!("{}: {error}", folder.display()), "choose a folder that can be written to")
    })?;
    let mut files: Vec<String> = Vec::new();
    let mut described = Vec::new();
    for (name, tensor) in outputs {
        // Output names come from a model file: they must not lead out of the folder.
        let plain: String = name
            .chars()
            .take(128)
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' })
            .collect();
        let mut file = format!("{plain}.bin");
        if files.contains(&file) {
            file = format!("{plain}-{}.bin", files.len());
        }
        write_whole(&folder.join(&file), &tensor.data)?;
        described.push(json!({ "name": name, "file": file, "datatype": datatype(tensor.dtype).unwrap_or(tensor.dtype.name()), "shape": tensor.shape }));
        files.push(file);
    }
    write_whole(&folder.join("outputs.json"), format!("{:#}\n", json!({ "outputs": described })).as_bytes())
}

/// A reader never sees half of a file, also when the disk fills up.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part: PathBuf = path.with_file_name(name);
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&part);
        Failure::new(format!("{}: {error}", path.display()), "choose a place that can be written to and has room")
    })
}

/// What a model takes or gives, one line each.
pub(super) fn describe(specs: &[TensorSpec]) -> String {
    let width = specs.iter().map(|spec| spec.name.chars().count()).max().unwrap_or(0);
    specs
        .iter()
        .map(|spec| {
            let shape = if spec.ranked { shape_text(&spec.shape) } else { "any shape".to_owned() };
            let packed = if spec.container == Container::Tensor { "" } else { spec.container.name() };
            format!("  {:width$}  {:5}  {shape} {packed}", spec.name, spec.dtype.name()).trim_end().to_owned() + "\n"
        })
        .collect()
}

/// Whether the bytes are as many as type and shape say; a model's outputs always are.
pub(super) fn is_whole(tensor: &Tensor) -> bool {
    formats::fits(tensor.dtype, &tensor.shape, &tensor.data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sunmao_graph::DType;

    struct Folder(PathBuf);
    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("sunmao-files-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
        fn path(&self, name: &str) -> String {
            self.0.join(name).display().to_string()
        }
    }
    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn tensor() -> Tensor {
        Tensor {
            dtype: DType::F32,
            shape: vec![1, 2],
            data: [1f32, -2.5].iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    fn wanted() -> Vec<TensorSpec> {
        vec![TensorSpec::tensor("x", DType::F32, &[None, Some(2)])]
    }

    #[test]
    fn one_tensor_comes_from_every_kind_of_file() {
        let folder = Folder::new("read");
        let outputs = [("x".to_owned(), tensor())];
        write_outputs(Path::new(&folder.path("a.npz")), &outputs).unwrap();
        write_outputs(Path::new(&folder.path("a.npy")), &outputs).unwrap();
        write_outputs(Path::new(&folder.path("raw/")), &outputs).unwrap();
        fs::write(folder.path("a.json"), "[[1, -2.5]]").unwrap();
        fs::write(folder.path("b.json"), r#"{"datatype":"FP32","shape":[1,2],"data":[1,-2.5]}"#).unwrap();
        for argument in [
            folder.path("a.npz"),
            format!("x={}", folder.path("a.npz")),
            format!("x={}", folder.path("a.npz:x")),
            folder.path("a.npy"),
            format!("x={}", folder.path("a.npy")),
            format!("x={}", folder.path("a.json")),
            format!("x={}", folder.path("b.json")),
            format!("x={}", folder.path("raw/x.bin:f32:1x2")),
        ] {
            let read = read_inputs(std::slice::from_ref(&argument), &wanted())
                .unwrap_or_else(|failure| panic!("{argument}: {failure}"));
            assert_eq!(read, outputs, "{argument}");
        }
    }

    #[test]
    fn a_wrong_argument_says_how_a_right_one_looks() {
        let folder = Folder::new("wrong");
        fs::write(folder.path("x.bin"), [0; 7]).unwrap();
        write_outputs(Path::new(&folder.path("a.npz")), &[("y".to_owned(), tensor()), ("z".to_owned(), tensor())])
            .unwrap();
        let refused = |argument: String, with: &str| {
            let failure = read_inputs(&[argument], &wanted()).unwrap_err().to_string();
            assert!(failure.contains(with), "{failure}");
        };
        refused(format!("x={}", folder.path("x.bin")), "raw bytes need their type and shape");
        refused(format!("x={}", folder.path("x.bin:f32:1x2")), "takes 8 bytes, the file has 7");
        refused(format!("x={}", folder.path("x.bin:float:1x2")), "`float` is no element type");
        refused(format!("x={}", folder.path("a.npz")), "no array `x`; it holds y, z");
        refused(format!("x={}", folder.path("absent.npy")), "check the path");
    }

    #[test]
    fn outputs_are_written_as_the_name_says() {
        let folder = Folder::new("write");
        let two = [("../y".to_owned(), tensor()), ("/y".to_owned(), tensor())];
        assert!(write_outputs(Path::new(&folder.path("a.npy")), &two).is_err());
        assert!(write_outputs(Path::new(&folder.path("a.txt")), &two).is_err());
        write_outputs(Path::new(&folder.path("a.json")), &two[..1]).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&fs::read(folder.path("a.json")).unwrap()).unwrap();
        assert_eq!(
            json["outputs"][0],
            serde_json::json!({ "name": "../y", "datatype": "FP32", "shape": [1, 2], "data": [1.0, -2.5] })
        );
        write_outputs(Path::new(&folder.path("raw")), &two).unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path("raw"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["___y.bin", "_y.bin", "outputs.json"]);
    }
}
