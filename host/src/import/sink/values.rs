//! Symbols, values, and where constants have their bytes.

use super::{Answer, GraphSink, NAME_MAX_BYTES, Origin, invalid, refuse, shown, too_many};
use crate::import::decode::Encoding;
use crate::import::grants::lock;
use crate::plugin::importer::{self as plain, Content, Role};
use sunmao_graph::{self as ir, DType, Dim, SymbolId};
use sunmao_plugin_sdk::ErrorCode;

const SYMBOLS_MAX: usize = 1 << 16;
const VALUES_MAX: usize = 1 << 22;
const RANK_MAX: usize = 32;
const LITERAL_MAX_BYTES: usize = 1024;

impl GraphSink {
    pub(super) fn add_symbol(&mut self, symbol: plain::Symbol) -> Answer<u32> {
        self.building()?;
        if self.graph.symbols.len() >= SYMBOLS_MAX {
            return too_many("symbols", SYMBOLS_MAX);
        }
        self.keep_text(symbol.name.len())?;
        let what = shown(&symbol.name);
        if symbol.name.len() > NAME_MAX_BYTES || symbol.name.chars().any(char::is_control) {
            return invalid(format!(
                "symbol {what}: a name of at most {NAME_MAX_BYTES} bytes without control characters"
            ));
        }
        if symbol.min > symbol.max || symbol.multiple_of == 0 {
            return invalid(format!(
                "symbol {what}: {} to {} in steps of {}",
                symbol.min, symbol.max, symbol.multiple_of
            ));
        }
        if !symbol.name.is_empty() && !self.symbol_names.insert(symbol.name.clone()) {
            return invalid(format!("two symbols have the name {what}"));
        }
        self.graph.symbols.push(ir::Symbol {
            name: symbol.name,
            min: symbol.min,
            max: symbol.max,
            multiple_of: symbol.multiple_of,
        });
        Ok(self.graph.symbols.len() as u32 - 1)
    }

    pub(super) fn add_value(&mut self, value: plain::Value) -> Answer<u32> {
        self.building()?;
        if self.graph.values.len() >= VALUES_MAX {
            return too_many("values", VALUES_MAX);
        }
        let what = format!("value {}", shown(&value.name));
        self.keep_text(value.name.len())?;
        if value.name.len() > NAME_MAX_BYTES || value.name.chars().any(char::is_control) {
            return invalid(format!("{what}: a name of at most {NAME_MAX_BYTES} bytes without control characters"));
        }
        let unsupported = |why: &str| refuse(ErrorCode::Unsupported, format!("{what}: {why}"));
        if value.role == Role::State || value.state.is_some() {
            return unsupported("state that lasts from run to run is not supported yet");
        }
        if value.quantisation.is_some() {
            return unsupported(
                "quantisation on a value is not supported yet: use QuantizeLinear and DequantizeLinear",
            );
        }
        let dtype = match value.dtype {
            0 => None,
            code => match DType::from_code(code) {
                Some(dtype) => Some(dtype),
                None => return unsupported(&format!("element type {code:#x} is not supported yet")),
            },
        };
        let shape = match value.shape {
            None => None,
            Some(dims) if dims.len() > RANK_MAX => return invalid(format!("{what}: more than {RANK_MAX} axes")),
            Some(dims) => {
                let dims = dims.into_iter().map(|dim| self.dim(dim));
                Some(dims.collect::<Answer<Vec<_>>>()?)
            }
        };
        let role = match (value.role, value.content) {
            (Role::Constant, Some(content)) => ir::Role::Constant(self.content(&what, content, dtype, &shape)?),
            (Role::Constant, None) => return invalid(format!("{what}: a constant without content")),
            (_, Some(_)) => return invalid(format!("{what}: content for what is no constant")),
            (Role::Input, None) => ir::Role::Input,
            (_, None) => ir::Role::Computed,
        };
        if value.name.is_empty() && matches!(value.role, Role::Input | Role::Output) {
            return invalid("an input or output without a name");
        }
        if !value.name.is_empty() && !self.names.insert(value.name.clone()) {
            return invalid(format!("two values have the name {}", shown(&value.name)));
        }
        self.origins.push(if role == ir::Role::Computed { Origin::Open } else { Origin::Given });
        Ok(self.graph.add_value(ir::Value { name: value.name, dtype, shape, container: ir::Container::Tensor, role }).0)
    }

    fn dim(&self, dim: plain::Dim) -> Answer<Dim> {
        match dim {
            plain::Dim::Known(length) => Ok(Dim::Known(length)),
            plain::Dim::Symbolic(symbol) if (symbol as usize) < self.graph.symbols.len() => {
                Ok(Dim::Symbol(SymbolId(symbol)))
            }
            plain::Dim::Symbolic(symbol) => invalid(format!("there is no symbol {symbol}")),
        }
    }

    fn content(
        &mut self,
        what: &str,
        content: Content,
        dtype: Option<DType>,
        shape: &Option<Vec<Dim>>,
    ) -> Answer<ir::Content> {
        let Some(dtype) = dtype else { return invalid(format!("{what}: a constant of no type")) };
        let dims = shape.as_ref().and_then(|dims| dims.iter().map(|dim| dim.known()).collect::<Option<Vec<_>>>());
        let elements = dims.and_then(|dims| dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim)));
        let Some(elements) = elements else { return invalid(format!("{what}: a constant of no known shape")) };
        match content {
            Content::Literal(bytes) => {
                self.keep_text(bytes.len())?;
                if bytes.len() > LITERAL_MAX_BYTES || dtype.bytes(elements) != Some(bytes.len() as u64) {
                    return refuse(
                        ErrorCode::InvalidData,
                        format!("{what}: {} bytes for {elements} elements of {dtype}", bytes.len()),
                    );
                }
                Ok(ir::Content::Bytes(bytes.into()))
            }
            Content::Weight(weight) => {
                let Some(encoding) = Encoding::from_name(&weight.encoding) else {
                    let why = format!("{what}: the encoding {} is not known to this host", shown(&weight.encoding));
                    return refuse(ErrorCode::Unsupported, why);
                };
                if !weight.strides.is_empty() {
                    return refuse(ErrorCode::Unsupported, format!("{what}: strided weights are not supported yet"));
                }
                encoding
                    .check(dtype, elements, weight.length)
                    .or_else(|why| refuse(ErrorCode::InvalidData, format!("{what}: {why}")))?;
                let files = lock(&self.files);
                let size = files.source(weight.source).map(|source| source.bytes);
                let inside =
                    weight.offset.checked_add(weight.length).is_some_and(|end| size.is_some_and(|size| end <= size));
                if !inside {
                    return refuse(
                        ErrorCode::InvalidData,
                        format!(
                            "{what}: bytes {} + {} leave the file: it is cut short, or damaged",
                            weight.offset, weight.length
                        ),
                    );
                }
                Ok(ir::Content::Weight(ir::Weight {
                    source: weight.source,
                    offset: weight.offset,
                    length: weight.length,
                    encoding: weight.encoding,
                }))
            }
        }
    }
}
