//! Portable bitmaps, graymaps and pixmaps (PBM, PGM, PPM), as text and as bytes.

use super::{Picture, check_size};

pub(super) fn decode(file: &[u8]) -> Result<Picture, String> {
    let kind = file.get(1).copied().ok_or("is cut off")?;
    let (channels, text, bitmap) = match kind {
        b'1' => (1, true, true),
        b'2' => (1, true, false),
        b'3' => (3, true, false),
        b'4' => (1, false, true),
        b'5' => (1, false, false),
        _ => (3, false, false),
    };
    let mut fields = Fields { rest: &file[2..] };
    let (width, height) = (fields.number()?, fields.number()?);
    let most = if bitmap { 1 } else { fields.number()? };
    let (width, height) = check_size(width.into(), height.into())?;
    if most == 0 || most > 65_535 {
        return Err(format!("has samples up to {most}; save it with samples up to 255"));
    }
    let count = width * height * channels;
    let mut samples = Vec::with_capacity(count);
    if text {
        for _ in 0..count {
            samples.push(scaled(if bitmap { fields.digit()? } else { fields.number()? }, most));
        }
    } else {
        // One blank ends the head.
        let data = fields.rest.get(1..).ok_or("is cut off")?;
        let row_bytes = match (bitmap, most > 255) {
            (true, _) => width.div_ceil(8),
            (false, wide) => width * channels * (1 + usize::from(wide)),
        };
        let data = data.get(..row_bytes * height).ok_or("is cut off")?;
        if bitmap {
            for row in data.chunks_exact(row_bytes.max(1)) {
                samples.extend((0..width).map(|column| scaled(u32::from(row[column / 8] >> (7 - column % 8) & 1), 1)));
            }
        } else if most > 255 {
            samples.extend(data.as_chunks().0.iter().map(|pair| scaled(u16::from_be_bytes(*pair).into(), most)));
        } else {
            samples.extend(data.iter().map(|sample| scaled((*sample).into(), most)));
        }
    }
    if bitmap {
        // A set bit is black.
        samples.iter_mut().for_each(|sample| *sample = 255 - *sample);
    }
    Ok(Picture { width, height, channels, samples })
}

/// A sample of `0..=most` as one of `0..=255`.
fn scaled(sample: u32, most: u32) -> u8 {
    let sample = sample.min(most);
    // At most 255: checked above.
    if most == 255 { sample as u8 } else { ((sample * 255 + most / 2) / most) as u8 }
}

/// Numbers between blanks and comments.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn skip_blanks(&mut self) {
        while let Some((first, behind)) = self.rest.split_first() {
            match first {
                b'#' => {
                    let end = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                }
                blank if blank.is_ascii_whitespace() => self.rest = behind,
                _ => break,
            }
        }
    }

    fn number(&mut self) -> Result<u32, String> {
        self.skip_blanks();
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, behind) = self.rest.split_at(length);
        self.rest = behind;
        let digits = std::str::from_utf8(digits).expect("digits are text");
        digits.parse().map_err(|_| "has no number where its head or a sample should be".to_owned())
    }

    /// A single digit: bits may stand without blanks between them.
    fn digit(&mut self) -> Result<u32, String> {
        self.skip_blanks();
        let (first, behind) = self.rest.split_first().ok_or("is cut off")?;
        self.rest = behind;
        match first {
            b'0' => Ok(0),
            b'1' => Ok(1),
            _ => Err("has bits that are neither 0 nor 1".to_owned()),
        }
    }
}
