//! The sixty behaviour checks, on the portable chip.

use crate::support::{guest, registry, runtime};
use std::path::Path;
use sunmao_host::conformance::Target;
use sunmao_host::conformance::behaviour::{Behaviour, Depth};
use sunmao_host::scheduler::Team;
use sunmao_host::session::Host;

fn target(chip: &str) -> Target {
    let runtime = runtime();
    let registry = registry(&runtime, &[chip, "import-onnx"]);
    let chip = registry.chip(chip).unwrap();
    let guests = guest("guest").parent().map(Path::to_path_buf);
    let host = Host::new(registry, Team::new(2, 8));
    Target { guests, ..Target::whole_host(runtime, host, chip) }
}

#[test]
fn sixty_hostile_plugins_and_files_are_contained_beside_a_neighbour() {
    let checks = Behaviour::new(Depth { mutants: 200, blobs: 3, runs: 1000 });
    let containment = checks.contain_all(&target("portable")).unwrap();
    assert_eq!(containment.escaped(), []);
    assert_eq!((containment.checks(), containment.contained()), (60, 60));
    assert!(containment.growth() <= 0.05, "{} bytes before, {} after", containment.before, containment.after);
}
