//! Reductions of floats over neighbouring axes: sums, means, extrema, and the global pools, which reduce all axes behind the channels.
//!
//! The input is seen as `[outer, terms, inner]`. Along a line (inner 1) there are four vectors of partial sums; otherwise each result is summed from
//! its first term to its last. Both orders depend on the shape alone.

use super::lanes::{self, LANES, vectors};
use super::math::{larger, smaller};
use crate::Avx2;
use crate::avx2::Row;
use crate::registry::LATEST;
use crate::request::Request;
use crate::settle::{kernel, needs};
use std::arch::x86_64::*;
use sunmao_plugin_sdk::abi::Tolerance;
use sunmao_plugin_sdk::{Call, Kernel};

pub(crate) fn rows() -> Vec<Row> {
    let sum = Tolerance::Accumulate(1.0);
    let table = [
        ("ReduceSum", sum),
        ("ReduceMean", sum),
        ("ReduceSumSquare", sum),
        ("ReduceL2", sum),
        ("ReduceMax", Tolerance::Exact),
        ("ReduceMin", Tolerance::Exact),
        ("GlobalAveragePool", sum),
        ("GlobalMaxPool", Tolerance::Exact),
    ];
    let row = |(operator, tolerance)| Row {
        operator,
        path: "avx2-reduce",
        revisions: (1, LATEST),
        tolerance,
        prepare: reduce,
    };
    table.into_iter().map(row).collect()
}

/// How terms come together.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Sum,
    Squares,
    Max,
    Min,
}

/// What is done with the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Finish {
    Nothing,
    /// Divided by the number of terms.
    Mean,
    Root,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    rule: Rule,
    finish: Finish,
    outer: usize,
    terms: usize,
    inner: usize,
}

/// Columns of a unit of work where results lie side by side.
const STRETCH: usize = 8 * LANES;

fn reduce(token: Avx2, request: Request<'_>) -> Option<Box<dyn Kernel>> {
    let (rule, finish) = match request.operator() {
        "ReduceSum" => (Rule::Sum, Finish::Nothing),
        "ReduceMean" | "GlobalAveragePool" => (Rule::Sum, Finish::Mean),
        "ReduceSumSquare" => (Rule::Squares, Finish::Nothing),
        "ReduceL2" => (Rule::Squares, Finish::Root),
        "ReduceMax" | "GlobalMaxPool" => (Rule::Max, Finish::Nothing),
        _ => (Rule::Min, Finish::Nothing),
    };
    let shape = request.input(0)?;
    let rank = shape.len();
    let is_pool = request.operator().starts_with("Global");
    let axes = if is_pool { (2..rank).collect() } else { axes(request, rank)? };
    let keeps = is_pool || request.attributes().integer("keepdims").unwrap_or(1) != 0;
    let gone = |axis: &usize| axes.contains(axis);
    let expected: Vec<usize> =
        (0..rank).filter(|axis| keeps || !gone(axis)).map(|axis| if gone(&axis) { 1 } else { shape[axis] }).collect();
    if request.output()? != expected || !request.operation().epilogue.is_empty() || (is_pool && rank < 2) {
        return None;
    }
    // Axes of one element are on either side.
    let real: Vec<usize> = (0..rank).filter(|&axis| shape[axis] != 1).collect();
    let first = real.iter().position(gone)?;
    let last = real.iter().rposition(gone)?;
    if !real[first..=last].iter().all(gone) {
        return None;
    }
    let lengths = |axes: &[usize]| axes.iter().map(|&axis| shape[axis]).product::<usize>();
    let plan = Plan {
        rule,
        finish,
        outer: lengths(&real[..first]),
        terms: lengths(&real[first..=last]),
        inner: lengths(&real[last + 1..]),
    };
    if plan.terms == 0 {
        return None;
    }
    Some(plan.kernel(token))
}

/// The mean of each of so many planes.
pub(crate) fn means(token: Avx2, planes: usize, elements: usize) -> Box<dyn Kernel> {
    Plan { rule: Rule::Sum, finish: Finish::Mean, outer: planes, terms: elements, inner: 1 }.kernel(token)
}

/// The axes that go; none where they are not known, or stand there twice.
fn axes(request: Request<'_>, rank: usize) -> Option<Vec<usize>> {
    let attributes = request.attributes();
    let given = match (attributes.integers("axes"), request.operand(1)) {
        (Some(axes), None) => axes.to_vec(),
        (None, Some(_)) => request.integers(1)?,
        (None, None) => Vec::new(),
        _ => return None,
    };
    if given.is_empty() {
        return (!attributes.flag("noop_with_empty_axes")).then(|| (0..rank).collect());
    }
    let rank = rank as i64;
    let axis = |&axis: &i64| (-rank..rank).contains(&axis).then(|| axis.rem_euclid(rank) as usize);
    given.iter().map(axis).collect()
}

impl Plan {
    fn kernel(self, token: Avx2) -> Box<dyn Kernel> {
        let units = self.outer * self.stretches();
        let results = self.outer * self.inner;
        let cost = (results * self.terms) as f64 * 0.15 + results as f64 * if self.inner == 1 { 6.0 } else { 0.5 };
        kernel(needs(cost, units), None, move |bindings| {
            let (x, output) = (bindings.input::<f32>(0)?, bindings.output::<f32>(0)?);
            Ok(Box::new(move |call: &Call| {
                let (from, to) = (call.read(&x).as_ptr(), call.write(&output).as_mut_ptr());
                for unit in call.share(units, 1) {
                    let _proof: Avx2 = token;
                    // SAFETY: the token proves AVX2 and FMA; the input has `outer * terms * inner` elements and the output `outer * inner`, as `prepare`
                    // matched the shapes and the bindings were checked; the two may not overlap; units have results of their own.
                    unsafe { self.unit(from, to, unit) };
                }
                Ok(())
            }))
        })
    }

