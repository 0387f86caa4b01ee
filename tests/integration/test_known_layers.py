"""What a worker remembers of known layers changes how long an analysis takes, and nothing else.

Images from a few layers that hide one another's packages in many ways are analysed by a worker that remembers, twice each,
and by one that may remember nothing: the objects that come of it are the same, byte for byte.
"""

import random

import pytest
from support.installation import Installation
from tiny import OPAQUE, WHITEOUT, dpkg, image, layer, npm, os_release, push

IMAGES = 16
SEED = 11


def layers():
    """They make sense in any order; the last ones are small, as what is built on a base is."""
    return [
        layer({**dpkg([("libc6", "2.36-9"), ("bash", "5.2")]), **os_release("debian", "12")}),
        layer({**npm("left", "1.0.0", "srv"), **npm("right", "1.0.0", "srv"), "z": "z"}),
        layer({**npm("left", "2.0.0", "srv"), **os_release("debian", "13", path="usr/lib/os-release")}),
        layer({"srv": OPAQUE, **npm("only", "1.0.0", "srv")}),
        layer({"srv/right": WHITEOUT, "etc/os-release": WHITEOUT}),
        layer({"srv/left": "a file, where a directory was"}),
        layer({**dpkg([("libc6", "2.36-10")])}),
        layer({"var/lib/dpkg": OPAQUE, "srv/broken/package.json": "{"}),
        layer({"unrelated": "x"}),
    ]


def stacks():
    rng = random.Random(SEED)
    pool = layers()
    base = pool[:3]
    for number in range(IMAGES):
        if number % 2:
            yield number, [*base[: rng.randint(1, 3)], *rng.sample(pool[3:], rng.randint(0, 4))]
        else:
            yield number, rng.sample(pool, rng.randint(1, len(pool)))


def what_came_of_it(stowage, reference):
    about = stowage("image", "get", reference)
    about = about.get("image", about)
    assert about["status"] == "analysed", about
    listed = stowage("store", "object", "ls", "object_store", "images", "--prefix", about["digest"].partition(":")[2])
    objects = {each["key"]: each["sha256"] for each in listed["items"]}
    assert len(objects) == 3, listed
    return objects, about.get("distribution"), about.get("incomplete")


@pytest.fixture(scope="module")
def pair():
    forgetful = {"analyzer_worker": {"document_cache_megabytes": 0}}
    with Installation(workers=1) as remembers, Installation(workers=1, config=forgetful) as forgets:
        yield remembers, forgets


def test_results_are_the_same_whatever_the_worker_remembers(pair, registry, unique):
    remembers, forgets = pair
    for number, stack in stacks():
        reference = f"{registry.host}/{unique}:{number}"
        push(image(stack), reference)
        for stowage in pair:
            stowage("image", "add", reference, "--wait")
        first = what_came_of_it(remembers, reference)
        assert first == what_came_of_it(forgets, reference), number
        remembers("image", "add", reference, "--force", "--wait")
        assert first == what_came_of_it(remembers, reference), number


def test_an_image_on_a_remembered_base_needs_none_of_its_documents(pair, registry, unique):
    """Both lose the base's documents; only who remembers them can still analyse an image upon it."""
    base = [*layers()[1:3], layer({"srv/own": unique})]
    names = [each.digest.partition(":")[2] for each in base]
    references = [f"{registry.host}/{unique}:{name}" for name in ("base", "upon")]
    push(image(base), references[0])
    push(image([*base, layer({"srv/left": WHITEOUT})]), references[1])
    for stowage in pair:
        stowage("image", "add", references[0], "--wait")
        for each in stowage("store", "object", "ls", "object_store", "layers")["items"]:
            if each["key"].split("/")[1] == names[2]:
                stowage("store", "object", "rm", "--force", "object_store", "layers", each["key"])
    remembers, forgets = pair
    remembers("image", "add", references[1], "--wait")
    remembers("image", "add", references[0], "--force", "--wait")
    packages = remembers("image", "content", references[1], "npm")["items"]
    assert [each["name"] for each in packages] == ["right"]
    assert forgets.fails("image", "add", references[1], "--wait").code == "not found"
