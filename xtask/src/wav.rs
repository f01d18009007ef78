//! Reads the demo's sound file: RIFF WAVE, one channel, 16 bits.

use anyhow::{Context, Result, bail};

/// A sound as numbers from -1 to 1.
pub(crate) struct Sound {
    pub(crate) rate_hz: u32,
    pub(crate) samples: Vec<f32>,
}

/// Takes the file's chunks apart.
pub(crate) fn read(bytes: &[u8]) -> Result<Sound> {
    if bytes.get(..4) != Some(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
        bail!("it is no WAVE file");
    }
    let mut rest = &bytes[12..];
    let mut rate_hz = None;
    while let Some((header, after)) = rest.split_at_checked(8) {
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let chunk = after.get(..length).context("a chunk is cut short")?;
        match &header[..4] {
            b"fmt " => {
                let kind = chunk.get(..16).context("the format is cut short")?;
                if kind[..4] != [1, 0, 1, 0] || kind[14..16] != [16, 0] {
                    bail!("only one channel of 16-bit samples is read here");
                }
                rate_hz = Some(u32::from_le_bytes([kind[4], kind[5], kind[6], kind[7]]));
            }
            b"data" => {
                let samples =
                    chunk.chunks_exact(2).map(|two| f32::from(i16::from_le_bytes([two[0], two[1]])) / 32768.0);
                let rate_hz = rate_hz.context("the samples come before their format")?;
                return Ok(Sound { rate_hz, samples: samples.collect() });
            }
            _ => {}
        }
        // Chunks start at even offsets.
        rest = after.get(length + length % 2..).unwrap_or_default();
    }
    bail!("it has no samples")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_s_melody_is_one_window_of_the_model() {
        let bytes = std::fs::read(crate::workspace::root().join("demo/melody.wav")).expect("is there");
        let sound = read(&bytes).expect("parses");
        assert_eq!((sound.rate_hz, sound.samples.len()), (22050, 43844));
        assert!(sound.samples.iter().all(|sample| (-1.0..1.0).contains(sample)));
    }

    #[test]
    fn what_is_no_sound_is_refused() {
        assert!(read(b"RIFF\0\0\0\0WAVE").is_err());
        assert!(read(b"").is_err());
        assert!(read(b"RIFF\0\0\0\0WAVEdata\xff\xff\xff\xff").is_err());
    }
}
