//! Judges what a chip says about itself. A plugin is a stranger: what it answers is checked here, where it enters, and used afterwards
//! without a second look.

use super::PluginError;
use sunmao_plugin_sdk::abi::{self, Attribute, Kv, Tolerance};

const ROWS_MAX: usize = 4096;
const SIGNATURES_MAX: usize = 1024;
const LIST_MAX: usize = 256;
const TEXT_MAX_BYTES: usize = 1024;
const BYTES_MAX: usize = 4096;
const RANK_MAX: u32 = 32;
const ALIGNMENT_MAX: u32 = 4096;
const SHARDS_MAX: u32 = 1024;
const KEY_MAX_BYTES: usize = 128;

type Check<T = ()> = Result<T, String>;

/// Checks `describe`.
pub(super) fn info(info: &abi::Info) -> Result<(), PluginError> {
    check_info(info).map_err(|what| PluginError::broken("describe", what))
}

/// Checks `operators`.
pub(super) fn operators(rows: &[abi::OperatorSupport]) -> Result<(), PluginError> {
    let check = || {
        count("rows", rows.len(), ROWS_MAX)?;
        rows.iter().try_for_each(|row| {
            check_row(row).map_err(|what| format!("row `{}`: {what}", super::error::clean(&row.op)))
        })
    };
    check().map_err(|what| PluginError::broken("operators", what))
}

/// Checks `requirements` of a kernel that was prepared for `operation`.
pub(super) fn requirements(needs: &abi::Requirements, info: &abi::Info, operation: &Arity) -> Result<(), PluginError> {
    check_requirements(needs, info, operation).map_err(|what| PluginError::broken("requirements", what))
}

/// What is kept of an operation to judge later answers by.
#[derive(Clone, Debug)]
pub(super) struct Arity {
    /// One for each input: whether it is there and constant.
    pub(super) constants: Box<[bool]>,
    pub(super) outputs: usize,
}

impl Arity {
    pub(super) fn of(operation: &abi::Operation) -> Self {
        let constant = |operand: &Option<abi::Operand>| operand.as_ref().is_some_and(|operand| operand.constant);
        Self { constants: operation.inputs.iter().map(constant).collect(), outputs: operation.outputs.len() }
    }
}

fn check_info(info: &abi::Info) -> Check {
    if !is_id(&info.id) {
        return Err(format!("id `{}` is not 1 to 64 of a-z, 0-9 and -", super::error::clean(&info.id)));
    }
    for (what, value) in
        [("vendor", &info.vendor), ("name", &info.name), ("version", &info.version), ("isa", &info.isa)]
    {
        text(what, value)?;
    }
    power_of_two("alignment", info.alignment)?;
    if info.max_shards == 0 || info.max_shards > SHARDS_MAX {
        return Err(format!("max-shards {} is not 1 to {SHARDS_MAX}", info.max_shards));
    }
    if info.vector_bits > 1 << 16 {
        return Err(format!("vector-bits {} is not plausible", info.vector_bits));
    }
    count("units", info.units.len(), LIST_MAX)?;
    for unit in &info.units {
        text("unit", &unit.kind)?;
        text("unit", &unit.name)?;
        kvs(&unit.ext, true)?;
    }
    kvs(&info.ext, true)
}

/// A name that may stand in a configuration, a path and a metric.
pub(super) fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn check_row(row: &abi::OperatorSupport) -> Check {
    text("op", &row.op)?;
    if row.op.is_empty() || !row.op.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-')) {
        return Err("op is not the name of an operator".into());
    }
    if row.revision_min == 0 || row.revision_min > row.revision_max {
        return Err(format!("revisions {} to {}", row.revision_min, row.revision_max));
    }
    count("signatures", row.signatures.len(), SIGNATURES_MAX)?;
    for signature in &row.signatures {
        count("inputs of a signature", signature.inputs.len(), LIST_MAX)?;
        count("outputs of a signature", signature.outputs.len(), LIST_MAX)?;
    }
    if row.max_rank > RANK_MAX {
        return Err(format!("max-rank {} is over {RANK_MAX}", row.max_rank));
    }
    count("layouts", row.layouts.len(), LIST_MAX)?;
    count("epilogues", row.epilogues.len(), LIST_MAX)?;
    row.epilogues.iter().try_for_each(|step| text("epilogue", step))?;
    count("in-place", row.in_place.len(), LIST_MAX)?;
    match row.tolerance {
        Tolerance::Accumulate(factor) | Tolerance::Approximate(factor) if !(factor.is_finite() && factor >= 0.0) => {
            return Err(format!("tolerance {factor}"));
        }
        _ => {}
    }
    // A key may occur twice here: a lower and an upper bound.
    kvs(&row.limits, false)?;
    kvs(&row.ext, true)
}

