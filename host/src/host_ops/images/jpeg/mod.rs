//! JPEG (ITU-T T.81): baseline and progressive, Huffman-coded, 8 bits, gray and colour.
//!
//! Every step rounds as libjpeg's default decoder does, on which Pillow and OpenCV stand, so that samples are equal to theirs and not
//! merely close. Arithmetic coding, lossless coding, 12 bits and CMYK are declined.

mod entropy;
mod samples;
mod scan;

use super::reader::Reader;
use super::{Picture, check_size};
use entropy::Table;

/// Most scans: a progressive file has about ten, and each goes through the whole picture.
const SCANS_MAX: usize = 128;

/// The order in which the coefficients of a block are coded.
#[rustfmt::skip] // As the specification shows it.
const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10,
    17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34,
    27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36,
    29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46,
    53, 60, 61, 54, 47, 55, 62, 63,
];

type Block = [i16; 64];

/// A channel of the picture, sampled as often as the picture or less.
struct Component {
    id: u8,
    /// Blocks of one unit of interleaving, across and down.
    across: usize,
    down: usize,
    /// Number of its quantisation table.
    quantisation: usize,
    /// Samples that mean something.
    width: usize,
    height: usize,
    /// Blocks that are stored: whole units, across and down.
    columns: usize,
    rows: usize,
    /// Coefficients, not yet multiplied, in natural order.
    blocks: Vec<Block>,
}

struct Frame {
    progressive: bool,
    width: usize,
    height: usize,
    /// Most blocks of any component in a unit.
    across: usize,
    down: usize,
    components: Vec<Component>,
}

/// Everything that segments set and later ones use.
#[derive(Default)]
struct State {
    quantisation: [Option<[u16; 64]>; 4],
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    restart_interval: usize,
    frame: Option<Frame>,
    jfif: bool,
    adobe_transform: Option<u8>,
    scans: usize,
}

pub(super) fn decode(file: &[u8]) -> Result<Picture, String> {
    let mut state = State::default();
    let mut at = 2;
    loop {
        let (marker, behind) = next_marker(file, at)?;
        at = behind;
        match marker {
            0xd9 => break,
            // No segment follows these.
            0x01 | 0xd0..=0xd8 => {}
            _ => {
                let mut reader = Reader::new(file);
                reader.go_to(at);
                let length = usize::from(u16::from_be_bytes(reader.array()?));
                let segment = reader.take(length.checked_sub(2).ok_or("is damaged: a segment without a length")?)?;
                at += length;
                if marker == 0xda {
                    at += state.scan(segment, &file[at..])?;
                } else {
                    state.segment(marker, segment)?;
                }
            }
        }
    }
    let frame = state.frame.filter(|_| state.scans > 0).ok_or("is damaged: it holds no picture")?;
    let in_ycc = match (state.jfif, state.adobe_transform) {
        (true, _) => true,
        (false, Some(transform)) => transform != 0,
        (false, None) => !frame.components.iter().map(|component| component.id).eq(*b"RGB"),
    };
    samples::picture(&frame, &state.quantisation, in_ycc)
}

/// The next marker from a place on, and the place behind it.
fn next_marker(file: &[u8], from: usize) -> Result<(u8, usize), String> {
    let pairs = file.get(from..).unwrap_or_default().windows(2);
    let found = pairs.enumerate().find(|(_, pair)| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff));
    found.map(|(at, pair)| (pair[1], from + at + 2)).ok_or_else(|| "is cut off".to_owned())
}

