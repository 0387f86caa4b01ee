#!/usr/bin/python3
"""A Swift, with all three ways to authenticate, that does what it is told: for tests of the driver swift in C.

    swift_double.py DIRECTORY

It listens on two ports of 127.0.0.1, a plain one and one with TLS (its certificate is DIRECTORY/tls.pem), prints "PLAIN
TLS" on one line, and ends when its standard input does.

It takes nothing that it does not know: a header, a member of JSON or a parameter too many is a 400 and a line in the
log that begins with STRANGE. What authentication gives works, and nothing else does.
Everything is also below /prefix.

    v1  /auth/v1.0       user test:tester, key testing                     account AUTH_test
    v2  /v2.0/tokens     user demo, password secret, tenant work (id w0rk) accounts AUTH_<region>_<interface>
    v3  /v3/auth/tokens  user demo (id d3mo, domain default, named Default), password secret, project work (id w0rk, same
                         domain), or the application credential cred-id, named robot, secret hush

PUT /_script takes {"rules": [rule, ...]} and options: "life" of tokens in seconds (86400), "epoch" that the identity
service takes for now, "bulk" whether there is a bulk delete (true), "limit" of names in one (10000), "regions" (["north"]),
"conditional" and "ranges" (true), "storage" in place of the account's URL, "keep" to go on with what is stored and the tokens. It
empties the log. The first rule with a request's method and a part of its path ("" fits all), "times" left (1) and nothing left to
"skip", decides:

    status, headers, text   this answer, nothing is done
    act         true: what was asked is done, and then: lose  the connection is reset instead of an answer
                                                        flip  the last byte of the body is another
                                                        cut   so many bytes of the body, then the connection is reset
                                                        pace  seconds of rest after each 100 bytes of the body
                                                        chunked  no Content-Length
                                                        set   {"name": "value"}: headers replaced, or dropped ("")
    bulk, error the error that a bulk delete gives for objects with this in their name
    read        so many bytes of the request's body are read before the connection is reset
    delay       seconds before anything is done

GET /_log gives the requests, a line each: "METHOD PATH|name: value|...|BODY", headers sorted, Host, User-Agent,
Content-Length and "Accept: */*" left out, tokens by their number, JSON sorted, newlines as $, bodies that are long or no text by their size. GET
/_names gives the names of all objects; PUT /_object/PATH adds one; POST /_revoke ends all tokens.
"""

import datetime
import hashlib
import json
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KNOWN_HEADERS = {
    "host", "user-agent", "accept", "content-length", "content-type", "x-auth-token", "x-auth-user", "x-auth-key", "etag",
    "if-none-match", "range", "x-newest", "x-delete-after",
}  # fmt: skip
DEFAULTS = {"life": 86400, "epoch": None, "bulk": True, "limit": 10000, "regions": ["north"], "conditional": True,
            "ranges": True, "storage": None}  # fmt: skip

lock = threading.RLock()
options = dict(DEFAULTS)
rules = []
log = []
tokens = {}  # token: (number, end)
containers = {}  # path: {name: bytes}
ports = {}


class Strange(Exception):
    pass


def only(mapping, *allowed):
    if not isinstance(mapping, dict) or set(mapping) - set(allowed):
        raise Strange(f"{mapping} has more than {allowed}")
    return mapping


def new_token():
    number = len(tokens) + 1
    token = f"token-{number}-" + "x" * 180
    tokens[token] = (number, time.monotonic() + options["life"])
    return token


def domain_is_default(named):
    only(named, "domain")
    return named["domain"] in ({"id": "default"}, {"name": "Default"})


