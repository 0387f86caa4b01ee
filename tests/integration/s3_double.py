#!/usr/bin/python3
"""A small S3 that also does what it is told to do wrong, for tests of the driver s3 in C.

    s3_double.py DIRECTORY

It listens and is controlled like registry_double.py (ports, /script, /log, /connections). Left alone it is an S3 server
in memory: path style, buckets, objects, ranges, conditional puts, listings (version 2), removal of many. It checks every
signature, with code of its own, and the hash of every body. A script is an object:

    buckets   ["name", ...]: there are these, all of them empty; without it everything stays as it is
    keys      {"access key": "secret key"}; {"access key": ["secret key", "token"]} for temporary ones
    expired   ["access key", ...]: refused as ExpiredToken
    region    that signatures must name; "us-east-1"
    clock     seconds by which the server's clock is ahead
    pages     {"/path": [answer, ...]}: no S3 there, but these, as in registry_double.py
    faults    [["METHOD", "part of the path or query", answer], ...]: each request takes the first that fits it, once;
              with "times": N in the answer, N times. Besides the members that registry_double.py knows:

    act         true: the request is done all the same, before the answer
    read        so many bytes of the request's body are read, then the connection is reset
    error       code of an S3 error, with which the body is filled
    flip        true: the right answer, with one bit of the body another
    stall       seconds without a byte, in the middle of the right answer
    drip        seconds between two bytes of the right answer
"""

import base64
import calendar
import copy
import hashlib
import hmac
import json
import re
import sys
import threading
import time
import urllib.parse
from email.utils import formatdate
from xml.sax.saxutils import escape, unescape

import registry_double

lock = threading.Lock()
state = {"buckets": {}, "keys": {}, "expired": [], "region": "us-east-1", "clock": 0, "pages": {}, "faults": []}


class Refused(Exception):
    def __init__(self, status, code, **more):
        super().__init__(code)
        self.status, self.code, self.more = status, code, more


def error_body(code, **more):
    fields = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in more.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>as told</Message>{fields}</Error>'


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def check_signature(method, target, headers, body):
    authorization = headers.get("Authorization", "")
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=(.+)/(\d{8})/([^/]+)/s3/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})",
        authorization,
    )
    if not found:
        raise Refused(403, "AccessDenied")
    access, day, region, names, signature = found.groups()
    if access not in state["keys"]:
        raise Refused(403, "InvalidAccessKeyId")
    secret, token = (state["keys"][access], None) if isinstance(state["keys"][access], str) else state["keys"][access]
    if region != state["region"]:
        raise Refused(400, "AuthorizationHeaderMalformed", Region=state["region"])
    stamp = headers["X-Amz-Date"]
    age = time.time() + state["clock"] - calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    if abs(age) > 900:
        raise Refused(403, "RequestTimeTooSkewed")
    payload = headers["X-Amz-Content-Sha256"]
    path, _, query = target.partition("?")
    pairs = sorted(part if "=" in part else part + "=" for part in query.split("&") if part)
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names.split(";"))
    canonical = f"{method}\n{path}\n{'&'.join(pairs)}\n{lines}\n{names}\n{payload}"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{day}/{region}/s3/aws4_request\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = mac(mac(mac(mac(f"AWS4{secret}".encode(), day), region), "s3"), "aws4_request")
    must = {"host", "x-amz-date", "x-amz-content-sha256"} | {n.lower() for n in headers if n.lower().startswith("x-amz-")}
    if mac(key, to_sign).hex() != signature or not must <= set(names.split(";")) or stamp[:8] != day:
        raise Refused(403, "SignatureDoesNotMatch")
    if access in state["expired"]:
        raise Refused(400, "ExpiredToken")
    if headers.get("X-Amz-Security-Token") != token:
        raise Refused(400, "InvalidToken")
    if payload != "UNSIGNED-PAYLOAD" and payload != hashlib.sha256(body).hexdigest():
        raise Refused(400, "XAmzContentSHA256Mismatch")


def list_page(bucket, query):
    prefix, most = query.get("prefix", ""), min(int(query.get("max-keys", 1000)), 1000)
    after = base64.b64decode(query["continuation-token"]).decode() if "continuation-token" in query else ""
    names = sorted(name for name in bucket if name.startswith(prefix) and name > after)
    page, more = names[:most], len(names) > most
    text = "".join(f"<Contents><Key>{escape(n)}</Key><Size>{len(bucket[n])}</Size></Contents>" for n in page)
    if more:
        text += f"<NextContinuationToken>{base64.b64encode(page[-1].encode()).decode()}</NextContinuationToken>"
    return (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{text}</ListBucketResult>"
    )


