//! Keeps `docs/operators.md` true: the page is what the schema tables, the portable kernels, the canonicaliser and this room say.

use super::{covers, covers_strings};
use std::collections::HashSet;
use std::fmt::Write;
use sunmao_graph::canonical;
use sunmao_graph::schema::{self, Kind, OPSET_MAX, OPSET_MIN, Schema};

/// Brought to another form when a model is read, whatever its opset.
const UPGRADED: [&str; 3] = ["Constant", "Scatter", "Upsample"];

fn page() -> String {
    let kernels: HashSet<String> = sunmao_portable::operators().into_iter().map(|row| row.op).collect();
    let mut operators: Vec<&Schema> = schema::all().collect();
    operators.sort_by_key(|schema| (schema.op.contains('.'), schema.op));
    let mut page = format!(
        "# Operators\n\n\
         {} operators of ONNX opsets {OPSET_MIN} to {OPSET_MAX} and of the domains beside it. The *revisions* are those that ONNX has; a model may use\n\
         any that is read, and what comes out of the importer is brought to the *frozen* one. Who runs an operator:\n\n\
         * **kernel**: a chip plugin or a native kernel; at least the portable kernels have it.\n\
         * **canonicaliser**: it is rewritten into others before a plan is made.\n\
         * **host**: it runs between planned segments, because its results have no shape that a plan could know or are no tensors of numbers.\n\
         * **program**: it holds blocks of nodes that run as often as the data says.\n\
         * **nobody yet**: a model with it is read and then refused by name.\n\n\
         *Strings* marks kernels that the host stands in for on tensors of strings. This page is checked by a test (`host/src/host_ops/page.rs`), which\n\
         writes it with `UPDATE_EXPECT=1`.\n\n\
         | operator | revisions | frozen | run by |\n|---|---|---|---|\n",
        operators.len()
    );
    for schema in operators {
        let revisions: Vec<String> = schema.revisions.iter().map(ToString::to_string).collect();
        let mut by = Vec::new();
        if kernels.contains(schema.op) {
            by.push("kernel");
        } else if UPGRADED.contains(&schema.op) || canonical::rewrites(schema.op) {
            by.push("canonicaliser");
        } else if schema.attributes.iter().any(|attribute| attribute.kind == Kind::Graph) {
            by.push("program");
        }
        if covers(schema.op) {
            by.push("host");
        } else if covers_strings(schema.op) {
            by.push("strings");
        }
        if by.is_empty() {
            by.push("nobody yet");
        }
        let (op, frozen) = (schema.op, schema.canonical);
        writeln!(page, "| {op} | {} | {frozen} | {} |", revisions.join(" "), by.join(", ")).expect("text grows");
    }
    page
}

#[test]
fn the_page_says_who_runs_each_operator() {
    expect_test::expect_file![concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operators.md")].assert_eq(&page());
}
