//! Reductions over any set of axes, and the global pools, which are reductions over all spatial ones.
//!
//! Sums are kept in `f64` (integers: 64 bits, wrapped at the end), and each output element is accumulated in the order of the input, so
//! the bits depend neither on the loop that was chosen nor on the number of shards.

use crate::arguments::Op;
use crate::element::{FLOATS, Stored, dispatch};
use crate::number::Number;
use crate::settle::{CHUNK, kernel, needs};
use crate::strided::{Strided, count, dense_strides};
use crate::table::{LATEST, Row, same};
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Reader, Result};

/// Element types of the sums.
const SUMMED: &[u16] = &[1, 11, 10, 16, 6, 7, 12, 13];
/// Element types of the extrema.
const ORDERED: &[u16] = &[1, 11, 10, 16, 2, 3, 6, 7, 12, 13, 9];

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for name in ["ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"] {
        let row = Row::new(name, (1, LATEST), with_axes(SUMMED), Tolerance::Accumulate(1.0), reduce);
        rows.push(row.constants(&[1]));
    }
    for name in ["ReduceLogSum", "ReduceLogSumExp"] {
        let row = Row::new(name, (1, LATEST), with_axes(FLOATS), Tolerance::Approximate(1e-6), reduce);
        rows.push(row.constants(&[1]));
    }
    for name in ["ReduceMax", "ReduceMin"] {
        rows.push(Row::new(name, (1, LATEST), with_axes(ORDERED), Tolerance::Exact, reduce).constants(&[1]));
    }
    let pool = |name, tolerance| Row::new(name, (1, LATEST), same(1, 1, FLOATS), tolerance, global_pool);
    rows.push(pool("GlobalAveragePool", Tolerance::Accumulate(1.0)));
    rows.push(pool("GlobalMaxPool", Tolerance::Exact));
    rows
}

/// Data of each type, axes of i64.
fn with_axes(dtypes: &[u16]) -> Vec<sunmao_plugin_sdk::abi::Signature> {
    dtypes.iter().map(|&dtype| crate::table::signature(&[dtype, 7], &[dtype])).collect()
}

/// What is done with the numbers that fall together.
trait Rule<V: Number>: 'static {
    type Sum: Copy + Send + Sync;
    const START: Self::Sum;
    fn step(sum: Self::Sum, value: V) -> Self::Sum;
    fn finish(sum: Self::Sum, count: usize) -> V;
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident: $sum:ty = $start:expr; |$acc:ident, $value:ident| $step:expr; |$end:ident, $count:ident| $finish:expr;)*) => { $(
        $(#[$doc])*
        struct $name;
        impl<V: Number> Rule<V> for $name {
            type Sum = $sum;
            const START: $sum = $start;
            #[inline(always)]
            fn step($acc: $sum, $value: V) -> $sum { $step }
            #[inline(always)]
            fn finish($end: $sum, $count: usize) -> V { let _ = $count; $finish }
        }
    )* };
}

rules! {
    Sum: V::Wide = V::Wide::ZERO; |sum, x| sum.add(x.widen()); |sum, n| V::narrow(sum);
    Mean: V::Wide = V::Wide::ZERO; |sum, x| sum.add(x.widen()); |sum, n| V::narrow(mean(sum, n));
    Product: V::Wide = V::Wide::ONE; |sum, x| sum.mul(x.widen()); |sum, n| V::narrow(sum);
    Magnitudes: V::Wide = V::Wide::ZERO; |sum, x| sum.add(x.widen().abs()); |sum, n| V::narrow(sum);
    Squares: V::Wide = V::Wide::ZERO; |sum, x| sum.add(x.widen().mul(x.widen())); |sum, n| V::narrow(sum);
    Length: V::Wide = V::Wide::ZERO; |sum, x| sum.add(x.widen().mul(x.widen())); |sum, n| V::from_f64(sum.to_f64().sqrt());
    LogSum: V::Wide = V::Wide::ZERO; |sum, x| sum.add(x.widen()); |sum, n| V::from_f64(libm::log(sum.to_f64()));
    Largest: V = V::LOWEST; |sum, x| x.larger(sum); |sum, n| sum;
    Smallest: V = V::HIGHEST; |sum, x| x.smaller(sum); |sum, n| sum;
    /// The largest number so far, and the sum of the exponentials of all against it.
    LogSumExp: (f64, f64) = (f64::NEG_INFINITY, 0.0); |sum, x| log_sum_exp(sum, x.to_f64()); |sum, n| V::from_f64(sum.0 + libm::log(sum.1));
}

