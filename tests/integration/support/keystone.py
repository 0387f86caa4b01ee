"""A real OpenStack Keystone, and a real Swift that asks it who is who.

Start both once for a module; Keystone is up in three to five seconds, its Swift in two or three more. There is one
project of interest, `project`, whose object store is offered in two regions and at several interfaces. All of them are
the same Swift, but each is an account of its own there (ACCOUNTS), so that the place where something came to lie tells
which entry of the catalog was taken.
"""

import base64
import json
import os
import time
import urllib.error
import urllib.request

from support.base import ROOT, Daemon, free_port, new_directory, remove_directory, run
from support.swift import Swift

CONF = """
[DEFAULT]
use_stderr = true
[fernet_tokens]
key_repository = {directory}/keys
[credential]
key_repository = {directory}/keys
[identity]
password_hash_rounds = 4
[database]
connection = sqlite:///{directory}/keystone.db
sqlite_synchronous = false
[cache]
enabled = true
backend = dogpile.cache.memory
"""

# Tokens are asked for at every request: one that is revoked is refused at once.
KEYSTONE_USERS = """
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {auth_url}
auth_url = {auth_url}
auth_type = password
project_domain_id = default
user_domain_id = default
project_name = service
username = swift
password = {password}
delay_auth_decision = true
include_service_catalog = false
token_cache_time = -1
http_request_max_retries = 0

[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
project_reader_roles = reader
reseller_prefix = {prefixes}
"""

# (region, interface): what its accounts' names begin with.
ACCOUNTS = {
    ("north", "public"): "AUTH_",
    ("north", "internal"): "INSIDE_",
    ("north", "admin"): "OFFICE_",
    ("south", "public"): "SOUTH_",
    ("south", "internal"): "DEEP_",
}


def ask(method, url, body=None, **headers):
    """(status, headers, JSON or None)"""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json", **headers})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            text = answer.read()
            return answer.status, answer.headers, json.loads(text) if text else None
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.headers, json.loads(refusal.read() or b"null")


