#!/usr/bin/python3
"""A registry that does what it is told, for tests of the registry client in C: faults that no real registry serves.

    registry_double.py DIRECTORY

It listens on three ports of 127.0.0.1, two plain and one with TLS (its certificate is written to DIRECTORY/tls.pem),
prints "PLAIN OTHER TLS" on one line, and ends when its standard input does.

    PUT /script   {"path": [answer, ...], ...}: each request for path takes the next answer, the last one stays. A new
                  script replaces the old one and empties the log.
    GET /log      one line a request: "PORT METHOD PATH", then "|name: value" for each header, names in lower case
    GET /connections   the number of connections that were accepted so far

An answer is an object, all of whose members are optional:

    status    200
    headers   {"Name": "value"}; "@PLAIN", "@OTHER" and "@TLS" in a value stand for host and port
    text      the body, as text; the same replacements are made
    pattern   the body: this many bytes of pattern()
    skew      the body starts so many bytes later in the pattern
    ranges    true: "Range: bytes=N-" is honoured
    promise   Content-Length that is announced, whatever is sent; 0 or more
    length    "none": no Content-Length, the end of the connection is the end; "chunked"
    send      bytes of the body that are sent before the connection is reset
    close     bytes of the body that are sent before the connection is closed in order
    delay     seconds before the answer
    pace      seconds of rest after each 16 KiB
    refuse    true: the connection is reset without an answer
    auth      value that the Authorization header must have, else 401 with "challenge" as WWW-Authenticate
"""

import datetime
import ipaddress
import json
import socket
import ssl
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PERIOD = 65521
PATTERN = bytes((i * i + (i >> 3)) & 255 for i in range(PERIOD))
PIECE = 16 * 1024

lock = threading.Lock()
script = {}
log = []
ports = {}
connections = 0


def pattern(start, size):
    """Bytes start..start+size of an endless sequence that repeats itself only after a prime number of bytes."""
    first = start % PERIOD
    return (PATTERN[first:] + PATTERN * (size // PERIOD + 1))[:size]


def fill_in(text):
    for name, port in ports.items():
        text = text.replace(f"@{name}", f"127.0.0.1:{port}")
    return text


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        global connections
        super().setup()
        with lock:
            connections += 1

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path == "/log":
            return self.reply({"text": "".join(line + "\n" for line in log)})
        if self.path == "/connections":
            return self.reply({"text": str(connections)})
        self.reply(self.next_answer())

    do_HEAD = do_GET

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with lock:
            script.clear()
            script.update(json.loads(body))
            log.clear()
        self.reply({})

    def next_answer(self):
        names = "".join(f"|{name.lower()}: {value}" for name, value in self.headers.items())
        with lock:
            log.append(f"{self.server.server_port} {self.command} {self.path}{names}")
            answers = script.get(self.path.split("?")[0]) or [{"status": 404}]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if "auth" in answer and self.headers.get("Authorization") != answer["auth"]:
            return {"status": 401, "headers": {"WWW-Authenticate": answer["challenge"]}}
        return answer

    def reset(self):
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        self.wfile = self.rfile = open("/dev/null", "r+b", buffering=0)

    def body_of(self, answer):
        """Status, body and headers, with a range if one is asked for and honoured."""
        headers = {name: fill_in(value) for name, value in answer.get("headers", {}).items()}
        status, size = answer.get("status", 200), answer.get("pattern")
        if size is None:
            return status, fill_in(answer.get("text", "")).encode(), headers
        start, asked = 0, self.headers.get("Range", "")
        if answer.get("ranges") and asked.startswith("bytes="):
            start = int(asked[6:].split("-")[0])
            if start >= size:
                return 416, b"", headers
            status = 206
            headers.setdefault("Content-Range", f"bytes {start}-{size - 1}/{size}")
        return status, pattern(start + answer.get("skew", 0), size - start), headers

    def reply(self, answer):
        time.sleep(answer.get("delay", 0))
        if answer.get("refuse"):
            return self.reset()
        status, body, headers = self.body_of(answer)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        framing = answer.get("length")
        if framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif framing == "none":
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(answer.get("promise", len(body))))
        self.end_headers()
        if self.command != "HEAD":
            self.send_body(answer, body, framing == "chunked")

    def send_body(self, answer, body, chunked):
        stop = answer.get("send", answer.get("close"))
        body = body if stop is None else body[:stop]
        for at in range(0, len(body), PIECE):
            piece = body[at : at + PIECE]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            time.sleep(answer.get("pace", 0))
        if "send" in answer:
            # A reset overtakes bytes that are still under way; these are meant to arrive.
            self.wfile.flush()
            time.sleep(0.1)
            return self.reset()
        if chunked and stop is None:
            self.wfile.write(b"0\r\n\r\n")
        if stop is not None or len(body) < answer.get("promise", 0):
            self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that goes away, or does not trust the certificate, is no news."""


def make_certificate(path):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry double")])
    now = datetime.datetime.utcnow()
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))


def main():
    pem = Path(sys.argv[1]) / "tls.pem"
    make_certificate(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    for name in ("PLAIN", "OTHER", "TLS"):
        server = Server(("127.0.0.1", 0), Handler)
        if name == "TLS":
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        ports[name] = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(*ports.values(), flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
