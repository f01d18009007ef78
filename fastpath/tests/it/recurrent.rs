//! `LSTM`.

use crate::harness::{Case, Fill, Random, count, operand};

struct Sizes {
    steps: usize,
    batches: usize,
    inputs: usize,
    hidden: usize,
    directions: usize,
}

impl Sizes {
    /// Without outputs: they are all wanted, and each is compared in turn.
    fn case(&self, random: &mut Random, layout: usize, optional: bool, output: usize) -> Case {
        let &Sizes { steps, batches, inputs, hidden, directions } = self;
        let (x, state, all) = match layout {
            0 => ([steps, batches, inputs], [directions, batches, hidden], [steps, directions, batches, hidden]),
            _ => ([batches, steps, inputs], [batches, directions, hidden], [batches, steps, directions, hidden]),
        };
        let values = |random: &mut Random, shape: &[usize]| Fill::Real(0.8).values(random, count(shape));
        let shape: &[usize] = if output == 0 { &all } else { &state };
        let mut case =
            Case::new("LSTM", 22, shape).integer("layout", layout as i64).integer("hidden_size", hidden as i64);
        let data = values(random, &x);
        case = case.input(&x, data);
        for shape in [[directions, 4 * hidden, inputs], [directions, 4 * hidden, hidden]] {
            // Large weights make a walk forget how it was rounded only to magnify it.
            let data = Fill::Real(1.5 / (hidden as f32).sqrt()).values(random, count(&shape));
            case = case.constant(&shape, data);
        }
        if optional {
            let bias = values(random, &[directions, 8 * hidden]);
            let (h, c) = (values(random, &state), values(random, &state));
            case = case.constant(&[directions, 8 * hidden], bias).left_out().input(&state, h).input(&state, c);
        }
        // The harness has one output: it is moved to its place.
        let outputs = &mut case.operation.outputs;
        *outputs = vec![None; output];
        outputs.push(Some(operand(shape)));
        case
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for LSTM")]
fn lstm_walks_as_the_twin_does() {
    let mut random = Random::new(101);
    let sizes = [
        Sizes { steps: 1, batches: 1, inputs: 1, hidden: 1, directions: 1 },
        Sizes { steps: 7, batches: 2, inputs: 12, hidden: 16, directions: 2 },
        Sizes { steps: 40, batches: 1, inputs: 33, hidden: 20, directions: 2 },
        Sizes { steps: 9, batches: 14, inputs: 5, hidden: 3, directions: 1 },
        // More steps than are looked ahead.
        Sizes { steps: 30, batches: 6, inputs: 4, hidden: 130, directions: 2 },
        Sizes { steps: 0, batches: 3, inputs: 4, hidden: 5, directions: 1 },
    ];
    for sizes in sizes {
        for layout in [0, 1] {
            for optional in [false, true] {
                for output in 0..3 {
                    let case = sizes.case(&mut random, layout, optional, output);
                    let direction = if sizes.directions == 2 { "bidirectional" } else { "forward" };
                    case.clone().text("direction", direction).check(2e-5);
                    if sizes.directions == 1 {
                        case.text("direction", "reverse").check(2e-5);
                    }
                }
            }
        }
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "only AVX2 has rows for LSTM")]
fn other_cells_are_declined() {
    let mut random = Random::new(102);
    let sizes = Sizes { steps: 3, batches: 2, inputs: 4, hidden: 5, directions: 1 };
    let mut case = |output| sizes.case(&mut random, 0, false, output).text("direction", "forward");
    case(0).number("clip", 3.0).check_declined();
    case(0).integer("input_forget", 1).check_declined();
    let mut open = case(0);
    open.operation.inputs[2].as_mut().expect("there").constant = false;
    open.check_declined();
    let lengths = case(0).left_out().input(&[2], vec![0.0; 2]);
    lengths.check_declined();
    sizes.case(&mut random, 0, false, 0).text("direction", "bidirectional").check_declined();
}
