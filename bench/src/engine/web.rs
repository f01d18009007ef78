//! The plugin alone beside onnxruntime-web.

use super::Setting;
use crate::contest::{Contest, Length, hold};
use crate::figure::{Goal, Report, geometric_mean};
use crate::models::{Kind, Model};
use crate::sheet;
use crate::speed::{against_the_web, better_of_the_web};
use anyhow::{Context, Result};

/// Goals of the geometric means at one and at two threads, and of int8 mobilenetv2 at both.
const MEANS: [f64; 2] = [1.6, 2.0];
const MOBILE: f64 = 4.0;

/// Batches of one: the web is not for more.
pub(crate) fn measure(report: &mut Report<'_>, setting: &Setting<'_>) -> Result<()> {
    let mut ratios = [Vec::new(), Vec::new()];
    for model in setting.models(Kind::F32) {
        let name = format!("web.{}", model.name);
        if !report.wants(&name) && !report.wants("web.geomean") {
            continue;
        }
        match contest(setting, model).and_then(|contest| better_of_the_web(&contest)) {
            Ok(pair) => {
                for (threads, (ratio, all)) in (1..).zip(pair.into_iter().zip(&mut ratios)) {
                    report.line(&format!("{name}.t{threads}"), ratio, "x", Goal::AtLeast(1.0), 1);
                    all.push(ratio);
                }
            }
            Err(error) => {
                (1..=2).for_each(|threads| report.missing(&format!("{name}.t{threads}"), &format!("{error:#}")))
            }
        }
    }
    for (threads, (ratios, goal)) in (1..).zip(ratios.iter().zip(MEANS)) {
        let name = format!("web.geomean.t{threads}");
        if report.wants(&name) {
            report.line(&name, geometric_mean(ratios), "x", Goal::AtLeast(goal), ratios.len());
        }
    }
    if report.wants("web.mobilenetv2_int8") {
        let pair = contest(setting, setting.index.model("mobilenetv2_int8")?).and_then(|c| better_of_the_web(&c));
        for threads in 1..=2 {
            let name = format!("web.mobilenetv2_int8.t{threads}");
            match &pair {
                Ok(pair) => report.line(&name, pair[threads - 1], "x", Goal::AtLeast(MOBILE), 1),
                Err(error) => report.missing(&name, &format!("{error:#}")),
            }
        }
    }
    Ok(())
}

fn contest(setting: &Setting<'_>, model: &Model) -> Result<Contest> {
    let files = model.cases.first().context("the model has no case")?;
    let entrants = against_the_web();
    let contest = hold(setting.means, setting.index, model, files, &entrants, Length::of(setting.quick))?;
    eprint!("{}", sheet::text(&contest));
    Ok(contest)
}
