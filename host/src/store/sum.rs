//! A fast sum over bytes under a secret key, for content that is too large to be hashed at each start.
//!
//! It tells damage, and content that was exchanged by somebody who does not know the key; it is no signature: the sums go into an HMAC, which is.
//! The scheme is the inner loop of XXH3: eight lanes of 64 bits, in each of which the two halves of (data XOR key) are multiplied and added
//! up, with a scramble of the lanes after each block. Plain code, which compilers turn into vector code for any processor.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The sum of some bytes.
pub(crate) type Sum = [u64; LANES];

/// Large content is summed in parts of this size, each for itself: several threads can share in it, and what was read stays in their caches.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

const LANES: usize = 8;
const STRIPE_BYTES: usize = LANES * 8;
const STRIPES: usize = 16;
const BLOCK_BYTES: usize = STRIPES * STRIPE_BYTES;
/// 2^32 - 5, a prime: odd, so that multiplying loses nothing.
const PRIME: u64 = 0xffff_fffb;

/// Secret numbers, one for each 8 bytes of a block, and one more a lane for the scramble.
#[derive(Debug)]
pub(crate) struct SumKey([Sum; STRIPES + 1]);

impl SumKey {
    /// Numbers that follow from `mac`'s key and from nothing else.
    pub(super) fn new(mac: &Hmac<Sha256>) -> Self {
        let mut numbers = [[0; LANES]; STRIPES + 1];
        for (index, numbers) in numbers.as_flattened_mut().chunks_mut(4).enumerate() {
            let bytes = mac.clone().chain_update((index as u64).to_le_bytes()).finalize().into_bytes();
            for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *number = u64::from_le_bytes(*bytes);
            }
        }
        Self(numbers)
    }

    /// The sum of `bytes`.
    pub(crate) fn sum(&self, bytes: &[u8]) -> Sum {
        let mut lanes = self.0[STRIPES];
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        for block in blocks {
            self.block(&mut lanes, block);
        }
        let mut last = [0; BLOCK_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        self.block(&mut lanes, &last);
        lanes[0] ^= bytes.len() as u64;
        lanes
    }

    #[inline]
    fn block(&self, lanes: &mut Sum, block: &[u8; BLOCK_BYTES]) {
        for (stripe, key) in block.as_chunks::<STRIPE_BYTES>().0.iter().zip(&self.0) {
            let mut data = [0; LANES];
            for (data, bytes) in data.iter_mut().zip(stripe.as_chunks::<8>().0) {
                *data = u64::from_le_bytes(*bytes);
            }
            for (lane, sum) in lanes.iter_mut().enumerate() {
                let keyed = data[lane] ^ key[lane];
                // The neighbour's data is added as it is, or a half that meets its key and becomes zero would hide the other half.
                *sum = sum.wrapping_add(data[lane ^ 1]).wrapping_add((keyed & 0xffff_ffff).wrapping_mul(keyed >> 32));
            }
        }
        for (lane, key) in lanes.iter_mut().zip(&self.0[STRIPES]) {
            *lane = (*lane ^ (*lane >> 47) ^ key).wrapping_mul(PRIME);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::KeyInit;

    fn key(secret: &[u8]) -> SumKey {
        SumKey::new(&Hmac::new_from_slice(secret).unwrap())
    }

    #[test]
    fn every_bit_and_every_length_counts() {
        let key = key(b"secret");
        let bytes: Vec<u8> = (0..3 * BLOCK_BYTES + 100).map(|n| (n * 7 % 251) as u8).collect();
        let whole = key.sum(&bytes);
        assert_eq!(whole, key.sum(&bytes.clone()));
        for at in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
            for bit in [0, 5] {
                let mut spoilt = bytes.clone();
                spoilt[at] ^= 1 << bit;
                assert_ne!(key.sum(&spoilt), whole, "bit {bit} of byte {at}");
            }
        }
        let zeros = vec![0; 2 * BLOCK_BYTES];
        let sums: Vec<Sum> = (0..zeros.len()).step_by(61).map(|length| key.sum(&zeros[..length])).collect();
        assert!(sums.iter().enumerate().all(|(at, sum)| !sums[..at].contains(sum)));
    }

    #[test]
    fn pieces_that_change_places_and_other_keys_give_other_sums() {
        let mut bytes = vec![1; 2 * BLOCK_BYTES];
        bytes[..BLOCK_BYTES].fill(2);
        let mut turned = vec![2; 2 * BLOCK_BYTES];
        turned[..BLOCK_BYTES].fill(1);
        assert_ne!(key(b"a").sum(&bytes), key(b"a").sum(&turned));
        assert_ne!(key(b"a").sum(&bytes), key(b"b").sum(&bytes));
    }
}
