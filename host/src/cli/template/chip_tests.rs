//! Kernels are ordinary Rust: they run natively, on any memory, and so do their tests. A panic has a line number here.

use super::*;
use sunmao_plugin_sdk::abi::View;
use sunmao_plugin_sdk::check_views;

/// Runs `op` on inputs (shape and elements, at most 4 KiB each) as `shards` shards, and answers the output.
fn run(op: &str, inputs: &[(&[u32], &[f32])], output: &[u32], shards: u32) -> Vec<f32> {
    let operand = |shape: &[u32]| Operand {
        dtype: F32,
        shape: shape.to_vec(),
        layout: 0,
        constant: false,
        literal: None,
        quantisation: None,
        extents: Vec::new(),
        ext: Vec::new(),
    };
    let operation = Operation {
        op: op.into(),
        revision: 14,
        attributes: Vec::new(),
        inputs: inputs.iter().map(|(shape, _)| Some(operand(shape))).collect(),
        outputs: vec![Some(operand(output))],
        epilogue: Vec::new(),
        ext: Vec::new(),
    };
    let kernel = MyChip::prepare(&operation).expect("a row of the table covers it");
    // Each tensor on a page of its own.
    let mut arena = vec![f32::NAN; 1024 * (inputs.len() + 1)];
    for (page, (_, elements)) in arena.chunks_mut(1024).zip(inputs) {
        page[..elements.len()].copy_from_slice(elements);
    }
    let shapes = inputs.iter().map(|(shape, _)| *shape).chain([output]);
    let view = |(page, shape): (usize, &[u32])| View {
        offset: page as u32 * 4096,
        slotted: true,
        dtype: F32,
        shape: shape.to_vec(),
        strides: Vec::new(),
        layout: 0,
    };
    let views: Vec<View> = shapes.enumerate().map(view).collect();
    let bindings = check_views(&operation, &[], &[], &views, 0..arena.len() as u64 * 4, 64).expect("sound views");
    let dispatch = kernel.bind(&bindings).expect("binds");
    for shard in 0..shards {
        // SAFETY: the views were checked against `arena`, which lives on and which nothing else uses.
        let call = unsafe { Call::new(arena.as_mut_ptr().cast(), 0, 0, 0, shard, shards) };
        dispatch.run(&call).expect("runs");
    }
    let elements = output.iter().product::<u32>() as usize;
    arena[1024 * inputs.len()..][..elements].to_vec()
}

#[test]
fn relu_keeps_what_is_positive() {
    assert_eq!(run("Relu", &[(&[3], &[-1.0, 0.0, 2.5])], &[3], 1), [0.0, 0.0, 2.5]);
    assert!(run("Relu", &[(&[1], &[f32::NAN])], &[1], 1)[0].is_nan());
}

#[test]
fn sums_and_products_broadcast() {
    let x: (&[u32], &[f32]) = (&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(run("Add", &[x, (&[3], &[10.0, 20.0, 30.0])], &[2, 3], 1), [11.0, 22.0, 33.0, 14.0, 25.0, 36.0]);
    assert_eq!(run("Mul", &[x, (&[2, 1], &[1.0, -1.0])], &[2, 3], 1), [1.0, 2.0, 3.0, -4.0, -5.0, -6.0]);
}

#[test]
fn the_number_of_shards_does_not_show() {
    let x: Vec<f32> = (0..1000).map(|i| i as f32 - 500.0).collect();
    let whole = run("Relu", &[(&[1000], &x)], &[1000], 1);
    for shards in [2, 3, 64] {
        assert_eq!(run("Relu", &[(&[1000], &x)], &[1000], shards), whole);
    }
}
