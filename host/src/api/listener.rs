//! Connections: how many, how long they may take to speak, and how they end.

use super::{App, router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// How far the way out has been gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// Readiness is off; new requests are still answered, until load balancers have noticed.
    Draining,
    /// No new connections; what is in flight is finished.
    Stopping,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every request in flight was answered.
    Drained,
    /// So many connections were cut off when the time was over.
    CutOff(usize),
}

/// Longest head of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;

/// Serves until `phase` says to stop, then waits for what is in flight.
pub async fn serve(app: Arc<App>, listener: TcpListener, mut phase: watch::Receiver<Phase>) -> Outcome {
    let limits = app.limits;
    let connections = Arc::new(Semaphore::new(limits.max_connections));
    let service = router(app.clone());
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS);
    loop {
        let accept = async {
            let permit = connections.clone().acquire_owned().await.expect("never closed");
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = until(&mut phase, Phase::Stopping) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, or a client that was gone at once; trying again at full speed would help nobody.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()));
        let mut phase = phase.clone();
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = until(&mut phase, Phase::Stopping) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    let all = u32::try_from(limits.max_connections).expect("within its range: config checked it");
    match tokio::time::timeout(limits.drain, connections.acquire_many(all)).await {
        Ok(_) => Outcome::Drained,
        Err(_) => Outcome::CutOff(limits.max_connections - connections.available_permits()),
    }
}

/// Returns once that phase has been reached. A sender that is gone counts as the last phase.
async fn until(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}
