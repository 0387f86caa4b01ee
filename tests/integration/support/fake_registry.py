"""A registry that lies, stumbles and remembers what it was asked: for what no real registry would serve.

    fake = FakeRegistry()
    fake.add(image, "shop:1.0")                                    # manifests and blobs, whatever their digests claim
    fake.on("/v2/shop/blobs/", Answer(503), times=2)               # the next two such requests fail
    fake.on(f"/v2/shop/blobs/{digest}", Answer(200, data, cut=100))  # says all, sends 100 bytes, closes
    ... fake.requests                                              # what came: method, path, headers

Ranges are honoured ("bytes=N-" and "bytes=N-M"). An entry of `on` applies to paths that start with its path, newest
first, `times` times (None: always), to the method given.
"""

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict = field(default_factory=dict)
    cut: int = None  # bytes of the body that are sent before the connection closes
    delay: float = 0  # seconds before the answer
    pace: float = 0  # seconds between pieces of 64 KiB


@dataclass
class Request:
    method: str
    path: str
    headers: dict


@dataclass
class Rule:
    path: str
    answer: Answer
    times: int
    method: str


class FakeRegistry:
    def __init__(self):
        self.requests = []
        self._answers = {}
        self._rules = []
        self._lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                fake._answer(self)

            do_HEAD = do_POST = do_PUT = do_GET

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                """A client that went away in the middle is what some tests are about."""

        self._http = Server(("127.0.0.1", 0), Handler)
        self.port = self._http.server_port
        self.host = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()

    # What is served

    def add(self, what, name):
        """An Image or Index of tiny as NAME:TAG; returns the whole reference."""
        repository, _, tag = name.partition(":")
        for image in getattr(what, "images", [what]):
            for blob in image.blobs:
                self.add_blob(repository, blob.digest, blob.data)
            self.add_manifest(repository, image.digest, image.manifest, image.media_type)
        self.add_manifest(repository, what.digest, what.manifest, what.media_type)
        self.add_manifest(repository, tag, what.manifest, what.media_type, what.digest)
        return f"{self.host}/{name}"

    def add_blob(self, repository, digest, data):
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        self._answers[f"/v2/{repository}/blobs/{digest}"] = Answer(200, data, headers)

    def add_manifest(self, repository, tag, body, media_type, digest=None):
        headers = {"Content-Type": media_type}
        if digest or tag.startswith("sha256:"):
            headers["Docker-Content-Digest"] = digest or tag
        self._answers[f"/v2/{repository}/manifests/{tag}"] = Answer(200, body, headers)

    def on(self, path, answer, times=None, method="GET"):
        with self._lock:
            self._rules.insert(0, Rule(path, answer, times, method))

    def asked(self, part, method="GET"):
        """The requests whose path has `part` in it."""
        return [each for each in list(self.requests) if part in each.path and each.method == method]

    # How it is served

    def _find(self, method, path):
        with self._lock:
            for rule in self._rules:
                if path.startswith(rule.path) and rule.method == method and rule.times != 0:
                    if rule.times is not None:
                        rule.times -= 1
                    return rule.answer
        if path.rstrip("/") == "/v2":
            return Answer(200, b"{}", {"Docker-Distribution-Api-Version": "registry/2.0"})
        missing = b'{"errors":[{"code":"NAME_UNKNOWN","message":"not here"}]}'
        return self._answers.get(path) or Answer(404, missing, {"Content-Type": "application/json"})

    def _answer(self, request):
        path = request.path.partition("?")[0]
        self.requests.append(Request(request.command, path, dict(request.headers)))
        answer = self._find(request.command, path)
        if answer.delay:
            time.sleep(answer.delay)
        status, body, headers = answer.status, answer.body, dict(answer.headers)
        if status == 200 and request.headers.get("Range"):
            status, body, headers = _range_of(request.headers["Range"], body, headers)
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        if "Content-Length" not in headers and "Transfer-Encoding" not in headers:
            request.send_header("Content-Length", str(len(body)))
        if answer.cut is not None:
            request.send_header("Connection", "close")
            request.close_connection = True
        request.end_headers()
        if request.command != "HEAD":
            _send(request.wfile, body if answer.cut is None else body[: answer.cut], answer.pace)


def _range_of(text, body, headers):
    first, _, last = text.removeprefix("bytes=").partition("-")
    first, end = int(first), int(last) + 1 if last else len(body)
    if first >= len(body):
        return 416, b"", {"Content-Range": f"bytes */{len(body)}"}
    piece = body[first:end]
    return 206, piece, {**headers, "Content-Range": f"bytes {first}-{first + len(piece) - 1}/{len(body)}"}


def _send(out, body, pace):
    if not pace:
        out.write(body)
        return
    for start in range(0, len(body), 65536):
        out.write(body[start : start + 65536])
        out.flush()
        time.sleep(pace)
