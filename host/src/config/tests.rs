//! What an operator sees when plugins.toml is wrong.

use super::*;
use expect_test::{Expect, expect};

fn parsed(text: &str) -> Result<Config, ConfigError> {
    let file = check::parse(Path::new("plugins.toml"), text)?;
    Ok(Config::from_file(file, Some(Path::new("plugins.toml")), Path::new("/etc/sunmao")))
}

#[track_caller]
fn refused(text: &str, expected: Expect) {
    let error = parsed(text).unwrap_err();
    expected.assert_eq(&format!("{error}\nhelp: {}", error.help()));
}

const WHOLE: &str = r#"
trust = "any"
plugins_dir = "dropped"

[server]
port = 8080
max_body_mib = 1_024

[[plugin]]
name = "fast"
path = "plugins/simd128.wasm"
memory_mib = 64
wasi = "inert"

[[plugin]]
name = "reader"
path = "/opt/import-onnx.wasm"
sha256 = "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef"

[[chip]]
name = "simd128"
plugin = "fast"
fast_paths = "off"
alias = ["TYPE_B"]

[[importer]]
plugin = "reader"

[[model]]
name = "ocr"
path = "models/ocr.onnx"
threads = 2
"#;

#[test]
fn a_whole_file_is_read() {
    let config = parsed(WHOLE).unwrap();
    assert_eq!(config.plugins_dir, Path::new("/etc/sunmao/dropped"));
    assert_eq!(
        (config.server.port, config.server.max_body_mib, config.server.host.as_str()),
        (8080, 1024, "127.0.0.1")
    );
    assert_eq!(config.plugin("fast").unwrap().path, Path::new("/etc/sunmao/plugins/simd128.wasm"));
    assert_eq!(config.plugin("fast").unwrap().wasi, Wasi::Inert);
    assert_eq!(config.plugin("reader").unwrap().path, Path::new("/opt/import-onnx.wasm"));
    assert_eq!(config.plugin("reader").unwrap().deadline_ms, 10_000);
    assert_eq!(config.chips[0].fast_paths, FastPaths::Off);
    assert_eq!(config.models[0].path, Path::new("/etc/sunmao/models/ocr.onnx"));
}