fn mean<W: Number>(sum: W, count: usize) -> W {
    // The mean of nothing is NaN; integers have none, so it is 0.
    if count == 0 && !W::IS_FLOAT { W::ZERO } else { sum.div(W::from_i64(count as i64)).unwrap_or(W::ZERO) }
}

fn log_sum_exp((largest, sum): (f64, f64), x: f64) -> (f64, f64) {
    if x == largest {
        (largest, sum + 1.0)
    } else if x > largest {
        (x, sum * libm::exp(largest - x) + 1.0)
    } else {
        (largest, sum + libm::exp(x - largest))
    }
}

fn reduce(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    let given = match op.attributes().integers("axes") {
        Some(axes) => Some(axes.to_vec()),
        None => op.integers(1)?,
    };
    let axes = match given {
        Some(axes) if !axes.is_empty() => op.normalise_all(&axes, shape.len())?,
        _ if op.attributes().flag("noop_with_empty_axes") => Vec::new(),
        _ => (0..shape.len()).collect(),
    };
    let keep = op.attributes().integer("keepdims").unwrap_or(1) != 0;
    over(op, &shape, &axes, keep)
}

fn global_pool(op: Op<'_>) -> Result<Box<dyn Kernel>> {
    let shape = op.shape(0)?;
    if shape.len() < 2 {
        return Err(op.invalid("the input needs a batch and a channel axis"));
    }
    over(op, &shape, &(2..shape.len()).collect::<Vec<_>>(), true)
}

fn over(op: Op<'_>, shape: &[usize], axes: &[usize], keep: bool) -> Result<Box<dyn Kernel>> {
    let strides = dense_strides(shape);
    let (mut kept, mut kept_strides) = (Vec::new(), Vec::new());
    let (mut gone, mut gone_strides) = (Vec::new(), Vec::new());
    let mut expected = Vec::new();
    for (axis, (&dim, &stride)) in shape.iter().zip(&strides).enumerate() {
        if axes.contains(&axis) {
            gone.push(dim);
            gone_strides.push(stride);
            if keep {
                expected.push(1);
            }
        } else {
            kept.push(dim);
            kept_strides.push(stride);
            expected.push(dim);
        }
    }
    op.expect_output(0, &expected)?;
    let plan = Plan {
        kept: Strided::new(&kept, &kept_strides, 0),
        gone: Strided::new(&gone, &gone_strides, 0),
        outputs: count(&kept),
        terms: count(&gone),
    };
    let dtype = op.input(0)?.dtype;
    match op.name() {
        "ReduceSum" => dispatch!(dtype, [F32, F64, F16, BF16, I32, I64, U32, U64], S => plan.kernel::<S, Sum>()),
        "ReduceMean" => dispatch!(dtype, [F32, F64, F16, BF16, I32, I64, U32, U64], S => plan.kernel::<S, Mean>()),
        "ReduceProd" => dispatch!(dtype, [F32, F64, F16, BF16, I32, I64, U32, U64], S => plan.kernel::<S, Product>()),
        "ReduceL1" => dispatch!(dtype, [F32, F64, F16, BF16, I32, I64, U32, U64], S => plan.kernel::<S, Magnitudes>()),
        "ReduceL2" => dispatch!(dtype, [F32, F64, F16, BF16, I32, I64, U32, U64], S => plan.kernel::<S, Length>()),
        "ReduceSumSquare" => dispatch!(dtype, [F32, F64, F16, BF16, I32, I64, U32, U64], S => plan.kernel::<S, Squares>()),
        "ReduceLogSum" => dispatch!(dtype, floats, S => plan.kernel::<S, LogSum>()),
        "ReduceLogSumExp" => dispatch!(dtype, floats, S => plan.kernel::<S, LogSumExp>()),
        "ReduceMax" => dispatch!(dtype, [F32, F64, F16, BF16, U8, I8, I32, I64, U32, U64, Bool], S => plan.kernel::<S, Largest>()),
        "ReduceMin" => dispatch!(dtype, [F32, F64, F16, BF16, U8, I8, I32, I64, U32, U64, Bool], S => plan.kernel::<S, Smallest>()),
        "GlobalAveragePool" => dispatch!(dtype, floats, S => plan.kernel::<S, Mean>()),
        _ => dispatch!(dtype, floats, S => plan.kernel::<S, Largest>()),
    }
}

