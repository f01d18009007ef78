//! Contests as a picture: one self-contained SVG, a bar for each peer's time over ours.

use crate::contest::{Contest, Entrant, Runtime};
use std::fmt::Write;

const BAR: usize = 11;
const GAP: usize = 10;
const LEFT: usize = 260;
const WIDTH: usize = 620;
const TOP: usize = 46;
/// What the right edge stands for; longer bars are cut, their number is not.
const MOST: f64 = 4.0;

const COLOURS: [(Runtime, &str); 5] = [
    (Runtime::Ort, "#4c78a8"),
    (Runtime::OpenVino, "#f58518"),
    (Runtime::OrtWeb, "#54a24b"),
    (Runtime::Tract, "#b279a2"),
    (Runtime::Rten, "#9d755d"),
];

/// The picture. A bar beyond the line at 1 is a peer that takes longer than we do.
pub(crate) fn svg(contests: &[Contest]) -> String {
    let mut body = String::new();
    let mut y = TOP;
    for contest in contests {
        let bars = bars(contest);
        if bars.is_empty() {
            continue;
        }
        let title = escape(&format!("{} {}", contest.model, contest.case));
        let middle = y + bars.len() * BAR / 2 + 4;
        put(&mut body, format!(r##"<text x="{}" y="{middle}" text-anchor="end">{title}</text>"##, LEFT - 34));
        for (colour, label, ratio) in bars {
            let length = (ratio.min(MOST) / MOST * WIDTH as f64).round();
            let (height, text) = (BAR - 2, y + BAR - 3);
            put(
                &mut body,
                format!(r##"<rect x="{LEFT}" y="{y}" width="{length}" height="{height}" fill="{colour}"/>"##),
            );
            put(
                &mut body,
                format!(r##"<text x="{}" y="{text}" text-anchor="end" class="s">{label}</text>"##, LEFT - 5),
            );
            let end = LEFT as f64 + length + 4.0;
            put(&mut body, format!(r##"<text x="{end}" y="{text}" class="s">{ratio:.2}x</text>"##));
            y += BAR;
        }
        y += GAP;
    }
    let one = LEFT + WIDTH / MOST as usize;
    let mut picture = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}" font-family="sans-serif" font-size="11">"##,
        LEFT + WIDTH + 50,
        y + 10
    );
    put(
        &mut picture,
        "<style>.s{font-size:8.5px}</style><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>".to_owned(),
    );
    put(
        &mut picture,
        r##"<text x="10" y="16">time of each peer over ours, by threads: beyond the line we are faster</text>"##.into(),
    );
    for (place, (runtime, colour)) in COLOURS.iter().enumerate() {
        let x = 10 + place * 130;
        put(&mut picture, format!(r##"<rect x="{x}" y="24" width="9" height="9" fill="{colour}"/>"##));
        put(&mut picture, format!(r##"<text x="{}" y="32">{runtime}</text>"##, x + 13));
    }
    picture.push_str(&body);
    put(&mut picture, format!(r##"<line x1="{one}" x2="{one}" y1="{}" y2="{y}" stroke="#333"/></svg>"##, TOP - 6));
    picture
}

fn put(picture: &mut String, element: String) {
    writeln!(picture, "{element}").expect("strings take everything");
}

/// Colour, label and ratio of each peer that has a time, against ours with as many threads.
fn bars(contest: &Contest) -> Vec<(&'static str, String, f64)> {
    let bar = |entrant: Entrant| {
        let colour = COLOURS.iter().find(|(runtime, _)| *runtime == entrant.runtime)?.1;
        let ours = [Runtime::Sunmao, Runtime::Plugin].map(|runtime| Entrant { runtime, ..entrant });
        let ratio = ours.iter().find_map(|ours| contest.ratio(*ours, entrant).ok())?;
        Some((colour, format!("t{}", entrant.threads), ratio))
    };
    contest.lanes.iter().filter_map(|lane| bar(lane.entrant)).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sheet::tests::contest;

    #[test]
    fn every_peer_with_a_time_has_a_bar() {
        let picture = svg(&[contest("a<b", 20.0), contest("c", 100.0)]);
        assert!(picture.contains("a&lt;b b1"), "{picture}");
        assert!(picture.contains(">2.00x<") && picture.contains(">10.00x<"), "{picture}");
        // Half of the way to four is two, and ten is cut at the edge.
        assert!(
            picture.contains(r#"width="310" height="9""#) && picture.contains(r#"width="620" height="9""#),
            "{picture}"
        );
        assert!(picture.trim_end().ends_with("</svg>"));
    }
}
