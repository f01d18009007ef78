use super::*;
use crate::testing::graph;
use crate::*;
use expect_test::{Expect, expect};

#[track_caller]
fn check_refused(graph: Graph, expected: Expect) {
    let text = match validate(graph) {
        Ok(graph) => format!("accepted:\n{graph}"),
        Err(errors) => errors.to_string(),
    };
    expected.assert_eq(&text);
}

#[track_caller]
fn check_accepted(text: &str, expected: Expect) {
    match validate(graph(text)) {
        Ok(graph) => expected.assert_eq(&graph.to_string()),
        Err(errors) => panic!("{errors}"),
    }
}

fn plain() -> Graph {
    graph("input x f32[N,4]\n y = Relu(x)\n z = Add(y, x)\n output z")
}

fn changed(change: impl FnOnce(&mut Graph)) -> Graph {
    let mut graph = plain();
    change(&mut graph);
    graph
}

fn name(graph: &Graph, name: &str) -> ValueId {
    ValueId(graph.values.iter().position(|value| value.name == name).expect("there is such a value") as u32)
}

mod hostile {
    use super::*;

    #[test]
    fn ring_of_nodes() {
        let ring = changed(|graph| {
            let z = name(graph, "z");
            graph.nodes[0].inputs[0] = Some(z);
        });
        check_refused(
            ring,
            expect![[r#"
            the model is not valid:
              node `y` (Relu) depends on its own result, 2 nodes are in or behind such rings; the file is damaged"#]],
        );
    }

    #[test]
    fn node_that_reads_itself() {
        let own = changed(|graph| graph.nodes[0].inputs[0] = graph.nodes[0].outputs[0]);
        check_refused(
            own,
            expect![[r#"
            the model is not valid:
              node `y` (Relu) depends on its own result, 2 nodes are in or behind such rings; the file is damaged"#]],
        );
    }

    #[test]
    fn input_number_beyond_the_values() {
        check_refused(
            changed(|graph| graph.nodes[0].inputs[0] = Some(ValueId(u32::MAX))),
            expect![[r#"
            the model is not valid:
              node (unnamed, makes value 1) (Relu) uses value number 4294967295, which does not exist; the file is damaged"#]],
        );
    }

    #[test]
    fn output_number_beyond_the_values() {
        check_refused(
            changed(|graph| graph.nodes[1].outputs[0] = Some(ValueId(99))),
            expect![[r#"
            the model is not valid:
              node (unnamed, makes value 99) (Add) makes value number 99, which does not exist; the importer is at fault
              value output is `z`, which no node makes; the file is damaged"#]],
        );
    }

    #[test]
    fn graph_output_beyond_the_values() {
        check_refused(
            changed(|graph| graph.outputs.push(ValueId(1000))),
            expect![[r#"
            the model is not valid:
              value number 1000 is an output of the graph and does not exist; the importer is at fault"#]],
        );
    }

    #[test]
    fn value_without_a_producer() {
        check_refused(
            changed(|graph| drop(graph.nodes.remove(0))),
            expect![[r#"
            the model is not valid:
              node (unnamed, makes value 2) (Add) uses `y`, which no node makes; the file is damaged"#]],
        );
    }

    #[test]
    fn value_with_two_producers() {
        check_refused(
            changed(|graph| {
                let twin = graph.nodes[0].clone();
                graph.nodes.push(twin);
            }),
            expect![[r#"
                the model is not valid:
                  node (unnamed, makes value 1) (Relu) makes `y`, which another node makes too; the file is damaged"#]],
        );
    }

    #[test]
    fn node_that_makes_an_input() {
        check_refused(
            changed(|graph| graph.nodes[1].outputs[0] = graph.nodes[0].inputs[0]),
            expect![[r#"
            the model is not valid:
              node (unnamed, makes value 0) (Add) makes `x`, which is an input or a constant; the file is damaged
              value output is `z`, which no node makes; the file is damaged"#]],
        );
    }

    #[test]
    fn no_outputs() {
        check_refused(
            changed(|graph| graph.outputs.clear()),
            expect![[r#"
            the model is not valid:
              the graph has no outputs; export the model with at least one"#]],
        );
    }

    #[test]
    fn output_listed_twice() {
        check_refused(
            changed(|graph| graph.outputs.push(graph.outputs[0])),
            expect![[r#"
            the model is not valid:
              value `z` is listed twice as an output of the graph; the importer is at fault"#]],
        );
    }

    #[test]
    fn input_that_is_not_listed() {
        check_refused(
            changed(|graph| graph.inputs.clear()),
            expect![[r#"
            the model is not valid:
              value `x` is an input that the graph does not list; the importer is at fault"#]],
        );
    }

    #[test]
    fn input_that_is_none() {
        check_refused(
            changed(|graph| {
                let y = name(graph, "y");
                graph.inputs.push(y);
            }),
            expect![[r#"
                the model is not valid:
                  value `y` is listed as an input of the graph and is none; the importer is at fault"#]],
        );
    }

    #[test]
    fn names_that_are_not_unique_or_empty_or_endless() {
        check_refused(
            changed(|graph| {
                graph.values[1].name = "x".to_owned();
                graph.values[2].name = String::new();
                graph.add_value(Value::computed("n".repeat(5000)));
            }),
            expect![[r#"
                the model is not valid:
                  value `x` has the name of another one; names are unique in a model
                  value `` has a name of 0 bytes; names have 1 to 4096 bytes
                  value `nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...` has a name of 5000 bytes; names have 1 to 4096 bytes"#]],
        );
    }

    #[test]
    fn control_characters_are_not_shown_raw() {
        check_refused(
            changed(|graph| {
                graph.nodes[0].name = "evil\u{1b}[2J\n".to_owned();
                graph.nodes[0].op = "Nope\r".to_owned();
            }),
            expect![[r#"
                the model is not valid:
                  operator `Nope\r` is unknown, 1 nodes use it (`evil\u{1b}[2J\n`); export the model without it, or with an opset that has it"#]],
        );
    }

    #[test]
    fn symbols_that_contradict_themselves() {
        check_refused(
            changed(|graph| {
                graph.symbols[0] = Symbol { name: String::new(), min: 9, max: 3, multiple_of: 0 };
                graph.symbols.push(Symbol { name: "M".to_owned(), min: u64::MAX, max: u64::MAX, multiple_of: 1 });
            }),
            expect![[r#"
                the model is not valid:
                  symbol `` has a name of 0 bytes; names have 1 to 4096 bytes
                  symbol `` is at least 9 and at most 3; give a range that is not empty
                  symbol `` is a multiple of 0; give 1 for any length
                  symbol `M` is at least 18446744073709551615; axes are at most 2^40 long"#]],
        );
    }

    #[test]
    fn symbol_number_beyond_the_symbols() {
        check_refused(
            changed(|graph| graph.values[0].shape = Some(vec![Dim::Symbol(SymbolId(7))])),
            expect![[r#"
            the model is not valid:
              value `x` has the symbol number 7 of 1; the importer is at fault"#]],
        );
    }

    #[test]
    fn rank_of_a_million() {
        check_refused(
            changed(|graph| graph.values[0].shape = Some(vec![Dim::Known(1); 1_000_000])),
            expect![[r#"
            the model is not valid:
              value `x` has rank 1000000; tensors have at most 64 axes"#]],
        );
    }

    #[test]
    fn axis_of_2_to_the_63() {
        check_refused(
            changed(|graph| graph.values[0].shape = Some(vec![Dim::Known(1 << 63)])),
            expect![[r#"
            the model is not valid:
              value `x` would make an axis of length 9223372036854775808, more than 2^40; such a tensor cannot be held"#]],
        );
    }

    #[test]
    fn product_that_overflows() {
        check_refused(
            changed(|graph| graph.values[0].shape = Some(vec![Dim::Known(1 << 40); 3])),
            expect![[r#"
            the model is not valid:
              value `x` would make a tensor of more than 2^42 elements; such a tensor cannot be held"#]],
        );
    }

    #[test]
    fn product_that_overflows_behind_an_axis_of_0() {
        let shape = vec![Dim::Known(0), Dim::Known(1 << 40), Dim::Known(1 << 40)];
        check_refused(
            changed(|graph| graph.values[0].shape = Some(shape)),
            expect![[r#"
            the model is not valid:
              value `x` would make a tensor of more than 2^42 elements; such a tensor cannot be held"#]],
        );
    }

    #[test]
    fn input_without_a_type() {
        check_refused(
            changed(|graph| graph.values[0].dtype = None),
            expect![[r#"
            the model is not valid:
              value `x` has no element type; inputs need one"#]],
        );
    }

    fn with_constant(dtype: Option<DType>, shape: Option<Vec<Dim>>, content: Content) -> Graph {
        changed(|graph| {
            graph.add_value(Value {
                name: "c".to_owned(),
                dtype,
                shape,
                container: Container::Tensor,
                role: Role::Constant(content),
            });
        })
    }

    #[test]
    fn constant_that_is_too_short() {
        let bytes = Content::Bytes(vec![0; 7].into());
        check_refused(
            with_constant(Some(DType::F32), Some(vec![Dim::Known(2)]), bytes),
            expect![[r#"
            the model is not valid:
              value `c` has 7 bytes where f32[2] takes 8; the file is damaged or was cut off"#]],
        );
    }

    #[test]
    fn weight_of_another_length() {
        let weight = Weight { source: 0, offset: 0, length: 4, encoding: "raw-le".to_owned() };
        let shape = Some(vec![Dim::Known(1 << 20), Dim::Known(1 << 20)]);
        check_refused(
            with_constant(Some(DType::F32), shape, Content::Weight(weight)),
            expect![[r#"
            the model is not valid:
              value `c` has 4 bytes where f32[1048576, 1048576] takes 4398046511104; the file is damaged or was cut off"#]],
        );
    }

    #[test]
    fn weight_whose_end_overflows() {
        let weight = Weight { source: 0, offset: u64::MAX, length: 4, encoding: "raw-le".to_owned() };
        check_refused(
            with_constant(Some(DType::F32), Some(vec![Dim::Known(1)]), Content::Weight(weight)),
            expect![[r#"
            the model is not valid:
              value `c` lies at byte 18446744073709551615 with 4 bytes; the file is damaged"#]],
        );
    }

    #[test]
    fn constant_without_a_shape() {
        check_refused(
            with_constant(Some(DType::F32), None, Content::Bytes(vec![].into())),
            expect![[r#"
            the model is not valid:
              value `c` is a constant without a known type and shape; constants need both"#]],
        );
    }

    #[test]
    fn constant_of_strings() {
        let bytes = Content::Bytes(vec![].into());
        check_refused(
            with_constant(Some(DType::String), Some(vec![Dim::Known(1)]), bytes),
            expect![[r#"
                the model is not valid:
                  value `c` does not have 1 strings; the file is damaged"#]],
        );
    }

    #[test]
    fn operators_that_are_unknown_are_listed_all_at_once() {
        let unknown = graph(
            "opset 13
            input x f32[4]
            a = com.microsoft.FusedConv(x)
            b = com.microsoft.FusedConv(a)
            c = Frobnicate(b)
            d = Gelu(c)
            output d",
        );
        check_refused(
            unknown,
            expect![[r#"
            the model is not valid:
              operator `Frobnicate` is unknown, 1 nodes use it (`c`); export the model without it, or with an opset that has it
              operator `Gelu` came with opset 20 and the model says 13, 1 nodes use it (`d`); export the model without it, or with an opset that has it
              operator `com.microsoft.FusedConv` is unknown, 2 nodes use it (`a`, `b`); export the model with standard ONNX operators only (for ONNX Runtime: without its graph optimisations)"#]],
        );
    }

    #[test]
    fn opsets_that_are_not_read() {
        check_refused(
            graph("opset 6\n input x f32[4]\n y = Add(x, x)\n opset 99\n z = Relu(y)\n output z"),
            expect![[r#"
            the model is not valid:
              1 nodes say opset 6, which is not read (only 7 to 28); convert the model with onnx.version_converter
              1 nodes say opset 99, which is not read (only 7 to 28); convert the model with onnx.version_converter"#]],
        );
    }

    #[test]
    fn counts_of_operands() {
        check_refused(
            graph("input x f32[4]\n y = Add(x)\n z = Where(x, _, y)\n w, v = Relu(z)\n output w"),
            expect![[r#"
            the model is not valid:
              node `y` (Add) has 1 inputs, its operator takes 2; the file is damaged or its opset is wrong
              node `z` (Where) leaves out input 1, which is not optional; the file is damaged
              node `w` (Relu) has 2 outputs, its operator takes 1; the file is damaged or its opset is wrong"#]],
        );
    }

    #[test]
    fn attributes_of_the_wrong_type_or_name() {
        let wrong = graph(
            "input x f32[4,4]
            a = Softmax(x) axis=one
            b = Concat(a, a)
            c = Relu(b) alpha=0.5
            d = Conv(c, x) group=1.5
            output d",
        );
        check_refused(
            wrong,
            expect![[r#"
            the model is not valid:
              node `a` (Softmax) has an attribute `axis` that is not of the type Integer; the file is damaged
              node `b` (Concat) lacks the attribute `axis`; the file is damaged
              node `c` (Relu) has an attribute `alpha` that its operator does not have (it has none); export the model anew, or correct the opset
              node `d` (Conv) has an attribute `group` that is not of the type Integer; the file is damaged"#]],
        );
    }

    #[test]
    fn attribute_that_names_no_constant() {
        let wrong = changed(|graph| {
            graph.nodes[0].attributes.insert("value".to_owned(), Attribute::Value(ValueId(77)));
            graph.nodes[1].attributes.insert("value".to_owned(), Attribute::Value(ValueId(0)));
        });
        check_refused(
            wrong,
            expect![[r#"
            the model is not valid:
              node (unnamed, makes value 1) (Relu) has an attribute `value` that is not a constant of the graph; the importer is at fault
              node (unnamed, makes value 2) (Add) has an attribute `value` that is not a constant of the graph; the importer is at fault"#]],
        );
    }

    #[test]
    fn epilogues_are_not_for_importers() {
        let step = Epilogue { op: "Relu".to_owned(), input: Some(1 << 40), attributes: Default::default() };
        check_refused(
            changed(|graph| graph.nodes[0].epilogue.push(step)),
            expect![[r#"
            the model is not valid:
              node (unnamed, makes value 1) (Relu) has an epilogue; the importer is at fault"#]],
        );
    }

    #[test]
    fn too_many_outputs_of_a_node() {
        check_refused(
            changed(|graph| graph.nodes[0].outputs.resize(5000, None)),
            expect![[r#"
            the model is not valid:
              node (unnamed, makes value 1) (Relu) has 5000 outputs, more than 4096; split the node"#]],
        );
    }

    #[test]
    fn problems_are_counted_beyond_a_hundred() {
        let mut many = plain();
        for _ in 0..500 {
            many.outputs.push(ValueId(1000));
        }
        let errors = validate(many).expect_err("refused");
        assert_eq!(errors.problems.len(), LISTED_MAX);
        assert!(errors.omitted > 300);
    }

    #[test]
    fn too_many_nodes() {
        let mut many = plain();
        many.nodes = vec![many.nodes[0].clone(); NODES_MAX + 1];
        check_refused(
            many,
            expect![[r#"
            the model is not valid:
              the graph has 1000001 nodes, more than 1000000; split the model"#]],
        );
    }
}

mod accepted {
    use super::*;

    #[test]
    fn nodes_in_any_order() {
        check_accepted(
            "input x f32[4]\n d = Add(b, c)\n c = Exp(b)\n b = Relu(x)\n output d",
            expect![[r#"
            input %x: f32[4]
            %b: f32[4] = Relu(%x)  // b
            %c: f32[4] = Exp(%b)  // c
            %d: f32[4] = Add(%b, %c)  // d
            output %d
        "#]],
        );
    }

    #[test]
    fn a_symbol_with_one_length_is_a_number() {
        let mut raw = plain();
        (raw.symbols[0].min, raw.symbols[0].max) = (8, 8);
        let graph = validate(raw).expect("valid");
        assert_eq!(graph.values[0].concrete(), Some(vec![8, 4]));
    }

    #[test]
    fn every_operator_at_every_opset_has_its_frozen_revision() {
        for schema in schema::all() {
            for opset in OPSET_MIN..=OPSET_MAX {
                if let Ok((found, revision)) = schema::lookup(schema.op, opset) {
                    assert!(found.revisions.contains(&revision));
                }
            }
        }
    }

    #[test]
    fn clip_of_opset_6() {
        check_accepted(
            "opset 10\n input x f32[4]\n y = Clip(x) min=0.0 max=6.0\n z = Clip(y) max=5.5\n output z",
            expect![[r#"
            input %x: f32[4]
            %y: f32[4] = Clip(%x, const f32[] [0.0], const f32[] [6.0])  // y
            %z: f32[4] = Clip(%y, _, const f32[] [5.5])  // z
            output %z
        "#]],
        );
    }

    #[test]
    fn clip_bounds_have_the_type_of_the_data() {
        check_accepted(
            "opset 10\n input x f16[4]\n y = Clip(x) min=0.0 max=6.0\n output y",
            expect![[r#"
            input %x: f16[4]
            %y: f16[4] = Clip(%x, const f16[] [0.0], const f16[] [6.0])  // y
            output %y
        "#]],
        );
    }

    #[test]
    fn axes_become_inputs() {
        check_accepted(
            "opset 11
            input x f32[1,4,1]
            a = Squeeze(x) axes=[0]
            b = Unsqueeze(a) axes=[0,3]
            c = ReduceSum(b) axes=[1] keepdims=0
            d = ReduceMean(c) axes=[]
            output d",
            expect![[r#"
                input %x: f32[1,4,1]
                %a: f32[4,1] = Squeeze(%x, const i64[1] [0])  // a
                %b: f32[1,4,1,1] = Unsqueeze(%a, const i64[2] [0,3])  // b
                %c: f32[1,1,1] = ReduceSum(%b, const i64[1] [1]) {keepdims=0, noop_with_empty_axes=0}  // c
                %d: f32[1,1,1] = ReduceMean(%c) {keepdims=1, noop_with_empty_axes=0}  // d
                output %d
            "#]],
        );
    }

    #[test]
    fn slice_pad_split_and_top_k_of_old() {
        check_accepted(
            "opset 9
            input x f32[8,8]
            a = Slice(x) starts=[1] ends=[9] axes=[0]
            b = Pad(a) pads=[0,1,0,1] value=2.5
            c, d = Split(b) axis=0 split=[3,4]
            e, f = TopK(c) k=2
            g, h = Split(f) axis=0
            output e
            output g",
            expect![[r#"
                input %x: f32[8,8]
                %a: f32[7,8] = Slice(%x, const i64[1] [1], const i64[1] [9], const i64[1] [0])  // a
                %b: f32[7,10] = Pad(%a, const i64[4] [0,1,0,1], const f32[] [2.5]) {mode=constant}  // b
                %c: f32[3,10], %d: f32[4,10] = Split(%b, const i64[2] [3,4]) {axis=0}  // c
                %e: f32[3,2], %f: i64[3,2] = TopK(%c, const i64[1] [2]) {axis=-1, largest=1, sorted=1}  // e
                %g: i64[2,2], %h: i64[1,2] = Split(%f) {axis=0, num_outputs=2}  // g
                output %e
                output %g
            "#]],
        );
    }

    #[test]
    fn softmax_of_opset_11_works_on_rows() {
        check_accepted(
            "opset 11\n input x f32[2,3,4]\n y = Softmax(x) axis=1\n output y",
            expect![[r#"
            input %x: f32[2,3,4]
            %y~2: f32[2,12] = Flatten(%x) {axis=1}  // y
            %y~3: f32[2,12] = Softmax(%y~2) {axis=-1}  // y
            %y~4: i64[3] = Shape(%x) {start=0}  // y
            %y: f32[2,3,4] = Reshape(%y~3, %y~4) {allowzero=0}  // y
            output %y
        "#]],
        );
        check_accepted(
            "opset 11\n input x f32[2,3,1,1]\n y = Softmax(x)\n output y",
            expect![[r#"
            input %x: f32[2,3,1,1]
            %y: f32[2,3,1,1] = Softmax(%x) {axis=1}  // y
            output %y
        "#]],
        );
        check_accepted(
            "opset 11\n input x f32[2,3]\n y = LogSoftmax(x) axis=-1\n output y",
            expect![[r#"
            input %x: f32[2,3]
            %y: f32[2,3] = LogSoftmax(%x) {axis=1}  // y
            output %y
        "#]],
        );
    }

    #[test]
    fn upsample_is_an_asymmetric_resize() {
        check_accepted(
            "opset 7\n input x f32[1,1,4,4]\n y = Upsample(x) scales=[1.0,1.0,2.0,2.0]\n output y",
            expect![[r#"
            input %x: f32[1,1,4,4]
            %y: f32[1,1,8,8] = Resize(%x, _, const f32[4] [1.0,1.0,2.0,2.0]) {antialias=0, coordinate_transformation_mode=asymmetric, cubic_coeff_a=-0.75, exclude_outside=0, extrapolation_value=0.0, keep_aspect_ratio_policy=stretch, mode=nearest, nearest_mode=floor}  // y
            output %y
        "#]],
        );
        check_accepted(
            "opset 10\n input x f32[1,1,4,4]\n const s f32[4] = 1 1 2 2\n y = Resize(x, s) mode=bilinear\n output y",
            expect![[r#"
                input %x: f32[1,1,4,4]
                %y: f32[1,1,8,8] = Resize(%x, _, const f32[4] [1.0,1.0,2.0,2.0]) {antialias=0, coordinate_transformation_mode=asymmetric, cubic_coeff_a=-0.75, exclude_outside=0, extrapolation_value=0.0, keep_aspect_ratio_policy=stretch, mode=linear, nearest_mode=floor}  // y
                output %y
            "#]],
        );
    }

    #[test]
    fn empty_roi_and_scales_are_left_out() {
        check_accepted(
            "opset 11
            input x f32[1,1,4,4]
            const none f32[0] = 0
            const to i64[4] = 1 1 8 8
            y = Resize(x, none, none, to)
            output y",
            expect![[r#"
                input %x: f32[1,1,4,4]
                %y: f32[1,1,8,8] = Resize(%x, _, _, const i64[4] [1,1,8,8]) {antialias=0, coordinate_transformation_mode=half_pixel, cubic_coeff_a=-0.75, exclude_outside=0, extrapolation_value=0.0, keep_aspect_ratio_policy=stretch, mode=nearest, nearest_mode=round_prefer_floor}  // y
                output %y
            "#]],
        );
    }

    #[test]
    fn constants_are_values() {
        check_accepted(
            "opset 13
            input x f32[2]
            const t f32[2] = 1 2
            a = Constant() value=@t
            b = Constant() value_float=0.5
            c = Constant() value_ints=[1,2]
            d = Sum(x, a, b)
            e = Reshape(d, c)
            output e",
            expect![[r#"
                input %x: f32[2]
                %d: f32[2] = Sum(%x, const f32[2] [1.0,2.0], const f32[] [0.5])  // d
                %e: f32[1,2] = Reshape(%d, const i64[2] [1,2]) {allowzero=0}  // e
                output %e
            "#]],
        );
    }

    #[test]
    fn dropout_batch_normalization_and_scatter_of_old() {
        check_accepted(
            "opset 9
            input x f32[1,2,2,2]
            const p f32[2] = 1
            a = Dropout(x) ratio=0.5
            b = BatchNormalization(a, p, p, p, p) momentum=0.9
            output b",
            expect![[r#"
                input %x: f32[1,2,2,2]
                %a: f32[1,2,2,2] = Dropout(%x)  // a
                %b: f32[1,2,2,2] = BatchNormalization(%a, const f32[2] [1.0,1.0], const f32[2] [1.0,1.0], const f32[2] [1.0,1.0], const f32[2] [1.0,1.0]) {epsilon=1e-5, momentum=0.9, training_mode=0}  // b
                output %b
            "#]],
        );
        check_accepted(
            "opset 9\n input x f32[3]\n const i i64[1] = 1\n const u f32[1] = 7\n y = Scatter(x, i, u)\n output y",
            expect![[r#"
                input %x: f32[3]
                %y: f32[3] = ScatterElements(%x, const i64[1] [1], const f32[1] [7.0]) {axis=0, reduction=none}  // y
                output %y
            "#]],
        );
    }

    #[test]
    fn constant_with_two_contents_is_refused() {
        check_refused(
            graph("y = Constant() value_int=1 value_float=0.5\n output y"),
            expect![[r#"
            the model is not valid:
              node `y` (Constant) does not have exactly one attribute; the file is damaged"#]],
        );
    }

    #[test]
    fn group_normalization_of_18_and_dft_of_17() {
        check_accepted(
            "opset 18\n input x f32[N,4,6]\n input s f32[2]\n input b f32[2]\n y = GroupNormalization(x, s, b) num_groups=2\n output y",
            expect![[r#"
                symbol N: 0..
                input %x: f32[N,4,6]
                input %s: f32[2]
                input %b: f32[2]
                %s~4: f32[4] = Gather(%s, const i64[4] [0,0,1,1]) {axis=0}  // y
                %b~6: f32[4] = Gather(%b, const i64[4] [0,0,1,1]) {axis=0}  // y
                %y: f32[N,4,6] = GroupNormalization(%x, %s~4, %b~6) {epsilon=1e-5, num_groups=2, stash_type=1}  // y
                output %y
            "#]],
        );
        check_accepted(
            "opset 17\n input x f32[2,6,1]\n y = DFT(x)\n output y",
            expect![[r#"
            input %x: f32[2,6,1]
            %y: f32[2,6,2] = DFT(%x, _, const i64[] [1]) {inverse=0, onesided=0}  // y
            output %y
        "#]],
        );
    }
}
