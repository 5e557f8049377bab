"""Feeds damaged files to the readers of files; counts what is neither read nor refused by name.

    python tools/fuzz.py [READER ...] [--seconds 60] [--seed 0] [--keep FOLDER]
    python tools/fuzz.py READER --again FILE      one that was kept, with its traceback

A refusal is a ValueError, and no kind of one, that names the file. All else that is raised, or said
on stderr, is a raw error, and so is a want of 4 GiB more, whoever catches it. 10 s are a hang.
"""

import argparse
import contextlib
import faulthandler
import hashlib
import io
import json
import multiprocessing
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import soundfile
import torch
from safetensors.torch import load, save

import cfg_tutorial as ct
from cfg_tutorial import files, journal, networks
from cfg_tutorial.app import prediction
from cfg_tutorial.sweep import to_table

SECONDS, BYTES = 10, 4 * 2**30  # that one input may take, beside what is in use before
NUMBERS = [2**k + d for k in (0, 7, 8, 15, 16, 31, 32, 36, 63, 64) for d in (-1, 0)]
PIECES = [b"", b"\0" * 100, b"\xff\xfe[\0]\0", b"[" * 10**5, b'{"":' * 10**5, b"9" * 5000, b"null"]
PIECES += [b"\xef\xbb\xbf", b"NaN", b"[]", b"\n", b"\x80", b'"\\ud800"']
VALUES = [None, [], {}, "", "\ud800", True, 0, -1, 0.5, 10**400, 2**63, 1e308, torch.inf, torch.nan]
VALUES += [[[]], {"a": {}}, "<deep>", "<deep>", "<huge>"]
TYPES = [torch.int8, torch.bool, torch.float16, torch.uint16, torch.complex64, torch.float8_e5m2]
TYPES += [torch.float32, torch.float32, torch.float64]
CONFIG = {"domain": "toy", "w": [0.5]}


def model() -> Any:
    return ct.wrap(networks.MLP(2, 2, hidden=4, depth=1), num_classes=2, p_uncond=0.3)


def train(path: Path) -> None:
    """Train for six steps, or those that are left; what there was after four stays in ``path``."""
    how: Any = {"config": CONFIG, "checkpoint_every": 2, "progress": False, "train_steps": 6}
    data = torch.randn(8, 2), torch.arange(8) % 2
    with contextlib.suppress(FloatingPointError):  # of forged averages: it is documented
        ct.fit(model(), lambda step: data, ct.Gaussian(), path=path, **how)


def write_journal(path: Path) -> None:
    some: Any = {"seeds": [0, 1], "source": "exact", "n": 160, "num_steps": 2}
    ct.sweep(["mixtures"], [0, 3], folder=path.parent, progress=False, **some)
    (path.parent / "results.jsonl").rename(path)


def read_journal(path: Path) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        to_table({record.key: record for record in journal.read_journal(path)}.values())
    if said:
        raise ValueError(said[0].message)


def write_sound(path: Path, kind: str, subtype: str) -> None:
    tone = (torch.arange(9000)[:, None] * torch.tensor([0.3, 0.2])).sin().numpy() / 2
    soundfile.write(path, tone, 11025, format=kind, subtype=subtype)


def read_sound(path: Path) -> None:
    assert torch.isfinite(ct.read_clips(path.parent).sound).all()


# What makes a whole file, and what reads it.
READERS: dict[str, Any] = {
    "checkpoint": (lambda path: ct.save_checkpoint(path, model(), CONFIG),
                   lambda path: ct.load_checkpoint(path, model(), CONFIG)),
    "training": (train, train),
    "journal": (write_journal, read_journal),
    "wav": (lambda path: write_sound(path, "WAV", "PCM_16"), read_sound),
    "wavex": (lambda path: write_sound(path, "WAVEX", "FLOAT"), read_sound),
    "flac": (lambda path: write_sound(path, "FLAC", "PCM_24"), read_sound),
    "aiff": (lambda path: write_sound(path, "AIFF", "PCM_16"), read_sound),  # called a WAV
    "predictions": (lambda path: path.write_text('{"More?": "yes", "Ja?": "né"}', "utf-8"),
                    lambda path: prediction._read(path)),
}  # fmt: skip


