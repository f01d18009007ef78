//! Whether what a kernel asks for can be planned at all.

use sunmao_plugin_sdk::abi;

/// A shard's scratch; more than this is a plugin gone wrong.
const MAX_WORKSPACE_BYTES: u32 = 1 << 30;
const KEY_MAX_BYTES: usize = 128;
const ALIGN_MAX: u32 = 4096;

/// Refuses what no honest kernel asks for; the error says what that was.
pub fn plausible(operation: &abi::Operation, requirements: &abi::Requirements) -> Result<(), String> {
    if requirements.workspace > MAX_WORKSPACE_BYTES {
        return Err(format!("{} bytes of workspace", requirements.workspace));
    }
    for packed in &requirements.packed {
        let operand = operation.inputs.get(packed.input as usize).and_then(Option::as_ref);
        if !operand.is_some_and(|operand| operand.constant) {
            return Err(format!("packing input {}, which is no constant", packed.input));
        }
        let twice = requirements.packed.iter().filter(|other| other.input == packed.input).count() > 1;
        let odd = packed.bytes == 0
            || packed.key.len() > KEY_MAX_BYTES
            || !packed.align.is_power_of_two()
            || packed.align > ALIGN_MAX;
        if twice || odd {
            return Err(format!("an odd packed form of input {}", packed.input));
        }
    }
    let inputs = operation.inputs.len() as u32;
    let outputs = operation.outputs.len() as u32;
    if requirements.in_place.iter().any(|alias| alias.input >= inputs || alias.output >= outputs) {
        return Err("an in-place operand that does not exist".into());
    }
    Ok(())
}
