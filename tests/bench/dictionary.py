"""Would trained dictionaries make small documents smaller? And where do their bytes go?

    STOWAGE_BIN=build/release/bin python3 tests/bench/dictionary.py [LAYOUT...]

Analyses the images `demo` and `big`, 20 variants of the latter (the bench end_to_end has the same) and the images of
more OCI layouts, if any are named, in an installation that does not compress. Then it compresses what each image added
to the store in every way that is to be compared: as the gateway does it; at higher levels; with dictionaries of
ZDICT_trainFromBuffer, on images that they were not trained on; and without one, but with package lists cut into parts
where their content says so, so that a part is stored once whatever list it is in. A chunk counts with the smallest of
its forms, and the dictionary itself is not counted.

Last, what package lists take without URLs, and what the digests in lists of files take.

Sizes depend on no machine. Times are of one thread's processor time, and those of a loaded machine are longer.
"""

import argparse
import ctypes
import ctypes.util
import hashlib
import re
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import zstandard

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/integration"), str(ROOT / "tests/images")]

from end_to_end import VARIANTS, add, build, push_on_top, read_layout, small_layer  # noqa: E402
from support.installation import Installation  # noqa: E402
from support.registry import Registry  # noqa: E402

KIB = 1 << 10
LEVEL, SMALLEST = 3, KIB  # as the gateway has it when nothing is configured
PART_LINES = 32  # of a package list, on average
SMALL_IMAGE = 8 * KIB  # stored for an image that adds little
LIMITS = (64 * KIB, 256 * KIB)  # chunks up to this size would be tried with a dictionary
SIZES = (16 * KIB, 64 * KIB, 112 * KIB)  # of dictionaries
PLAIN = {level: zstandard.ZstdCompressor(level=level) for level in (LEVEL, 9, 19)}


# The chunks --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chunk:
    number: int
    kind: str  # "images/packages"
    content: bytes


def new_chunks(stowage, after):
    """What was written behind a chunk's number. Without compression the database has the content as it is."""
    rows = stowage.psql(
        "SELECT DISTINCT ON (c.id) c.id, o.bucket || '/' || substring(o.key FROM '[^/]*$'),"
        " (SELECT string_agg(encode(d.bytes, 'hex'), '' ORDER BY d.seq) FROM objects.chunk_data d WHERE d.chunk = c.id)"
        " FROM objects.chunk c JOIN objects.object_chunk oc ON oc.chunk = c.id JOIN objects.object o ON o.id = oc.object"
        f" WHERE c.id > {after} AND c.state = 'live' ORDER BY c.id"
    )
    return [Chunk(int(number), kind, bytes.fromhex(content)) for number, kind, content in rows]


class Corpus:
    """For each image, in the order in which they were analysed, the chunks that it was the first to have."""

    def __init__(self):
        self.images, self._last = {}, 0

    def analyse(self, stowage, name, reference):
        add(stowage, reference)
        self.images[name] = new_chunks(stowage, self._last)
        self._last = max([self._last, *(each.number for each in self.images[name])])

    def of(self, names, at_most=None):
        return [each for name in names for each in self.images[name] if not at_most or len(each.content) <= at_most]


def collect(layouts):
    corpus, registry = Corpus(), Registry()
    try:
        with Installation(workers=1, config={"object_store": {"compression": {"enabled": False}}}) as stowage:
            for name in ("demo", "big"):
                corpus.analyse(stowage, name, registry.push_layout(f"{build(name)}:latest", f"bench/{name}:1"))
            layers, _ = read_layout(build("big"))
            for n in range(VARIANTS):
                reference = push_on_top(registry, f"bench/big:v{n}", layers, [small_layer(f"v{n}")], f"variant {n}")
                corpus.analyse(stowage, f"variant {n}", reference)
            for layout in layouts:
                name = layout.name.lower()
                corpus.analyse(stowage, layout.name, registry.push_layout(f"{layout}:latest", f"bench/{name}:1"))
    finally:
        registry.close()
    return corpus


# Ways to store them ------------------------------------------------------------------------------------------------


def kept(content, compressed):
    """The gateway keeps what saves at least a sixteenth."""
    size = len(content)
    return len(compressed) if len(compressed) < size - size // 16 else size


def stored(content, level=LEVEL, smallest=SMALLEST):
    return kept(content, PLAIN[level].compress(content)) if len(content) >= smallest else len(content)


def stored_with(content, compressor, limit):
    tried = kept(content, compressor.compress(content)) if len(content) <= limit else len(content)
    return min(tried, stored(content))


def parts(content):
    """Ends behind each line whose own hash says so: the same lines make the same parts, whatever stands before."""
    out, begin, at = [], 0, 0
    for line in content.splitlines(keepends=True):
        at += len(line)
        if int.from_bytes(hashlib.sha256(line).digest()[:4], "big") % PART_LINES == 0:
            out.append(content[begin:at])
            begin = at
    return [*out, content[begin:]] if begin < len(content) else out


def stored_in_parts(corpus, applied):
    """Each part counts for the image that was the first to have it."""
    known, total = set(), 0
    for name, chunks in corpus.images.items():
        for each in chunks:
            for part in parts(each.content) if each.kind == "images/packages" else [each.content]:
                digest = hashlib.sha256(part).digest()
                total += stored(part, smallest=64) if name in applied and digest not in known else 0
                known.add(digest)
    return total


