//! plugins.toml: that it can be read, that what it names is there, and that the server could listen.

use super::super::arguments::Common;
use super::super::assemble::configuration;
use super::Findings;
use crate::config::{Config, Trust};
use crate::plugin::Digest;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;

const AREA: &str = "config";

pub(super) fn check(findings: &mut Findings, common: &Common) -> Option<Arc<Config>> {
    let config = match configuration(common) {
        Ok(config) => Arc::new(config),
        Err(failure) => {
            findings.failed(AREA, &failure);
            return None;
        }
    };
    match &config.file {
        Some(file) => findings.fine(
            AREA,
            format!(
                "{}: {} plugins, {} chips, {} models",
                file.display(),
                config.plugins.len(),
                config.chips.len(),
                config.models.len()
            ),
        ),
        None => findings.fine(AREA, format!("no plugins.toml: every plugin in {}", config.plugins_dir.display())),
    }
    paths(findings, &config);
    if config.trust == Trust::Any
        && config.server.host != "127.0.0.1"
        && config.server.host != "localhost"
        && config.server.host != "::1"
    {
        findings.note(
            AREA,
            format!("the server listens on {} and any plugin is trusted", config.server.host),
            "set trust = \"pinned\" and give every [[plugin]] its sha256",
        );
    }
    port(findings, &config);
    Some(config)
}

fn paths(findings: &mut Findings, config: &Config) {
    for plugin in &config.plugins {
        match std::fs::read(&plugin.path) {
            Err(error) => findings.wrong(
                AREA,
                format!("plugin `{}`: {}: {error}", plugin.name, plugin.path.display()),
                "correct `path` of that [[plugin]], or build the plugin (`cargo xtask build-plugins`)",
            ),
            Ok(bytes) if !plugin.sha256.is_empty() => {
                let found = Digest::of(&bytes);
                if plugin.sha256.parse() == Ok(found) {
                    findings.fine(AREA, format!("plugin `{}` is the pinned one", plugin.name));
                } else {
                    findings.wrong(
                        AREA,
                        format!(
                            "plugin `{}` is not the one that is pinned: {} has sha256 {found}",
                            plugin.name,
                            plugin.path.display()
                        ),
                        "if you have replaced it yourself, put that sha256 into plugins.toml; if not, find out who has",
                    );
                }
            }
            Ok(_) => {}
        }
    }
    for model in &config.models {
        if let Err(error) = std::fs::File::open(&model.path) {
            findings.wrong(
                AREA,
                format!("model `{}`: {}: {error}", model.name, model.path.display()),
                "correct `path` of that [[model]]",
            );
        }
    }
    if !config.plugins_dir.is_dir() && config.plugins.is_empty() {
        findings.wrong(
            AREA,
            format!("there is no folder {}, and no [[plugin]]", config.plugins_dir.display()),
            "`cargo xtask build-plugins` fills it; or name plugins in plugins.toml",
        );
    }
}

fn port(findings: &mut Findings, config: &Config) {
    let (host, port) = (config.server.host.as_str(), config.server.port);
    let number = u16::try_from(port).expect("at most 65535: config checked it");
    match TcpListener::bind((host, number)) {
        Ok(_) => findings.fine(AREA, format!("{host}:{port} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            findings.wrong(
                AREA,
                format!("{host}:{port} is taken by another process"),
                "stop that one (perhaps a host that is still running), or choose another `port` in [server]",
            );
        }
        Err(error) => findings.wrong(
            AREA,
            format!("nothing can listen on {host}:{port}: {error}"),
            "correct `host` and `port` in [server]",
        ),
    }
}
