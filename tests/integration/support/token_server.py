"""The server that gives out bearer tokens for a registry (the Distribution token specification), for one user.

GET /token?service=S&scope=repository:NAME:ACTIONS with basic authentication -> {"token": JWT}. Without credentials a
token for nothing comes back, with wrong ones 401. Every request is kept in `requests`.
"""

import base64
import datetime
import json
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class TokenServer:
    def __init__(self, directory, user, password, lifetime=300):
        self.certificate = directory / "token.pem"
        self.lifetime = lifetime
        self.requests = []
        self._expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._make_certificate()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server._answer(self)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/token"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()

    def token(self, name, actions):
        return self._sign([{"type": "repository", "name": name, "actions": actions}])

    def _make_certificate(self):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tester")])
        now = datetime.datetime.utcnow()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._der = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()

    def _sign(self, access):
        now = int(time.time())
        claims = {
            "iss": "tester",
            "sub": "tester",
            "aud": "registry",
            "iat": now,
            "nbf": now - 10,
            "exp": now + self.lifetime,
            "jti": str(len(self.requests)),
            "access": access,
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"x5c": [self._der]})

    def _answer(self, request):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)
        given = request.headers.get("Authorization")
        self.requests.append({"scope": query.get("scope", []), "service": query.get("service"), "authorization": given})
        if given not in (None, self._expected):
            request.send_response(401)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        access = []
        for scope in query.get("scope", []) if given else []:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        body = json.dumps({"token": self._sign(access), "expires_in": self.lifetime}).encode()
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