def train(samples, size):
    """What the library makes of them, and no front end that tries more: a gateway would call the same."""
    library = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
    library.ZDICT_trainFromBuffer.restype = ctypes.c_size_t
    library.ZDICT_getErrorName.restype = ctypes.c_char_p
    library.ZDICT_getErrorName.argtypes = library.ZDICT_isError.argtypes = [ctypes.c_size_t]
    out = ctypes.create_string_buffer(size)
    lengths = (ctypes.c_size_t * len(samples))(*map(len, samples))
    got = library.ZDICT_trainFromBuffer(out, ctypes.c_size_t(size), b"".join(samples), lengths, len(samples))
    if library.ZDICT_isError(got):
        raise ValueError(library.ZDICT_getErrorName(got).decode())
    return zstandard.ZstdCompressionDict(out.raw[:got])


def microseconds(work, chunks, rounds=20):
    started = time.thread_time()
    for _ in range(rounds):
        for each in chunks:
            work(each)
    return (time.thread_time() - started) / rounds / len(chunks) * 1e6


# Figures -----------------------------------------------------------------------------------------------------------


def show(name, value, more=""):
    print(f"  {name:<58} {value:>12}  {more}", flush=True)


def kib(value):
    return f"{value / KIB:.2f} KiB"


def show_kinds(title, chunks):
    kinds = defaultdict(list)
    for each in chunks:
        kinds[each.kind].append(each.content)
    total = sum(stored(each.content) for each in chunks)
    print(f"\n{title}: where the bytes are, for each chunk")
    for kind, contents in sorted(kinds.items()):
        size = sum(map(stored, contents))
        show(
            f"{kind}, {len(contents)} chunks",
            kib(size / len(contents)),
            f"stored, {100 * size / total:.1f} % of all, of {kib(sum(map(len, contents)) / len(contents))}",
        )


def compare(title, corpus, learnt, applied):
    chunks = corpus.of(applied)
    count = len(applied)
    now = sum(stored(each.content) for each in chunks)

    def line(name, total, more=""):
        show(name, kib(total / count), f"{100 * (1 - total / now):5.1f} % saved{more}")

    print(f"\n{title}: stored for each of {count} images, dictionaries trained on {len(learnt)} others")
    line(f"as it is: level {LEVEL}, from {SMALLEST} bytes on", now)
    for level in PLAIN:
        line(f"level {level}, from 64 bytes on", sum(stored(each.content, level, 64) for each in chunks))
    for limit in LIMITS:
        samples = [each.content for each in corpus.of(learnt, at_most=limit)]
        for size in SIZES:
            try:
                dictionary = train(samples, size)
            except ValueError as error:
                show(f"dictionary of {size // KIB} KiB, chunks to {limit // KIB} KiB", "none", str(error))
                continue
            dictionary.precompute_compress(level=LEVEL)
            compressor = zstandard.ZstdCompressor(level=LEVEL, dict_data=dictionary)
            total = sum(stored_with(each.content, compressor, limit) for each in chunks)
            line(f"dictionary of {size // KIB} KiB, chunks to {limit // KIB} KiB", total,
                 f" (it became {kib(len(dictionary.as_bytes()))})")  # fmt: skip
    line(f"no dictionary, package lists in parts of {PART_LINES} lines", stored_in_parts(corpus, applied))
    return chunks, dictionary, compressor


def show_times(chunks, dictionary, compressor):
    """Of small chunks, with the last dictionary that was made."""
    small = [each.content for each in chunks if len(each.content) <= LIMITS[0]]
    size = kib(sum(map(len, small)) / len(small))
    print(f"\nTime for each of {len(small)} chunks up to {LIMITS[0] // KIB} KiB, {size} on average")
    for name, work, back in (
        ("without a dictionary", PLAIN[LEVEL], zstandard.ZstdDecompressor()),
        ("with one, digested", compressor, zstandard.ZstdDecompressor(dict_data=dictionary)),
    ):
        frames = [work.compress(each) for each in small]
        show(f"compress {name}", f"{microseconds(work.compress, small):.1f} us")
        show(f"decompress {name}", f"{microseconds(back.decompress, frames):.1f} us")


def show_lists(corpus, variants):
    lists = [each.content for each in corpus.of(variants) if each.kind == "images/packages"]
    bare = [re.sub(rb'"purl":"[^"]*",', b"", each) for each in lists]
    print("\nPackage lists, images/packages, of the variants")
    for name, contents in (("as they are", lists), ("without package URLs", bare)):
        show(name, kib(sum(map(stored, contents)) / len(contents)))


def show_digests(corpus):
    contents = [each.content for each in corpus.of(corpus.images) if each.kind == "layers/files"]
    digest = re.compile(rb" sha256=[0-9a-f]{64}")
    count = sum(len(digest.findall(each)) for each in contents)
    whole, without = (sum(map(stored, them)) for them in (contents, [digest.sub(b"", each) for each in contents]))
    print("\nLists of files, layers/files")
    show(f"stored in all, with {count} digests", kib(whole))
    show("without the digests", kib(without), f"a digest takes {(whole - without) / count:.1f} bytes, 32 are the least")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("layouts", nargs="*", type=Path, metavar="LAYOUT")
    options = parser.parse_args()
    began = time.monotonic()
    corpus = collect(sorted(options.layouts))
    variants = [name for name in corpus.images if name.startswith("variant ")]
    others = [layout.name for layout in sorted(options.layouts)]

    show_kinds("Variants", corpus.of(variants))
    half = len(variants) // 2
    compare("Variants, seen before", corpus, ["demo", "big", *variants[:half]], variants[half:])
    show_times(*compare("Variants, not seen before", corpus, ["demo", *others], variants))
    if others:
        show_kinds("The other images", corpus.of(others))
        compare("The other images", corpus, ["demo", *others[::2]], others[1::2])
        small = [name for name in others[1::2] if sum(stored(each.content) for each in corpus.of([name])) < SMALL_IMAGE]
        if small:
            compare("The smallest of them", corpus, ["demo", *others[::2]], small)
    show_lists(corpus, variants)
    show_digests(corpus)
    print(f"\nTook {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
