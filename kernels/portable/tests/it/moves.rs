//! Operators that move elements.

use crate::harness::{Case, Tensor};
use crate::oracle::{Seeded, indices, place};

/// A tensor whose elements are their own places.
fn numbered(shape: &[usize]) -> Tensor {
    Tensor::i64(shape, &(0..shape.iter().product::<usize>() as i64).collect::<Vec<_>>())
}

fn list(values: &[i64]) -> Tensor {
    Tensor::i64(&[values.len()], values)
}

#[test]
fn transposes() {
    let mut seeded = Seeded::new(60);
    for _ in 0..60 {
        let rank = seeded.length(0, 6);
        let shape: Vec<usize> = (0..rank).map(|_| seeded.length(1, 5)).collect();
        let mut order: Vec<usize> = (0..rank).collect();
        for i in (1..rank).rev() {
            order.swap(i, seeded.length(0, i));
        }
        let out: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
        let perm: Vec<i64> = order.iter().map(|&axis| axis as i64).collect();
        let got = Case::new("Transpose", 13).integers("perm", &perm).input(numbered(&shape)).output(7, &out).run()[0]
            .to_i64();
        for (at, index) in indices(&out).iter().enumerate() {
            let mut from = vec![0; rank];
            order.iter().zip(index).for_each(|(&axis, &i)| from[axis] = i);
            assert_eq!(got[at], place(&shape, &from) as i64);
        }
    }
}