class Keystone:
    """`member` may do everything in `project`, `reader` only read, `outsider` has no role there; the password of each is
    the name with "-secret" behind. In the domain `firm` there are a user and a project of the same names, with "-firm"."""

    project, member, reader, outsider, firm = "work", "demo", "reader", "outsider", "Firm"

    def __init__(self):
        self.directory = new_directory("keystone")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.auth_url = f"{self.url}/v3"
        self.admin_password, self.admin_token = "admin-secret", None
        self._configure()
        self.start()

    def _configure(self):
        (self.directory / "keystone.conf").write_text(CONF.format(directory=self.directory))
        (self.directory / "keys").mkdir(mode=0o700)
        for number in range(2):  # the one to come, and the one in use
            (self.directory / f"keys/{number}").write_bytes(base64.urlsafe_b64encode(os.urandom(32)))

    def start(self):
        """Again, after stop: with what it knows."""
        server = ROOT / "tests/integration/support/keystone_server.py"
        self.daemon = Daemon(
            ["/usr/bin/python3", "-I", server, self.directory / "keystone.conf", self.port, self.admin_password],
            self.directory / "keystone.log",
        )
        self.daemon.wait_until(self._answers, "keystone", seconds=60)

    def _answers(self):
        try:
            return ask("GET", self.auth_url)[0] == 200
        except OSError:
            return False

    def stop(self):
        if self.daemon.alive():
            self.daemon.kill()

    def close(self):
        self.stop()
        remove_directory(self.directory)

    # ---- what it is told ----

    def token(self, user, password, project, domain="default"):
        """For a project in the domain of the user."""
        scope = {"project": {"name": project, "domain": {"id": domain}}}
        who = {"name": user, "domain": {"id": domain}, "password": password}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": scope}}
        status, headers, answer = ask("POST", f"{self.auth_url}/auth/tokens", body)
        assert status == 201, answer
        return headers["X-Subject-Token"]

    def call(self, method, path, body=None, token=None):
        """As the administrator, or by a token; what it answers."""
        self.admin_token = self.admin_token or self.token("admin", self.admin_password, "admin")
        headers = {"X-Auth-Token": token or self.admin_token}
        status, _, answer = ask(method, f"{self.auth_url}/{path}", body, **headers)
        assert status in (200, 201, 204), (status, answer)
        return answer

    def make(self, kind, **what):
        return self.call("POST", f"{kind}s", {kind: what})[kind]["id"]

    def grant(self, user, project, role):
        (found,) = self.call("GET", f"roles?name={role}")["roles"]
        self.call("PUT", f"projects/{project}/users/{user}/roles/{found['id']}")

    def populate(self, swift):
        """Everything that the tests ask for; the catalog leads to swift, a URL."""
        self.project_id = self.make("project", name=self.project, domain_id="default")
        self.ids = {}
        for name, role in ((self.member, "member"), (self.reader, "reader"), (self.outsider, None)):
            self.ids[name] = self.make("user", name=name, password=f"{name}-secret", domain_id="default")
            if role:
                self.grant(self.ids[name], self.project_id, role)
        self.firm_id = self.make("domain", name=self.firm)
        self.firm_project_id = self.make("project", name=self.project, domain_id=self.firm_id)
        user = self.make("user", name=self.member, password=f"{self.member}-firm", domain_id=self.firm_id)
        self.grant(user, self.firm_project_id, "member")
        self._offer(swift)

    def _offer(self, swift):
        user = self.make("user", name="swift", password=self.admin_password, domain_id="default")
        self.grant(user, self.make("project", name="service", domain_id="default"), "admin")
        service = self.make("service", type="object-store", name="swift")
        for region in sorted({region for region, _ in ACCOUNTS}):
            self.make("region", id=region)
        for (region, interface), prefix in ACCOUNTS.items():
            url = f"{swift}/v1/{prefix}%(project_id)s"
            self.make("endpoint", service_id=service, region_id=region, interface=interface, url=url)

    def new_credential(self, name):
        """(id, secret) of an application credential of the member's."""
        token = self.token(self.member, f"{self.member}-secret", self.project)
        path = f"users/{self.ids[self.member]}/application_credentials"
        made = self.call("POST", path, {"application_credential": {"name": name}}, token)["application_credential"]
        return made["id"], made["secret"]

    def drop_credential(self, number):
        token = self.token(self.member, f"{self.member}-secret", self.project)
        self.call("DELETE", f"users/{self.ids[self.member]}/application_credentials/{number}", token=token)

    def revoke_tokens(self, name):
        """All that this user has. Those of the same second are meant, too, even if they are asked for afterwards, so
        that second is waited for."""
        for enabled in (False, True):
            self.call("PATCH", f"users/{self.ids[name]}", {"user": {"enabled": enabled}})
        time.sleep(1.05)

    def set_life(self, seconds):
        """Of tokens that are given out from now on."""
        assert ask("PUT", f"{self.url}/_life/{seconds}")[0] == 204

    def askings(self, who):
        """The statuses of all answers to who asked for a token: the name of a user or the id of a credential."""
        lines = (line.split() for line in self.daemon.log.read_text(errors="replace").splitlines())
        return [int(words[2]) for words in lines if len(words) == 3 and words[:2] == ["auth", who]]


class KeystoneSwift(Swift):
    """What it inherits acts as the member, in the account that the region north and the interface public lead to."""

    def __init__(self, keystone):
        self.keystone = keystone
        super().__init__()
        try:
            keystone.populate(self.url)
        except BaseException:
            self.close()
            raise

    def _users(self):
        prefixes = ", ".join(prefix.rstrip("_") for prefix in ACCOUNTS.values())
        keystone = self.keystone
        sections = KEYSTONE_USERS.format(auth_url=keystone.url, password=keystone.admin_password, prefixes=prefixes)
        return "authtoken keystoneauth", sections

    def token(self, user=None, key=None):
        keystone = self.keystone
        token = keystone.token(user or keystone.member, key or f"{keystone.member}-secret", keystone.project)
        return token, f"{self.url}/v1/{ACCOUNTS['north', 'public']}{keystone.project_id}"

    def client(self, *words, region="north", interface="public"):
        """What Swift's own command line says, which looks into the catalog by itself; None if it fails."""
        keystone = self.keystone
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("OS_", "ST_"))},
            "OS_AUTH_URL": keystone.auth_url,
            "OS_IDENTITY_API_VERSION": "3",
            "OS_USERNAME": keystone.member,
            "OS_PASSWORD": f"{keystone.member}-secret",
            "OS_PROJECT_NAME": keystone.project,
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_REGION_NAME": region,
            "OS_ENDPOINT_TYPE": f"{interface}URL",
        }
        done = run("swift", *words, env=environment, timeout=30, check=False)
        return done.stdout if done.returncode == 0 else None
