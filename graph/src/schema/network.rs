//! Convolution, pooling, matrix products, attention.

use super::{Kind, Schema, VARIADIC, integer, number, op, optional, required, text};

#[rustfmt::skip] // One operator a line: a table.
pub(super) const TABLE: &[Schema] = &[
    op("Conv", &[1, 11, 22], 11, (2, 3), (1, 1), &[text("auto_pad", "NOTSET"), optional("dilations", Kind::Integers), integer("group", 1), optional("kernel_shape", Kind::Integers), optional("pads", Kind::Integers), optional("strides", Kind::Integers)]),
    op("ConvTranspose", &[1, 11, 22], 11, (2, 3), (1, 1), &[text("auto_pad", "NOTSET"), optional("dilations", Kind::Integers), integer("group", 1), optional("kernel_shape", Kind::Integers), optional("output_padding", Kind::Integers), optional("output_shape", Kind::Integers), optional("pads", Kind::Integers), optional("strides", Kind::Integers)]),
    op("ConvInteger", &[10], 10, (2, 4), (1, 1), &[text("auto_pad", "NOTSET"), optional("dilations", Kind::Integers), integer("group", 1), optional("kernel_shape", Kind::Integers), optional("pads", Kind::Integers), optional("strides", Kind::Integers)]),
    op("DeformConv", &[19, 22], 19, (3, 5), (1, 1), &[optional("dilations", Kind::Integers), integer("group", 1), optional("kernel_shape", Kind::Integers), integer("offset_group", 1), optional("pads", Kind::Integers), optional("strides", Kind::Integers)]),
    op("MatMul", &[1, 9, 13], 13, (2, 2), (1, 1), &[]),
    op("Gemm", &[1, 6, 7, 9, 11, 13], 13, (2, 3), (1, 1), &[number("alpha", 1.0), number("beta", 1.0), integer("transA", 0), integer("transB", 0)]),
    op("MatMulInteger", &[10], 10, (2, 4), (1, 1), &[]),
    op("QLinearConv", &[10], 10, (8, 9), (1, 1), &[text("auto_pad", "NOTSET"), optional("dilations", Kind::Integers), integer("group", 1), optional("kernel_shape", Kind::Integers), optional("pads", Kind::Integers), optional("strides", Kind::Integers)]),
    op("QLinearMatMul", &[10, 21], 10, (8, 8), (1, 1), &[]),
    op("Einsum", &[12, 28], 12, (1, VARIADIC), (1, 1), &[required("equation", Kind::Text)]),
    op("Det", &[11, 22], 11, (1, 1), (1, 1), &[]),
    op("MaxPool", &[1, 8, 10, 11, 12, 22], 12, (1, 1), (1, 2), &[text("auto_pad", "NOTSET"), integer("ceil_mode", 0), optional("dilations", Kind::Integers), required("kernel_shape", Kind::Integers), optional("pads", Kind::Integers), integer("storage_order", 0), optional("strides", Kind::Integers)]),
    op("AveragePool", &[1, 7, 10, 11, 19, 22], 19, (1, 1), (1, 1), &[text("auto_pad", "NOTSET"), integer("ceil_mode", 0), integer("count_include_pad", 0), optional("dilations", Kind::Integers), required("kernel_shape", Kind::Integers), optional("pads", Kind::Integers), optional("strides", Kind::Integers)]),
    op("LpPool", &[1, 2, 11, 18, 22], 18, (1, 1), (1, 1), &[text("auto_pad", "NOTSET"), integer("ceil_mode", 0), optional("dilations", Kind::Integers), required("kernel_shape", Kind::Integers), integer("p", 2), optional("pads", Kind::Integers), optional("strides", Kind::Integers)]),
    op("GlobalMaxPool", &[1, 22], 1, (1, 1), (1, 1), &[]),
    op("GlobalAveragePool", &[1, 22], 1, (1, 1), (1, 1), &[]),
    op("GlobalLpPool", &[1, 2, 22], 2, (1, 1), (1, 1), &[integer("p", 2)]),
    op("MaxUnpool", &[9, 11, 22], 11, (2, 3), (1, 1), &[required("kernel_shape", Kind::Integers), optional("pads", Kind::Integers), optional("strides", Kind::Integers)]),
    op("MaxRoiPool", &[1, 22], 1, (2, 2), (1, 1), &[required("pooled_shape", Kind::Integers), number("spatial_scale", 1.0)]),
    op("RoiAlign", &[10, 16, 22], 16, (3, 3), (1, 1), &[text("coordinate_transformation_mode", "half_pixel"), text("mode", "avg"), integer("output_height", 1), integer("output_width", 1), integer("sampling_ratio", 0), number("spatial_scale", 1.0)]),
    op("Resize", &[10, 11, 13, 18, 19], 19, (1, 4), (1, 1), &[integer("antialias", 0), optional("axes", Kind::Integers), text("coordinate_transformation_mode", "half_pixel"), number("cubic_coeff_a", -0.75), integer("exclude_outside", 0), number("extrapolation_value", 0.0), text("keep_aspect_ratio_policy", "stretch"), text("mode", "nearest"), text("nearest_mode", "round_prefer_floor")]),
    op("Upsample", &[1, 7, 9, 10], 10, (2, 2), (1, 1), &[text("mode", "nearest")]),
    op("GridSample", &[16, 20, 22], 20, (2, 2), (1, 1), &[integer("align_corners", 0), text("mode", "linear"), text("padding_mode", "zeros")]),
    op("AffineGrid", &[20], 20, (2, 2), (1, 1), &[integer("align_corners", 0)]),
    op("Attention", &[23, 24, 25], 25, (3, 7), (1, 4), &[integer("is_causal", 0), optional("kv_num_heads", Kind::Integer), integer("left_window_size", -1), optional("q_num_heads", Kind::Integer), integer("qk_matmul_output_mode", 0), integer("right_window_size", -1), optional("scale", Kind::Number), number("softcap", 0.0), optional("softmax_precision", Kind::Integer)]),
    op("RotaryEmbedding", &[23], 23, (3, 4), (1, 1), &[integer("interleaved", 0), optional("num_heads", Kind::Integer), integer("rotary_embedding_dim", 0)]),
    op("LinearAttention", &[27], 27, (3, 6), (1, 2), &[integer("chunk_size", 64), required("kv_num_heads", Kind::Integer), required("q_num_heads", Kind::Integer), number("scale", 0.0), text("update_rule", "gated_delta")]),
    op("CausalConvWithState", &[27], 27, (2, 4), (1, 2), &[text("activation", "none")]),
    // Behind the operator's own three inputs stand the values that its blocks capture.
    op("ai.onnx.preview.FlexAttention", &[1], 1, (3, VARIADIC), (1, 1), &[optional("prob_mod", Kind::Graph), optional("scale", Kind::Number), optional("score_mod", Kind::Graph), optional("softmax_precision", Kind::Integer)]),
    op("TensorScatter", &[24], 24, (2, 3), (1, 1), &[integer("axis", -2), text("mode", "linear")]),
    op("LSTM", &[1, 7, 14, 22], 14, (3, 8), (0, 3), &[optional("activation_alpha", Kind::Numbers), optional("activation_beta", Kind::Numbers), optional("activations", Kind::Texts), optional("clip", Kind::Number), text("direction", "forward"), optional("hidden_size", Kind::Integer), integer("input_forget", 0), integer("layout", 0)]),
    op("GRU", &[1, 3, 7, 14, 22], 14, (3, 6), (0, 2), &[optional("activation_alpha", Kind::Numbers), optional("activation_beta", Kind::Numbers), optional("activations", Kind::Texts), optional("clip", Kind::Number), text("direction", "forward"), optional("hidden_size", Kind::Integer), integer("layout", 0), integer("linear_before_reset", 0)]),
    op("RNN", &[1, 7, 14, 22], 14, (3, 6), (0, 2), &[optional("activation_alpha", Kind::Numbers), optional("activation_beta", Kind::Numbers), optional("activations", Kind::Texts), optional("clip", Kind::Number), text("direction", "forward"), optional("hidden_size", Kind::Integer), integer("layout", 0)]),
    // x [..., k] times block-quantised weights [n, k], and perhaps a bias [n], gives [..., n].
    // a [.., m, k] times b [.., k, n] as exact integers, times a_scale and b_scale (one, or [n]), and perhaps a bias [n]: f32.
    op("sunmao.MatMulIntegerToFloat", &[1], 1, (4, 7), (1, 1), &[]),
    // Two quantised tensors of one shape, each with its scale and zero point, added as f32 and quantised with those at the end.
    op("sunmao.QAdd", &[1], 1, (8, 8), (1, 1), &[]),
    op("sunmao.QMatMul", &[1], 1, (2, 3), (1, 1), &[]),
];