#[test]
fn slices_with_any_step() {
    let mut seeded = Seeded::new(61);
    for _ in 0..200 {
        let rank = seeded.length(1, 4);
        let shape: Vec<usize> = (0..rank).map(|_| seeded.length(0, 9)).collect();
        let axes: Vec<usize> = (0..rank).filter(|_| seeded.within(0, 1) == 1).collect();
        let mut kept: Vec<Vec<usize>> = shape.iter().map(|&dim| (0..dim).collect()).collect();
        let (mut starts, mut ends, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        for &axis in &axes {
            let length = shape[axis] as i64;
            let (start, mut end) = (seeded.within(-12, 12), seeded.within(-12, 12));
            let step = [-3, -2, -1, 1, 2, 5][seeded.length(0, 5)];
            if seeded.within(0, 4) == 0 {
                end = if step > 0 { i64::MAX } else { i64::MIN };
            }
            starts.push(start);
            ends.push(end);
            steps.push(step);
            // Python's slices, but for a start in front of the first element when going backwards: it is the first element.
            let bound = |at: i64, first: i64| {
                let at = if at < 0 { at.saturating_add(length) } else { at };
                if step > 0 { at.clamp(0, length) } else { at.clamp(first, length - 1) }
            };
            let (mut at, end) = (bound(start, 0.min(length - 1)), bound(end, -1));
            kept[axis].clear();
            while (step > 0 && at < end) || (step < 0 && at > end) {
                kept[axis].push(at as usize);
                at += step;
            }
        }
        let out: Vec<usize> = kept.iter().map(Vec::len).collect();
        let signed: Vec<i64> = axes.iter().map(|&axis| axis as i64 - rank as i64).collect();
        let case = Case::new("Slice", 13).input(numbered(&shape)).constant(list(&starts)).constant(list(&ends));
        let got = case.constant(list(&signed)).constant(list(&steps)).output(7, &out).run()[0].to_i64();
        for (at, index) in indices(&out).iter().enumerate() {
            let from: Vec<usize> = index.iter().zip(&kept).map(|(&i, kept)| kept[i]).collect();
            assert_eq!(got[at], place(&shape, &from) as i64);
        }
    }
}

#[test]
fn pads_in_every_mode() {
    let mut seeded = Seeded::new(62);
    for round in 0..120 {
        let rank = seeded.length(1, 4);
        let shape: Vec<usize> = (0..rank).map(|_| seeded.length(2, 6)).collect();
        let mode = ["constant", "edge", "wrap", "reflect"][round % 4];
        let pads: Vec<i64> = (0..2 * rank).map(|_| seeded.within(-1, 4)).collect();
        let length = |axis: usize| (shape[axis] as i64 + pads[axis] + pads[rank + axis]) as usize;
        let out: Vec<usize> = (0..rank).map(length).collect();
        let case = Case::new("Pad", 19).text("mode", mode).input(numbered(&shape)).constant(list(&pads));
        let got = case.constant(Tensor::i64(&[], &[-9])).absent().output(7, &out).run()[0].to_i64();
        for (at, index) in indices(&out).iter().enumerate() {
            let mut from = Vec::new();
            let mut inside = true;
            for axis in 0..rank {
                let n = shape[axis] as i64;
                let mut i = index[axis] as i64 - pads[axis];
                inside &= (0..n).contains(&i);
                match mode {
                    "edge" => i = i.clamp(0, n - 1),
                    "wrap" => i = i.rem_euclid(n),
                    // Bounces until it is inside.
                    _ => {
                        while !(0..n).contains(&i) {
                            i = if i < 0 { -i } else { 2 * (n - 1) - i };
                        }
                    }
                }
                from.push(i as usize);
            }
            let wanted = if mode == "constant" && !inside { -9 } else { place(&shape, &from) as i64 };
            assert_eq!(got[at], wanted, "{mode} {shape:?} {pads:?}");
        }
    }
}

#[test]
fn concat_and_split_undo_each_other() {
    let mut seeded = Seeded::new(63);
    for _ in 0..40 {
        let rank = seeded.length(1, 4);
        let mut shape: Vec<usize> = (0..rank).map(|_| seeded.length(1, 5)).collect();
        let axis = seeded.length(0, rank - 1);
        let lengths: Vec<i64> = (0..seeded.length(1, 4)).map(|_| seeded.within(0, 6)).collect();
        shape[axis] = lengths.iter().sum::<i64>() as usize;
        let whole = numbered(&shape);
        let mut split = Case::new("Split", 18)
            .integer("axis", axis as i64 - rank as i64)
            .input(whole.clone())
            .constant(list(&lengths));
        for &length in &lengths {
            let mut part = shape.clone();
            part[axis] = length as usize;
            split = split.output(7, &part);
        }
        let parts = split.run();
        let mut start = 0;
        for part in &parts {
            let moved = part.to_i64();
            for (at, index) in indices(&part.shape).iter().enumerate() {
                let mut from = index.clone();
                from[axis] += start;
                assert_eq!(moved[at], place(&shape, &from) as i64);
            }
            start += part.shape[axis];
        }
        let concat = parts.into_iter().fold(Case::new("Concat", 13).integer("axis", axis as i64), Case::input);
        assert_eq!(concat.output(7, &shape).run()[0], whole);
    }
}

#[test]
fn expand_and_tile_repeat() {
    let x = Tensor::i32(&[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
    let shape = [2, 2, 2, 3];
    let got = Case::new("Expand", 13).input(x.clone()).constant(list(&[2, 2, 2, 3])).output(6, &shape).run();
    let once = [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6];
    assert_eq!(got[0].to_i32(), [once, once].concat());
    let got = Case::new("Tile", 13).input(x).constant(list(&[1, 2, 2])).output(6, &[2, 2, 6]).run();
    assert_eq!(got[0].to_i32(), [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6, 4, 5, 6, 4, 5, 6]);
}

#[test]
fn triangles() {
    let x = numbered(&[2, 3, 4]);
    for k in -4..=5 {
        for upper in [0, 1] {
            let case = Case::new("Trilu", 14).integer("upper", upper).input(x.clone()).input(Tensor::i64(&[], &[k]));
            let got = case.output(7, &[2, 3, 4]).run()[0].to_i64();
            for (at, index) in indices(&[2, 3, 4]).iter().enumerate() {
                let beyond = index[2] as i64 - index[1] as i64 - k;
                let kept = if upper == 1 { beyond >= 0 } else { beyond <= 0 };
                assert_eq!(got[at], if kept { at as i64 } else { 0 });
            }
        }
    }
}

#[test]
fn depth_and_space_undo_each_other() {
    let x = numbered(&[2, 8, 2, 3]);
    let deep = Case::new("DepthToSpace", 13).integer("blocksize", 2).text("mode", "DCR").input(x.clone());
    let wide = deep.output(7, &[2, 2, 4, 6]).run().remove(0);
    let back = Case::new("SpaceToDepth", 13).integer("blocksize", 2).input(wide).output(7, &[2, 8, 2, 3]).run();
    assert_eq!(back[0], x);
}

#[test]
fn sequences_turn_round_as_far_as_they_are_long() {
    let x = Tensor::f32(&[4, 2], &[0.0, 10.0, 1.0, 11.0, 2.0, 12.0, 3.0, 13.0]);
    let case = |batch: i64, time: i64, lengths: &[i64]| {
        let case = Case::new("ReverseSequence", 10).integer("batch_axis", batch).integer("time_axis", time);
        case.input(x.clone()).input(Tensor::i64(&[lengths.len()], lengths)).output(1, &[4, 2])
    };
    assert_eq!(case(1, 0, &[3, 0]).run()[0].to_f32(), [2.0, 10.0, 1.0, 11.0, 0.0, 12.0, 3.0, 13.0]);
    assert_eq!(case(0, 1, &[1, 2, 0, 2]).run()[0].to_f32(), [0.0, 10.0, 11.0, 1.0, 2.0, 12.0, 13.0, 3.0]);
    assert!(case(1, 0, &[5, 0]).try_run().is_err(), "longer than the axis");
}

#[test]
fn ranges_do_not_add_up_their_steps() {
    let single = |value: f32| Tensor::f32(&[], &[value]);
    let case = Case::new("Range", 27).input(single(0.0)).input(single(1000.0)).input(single(0.1)).output(1, &[10000]);
    let got = case.run()[0].to_f32();
    assert_eq!(got[9999], (9999.0 * f64::from(0.1f32)) as f32);
    let single = |value: i32| Tensor::i32(&[], &[value]);
    let case = Case::new("Range", 11).input(single(10)).input(single(4)).input(single(-2)).output(6, &[3]);
    assert_eq!(case.run()[0].to_i32(), [10, 8, 6]);
}