#[test]
fn the_two_well_known_aliases_hold_unless_taken() {
    let config = parsed("").unwrap();
    assert_eq!(config.aliases("simd128"), ["TYPE_A"]);
    assert_eq!(config.aliases("npu-sim"), ["TYPE_B"]);
    assert_eq!(config.aliases("other"), [""; 0]);
    let config = parsed(WHOLE).unwrap();
    assert_eq!(config.aliases("simd128"), ["TYPE_B", "TYPE_A"]);
    assert_eq!(config.aliases("npu-sim"), [""; 0]);
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    refused(
        "\n[[plugin]]\nname = \"a\"\npath = \"a\"\nmemroy_mib = 3\n",
        expect![[r#"
        plugins.toml:5: unknown key `memroy_mib` in [[plugin]]
        help: did you mean `memory_mib`?"#]],
    );
    refused(
        "plugin_dir = \"x\"",
        expect![[r#"
        plugins.toml:1: unknown key `plugin_dir` in top level
        help: did you mean `plugins_dir`?"#]],
    );
    refused(
        "[[chips]]\nname = \"x\"",
        expect![[r#"
        plugins.toml:1: unknown key `chips` in top level
        help: did you mean `chip`?"#]],
    );
    refused(
        "[server]\ncolour = 1",
        expect![[r#"
        plugins.toml:2: unknown key `colour` in [server]
        help: known there are host, port, workers, max_body_mib, buffer_mib, queue, max_connections, header_ms, body_idle_ms, drain_delay_ms, drain_ms"#]],
    );
}

#[test]
fn values_outside_of_their_range_say_what_the_range_is() {
    refused(
        "[server]\nport = 65536",
        expect![[r#"
        plugins.toml:2: `port` is 65536, which is not a number from 0 to 65535
        help: correct `port`, or remove it to get the default, 8000"#]],
    );
    refused(
        "[server]\nqueue = 0",
        expect![[r#"
        plugins.toml:2: `queue` is 0, which is not a number from 1 to 4096
        help: correct `queue`, or remove it to get the default, 256"#]],
    );
    refused(
        "[server]\nqueue = 99999999999999999999999",
        expect![[r#"
        plugins.toml:2: `queue` is 99999999999999999999999, which is not a number from 1 to 4096
        help: correct `queue`, or remove it to get the default, 256"#]],
    );
    refused(
        "[server]\nqueue = \"many\"",
        expect![[r#"
        plugins.toml:2: `queue` is "many", which is not a number from 1 to 4096
        help: correct `queue`, or remove it to get the default, 256"#]],
    );
    refused(
        "trust = \"all\"",
        expect![[r#"
        plugins.toml:1: `trust` is "all", which is not one of "any", "pinned", "signed"
        help: correct `trust`, or remove it to get the default, "any""#]],
    );
    refused(
        "\nplugins_dir = 7",
        expect![[r#"
        plugins.toml:2: invalid type: integer `7`, expected path string
        help: correct that line; strings stand in double quotes, and `[[plugin]]` opens one entry of a list"#]],
    );
}

#[test]
fn broken_text_names_its_line() {
    refused(
        "trust = \"any\"\nplugins_dir = plugins\n",
        expect![[r#"
        plugins.toml:2: string values must be quoted, expected literal string
        help: correct that line; strings stand in double quotes, and `[[plugin]]` opens one entry of a list"#]],
    );
    refused(
        "[plugin]\nname = \"x\"",
        expect![[r#"
        plugins.toml:1: `plugin` is not a list of entries
        help: write each one as [[plugin]]"#]],
    );
}

#[test]
fn entries_must_agree_with_each_other() {
    refused(
        "[[plugin]]\nname = \"a\"",
        expect![[r#"
        plugins.toml:1: [[plugin]] lacks `path`
        help: add path = ...: a path (required)"#]],
    );
    refused(
        "[[plugin]]\nname = \"simd128\"\npath = \"a\"\n[[chip]]\nname = \"fast\"\nplugin = \"simd182\"",
        expect![[r#"
        plugins.toml:4: chip `fast` wants plugin `simd182`, which no [[plugin]] names
        help: did you mean `simd128`?"#]],
    );
    refused(
        "[[plugin]]\nname = \"a\"\npath = \"a\"\n[[chip]]\nname = \"auto\"\nplugin = \"a\"",
        expect![[r#"
        plugins.toml:4: no chip can be named `auto`: it means the best one
        help: choose another name"#]],
    );
    refused(
        "[[plugin]]\nname = \"a\"\npath = \"a\"\n[[plugin]]\nname = \"a\"\npath = \"b\"",
        expect![[r#"
        plugins.toml:4: two plugins are named `a` (the other one in line 1)
        help: rename one of them"#]],
    );
    refused(
        "[[plugin]]\nname = \"a\"\npath = \"a\"\nsha256 = \"12\"",
        expect![[r#"
        plugins.toml:1: the sha256 of plugin `a` is not 64 hexadecimal digits
        help: `sha256sum a` prints it"#]],
    );
    refused(
        "[[model]]\nname = \"../x\"\npath = \"a\"",
        expect![[r#"
        plugins.toml:1: `../x` is no name for an entry of [[model]]
        help: use letters, digits, `-`, `_` and `.`, at most 128, and not only dots"#]],
    );
}

#[test]
fn trust_is_kept() {
    refused(
        "trust = \"pinned\"\n[[plugin]]\nname = \"a\"\npath = \"a.wasm\"",
        expect![[r#"
        plugins.toml:2: plugin `a` has no sha256, and trust = "pinned" takes only pinned plugins
        help: add the line that `host plugin verify a.wasm` prints, or set trust = "any""#]],
    );
    refused(
        "\ntrust = \"signed\"",
        expect![[r#"
        plugins.toml:2: trust = "signed" without trusted_keys takes no plugin at all
        help: add trusted_keys = ["..."] with the public keys of those whose plugins you use; `host plugin keygen` makes a pair of your own"#]],
    );
}

#[test]
fn every_key_has_a_text_and_numbers_have_a_range_that_holds_the_default() {
    let mut count = 0;
    for (title, text, keys) in sections() {
        assert!(!text.is_empty(), "{title}");
        for key in keys {
            assert!(key.text.ends_with('.'), "{title} {}: {}", key.name, key.text);
            if let Range::Number(min, max) = key.range {
                assert!((min..=max).contains(&key.default.parse().unwrap()), "{title} {}", key.name);
            }
            count += 1;
        }
    }
    assert_eq!(count, 37);
    assert!(reference().contains("| `port` | `8000` | a number from 0 to 65535 |"));
}

#[test]
fn any_cut_or_changed_byte_is_an_error_or_a_file_never_a_panic() {
    for cut in 0..WHOLE.len() {
        let _ = parsed(&WHOLE[..cut]);
        let mut bytes = WHOLE.as_bytes().to_vec();
        bytes[cut] ^= 0x15;
        if let Ok(text) = String::from_utf8(bytes) {
            let _ = parsed(&text);
        }
    }
}

#[test]
fn the_reference_page_says_what_the_keys_say() {
    // UPDATE_EXPECT=1 writes it afresh.
    expect_test::expect_file![concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/plugins.toml.md")].assert_eq(&reference());
}

#[test]
fn the_projects_own_file_is_taken() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins.toml");
    let config = Config::load(Path::new(path)).unwrap();
    assert_eq!(config.aliases("simd128"), ["TYPE_A"]);
    assert_eq!(config.aliases("npu-sim"), ["TYPE_B"]);
}
