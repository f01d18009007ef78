//! `ModelProto`: versions, facts and functions first, then the graph, wherever it lies in the file.

use crate::node::Function;
use crate::scan::{Scanner, Span, quoted};
use crate::scope::{FunctionKey, Import, NODES_MAX, Opsets, domain};
use std::collections::HashMap;
use sunmao_plugin_sdk::importer::{Attribute, Bytes, Error, Result, Sink};

/// Oldest IR version that says which opsets it uses.
const IR_MIN: u64 = 3;
/// Newest IR version that the fields read here are known for.
const IR_KNOWN: u64 = 14;
/// Facts that are handed on.
const FACTS_MAX: usize = 1 << 12;
/// A longer fact is handed on as a range.
const FACT_MAX_BYTES: u64 = 64 << 10;
const FUNCTIONS_MAX: usize = 1 << 14;
/// Nodes, inputs or outputs of one function.
const FUNCTION_PARTS_MAX: usize = 1 << 18;

/// Where the parts of the model lie.
#[derive(Default)]
struct Outline {
    ir_version: u64,
    model_version: i64,
    opsets: Opsets,
    opset_count: u32,
    graph: Option<Span>,
    functions: Vec<Span>,
    props: Vec<Span>,
    producer: Option<Span>,
    producer_version: Option<Span>,
    domain: Option<Span>,
    doc: Option<Span>,
    training: bool,
}

/// Reads the model in `source` and describes it to `out`.
pub fn import<B: Bytes, S: Sink>(source: &B, out: &S) -> Result<()> {
    import_within(source, out, NODES_MAX)
}

/// The import with a bound on nodes that a test can afford to reach.
pub(crate) fn import_within<B: Bytes, S: Sink>(source: &B, out: &S, nodes_max: u32) -> Result<()> {
    let mut import = Import::new(source, out, nodes_max);
    let outline = outline(&import.scanner)?;
    let graph = check(&outline, &import.scanner)?;
    if outline.ir_version > IR_KNOWN {
        out.warn(&format!(
            "IR version {} is newer than {IR_KNOWN}, the newest known: what it added is ignored",
            outline.ir_version
        ));
    }
    if outline.training {
        out.warn("training_info is ignored: models are served, not trained");
    }
    facts(&import, &outline)?;
    import.functions = functions(&import.scanner, &outline.functions)?;
    import.main_graph(graph, &outline.opsets, outline.ir_version)
}

fn outline<B: Bytes>(scanner: &Scanner<'_, B>) -> Result<Outline> {
    let mut outline = Outline::default();
    let mut message = scanner.message(scanner.all(), "ModelProto");
    while let Some(field) = message.next()? {
        match field.number {
            1 => outline.ir_version = field.varint()?,
            2 => outline.producer = Some(field.span()?),
            3 => outline.producer_version = Some(field.span()?),
            4 => outline.domain = Some(field.span()?),
            5 => outline.model_version = field.varint()? as i64,
            6 => outline.doc = Some(field.span()?),
            7 if outline.graph.is_some() => {
                return Err(
                    Error::data("the file has two graphs: it is damaged, or two models were joined").at_byte(field.at)
                );
            }
            7 => outline.graph = Some(field.span()?),
            8 => {
                outline.opset_count += 1;
                if outline.opset_count > 1 << 12 {
                    return Err(Error::limit("more than 4096 operator sets").at_byte(field.at));
                }
                read_opset(scanner, field.span()?, &mut outline.opsets)?;
            }
            // Facts beyond the bound are dropped, with a warning.
            14 if outline.props.len() <= FACTS_MAX => outline.props.push(field.span()?),
            14 => {}
            20 => outline.training = true,
            25 => {
                if outline.functions.len() == FUNCTIONS_MAX {
                    return Err(Error::limit(format!("more than {FUNCTIONS_MAX} functions")).at_byte(field.at));
                }
                outline.functions.push(field.span()?);
            }
            _ => {}
        }
    }
    Ok(outline)
}

/// Answers where the graph is when this is a model that can be read.
fn check<B: Bytes>(outline: &Outline, scanner: &Scanner<'_, B>) -> Result<Span> {
    if scanner.size == 0 {
        return Err(Error::data("the file is empty: fetch or export it again").at_byte(0));
    }
    if outline.ir_version == 0 {
        return Err(
            Error::data("there is no ir_version: the file is no ONNX model, or its beginning is lost").at_byte(0)
        );
    }
    if outline.ir_version < IR_MIN {
        return Err(Error::unsupported(format!(
            "IR version {} is older than {IR_MIN} (2017): load it with an old onnx package, convert it with onnx.version_converter, and save it again",
            outline.ir_version
        ))
        .at_byte(0));
    }
    outline.graph.ok_or_else(|| {
        Error::data("there is no graph: the file is truncated, or no ONNX model; fetch or export it again")
            .at_byte(scanner.size)
    })
}

