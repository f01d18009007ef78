//! Reads a store of cases: the compact file that `conformance/onnx/generate.py` writes.
//!
//! A header of 64 bytes (magic, format, number of cases, length and SHA-256 of the content), then the content, deflated (zlib): the length of
//! the index as a little-endian u64, the index as JSON, and the blobs, each distinct sequence of bytes once. Whatever does not fit is an
//! error that says where; a store of another number of cases than expected is one as well, so that an empty run is never green.

use crate::{CaseFacts, CaseValue, DataSet};
use flate2::read::ZlibDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::sync::OnceLock;
use sunmao_graph::{DType, Tensor, tensor};

/// Node cases of onnx 1.23.2, expanded function cases included.
pub const ONNX_NODE_CASES: usize = 1884;
const ONNX_NODE: &[u8] = include_bytes!("../cases/onnx-node.bin");

const MAGIC: &[u8; 16] = b"sunmao-cases\0\0\0\x01";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 64;
/// A store inflates to at most this.
const MAX_CONTENT_BYTES: u64 = 256 << 20;

/// Cases with their models and data.
pub struct Store {
    source: String,
    entries: Vec<Entry>,
    blobs: Vec<(usize, usize)>,
    data: Vec<u8>,
}

/// What is wrong with a store, or with a case in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The file itself.
    #[error("the case store is damaged: {0}; write it again with conformance/onnx/generate.py")]
    Damaged(String),
    /// Written by another version of the script.
    #[error(
        "the case store has format {0}, this program reads {FORMAT}: write it again with conformance/onnx/generate.py"
    )]
    Format(u32),
    /// Cases are missing, or there are new ones.
    #[error("the case store has {found} cases, not {expected}")]
    Count {
        /// Cases that there must be.
        expected: usize,
        /// Cases that there are.
        found: usize,
    },
    /// An element type that the graph library does not know.
    #[error("case {case}: element type {code} is not known to this host")]
    ElementType {
        /// The case.
        case: String,
        /// Its code in ONNX.
        code: u16,
    },
}

#[derive(Deserialize)]
struct Index {
    source: String,
    blobs: Vec<(u64, u64)>,
    cases: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    opset: u16,
    operators: Vec<String>,
    dtypes: Vec<String>,
    model: usize,
    rtol: f64,
    atol: f64,
    inputs: Vec<(String, StoredValue)>,
    outputs: Vec<(String, StoredValue)>,
}

#[derive(Deserialize)]
enum StoredValue {
    /// Element type, shape, blob.
    #[serde(rename = "t")]
    Tensor((u16, Vec<u64>, usize)),
    #[serde(rename = "s")]
    Sequence(Vec<StoredValue>),
    #[serde(rename = "o")]
    Optional(Option<Box<StoredValue>>),
}

/// One case of a store.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    store: &'a Store,
    entry: &'a Entry,
}

impl Store {
    /// ONNX's node cases, which are part of this library.
    ///
    /// # Panics
    /// When the file that was compiled in is damaged.
    pub fn onnx_nodes() -> &'static Store {
        static STORE: OnceLock<Store> = OnceLock::new();
        STORE.get_or_init(|| {
            Store::read(ONNX_NODE, ONNX_NODE_CASES).expect("the store that was compiled in is checked by a test")
        })
    }

    /// Reads a store that must have `expected` cases.
    pub fn read(bytes: &[u8], expected: usize) -> Result<Self, StoreError> {
        let damaged = |what: &str| StoreError::Damaged(what.to_owned());
        let content = inflate(bytes, expected)?;
        let (length, rest) = content.split_first_chunk::<8>().ok_or_else(|| damaged("it has no index"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (index, data) = rest.split_at_checked(length).ok_or_else(|| damaged("its index ends beyond it"))?;
        let index: Index =
            serde_json::from_slice(index).map_err(|error| StoreError::Damaged(format!("its index: {error}")))?;
        if index.cases.len() != expected {
            return Err(StoreError::Count { expected, found: index.cases.len() });
        }
        if !index.cases.is_sorted_by(|a, b| a.name < b.name) {
            return Err(damaged("its cases are not in order, or one stands there twice"));
        }
        let place = |&(start, length): &(u64, u64)| {
            let end = start.checked_add(length).filter(|end| *end <= data.len() as u64);
            end.map(|end| (start as usize, end as usize)).ok_or_else(|| damaged("a blob ends beyond it"))
        };
        let blobs = index.blobs.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let store = Store { source: index.source, entries: index.cases, blobs, data: data.to_vec() };
        if store.entries.iter().any(|entry| entry.model >= store.blobs.len()) {
            return Err(damaged("a case has no model"));
        }
        Ok(store)
    }

    /// The package that the cases come from, with its version.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// All cases, by name.
    pub fn cases(&self) -> impl ExactSizeIterator<Item = Case<'_>> {
        self.entries.iter().map(|entry| Case { store: self, entry })
    }

    /// The case of that name.
    pub fn case(&self, name: &str) -> Option<Case<'_>> {
        let at = self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok()?;
        Some(Case { store: self, entry: &self.entries[at] })
    }

    fn blob(&self, index: usize) -> Option<&[u8]> {
        self.blobs.get(index).map(|&(start, end)| &self.data[start..end])
    }
}

impl<'a> Case<'a> {
    /// What is known of it, as a case of the suite `suite`.
    pub fn facts(&self, suite: &str) -> CaseFacts {
        CaseFacts {
            name: self.entry.name.clone(),
            suite: suite.to_owned(),
            operators: self.entry.operators.clone(),
            dtypes: self.entry.dtypes.clone(),
            opset: Some(self.entry.opset),
        }
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        &self.entry.name
    }