fn check_requirements(needs: &abi::Requirements, info: &abi::Info, operation: &Arity) -> Check {
    if needs.shards == 0 || needs.shards > info.max_shards {
        return Err(format!("shards {} is not 1 to {}", needs.shards, info.max_shards));
    }
    if needs.workspace.checked_next_multiple_of(info.alignment).is_none() {
        return Err(format!("workspace {} does not fit into memory", needs.workspace));
    }
    let inputs = operation.constants.len();
    count("packed constants", needs.packed.len(), inputs)?;
    for (index, constant) in needs.packed.iter().enumerate() {
        if !operation.constants.get(constant.input as usize).copied().unwrap_or(false) {
            return Err(format!("input {} is to be packed and is no constant", constant.input));
        }
        if needs.packed[..index].iter().any(|other| other.input == constant.input) {
            return Err(format!("input {} is packed twice", constant.input));
        }
        if constant.bytes == 0 {
            return Err(format!("input {} is packed into nothing", constant.input));
        }
        power_of_two("align", constant.align)?;
        if constant.key.len() > KEY_MAX_BYTES {
            return Err(format!("a key of {} bytes", constant.key.len()));
        }
    }
    count("in-place", needs.in_place.len(), LIST_MAX)?;
    for alias in &needs.in_place {
        if alias.output as usize >= operation.outputs || alias.input as usize >= inputs {
            return Err(format!("output {} in place of input {}", alias.output, alias.input));
        }
    }
    count("layouts", needs.layouts.len(), LIST_MAX)?;
    if let Some(choice) = needs.layouts.iter().find(|choice| choice.operand as usize >= inputs + operation.outputs) {
        return Err(format!("a layout for operand {}, which is not there", choice.operand));
    }
    kvs(&needs.ext, true)
}

/// Checks a list of named values; `unique`: a key may occur once only.
pub(super) fn kvs(list: &[Kv], unique: bool) -> Check {
    count("extension keys", list.len(), LIST_MAX)?;
    for (index, kv) in list.iter().enumerate() {
        text("key", &kv.key)?;
        if unique && list[..index].iter().any(|other| other.key == kv.key) {
            return Err(format!("key `{}` occurs twice", super::error::clean(&kv.key)));
        }
        match &kv.val {
            Attribute::Text(value) => text("value", value)?,
            Attribute::Texts(list) => {
                count("texts", list.len(), BYTES_MAX)?;
                list.iter().try_for_each(|value| text("value", value))?;
            }
            Attribute::Integers(list) => count("integers", list.len(), BYTES_MAX)?,
            Attribute::Numbers(list) => count("numbers", list.len(), BYTES_MAX)?,
            Attribute::Bytes(list) => count("bytes", list.len(), BYTES_MAX)?,
            Attribute::Integer(_) | Attribute::Number(_) => {}
            Attribute::Value(_) | Attribute::Block(_) => {
                return Err(format!("key `{}` holds a graph's number", super::error::clean(&kv.key)));
            }
        }
    }
    Ok(())
}

fn count(what: &str, have: usize, most: usize) -> Check {
    if have <= most { Ok(()) } else { Err(format!("{have} {what}, over {most}")) }
}

fn text(what: &str, value: &str) -> Check {
    if value.len() > TEXT_MAX_BYTES {
        return Err(format!("{what} of {} bytes, over {TEXT_MAX_BYTES}", value.len()));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("{what} with control characters"));
    }
    Ok(())
}