fn read_opset<B: Bytes>(scanner: &Scanner<'_, B>, span: Span, opsets: &mut Opsets) -> Result<()> {
    let (mut name, mut version) = (String::new(), 0);
    let mut message = scanner.message(span, "OperatorSetIdProto");
    while let Some(field) = message.next()? {
        match field.number {
            1 => name = scanner.text(field.span()?, "the name of an operator set")?,
            2 => version = field.varint()?,
            _ => {}
        }
    }
    opsets.insert(name, version, span.start)
}

fn facts<B: Bytes, S: Sink>(import: &Import<'_, B, S>, outline: &Outline) -> Result<()> {
    let scanner = &import.scanner;
    for &span in outline.props.iter().take(FACTS_MAX) {
        let (mut key, mut value) = (None, Span { start: span.end, end: span.end });
        let mut message = scanner.message(span, "StringStringEntryProto");
        while let Some(field) = message.next()? {
            match field.number {
                1 => key = Some(field.span()?),
                2 => value = field.span()?,
                _ => {}
            }
        }
        match key.map(|key| scanner.text(key, "a key of metadata_props")) {
            Some(Ok(key)) if !key.is_empty() => fact(import, &key, value),
            _ => import.out.warn("an entry of metadata_props without a readable key is ignored"),
        }
    }
    if outline.props.len() > FACTS_MAX {
        import.out.warn(&format!("metadata_props has more than {FACTS_MAX} entries: the rest is ignored"));
    }
    // After the model's own, so that those cannot pass for these.
    let texts = [
        ("producer", outline.producer),
        ("producer-version", outline.producer_version),
        ("domain", outline.domain),
        ("description", outline.doc),
    ];
    for (key, span) in texts {
        if let Some(span) = span.filter(|span| span.len() > 0) {
            fact(import, key, span);
        }
    }
    import.out.meta("ir-version", Attribute::Integer(outline.ir_version as i64));
    if outline.model_version != 0 {
        import.out.meta("model-version", Attribute::Integer(outline.model_version));
    }
    let mut opsets: Vec<(&str, u16)> =
        outline.opsets.0.iter().map(|(name, &version)| (name.as_str(), version)).collect();
    opsets.sort_unstable();
    let opsets = opsets.iter().map(|(name, version)| {
        let name: String = if name.is_empty() { "ai.onnx".into() } else { name.chars().take(64).collect() };
        format!("{name} {version}")
    });
    import.out.meta("opsets", Attribute::Texts(opsets.collect()));
    Ok(())
}

/// Hands on one text, a long one as a range. What is not UTF-8 is dropped with a warning: it is a comment, not the model.
fn fact<B: Bytes, S: Sink>(import: &Import<'_, B, S>, key: &str, span: Span) {
    if span.len() > FACT_MAX_BYTES {
        let range = [u64::from(import.scanner.source.id()), span.start, span.len()].map(|n| n as i64);
        import.out.meta(&format!("{key}.range"), Attribute::Integers(range.to_vec()));
        return;
    }
    match import.scanner.text(span, "metadata") {
        Ok(text) => import.out.meta(key, Attribute::Text(text)),
        Err(_) => import.out.warn(&format!("the metadata {} is no readable text: it is ignored", quoted(key))),
    }
}

fn functions<B: Bytes>(scanner: &Scanner<'_, B>, spans: &[Span]) -> Result<HashMap<FunctionKey, Function>> {
    let mut functions = HashMap::new();
    for &span in spans {
        let (key, function) = read_function(scanner, span)?;
        if functions.contains_key(&key) {
            return Err(Error::data(format!("two functions are named {}: export the model again", quoted(&key.1)))
                .at_byte(span.start));
        }
        functions.insert(key, function);
    }
    Ok(functions)
}

fn read_function<B: Bytes>(scanner: &Scanner<'_, B>, span: Span) -> Result<(FunctionKey, Function)> {
    let mut function = Function { at: span.start, ..Function::default() };
    let (mut name, mut space, mut overload) = (String::new(), String::new(), String::new());
    let mut message = scanner.message(span, "FunctionProto");
    while let Some(field) = message.next()? {
        let parts = function.inputs.len() + function.outputs.len() + function.nodes.len() + function.defaults.len();
        if parts > FUNCTION_PARTS_MAX {
            return Err(Error::limit(format!("a function of more than {FUNCTION_PARTS_MAX} parts")).at_byte(field.at));
        }
        match field.number {
            1 => name = scanner.text(field.span()?, "the name of a function")?,
            4 => function.inputs.push(scanner.text(field.span()?, "the name of an input")?),
            5 => function.outputs.push(scanner.text(field.span()?, "the name of an output")?),
            7 => function.nodes.push(field.span()?),
            9 => read_opset(scanner, field.span()?, &mut function.opsets)?,
            10 => space = domain(scanner.text(field.span()?, "the domain of a function")?),
            11 => function.defaults.push(field.span()?),
            13 => overload = scanner.text(field.span()?, "the overload of a function")?,
            _ => {}
        }
    }
    Ok(((space, name, overload), function))
}
