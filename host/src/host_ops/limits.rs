//! How much one operator may make and do: its sizes come from strangers.

/// Largest result, bytes.
pub(super) const RESULT_BYTES_MAX: u64 = 1 << 30;
/// Most strings of one tensor.
pub(super) const STRINGS_MAX: u64 = 1 << 24;
/// Most members of a sequence.
pub(super) const SEQUENCE_MAX: usize = 1 << 20;
/// Most elements whose places are listed.
pub(super) const PLACES_MAX: u64 = 1 << 27;

/// Refuses a result that is too large.
pub(super) fn check_bytes(bytes: Option<u64>) -> Result<usize, String> {
    match bytes {
        Some(bytes) if bytes <= RESULT_BYTES_MAX => {
            usize::try_from(bytes).map_err(|_| "makes a result that this machine cannot address".to_owned())
        }
        _ => Err("would make a result of more than 1 GiB; give it less to work on".to_owned()),
    }
}

/// Steps that an operator may take whose work grows faster than its operands.
pub(super) struct Steps(u64);

impl Steps {
    /// 2^34 steps: about ten seconds of comparisons.
    pub(super) fn new() -> Self {
        Steps(1 << 34)
    }

    /// Takes some of them.
    pub(super) fn take(&mut self, count: u64) -> Result<(), String> {
        self.0 = self.0.checked_sub(count).ok_or("would take more than 2^34 steps; give it less to work on")?;
        Ok(())
    }
}
