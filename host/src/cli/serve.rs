//! `host serve`: brings the server up, keeps an eye on the plugins folder, and takes it down in order.
//!
//! The listener and the signal handlers come first, so that a probe is answered and a SIGTERM is heard while plugins compile and models load.

use super::arguments;
use super::assemble::{Assembled, configuration, options, threads};
use super::failure::Failure;
use super::install::Installer;
use super::{print, progress};
use crate::api::{App, Limits, Outcome, Phase, serve as serve_api};
use crate::catalog::{Catalog, Source, scan};
use crate::config::{Change, Config, Watch, nearest};
use crate::device::Registry;
use crate::session::{Model, Options};
use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

/// Between two looks at the plugins folder.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// Threads that move bytes; what computes runs elsewhere.
const NETWORK_THREADS: usize = 2;

/// Serves until told to stop.
pub(super) fn serve(arguments: arguments::Serve) -> Result<ExitCode, Failure> {
    progress::into_log();
    let mut config = configuration(&arguments.common)?;
    if let Some(host) = &arguments.host {
        config.server.host = host.clone();
    }
    if let Some(port) = arguments.port {
        config.server.port = u64::from(port);
    }
    if let Some(workers) = arguments.workers {
        config.server.workers = workers;
    }
    let sources = sources(&arguments, &config)?;
    let limits = Limits::from(&config.server);
    let catalog = Catalog::new(&sources);
    let app = App::new(catalog.clone(), limits);
    let failed = |error: std::io::Error| {
        Failure::new(format!("the server could not be started: {error}"), "`host doctor` checks the machine's limits")
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NETWORK_THREADS)
        .max_blocking_threads(limits.queue + 8)
        .thread_name("network")
        .enable_all()
        .build()
        .map_err(failed)?;
    let outcome = runtime.block_on(async {
        let listener = listen(&config).await?;
        let (phase, phases) = watch::channel(Phase::Running);
        let signals = Signals::new().map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        print(&format!("http://{address}\n"))?;
        tracing::info!(%address, "listening");
        tokio::spawn(signals.take_down(app.clone(), phase, limits.drain_delay));
        let (broken, breaks) = oneshot::channel();
        std::thread::Builder::new()
            .name("assemble".into())
            .spawn(move || {
                if let Err(failure) = bring_up(&arguments, Arc::new(config), &catalog, &sources) {
                    let _ = broken.send(failure);
                }
            })
            .map_err(failed)?;
        tokio::select! {
            outcome = serve_api(app.clone(), listener, phases) => Ok(outcome),
            Ok(failure) = breaks => Err(failure),
        }
    });
    // What still computes for clients that are gone is not waited for.
    runtime.shutdown_background();
    match outcome? {
        Outcome::Drained => {
            tracing::info!("stopped; every request was answered");
            Ok(ExitCode::SUCCESS)
        }
        Outcome::CutOff(connections) => {
            tracing::warn!(connections, "stopped; connections were cut off when drain_ms was over");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What is to be served: `--model-path`, and the entries of plugins.toml.
fn sources(arguments: &arguments::Serve, config: &Config) -> Result<Vec<Source>, Failure> {
    let (mut sources, notes) = match &arguments.model_path {
        Some(path) => scan(path)?,
        None => Default::default(),
    };
    for note in notes {
        tracing::warn!("{note}");
    }
    for model in &config.models {
        if let Some(other) = sources.iter().find(|source| source.name == model.name && source.version == model.version)
        {
            let message = format!(
                "model `{}` version {} is named twice: {} and {}",
                model.name,
                model.version,
                other.path.display(),
                model.path.display()
            );
            return Err(Failure::new(message, "give the [[model]] of plugins.toml another name or version"));
        }
        sources.push(Source {
            name: model.name.clone(),
            version: model.version,
            path: model.path.clone(),
            chip: (!model.chip.is_empty()).then(|| model.chip.clone()),
            threads: usize::try_from(model.threads).ok().filter(|threads| *threads > 0),
        });
    }
    if sources.is_empty() {
        tracing::warn!("no model to serve; name one with --model-path, or with [[model]] in plugins.toml");
    }
    Ok(sources)
}

async fn listen(config: &Config) -> Result<TcpListener, Failure> {
    let (host, port) = (config.server.host.as_str(), config.server.port);
    let port = u16::try_from(port).expect("at most 65535: config and the parser checked it");
    TcpListener::bind((host, port)).await.map_err(|error| {
        let help = match error.kind() {
            ErrorKind::AddrInUse => {
                "another process has it: stop that one, or choose another port with --port (0 takes a free one)"
            }
            ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose another one with --port",
            _ => "check --host: it must be an address of this machine, such as 127.0.0.1 or 0.0.0.0",
        };
        Failure::new(format!("cannot listen on {host}:{port}: {error}"), help)
    })
}

/// Loads plugins, then models; afterwards watches the plugins folder for as long as the process lives.
fn bring_up(
    arguments: &arguments::Serve,
    config: Arc<Config>,
    catalog: &Catalog,
    sources: &[Source],
) -> Result<(), Failure> {
    let threads = threads(&arguments.common);
    let waiting = usize::try_from(config.server.queue).expect("within its range: config checked it");
    let mut watch = Watch::new(&config.plugins_dir);
    let assembled = Assembled::new(config.clone(), threads, waiting)?.tuned(&arguments.common)?;
    let registry = &assembled.host.registry;
    await_chip(&arguments.common.chip_type, registry, &config)?;
    let chips: Vec<_> = registry.chips().iter().map(|chip| chip.name.clone()).collect();
    tracing::info!(
        threads,
        chips = chips.join(","),
        importers = registry.importers().len(),
        refused = registry.refused().len(),
        models = sources.len(),
        "plugins are loaded"
    );
    let usual = options(&arguments.common);
    let share = match usize::try_from(config.server.workers).unwrap_or(0) {
        0 => usual.threads,
        workers => (threads / workers).max(1),
    };
    let loader = |source: &Source| {
        let options = Options {
            chip: source.chip.clone().unwrap_or_else(|| usual.chip.clone()),
            threads: source.threads.unwrap_or(share),
            ..usual.clone()
        };
        let what = format!("loading {}", source.path.display());
        let session = progress::during(&what, || assembled.session(&source.path, options))
            .map_err(|failure| failure.one_line())?;
        Ok(Box::new(session) as Box<dyn Model>)
    };
    let (came, news) = mpsc::channel();
    std::thread::scope(|scope| {
        let loader = &loader;
        scope.spawn(move || {
            catalog.load_all(sources, loader);
            while let Ok(()) = news.recv() {
                // Several that came at once are one reason to look.
                while news.try_recv().is_ok() {}
                catalog.load_unavailable(sources, loader);
            }
        });
        let installer = Installer { serving: true, ..assembled.installer.clone() };
        watch_plugins(&mut watch, &installer, &came);
    });
    Ok(())
}

/// A name that looks like that of a chip which is there is a mistake in the command. Any other chip may still be dropped into the folder.
fn await_chip(wanted: &str, registry: &Registry, config: &Config) -> Result<(), Failure> {
    let Err(unknown) = registry.chip(wanted) else { return Ok(()) };
    let typo = nearest(wanted, unknown.known.iter().map(String::as_str)).is_some() && !config.expects_chip(wanted);
    if typo {
        return Err(unknown.into());
    }
    tracing::warn!(
        chip = wanted,
        folder = %config.plugins_dir.display(),
        "no such chip yet: its models are loaded once its plugin is dropped into the folder"
    );
    Ok(())
}

/// Never returns. Compiling happens here, beside the requests and never in front of one; `came` is told of each plugin that was taken.
fn watch_plugins(watch: &mut Watch, installer: &Installer, came: &mpsc::Sender<()>) {
    let mut complained = false;
    loop {
        std::thread::sleep(WATCH_EVERY);
        match watch.look() {
            Ok(changes) => {
                complained = false;
                for change in changes {
                    let taken = match change {
                        Change::Settled(path) => installer.install(&path),
                        Change::Gone(path) => installer.uninstall(&path),
                    };
                    if taken {
                        // The loader listens for as long as this loop runs.
                        let _ = came.send(());
                    }
                }
            }
            Err(error) if !complained => {
                complained = true;
                tracing::warn!(folder = %installer.config.plugins_dir.display(), %error, "the plugins folder cannot be read; make it readable for the host's user");
            }
            Err(_) => {}
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// SIGTERM: readiness off, a while for load balancers to notice, then stop. SIGINT, or a second signal: stop at once. A third: exit.
    async fn take_down(mut self, app: Arc<App>, phase: watch::Sender<Phase>, delay: Duration) {
        let patient = tokio::select! {
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => false,
        };
        app.drain();
        let _ = phase.send(Phase::Draining);
        if patient && !delay.is_zero() {
            tracing::info!(
                drain_delay_ms = delay.as_millis() as u64,
                "going down: not ready any more, requests are still answered"
            );
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.any() => {}
            }
        }
        tracing::info!("going down: finishing what is in flight");
        let _ = phase.send(Phase::Stopping);
        self.any().await;
        tracing::warn!("going down at once");
        std::process::exit(130);
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
