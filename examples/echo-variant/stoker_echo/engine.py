"""The engine: OpenAI's chat completions with the standard library alone. `python -m stoker_echo.engine --host H --port P`"""

from __future__ import annotations

import argparse
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Holds what the command line said."""

    daemon_threads = True

    def __init__(self, said: argparse.Namespace, key: str | None) -> None:
        self.said, self.key = said, key
        super().__init__((said.host, said.port), Handler)


class Handler(BaseHTTPRequestHandler):
    """GET /health, GET /v1/models, POST /v1/chat/completions."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, {"status": "ok"})
        elif self.path == "/v1/models":
            self.answer(200, {"object": "list", "data": [{"id": self.server.said.model_name, "object": "model"}]})
        else:
            self.answer(404, {"error": {"message": f"there is no {self.path}"}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.server.key and self.headers.get("authorization") != f"Bearer {self.server.key}":
            self.answer(401, {"error": {"message": "the key is wrong"}})
        elif self.path == "/v1/chat/completions":
            asked = json.loads(body)
            answer = self.chat(asked)
            self.stream(answer) if asked.get("stream") else self.answer(200, answer)
        else:
            self.answer(404, {"error": {"message": f"there is no {self.path}"}})

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        said = self.server.said
        text = " ".join([str(body["messages"][-1]["content"])] * said.times)
        message = {"role": "assistant", "content": text.upper() if said.shout else text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"id": "chatcmpl-echo", "object": "chat.completion", "created": 0, "model": body.get("model", ""), "choices": [choice]}

    def stream(self, answer: dict[str, Any]) -> None:
        """One piece, as there is nothing to wait for; the end of the connection is the end of the stream."""
        message = answer["choices"][0].pop("message")
        answer["choices"][0]["delta"], answer["object"] = message, "chat.completion.chunk"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(f"data: {json.dumps(answer)}\n\ndata: [DONE]\n\n".encode())

    def answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    parser = argparse.ArgumentParser(prog="stoker_echo.engine", allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model-name", default="echo")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--shout", action="store_true")
    Server(parser.parse_args(), os.environ.get("ECHO_KEY")).serve_forever()


if __name__ == "__main__":
    main()