fn power_of_two(what: &str, value: u32) -> Check {
    if value.is_power_of_two() && value <= ALIGNMENT_MAX {
        return Ok(());
    }
    Err(format!("{what} {value} is not a power of two up to {ALIGNMENT_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chip() -> abi::Info {
        abi::Info {
            id: "test-chip".into(),
            vendor: String::new(),
            name: String::new(),
            version: "0.1.0".into(),
            isa: "wasm-scalar".into(),
            vector_bits: 0,
            alignment: 64,
            max_shards: 8,
            deterministic: true,
            units: Vec::new(),
            ext: Vec::new(),
        }
    }

    fn row() -> abi::OperatorSupport {
        abi::OperatorSupport {
            op: "Add".into(),
            revision_min: 7,
            revision_max: 14,
            signatures: vec![abi::Signature { inputs: vec![1], outputs: vec![1] }],
            max_rank: 8,
            layouts: Vec::new(),
            limits: Vec::new(),
            epilogues: Vec::new(),
            in_place: Vec::new(),
            tolerance: Tolerance::Exact,
            ext: Vec::new(),
        }
    }

    #[test]
    fn a_sound_chip_passes() {
        info(&chip()).unwrap();
        operators(&[row()]).unwrap();
    }

    #[test]
    fn descriptions_that_the_abi_rules_out_are_refused() {
        let broken: [fn(&mut abi::Info); 7] = [
            |info| info.id = "Big Chip".into(),
            |info| info.id = "x".repeat(65),
            |info| info.alignment = 48,
            |info| info.alignment = 8192,
            |info| info.max_shards = 0,
            |info| info.name = "a\nb".into(),
            |info| {
                let kv = Kv { key: "a".into(), val: Attribute::Integer(1) };
                info.ext = vec![kv.clone(), kv];
            },
        ];
        for (number, spoil) in broken.into_iter().enumerate() {
            let mut spoilt = chip();
            spoil(&mut spoilt);
            assert!(info(&spoilt).is_err(), "{number}");
        }
    }

    #[test]
    fn rows_that_the_abi_rules_out_are_refused() {
        let broken: [fn(&mut abi::OperatorSupport); 5] = [
            |row| row.op = "rm -rf".into(),
            |row| row.revision_min = 15,
            |row| row.max_rank = 1000,
            |row| row.tolerance = Tolerance::Approximate(f32::NAN),
            |row| row.limits = vec![Kv { key: "a".into(), val: Attribute::Block(0) }],
        ];
        for (number, spoil) in broken.into_iter().enumerate() {
            let mut spoilt = row();
            spoil(&mut spoilt);
            assert!(operators(&[spoilt]).is_err(), "{number}");
        }
        assert!(operators(&vec![row(); ROWS_MAX + 1]).is_err());
    }

    #[test]
    fn requirements_that_the_abi_rules_out_are_refused() {
        let operation = Arity { constants: [false, true].into(), outputs: 1 };
        let sound = || abi::Requirements {
            packed: vec![abi::PackedConstant { input: 1, bytes: 64, align: 64, key: "k".into() }],
            in_place: vec![abi::Alias { output: 0, input: 0 }],
            ..abi::Requirements::simple()
        };
        requirements(&sound(), &chip(), &operation).unwrap();
        let broken: [fn(&mut abi::Requirements); 7] = [
            |needs| needs.shards = 0,
            |needs| needs.shards = 9,
            |needs| needs.workspace = u32::MAX,
            |needs| needs.packed[0].input = 0,
            |needs| needs.packed[0].align = 3,
            |needs| needs.in_place[0].output = 1,
            |needs| needs.layouts = vec![abi::LayoutChoice { operand: 3, layout: 1 }],
        ];
        for (number, spoil) in broken.into_iter().enumerate() {
            let mut spoilt = sound();
            spoil(&mut spoilt);
            assert!(requirements(&spoilt, &chip(), &operation).is_err(), "{number}");
        }
    }
}
