//! Element types by the names of the Open Inference Protocol.

use sunmao_graph::DType;

/// The protocol's name for an element type; none for one that it has no name for.
pub fn datatype(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::Bool => "BOOL",
        DType::U8 => "UINT8",
        DType::U16 => "UINT16",
        DType::U32 => "UINT32",
        DType::U64 => "UINT64",
        DType::I8 => "INT8",
        DType::I16 => "INT16",
        DType::I32 => "INT32",
        DType::I64 => "INT64",
        DType::F16 => "FP16",
        DType::BF16 => "BF16",
        DType::F32 => "FP32",
        DType::F64 => "FP64",
        DType::String => "BYTES",
        _ => return None,
    })
}

/// The element type of that name.
pub fn from_datatype(name: &str) -> Option<DType> {
    DType::ALL.iter().copied().find(|&dtype| datatype(dtype) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_type() {
        let named: Vec<_> = DType::ALL.iter().filter_map(|&dtype| Some((dtype, datatype(dtype)?))).collect();
        assert_eq!(named.len(), 14);
        for (dtype, name) in named {
            assert_eq!(from_datatype(name), Some(dtype));
        }
        assert_eq!(from_datatype("FLOAT"), None);
    }
}
