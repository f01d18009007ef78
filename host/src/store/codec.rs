//! Values as bytes, and back. Not a format for others: what is read was marked by this very build of the host (see `shelf`), so there are no versions.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A value that can be kept.
pub(crate) trait Kept: Sized {
    /// Appends the value.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes it back; none: these bytes are no such value.
    fn take(from: &mut Reader<'_>) -> Option<Self>;

    /// Appends a list, without its length.
    fn put_all(list: &[Self], out: &mut Vec<u8>) {
        list.iter().for_each(|item| item.put(out));
    }

    /// Takes a list of that length.
    fn take_all(count: usize, from: &mut Reader<'_>) -> Option<Vec<Self>> {
        // A value takes a byte at least, so that a wrong count cannot ask for much memory.
        let mut list = Vec::with_capacity(count.min(from.rest.len()));
        for _ in 0..count {
            list.push(Self::take(from)?);
        }
        Some(list)
    }
}

/// Bytes that values are taken from.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }
}

/// A value as bytes.
pub(crate) fn encode(value: &impl Kept) -> Vec<u8> {
    let mut out = Vec::new();
    value.put(&mut out);
    out
}

/// The value that these bytes are, all of them.
pub(crate) fn decode<T: Kept>(bytes: &[u8]) -> Option<T> {
    let mut from = Reader { rest: bytes };
    let value = T::take(&mut from)?;
    from.rest.is_empty().then_some(value)
}

/// Keeps a structure field by field. A field that is missing here does not compile.
macro_rules! kept_record {
    ($($type:ty { $($field:ident),* $(,)? })*) => { $(
        impl $crate::store::Kept for $type {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($crate::store::Kept::put($field, out);)*
            }
            fn take(from: &mut $crate::store::Reader<'_>) -> Option<Self> {
                Some(Self { $($field: $crate::store::Kept::take(from)?,)* })
            }
        }
    )* };
}
pub(crate) use kept_record;

/// Keeps an enumeration by a number for each variant.
macro_rules! kept_choice {
    ($($type:ty { $($number:literal = $variant:ident $(($item:ident))? $({ $($field:ident),* })?),* $(,)? })*) => { $(
        impl $crate::store::Kept for $type {
            fn put(&self, out: &mut Vec<u8>) {
                match self { $(
                    Self::$variant $(($item))? $({ $($field),* })? => {
                        out.push($number);
                        $($crate::store::Kept::put($item, out);)?
                        $($($crate::store::Kept::put($field, out);)*)?
                    }
                )* }
            }
            fn take(from: &mut $crate::store::Reader<'_>) -> Option<Self> {
                match <u8 as $crate::store::Kept>::take(from)? {
                    $($number => {
                        $(let $item = $crate::store::Kept::take(from)?;)?
                        $($(let $field = $crate::store::Kept::take(from)?;)*)?
                        Some(Self::$variant $(($item))? $({ $($field),* })?)
                    })*
                    _ => None,
                }
            }
        }
    )* };
}
pub(crate) use kept_choice;

macro_rules! numbers {
    ($($type:ty)*) => { $(
        impl Kept for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }
            fn take(from: &mut Reader<'_>) -> Option<Self> {
                Some(<$type>::from_le_bytes(from.bytes(size_of::<$type>())?.try_into().ok()?))
            }
        }
    )* };
}
numbers!(u16 u32 u64 i64 f32 f64);

impl Kept for u8 {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        from.bytes(1).map(|bytes| bytes[0])
    }

    fn put_all(list: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(list);
    }

    fn take_all(count: usize, from: &mut Reader<'_>) -> Option<Vec<Self>> {
        from.bytes(count).map(<[u8]>::to_vec)
    }
}

impl Kept for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        match u8::take(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Kept for usize {
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u64).put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        u64::take(from)?.try_into().ok()
    }
}

impl Kept for String {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        String::from_utf8(Vec::take(from)?).ok()
    }
}

impl<T: Kept> Kept for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        T::put_all(self, out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let count = usize::take(from)?;
        T::take_all(count, from)
    }
}

impl Kept for Arc<[u8]> {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        out.extend_from_slice(self);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let count = usize::take(from)?;
        from.bytes(count).map(Arc::from)
    }
}

impl<T: Kept> Kept for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some(if bool::take(from)? { Some(T::take(from)?) } else { None })
    }
}

impl<A: Kept, B: Kept> Kept for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

impl<K: Kept + Ord, V: Kept> Kept for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let count = usize::take(from)?;
        (0..count).map(|_| Some((K::take(from)?, V::take(from)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Value = (Vec<Option<String>>, BTreeMap<u32, (f64, Vec<u8>)>);

    #[test]
    fn what_was_put_comes_back_and_nothing_else_does() {
        let value: Value =
            (vec![Some("é".into()), None], BTreeMap::from([(7, (-0.0, vec![1, 2])), (9, (0.5, vec![]))]));
        let bytes = encode(&value);
        assert_eq!(decode::<Value>(&bytes), Some(value));
        for cut in 0..bytes.len() {
            assert_eq!(decode::<Value>(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(decode::<Value>(&[&bytes[..], &[0]].concat()), None, "more than a value");
        assert_eq!(decode::<bool>(&[2]), None);
        assert_eq!(decode::<String>(&encode(&vec![0xffu8])), None);
    }

    #[test]
    fn a_count_beyond_the_bytes_asks_for_no_memory() {
        assert_eq!(decode::<Vec<u64>>(&encode(&u64::MAX)), None);
        assert_eq!(decode::<Vec<u8>>(&encode(&(1u64 << 60))), None);
        assert_eq!(decode::<BTreeMap<u8, u8>>(&encode(&u64::MAX)), None);
    }
}
