//! Sliding windows over any number of spatial axes: convolutions and pools.

use super::index::{place, tuples};
use super::quantise::requantised;
use super::tensor::dtype;
use super::{Answer, Question, Reals, Tensor, Unknown};

pub(super) fn answer(question: &Question) -> Option<Result<Vec<Answer>, Unknown>> {
    Some(match question.op.as_str() {
        "Conv" => conv(question),
        "ConvInteger" => conv_integer(question),
        "QLinearConv" => qlinear_conv(question),
        "ConvTranspose" => conv_transpose(question),
        "MaxPool" => max_pool(question),
        "AveragePool" | "LpPool" => mean_pool(question),
        _ => return None,
    })
}

/// How windows lie on the spatial axes.
struct Window {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    begin: Vec<i64>,
    end: Vec<i64>,
    input: Vec<usize>,
    output: Vec<usize>,
}

impl Window {
    /// Reads the attributes; padding is explicit or as `auto_pad` says.
    fn of(question: &Question, input: &[usize], kernel: &[usize]) -> Result<Self, Unknown> {
        let rank = input.len();
        let list =
            |key: &str, default: i64| question.attributes().integers(key).map_or(vec![default; rank], <[i64]>::to_vec);
        let whole = |key: &str| list(key, 1).iter().map(|&n| n as usize).collect::<Vec<_>>();
        let (strides, dilations) = (whole("strides"), whole("dilations"));
        let pads = question.attributes().integers("pads").map_or(vec![0; 2 * rank], <[i64]>::to_vec);
        let (mut begin, mut end) = (pads[..rank].to_vec(), pads[rank..].to_vec());
        let auto = question.attributes().text("auto_pad");
        let ceil = question.whole("ceil_mode", 0) != 0;
        let mut output = Vec::new();
        for axis in 0..rank {
            let (n, stride) = (input[axis] as i64, strides[axis] as i64);
            let reach = (dilations[axis] * (kernel[axis] - 1) + 1) as i64;
            if auto == "VALID" {
                (begin[axis], end[axis]) = (0, 0);
            }
            if matches!(auto, "SAME_UPPER" | "SAME_LOWER") {
                let out = (n + stride - 1) / stride;
                let total = ((out - 1) * stride + reach - n).max(0);
                let small = total / 2;
                (begin[axis], end[axis]) =
                    if auto == "SAME_UPPER" { (small, total - small) } else { (total - small, small) };
            }
            let room = n + begin[axis] + end[axis] - reach;
            if room < 0 {
                return Err(Unknown("windows wider than the input".into()));
            }
            let mut out = if ceil { (room + stride - 1).div_euclid(stride) } else { room.div_euclid(stride) } + 1;
            // A window that starts in the padding behind the input is left out.
            if ceil && (out - 1) * stride >= n + begin[axis] {
                out -= 1;
            }
            output.push(usize::try_from(out).map_err(|_| Unknown("windows wider than the input".into()))?);
        }
        Ok(Self { kernel: kernel.to_vec(), strides, dilations, begin, end, input: input.to_vec(), output })
    }

    fn kernel_shape(question: &Question) -> Result<Vec<usize>, Unknown> {
        let kernel =
            question.attributes().integers("kernel_shape").ok_or_else(|| Unknown("a pool without a window".into()))?;
        Ok(kernel.iter().map(|&n| n as usize).collect())
    }

    /// Where tap `tap` of output `out` reads; none: padding.
    fn source(&self, out: &[usize], tap: &[usize]) -> Option<Vec<usize>> {
        (0..out.len())
            .map(|axis| {
                let at = (out[axis] * self.strides[axis] + tap[axis] * self.dilations[axis]) as i64 - self.begin[axis];
                (0..self.input[axis] as i64).contains(&at).then_some(at as usize)
            })
            .collect()
    }

    /// Whether a tap lies on the input or on its explicit padding.
    fn on_padded(&self, out: &[usize], tap: &[usize]) -> bool {
        (0..out.len()).all(|axis| {
            let at = (out[axis] * self.strides[axis] + tap[axis] * self.dilations[axis]) as i64;
            at < self.input[axis] as i64 + self.begin[axis] + self.end[axis]
        })
    }
}

