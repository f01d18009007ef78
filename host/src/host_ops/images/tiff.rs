//! TIFF, by the crate of the same name: gray and RGB of 8 or 16 bits, uncompressed or by LZW, Deflate or PackBits.

use super::{Picture, check_size, kept};
use ::tiff::ColorType;
use ::tiff::decoder::{Decoder, DecodingResult, Limits};
use std::io::Cursor;

pub(super) fn decode(file: &[u8]) -> Result<Picture, String> {
    let damaged = |error: ::tiff::TiffError| format!("cannot be read ({error})");
    let mut decoder = Decoder::new(Cursor::new(file)).map_err(damaged)?.with_limits(Limits::default());
    let (width, height) = decoder.dimensions().map_err(damaged)?;
    let (width, height) = check_size(width.into(), height.into())?;
    let channels = match decoder.colortype().map_err(damaged)? {
        ColorType::Gray(8 | 16) => 1,
        ColorType::GrayA(8 | 16) => 2,
        ColorType::RGB(8 | 16) => 3,
        ColorType::RGBA(8 | 16) => 4,
        other => return Err(format!("has pixels of {other:?}; save it as gray or RGB of 8 bits")),
    };
    let samples = match decoder.read_image().map_err(damaged)? {
        DecodingResult::U8(samples) => samples,
        DecodingResult::U16(samples) => samples.into_iter().map(|sample| (sample >> 8) as u8).collect(),
        _ => return Err("has samples that are no unsigned bytes; save it with 8 bits".to_owned()),
    };
    kept(width, height, channels, samples)
}
