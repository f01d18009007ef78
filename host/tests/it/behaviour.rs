//! The sixty behaviour checks, on the portable chip.

use crate::support::{guest, plugin};
use std::path::Path;
use std::sync::Arc;
use sunmao_host::conformance::Target;
use sunmao_host::conformance::behaviour::{Behaviour, Depth};
use sunmao_host::device::Registry;
use sunmao_host::plugin::{LoadOptions, Runtime, RuntimeOptions};
use sunmao_host::scheduler::Team;
use sunmao_host::session::Host;

fn target(chip: &str) -> Target {
    let cache_dir = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("behaviour-cache"));
    let runtime = Runtime::new(RuntimeOptions { cache_dir, ..RuntimeOptions::default() }).unwrap();
    let registry = Arc::new(Registry::default());
    for name in [chip, "import-onnx"] {
        registry.add(runtime.load(&plugin(name), &LoadOptions::default()).unwrap());
    }
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
