"""What a service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

STEPS = Histogram(
    "onnxplain_step_seconds",
    "Time of a step of a request: read, queue, run, draw, write.",
    ["model", "step", "method"],
    buckets=_SECONDS,
)
REQUESTS = Counter("onnxplain_requests", "Requests that were answered, by protocol and status.", ["protocol", "status"])
REFUSALS = Counter("onnxplain_refusals", "Requests that were refused before they were read, by status.", ["status"])
WAITING = Gauge("onnxplain_queue_length", "Requests that wait.")
BATCHES = Histogram(
    "onnxplain_batch_samples", "Samples that ran together.", ["lane"], buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
RELOADS = Counter("onnxplain_model_reloads", "Models that were loaded again, by result.", ["model", "result"])
LOGGED = Counter("onnxplain_logged_explanations", "Explanations that were logged, by result.", ["result"])
JOBS = Gauge("onnxplain_jobs", "Jobs that are kept, by state.", ["state"])
