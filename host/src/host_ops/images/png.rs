//! PNG, by the crate of the same name: palettes resolved, samples of 8 bits.

use super::{Picture, check_size, kept};
use ::png::{Decoder, Limits, Transformations};
use std::io::Cursor;

pub(super) fn decode(file: &[u8]) -> Result<Picture, String> {
    let damaged = |error: ::png::DecodingError| format!("is damaged ({error})");
    let mut decoder = Decoder::new_with_limits(Cursor::new(file), Limits { bytes: 1 << 30 });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (width, height) = reader.info().size();
    let (width, height) = check_size(width.into(), height.into())?;
    let channels = reader.output_color_type().0.samples();
    let mut samples = vec![0; reader.output_buffer_size().ok_or("is too large")?];
    reader.next_frame(&mut samples).map_err(damaged)?;
    kept(width, height, channels, samples)
}
