"""The figures that a user feels: add to analysed, again, one more layer, memory, stored bytes; beside a limit and a peer.

    STOWAGE_BIN=build/release/bin python3 tests/bench/end_to_end.py [--layer-bench PROGRAM] [--rounds N]
                                                                    [--skip-trivy] [--skip-manyfiles]

Everything runs on this machine: a docker-registry, and for each figure that must start cold a fresh installation
(deploy/local/up) with one worker. Times are those of the command line, from its start to its end, so they hold the
start of a process and the wait for the answer. Memory is the sum of the resident sets of the worker and its children,
sampled every 20 ms; pages that they share count twice.

The limit is layer_bench: one thread that inflates the same blobs with ISA-L and computes SHA-256 of both sides.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/integration"), str(ROOT / "tests/images")]

from support.base import run  # noqa: E402
from support.installation import Installation  # noqa: E402
from support.registry import Registry  # noqa: E402
from tiny import Blob, image, layer, push  # noqa: E402

MIB = 1 << 20
VARIANTS = 20


def show(name, value, limit=""):
    print(f"  {name:<58} {value:>12}  {limit}", flush=True)


def seconds(value):
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def size(value):
    return f"{value / 1024:.1f} KiB" if value < MIB else f"{value / MIB:.1f} MiB"


def verdict(value, limit, text):
    return f"{text}: {'holds' if value <= limit else 'MISSED'}"


# The images --------------------------------------------------------------------------------------------------------


def build(name):
    done = subprocess.run([ROOT / "tests/images/build", name], stdout=subprocess.PIPE, text=True, check=False)
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def read_layout(directory):
    """The image of an OCI layout with blobs, as tiny has them, but without reading the layers."""
    blob = lambda digest: directory / "blobs/sha256" / digest.partition(":")[2]  # noqa: E731
    index = json.loads((directory / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text())
    config = json.loads(blob(manifest["config"]["digest"]).read_text())
    layers = [
        Blob(b"", media_type=each["mediaType"], digest=each["digest"], size=each["size"], diff_id=diff_id)
        for each, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"])
    ]
    return layers, [blob(each["digest"]) for each in manifest["layers"]]


def push_on_top(registry, name, known, added, label):
    """An image of layers that the repository has, one that it has not, and a label that makes it another image."""
    made = image([*known, *added], labels={"label": label})
    push(replace(made, layers=tuple(made.layers[len(known) :])), f"{registry.host}/{name}")
    return f"{registry.host}/{name}"


# Memory ------------------------------------------------------------------------------------------------------------


def family(pid):
    """A process and all below it."""
    members = [pid]
    for member in members:
        try:
            for task in os.listdir(f"/proc/{member}/task"):
                members += [int(child) for child in Path(f"/proc/{member}/task/{task}/children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            pass
    return members


def resident(pid):
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0


class Peak:
    """with Peak(pid) as peak: ...; then peak.bytes."""

    def __init__(self, pid):
        self.pid, self.bytes, self._over = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self):
        while not self._over.is_set():
            self.bytes = max(self.bytes, sum(map(resident, family(self.pid))))
            self._over.wait(0.02)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


# Measuring ---------------------------------------------------------------------------------------------------------


def timed(call):
    started = time.monotonic()
    result = call()
    return time.monotonic() - started, result


def add(stowage, reference, *options):
    """Seconds from add to analysed. The command itself fails when the analysis does."""
    return timed(lambda: stowage("image", "add", reference, "--wait", *options, timeout=600))[0]


def stored(stowage):
    stats = stowage("store", "stats")
    return sum(each["stored_bytes"] for each in _stores(stats) if each.get("store", "object_store") == "object_store")


def _stores(stats):
    for name in ("stores", "items"):
        if isinstance(stats, dict) and name in stats:
            return stats[name]
    return stats if isinstance(stats, list) else [stats]


def database_bytes(stowage):
    return int(stowage.psql("select pg_database_size('stowage')")[0][0])


def baseline(program, blobs):
    """Seconds of one thread for inflating all blobs and SHA-256 of both sides: the sum of what layer_bench says."""
    return sum(json.loads(run(program, blob, timeout=600).stdout)["baseline_s"] for blob in blobs)


def trivy_seconds(reference):
    """(bare start, SBOM of the same reference), or None where Trivy is not to be had."""
    directory = build("trivy")
    if not directory:
        return None
    environment = {**os.environ, "HOME": "/nonexistent"}
    start, _ = timed(lambda: run(directory / "trivy", "--version", env=environment))
    command = [directory / "trivy", "image", "-q", "--image-src", "remote", "--insecure", "--offline-scan",
               "--skip-java-db-update", "--format", "cyclonedx", "--output", "/dev/null", reference]  # fmt: skip
    with tempfile.TemporaryDirectory() as copy:  # of its cache as it was built: every run is cold
        run("cp", "-r", directory / "cache", copy)
        took, _ = timed(lambda: run(*command, "--cache-dir", f"{copy}/cache", env=environment, timeout=600))
    return start, took


def one_cold(reference):
    """Seconds from add to analysed in an installation that knows nothing."""
    with Installation(workers=1) as stowage:
        return add(stowage, reference)


def cold_figures(reference, blobs, options):
    """Each figure is the median of some rounds, in which it and its peers take turns."""
    colds, limits, peers = [], [], []
    for _ in range(options.rounds):
        colds.append(one_cold(reference))
        if options.layer_bench:
            limits.append(baseline(options.layer_bench, blobs))
        if not options.skip_trivy:
            peers.append(trivy_seconds(reference))
    cold = statistics.median(colds)
    if limits:
        limit = statistics.median(limits)
        show("inflate + SHA-256 of both sides, one thread", seconds(limit))
        ratio = cold / limit
        show("add to analysed, cold", seconds(cold), verdict(ratio, 1.5, f"{ratio:.2f} of that, at most 1.5"))
    else:
        show("add to analysed, cold", seconds(cold))
    show("  each of the rounds", " ".join(f"{each:.2f}" for each in colds))
    if not options.skip_trivy:
        show_trivy(peers, cold)


def big_image(registry, options):
    directory = build("big")
    layers, blobs = read_layout(directory)
    reference = registry.push_layout(f"{directory}:latest", "bench/big:1")
    print(f"\nAn image of {len(layers)} layers, {size(sum(each.size for each in layers))} compressed:")

    cold_figures(reference, blobs, options)
    with Installation(workers=1) as stowage:
        worker = stowage.pid("worker-1")
        show("memory of the worker at rest", size(resident(worker)))
        before = database_bytes(stowage)
        with Peak(worker) as peak:
            add(stowage, reference)
        show("memory while it was analysed", size(peak.bytes), verdict(peak.bytes, 128 * MIB, "under 128 MiB"))
        first = stored(stowage)
        grown = database_bytes(stowage) - before

        show("the same reference added again", seconds(min(add(stowage, reference) for _ in range(5))))
        forced = min(add(stowage, reference, "--force") for _ in range(5))
        show("  analysed again by force, all layers known", seconds(forced), verdict(forced, 0.1, "under 100 ms"))
        known = min(
            add(stowage, push_on_top(registry, f"bench/big:known-{n}", layers, [], f"known {n}")) for n in range(5)
        )
        show("another image of the same layers", seconds(known), verdict(known, 0.1, "under 100 ms"))
        top = min(
            add(stowage, push_on_top(registry, f"bench/big:top-{n}", layers, [small_layer(f"top{n}")], f"top {n}"))
            for n in range(5)
        )
        show("one new small layer on top", seconds(top), verdict(top, 0.3, "under 300 ms"))

        show("bytes stored for the first image", size(first), f"the database grew by {size(grown)}")
        before, database = stored(stowage), database_bytes(stowage)
        for n in range(VARIANTS):
            add(stowage, push_on_top(registry, f"bench/big:v{n}", layers, [small_layer(f"v{n}")], f"variant {n}"))
        each = (stored(stowage) - before) / VARIANTS
        rows = (database_bytes(stowage) - database) / VARIANTS
        show(f"bytes stored for each of {VARIANTS} variants", size(each), f"the database grew by {size(rows)} each")


def show_trivy(rounds, cold):
    if None in rounds:
        show("Trivy 0.68.2 for the same reference", "not available")
        return
    start, took = (statistics.median(each) for each in zip(*rounds, strict=True))
    ratio = cold / took
    show("Trivy 0.68.2 for the same reference", seconds(took), f"of which its bare start {seconds(start)}")
    show("  each of the rounds", " ".join(f"{each:.2f}" for _, each in rounds))
    show("  ours of that", f"{ratio:.2f}", verdict(ratio, 1 / 3, "under a third"))


def small_layer(name):
    return layer({f"srv/{name}/package.json": json.dumps({"name": name, "version": "1.0.0"}), f"srv/{name}/x": name})


def many_files(registry):
    directory = build("manyfiles")
    layers, _ = read_layout(directory)
    reference = registry.push_layout(f"{directory}:latest", "bench/manyfiles:1")
    print(f"\nAn image of 3,000,000 empty files in one layer, {size(layers[0].size)} compressed:")
    with Installation(workers=1) as stowage:
        with Peak(stowage.pid("worker-1")) as peak:
            took = add(stowage, reference)
        show("add to analysed, cold", seconds(took))
        show("memory while it was analysed", size(peak.bytes), verdict(peak.bytes, 128 * MIB, "under 128 MiB"))
        show("bytes stored", size(stored(stowage)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--layer-bench", type=Path)
    parser.add_argument("--rounds", type=int, default=3, help="of which the cold figures are medians")
    parser.add_argument("--skip-trivy", action="store_true")
    parser.add_argument("--skip-manyfiles", action="store_true")
    options = parser.parse_args()
    registry = Registry()
    try:
        big_image(registry, options)
        if not options.skip_manyfiles:
            many_files(registry)
    finally:
        registry.close()


if __name__ == "__main__":
    main()
