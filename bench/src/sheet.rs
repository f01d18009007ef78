//! Contests as text: lines for a terminal, tables for a page.

use crate::compare::Results;
use crate::contest::{Contest, Entrant, Lane, Runtime};
use crate::figure::geometric_mean;
use std::fmt::Write;

/// Ours that ratios are taken of, in the order of preference.
const OURS: [Runtime; 2] = [Runtime::Sunmao, Runtime::Plugin];

/// Whom a peer is compared with: ours with as many threads.
fn ours(contest: &Contest, threads: usize) -> Option<Entrant> {
    let entrant = |runtime: &Runtime| Entrant { runtime: *runtime, threads };
    OURS.iter().map(entrant).find(|entrant| contest.lane(entrant.runtime, threads).is_some())
}

/// The time of a peer over ours.
fn ratio(contest: &Contest, lane: &Lane) -> Option<f64> {
    let ours = ours(contest, lane.threads).filter(|ours| *ours != lane.entrant)?;
    contest.ratio(ours, lane.entrant).ok()
}

/// One contest, a line for each who took part.
pub(crate) fn text(contest: &Contest) -> String {
    let mut text = String::new();
    for lane in &contest.lanes {
        let who = format!("{} {} {} t{}", contest.model, contest.case, lane.runtime, lane.threads);
        let line = match (&lane.error, lane.ms()) {
            (Some(error), _) => format!("not measured: {error}"),
            (None, Some(ms)) => {
                let (least, most) = lane.spread();
                let ratio = ratio(contest, lane).map_or(String::new(), |ratio| format!("  {ratio:.3}x of ours"));
                format!("{ms:.3} ms  ({least:.3} to {most:.3}){ratio}{}", wrong(lane))
            }
            (None, None) => "not measured".to_owned(),
        };
        writeln!(text, "{who:<56} {line}").expect("strings take everything");
    }
    text
}

/// A note on outputs that are off.
fn wrong(lane: &Lane) -> String {
    match lane.verdict {
        Some(verdict) if lane.is_wrong() => format!("  (outputs off by {:.1e})", verdict.off),
        _ => String::new(),
    }
}

/// Everybody who took part in any contest.
fn entrants(contests: &[Contest]) -> Vec<Entrant> {
    let mut all = Vec::new();
    for lane in contests.iter().flat_map(|contest| &contest.lanes) {
        if !all.contains(&lane.entrant) {
            all.push(lane.entrant);
        }
    }
    all
}

/// Geometric means of the ratios, for each peer and number of threads.
pub(crate) fn means(contests: &[Contest]) -> String {
    let mut text = String::new();
    for entrant in entrants(contests) {
        let lanes = contests
            .iter()
            .filter_map(|contest| contest.lane(entrant.runtime, entrant.threads).and_then(|lane| ratio(contest, lane)));
        let ratios: Vec<f64> = lanes.collect();
        if !ratios.is_empty() {
            let mean = geometric_mean(&ratios);
            let Entrant { runtime, threads } = entrant;
            writeln!(text, "geometric mean of {} cases: {runtime} t{threads}  {mean:.3}x of ours", ratios.len())
                .expect("strings take everything");
        }
    }
    text
}

/// A page: one table for each number of threads.
pub(crate) fn markdown(results: &Results) -> String {
    let mut page = format!("{}\n\n`{}`\n", results.machine, results.command);
    let all = entrants(&results.contests);
    let mut counts: Vec<usize> = all.iter().map(|entrant| entrant.threads).collect();
    counts.dedup();
    for threads in counts {
        let lanes: Vec<Entrant> = all.iter().copied().filter(|entrant| entrant.threads == threads).collect();
        writeln!(page, "\n### {threads} thread(s): median milliseconds, in brackets the time over ours\n")
            .expect("a string");
        let names: Vec<&str> = lanes.iter().map(|entrant| entrant.runtime.name()).collect();
        writeln!(page, "| model | case | {} |", names.join(" | ")).expect("a string");
        writeln!(page, "|---|---|{}", "---|".repeat(names.len())).expect("a string");
        for contest in &results.contests {
            let cells: Vec<String> = lanes.iter().map(|lane| cell(contest, *lane)).collect();
            writeln!(page, "| {} | {} | {} |", contest.model, contest.case, cells.join(" | ")).expect("a string");
        }
    }
    page.push_str("\n### Geometric means\n\n");
    for line in means(&results.contests).lines() {
        writeln!(page, "* {line}").expect("a string");
    }
    page
}

fn cell(contest: &Contest, entrant: Entrant) -> String {
    let Some(lane) = contest.lane(entrant.runtime, entrant.threads) else { return String::new() };
    match lane.ms() {
        None => "none".to_owned(),
        Some(ms) => {
            let ratio = ratio(contest, lane).map_or(String::new(), |ratio| format!(" ({ratio:.2}x)"));
            let digits = if ms < 1.0 { 3 } else { 2 };
            format!("{ms:.digits$}{ratio}{}", wrong(lane))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::models::Kind;

    /// Ours at 10 ms and a peer at `peer` ms, one thread.
    pub(crate) fn contest(model: &str, peer: f64) -> Contest {
        let lane = |runtime: Runtime, ms: f64| Lane {
            runtime: runtime.name(),
            threads: 1,
            entrant: Entrant { runtime, threads: 1 },
            error: None,
            facts: None,
            verdict: None,
            rounds_ms: vec![ms + 1.0, ms, ms - 1.0],
        };
        let lanes = vec![lane(Runtime::Sunmao, 10.0), lane(Runtime::Ort, peer)];
        Contest { model: model.into(), kind: Kind::F32, case: "b1".into(), batch: 1, lanes }
    }

    #[test]
    fn a_peer_that_takes_twice_as_long_is_at_two() {
        let contest = contest("m", 20.0);
        let text = text(&contest);
        assert!(text.contains("20.000 ms  (19.000 to 21.000)  2.000x of ours"), "{text}");
        assert!(text.lines().next().is_some_and(|line| !line.contains("of ours")), "{text}");
    }

    #[test]
    fn means_are_geometric() {
        let text = means(&[contest("a", 20.0), contest("b", 5.0)]);
        assert_eq!(text, "geometric mean of 2 cases: onnxruntime t1  1.000x of ours\n");
    }

    #[test]
    fn a_peer_without_a_time_is_in_the_table_and_not_in_the_mean() {
        let mut contest = contest("m", 20.0);
        contest.lanes[1].error = Some("refused".into());
        assert!(text(&contest).contains("not measured: refused"));
        assert_eq!(means(&[contest.clone()]), "");
        let results = Results { machine: "x".into(), command: "y".into(), contests: vec![contest] };
        assert!(markdown(&results).contains("| m | b1 | 10.00 | none |"), "{}", markdown(&results));
    }
}
