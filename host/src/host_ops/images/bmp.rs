//! Windows bitmaps, uncompressed: palettes of 1, 4 and 8 bits, colours of 24 and 32 bits.

use super::reader::Reader;
use super::{Picture, check_size};

const FILE_HEADER: usize = 14;

struct Header {
    /// Where the rows start in the file.
    rows: usize,
    /// Bytes of the header behind the file's, in front of the palette.
    size: usize,
    width: u32,
    /// Negative: rows from the top.
    height: i32,
    bits: u16,
    palette: usize,
    /// Bytes of a colour of the palette.
    entry: usize,
}

pub(super) fn decode(file: &[u8]) -> Result<Picture, String> {
    let header = header(file)?;
    let (width, height) = check_size(header.width.into(), header.height.unsigned_abs().into())?;
    let bits = usize::from(header.bits);
    let row_bytes = (width * bits).div_ceil(32) * 4;
    let mut reader = Reader::new(file);
    reader.go_to(FILE_HEADER + header.size);
    let palette = if bits <= 8 { reader.take(header.palette * header.entry)? } else { &[] };
    reader.go_to(header.rows);
    let rows = reader.take(row_bytes * height)?;
    let mut samples = Vec::with_capacity(width * height * 3);
    for row in 0..height {
        let row = if header.height < 0 { row } else { height - 1 - row };
        let row = &rows[row * row_bytes..][..row_bytes];
        for column in 0..width {
            let colour = if bits <= 8 {
                let index = palette_index(row, column, bits) * header.entry;
                palette.get(index..index + 3).ok_or("names a colour that its palette does not have")?
            } else {
                &row[column * bits / 8..][..3]
            };
            samples.extend([colour[2], colour[1], colour[0]]);
        }
    }
    Ok(Picture { width, height, channels: 3, samples })
}

fn palette_index(row: &[u8], column: usize, bits: usize) -> usize {
    let first = column * bits;
    usize::from(row[first / 8] >> (8 - bits - first % 8)) & ((1 << bits) - 1)
}

fn header(file: &[u8]) -> Result<Header, String> {
    let mut reader = Reader::new(file);
    reader.take(10)?;
    let rows = u32::from_le_bytes(reader.array()?) as usize;
    let size = u32::from_le_bytes(reader.array()?) as usize;
    // The first version had short fields and nothing behind the bits.
    let (width, height, bits, compression, used) = if size == 12 {
        let (width, height) = (u16::from_le_bytes(reader.array()?), u16::from_le_bytes(reader.array()?));
        reader.take(2)?;
        (u32::from(width), i32::from(height), u16::from_le_bytes(reader.array()?), 0, 0)
    } else {
        let (width, height) = (u32::from_le_bytes(reader.array()?), i32::from_le_bytes(reader.array()?));
        reader.take(2)?;
        let bits = u16::from_le_bytes(reader.array()?);
        let compression = u32::from_le_bytes(reader.array()?);
        reader.take(12)?;
        (width, height, bits, compression, u32::from_le_bytes(reader.array()?) as usize)
    };
    if compression != 0 || !matches!(bits, 1 | 4 | 8 | 24 | 32) {
        return Err(format!("has {bits} bits a pixel and compression {compression}; save it uncompressed"));
    }
    let most = if bits <= 8 { 1 << bits } else { 0 };
    let palette = if used == 0 { most } else { used.min(most) };
    Ok(Header { rows, size, width, height, bits, palette, entry: if size == 12 { 3 } else { 4 } })
}
