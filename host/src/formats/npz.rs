//! NumPy's `.npz`: a zip archive of `.npy` files.

use super::{FormatError, read_npy, write_npy};
use crate::session::Tensor;
use std::io::{Cursor, Read, Write};

/// Arrays that an archive may hold.
const MAX_ARRAYS: usize = 4096;
/// Bytes that all arrays together may unpack to.
const MAX_UNPACKED: u64 = 16 << 30;

/// The arrays of an archive with their names, in the archive's order.
pub fn read_npz(bytes: &[u8]) -> Result<Vec<(String, Tensor)>, FormatError> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| FormatError::malformed(format!("not an .npz archive: {error}")))?;
    if archive.len() > MAX_ARRAYS {
        return Err(FormatError::malformed(format!(
            "{} entries in the .npz archive; at most {MAX_ARRAYS} are read",
            archive.len()
        )));
    }
    let mut arrays = Vec::with_capacity(archive.len());
    let mut left = MAX_UNPACKED;
    for index in 0..archive.len() {
        let entry = archive
            .by_index(index)
            .map_err(|error| FormatError::malformed(format!("entry {index} of the .npz archive: {error}")))?;
        let name = entry
            .name()
            .map_err(|error| FormatError::malformed(format!("entry {index} of the .npz archive: {error}")))?
            .into_owned();
        let mut data = Vec::new();
        // The sizes in the directory are claims: what really comes out is what is bounded.
        entry
            .take(left + 1)
            .read_to_end(&mut data)
            .map_err(|error| FormatError::malformed(format!("`{name}` in the .npz archive: {error}")))?;
        left = left.checked_sub(data.len() as u64).ok_or_else(|| {
            FormatError::malformed(format!("the .npz archive unpacks to more than {} GiB", MAX_UNPACKED >> 30))
        })?;
        let tensor = read_npy(&data)
            .map_err(|error| FormatError::malformed(format!("`{name}` in the .npz archive: {error}")))?;
        arrays.push((name.strip_suffix(".npy").unwrap_or(&name).to_owned(), tensor));
    }
    Ok(arrays)
}

/// An archive, not compressed (as `numpy.savez` writes it).
pub fn write_npz(arrays: &[(String, Tensor)]) -> Result<Vec<u8>, FormatError> {
    let failed = |error: &dyn std::fmt::Display| FormatError::malformed(format!("writing the .npz archive: {error}"));
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, tensor) in arrays {
        let file = write_npy(tensor)?;
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored)
            .large_file(file.len() as u64 >= u64::from(u32::MAX));
        archive.start_file(format!("{name}.npy"), options).map_err(|error| failed(&error))?;
        archive.write_all(&file).map_err(|error| failed(&error))?;
    }
    Ok(archive.finish().map_err(|error| failed(&error))?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sunmao_graph::DType;

    #[test]
    fn an_archive_survives_the_round_trip() {
        let arrays = vec![
            ("x".to_owned(), Tensor { dtype: DType::F32, shape: vec![2], data: vec![0, 0, 128, 63, 0, 0, 0, 64] }),
            ("a/b:0".to_owned(), Tensor { dtype: DType::Bool, shape: vec![], data: vec![1] }),
        ];
        assert_eq!(read_npz(&write_npz(&arrays).unwrap()).unwrap(), arrays);
    }

    #[test]
    fn damaged_archives_are_errors() {
        let whole = write_npz(&[("x".to_owned(), Tensor { dtype: DType::U8, shape: vec![4], data: vec![1, 2, 3, 4] })])
            .unwrap();
        for cut in 0..whole.len() {
            assert!(read_npz(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0xff;
            let _ = read_npz(&changed);
        }
    }
}
