//! Reductions over any set of axes, and the global pools, which are reductions over all spatial ones.
//!
//! Sums are kept in `f64` (integers: 64 bits, wrapped at the end), and each output element is accumulated in the order of the input, so
//! the bits depend neither on the loop that was chosen nor on the number of shards.

use crate::arguments::Op;
use crate::element::FLOATS;
use crate::number::Number;
use crate::settle::{CHUNK, kernel, needs};
use crate::strided::{Strided, count, dense_strides};
use crate::table::{LATEST, Row, same};
use crate::wide::{Wide, sink, source};
use std::sync::Arc;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel, Result};

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

/// What is done with the numbers that fall together, in one type.
struct Rule<W> {
    start: W,
    step: fn(&mut [W], &[W]),
    fold: fn(W, &[W]) -> W,
    finish: fn(W, usize) -> W,
}

macro_rules! rule {
    ($start:expr, |$sum:ident, $x:ident| $step:expr, $finish:expr) => {
        Rule {
            start: $start,
            step: |sums, terms| {
                for (sum, &$x) in sums.iter_mut().zip(terms) {
                    let $sum = *sum;
                    *sum = $step;
                }
            },
            fold: |start, terms| terms.iter().fold(start, |$sum, &$x| $step),
            finish: $finish,
        }
    };
}

/// The rule of that operator name on wide numbers.
fn rule<W: Number>(name: &str) -> Option<Rule<W>> {
    Some(match name {
        "ReduceSum" => rule!(W::ZERO, |sum, x| sum.add(x), |sum, _| sum),
        "ReduceMean" | "GlobalAveragePool" => rule!(W::ZERO, |sum, x| sum.add(x), mean),
        "ReduceProd" => rule!(W::ONE, |sum, x| sum.mul(x), |sum, _| sum),
        "ReduceL1" => rule!(W::ZERO, |sum, x| sum.add(x.abs()), |sum, _| sum),
        "ReduceL2" => rule!(W::ZERO, |sum, x| sum.add(x.mul(x)), |sum, _| W::from_f64(sum.to_f64().sqrt())),
        "ReduceSumSquare" => rule!(W::ZERO, |sum, x| sum.add(x.mul(x)), |sum, _| sum),
        "ReduceLogSum" => rule!(W::ZERO, |sum, x| sum.add(x), |sum, _| W::from_f64(libm::log(sum.to_f64()))),
        "ReduceMax" | "GlobalMaxPool" => rule!(W::LOWEST, |sum, x| x.larger(sum), |sum, _| sum),
        "ReduceMin" => rule!(W::HIGHEST, |sum, x| x.smaller(sum), |sum, _| sum),
        _ => return None,
    })
}

