//! The run that is shown in the form of Chrome's trace viewer, which Perfetto reads too. Times are in microseconds there.

use super::{Profile, rate};
use serde_json::{Value, json};

impl Profile {
    /// The trace as JSON ("Trace Event Format", complete events).
    pub fn chrome(&self) -> String {
        let threads = self.spans.iter().map(|span| span.thread).max().unwrap_or(0);
        let named = |name: &str, thread: u32, text: String| json!({ "ph": "M", "pid": 1, "tid": thread, "name": name, "args": { "name": text } });
        let mut events = vec![named("process_name", 0, format!("{} on {}", self.setting.model, self.setting.chip))];
        events.extend((0..=threads).map(|thread| named("thread_name", thread, format!("thread {thread}"))));
        events.extend(self.spans.iter().map(|span| {
            let (name, category, args) = match span.row.map(|row| &self.rows[row]) {
                None => ("wait", "wait", json!({})),
                Some(row) => {
                    let args = json!({
                        "node": row.node, "device": row.device, "fast_path": row.path, "shard": span.shard, "shards": row.shards,
                        "shape": row.shape, "bytes": row.bytes, "operations": row.flops,
                        "gflops": rounded(rate(row.flops, row.time)), "gbytes_per_second": rounded(rate(row.bytes, row.time)),
                        "median_us": micros(row.time), "reason": row.reason,
                    });
                    (row.op.as_str(), row.device.as_str(), args)
                }
            };
            json!({
                "ph": "X", "pid": 1, "tid": span.thread, "name": name, "cat": category, "ts": micros(span.start), "dur": micros(span.time), "args": args,
            })
        }));
        let other = json!({ "model": self.setting.model, "chip": self.setting.chip, "threads": self.setting.threads, "isa": self.setting.isa, "version": self.setting.version });
        let whole: Value = json!({ "displayTimeUnit": "ns", "otherData": other, "traceEvents": events });
        format!("{whole}\n")
    }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

fn rounded(value: Option<f64>) -> Option<f64> {
    value.map(|value| (value * 1000.0).round() / 1000.0)
}
