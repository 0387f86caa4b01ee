"""deploy/local/up and down: one machine, one command, and no state that they cannot start from again."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from support.base import BIN, ROOT, new_directory, remove_directory, run, wait_until
from support.installation import SERVICES

UP, DOWN = ROOT / "deploy/local/up", ROOT / "deploy/local/down"


@pytest.fixture
def place():
    """A directory for installations. What still runs below it when the test ends is stopped."""
    path = new_directory("local")
    path.chmod(0o777)
    yield path
    for marker in list(path.glob("**/.stowage-local")):
        subprocess.run([DOWN, "--dir", marker.parent, "--purge"], timeout=120, check=False)
    remove_directory(path)


def up(directory, *options, prefix=(), check=True):
    """Output goes to files: what stays in the background must not hold the test's pipes open."""
    with open(f"{directory}.out", "w+") as out, open(f"{directory}.err", "w+") as err:
        command = [*prefix, UP, "--dir", directory, "--bin", BIN, *options]
        done = subprocess.run([str(w) for w in command], stdout=out, stderr=err, timeout=120, check=False)
        out.seek(0), err.seek(0)
        done.stdout, done.stderr = out.read(), err.read()
    if check:
        assert done.returncode == 0, done.stderr
    return done


def pids(directory):
    """Of what runs below directory, by command line."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"\0{directory}/" in command and f"--dir\0{directory}" not in command:
            found[int(entry.name)] = command.replace("\0", " ").strip()
    return found


def state_of(pid):
    """One letter, of a process that has not been waited for too; "" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def status(config):
    return run(BIN / "stowage", "--config", config, "--json", "status", timeout=30)


def test_up_prints_the_configuration_and_all_answer(place):
    done = up(place / "a", "--workers", "2")
    assert done.stdout == f"{place}/a/stowage.yaml\n"
    assert os.stat(place / "a/stowage.yaml").st_mode & 0o777 == 0o600
    for name in [*SERVICES, "worker-1", "worker-2", "postgres"]:
        assert (place / f"a/run/{name}.pid").exists()
    told = json.loads(status(place / "a/stowage.yaml").stdout)
    assert len(told["queue"]["workers"]) == 2  # up waits for them too
    run(DOWN, "--dir", place / "a")
    assert pids(place / "a") == {}
    assert (place / "a/pg").exists()


def test_what_is_made_is_for_nobody_else(place):
    up(place / "a", "--workers", "1")
    postgres = place / "a/run/pg"  # closed as a whole; its socket is open to all by PostgreSQL's own rule
    assert postgres.stat().st_mode & 0o777 == 0o700
    open_to_others = {
        str(path.relative_to(place)): oct(path.lstat().st_mode)
        for path in [place / "a", *(place / "a").rglob("*")]
        if postgres not in path.parents and path.lstat().st_mode & (0o066 if path.is_dir() else 0o077)
    }
    assert open_to_others == {}
    # On the way to PostgreSQL, which root runs as another user, there is passage but no view.
    passable = {path.name for path in (place / "a").rglob("*") if path.is_dir() and path.lstat().st_mode & 0o011}
    assert passable <= ({"run"} if os.getuid() == 0 else set())


def test_up_again_leaves_what_runs_and_starts_what_is_missing(place):
    up(place / "a")
    before = pids(place / "a")
    assert up(place / "a").stdout == f"{place}/a/stowage.yaml\n"
    assert pids(place / "a") == before
    victim = next(pid for pid, command in before.items() if "/catalog " in command)
    os.kill(victim, signal.SIGKILL)
    up(place / "a", "--workers", "2")
    after = pids(place / "a")
    assert victim not in after
    assert set(before) - {victim} <= set(after)
    assert sum("/analyzer-worker " in command for command in after.values()) == 2


