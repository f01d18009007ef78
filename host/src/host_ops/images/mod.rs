//! ImageDecoder: the pixels of a JPEG, JPEG 2000, PNG, WebP, TIFF, BMP or PNM file.
//!
//! Gray pictures become three equal channels when colour is asked for, transparency is dropped, and samples of 16 bits lose their lower
//! half. JPEG, BMP and PNM are read here, the others by crates; JPEG so that every sample is what the usual C library gives. Of animations
//! the first picture counts.

mod bmp;
mod jpeg;
mod jpeg2000;
mod png;
mod pnm;
mod reader;
mod tiff;
mod webp;

use super::call::{Call, Outcome, one};
use std::panic::{AssertUnwindSafe, catch_unwind};
use sunmao_graph::{DType, Tensor};

/// Most pixels of a picture.
const PIXELS_MAX: u64 = 1 << 26;

/// A decoded picture, rows from the top, samples of a pixel side by side.
struct Picture {
    width: usize,
    height: usize,
    /// 1: gray, 3: red, green and blue.
    channels: usize,
    samples: Vec<u8>,
}

type Decoder = fn(&[u8]) -> Result<Picture, String>;

/// Pixels as u8[height, width, channels].
pub(super) fn decode(call: &Call<'_>) -> Outcome {
    let file = call.tensor(0)?;
    if file.dtype != DType::U8 || file.shape.len() != 1 {
        return Err(format!("needs the bytes of a file as u8[N] and got {}{:?}", file.dtype, file.shape));
    }
    let format = call.text("pixel_format")?;
    let lay: fn(Picture) -> Vec<u8> = match format {
        "RGB" => |picture| colours(picture, [0, 1, 2]),
        "BGR" => |picture| colours(picture, [2, 1, 0]),
        "Grayscale" => luminance,
        other => return Err(format!("has pixel_format={other:?}; give RGB, BGR or Grayscale")),
    };
    let picture = picture(&file.bytes)?;
    let channels = if format == "Grayscale" { 1 } else { 3 };
    let shape = vec![picture.height as u64, picture.width as u64, channels];
    one(Tensor { dtype: DType::U8, shape, bytes: lay(picture).into() })
}

fn picture(file: &[u8]) -> Result<Picture, String> {
    let (name, decode): (&str, Decoder) = match file {
        [0xff, 0xd8, 0xff, ..] => ("JPEG", jpeg::decode),
        [0x89, b'P', b'N', b'G', ..] => ("PNG", png::decode),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => ("WebP", webp::decode),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => ("TIFF", tiff::decode),
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] | [0xff, 0x4f, 0xff, 0x51, ..] => ("JPEG 2000", jpeg2000::decode),
        [b'B', b'M', ..] => ("BMP", bmp::decode),
        [b'P', b'1'..=b'6', ..] => ("PNM", pnm::decode),
        _ => {
            return Err(
                "got a file of unknown format; JPEG, JPEG 2000, PNG, WebP, TIFF, BMP and PNM are read".to_owned()
            );
        }
    };
    // Decoders of others see bytes of strangers: a panic in one is a damaged picture, not the end of the server.
    let picture = catch_unwind(AssertUnwindSafe(|| decode(file))).unwrap_or_else(|_| Err("is damaged".to_owned()));
    picture.map_err(|why| format!("got a {name} file that {why}"))
}

/// Refuses pictures that are too large, before anything is decoded.
fn check_size(width: u64, height: u64) -> Result<(usize, usize), String> {
    match width.checked_mul(height) {
        Some(pixels) if pixels <= PIXELS_MAX => Ok((width as usize, height as usize)),
        _ => Err(format!("is {width} x {height} pixels, more than 2^26; make it smaller")),
    }
}

/// A picture of the samples of a decoder: the first one or three of each pixel stay.
fn kept(width: usize, height: usize, stored: usize, samples: Vec<u8>) -> Result<Picture, String> {
    let channels = if stored < 3 { 1 } else { 3 };
    if stored == 0 || samples.len() != width * height * stored {
        return Err("is cut off".to_owned());
    }
    let samples = if stored == channels {
        samples
    } else {
        samples.chunks_exact(stored).flat_map(|pixel| &pixel[..channels]).copied().collect()
    };
    Ok(Picture { width, height, channels, samples })
}

fn colours(picture: Picture, order: [usize; 3]) -> Vec<u8> {
    match picture.channels {
        1 => picture.samples.iter().flat_map(|gray| [*gray; 3]).collect(),
        _ if order == [0, 1, 2] => picture.samples,
        _ => picture.samples.chunks_exact(3).flat_map(|pixel| order.map(|channel| pixel[channel])).collect(),
    }
}

/// ITU-R BT.601 luma in 16-bit fixed point, as Pillow rounds it.
fn luminance(picture: Picture) -> Vec<u8> {
    if picture.channels == 1 {
        return picture.samples;
    }
    let luma = |pixel: &[u8]| {
        let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
        // The factors add up to 2^16.
        ((red * 19_595 + green * 38_470 + blue * 7_471 + 0x8000) >> 16) as u8
    };
    picture.samples.chunks_exact(3).map(luma).collect()
}

#[cfg(test)]
mod tests;
