"""A real registry (docker-registry) on a free port, open, with basic authentication or with bearer tokens."""

import shutil

from support.base import Daemon, accepts, free_port, new_directory, remove_directory, run
from support.token_server import TokenServer

USER, PASSWORD = "tester", "s3cret"


class Registry:
    """auth: None, "basic" or "token"; both accept USER with PASSWORD. `host` is HOST:PORT, the start of a reference."""

    def __init__(self, auth=None):
        self.directory = new_directory("registry")
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.auth = auth
        self.tokens = TokenServer(self.directory, USER, PASSWORD) if auth == "token" else None
        self.daemon = None
        (self.directory / "config.yaml").write_text(self._configuration())
        self.start()

    def _configuration(self):
        text = (
            "version: 0.1\n"
            "log: {level: warn}\n"
            f"storage: {{filesystem: {{rootdirectory: {self.directory}/data}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: '{self.host}'}}\n"
        )
        if self.auth == "basic":
            htpasswd = run("htpasswd", "-Bbn", USER, PASSWORD).stdout
            (self.directory / "htpasswd").write_text(htpasswd)
            text += f"auth: {{htpasswd: {{realm: test, path: {self.directory}/htpasswd}}}}\n"
        if self.auth == "token":
            text += (
                f"auth: {{token: {{realm: '{self.tokens.url}', service: registry, issuer: tester, "
                f"rootcertbundle: {self.tokens.certificate}}}}}\n"
            )
        return text

    def start(self):
        self.daemon = Daemon(
            ["docker-registry", "serve", self.directory / "config.yaml"], self.directory / "registry.log"
        )
        self.daemon.wait_until(lambda: accepts(self.port), "docker-registry")

    def stop(self):
        """May be started again with what it holds."""
        self.daemon.kill()

    def close(self):
        self.daemon.kill()
        if self.tokens:
            self.tokens.close()
        remove_directory(self.directory)

    def push(self, image, name):
        """Pushes an image of tiny as NAME:TAG; returns the whole reference."""
        import tiny

        auth = None
        if self.auth == "basic":
            auth = (USER, PASSWORD)
        if self.auth == "token":
            auth = self.tokens.token(tiny.split_reference(f"x/{name}")[1], ["pull", "push"])
        tiny.push(image, f"{self.host}/{name}", auth)
        return f"{self.host}/{name}"

    def push_layout(self, layout, name, *options):
        """Pushes an OCI layout on disk (PATH:TAG) with skopeo, as it is unless options say otherwise."""
        if not options:
            options = ["--preserve-digests"]
        if self.auth:
            options = [*options, "--dest-creds", f"{USER}:{PASSWORD}"]
        run("skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", *options,
            f"oci:{layout}", f"docker://{self.host}/{name}", timeout=300)  # fmt: skip
        return f"{self.host}/{name}"

    def forget_everything(self):
        """Blobs and manifests gone, as after a garbage collection."""
        self.stop()
        shutil.rmtree(self.directory / "data", ignore_errors=True)
        self.start()