def times():
    start = datetime.datetime.fromisoformat(options["epoch"]) if options["epoch"] else datetime.datetime.utcnow()
    end = start + datetime.timedelta(seconds=options["life"])
    return start.isoformat(timespec="microseconds") + "Z", end.isoformat(timespec="microseconds") + "Z"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    # ---- one request ----

    def handle_any(self):
        try:
            url = urllib.parse.urlsplit(self.path.removeprefix("/prefix"))
            if url.path.startswith("/_"):
                return self.control(url.path, self.body())
            with lock:
                rule = self.rule_for(url.path)
            if "read" in rule:
                self.note(f"<{len(self.rfile.read(rule['read']))} bytes and then a reset>")
                return self.reset()
            body = self.body()
            with lock:
                self.note(self.shown(body))
            world = containers
            time.sleep(rule.get("delay", 0))
            if world is not containers:  # the test it belonged to is over
                return self.reset()
            if "status" in rule:
                return self.answer(rule["status"], rule.get("text", "").encode(), rule.get("headers", {}))
            with lock:
                status, out, headers = self.act(url, body)
            self.answer_spoiled(rule, status, out, headers)
        except Strange as strange:
            with lock:
                log.append(f"STRANGE {self.command} {self.path}: {strange}")
            self.answer(400, str(strange).encode(), {})

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def rule_for(self, path):
        for rule in (r for r in rules if "bulk" not in r):
            if rule.get("method", self.command) != self.command or rule.get("path", "") not in path:
                continue
            if rule.get("skip", 0) > 0:
                rule["skip"] -= 1
            elif rule.setdefault("times", 1) > 0:
                rule["times"] -= 1
                return rule
        return {}

    def shown(self, body):
        if self.headers.get("Content-Type") == "application/json":
            return json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"))
        text = body.decode("latin-1").replace("\n", "$")
        return text if len(body) <= 300 and text.isascii() and (not text or text.isprintable()) else f"<{len(body)} bytes>"

    def note(self, body):
        headers = {name.lower(): value for name, value in self.headers.items()}
        for name in ("host", "user-agent", "content-length"):
            headers.pop(name, None)
        if headers.get("accept") == "*/*":
            del headers["accept"]
        if "x-auth-token" in headers:
            headers["x-auth-token"] = str(tokens.get(headers["x-auth-token"], ("unknown",))[0])
        log.append("|".join([f"{self.command} {self.path}", *(f"{n}: {v}" for n, v in sorted(headers.items())), body]))

    # ---- answers ----

    def reset(self):
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        self.wfile = self.rfile = open("/dev/null", "r+b", buffering=0)

    def answer(self, status, body, headers, chunked=False):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        elif status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_spoiled(self, rule, status, body, headers):
        if rule.get("lose"):
            return self.reset()
        if rule.get("flip"):
            body = body[:-1] + bytes([body[-1] ^ 1])
        for name, value in rule.get("set", {}).items():
            headers.pop(name, None)
            if value:
                headers[name] = value
        if "cut" not in rule and "pace" not in rule:
            return self.answer(status, body, headers, rule.get("chunked"))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if "cut" in rule:
            self.wfile.write(body[: rule["cut"]])
            return self.reset()
        try:
            for at in range(0, len(body), 100):
                self.wfile.write(body[at : at + 100])
                self.wfile.flush()
                time.sleep(rule["pace"])
        except OSError:  # the client lost its patience
            self.close_connection = True

    # ---- what a Swift does ----

    def act(self, url, body):
        extra = {name.lower() for name in self.headers} - KNOWN_HEADERS
        if extra:
            raise Strange(f"headers {sorted(extra)}")
        if url.path == "/auth/v1.0":
            return self.auth_v1(url)
        if url.path == "/v2.0/tokens":
            return self.auth_v2(body)
        if url.path == "/v3/auth/tokens":
            return self.auth_v3(body)
        if url.path == "/info":
            if "X-Auth-Token" in self.headers:
                raise Strange("a token where none is needed")
            info = {"swift": {"version": "double"}}
            if options["bulk"]:
                info["bulk_delete"] = {"max_deletes_per_request": options["limit"], "max_failed_deletes": 1000}
            return 200, json.dumps(info).encode(), {}
        parts = url.path.split("/", 4)
        if len(parts) < 3 or parts[1] != "v1":
            return 404, b"", {}
        query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
        if "bulk-delete" in query:
            return self.bulk_delete(parts, body)
        if not self.token_is_good():
            return 401, b"<html>who?</html>", {}
        if len(parts) == 5:
            return self.object(urllib.parse.unquote("/".join(parts[:4])), urllib.parse.unquote(parts[4]), body)
        if len(parts) == 4:
            return self.container(urllib.parse.unquote(url.path), query)
        return (204, b"", {}) if self.command == "POST" else (404, b"", {})

    def token_is_good(self):
        number, end = tokens.get(self.headers.get("X-Auth-Token"), (0, 0))
        return time.monotonic() < end

    def storage(self, account):
        return options["storage"] or f"http://127.0.0.1:{ports['PLAIN']}/v1/{account}"

    def auth_v1(self, url):
        if self.command != "GET" or url.query:
            raise Strange("not how v1 is asked")
        if (self.headers.get("X-Auth-User"), self.headers.get("X-Auth-Key")) != ("test:tester", "testing"):
            return 401, b"", {}
        headers = {"X-Storage-Url": self.storage("AUTH_test"), "X-Auth-Token": new_token()}
        return 200, b"", {**headers, "X-Auth-Token-Expires": str(int(options["life"]))}

    def catalog(self, endpoints):
        return [{"type": "identity", "name": "keystone", "endpoints": endpoints("identity")},
                {"type": "object-store", "name": "swift", "endpoints": endpoints("object-store")}]  # fmt: skip

    def auth_v2(self, body):
        auth = only(only(json.loads(body), "auth")["auth"], "passwordCredentials", "tenantName", "tenantId")
        credentials = only(auth["passwordCredentials"], "username", "password")
        tenant = {name: auth[name] for name in auth if name != "passwordCredentials"}
        if (credentials["username"], credentials["password"]) != ("demo", "secret") or tenant not in (
            {"tenantName": "work"}, {"tenantId": "w0rk"}):  # fmt: skip
            return 401, b"{}", {}
        start, end = times()

        def endpoints(kind):
            return [
                {"region": region, **{f"{i}URL": self.storage(f"AUTH_{region}_{i}") if kind != "identity" else "http://x" for i in
                 ("public", "internal", "admin")}} for region in options["regions"]
            ]  # fmt: skip

        token = {"id": new_token(), "issued_at": start, "expires": end, "tenant": {"name": "work"}}
        access = {"token": token, "serviceCatalog": self.catalog(endpoints), "user": {}}
        return 200, json.dumps({"access": access}).encode(), {}

    def auth_v3(self, body):
        auth = only(only(json.loads(body), "auth")["auth"], "identity", "scope")
        identity = auth["identity"]
        if identity["methods"] == ["password"]:
            user = only(only(only(identity, "methods", "password")["password"], "user")["user"], "id", "name", "domain", "password")
            if "id" in user:
                good = user == {"id": "d3mo", "password": "secret"}
            else:
                good = (user["name"], user["password"]) == ("demo", "secret") and domain_is_default({"domain": user["domain"]})
            project = only(only(auth["scope"], "project")["project"], "id", "name", "domain")
            if "id" in project:
                good &= project == {"id": "w0rk"}
            else:
                good &= project["name"] == "work" and domain_is_default({"domain": project["domain"]})
        elif identity["methods"] == ["application_credential"]:
            credential = only(identity, "methods", "application_credential")["application_credential"]
            if "scope" in auth:
                raise Strange("an application credential has its scope")
            user = credential.get("user", {"name": "demo", "domain": {"id": "default"}})
            good = credential["secret"] == "hush" and (only(credential, "id", "name", "user", "secret").get("id") == "cred-id" or (
                credential.get("name") == "robot" and "user" in credential))  # fmt: skip
            good &= only(user, "name", "domain")["name"] == "demo" and domain_is_default({"domain": user["domain"]})
        else:
            raise Strange("methods")
        if not good:
            return 401, b'{"error": {"code": 401}}', {}
        start, end = times()

        def endpoints(kind):
            return [
                {"id": "e", "interface": i, "region": region, "region_id": region,
                 "url": self.storage(f"AUTH_{region}_{i}") if kind != "identity" else "http://x"}
                for region in options["regions"] for i in ("admin", "internal", "public")
            ]  # fmt: skip

        token = {"methods": identity["methods"], "issued_at": start, "expires_at": end, "catalog": self.catalog(endpoints)}
        return 201, json.dumps({"token": token}).encode(), {"X-Subject-Token": new_token()}

    def container(self, path, query):
        if self.command == "PUT":
            new = path not in containers
            containers.setdefault(path, {})
            return (201 if new else 202), b"", {}
        if path not in containers:
            return 404, b"", {}
        if self.command == "HEAD":
            return 204, b"", {}
        only(query, "format", "limit", "prefix", "marker")
        if query["format"] != ["json"] or int(query["limit"][0]) > 10000:
            raise Strange("a listing of another format or size")
        prefix, marker = query["prefix"][0], query["marker"][0]
        names = sorted(n for n in containers[path] if n.startswith(prefix) and n > marker)[: int(query["limit"][0])]
        page = [{"name": n, "bytes": len(containers[path][n]), "hash": "0" * 32, "content_type": "x"} for n in names]
        return 200, json.dumps(page).encode(), {"Content-Type": "application/json; charset=utf-8"}

    def object(self, path, name, body):
        if path not in containers:
            return 404, b"", {}
        held = containers[path]
        if self.command == "PUT":
            return self.put_object(held, name, body)
        if name not in held:
            return 404, b"<html>not here</html>", {}
        if self.command == "DELETE":
            del held[name]
            return 204, b"", {}
        data, headers = held[name], {"ETag": hashlib.md5(held[name]).hexdigest(), "Content-Type": "application/octet-stream"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted and options["ranges"]:
            first, last = int(wanted[1]), int(wanted[2])
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            return 206, data[first : last + 1], headers
        return 200, data, headers

    def put_object(self, held, name, body):
        if self.headers.get("Content-Type") != "application/octet-stream" or "Content-Length" not in self.headers:
            raise Strange("type or length of an object")
        if self.headers.get("If-None-Match") == "*" and options["conditional"] and name in held:
            return 412, b"", {}
        etag = hashlib.md5(body).hexdigest()
        if self.headers.get("ETag") != etag:
            return 422, b"", {}
        held[name] = body
        return 201, b"", {"ETag": etag, "X-Trans-Id": "tx1234"}

    def bulk_delete(self, parts, body):
        """Like the real one it is asked before authentication is: what is wrong with the token stands in the body."""
        if not options["bulk"]:
            return 204, b"", {}
        if self.command != "POST" or self.headers.get("Content-Type") != "text/plain" or len(parts) != 3:
            raise Strange("not how a bulk delete is asked")
        result = {"Number Deleted": 0, "Number Not Found": 0, "Response Status": "200 OK", "Response Body": "", "Errors": []}
        lines = body.decode().splitlines()
        if len(lines) > options["limit"]:
            result["Response Status"] = "413 Request Entity Too Large"
            lines = []
        for line in lines:
            _, container, name = urllib.parse.unquote(line).split("/", 2)
            held = containers.get(f"/v1/{parts[2]}/{container}", {})
            fault = next((f for f in rules if f.get("bulk") and f["bulk"] in name and f.setdefault("times", 1) > 0), None)
            if not self.token_is_good():
                result["Errors"].append([line, "401 Unauthorized"])
            elif fault:
                fault["times"] -= 1
                if fault["error"].startswith("404"):
                    held.pop(name, None)
                result["Errors"].append([line, fault["error"]])
            elif held.pop(name, None) is not None:
                result["Number Deleted"] += 1
            else:
                result["Number Not Found"] += 1
        if result["Errors"]:
            result["Response Status"] = "400 Bad Request"
        return 200, b" \r\n\r\n" + json.dumps(result).encode(), {"Content-Type": "application/json"}

    # ---- for the test ----

    def control(self, path, body):
        global containers
        with lock:
            text = ""
            if path == "/_script":
                script = json.loads(body)
                rules[:] = script.pop("rules", [])
                log.clear()
                if not script.pop("keep", False):
                    tokens.clear()
                    containers = {f"/v1/{account}/box": {} for account in ("AUTH_test", "AUTH_north_public")}
                options.clear()
                options.update(DEFAULTS, **only(script, *DEFAULTS))
                options["storage"] = options["storage"] and options["storage"].replace("@PLAIN", f"127.0.0.1:{ports['PLAIN']}")
            elif path == "/_log":
                text = "".join(line + "\n" for line in log)
            elif path == "/_names":
                text = "".join(f"{name}\n" for held in containers.values() for name in sorted(held))
            elif path.startswith("/_object/"):
                containers["/v1/AUTH_test/box"][urllib.parse.unquote(path[len("/_object/") :])] = body
            elif path == "/_revoke":
                tokens.update({token: (number, 0) for token, (number, _) in tokens.items()})
        self.answer(200, text.encode(), {})


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that went away is none."""


def main(directory):
    certificate = f"{directory}/tls.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{directory}/key.pem",
         "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    for name in ("PLAIN", "TLS"):
        server = Server(("127.0.0.1", 0), Handler)
        if name == "TLS":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, f"{directory}/key.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        ports[name] = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(ports["PLAIN"], ports["TLS"], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
