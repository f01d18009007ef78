//! One scan: the coefficients of one or more components, or some bits of some of them.

use super::super::reader::Reader;
use super::entropy::{Bits, Table};
use super::{Block, Frame, ZIGZAG};

/// A component of a scan with its tables.
struct Part<'a> {
    component: usize,
    dc: Option<&'a Table>,
    ac: Option<&'a Table>,
    /// The last DC coefficient, from which the next one is told.
    before: i32,
}

pub(super) struct Scan<'a> {
    parts: Vec<Part<'a>>,
    coding: Coding,
    restart_interval: usize,
}

/// Which coefficients are coded, and which of their bits.
#[derive(Clone, Copy)]
struct Coding {
    progressive: bool,
    first: usize,
    last: usize,
    /// Whether earlier scans have coded the higher bits.
    refines: bool,
    /// The lowest bit that is coded.
    bit: u32,
}

impl<'a> Scan<'a> {
    pub(super) fn read(
        segment: &[u8],
        frame: &Frame,
        dc: &'a [Option<Table>; 4],
        ac: &'a [Option<Table>; 4],
        restart_interval: usize,
    ) -> Result<Self, String> {
        let mut reader = Reader::new(segment);
        let count = reader.byte()?;
        if count == 0 || usize::from(count) > frame.components.len() {
            return Err(format!("is damaged: a scan of {count} channels"));
        }
        let mut parts: Vec<Part<'a>> = Vec::new();
        for _ in 0..count {
            let [id, tables] = reader.array()?;
            let component = frame.components.iter().position(|component| component.id == id);
            let component = component.filter(|new| parts.iter().all(|part| part.component != *new));
            parts.push(Part {
                component: component.ok_or("is damaged: a scan of a channel that it has not, or has twice")?,
                dc: dc.get(usize::from(tables >> 4)).and_then(Option::as_ref),
                ac: ac.get(usize::from(tables & 15)).and_then(Option::as_ref),
                before: 0,
            });
        }
        let [first, last, bits] = reader.array()?;
        let coding = if frame.progressive {
            Coding {
                progressive: true,
                first: first.into(),
                last: last.into(),
                refines: bits >> 4 != 0,
                bit: (bits & 15).into(),
            }
        } else {
            Coding { progressive: false, first: 0, last: 63, refines: false, bit: 0 }
        };
        let mixes = coding.progressive && coding.first == 0 && coding.last != 0;
        let interleaves_ac = coding.first > 0 && parts.len() != 1;
        if coding.first > coding.last || coding.last > 63 || coding.bit > 13 || mixes || interleaves_ac {
            return Err("is damaged: a scan of coefficients that cannot be".to_owned());
        }
        Ok(Scan { parts, coding, restart_interval })
    }

    /// Decodes the scan into the frame's blocks and answers how many bytes it took.
    pub(super) fn decode(mut self, frame: &mut Frame, data: &[u8]) -> Result<usize, String> {
        let mut bits = Bits::new(data);
        let mut skipped = 0;
        let single = self.parts.len() == 1;
        let unit = |frame: &Frame| {
            let component = &frame.components[self.parts[0].component];
            if single {
                // Blocks that only fill up a unit are not coded.
                (component.width.div_ceil(8), component.height.div_ceil(8))
            } else {
                (component.columns / component.across, component.rows / component.down)
            }
        };
        let (columns, rows) = unit(frame);
        for index in 0..columns * rows {
            if self.restart_interval > 0 && index > 0 && index.is_multiple_of(self.restart_interval) {
                bits.restart()?;
                skipped = 0;
                self.parts.iter_mut().for_each(|part| part.before = 0);
            }
            let (column, row) = (index % columns, index / columns);
            for part in &mut self.parts {
                let component = &mut frame.components[part.component];
                let (across, down) = if single { (1, 1) } else { (component.across, component.down) };
                for place in 0..across * down {
                    let (x, y) = (column * across + place % across, row * down + place / across);
                    let block = &mut component.blocks[y * component.columns + x];
                    part.block(&mut bits, block, self.coding, &mut skipped)?;
                }
            }
        }
        Ok(bits.position())
    }
}

