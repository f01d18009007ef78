//! Reads the bytes of weights from the files that were imported.

use super::decode::Encoding;
use super::grants::Source;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use sunmao_graph::{DType, Value, Weight};

/// Weights up to here are read without a look at how much memory there is.
const UNASKED_BYTES: u64 = 16 << 20;

/// The files of a model, open. Reads by position, so any number of threads may read at once.
#[derive(Debug, Default)]
pub struct WeightSource {
    sources: Vec<Source>,
}

impl WeightSource {
    pub(super) fn new(sources: Vec<Source>) -> Self {
        Self { sources }
    }

    /// Whether the stored bytes are the elements themselves, so that [`WeightSource::read_raw`] can stream them.
    pub fn is_raw(&self, weight: &Weight) -> bool {
        Encoding::from_name(&weight.encoding) == Some(Encoding::RawLe)
    }

    /// Fills `into` with stored bytes of a weight, from byte `at` of it on. The range must lie inside the weight.
    pub fn read_raw(&self, weight: &Weight, at: u64, into: &mut [u8]) -> Result<(), String> {
        let source = self.range(weight)?;
        if at.checked_add(into.len() as u64).is_none_or(|end| end > weight.length) {
            return Err(format!(
                "bytes {at} to {} of a weight of {}",
                at.saturating_add(into.len() as u64),
                weight.length
            ));
        }
        source
            .file
            .read_exact_at(into, weight.offset + at)
            .and_then(|()| source.check_unchanged())
            .map_err(|error| format!("reading weights from `{}` failed: {error}", source.name))
    }

    /// The elements of a weight as little-endian, dense, row-major bytes, whatever its encoding.
    pub fn read(&self, dtype: DType, shape: &[u64], weight: &Weight) -> Result<Vec<u8>, String> {
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
        let mut stored = vec![0; usize::try_from(weight.length).map_err(|error| error.to_string())?];
        self.read_raw(weight, 0, &mut stored)?;
        encoding.decode(dtype, elements, stored)
    }

    fn range(&self, weight: &Weight) -> Result<&Source, String> {
        let source = self.sources.get(weight.source as usize).ok_or("a weight of a file that was not opened")?;
        match weight.offset.checked_add(weight.length) {
            Some(end) if end <= source.bytes => Ok(source),
            _ => Err(format!(
                "a weight at bytes {} + {} of `{}`, which has {}",
                weight.offset, weight.length, source.name, source.bytes
            )),
        }
    }
}

impl sunmao_graph::Weights for WeightSource {
    fn bytes(&self, value: &Value, weight: &Weight) -> Result<Arc<[u8]>, String> {
        let dtype = value.dtype.ok_or("a weight of unknown type")?;
        let shape = value.concrete().ok_or("a weight of unknown shape")?;
        self.read(dtype, &shape, weight).map(Arc::from)
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
        WeightSource::new(vec![Source { name: "model".into(), bytes: bytes.len() as u64, file, stamp: None }])
    }

    fn weight(offset: u64, length: u64, encoding: &str) -> Weight {
        Weight { source: 0, offset, length, encoding: encoding.into() }
    }

    #[test]
    fn weights_are_read_from_their_range() {
        let source = source(&[9, 9, 1, 0, 2, 0, 9]);
        let here = weight(2, 4, "raw-le");
        assert!(source.is_raw(&here));
        assert_eq!(source.read(DType::I16, &[2], &here).unwrap(), [1, 0, 2, 0]);
        let mut piece = [0; 2];
        source.read_raw(&here, 2, &mut piece).unwrap();
        assert_eq!(piece, [2, 0]);
        assert!(source.read_raw(&here, 3, &mut piece).is_err());
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
