//! Gathers and scatters.

use crate::harness::{Case, Tensor};
use crate::oracle::{Seeded, indices, place};
use sunmao_plugin_sdk::ErrorCode;

fn numbered(shape: &[usize]) -> Tensor {
    Tensor::i64(shape, &(0..shape.iter().product::<usize>() as i64).collect::<Vec<_>>())
}

#[test]
fn gather_along_any_axis() {
    let mut seeded = Seeded::new(70);
    for round in 0..60 {
        let shape: Vec<usize> = (0..seeded.length(1, 4)).map(|_| seeded.length(1, 6)).collect();
        let places: Vec<usize> = (0..seeded.length(0, 2)).map(|_| seeded.length(0, 4)).collect();
        let axis = seeded.length(0, shape.len() - 1);
        let length = shape[axis] as i64;
        let chosen: Vec<i64> = (0..places.iter().product()).map(|_| seeded.within(-length, length - 1)).collect();
        let out = [&shape[..axis], &places, &shape[axis + 1..]].concat();
        let narrow = || Tensor::i32(&places, &chosen.iter().map(|&i| i as i32).collect::<Vec<_>>());
        let given = if round % 2 == 0 { Tensor::i64(&places, &chosen) } else { narrow() };
        let got = Case::new("Gather", 13)
            .integer("axis", axis as i64)
            .input(numbered(&shape))
            .input(given)
            .output(7, &out)
            .run()[0]
            .to_i64();
        for (at, index) in indices(&out).iter().enumerate() {
            let picked = chosen[place(&places, &index[axis..axis + places.len()])].rem_euclid(length) as usize;
            let from = [&index[..axis], &[picked], &index[axis + places.len()..]].concat();
            assert_eq!(got[at], place(&shape, &from) as i64);
        }
    }
}

#[test]
fn elements_gathered_and_scattered() {
    let mut seeded = Seeded::new(71);
    for _ in 0..60 {
        let rank = seeded.length(1, 4);
        let shape: Vec<usize> = (0..rank).map(|_| seeded.length(1, 6)).collect();
        let axis = seeded.length(0, rank - 1);
        let places: Vec<usize> = shape.iter().map(|&dim| seeded.length(1, dim)).collect();
        let length = shape[axis] as i64;
        let chosen: Vec<i64> = (0..places.iter().product()).map(|_| seeded.within(-length, length - 1)).collect();
        let given = Tensor::i64(&places, &chosen);
        let to = |index: &[usize], at: usize| {
            let mut to = index.to_vec();
            to[axis] = chosen[at].rem_euclid(length) as usize;
            place(&shape, &to)
        };
        let case = Case::new("GatherElements", 13).integer("axis", axis as i64).input(numbered(&shape));
        let got = case.input(given.clone()).output(7, &places).run()[0].to_i64();
        let updates: Vec<i64> = (0..chosen.len() as i64).map(|i| 1000 + i).collect();
        let mut wanted: Vec<i64> = numbered(&shape).to_i64();
        for (at, index) in indices(&places).iter().enumerate() {
            assert_eq!(got[at], to(index, at) as i64);
            wanted[to(index, at)] += updates[at];
        }
        let case = Case::new("ScatterElements", 18).integer("axis", axis as i64).text("reduction", "add");
        let case = case.input(numbered(&shape)).input(given).input(Tensor::i64(&places, &updates));
        assert_eq!(case.output(7, &shape).run()[0].to_i64(), wanted);
    }
}

#[test]
fn blocks_gathered_and_scattered_by_tuples() {
    let x = numbered(&[2, 3, 2]);
    let pairs = Tensor::i64(&[2, 2], &[1, -1, 0, 1]);
    let got = Case::new("GatherND", 13)
        .integer("batch_dims", 0)
        .input(x.clone())
        .input(pairs.clone())
        .output(7, &[2, 2])
        .run();
    assert_eq!(got[0].to_i64(), [10, 11, 2, 3]);
    let each = Tensor::i64(&[2, 1], &[2, 0]);
    let got = Case::new("GatherND", 13).integer("batch_dims", 1).input(x.clone()).input(each).output(7, &[2, 2]).run();
    assert_eq!(got[0].to_i64(), [4, 5, 6, 7]);
    let case = Case::new("ScatterND", 18).text("reduction", "max").input(x).input(pairs);
    let got = case.input(Tensor::i64(&[2, 2], &[99, -1, 2, 50])).output(7, &[2, 3, 2]).run();
    assert_eq!(got[0].to_i64(), [0, 1, 2, 50, 4, 5, 6, 7, 8, 9, 99, 11]);
}

#[test]
fn an_index_out_of_range_is_named() {
    for bad in [3, -4, i64::MIN, i64::MAX] {
        let index = Tensor::i64(&[1], &[bad]);
        let gather =
            Case::new("Gather", 13).integer("axis", 0).input(numbered(&[3])).input(index.clone()).output(7, &[1]);
        let error = gather.try_run().unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidData);
        assert!(error.message.contains(&bad.to_string()), "{}", error.message);
        let case = Case::new("ScatterElements", 18).integer("axis", 0).text("reduction", "none");
        let case = case.input(numbered(&[3])).input(index).input(Tensor::i64(&[1], &[1])).output(7, &[3]);
        assert_eq!(case.try_run().unwrap_err().code, ErrorCode::InvalidData);
    }
}

#[test]
fn caches_take_new_entries_around_their_end() {
    let cache = Tensor::f32(&[2, 4, 1], &[0.0; 8]);
    let new = Tensor::f32(&[2, 2, 1], &[1.0, 2.0, 3.0, 4.0]);
    let held = Tensor::i64(&[2], &[1, 3]);
    let case = |mode: &str| {
        Case::new("TensorScatter", 24)
            .integer("axis", -2)
            .text("mode", mode)
            .input(cache.clone())
            .input(new.clone())
            .input(held.clone())
            .output(1, &[2, 4, 1])
            .try_run()
    };
    assert_eq!(case("circular").unwrap()[0].to_f32(), [0.0, 1.0, 2.0, 0.0, 4.0, 0.0, 0.0, 3.0]);
    assert_eq!(case("linear").unwrap_err().code, ErrorCode::InvalidData);
}
