//! Bounds on what a client may ask for.

use crate::config::Server;
use std::time::Duration;

/// Tensors of one request or answer.
pub(super) const MAX_TENSORS: usize = 1024;
/// Bytes of a tensor's name.
pub(super) const MAX_NAME: usize = 1024;
/// Bytes of a request's id.
pub(super) const MAX_ID: usize = 1024;
/// Parameters of a request or of a tensor.
pub(super) const MAX_PARAMETERS: usize = 64;

/// The bounds that an operator sets.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest body.
    pub max_body_bytes: u64,
    /// Bodies of all requests together.
    pub buffer_bytes: u64,
    /// Inference requests in hand.
    pub queue: usize,
    /// Open connections.
    pub max_connections: usize,
    /// Time for the head of a request.
    pub header: Duration,
    /// Longest silence inside of a body.
    pub body_idle: Duration,
    /// How long requests are accepted after readiness went off.
    pub drain_delay: Duration,
    /// How long requests in flight may take after that.
    pub drain: Duration,
}

impl From<&Server> for Limits {
    fn from(server: &Server) -> Self {
        let count = |number: u64| usize::try_from(number).expect("within its range: config checked it");
        Self {
            max_body_bytes: server.max_body_mib << 20,
            buffer_bytes: server.buffer_mib << 20,
            queue: count(server.queue),
            max_connections: count(server.max_connections),
            header: Duration::from_millis(server.header_ms),
            body_idle: Duration::from_millis(server.body_idle_ms),
            drain_delay: Duration::from_millis(server.drain_delay_ms),
            drain: Duration::from_millis(server.drain_ms),
        }
    }
}
