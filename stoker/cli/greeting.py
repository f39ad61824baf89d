"""What is printed when a service is up: where it is, and a line that works when it is pasted."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stoker.cli.reach import Reach
from stoker.cli.reached_endpoint import reached_endpoint
from stoker.cli.start_watch import resting_words

QUESTION = "What is a session?"


def greeting(reach: Reach, service: Mapping[str, Any]) -> str:
    endpoint = reached_endpoint(reach, service)
    lines = [
        "",
        f"Endpoint   {endpoint}",
        f"For OpenAI clients, base_url {endpoint}/v1 or {reach.url}/v1; `stoker env {service['name']}` prints both settings",
    ]
    resting = resting_words(service)
    if resting:
        lines.append(f"The service is {resting}")
    if service["status"] == "STOPPED":
        return "\n".join(lines)
    model = (service.get("model_name") or [service["name"]])[0]
    lines += ["Try it:", curl(f"{reach.url}/v1/chat/completions", model, _bearer(reach, service))]
    return "\n".join(lines)


def curl(url: str, model: str, bearer: str | None) -> str:
    """One line for a shell; `bearer` is shell text between double quotes, None where no token is asked for."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": QUESTION}]}, ensure_ascii=False)
    words = ["curl", shlex.quote(url)]
    if bearer is not None:
        words += ["-H", f'"Authorization: Bearer {bearer}"']
    return " ".join([*words, "-H", "'Content-Type: application/json'", "-d", shlex.quote(body)])


def _bearer(reach: Reach, service: Mapping[str, Any]) -> str | None:
    if service["open_to_public"]:
        return None
    file = reach.user_token_file
    return f"$(cat {quoted(file)})" if file is not None else "$STOKER_TOKEN"


def quoted(path: Path) -> str:
    """For use within $(…), which begins quoting anew."""
    return shlex.quote(str(path))