/// Calls `visit` for every output of a convolution with its channel and the places of its pairs of factors.
fn each_output(
    window: &Window,
    x: &Tensor,
    w: &Tensor,
    groups: usize,
    mut visit: impl FnMut(usize, &[(usize, usize)]),
) -> Result<Vec<usize>, Unknown> {
    let (n, m) = (x.shape[0], w.shape[0]);
    let per_group = w.shape[1];
    if x.shape[1] != per_group * groups || m % groups != 0 {
        return Err(Unknown(format!("{groups} groups of {:?} and {:?}", x.shape, w.shape)));
    }
    let mut pairs = Vec::new();
    for batch in 0..n {
        for channel in 0..m {
            let first = channel / (m / groups) * per_group;
            for out in tuples(&window.output) {
                pairs.clear();
                for c in 0..per_group {
                    for tap in tuples(&window.kernel) {
                        let Some(source) = window.source(&out, &tap) else { continue };
                        let from =
                            (batch * x.shape[1] + first + c) * volume(&window.input) + place(&source, &window.input);
                        let weight = (channel * per_group + c) * volume(&window.kernel) + place(&tap, &window.kernel);
                        pairs.push((from, weight));
                    }
                }
                visit(channel, &pairs);
            }
        }
    }
    let mut shape = vec![n, m];
    shape.extend(&window.output);
    Ok(shape)
}

fn volume(shape: &[usize]) -> usize {
    shape.iter().product()
}

fn conv(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (x, w) = (question.tensor(0)?, question.tensor(1)?);
    let window = Window::of(question, &x.shape[2..], &w.shape[2..])?;
    let bias = question.optional(2).map(|bias| bias.reals());
    let (numbers, weights) = (x.reals(), w.reals());
    let (mut values, mut magnitudes) = (Vec::new(), Vec::new());
    let groups = question.whole("group", 1) as usize;
    let shape = each_output(&window, x, w, groups, |channel, pairs| {
        let mut sum = bias.as_ref().map_or(0.0, |bias| bias[channel]);
        let mut magnitude = sum.abs();
        for &(i, j) in pairs {
            sum += numbers[i] * weights[j];
            magnitude += (numbers[i] * weights[j]).abs();
        }
        values.push(sum);
        magnitudes.push(magnitude);
    })?;
    spread(&window, &shape, &mut magnitudes);
    let terms = w.shape[1] * volume(&window.kernel) + 1;
    let reals = Reals { spreads: true, ..Reals::sums(values, magnitudes, terms) };
    Ok(vec![Answer::reals(x.dtype, &shape, reals)])
}

/// Algorithms that transform tiles of a plane mix the terms of neighbouring outputs: an error is measured against the largest around it.
fn spread(window: &Window, shape: &[usize], magnitudes: &mut [f64]) {
    if window.kernel.len() != 2 || window.kernel.iter().any(|&k| k < 3) {
        return;
    }
    let reach = 5;
    let plane = volume(&window.output);
    let (high, wide) = (window.output[0], window.output[1]);
    for chunk in magnitudes.chunks_mut(plane.max(1)).take(shape[0] * shape[1]) {
        let before = chunk.to_vec();
        for y in 0..high {
            for x in 0..wide {
                let rows = y.saturating_sub(reach)..high.min(y + reach + 1);
                let around = rows.flat_map(|y| (x.saturating_sub(reach)..wide.min(x + reach + 1)).map(move |x| (y, x)));
                chunk[y * wide + x] = around.map(|(y, x)| before[y * wide + x]).fold(0.0, f64::max);
            }
        }
    }
}

