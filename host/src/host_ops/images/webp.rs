//! WebP, by the crate image-webp.

use super::{Picture, check_size, kept};
use image_webp::WebPDecoder;
use std::io::Cursor;

pub(super) fn decode(file: &[u8]) -> Result<Picture, String> {
    let damaged = |error: image_webp::DecodingError| format!("is damaged ({error})");
    let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(damaged)?;
    decoder.set_memory_limit(1 << 30);
    let (width, height) = decoder.dimensions();
    let (width, height) = check_size(width.into(), height.into())?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut samples = vec![0; decoder.output_buffer_size().ok_or("is too large")?];
    decoder.read_image(&mut samples).map_err(damaged)?;
    kept(width, height, channels, samples)
}