def remove_many(bucket, body, headers):
    if headers.get("Content-MD5") != base64.b64encode(hashlib.md5(body).digest()).decode():
        raise Refused(400, "InvalidDigest")
    names = [unescape(n) for n in re.findall(r"<Key>(.*?)</Key>", body.decode())]
    if not 0 < len(names) <= 1000:
        raise Refused(400, "MalformedXML")
    for name in names:
        bucket.pop(name, None)
    return '<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></DeleteResult>'


def act(method, target, headers, body):
    """Status, headers and body of the right answer."""
    path, _, query = target.partition("?")
    query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    name, _, key = urllib.parse.unquote(path[1:]).partition("/")
    if method == "PUT" and not key:
        if name in state["buckets"]:
            raise Refused(409, "BucketAlreadyOwnedByYou")
        state["buckets"][name] = {}
        return 200, {}, b""
    if name not in state["buckets"]:
        raise Refused(404, "NoSuchBucket")
    bucket = state["buckets"][name]
    if method == "GET" and not key:
        return 200, {"Content-Type": "application/xml"}, list_page(bucket, query).encode()
    if method == "POST" and "delete" in query:
        return 200, {"Content-Type": "application/xml"}, remove_many(bucket, body, headers).encode()
    if method == "PUT":
        if headers.get("If-None-Match") == "*" and key in bucket:
            raise Refused(412, "PreconditionFailed")
        bucket[key] = body
        return 200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, b""
    if method == "DELETE":
        bucket.pop(key, None)
        return 204, {}, b""
    if key not in bucket:
        raise Refused(404, "NoSuchKey")
    asked = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("Range", ""))
    if asked:
        first, last = int(asked[1]), int(asked[2])
        return 206, {"Content-Range": f"bytes {first}-{last}/{len(bucket[key])}"}, bucket[key][first : last + 1]
    return 200, {}, bucket[key]


Told = registry_double.Handler


class Handler(Told):
    disable_nagle_algorithm = True

    def take_script(self):
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            if "buckets" in told:
                state["buckets"] = {name: {} for name in told["buckets"]}
            for name in ("keys", "region", "clock"):
                state[name] = told.get(name, state[name])
            for name, none in (("expired", []), ("pages", {}), ("faults", [])):
                state[name] = told.get(name, none)
        with registry_double.lock:
            registry_double.log.clear()
        self.reply({})

    def handle_one(self):
        if self.path == "/script":
            return self.take_script()
        if self.path in ("/log", "/connections"):
            return Told.do_GET(self)
        names = "".join(f"|{name.lower()}: {value}" for name, value in self.headers.items())
        with registry_double.lock:
            registry_double.log.append(f"{self.server.server_port} {self.command} {self.path}{names}")
        page = state["pages"].get(self.path.split("?")[0])
        if page:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return self.reply(page.pop(0) if len(page) > 1 else page[0])
        self.serve(self.take_fault())

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one

    def take_fault(self):
        with lock:
            for entry in state["faults"]:
                method, part, answer = entry
                if method == self.command and part in self.path:
                    answer["times"] = answer.get("times", 1) - 1
                    if answer["times"] <= 0:
                        state["faults"].remove(entry)
                    return copy.deepcopy(answer)
        return None

    def date_time_string(self, timestamp=None):
        return formatdate((timestamp or time.time()) + state["clock"], usegmt=True)

    def right_answer(self, body):
        try:
            with lock:
                check_signature(self.command, self.path, self.headers, body)
                return act(self.command, self.path, self.headers, body)
        except Refused as refused:
            return refused.status, {}, error_body(refused.code, **refused.more).encode()

    def serve(self, fault):
        length = int(self.headers.get("Content-Length", 0))
        if fault and "read" in fault:
            self.rfile.read(fault["read"])
            return self.reset()
        body = self.rfile.read(length)
        if fault is None or {"act", "flip", "stall", "drip"} & set(fault):
            status, headers, content = self.right_answer(body)
            if fault is None:
                return self.send(status, headers, content)
            if fault.get("flip"):
                return self.send(status, headers, content[:-1] + bytes([content[-1] ^ 1]))
            if "stall" in fault:
                return self.send(status, headers, content, len(content) // 2, fault["stall"])
            if "drip" in fault:
                return self.send(status, headers, content, 1, fault["drip"])
        if "error" in fault:
            fault["text"] = error_body(fault["error"], **fault.get("more", {}))
        self.reply(fault)

    def send(self, status, headers, content, piece=1 << 20, rest=0):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for at in range(0, len(content), piece):
            time.sleep(rest if at else 0)
            self.wfile.write(content[at : at + piece])


if __name__ == "__main__":
    registry_double.Handler = Handler
    registry_double.main()