/// Sums of products of what is left after the zero points are taken off; padding counts as the zero point.
fn integer_sums(
    question: &Question,
    x: usize,
    w: usize,
    x_zero: usize,
    w_zero: usize,
) -> Result<(Vec<i128>, Vec<usize>), Unknown> {
    let (x, w) = (question.tensor(x)?, question.tensor(w)?);
    let window = Window::of(question, &x.shape[2..], &w.shape[2..])?;
    let x_zero = question.optional(x_zero).map_or(0, |zero| zero.wholes()[0]);
    let w_zeros = question.optional(w_zero).map_or(vec![0], |zero| zero.wholes());
    let (numbers, weights) = (x.wholes(), w.wholes());
    let mut sums = Vec::new();
    let groups = question.whole("group", 1) as usize;
    let shape = each_output(&window, x, w, groups, |channel, pairs| {
        let w_zero = w_zeros[if w_zeros.len() == 1 { 0 } else { channel }];
        sums.push(pairs.iter().map(|&(i, j)| (numbers[i] - x_zero) * (weights[j] - w_zero)).sum());
    })?;
    Ok((sums, shape))
}

fn conv_integer(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (sums, shape) = integer_sums(question, 0, 1, 2, 3)?;
    Ok(vec![Answer::stored(Tensor::of_wholes(dtype::I32, &shape, &sums))])
}

fn qlinear_conv(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (mut sums, shape) = integer_sums(question, 0, 3, 2, 5)?;
    if let Some(bias) = question.optional(8) {
        let bias = bias.wholes();
        let plane = volume(&shape[2..]);
        sums.iter_mut().enumerate().for_each(|(at, sum)| *sum += bias[at / plane % shape[1]]);
    }
    if question.tensor(4)?.count() != 1 {
        return Err(Unknown("QLinearConv with several weight scales".into()));
    }
    requantised(question, &sums, &shape)
}

fn conv_transpose(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let (x, w) = (question.tensor(0)?, question.tensor(1)?);
    let rank = x.shape.len() - 2;
    let list =
        |key: &str, default: i64| question.attributes().integers(key).map_or(vec![default; rank], <[i64]>::to_vec);
    let (strides, dilations, extra) = (list("strides", 1), list("dilations", 1), list("output_padding", 0));
    let pads = question.attributes().integers("pads").map_or(vec![0; 2 * rank], <[i64]>::to_vec);
    if question.attributes().integers("output_shape").is_some()
        || !matches!(question.attributes().text("auto_pad"), "" | "NOTSET")
    {
        return Err(Unknown("ConvTranspose with a given output shape".into()));
    }
    let (input, kernel) = (&x.shape[2..], &w.shape[2..]);
    let mut output = Vec::new();
    for axis in 0..rank {
        let reach = dilations[axis] * (kernel[axis] as i64 - 1) + 1;
        let n = strides[axis] * (input[axis] as i64 - 1) + reach + extra[axis] - pads[axis] - pads[rank + axis];
        output.push(usize::try_from(n).map_err(|_| Unknown("a window wider than the output".into()))?);
    }
    let groups = question.whole("group", 1) as usize;
    let (batches, channels, per_group) = (x.shape[0], x.shape[1], w.shape[1]);
    let out_channels = per_group * groups;
    let bias = question.optional(2).map(|bias| bias.reals());
    let plane = volume(&output);
    let (mut values, mut magnitudes) = (Vec::new(), Vec::new());
    for at in 0..batches * out_channels * plane {
        let addend = bias.as_ref().map_or(0.0, |bias| bias[at / plane.max(1) % out_channels]);
        values.push(addend);
        magnitudes.push(addend.abs());
    }
    let (numbers, weights) = (x.reals(), w.reals());
    for batch in 0..batches {
        for channel in 0..channels {
            let group = channel / (channels / groups);
            for source in tuples(input) {
                let number = numbers[(batch * channels + channel) * volume(input) + place(&source, input)];
                for tap in tuples(kernel) {
                    let to = |axis: usize| {
                        source[axis] as i64 * strides[axis] + tap[axis] as i64 * dilations[axis] - pads[axis]
                    };
                    let Some(out) = (0..rank)
                        .map(|a| (0..output[a] as i64).contains(&to(a)).then(|| to(a) as usize))
                        .collect::<Option<Vec<_>>>()
                    else {
                        continue;
                    };
                    for m in 0..per_group {
                        let weight = weights[(channel * per_group + m) * volume(kernel) + place(&tap, kernel)];
                        let at = (batch * out_channels + group * per_group + m) * plane + place(&out, &output);
                        values[at] += number * weight;
                        magnitudes[at] += (number * weight).abs();
                    }
                }
            }
        }
    }
    let mut shape = vec![batches, out_channels];
    shape.extend(&output);
    let terms = channels / groups.max(1) * volume(kernel) + 1;
    let reals = Reals { spreads: true, ..Reals::sums(values, magnitudes, terms) };
    Ok(vec![Answer::reals(x.dtype, &shape, reals)])
}

