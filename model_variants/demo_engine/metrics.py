"""Prometheus text under vLLM's names, so that what scales and watches vLLM works on this engine too."""

from __future__ import annotations

from collections import Counter

_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0)


class Histogram:
    """Seconds, in vLLM's buckets or near them."""

    def __init__(self, name: str, about: str) -> None:
        self.name = name
        self.about = about
        self._buckets = [0] * (len(_SECONDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        at = next((n for n, limit in enumerate(_SECONDS) if seconds <= limit), len(_SECONDS))
        self._buckets[at] += 1
        self._sum += seconds

    def lines(self, labels: str) -> list[str]:
        found, count = [f"# HELP {self.name} {self.about}", f"# TYPE {self.name} histogram"], 0
        for limit, one in zip([*map(str, _SECONDS), "+Inf"], self._buckets, strict=True):
            count += one
            found.append(f'{self.name}_bucket{{{labels},le="{limit}"}} {count}')
        return [*found, f"{self.name}_count{{{labels}}} {count}", f"{self.name}_sum{{{labels}}} {self._sum:.6f}"]


class Metrics:
    """Counts since the start. A token of context counts as one of the KV cache's, though there is none."""

    def __init__(self, model: str, context_length: int) -> None:
        self._labels = f'engine="0",model_name="{_escaped(model)}"'
        self._capacity = 64 * context_length
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.held_tokens = 0
        self.finished: Counter[str] = Counter()
        self.first_token = Histogram("vllm:time_to_first_token_seconds", "Time to first token in seconds.")
        self.whole = Histogram("vllm:e2e_request_latency_seconds", "End to end request latency in seconds.")
        self.queued = Histogram("vllm:request_queue_time_seconds", "Time spent waiting in seconds.")

    def text(self, running: int, waiting: int) -> str:
        labels = self._labels
        lines = [
            *_one("vllm:num_requests_running", "gauge", "Requests being answered.", f"{{{labels}}} {running}"),
            *_one("vllm:num_requests_waiting", "gauge", "Requests waiting.", f"{{{labels}}} {waiting}"),
            *_one("vllm:kv_cache_usage_perc", "gauge", "Part of the cache in use, 0 to 1.", f"{{{labels}}} {self._usage():.6f}"),
            *_one("vllm:prompt_tokens_total", "counter", "Prompt tokens processed.", f"{{{labels}}} {self.prompt_tokens}"),
            *_one("vllm:generation_tokens_total", "counter", "Tokens generated.", f"{{{labels}}} {self.generation_tokens}"),
            "# HELP vllm:request_success_total Requests answered, by finish reason.",
            "# TYPE vllm:request_success_total counter",
        ]
        for reason in ("stop", "length", "abort"):
            lines.append(f'vllm:request_success_total{{{labels},finished_reason="{reason}"}} {self.finished[reason]}')
        for histogram in (self.first_token, self.whole, self.queued):
            lines += histogram.lines(labels)
        return "\n".join(lines) + "\n"

    def _usage(self) -> float:
        return min(1.0, self.held_tokens / self._capacity)


def _one(name: str, kind: str, about: str, sample: str) -> tuple[str, str, str]:
    return f"# HELP {name} {about}", f"# TYPE {name} {kind}", f"{name}{sample}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
