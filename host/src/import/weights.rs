//! Reads the bytes of weights from the files that were imported.

use super::decode::Encoding;
use super::derived::{DERIVED, Derived};
use super::grants::{ModelFiles, Source};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use sunmao_graph::{DType, Value, Visit, Weight};

/// Weights up to here are read without a look at how much memory there is.
const UNASKED_BYTES: u64 = 16 << 20;

/// The files of a model, open, and what was computed from them. Reads by position, so any number of threads may read at once.
#[derive(Debug, Default)]
pub struct WeightSource {
    pub(super) files: Arc<ModelFiles>,
    derived: Derived,
}

impl WeightSource {
    pub(super) fn new(files: ModelFiles) -> Self {
        Self { files: Arc::new(files), derived: Derived::default() }
    }

    /// The same with constants that were computed, as weights refer to them.
    pub(crate) fn with_derived(self, derived: Derived) -> Self {
        Self { derived, ..self }
    }

    /// Lets go of computed constants, if they can be computed again.
    pub(crate) fn release(&self) {
        self.derived.release();
    }

    fn read_raw(&self, weight: &Weight, into: &mut [u8]) -> Result<(), String> {
        let source = self.range(weight)?;
        source
            .file
            .read_exact_at(into, weight.offset)
            .and_then(|()| source.check_unchanged())
            .map_err(|error| format!("reading weights from `{}` failed: {error}", source.name))
    }

    /// The elements of a weight as little-endian, dense, row-major bytes, whatever its encoding.
    pub fn read(&self, dtype: DType, shape: &[u64], weight: &Weight) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        self.read_into(dtype, shape, weight, &mut bytes)?;
        Ok(bytes)
    }

    /// The same, in place of what `into` held.
    fn read_into(&self, dtype: DType, shape: &[u64], weight: &Weight, into: &mut Vec<u8>) -> Result<(), String> {
        if weight.source == DERIVED {
            into.clear();
            into.extend_from_slice(&self.derived.get(weight)?);
            return Ok(());
        }
        let (encoding, elements) = self.check(dtype, shape, weight)?;
        // What is there already is overwritten, so only what is new is filled with zeros.
        into.resize(usize::try_from(weight.length).map_err(|error| error.to_string())?, 0);
        self.read_raw(weight, into)?;
        if encoding != Encoding::RawLe {
            *into = encoding.decode(dtype, elements, std::mem::take(into))?;
        }
        Ok(())
    }

    /// The encoding of a weight that can be read, and its number of elements.
    fn check(&self, dtype: DType, shape: &[u64], weight: &Weight) -> Result<(Encoding, u64), String> {
        let encoding = Encoding::from_name(&weight.encoding)
            .ok_or_else(|| format!("weights of the encoding `{}` are not known", weight.encoding))?;
        let elements = shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
        let elements = elements.ok_or("a shape of more elements than there are numbers")?;
        self.range(weight)?;
        encoding.check(dtype, elements, weight.length)?;
        let dense = match dtype {
            // A frame has two bytes more than a field of the file.
            DType::String => weight.length.saturating_mul(2),
            _ => dtype.bytes(elements).unwrap_or(u64::MAX),
        };
        let needed = dense.saturating_add(weight.length);
        let available =
            if needed > UNASKED_BYTES { crate::memory::available_bytes().unwrap_or(u64::MAX) } else { needed };
        if needed > available {
            return Err(format!("reading a weight takes {needed} bytes, and {available} are available"));
        }
        Ok((encoding, elements))
    }

    fn range(&self, weight: &Weight) -> Result<&Source, String> {
        let source = self.files.sources.get(weight.source as usize).ok_or("a weight of a file that was not opened")?;
        match weight.offset.checked_add(weight.length) {
            Some(end) if end <= source.bytes => Ok(source),
            _ => Err(format!(
                "a weight at bytes {} + {} of `{}`, which has {}",
                weight.offset, weight.length, source.name, source.bytes
            )),
        }
    }
}

/// Element type and shape of a weight; nobody can read one without them.
fn known(value: &Value) -> Result<(DType, Vec<u64>), String> {
    let dtype = value.dtype.ok_or("a weight of unknown type")?;
    Ok((dtype, value.concrete().ok_or("a weight of unknown shape")?))
}