fn max_pool(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let window = Window::of(question, &x.shape[2..], &Window::kernel_shape(question)?)?;
    let column_major = question.whole("storage_order", 0) != 0;
    let mut shape = x.shape[..2].to_vec();
    shape.extend(&window.output);
    let plane = volume(&window.input);
    let (mut best, mut places) = (Vec::new(), Vec::new());
    let (reals, wholes) = (x.reals(), x.wholes());
    let beats = |a: usize, b: usize| {
        if x.is_float() {
            reals[a] > reals[b] || reals[a].is_nan() && !reals[b].is_nan()
        } else {
            wholes[a] > wholes[b]
        }
    };
    for channel in 0..x.shape[0] * x.shape[1] {
        for out in tuples(&window.output) {
            let sources = tuples(&window.kernel).filter_map(|tap| window.source(&out, &tap));
            let from = sources.map(|source| channel * plane + place(&source, &window.input));
            let at = from
                .reduce(|a, b| if beats(b, a) { b } else { a })
                .ok_or_else(|| Unknown("a window of padding alone".into()))?;
            best.push(Some(at));
            let spatial = super::index::tuple(at % plane, &window.input);
            let backwards: Vec<usize> = spatial.iter().rev().copied().collect();
            let dims: Vec<usize> = window.input.iter().rev().copied().collect();
            places.push((if column_major { channel * plane + place(&backwards, &dims) } else { at }) as i128);
        }
    }
    let values = match x.is_float() {
        // A NaN comes out as one, with whatever payload.
        true => Answer::reals(x.dtype, &shape, Reals::plain(best.iter().flatten().map(|&at| reals[at]).collect())),
        false => Answer::stored(x.picked(&shape, best)),
    };
    let indices = Tensor::of_wholes(dtype::I64, &shape, &places);
    Ok(vec![values, Answer::stored(indices)])
}

fn mean_pool(question: &Question) -> Result<Vec<Answer>, Unknown> {
    let x = question.tensor(0)?;
    let window = Window::of(question, &x.shape[2..], &Window::kernel_shape(question)?)?;
    let power = question.whole("p", 2) as i32;
    let with_pads = question.whole("count_include_pad", 0) != 0;
    let mut shape = x.shape[..2].to_vec();
    shape.extend(&window.output);
    let numbers = x.reals();
    let (mut values, mut magnitudes) = (Vec::new(), Vec::new());
    for channel in 0..x.shape[0] * x.shape[1] {
        for out in tuples(&window.output) {
            let taps: Vec<Vec<usize>> = tuples(&window.kernel).collect();
            let read = taps.iter().filter_map(|tap| window.source(&out, tap));
            let read: Vec<f64> =
                read.map(|source| numbers[channel * volume(&window.input) + place(&source, &window.input)]).collect();
            if question.op == "LpPool" {
                let sum: f64 = read.iter().map(|x| x.abs().powi(power)).sum();
                values.push(sum.powf(1.0 / f64::from(power)));
                magnitudes.push(values[values.len() - 1]);
                continue;
            }
            let count =
                if with_pads { taps.iter().filter(|tap| window.on_padded(&out, tap)).count() } else { read.len() };
            if count == 0 {
                return Err(Unknown("a window of padding alone".into()));
            }
            values.push(read.iter().sum::<f64>() / count as f64);
            magnitudes.push(read.iter().map(|x| x.abs()).sum::<f64>() / count as f64);
        }
    }
    let reals = Reals::sums(values, magnitudes, volume(&window.kernel) + 1);
    Ok(vec![Answer::reals(x.dtype, &shape, reals)])
}