def damaged(content: bytes, luck: random.Random) -> bytes:
    """Return bytes with some changed, half of them in the header, put in, left out or cut off."""
    data = bytearray(content)
    for _ in range(luck.choice((1, 1, 2, 4, 8))):
        size, width = len(data) + 1, luck.choice((1, 2, 3, 4, 8))
        at = luck.randrange(min(size, 80) if luck.random() < 0.5 else size)
        end, number = at + luck.randrange(1, 20), luck.choice(NUMBERS) % 256**width
        start, stop, new = luck.choice([
            (at, at + 1, luck.randbytes(1)),
            (at, at + 1, bytes(byte ^ 1 << luck.randrange(8) for byte in data[at : at + 1])),
            (at, at + width, number.to_bytes(width, luck.choice(("little", "big")))),
            (at, at, luck.choice(PIECES)),
            (at, luck.choice((at, size)), data[luck.randrange(size) : luck.randrange(size)]),
            (at, luck.choice((end, at + size // 4, size)), b""),
        ])  # fmt: skip
        data[start:stop] = new
    return bytes(data)


def swapped(value: Any, luck: random.Random) -> Any:
    """Return a JSON value in which one, at any depth, is another, gone or there twice."""
    if not isinstance(value, dict | list) or not value or luck.random() < 0.1:
        return luck.choice(VALUES)
    parts = dict(value if isinstance(value, dict) else enumerate(value))
    at = luck.choice([*parts])
    parts[luck.choice((at, at, at, at, "more"))] = swapped(parts[at], luck)
    if luck.random() < 0.1:
        del parts[at]
    return parts if isinstance(value, dict) else [*parts.values()]


def text(value: Any, luck: random.Random) -> str:
    """Return JSON of a value that is swapped, with what no value can hold in place of its marks."""
    deep = luck.choice((60, luck.randrange(900, 1000), 10**5))  # the interpreter's limit is 1000
    made = files.to_json(swapped(value, luck)).replace('"<huge>"', "9" * 5000)
    return made.replace('"<deep>"', "[" * deep + "]" * deep)


def forged(content: bytes, luck: random.Random) -> bytes:
    """Return a file in which JSON or a tensor is another, some with a sum that is right again."""
    if content.startswith(b"{"):  # a journal, or predictions without a sum
        *lines, line = luck.sample(content.splitlines(), content.count(b"\n") or 1)
        kept = json.loads(line)
        ends = {name: kept.pop(name) for name in ("schema", "sum") if name in kept}
        made = text(kept, luck)
        if ends and luck.random() < 0.7:
            ends["sum"] = hashlib.sha256(made.encode()).hexdigest()[:16]
        made = f"{made[:-1]}, {json.dumps(ends)[1:]}" if ends else made
        return b"\n".join([*lines, made.encode(), b""])
    size, kind = 8 + int.from_bytes(content[:8], "little"), luck.randrange(3)
    header, tensors = json.loads(content[8:size]), load(content)
    config = header["__metadata__"]["config"]
    if kind == 0:
        new = text(header, luck).encode()
        return len(new).to_bytes(8, "little") + new + content[size:]
    if kind == 1:
        config = text(json.loads(config), luck)
    else:
        at = luck.choice([*tensors])
        one = tensors.pop(at).double()
        one.view(-1)[0] = luck.choice((-1, 10**6, 1e300, torch.nan, torch.inf))
        one = luck.choice([one, one, one.reshape(-1), one[None], one.reshape(-1)[:0]])
        tensors[luck.choice((at, at, at, "another"))] = one.clone().to(luck.choice(TYPES))
    return save(tensors, metadata={"config": config, "sum": files._sum(tensors, config)})


def once(name: str, path: Path) -> tuple[str, str]:
    """Return what a reader makes of a file: accepted, refused, raw errors or hangs; and the why."""
    said = io.StringIO()
    # For where the signal is not heard, since no Python runs.
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True, file=sys.__stderr__)
    signal.signal(signal.SIGALRM, lambda *_: sys.exit())  # no Exception, which might be caught
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stderr(said):
            READERS[name][1](path)
    except SystemExit:
        return "hangs", "10 s"
    except Exception as error:
        whole = "".join(traceback.format_exception(error))  # with those that it was made of
        full = re.search("MemoryError|allocate memory", whole)
        if type(error) is not ValueError or path.name not in str(error) or full:
            return "raw errors", f"{error!r:.300}"
        return "raw errors" if said.getvalue() else "refused", said.getvalue()
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
    return "raw errors" if said.getvalue() else "accepted", said.getvalue()


def fuzz(name: str, seed: int, folder: Path, seconds: float = 1e9, number: float = 1e9,
         progress: bool = False) -> dict[str, Any]:  # fmt: skip
    """Return how often a reader did what, and the peak of memory.

    What is at fault is kept in ``folder``, up to 20; the one at work is "now".
    """
    torch.set_num_threads(1)  # two on a busy machine wait for each other
    torch.manual_seed(seed)
    found = {"reader": name, "inputs": 0, "accepted": 0, "refused": 0, "raw errors": 0, "hangs": 0}
    with tempfile.TemporaryDirectory() as made:
        READERS[name][0](Path(made) / "whole")
        first = [(Path(made) / "whole").read_bytes(), *PIECES]
    most = psutil.Process().memory_info().vms + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    luck, end, path = random.Random(seed), time.monotonic() + seconds, folder / name / "now/a.wav"
    bar = files.progress_bar(None, None, name, progress, bar_format="{desc}: {n} in {elapsed}")
    while (i := found["inputs"]) < number and time.monotonic() < end:
        change = damaged if READERS[name][1] is read_sound or luck.random() < 0.6 else forged
        content = first[i] if i < len(first) else change(first[0], luck)
        files.write_bytes(path, content)
        outcome, why = once(name, path)
        if why and found["raw errors"] + found["hangs"] < 20:
            files.write_bytes(kept := folder / name / f"{seed}-{i}/a.wav", content)
            bar.write(f"{kept}: {outcome}: {why}")
        found["inputs"] += 1
        found[outcome] += 1
        bar.update()
    bar.close()
    return {**found, "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def main() -> int:
    """Print a table of what the readers did; return 1 where one is at fault."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}")
    parser.add_argument("--seconds", type=float, default=60, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir(), "cfg-fuzz"))
    parser.add_argument("--again", type=Path, metavar="FILE")
    args = parser.parse_args()
    if unknown := {*args.readers} - {*READERS}:
        parser.error(f"no reader {', '.join(unknown)}: choose of {', '.join(READERS)}")
    if args.again:
        READERS[args.readers[0]][1](args.again)
        return 0
    rows, context = [], multiprocessing.get_context("spawn")
    for name in args.readers or READERS:  # each in a process of its own, which may die
        with ProcessPoolExecutor(1, context) as pool:
            job = pool.submit(fuzz, name, args.seed, args.keep, args.seconds, progress=True)
            error = job.exception()
            died = {"reader": name, "raw errors": 1, "hangs": 0}
            rows.append(died if error else job.result())
        print(f"{args.keep / name / 'now/a.wav'}: {error}" if error else rows[-1], flush=True)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    return int(table[["raw errors", "hangs"]].to_numpy().sum() > 0)


if __name__ == "__main__":
    raise SystemExit(main())