impl sunmao_graph::Weights for WeightSource {
    fn bytes(&self, value: &Value, weight: &Weight) -> Result<Arc<[u8]>, String> {
        if weight.source == DERIVED {
            return self.derived.get(weight);
        }
        let (dtype, shape) = known(value)?;
        if Encoding::from_name(&weight.encoding) != Some(Encoding::RawLe) {
            return self.read(dtype, &shape, weight).map(Arc::from);
        }
        // Large ones are read to where they stay.
        self.check(dtype, &shape, weight)?;
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, weight.length as usize).collect();
        self.read_raw(weight, Arc::get_mut(&mut bytes).expect("made just now"))?;
        Ok(bytes)
    }

    fn pieces(&self, value: &Value, weight: &Weight, most: usize, visit: &mut Visit<'_>) -> Result<(), String> {
        if weight.source == DERIVED || Encoding::from_name(&weight.encoding) != Some(Encoding::RawLe) {
            return self.bytes(value, weight)?.chunks(most).try_for_each(visit);
        }
        let (dtype, shape) = known(value)?;
        self.check(dtype, &shape, weight)?;
        let most = most as u64;
        let mut buffer = vec![0; weight.length.min(most) as usize];
        let mut done = 0;
        while done < weight.length {
            let length = most.min(weight.length - done);
            let piece = &mut buffer[..length as usize];
            self.read_raw(&Weight { offset: weight.offset + done, length, ..weight.clone() }, piece)?;
            visit(piece)?;
            done += length;
        }
        Ok(())
    }

    fn forget(&self, weight: &Weight) {
        if weight.source == DERIVED {
            self.derived.forget(weight);
        }
    }

    fn bytes_into(&self, value: &Value, weight: &Weight, into: &mut Vec<u8>) -> Result<(), String> {
        let (dtype, shape) = known(value)?;
        self.read_into(dtype, &shape, weight, into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Region;
    use std::fs::File;

    fn source(bytes: &[u8]) -> WeightSource {
        let region = Region::anonymous("weights", bytes.len() as u64).unwrap();
        region.write_at(0, bytes).unwrap();
        let file = File::from(region.fd().try_clone_to_owned().unwrap());
        let sources = vec![Source { name: "model".into(), bytes: bytes.len() as u64, file, stamp: None }];
        WeightSource::new(ModelFiles { sources, ..ModelFiles::default() })
    }

    fn weight(offset: u64, length: u64, encoding: &str) -> Weight {
        Weight { source: 0, offset, length, encoding: encoding.into() }
    }

    #[test]
    fn weights_are_read_from_their_range() {
        let source = source(&[9, 9, 1, 0, 2, 0, 9]);
        let here = weight(2, 4, "raw-le");
        assert_eq!(source.read(DType::I16, &[2], &here).unwrap(), [1, 0, 2, 0]);
        let mut buffer = vec![7; 9];
        source.read_into(DType::I16, &[2], &here, &mut buffer).unwrap();
        assert_eq!(buffer, [1, 0, 2, 0]);
        assert_eq!(source.read(DType::I16, &[2], &weight(0, 2, "varint")).unwrap(), [9, 0, 9, 0]);
    }

    #[test]
    fn a_file_that_was_written_to_gives_no_weights_and_one_that_was_replaced_gives_the_old_ones() {
        let folder = std::env::temp_dir().join(format!("sunmao-weights-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (path, other) = (folder.join("model.onnx"), folder.join("other"));
        let opened = || {
            std::fs::write(&path, [1, 2, 3, 4]).unwrap();
            WeightSource::new(crate::import::grants::Files::open(&path).unwrap().take_sources())
        };
        let read = |source: &WeightSource| source.read(DType::U8, &[4], &weight(0, 4, "raw-le"));
        let source = opened();
        std::fs::write(&other, [9; 4]).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(read(&source).unwrap(), [1, 2, 3, 4]);
        let source = opened();
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[9], 0).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let error = read(&source).unwrap_err();
        assert!(error.contains("model.onnx") && error.contains("was changed after the model was loaded"), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn ranges_that_the_file_does_not_have_are_errors() {
        let source = source(&[0; 8]);
        for bad in [weight(8, 1, "raw-le"), weight(u64::MAX, 2, "raw-le"), weight(0, 4, "rot13")] {
            assert!(source.read(DType::U8, &[bad.length], &bad).is_err(), "{bad:?}");
        }
        let other = Weight { source: 1, ..weight(0, 4, "raw-le") };
        assert!(source.read(DType::U8, &[4], &other).is_err());
        assert!(source.read(DType::U8, &[u64::MAX, 2], &weight(0, 4, "raw-le")).is_err());
        assert!(source.read(DType::F32, &[1 << 60], &weight(0, 4, "splat")).is_err(), "nobody has that much memory");
    }
}
