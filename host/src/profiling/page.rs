//! The timeline page: one HTML file that holds the profile as data and draws it itself. It loads nothing from anywhere.

use super::Profile;

const TEMPLATE: &str = include_str!("page.html");
/// Where the profile goes in the template.
const PLACE: &str = "\"THE PROFILE\"";

impl Profile {
    /// The page.
    pub fn page(&self) -> String {
        let data = serde_json::to_string(self).expect("numbers, texts and lists have a JSON form");
        // Inside a script element a text must not look like its end.
        TEMPLATE.replacen(PLACE, &data.replace('<', "\\u003c"), 1)
    }
}
