//! The README says the same in both languages: the same commands in the same order, and the two commands first.

use super::Finding;

/// What a newcomer runs, in this order, before anything else.
const FIRST: [&str; 2] = ["cargo xtask demo", "cargo xtask test"];

/// Compares the command blocks (```` ```sh ````) of both texts.
pub(crate) fn check(english: &str, chinese: &str) -> Vec<Finding> {
    let (english, chinese) = (commands(english), commands(chinese));
    let mut findings = Vec::new();
    if english.iter().map(String::as_str).take(2).ne(FIRST) {
        findings.push(Finding::new("README.md", 0, format!("its first commands are not `{}`", FIRST.join("` and `"))));
    }
    if let Some(at) = (0..english.len().max(chinese.len())).find(|&at| english.get(at) != chinese.get(at)) {
        let shown =
            |commands: &[String]| commands.get(at).map_or("nothing".to_owned(), |command| format!("`{command}`"));
        let message = format!("command {} is {}, in README.md it is {}", at + 1, shown(&chinese), shown(&english));
        findings.push(Finding::new("README.zh-CN.md", 0, message));
    }
    findings
}

/// Lines of all `sh` blocks, without comments.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            let command = line.split(" #").next().unwrap_or_default().trim();
            if !command.is_empty() && !command.starts_with('#') {
                commands.push(command.to_owned());
            }
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: &str =
        "```sh\ncargo xtask demo   # shows\ncargo xtask test\n```\n```toml\na = 1\n```\n```sh\nhost doctor\n```\n";

    #[test]
    fn comments_may_differ_and_commands_may_not() {
        let chinese = ENGLISH.replace("# shows", "# 演示");
        assert!(check(ENGLISH, &chinese).is_empty());
        let findings = check(ENGLISH, &chinese.replace("doctor", "inspect"));
        assert!(findings[0].message.contains("command 3 is `host inspect`"), "{}", findings[0]);
    }

    #[test]
    fn the_two_commands_come_first() {
        let other = ENGLISH.replace("demo", "setup");
        assert_eq!(check(&other, &other).len(), 1);
    }
}
