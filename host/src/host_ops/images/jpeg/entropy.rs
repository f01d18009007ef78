//! Bits of a scan, and Huffman codes among them.

/// A Huffman table: codes of one length are consecutive numbers.
pub(super) struct Table {
    /// For each length, the first code that is too large for it, aligned to 16 bits.
    limits: [u32; 16],
    /// For each length, what to add to a code to get its place in `values`.
    offsets: [i32; 16],
    values: Vec<u8>,
}

impl Table {
    /// From the numbers of codes of each length, and their values in order.
    pub(super) fn new(counts: &[u8; 16], values: &[u8]) -> Result<Self, String> {
        let mut table = Table { limits: [0; 16], offsets: [0; 16], values: values.to_vec() };
        let (mut code, mut place) = (0u32, 0i32);
        for (index, count) in counts.iter().enumerate() {
            table.offsets[index] = place - code as i32;
            code += u32::from(*count);
            place += i32::from(*count);
            if code > 1 << (index + 1) {
                return Err("is damaged: a Huffman table has more codes than fit".to_owned());
            }
            table.limits[index] = code << (15 - index);
            code <<= 1;
        }
        Ok(table)
    }
}

/// The coded bits of a scan, up to the next marker.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// The next byte.
    at: usize,
    /// Bits that were read and not yet used, the oldest on top of `count`.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Bits { data, at: 0, buffer: 0, count: 0 }
    }

    fn refill(&mut self) {
        while self.count <= 48 {
            let byte = match self.data.get(self.at..) {
                // A zero is stuffed behind a byte that would look like a marker.
                Some([0xff, 0, ..]) => {
                    self.at += 2;
                    0xff
                }
                Some([0xff, ..] | []) | None => return,
                Some([byte, ..]) => {
                    self.at += 1;
                    *byte
                }
            };
            self.buffer = (self.buffer << 8) | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next 16 bits, zeros behind the end.
    fn peek(&mut self) -> u32 {
        if self.count < 16 {
            self.refill();
        }
        let bits = if self.count < 16 { self.buffer << (16 - self.count) } else { self.buffer >> (self.count - 16) };
        (bits & 0xffff) as u32
    }

    fn skip(&mut self, count: u32) -> Result<(), String> {
        self.count = self.count.checked_sub(count).ok_or("is cut off")?;
        Ok(())
    }

    /// The next `count` bits, at most 16.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, String> {
        if count == 0 {
            return Ok(0);
        }
        let bits = self.peek() >> (16 - count);
        self.skip(count)?;
        Ok(bits)
    }

    /// A signed number of `size` bits: those that start with 0 are negative.
    pub(super) fn signed(&mut self, size: u32) -> Result<i32, String> {
        if size == 0 {
            return Ok(0);
        }
        let bits = self.take(size)? as i32;
        Ok(if bits < 1 << (size - 1) { bits - (1 << size) + 1 } else { bits })
    }

    /// The value of the next code.
    pub(super) fn code(&mut self, table: &Table) -> Result<u8, String> {
        let bits = self.peek();
        let index =
            table.limits.iter().position(|limit| bits < *limit).ok_or("is damaged: a code that no table has")?;
        self.skip(index as u32 + 1)?;
        let place = (bits >> (15 - index)) as i32 + table.offsets[index];
        // In range by construction of the limits.
        Ok(table.values[place as usize])
    }

    /// Goes behind the restart marker that must follow.
    pub(super) fn restart(&mut self) -> Result<(), String> {
        (self.buffer, self.count) = (0, 0);
        match self.data.get(self.at..) {
            Some([0xff, 0xd0..=0xd7, ..]) => {
                self.at += 2;
                Ok(())
            }
            _ => Err("is damaged: a restart marker is missing".to_owned()),
        }
    }

    /// Bytes that were read.
    pub(super) fn position(&self) -> usize {
        self.at
    }
}