impl State {
    fn segment(&mut self, marker: u8, segment: &[u8]) -> Result<(), String> {
        match marker {
            0xc0..=0xc2 => self.frame_header(marker == 0xc2, segment),
            0xc4 => self.huffman_tables(segment),
            0xc3 | 0xc5..=0xcf => Err("is lossless, hierarchical or arithmetic-coded; save it as baseline".to_owned()),
            0xdb => self.quantisation_tables(segment),
            0xdd => {
                let interval = segment.first_chunk().ok_or("is cut off")?;
                self.restart_interval = usize::from(u16::from_be_bytes(*interval));
                Ok(())
            }
            0xe0 => {
                self.jfif |= segment.starts_with(b"JFIF\0");
                Ok(())
            }
            0xee if segment.starts_with(b"Adobe") => {
                self.adobe_transform = segment.get(11).copied();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn quantisation_tables(&mut self, segment: &[u8]) -> Result<(), String> {
        let mut reader = Reader::new(segment);
        while !reader.rest().is_empty() {
            let head = reader.byte()?;
            let mut table = [0; 64];
            for place in ZIGZAG {
                let wide = head >> 4 != 0;
                table[usize::from(place)] =
                    if wide { u16::from_be_bytes(reader.array()?) } else { reader.byte()?.into() };
            }
            *slot(&mut self.quantisation, head & 15)? = Some(table);
        }
        Ok(())
    }

    fn huffman_tables(&mut self, segment: &[u8]) -> Result<(), String> {
        let mut reader = Reader::new(segment);
        while !reader.rest().is_empty() {
            let head = reader.byte()?;
            let counts: [u8; 16] = reader.array()?;
            let values = reader.take(counts.iter().map(|count| usize::from(*count)).sum())?;
            let tables = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *slot(tables, head & 15)? = Some(Table::new(&counts, values)?);
        }
        Ok(())
    }

    fn frame_header(&mut self, progressive: bool, segment: &[u8]) -> Result<(), String> {
        if self.frame.is_some() {
            return Err("is damaged: it has two pictures".to_owned());
        }
        let mut reader = Reader::new(segment);
        let bits = reader.byte()?;
        if bits != 8 {
            return Err(format!("has samples of {bits} bits; save it with 8"));
        }
        let height = u16::from_be_bytes(reader.array()?);
        let width = u16::from_be_bytes(reader.array()?);
        let (width, height) = check_size(width.into(), height.into())?;
        let count = reader.byte()?;
        if !matches!(count, 1 | 3) || width == 0 || height == 0 {
            return Err(format!("has {count} channels and {width} x {height} pixels; save it as gray or RGB"));
        }
        let mut heads = Vec::new();
        for _ in 0..count {
            let [id, sampling, quantisation] = reader.array()?;
            let (across, down) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
                return Err("is damaged: a channel is sampled neither 1 to 4 times".to_owned());
            }
            heads.push((id, across, down, usize::from(quantisation)));
        }
        let most_across = heads.iter().map(|head| head.1).max().unwrap_or(1);
        let most_down = heads.iter().map(|head| head.2).max().unwrap_or(1);
        let (units, unit_rows) = (width.div_ceil(8 * most_across), height.div_ceil(8 * most_down));
        let component = |(id, across, down, quantisation): (u8, usize, usize, usize)| {
            let (columns, rows) = (units * across, unit_rows * down);
            Component {
                id,
                across,
                down,
                quantisation,
                width: (width * across).div_ceil(most_across),
                height: (height * down).div_ceil(most_down),
                columns,
                rows,
                blocks: vec![[0; 64]; columns * rows],
            }
        };
        let components = heads.into_iter().map(component).collect();
        self.frame = Some(Frame { progressive, width, height, across: most_across, down: most_down, components });
        Ok(())
    }

    /// Decodes a scan, whose coded bytes stand at the start of `data`; answers how many there are.
    fn scan(&mut self, segment: &[u8], data: &[u8]) -> Result<usize, String> {
        self.scans += 1;
        if self.scans > SCANS_MAX {
            return Err(format!("has more than {SCANS_MAX} scans; save it anew"));
        }
        let frame = self.frame.as_mut().ok_or("is damaged: a scan stands before its frame")?;
        let scan = scan::Scan::read(segment, frame, &self.dc, &self.ac, self.restart_interval)?;
        scan.decode(frame, data)
    }
}

fn slot<T>(tables: &mut [T; 4], number: u8) -> Result<&mut T, String> {
    tables.get_mut(usize::from(number)).ok_or_else(|| "is damaged: it numbers a table beyond 3".to_owned())
}
