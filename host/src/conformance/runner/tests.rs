use super::*;
use crate::config::FastPaths;
use crate::device::{Chip, Registry};
use crate::plugin::testing;
use crate::scheduler::Team;
use crate::session::Host;
use sunmao_conformance::Comparison;

/// Cases that do what their names say.
struct Actors(&'static [&'static str]);

impl Suite for Actors {
    fn name(&self) -> &'static str {
        "actors"
    }

    fn cases(&self) -> Vec<CaseFacts> {
        let facts = |name: &&str| CaseFacts { name: (*name).to_owned(), ..CaseFacts::default() };
        self.0.iter().map(facts).collect()
    }

    fn run(&self, case: &CaseFacts, _: &Target) -> Outcome {
        match case.name.as_str() {
            "panics" => panic!("on purpose"),
            "hangs" => loop {
                std::thread::park();
            },
            _ => Outcome::pass(Comparison { values: 1, ..Comparison::default() }),
        }
    }
}

fn target() -> Target {
    let registry = Arc::new(Registry::default());
    registry.add_chip(Chip::new("chip".to_owned(), Vec::new(), FastPaths::Auto, testing::chip()));
    let chip = registry.chip("chip").expect("just added");
    Target::whole_host(testing::runtime().clone(), Host::new(registry, Team::new(1, 1)), chip)
}

fn verdicts(names: &'static [&'static str], jobs: usize) -> Result<Vec<Verdict>, RunError> {
    let target = Target { deadline: Duration::from_millis(200), ..target() };
    let suites: Vec<Arc<dyn Suite>> = vec![Arc::new(Actors(names))];
    let mut seen = 0;
    let results = run(&suites, &|_| true, &target, RunOptions { jobs }, &mut |event| {
        seen += 1;
        assert_eq!((event.done, event.total), (seen, names.len()));
    })?;
    let told: Vec<&str> = results.iter().map(|result| result.facts.name.as_str()).collect();
    assert_eq!(told, names, "results stand in the order of the cases");
    Ok(results.into_iter().map(|result| result.outcome.verdict).collect())
}

#[test]
fn a_case_that_panics_or_hangs_is_a_verdict_and_the_others_go_on() {
    use Verdict::{Crash, Pass, Timeout};
    for jobs in [1, 3] {
        let verdicts = verdicts(&["a", "panics", "hangs", "b", "hangs", "c"], jobs).expect("a run");
        assert_eq!(verdicts, [Pass, Crash, Timeout, Pass, Timeout, Pass], "{jobs} jobs");
    }
}

#[test]
fn a_run_of_nothing_is_an_error() {
    assert!(matches!(verdicts(&[], 2), Err(RunError::NothingSelected)));
}

#[test]
fn a_panic_is_told_with_its_place() {
    let suites: Vec<Arc<dyn Suite>> = vec![Arc::new(Actors(&["panics"]))];
    let results = run(&suites, &|_| true, &target(), RunOptions { jobs: 1 }, &mut |_| ()).expect("a run");
    let reason = &results[0].outcome.reason;
    assert!(reason.contains("runner/tests.rs") && reason.ends_with("on purpose"), "{reason}");
}
