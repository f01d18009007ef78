use super::*;
use crate::{CaseFacts, Comparison, Outcome};

fn result(name: &str, opset: Option<u16>, outcome: Outcome) -> CaseResult {
    let operators = vec!["Add".to_owned()];
    let suite = if opset.is_some() { "onnx-node" } else { crate::BEHAVIOUR_SUITE };
    let facts = CaseFacts { name: name.into(), suite: suite.into(), operators, dtypes: vec!["f32".into()], opset };
    CaseResult { facts, outcome, took_ms: 1.5, waiver: None }
}

fn pass() -> Outcome {
    Outcome::pass(Comparison { values: 1, elements: 3, worst_ulp: 0.5, rule: "1 ULP".into(), as_peers: Some(true) })
}

fn report(profiles: &[&str], cases: Vec<CaseResult>) -> Report {
    let profiles: Vec<Profile> = profiles.iter().map(|name| Profile::named(name).expect("known")).collect();
    let subject = Subject { plugin: "chip".into(), sha256: "ab".repeat(32), ..Subject::default() };
    Report::new(HostFacts::default(), subject, Settings::default(), &profiles, cases)
}

fn half() -> Vec<CaseResult> {
    Profile::named("half").expect("known").names().map(|name| result(name, Some(13), pass())).collect()
}

#[test]
fn a_run_without_cases_or_with_a_failure_is_not_good() {
    assert!(!report(&[], vec![]).is_good());
    assert!(report(&[], vec![result("a", Some(13), pass())]).is_good());
    let declined = result("a", Some(13), Outcome::failed(Verdict::Declined, "no"));
    assert!(report(&[], vec![declined.clone()]).is_good(), "declining is fine outside profiles");
    for verdict in Verdict::ALL.into_iter().filter(|verdict| verdict.is_failure()) {
        let mut case = result("a", Some(13), Outcome::failed(verdict, "x"));
        assert!(!report(&[], vec![case.clone()]).is_good(), "{verdict}");
        case.waiver = Some("known".into());
        assert!(report(&[], vec![case]).is_good(), "{verdict} that is known");
    }
}

#[test]
fn a_profile_is_met_only_when_its_whole_list_passed() {
    assert!(report(&["half"], half()).is_good());
    let mut fewer = half();
    fewer.pop();
    assert!(!report(&["half"], fewer).is_good(), "a case was not run");
    let mut declined = half();
    declined[3].outcome = Outcome::failed(Verdict::Declined, "no");
    let mut known = half();
    known[0].outcome = Outcome::failed(Verdict::Declined, "no");
    known[0].waiver = Some("known".into());
    assert!(!report(&["half"], known).is_good(), "a known gap does not meet a profile");
    let report = report(&["half"], declined);
    assert!(!report.is_good() && report.table().contains("not met"), "{}", report.table());
}

#[test]
fn bands_add_up() {
    let opsets = [13, 14, 18, 19, 22, 23, 26, 27, 28];
    let report = report(&[], opsets.map(|opset| result("a", Some(opset), pass())).to_vec());
    let counts: Vec<(&str, usize)> = report.bands.iter().map(|band| (&*band.name, band.counts.pass)).collect();
    assert_eq!(counts, [("<=13", 1), ("14-18", 2), ("19-22", 2), ("23-26", 2), ("27-28", 2)]);
    assert_eq!(report.counts.cases, 9);
}

#[test]
fn every_form_tells_every_case_and_nothing_breaks_out() {
    let nasty = "<script>\"'&]]></script>\u{1}";
    let cases = vec![
        result("good", Some(13), pass()),
        result(
            nasty,
            Some(28),
            Outcome::wrong(nasty, Comparison { worst_ulp: f64::INFINITY, ..Comparison::default() }),
        ),
        result("C-15", None, Outcome::failed(Verdict::Timeout, "late")),
    ];
    let mut report = report(&["half"], cases);
    let line = |rate, against_portable| CardLine {
        op: "MatMul".into(),
        dtype: "f32".into(),
        sizes: "256 x 256".into(),
        unit: "Gop/s".into(),
        rate,
        against_portable,
        against_fast_path: None,
    };
    report.card = vec![line(10.5, Some(7.25)), line(1.0, None)];
    let back: Report = serde_json::from_str(&report.json()).expect("reads back");
    assert_eq!(back, report);
    let xml = report.junit();
    assert!(
        xml.contains("tests=\"2\" failures=\"1\" errors=\"0\"")
            && xml.contains("errors=\"1\"")
            && !xml.contains("<script>"),
        "{xml}"
    );
    let html = report.html();
    assert_eq!(html.matches("<script").count(), 1, "the report's texts are data");
    assert!(html.contains("C-15") && !html.contains("THE REPORT") && !html.contains("://"), "one file, nothing loaded");
    for part in ["default-src 'none'", "prefers-color-scheme: dark", "<html lang=", "<noscript>", "aria-expanded"] {
        assert!(html.contains(part), "{part}");
    }
    assert!(report.table().contains("no model"));
}

#[test]
fn a_certificate_that_was_changed_or_is_of_something_else_is_refused() {
    let report = report(&["half"], half());
    let names = |profile: &Profile| profile.names().map(str::to_owned).collect::<Vec<_>>();
    let certificate = Certificate::of(&report, &report.json(), None);
    let read = Certificate::read(&certificate.json(), names).expect("good");
    assert_eq!(read, certificate);
    assert_eq!(read.check_plugin(&"ab".repeat(32)), Ok(()));
    assert!(matches!(read.check_plugin(&"cd".repeat(32)), Err(CertificateError::OtherPlugin { .. })));
    let changed = certificate.json().replace("\"plugin\": \"chip\"", "\"plugin\": \"other\"");
    assert!(matches!(Certificate::read(&changed, names), Err(CertificateError::Changed { .. })));
    let other = Certificate::read(&certificate.json(), |_| vec!["test_abs".to_owned()]);
    assert!(matches!(other, Err(CertificateError::OtherList { found: 1, .. })));
    let mut failed = half();
    failed[0].outcome = Outcome::failed(Verdict::Wrong, "off");
    let failed = self::report(&["half"], failed);
    let refused = Certificate::read(&Certificate::of(&failed, "", None).json(), names);
    assert!(matches!(refused, Err(CertificateError::NotMet(_))));
    assert!(matches!(Certificate::read("{}", names), Err(CertificateError::Unreadable(_))));
}
