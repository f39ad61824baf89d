"""Request bodies to jobs. What is wrong is said with the name of the field, as OpenAI's errors do."""

from __future__ import annotations

from typing import Any

import msgspec

from model_variants.demo_engine.generating import Sampling
from model_variants.demo_engine.tokens import END, Tokenizer

CHOICES_LIMIT = 128
PROMPTS_LIMIT = 256
_DEFAULT_CHAT_TOKENS = 256
_DEFAULT_COMPLETION_TOKENS = 16


class Refusal(Exception):
    """An answer in the shape of OpenAI's errors."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.message, self.param, self.status, self.code = message, param, status, code


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to generate: `n` choices for each prompt. `chat` decides the shape of the answer."""

    chat: bool
    model: str
    prompts: tuple[list[int], ...]
    sampling: Sampling
    stream: bool = False
    include_usage: bool = False
    echo: bool = False

    @property
    def prompt_tokens(self) -> int:
        return sum(len(prompt) for prompt in self.prompts)


def decode(body: bytes) -> dict[str, Any]:
    """The JSON object of a body."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refusal(f"the body is no valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise Refusal("the body is not a JSON object")
    return value


def model_of(body: dict[str, Any], names: tuple[str, ...]) -> str:
    """The requested model; left out, the first name."""
    name = body.get("model", names[0])
    if not isinstance(name, str):
        raise Refusal("model is a text", param="model")
    if name not in names:
        raise Refusal(
            f"the model {name[:100]!r} does not exist here; there is {names[0]!r}", param="model", status=404, code="model_not_found"
        )
    return name


def chat_job(body: dict[str, Any], names: tuple[str, ...], tokenizer: Tokenizer, room: int) -> Job:
    """POST /v1/chat/completions. The answer begins a fresh paragraph on the subject of the conversation."""
    model = model_of(body, names)
    texts = [_message(message, at) for at, message in enumerate(_list(body, "messages"))]
    if body.get("response_format") not in (None, {"type": "text"}):
        raise Refusal("the demo model writes plain text only", param="response_format")
    prompt = [id for text in texts for id in (*tokenizer.encode(" " + text), END)]
    tokens = _whole(body, "max_completion_tokens", 1, room) or _whole(body, "max_tokens", 1, room)
    logprobs = _flag(body, "logprobs")
    top = (_whole(body, "top_logprobs", 0, 20) or 0) if logprobs else None
    _fits(len(prompt), tokens, room, "messages")
    sampling = _sampling(body, tokens or min(_DEFAULT_CHAT_TOKENS, room - len(prompt)), top)
    return Job(chat=True, model=model, prompts=(prompt,), sampling=sampling, **_streaming(body))


def completion_job(body: dict[str, Any], names: tuple[str, ...], tokenizer: Tokenizer, room: int) -> Job:
    """POST /v1/completions. The answer goes on where the prompt ends; prompts are texts or lists of token ids."""
    model = model_of(body, names)
    prompts = tuple(_prompts(body.get("prompt", ""), tokenizer))
    tokens = _whole(body, "max_tokens", 0, room)
    logprobs = body.get("logprobs")
    top = int(logprobs) if isinstance(logprobs, bool) else _whole(body, "logprobs", 0, 20)
    if logprobs is False:
        top = None
    for name in ("suffix", "best_of"):
        if body.get(name) not in (None, "", body.get("n", 1)):
            raise Refusal(f"{name} is not supported", param=name)
    for prompt in prompts:
        _fits(len(prompt), tokens, room, "prompt")
    longest = max(len(prompt) for prompt in prompts)
    sampling = _sampling(body, min(_DEFAULT_COMPLETION_TOKENS, room - longest) if tokens is None else tokens, top)
    return Job(chat=False, model=model, prompts=prompts, sampling=sampling, echo=_flag(body, "echo"), **_streaming(body))


def embedding_inputs(body: dict[str, Any], tokenizer: Tokenizer) -> tuple[list[str], int, bool]:
    """Texts, dimensions, and whether base64 is wanted."""
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if isinstance(texts, list) and texts and all(isinstance(one, int) for one in texts):
        texts = [texts]
    if not isinstance(texts, list) or not 0 < len(texts) <= 2048:
        raise Refusal("input is a text or a list of at most 2048 texts", param="input")
    found = [one if isinstance(one, str) else tokenizer.decode(_ids(one, tokenizer, "input")) for one in texts]
    if not all(found):
        raise Refusal("input contains an empty text", param="input")
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise Refusal("encoding_format is float or base64", param="encoding_format")
    return found, _whole(body, "dimensions", 8, 4096) or 256, encoding == "base64"


def _message(message: object, at: int) -> str:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise Refusal("each message is an object with a role and a content", param=f"messages.{at}")
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content]
        if not all(isinstance(part, str) for part in parts):
            raise Refusal("the demo model reads text only", param=f"messages.{at}.content")
        content = "".join(str(part) for part in parts)
    if content is None and message["role"] == "assistant":
        return ""
    if not isinstance(content, str):
        raise Refusal("content is a text or a list of text parts", param=f"messages.{at}.content")
    return content


def _prompts(given: object, tokenizer: Tokenizer) -> list[list[int]]:
    if isinstance(given, str):
        return [tokenizer.encode(given)]
    if not isinstance(given, list) or not 0 < len(given) <= max(PROMPTS_LIMIT, 0 if isinstance(given[0], list | str) else 10**6):
        raise Refusal(f"prompt is a text, a list of at most {PROMPTS_LIMIT} texts, or token ids", param="prompt")
    if all(isinstance(one, str) for one in given):
        return [tokenizer.encode(one) for one in given]
    if all(isinstance(one, int) for one in given):
        return [_ids(given, tokenizer, "prompt")]
    return [_ids(one, tokenizer, "prompt") for one in given]


def _ids(given: object, tokenizer: Tokenizer, param: str) -> list[int]:
    if not isinstance(given, list) or not all(
        isinstance(id, int) and not isinstance(id, bool) and 0 <= id < len(tokenizer) for id in given
    ):
        raise Refusal(f"{param} holds token ids from 0 to {len(tokenizer) - 1}", param=param)
    return list(given)


def _sampling(body: dict[str, Any], tokens: int, top: int | None) -> Sampling:
    stop = body.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > 16 or not all(isinstance(one, str) and 0 < len(one) <= 1000 for one in stops):
        raise Refusal("stop is a text or a list of at most 16 texts", param="stop")
    return Sampling(
        max_tokens=tokens,
        min_tokens=max(1, _whole(body, "min_tokens", 0, 10**6) or 0),
        temperature=_number(body, "temperature", 0, 2, 1.0),
        top_p=_number(body, "top_p", 0.001, 1, 1.0),
        presence_penalty=_number(body, "presence_penalty", -2, 2, 0.0),
        frequency_penalty=_number(body, "frequency_penalty", -2, 2, 0.0),
        stop=tuple(stops),
        seed=_whole(body, "seed", -(2**63), 2**64),
        top=top,
        ignore_eos=_flag(body, "ignore_eos"),
        n=_whole(body, "n", 1, CHOICES_LIMIT) or 1,
    )


def _streaming(body: dict[str, Any]) -> dict[str, bool]:
    options = body.get("stream_options")
    stream = _flag(body, "stream")
    if options is not None and (not isinstance(options, dict) or not stream):
        raise Refusal("stream_options is an object, and only for stream: true", param="stream_options")
    return {"stream": stream, "include_usage": bool(options and options.get("include_usage"))}


def _fits(prompt: int, tokens: int | None, room: int, param: str) -> None:
    if prompt + (tokens or 1) > room:
        wanted = f"{prompt} in the {param}" + (f" and {tokens} to answer" if tokens else "")
        raise Refusal(f"this model's context length is {room} tokens; you asked for {wanted}", param=param, code="context_length_exceeded")


def _list(body: dict[str, Any], name: str) -> list[Any]:
    value = body.get(name)
    if not isinstance(value, list) or not 0 < len(value) <= 10_000:
        raise Refusal(f"{name} is a list with at least one entry", param=name)
    return value


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise Refusal(f"{name} is true or false", param=name)
    return bool(value)


def _whole(body: dict[str, Any], name: str, least: int, most: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Refusal(f"{name} is a whole number from {least} to {most}", param=name)
    return value


def _number(body: dict[str, Any], name: str, least: float, most: float, default: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise Refusal(f"{name} is a number from {least:g} to {most:g}", param=name)
    return float(value)
