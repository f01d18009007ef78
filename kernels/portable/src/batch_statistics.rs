//! `BatchNormalization` in training mode: the statistics are those of the batch, and the running ones move towards them.

use crate::arguments::Op;
use crate::element::{FLOATS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{kernel, needs};
use crate::strided::count;
use crate::table::{LATEST, Row, same};
use sunmao_plugin_sdk::abi::{Attribute, Tolerance};
use sunmao_plugin_sdk::{Call, Kernel, Result};

pub(crate) fn rows() -> Vec<Row> {
    let training =
        Row::new("BatchNormalization", (14, LATEST), same(5, 3, FLOATS), Tolerance::Approximate(1e-6), train);
    vec![training.limit("training_mode", Attribute::Integer(1))]
}

fn train(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    let [batches, channels, ..] = shape[..] else {
        return Err(op.invalid("the input needs a batch and a channel axis"));
    };
    op.expect_output(0, &shape)?;
    for index in 1..5 {
        op.expect_input(index, &[channels])?;
    }
    let wanted = [1, 2].map(|index| op.wants_output(index));
    for (index, _) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
        op.expect_output(index + 1, &[channels])?;
    }
    let plane = count(&shape[2..]);
    let number = |key: &str, default: f64| op.attributes().number(key).unwrap_or(default);
    let (epsilon, momentum) = (number("epsilon", 1e-5), number("momentum", 0.9));
    dispatch!(op.input(0)?.dtype, floats, S => {
        kernel(needs(count(&shape) as u64 * 6, channels), move |bindings| {
            type E<S> = <S as Stored>::Element;
            let input = |index| bindings.input::<E<S>>(index);
            let (x, scale, shift, running) = (input(0)?, input(1)?, input(2)?, [input(3)?, input(4)?]);
            let y = bindings.output::<E<S>>(0)?;
            let output = |index: usize| match wanted[index] {
                true => bindings.output::<E<S>>(index + 1).map(Some),
                false => Ok(None),
            };
            let moved = [output(0)?, output(1)?];
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                for channel in call.share(channels, 1) {
                    let values = || (0..batches).flat_map(|batch| {
                        let from = (batch * channels + channel) * plane;
                        x.part(from..from + plane).iter().map(|element| S::load(element).to_f64())
                    });
                    let count = (batches * plane) as f64;
                    let mean = values().sum::<f64>() / count;
                    let variance = values().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
                    let of_channel = |input| S::load(call.read::<E<S>>(input).get(channel)).to_f64();
                    let factor = of_channel(&scale) / (variance + epsilon).sqrt();
                    let shift = of_channel(&shift);
                    for batch in 0..batches {
                        let from = (batch * channels + channel) * plane;
                        let (from, to) = (x.part(from..from + plane), y.part(from..from + plane));
                        for (i, element) in from.iter().enumerate() {
                            let value = (S::load(element).to_f64() - mean) * factor + shift;
                            to.set(i, S::store(<S as Stored>::Value::from_f64(value)));
                        }
                    }
                    for ((moved, running), current) in moved.iter().zip(&running).zip([mean, variance]) {
                        if let Some(moved) = moved {
                            let value = of_channel(running) * momentum + current * (1.0 - momentum);
                            call.write(moved).set(channel, S::store(<S as Stored>::Value::from_f64(value)));
                        }
                    }
                }
                Ok(())
            }))
        })
    })
}