def test_everything_killed_comes_up_again_with_its_data(place):
    config = place / "a/stowage.yaml"
    up(place / "a")
    secret = yaml.safe_load(config.read_text())["cluster_secret"]
    run(BIN / "stowage", "--config", config, "account", "add", "kept", timeout=30)
    for pid in pids(place / "a"):
        os.kill(pid, signal.SIGKILL)
    up(place / "a")
    assert yaml.safe_load(config.read_text())["cluster_secret"] == secret
    assert "kept" in run(BIN / "stowage", "--config", config, "--json", "account", "ls", timeout=30).stdout


def test_a_stale_process_id_is_not_believed(place):
    up(place / "a")
    run(DOWN, "--dir", place / "a")
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        (place / "a/run/catalog.pid").write_text(f"{sleeper.pid} 1\n")
        up(place / "a")
        run(DOWN, "--dir", place / "a")
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_two_side_by_side_know_nothing_of_each_other(place):
    for name in ("a", "b"):
        up(place / name)
    run(DOWN, "--dir", place / "a", "--purge")
    assert not (place / "a").exists()
    status(place / "b/stowage.yaml")


def test_a_path_too_long_for_sockets_works(place):
    directory = place / ("long" * 30)
    up(directory)
    sockets = (directory / "run/sockets").read_text().strip()
    status(directory / "stowage.yaml")
    run(DOWN, "--dir", directory, "--purge")
    assert not os.path.exists(sockets)


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user needs root")
def test_an_ordinary_user_can(place):
    nobody = ("runuser", "-u", "nobody", "--")
    if subprocess.run([*nobody, "test", "-x", BIN / "catalog"], check=False).returncode != 0:
        pytest.skip("nobody may not read this checkout")
    up(place / "a", prefix=nobody)
    run(*nobody, BIN / "stowage", "--config", place / "a/stowage.yaml", "--json", "status", timeout=30)
    owners = {os.stat(f"/proc/{pid}").st_uid for pid in pids(place / "a")}
    assert 0 not in owners
    run(*nobody, DOWN, "--dir", place / "a", "--purge")
    assert pids(place / "a") == {}


@pytest.mark.skipif(os.getuid() != 0, reason="only root has a home directory that PostgreSQL's user cannot enter")
def test_root_may_use_a_directory_that_others_cannot_enter(place):
    (place / "closed").mkdir(mode=0o700)
    up(place / "closed/a")
    status(place / "closed/a/stowage.yaml")


def test_extra_configuration_is_merged_over_and_a_bad_one_stops_everything(place):
    extra = place / "extra.yaml"
    extra.write_text("catalog: {lease: 7s}\n")
    up(place / "a", "--config", extra)
    other = up(place / "a", check=False)
    assert (other.returncode, other.stdout) == (1, "")
    assert "another --config" in other.stderr
    run(DOWN, "--dir", place / "a")

    extra.write_text("catalog: {no_such_key: 1}\n")
    bad = up(place / "a", "--config", extra, check=False)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "no_such_key" in bad.stderr and "catalog" in bad.stderr
    wait_until(lambda: pids(place / "a") == {}, "everything to be stopped", 20)


def test_wrong_usage_says_so(place):
    (place / "other").mkdir()
    (place / "other/file").write_text("mine")
    assert "not empty" in up(place / "other", check=False).stderr
    assert up(place / "a", "--workers", "two", check=False).returncode == 1
    assert up(place / "a", "--nonsense", "1", check=False).returncode == 2
    nothing = run(DOWN, "--dir", place / "other", "--purge", check=False)
    assert nothing.returncode == 1 and (place / "other/file").exists()


def test_what_has_nothing_to_do_ends_at_once(place):
    up(place / "a")
    time.sleep(0.5)  # the last answer has left
    took = {}
    for name in ("worker-1", *SERVICES):
        pid = int((place / f"a/run/{name}.pid").read_text().split()[0])
        began = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: state_of(pid) in ("Z", ""), f"the end of {name}", every=0.01)
        took[name] = time.monotonic() - began
    assert all(seconds < 1 for seconds in took.values()), took  # 0.2 s without sanitizers


def test_down_does_not_wait_longer_than_it_must(place):
    up(place / "a", "--workers", "2")
    started = time.monotonic()
    run(DOWN, "--dir", place / "a")
    assert time.monotonic() - started < 20