impl Part<'_> {
    fn block(
        &mut self,
        bits: &mut Bits<'_>,
        block: &mut Block,
        coding: Coding,
        skipped: &mut u32,
    ) -> Result<(), String> {
        let missing = "is damaged: a scan without its Huffman table";
        if coding.first == 0 {
            if coding.refines {
                block[0] |= (bits.take(1)? << coding.bit) as i16;
            } else {
                let size = bits.code(self.dc.ok_or(missing)?)?;
                self.before = self.before.wrapping_add(bits.signed(u32::from(size.min(16)))?);
                // Files that are not damaged stay within 16 bits.
                block[0] = (self.before << coding.bit) as i16;
            }
        }
        if coding.last == 0 {
            return Ok(());
        }
        let table = self.ac.ok_or(missing)?;
        if coding.refines {
            refine(bits, table, block, coding, skipped)
        } else {
            first_bits(bits, table, block, coding, skipped)
        }
    }
}

/// AC coefficients for the first time: runs of zeros, then one that is not.
fn first_bits(
    bits: &mut Bits<'_>,
    table: &Table,
    block: &mut Block,
    coding: Coding,
    skipped: &mut u32,
) -> Result<(), String> {
    if *skipped > 0 {
        *skipped -= 1;
        return Ok(());
    }
    let mut at = coding.first.max(1);
    while at <= coding.last {
        let code = bits.code(table)?;
        let (zeros, size) = (u32::from(code >> 4), u32::from(code & 15));
        if size == 0 && zeros < 15 {
            // The rest of this block is zero, and so are the next ones; baseline codes only this one.
            *skipped = if coding.progressive { (1 << zeros) - 1 + bits.take(zeros)? } else { 0 };
            break;
        }
        at += zeros as usize;
        if size > 0 {
            let place = ZIGZAG.get(at).ok_or("is damaged: a run beyond its block")?;
            block[usize::from(*place)] = (bits.signed(size)? << coding.bit) as i16;
        }
        at += 1;
    }
    Ok(())
}

/// One more bit of AC coefficients: of those that are not zero, and of new ones among the others.
fn refine(
    bits: &mut Bits<'_>,
    table: &Table,
    block: &mut Block,
    coding: Coding,
    skipped: &mut u32,
) -> Result<(), String> {
    let one = 1i16 << coding.bit;
    let mut at = coding.first;
    if *skipped == 0 {
        while at <= coding.last {
            let code = bits.code(table)?;
            let (mut zeros, size) = (u32::from(code >> 4), code & 15);
            let mut newcomer = 0;
            if size == 0 {
                if zeros < 15 {
                    *skipped = (1 << zeros) + bits.take(zeros)?;
                    break;
                }
            } else {
                newcomer = if bits.take(1)? == 1 { one } else { -one };
            }
            while at <= coding.last {
                let coefficient = &mut block[usize::from(ZIGZAG[at])];
                if *coefficient != 0 {
                    correct(bits, coefficient, one)?;
                } else if zeros == 0 {
                    *coefficient = newcomer;
                    at += 1;
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
        }
    }
    if *skipped > 0 {
        for place in &ZIGZAG[at..=coding.last] {
            let coefficient = &mut block[usize::from(*place)];
            if *coefficient != 0 {
                correct(bits, coefficient, one)?;
            }
        }
        *skipped -= 1;
    }
    Ok(())
}

fn correct(bits: &mut Bits<'_>, coefficient: &mut i16, one: i16) -> Result<(), String> {
    if bits.take(1)? == 1 && *coefficient & one == 0 {
        *coefficient = if *coefficient > 0 { coefficient.wrapping_add(one) } else { coefficient.wrapping_sub(one) };
    }
    Ok(())
}
