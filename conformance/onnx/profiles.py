"""Which ONNX cases each profile asks for: by operator and element type, so that nobody picks them by hand."""

CORE = set(
    """Abs Neg Sign Reciprocal Sqrt Exp Log Sin Cos Tanh Erf Floor Ceil Round Not IsNaN Add Sub Mul Div Mod Pow Max Min And Or Xor Equal Less
    LessOrEqual Greater GreaterOrEqual Where Cast Clip Identity Relu Sigmoid Gelu Swish Softplus ReduceSum ReduceMean ReduceMax ReduceMin
    ReduceProd ArgMax ArgMin CumSum MatMul Gemm Conv ConvTranspose MaxPool AveragePool Resize Softmax LayerNormalization RMSNormalization
    GroupNormalization Reshape Transpose Concat Split Slice Pad Expand Tile Gather GatherElements GatherND ScatterElements ScatterND TensorScatter
    TopK NonZero Range Shape Trilu QuantizeLinear DequantizeLinear Attention RotaryEmbedding""".split()
)
# What the canonicaliser turns into core operators.
CANONICAL = set(
    """Squeeze Unsqueeze Flatten Size Constant ConstantOfShape GlobalAveragePool GlobalMaxPool GlobalLpPool BatchNormalization
    InstanceNormalization MeanVarianceNormalization LpNormalization ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare Selu Celu
    ThresholdedRelu Softsign Mish HardSwish Hardmax Shrink PRelu Sum Mean DepthToSpace SpaceToDepth CastLike EyeLike OneHot Einsum QLinearConv
    QLinearMatMul MatMulInteger ConvInteger Dropout CenterCropPad AffineGrid SoftmaxCrossEntropyLoss NegativeLogLikelihoodLoss BlackmanWindow
    HannWindow HammingWindow Det Upsample BitCast Col2Im CumProd SwiGLU CausalConvWithState""".split()
)
EXTENSION = set(
    """Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh IsInf BitwiseNot BitwiseAnd BitwiseOr BitwiseXor BitShift Elu LeakyRelu HardSigmoid LogSoftmax
    LRN LpPool GridSample ReverseSequence DynamicQuantizeLinear""".split()
)
VISION = set(
    """Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool Resize Upsample BatchNormalization InstanceNormalization
    GroupNormalization LRN GridSample DepthToSpace SpaceToDepth CenterCropPad AffineGrid""".split()
)
LLM = set("Attention RotaryEmbedding RMSNormalization LayerNormalization TensorScatter Swish Gelu".split())
HOST = set(
    """If Loop Scan LSTM GRU RNN NonMaxSuppression RoiAlign MaxRoiPool MaxUnpool Unique Compress DFT STFT MelWeightMatrix DeformConv
    RandomNormal RandomNormalLike RandomUniform RandomUniformLike Multinomial Bernoulli SequenceAt SequenceConstruct SequenceEmpty SequenceErase
    SequenceInsert SequenceLength SequenceMap SplitToSequence ConcatFromSequence Optional OptionalGetElement OptionalHasElement StringConcat StringNormalizer
    StringSplit RegexFullMatch TfIdfVectorizer ImageDecoder LabelEncoder""".split()
)
INTEGER_MATRIX = set("QuantizeLinear DequantizeLinear QLinearConv QLinearMatMul MatMulInteger ConvInteger DynamicQuantizeLinear".split())

PLAIN = {"f32", "i64", "i32", "bool"}
HALF = {"f16", "bf16"}
TINY = {"f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz", "f8e8m0", "u4", "i4", "f4e2m1", "u2", "i2"}


def is_core(case):
    return set(case["operators"]) <= CORE | CANONICAL | EXTENSION


def subject(case):
    """The operator that a case is about."""
    return case["operators"][0]


def is_half(case):
    types = set(case["dtypes"])
    return is_core(case) and bool(types & HALF) and types <= PLAIN | HALF


# Name, what it asks for, and whether it asks for a case.
RULES = [
    (
        "core-f32",
        "f32, i64, i32 and bool; operators of the core, and those that the host turns into them",
        lambda case: is_core(case) and set(case["dtypes"]) <= PLAIN,
    ),
    ("half", "f16 or bf16 beside the types of core-f32, same operators", is_half),
    (
        "quant",
        "quantised operators, and element types of 8 bits or fewer that are not plain bytes",
        lambda case: subject(case) in INTEGER_MATRIX or set(case["dtypes"]) & TINY,
    ),
    (
        "vision",
        "convolution, pooling, resizing, normalisation",
        lambda case: subject(case) in VISION and set(case["dtypes"]) <= PLAIN | {"u8"},
    ),
    (
        "llm",
        "attention, rotary embedding, normalisation, activations and caches of language models",
        lambda case: subject(case) in LLM,
    ),
    (
        "host-ops",
        "what the host runs whatever the chip is: control flow, recurrence, sequences, strings, data-dependent shapes",
        lambda case: set(case["operators"]) & HOST,
    ),
]


def write(cases, folder):
    folder.mkdir(exist_ok=True)
    for name, what, belongs in RULES:
        names = [case["name"] for case in cases if belongs(case)]
        head = f"# Must-pass cases of the profile {name}: {what}.\n# Written by conformance/onnx/generate.py.\n"
        text = head + "".join(f"{case}\n" for case in names)
        (folder / f"{name}.txt").write_text(text)
        print(f"profile {name}: {len(names)}")