fn mean<W: Number>(sum: W, count: usize) -> W {
    // The mean of nothing is NaN; integers have none, so it is 0.
    if count == 0 && !W::IS_FLOAT { W::ZERO } else { sum.div(W::from_i64(count as i64)).unwrap_or(W::ZERO) }
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
    if op.name() == "ReduceLogSumExp" {
        return plan.log_sum_exp(dtype);
    }
    let unknown = || op.unsupported("this reduction");
    match dtype {
        1 | 10 | 11 | 16 => plan.kernel::<f64>(dtype, rule(op.name()).ok_or_else(unknown)?),
        3 | 6 | 7 => {
            let mut rule = rule::<i64>(op.name()).ok_or_else(unknown)?;
            // The extremum of nothing is the bound of the narrow type; wrapping the wide one would give another number.
            let (lowest, highest) = match dtype {
                3 => (i8::MIN.into(), i8::MAX.into()),
                6 => (i32::MIN.into(), i32::MAX.into()),
                _ => (i64::MIN, i64::MAX),
            };
            rule.start = rule.start.clamp(lowest, highest);
            plan.kernel(dtype, rule)
        }
        _ => plan.kernel::<u64>(dtype, rule(op.name()).ok_or_else(unknown)?),
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
    fn kernel<W: WideNumber>(self, dtype: u16, rule: Rule<W>) -> Result<Box<dyn Kernel>> {
        let rule = Arc::new(rule);
        kernel(needs(self.outputs as u64 * self.terms as u64 * 3, self.outputs), move |bindings| {
            let (x, y) = (source(bindings, dtype, 0)?, sink(bindings, dtype, 0)?);
            let rule = rule.clone();
            Ok(Box::new(move |call: &Call| {
                let mut terms = x.chunk();
                let mut sums = [rule.start; CHUNK];
                let share = call.share(self.outputs, 1);
                for start in share.clone().step_by(CHUNK) {
                    let n = CHUNK.min(share.end - start);
                    self.kept.runs(start..start + n, |index, offset, stride, n| {
                        let sums = &mut sums[index - start..][..n];
                        sums.fill(rule.start);
                        if stride == 1 {
                            // Neighbouring outputs, whose terms lie side by side.
                            let beside = Strided::new(&[n], &[1], 0);
                            self.each_term(|from| {
                                x.load(call, &beside, offset + from, 0, n, &mut terms);
                                (rule.step)(sums, &W::of(&terms)[..n]);
                            });
                            return;
                        }
                        for (i, sum) in sums.iter_mut().enumerate() {
                            let offset = offset.wrapping_add_signed(stride * i as isize);
                            for at in (0..self.terms).step_by(CHUNK) {
                                let n = CHUNK.min(self.terms - at);
                                x.load(call, &self.gone, offset, at, n, &mut terms);
                                *sum = (rule.fold)(*sum, &W::of(&terms)[..n]);
                            }
                        }
                    });
                    for sum in &mut sums[..n] {
                        *sum = (rule.finish)(*sum, self.terms);
                    }
                    y.store(call, start, n, &W::wide(sums));
                }
                Ok(())
            }))
        })
    }

    /// Calls `visit` with the offset of every term of the output whose first term lies at 0.
    fn each_term(&self, mut visit: impl FnMut(usize)) {
        self.gone.runs(0..self.terms, |_, offset, stride, n| {
            for i in 0..n {
                visit(offset.wrapping_add_signed(stride * i as isize));
            }
        });
    }

    /// In two passes over the terms: the exponentials are taken against the largest.
    fn log_sum_exp(self, dtype: u16) -> Result<Box<dyn Kernel>> {
        kernel(needs(self.outputs as u64 * self.terms as u64 * 20, self.outputs), move |bindings| {
            let (x, y) = (source(bindings, dtype, 0)?, sink(bindings, dtype, 0)?);
            Ok(Box::new(move |call: &Call| {
                let mut terms = x.chunk();
                for output in call.share(self.outputs, 1) {
                    let offset = self.kept.offset(output);
                    let mut pass = |start: f64, step: &dyn Fn(f64, f64) -> f64| {
                        let mut sum = start;
                        for at in (0..self.terms).step_by(CHUNK) {
                            let n = CHUNK.min(self.terms - at);
                            x.load(call, &self.gone, offset, at, n, &mut terms);
                            sum = f64::of(&terms)[..n].iter().fold(sum, |sum, &term| step(sum, term));
                        }
                        sum
                    };
                    let largest = pass(f64::NEG_INFINITY, &|sum, x| x.larger(sum));
                    // Against an infinity, differences would be NaN.
                    let against = if largest.is_finite() { largest } else { 0.0 };
                    let sum = pass(0.0, &|sum, x| sum + libm::exp(x - against));
                    y.store(call, output, 1, &Wide::Real([against + libm::log(sum); CHUNK]));
                }
                Ok(())
            }))
        })
    }
}

/// The three types of wide numbers.
trait WideNumber: Number {
    fn of(wide: &Wide) -> &[Self; CHUNK];
    fn wide(numbers: [Self; CHUNK]) -> Wide;
}

macro_rules! wide_number {
    ($($t:ty = $kind:ident;)*) => { $(
        impl WideNumber for $t {
            fn of(wide: &Wide) -> &[Self; CHUNK] {
                match wide {
                    Wide::$kind(numbers) => numbers,
                    _ => unreachable!("the kind follows from the element type"),
                }
            }
            fn wide(numbers: [Self; CHUNK]) -> Wide {
                Wide::$kind(numbers)
            }
        }
    )* };
}
wide_number! { f64 = Real; i64 = Signed; u64 = Unsigned; }
