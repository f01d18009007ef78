//! The page: one HTML file that holds the report as data and draws it itself. It loads nothing from anywhere.

use super::Report;

const TEMPLATE: &str = include_str!("page.html");
/// Where the report goes in the template.
const PLACE: &str = "\"THE REPORT\"";

pub(super) fn page(report: &Report) -> String {
    let data = serde_json::to_string(report).expect("numbers, texts and lists have a JSON form");
    // Inside a script element a text must not look like its end.
    TEMPLATE.replacen(PLACE, &data.replace('<', "\\u003c"), 1)
}
