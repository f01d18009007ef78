//! `Attention` in tiles.

use crate::harness::{Case, Fill, Random, count};

/// Lengths of an attention.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    batches: usize,
    q_heads: usize,
    kv_heads: usize,
    queries: usize,
    keys: usize,
    width: usize,
    value_width: usize,
}

impl Sizes {
    /// Operands with an axis for the heads, or packed into rows.
    fn case(self, random: &mut Random, packed: bool) -> Case {
        let Sizes { batches, q_heads, kv_heads, queries, keys, width, value_width } = self;
        let shape = |heads: usize, length: usize, width: usize| match packed {
            true => vec![batches, length, heads * width],
            false => vec![batches, heads, length, width],
        };
        let mut case = Case::new("Attention", 24, &shape(q_heads, queries, value_width));
        for (heads, length, width) in
            [(q_heads, queries, width), (kv_heads, keys, width), (kv_heads, keys, value_width)]
        {
            let shape = shape(heads, length, width);
            case = case.input(&shape, Fill::Real(1.5).values(random, count(&shape)));
        }
        if packed {
            case = case.integer("q_num_heads", q_heads as i64).integer("kv_num_heads", kv_heads as i64);
        }
        case
    }
}

const SMALL: Sizes = Sizes { batches: 2, q_heads: 4, kv_heads: 2, queries: 5, keys: 7, width: 8, value_width: 16 };

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for attention")]
fn attention_of_all_sizes_is_the_twins() {
    let mut random = Random::new(71);
    let sizes = [
        SMALL,
        Sizes { queries: 1, keys: 1, ..SMALL },
        Sizes { queries: 1, keys: 40, width: 33, value_width: 5, ..SMALL },
        Sizes { queries: 2, keys: 300, ..SMALL },
        Sizes { queries: 13, keys: 16, width: 15, value_width: 15, q_heads: 8, kv_heads: 8, batches: 1 },
        Sizes { queries: 98, keys: 98, width: 32, value_width: 32, q_heads: 3, kv_heads: 1, batches: 1 },
        Sizes { queries: 100, keys: 261, width: 17, value_width: 40, q_heads: 2, kv_heads: 2, batches: 1 },
        Sizes { queries: 7, keys: 0, ..SMALL },
        Sizes { queries: 0, keys: 4, ..SMALL },
    ];
    for sizes in sizes {
        for packed in [false, true] {
            sizes.case(&mut random, packed).check(1e-5);
            sizes.case(&mut random, packed).number("scale", 0.31).check(1e-5);
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for attention")]
fn masks_and_windows_hide_keys() {
    let mut random = Random::new(72);
    let sizes = Sizes { keys: 270, queries: 9, ..SMALL };
    for shape in [&[270][..], &[9, 270], &[2, 1, 1, 270], &[4, 1, 270], &[1, 4, 9, 270], &[2, 4, 9, 270]] {
        let flags: Vec<bool> = (0..count(shape)).map(|_| random.chance(60)).collect();
        sizes.case(&mut random, false).booleans(shape, &flags).check(1e-5);
        let mut bias = Fill::Real(2.0).values(&mut random, count(shape));
        bias.iter_mut().for_each(|bias| {
            if random.chance(20) {
                *bias = f32::NEG_INFINITY
            }
        });
        sizes.case(&mut random, true).input(shape, bias).check(1e-5);
    }
    for (left, right, causal) in [(-1, -1, 1), (3, -1, 0), (-1, 2, 0), (2, 1, 0), (0, 0, 1), (1, 300, 0)] {
        for (queries, keys) in [(9, 270), (40, 40), (20, 6)] {
            let case = Sizes { keys, queries, ..SMALL }.case(&mut random, false).integer("is_causal", causal);
            case.integer("left_window_size", left).integer("right_window_size", right).check(1e-5);
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for attention")]
fn queries_that_see_no_key_give_zeros() {
    let mut random = Random::new(73);
    let sizes = Sizes { keys: 300, ..SMALL };
    let mut flags = vec![true; 5 * 300];
    flags[300..600].fill(false);
    flags[600..860].fill(false);
    let case = sizes.case(&mut random, false).booleans(&[5, 300], &flags);
    case.check(1e-5);
    if let Some(fast) = case.fast() {
        let found = case.run(&*fast, 1, None);
        assert!(found[16..32].iter().all(|value| *value == 0.0), "{:?}", &found[16..32]);
    }
    // The smallest number is no infinity: all keys of the row weigh the same.
    let lowest = vec![f32::MIN; 300];
    sizes.case(&mut random, false).input(&[1, 300], lowest).check(1e-5);
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for attention")]
fn what_these_tiles_do_not_know_is_declined() {
    let mut random = Random::new(74);
    let case = |random: &mut Random| SMALL.case(random, false);
    case(&mut random).number("softcap", 3.0).check_declined();
    // A mask that is shorter than the keys.
    case(&mut random).input(&[6], vec![0.0; 6]).check_declined();
    let past = vec![0.0; 2 * 2 * 3 * 8];
    let with_past = case(&mut random).left_out().input(&[2, 2, 3, 8], past.clone());
    with_past.input(&[2, 2, 3, 16], [past.clone(), past].concat()).check_declined();
    let mut wrong = case(&mut random);
    wrong.operation.outputs[0].as_mut().expect("there").shape[3] = 15;
    wrong.check_declined();
}
