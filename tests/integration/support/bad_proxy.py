"""An HTTP proxy in front of a real server that does to chosen requests what networks and servers do on a bad day.

    proxy = BadProxy(swift.port)                  the server's, at 127.0.0.1; proxy.url is where to ask instead
    proxy.breaks("GET", "truncate")               from now on, every GET of a chunk; breaks(..., times=1): the next only
    proxy.heals()
    proxy.met                                     how many requests met a fault since it was set

Whatever meets no fault passes unchanged, the Host header included, so that signatures stay good.
"""

import http.client
import http.server
import socket
import struct
import threading
import time

ERROR = b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>on a bad day</Message></Error>'
MISSING = b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>on a bad day</Message></Error>'
CONNECTION = {"connection", "transfer-encoding", "content-length", "keep-alive", "date", "server"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def any_method(self):
        fault = self.server.owner.fault_for(self.command, self.path)
        getattr(self, fault.replace(" ", "_") if fault else "forward")()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = any_method

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def ask(self):
        """(status, headers, body) of the server behind."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.owner.port, timeout=30)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    connection.putheader(name, value)
            connection.endheaders(self.body())
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def answer(self, status, headers, body, length=None):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in CONNECTION:
                self.send_header(name, value)
        if self.command == "HEAD":
            length = next((value for name, value in headers if name.lower() == "content-length"), 0)
        if status != 204:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def reset(self):
        """Not a clean end but RST, as from a machine that was switched off and on."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    # ---- what may happen ----

    def forward(self):
        self.answer(*self.ask())

    def truncated_body(self):
        status, headers, body = self.ask()
        self.answer(status, headers, body[: len(body) // 2], length=len(body))
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def wrong_bytes(self):
        status, headers, body = self.ask()
        self.answer(status, headers, body[:-1] + bytes([body[-1] ^ 1]))

    def storm(self):
        self.body()
        self.answer(503, [], b"")

    def slow_drip(self):
        status, headers, body = self.ask()
        self.answer(status, headers, b"", length=len(body))
        for at in range(0, len(body), 16):
            self.wfile.write(body[at : at + 16])
            self.wfile.flush()
            time.sleep(0.05)

    def slow_answer(self):
        status, headers, body = self.ask()
        time.sleep(1)
        self.answer(status, headers, body)

    def error_in_200(self):
        self.body()
        self.answer(200, [("Content-Type", "application/xml")], ERROR)

    def stale_404(self):
        self.body()
        self.answer(404, [("Content-Type", "application/xml")], MISSING)

    def reset_in_the_middle(self):
        if self.command == "PUT":
            self.rfile.read(int(self.headers["Content-Length"]) // 2)
        else:
            status, headers, body = self.ask()
            self.answer(status, headers, body[: len(body) // 2], length=len(body))
            self.wfile.flush()
        self.reset()

    def reset_before_the_answer(self):
        self.ask()
        self.reset()

    def redirect(self):
        """To the server itself, which would take the request."""
        self.body()
        self.answer(307, [("Location", f"http://127.0.0.1:{self.server.owner.port}{self.path}")], b"")


class BadProxy:
    def __init__(self, port):
        self.port = port
        self.heals()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.owner = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def breaks(self, method, fault, times=None, path="/object_store/"):
        assert hasattr(Handler, fault.replace(" ", "_")), fault
        self.fault, self.met = (method, path, fault, times), 0

    def heals(self):
        self.fault, self.met = None, 0

    def fault_for(self, method, path):
        if not self.fault:
            return None
        wanted, part, fault, times = self.fault
        if method != wanted or part not in path or (times is not None and self.met >= times):
            return None
        self.met += 1
        return fault

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