    fn stretches(&self) -> usize {
        if self.inner == 1 { 1 } else { self.inner.div_ceil(STRETCH) }
    }

    /// # Safety
    /// The CPU has AVX2 and FMA; `from` and `to` are the tensors of the plan, which do not overlap, and nobody else writes the results of the unit.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn unit(&self, from: *const f32, to: *mut f32, unit: usize) {
        let (outer, stretch) = (unit / self.stretches(), unit % self.stretches());
        let from = from.wrapping_add(outer * self.terms * self.inner);
        let to = to.wrapping_add(outer * self.inner);
        // SAFETY: the caller's promise; the unit is one of the plan.
        unsafe {
            match self.rule {
                Rule::Sum => self.with(from, to, stretch, 0.0, |sum, x| _mm256_add_ps(sum, x), |a, b| a + b),
                Rule::Squares => {
                    self.with(from, to, stretch, 0.0, |sum, x| _mm256_fmadd_ps(x, x, sum), |a, b| a + b);
                }
                Rule::Max => {
                    let join = |a: f32, b: f32| if a.is_nan() || a > b { a } else { b };
                    self.with(from, to, stretch, f32::NEG_INFINITY, |sum, x| larger(x, sum), join);
                }
                Rule::Min => {
                    let join = |a: f32, b: f32| if a.is_nan() || a < b { a } else { b };
                    self.with(from, to, stretch, f32::INFINITY, |sum, x| smaller(x, sum), join);
                }
            }
        }
    }

    /// One unit by a rule: `step` takes a vector of terms in, `join` joins partial results, of which each began with `start`.
    ///
    /// # Safety
    /// As for [`Plan::unit`], with the addresses of the unit's block.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn with(
        &self,
        from: *const f32,
        to: *mut f32,
        stretch: usize,
        start: f32,
        step: impl Fn(__m256, __m256) -> __m256,
        join: impl Fn(f32, f32) -> f32,
    ) {
        let begin = _mm256_set1_ps(start);
        let finish = |whole: __m256| match self.finish {
            Finish::Nothing => whole,
            Finish::Mean => _mm256_div_ps(whole, _mm256_set1_ps(self.terms as f32)),
            Finish::Root => _mm256_sqrt_ps(whole),
        };
        if self.inner == 1 {
            let mut sums = [begin; 4];
            let whole = self.terms / (4 * LANES) * (4 * LANES);
            for at in (0..whole).step_by(4 * LANES) {
                for i in 0..4 {
                    // SAFETY: places below `whole` are terms of the line.
                    sums[i] = step(sums[i], unsafe { _mm256_loadu_ps(from.add(at + i * LANES)) });
                }
            }
            let mut lines = [[start; LANES]; 5];
            for i in 0..4 {
                // SAFETY: a line of the array holds a vector.
                unsafe { _mm256_storeu_ps(lines[i].as_mut_ptr(), sums[i]) };
            }
            // The rest goes into a vector of its own, lane after lane.
            let mut rest = begin;
            let mut at = whole;
            while at < self.terms {
                let n = LANES.min(self.terms - at);
                let mask = lanes::first(n);
                // SAFETY: `n` terms are left at `at`; the others are not loaded.
                let x = unsafe { _mm256_maskload_ps(from.add(at), mask) };
                rest = _mm256_blendv_ps(rest, step(rest, x), _mm256_castsi256_ps(mask));
                at += n;
            }
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(lines[4].as_mut_ptr(), rest) };
            let mut whole = lines[0];
            for line in &lines[1..] {
                for lane in 0..LANES {
                    whole[lane] = join(whole[lane], line[lane]);
                }
            }
            for width in [4, 2, 1] {
                for lane in 0..width {
                    whole[lane] = join(whole[lane], whole[lane + width]);
                }
            }
            // SAFETY: the block has one result.
            unsafe { to.write(_mm256_cvtss_f32(finish(_mm256_set1_ps(whole[0])))) };
            return;
        }
        let first = stretch * STRETCH;
        let (from, to) = (from.wrapping_add(first), to.wrapping_add(first));
        let columns = STRETCH.min(self.inner - first);
        if columns == STRETCH {
            let mut sums = [begin; STRETCH / LANES];
            for term in 0..self.terms {
                for i in 0..STRETCH / LANES {
                    // SAFETY: column `i * LANES` and seven more of the term are in the stretch.
                    sums[i] = step(sums[i], unsafe { _mm256_loadu_ps(from.add(term * self.inner + i * LANES)) });
                }
            }
            for i in 0..STRETCH / LANES {
                // SAFETY: as above, for the results.
                unsafe { _mm256_storeu_ps(to.add(i * LANES), finish(sums[i])) };
            }
            return;
        }
        // SAFETY: `vectors` names positions whose eight (or masked) elements lie below `columns`.
        vectors(
            columns,
            |at| unsafe {
                let mut sum = begin;
                for term in 0..self.terms {
                    sum = step(sum, _mm256_loadu_ps(from.add(term * self.inner + at)));
                }
                _mm256_storeu_ps(to.add(at), finish(sum));
            },
            |at, mask, count| unsafe {
                let mut sum = begin;
                for term in 0..self.terms {
                    sum = step(sum, _mm256_maskload_ps(from.add(term * self.inner + at), mask));
                }
                lanes::store_first(to.add(at), finish(sum), count);
            },
        );
    }
}
