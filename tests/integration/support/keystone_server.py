#!/usr/bin/python3
"""OpenStack Keystone as Debian has it, in one process: tables, first administrator, and the service on 127.0.0.1.

    python3 -I keystone_server.py KEYSTONE.CONF PORT ADMIN-PASSWORD

keystone-manage twice and then a web server would do the same in twelve seconds, most of them for loading the same
modules three times; here they are loaded once, and each step is a child that begins where that is done. What has been
made before is kept, so it can be started again in the same directory.

A line goes to standard output for every token that is asked for, "auth WHO STATUS", where WHO is the name of the user or the id or name of the
application credential; PUT /_life/SECONDS sets how long the tokens live that are given out from now on.
"""

import io
import json
import os
import socketserver
import sqlite3
import sys
import wsgiref.simple_server
from pathlib import Path

from keystone.cmd import cli
from keystone.server.flask import core
from oslo_config import cfg


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):
        """Without the base class's look-up of our own name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]
        self.setup_environ()


class Handler(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        pass


def in_child(*words):
    """keystone-manage WORDS; ends this process if it fails."""
    child = os.fork()
    if child == 0:
        cli.main(argv=["keystone-manage", "--config-file", sys.argv[1], *words])
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(f"keystone-manage {words[0]} failed")


def asker(body):
    """Who asks for a token by this request; "?" if it cannot be told."""
    try:
        identity = json.loads(body)["auth"]["identity"]
        credential = identity.get("application_credential")
        return credential.get("id") or credential["name"] if credential else identity["password"]["user"]["name"]
    except (ValueError, KeyError, AttributeError):
        return "?"


def observed(keystone):
    def application(environ, start_response):
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if method == "PUT" and path.startswith("/_life/"):
            cfg.CONF.set_override("expiration", int(path.rsplit("/", 1)[1]), "token")
            start_response("204 No Content", [])
            return [b""]
        if method != "POST" or path != "/v3/auth/tokens":
            return keystone(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)

        def noting(status, headers, *more):
            print(f"auth {asker(body)} {status[:3]}", flush=True)
            return start_response(status, headers, *more)

        return keystone(environ, noting)

    return application


def main():
    conf, port, password = sys.argv[1:]
    in_child("db_sync")
    # Keystone reads by one connection while it writes by another: without a log SQLite has each wait for the other.
    with sqlite3.connect(Path(conf).with_name("keystone.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
    own = f"http://127.0.0.1:{port}/v3"  # authtoken looks for the second
    urls = ("--bootstrap-public-url", own, "--bootstrap-internal-url", own, "--bootstrap-region-id", "identity")
    in_child("bootstrap", "--bootstrap-password", password, *urls)
    sys.argv[1:] = []
    keystone = core.initialize_application("public", config_files=[conf])
    with wsgiref.simple_server.make_server("127.0.0.1", int(port), observed(keystone), Server, Handler) as server:
        server.serve_forever()


main()
