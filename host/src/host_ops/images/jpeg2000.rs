//! JPEG 2000, by the crate hayro-jpeg2000: gray and RGB, in JP2 files and bare code streams.

use super::{Picture, check_size, kept};
use hayro_jpeg2000::{ColorSpace, DecodeSettings, DecoderContext, Image};

pub(super) fn decode(file: &[u8]) -> Result<Picture, String> {
    let damaged = |error: hayro_jpeg2000::error::DecodeError| format!("is damaged ({error})");
    let image = Image::new(file, &DecodeSettings::default()).map_err(damaged)?;
    let (width, height) = check_size(image.width().into(), image.height().into())?;
    let colours = match image.color_space() {
        ColorSpace::Gray | ColorSpace::Icc { num_channels: 1, .. } => 1,
        ColorSpace::RGB | ColorSpace::Icc { num_channels: 3, .. } => 3,
        _ => return Err("has other colours than gray or RGB; save it as RGB".to_owned()),
    };
    let channels = colours + usize::from(image.has_alpha());
    let mut context = DecoderContext::default();
    let samples = image.decode(&mut context).map_err(damaged)?.data_u8();
    kept(width, height, channels, samples)
}
