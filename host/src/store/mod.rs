//! What is kept on disk between two starts: compiled plugins, prepared models, plans, packed constants.
//!
//! A [`Folder`] belongs to the host's user alone and has a key; nothing in it is used that this key did not mark. [`Store`] is the folder of
//! models, [`Shelf`] the part of it that belongs to one model as its files are now. `codec` puts values into bytes and takes them out again. What
//! is worth keeping, and under which name, is for the rooms above to say. The store is never a reason to fail: what cannot be kept is made anew.

mod abi;
mod codec;
mod constants;
mod folder;
mod graph;
mod shelf;
mod sum;

pub(crate) use codec::{Kept, Reader, encode, kept_choice, kept_record};
pub(crate) use constants::{Constants, Piece};
#[cfg(test)]
pub(crate) use folder::KEY_FILE;
pub(crate) use folder::{Folder, Kind};
pub(crate) use shelf::Shelf;
pub use shelf::{Counts, Store};
pub(crate) use sum::{PIECE_BYTES, Sum};
