"""What Prometheus reads."""

from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from allmlp.serving.limits import Load

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Of one server."""

    def __init__(self, load: Load) -> None:
        self.registry = CollectorRegistry()
        more: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("allmlp_requests", "Requests by path and status", ("path", "status"), **more)
        self.seconds = Histogram("allmlp_request_seconds", "From headers to answer", ("path",), buckets=SECONDS, **more)
        self.images = Counter("allmlp_images", "Images answered", **more)
        self.batches = Histogram("allmlp_batch_images", "Images that went through the model together", buckets=IMAGES, **more)
        self.reloads = Counter("allmlp_reloads", "Models loaded while serving", ("outcome",), **more)
        for name, what in (("requests", "Requests under way"), ("images", "Images under way"), ("bytes", "Of bodies held")):
            gauge = Gauge(f"allmlp_{name}_now", what, **more)
            gauge.set_function(partial(getattr, load, name))

    def text(self) -> bytes:
        """Prometheus's text format."""
        return bytes(generate_latest(self.registry))
