"""A real OpenStack Swift on one node: the Swift API (auth v1) and the S3 API of the same objects, on one free port.

Everything that it keeps, rings and configuration included, lies in a directory of its own. Start it once for a module,
give each test a container of its own (new_container), close it at the end; it is up in two or three seconds.
"""

import getpass
import http.client
import itertools
import json
import os
import urllib.error
import urllib.parse
import urllib.request

from support.base import Daemon, accepts, free_port, new_directory, remove_directory, run

SERVERS = ("account", "container", "object")

# Builds one ring of one device for each server: FOLDER PORT PORT PORT.
RINGS = """
import sys
from swift.common.ring import RingBuilder
for name, port in zip(("account", "container", "object"), sys.argv[2:]):
    builder = RingBuilder(4, 1, 0)
    builder.add_dev(dict(id=0, region=1, zone=1, ip="127.0.0.1", port=int(port), replication_ip="127.0.0.1",
                         replication_port=int(port), device="d1", weight=1.0, meta=""))
    builder.rebalance(seed="1")
    builder.get_ring().save(f"{sys.argv[1]}/{name}.ring.gz")
"""

COMMON = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
workers = 0
swift_dir = {directory}
log_level = WARNING
devices = {directory}/devices
mount_check = false
disable_fallocate = true
{more}
"""

SERVER = """
[pipeline:main]
pipeline = {name}-server

[app:{name}-server]
use = egg:swift#{name}
"""

PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk tempurl ratelimit {filters} copy slo dlo versioned_writes symlink proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true

{sections}

[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}

[filter:healthcheck]
use = egg:swift#healthcheck
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:tempurl]
use = egg:swift#tempurl
[filter:ratelimit]
use = egg:swift#ratelimit
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
[filter:symlink]
use = egg:swift#symlink
"""

# Its own users, and the S3 API, which takes the same ones.
OWN_USERS = """
[filter:tempauth]
use = egg:swift#tempauth
token_life = 86400
{users}

[filter:s3api]
use = egg:swift#s3api
location = {region}
storage_domain = {domain}
max_multi_delete_objects = 1000
s3_acl = false
"""


class Swift:
    """`url` is HTTP to its root: S3 at `url` (region us-east-1; virtual-host style at `s3_host_url`), auth v1 at
    `auth_url`. `user`/`key` owns its account; `stranger`/`stranger_key` is known but may do nothing there; `other` owns
    another account."""

    user, key = "test:tester", "testing"
    stranger, stranger_key = "test:reader", "reading"
    other, other_key = "other:owner", "owning"
    region = "us-east-1"
    domain = "s3.localhost"

    def __init__(self):
        self.directory = new_directory("swift")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.s3_host_url = f"http://{self.domain}:{self.port}"
        self.auth_url = f"{self.url}/auth/v1.0"
        self.ports = {name: free_port() for name in SERVERS}
        self.memcached_port = free_port()
        self.daemons = {}
        self._numbers = itertools.count(1)
        self._configure()
        self.start()

    def _write(self, name, text, port, more=""):
        common = COMMON.format(port=port, user=getpass.getuser(), directory=self.directory, more=more)
        (self.directory / f"{name}.conf").write_text(common + text)

    def _configure(self):
        (self.directory / "devices/d1").mkdir(parents=True)
        (self.directory / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_prefix = tests\nswift_hash_path_suffix = tests\n"
            "[storage-policy:0]\nname = one\ndefault = yes\n"
        )
        run("/usr/bin/python3", "-c", RINGS, self.directory, *self.ports.values())
        for name, port in self.ports.items():
            self._write(f"{name}-server", SERVER.format(name=name), port)
        filters, sections = self._users()
        proxy = PROXY.format(filters=filters, sections=sections, memcached=self.memcached_port)
        self._write("proxy-server", proxy, self.port)

    def _users(self):
        """What stands in the proxy's pipeline to tell who asks, and the sections for it."""
        users = {self.user: f"{self.key} .admin", self.stranger: self.stranger_key, self.other: f"{self.other_key} .admin"}
        lines = "\n".join(f"user_{name.replace(':', '_')} = {words}" for name, words in users.items())
        return "s3api tempauth", OWN_USERS.format(users=lines, region=self.region, domain=self.domain)

    def _server(self, name):
        conf = self.directory / f"{name}.conf"
        return Daemon([f"/usr/bin/swift-{name}", conf, "-v"], self.directory / f"{name}.log", env=self._environment())

    def _environment(self):
        return {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}

    def start(self):
        """Again, after stop: with what it holds."""
        self.daemons["memcached"] = Daemon(
            ["memcached", "-u", getpass.getuser(), "-l", "127.0.0.1", "-p", self.memcached_port, "-U", "0", "-m", "16"],
            self.directory / "memcached.log",
        )
        for name in (*(f"{s}-server" for s in SERVERS), "proxy-server"):
            self.daemons[name] = self._server(name)
        for name in SERVERS:
            self.daemons[f"{name}-server"].wait_until(lambda n=name: accepts(self.ports[n]), f"swift's {name} server")
        self.daemons["memcached"].wait_until(lambda: accepts(self.memcached_port), "memcached")
        self.daemons["proxy-server"].wait_until(self._healthy, "swift's proxy server")

    def _healthy(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
            connection.request("GET", "/healthcheck")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self):
        """All of it, at once; what it holds stays on disk."""
        for daemon in self.daemons.values():
            if daemon.alive():
                daemon.kill()

    def close(self):
        self.stop()
        remove_directory(self.directory)

    # ---- looking in without our own code ----

    def new_container(self):
        """The name of a fresh, empty container (a bucket)."""
        name = f"c{os.getpid()}-{next(self._numbers)}"
        self.request("PUT", name)
        return name

    def token(self, user=None, key=None):
        request = urllib.request.Request(
            self.auth_url, headers={"X-Auth-User": user or self.user, "X-Auth-Key": key or self.key}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return answer.headers["X-Auth-Token"], answer.headers["X-Storage-Url"]

    def request(self, method, path="", body=None, **headers):
        """(status, body) of a request of the Swift API by the account's owner; path is CONTAINER or CONTAINER/NAME, and
        may have a query of quoted values."""
        token, url = self.token()
        path = urllib.parse.quote(path, safe="/?&=%")
        request = urllib.request.Request(f"{url}/{path}", data=body, method=method, headers={"X-Auth-Token": token, **headers})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read()

    def names(self, container, prefix=""):
        """All object names of a container that begin with prefix, sorted."""
        found = []
        while True:
            query = urllib.parse.urlencode({"format": "json", "prefix": prefix, "marker": found[-1] if found else ""})
            status, body = self.request("GET", f"{container}?{query}")
            page = json.loads(body) if status == 200 else []
            if not page:
                return found
            found += [entry["name"] for entry in page]