    /// Its model, an ONNX file.
    pub fn model(&self) -> &'a [u8] {
        self.store.blob(self.entry.model).expect("checked when the store was read")
    }

    /// Relative and absolute tolerance that the case itself grants.
    pub fn tolerances(&self) -> (f64, f64) {
        (self.entry.rtol, self.entry.atol)
    }

    /// Its inputs and outputs, checked: every tensor has as many bytes as its shape takes.
    pub fn data(&self) -> Result<DataSet, StoreError> {
        let side = |values: &[(String, StoredValue)]| -> Result<Vec<(String, CaseValue)>, StoreError> {
            values.iter().map(|(name, value)| Ok((name.clone(), self.value(name, value)?))).collect()
        };
        Ok(DataSet { inputs: side(&self.entry.inputs)?, outputs: side(&self.entry.outputs)? })
    }

    fn value(&self, name: &str, value: &StoredValue) -> Result<CaseValue, StoreError> {
        Ok(match value {
            StoredValue::Tensor(stored) => CaseValue::Tensor(self.tensor(name, stored)?),
            StoredValue::Sequence(items) => {
                CaseValue::Sequence(items.iter().map(|item| self.value(name, item)).collect::<Result<_, _>>()?)
            }
            StoredValue::Optional(item) => {
                let item = item.as_ref().map(|item| self.value(name, item)).transpose()?;
                CaseValue::Optional(item.map(Box::new))
            }
        })
    }

    fn tensor(&self, name: &str, (code, shape, blob): &(u16, Vec<u64>, usize)) -> Result<Tensor, StoreError> {
        let damaged = |what: &str| StoreError::Damaged(format!("case {}, value {name}: {what}", self.entry.name));
        let bytes = self.store.blob(*blob).ok_or_else(|| damaged("it has no bytes"))?;
        let dtype = DType::from_code(*code)
            .ok_or_else(|| StoreError::ElementType { case: self.entry.name.clone(), code: *code })?;
        let elements = tensor::elements(shape).ok_or_else(|| damaged("its shape overflows"))?;
        let fits = match dtype {
            DType::String => crate::strings::read(bytes).is_some_and(|texts| texts.len() as u64 == elements),
            _ => dtype.bytes(elements) == Some(bytes.len() as u64),
        };
        if !fits {
            return Err(damaged("its bytes do not fit its shape"));
        }
        Ok(Tensor { dtype, shape: shape.clone(), bytes: bytes.into() })
    }
}

/// The content of the file, its header checked.
fn inflate(bytes: &[u8], expected: usize) -> Result<Vec<u8>, StoreError> {
    let damaged = |what: &str| StoreError::Damaged(what.to_owned());
    let (header, packed) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(|| damaged("it has no header"))?;
    if header[..16] != *MAGIC {
        return Err(damaged("it does not begin as a case store does"));
    }
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if word(16) != FORMAT {
        return Err(StoreError::Format(word(16)));
    }
    if word(20) as usize != expected {
        return Err(StoreError::Count { expected, found: word(20) as usize });
    }
    let length = u64::from(word(24)) | u64::from(word(28)) << 32;
    if length > MAX_CONTENT_BYTES {
        return Err(damaged("its content is too long"));
    }
    let mut content = Vec::with_capacity(length as usize);
    ZlibDecoder::new(packed)
        .take(length + 1)
        .read_to_end(&mut content)
        .map_err(|error| StoreError::Damaged(error.to_string()))?;
    if content.len() as u64 != length || Sha256::digest(&content)[..] != header[32..64] {
        return Err(damaged("its content is not the one that was written"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_of_the_store_reads() {
        let store = Store::onnx_nodes();
        assert_eq!(store.source(), "onnx 1.23.2");
        assert_eq!(store.cases().len(), ONNX_NODE_CASES);
        let mut outputs = 0;
        for case in store.cases() {
            assert!(!case.model().is_empty() && !case.facts("onnx-node").operators.is_empty(), "{}", case.name());
            assert_eq!(store.case(case.name()).expect("by its name").name(), case.name());
            match case.data() {
                Ok(data) => outputs += data.outputs.len(),
                // Types that the graph library is about to learn.
                Err(StoreError::ElementType { code, .. }) => assert!((24..=26).contains(&code), "{}", case.name()),
                Err(error) => panic!("{error}"),
            }
        }
        assert!(outputs >= ONNX_NODE_CASES);
        assert_eq!(store.cases().filter(|case| case.name().contains("_expanded")).count(), 480);
    }

    #[test]
    fn a_damaged_store_is_refused_wherever_it_is_damaged() {
        let refused = |bytes: &[u8]| Store::read(bytes, ONNX_NODE_CASES).err().expect("refused");
        assert!(matches!(refused(&ONNX_NODE[..40]), StoreError::Damaged(_)));
        assert!(matches!(refused(&ONNX_NODE[..ONNX_NODE.len() / 2]), StoreError::Damaged(_)));
        for at in [0, 40, 70, ONNX_NODE.len() - 3] {
            let mut bytes = ONNX_NODE.to_vec();
            bytes[at] ^= 1;
            assert!(matches!(refused(&bytes), StoreError::Damaged(_)), "byte {at}");
        }
        let mut other = ONNX_NODE.to_vec();
        other[16] = 9;
        assert_eq!(refused(&other), StoreError::Format(9));
        let fewer = Store::read(ONNX_NODE, 7).err();
        assert_eq!(fewer, Some(StoreError::Count { expected: 7, found: ONNX_NODE_CASES }));
    }
}