/// The axes that stay and those that go, each as a walk over the input.
#[derive(Clone, Copy)]
struct Plan {
    kept: Strided,
    gone: Strided,
    outputs: usize,
    terms: usize,
}

impl Plan {
    fn kernel<S: Stored, R: Rule<S::Value>>(self) -> Result<Box<dyn Kernel>> {
        kernel(needs((self.outputs * self.terms) as u64 * 2, self.outputs), move |bindings| {
            let (x, y) = (bindings.input::<S::Element>(0)?, bindings.output::<S::Element>(0)?);
            Ok(Box::new(move |call: &Call| {
                let (x, y) = (call.read(&x), call.write(&y));
                let mut sums = [R::START; CHUNK];
                let share = call.share(y.len(), 1);
                for start in share.clone().step_by(CHUNK) {
                    self.kept.runs(start..share.end.min(start + CHUNK), |index, offset, stride, n| {
                        let sums = &mut sums[..n];
                        if stride == 1 {
                            self.side_by_side::<S, R>(&x, offset, sums);
                        } else {
                            for (i, sum) in sums.iter_mut().enumerate() {
                                *sum = self.one::<S, R>(&x, offset.wrapping_add_signed(stride * i as isize));
                            }
                        }
                        for (i, &sum) in sums.iter().enumerate() {
                            y.set(index + i, S::store(R::finish(sum, self.terms)));
                        }
                    });
                }
                Ok(())
            }))
        })
    }

    /// The result for the terms whose first lies at `offset`.
    fn one<S: Stored, R: Rule<S::Value>>(&self, x: &Reader<'_, S::Element>, offset: usize) -> R::Sum {
        let mut sum = R::START;
        self.gone.runs(0..self.terms, |_, from, stride, n| {
            let mut at = offset + from;
            if stride == 1 {
                sum = x.part(at..at + n).iter().fold(sum, |sum, element| R::step(sum, S::load(element)));
            } else {
                for _ in 0..n {
                    sum = R::step(sum, S::load(x.get(at)));
                    at = at.wrapping_add_signed(stride);
                }
            }
        });
        sum
    }

    /// The results of neighbouring outputs, whose terms lie side by side.
    fn side_by_side<S: Stored, R: Rule<S::Value>>(
        &self,
        x: &Reader<'_, S::Element>,
        offset: usize,
        sums: &mut [R::Sum],
    ) {
        sums.fill(R::START);
        self.gone.runs(0..self.terms, |_, from, stride, n| {
            let mut at = offset + from;
            for _ in 0..n {
                for (sum, element) in sums.iter_mut().zip(x.part(at..at + sums.len()).iter()) {
                    *sum = R::step(*sum, S::load(element));
                }
                at = at.wrapping_add_signed(stride);
            }
        });
    }
}
