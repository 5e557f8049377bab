"""Kills, terminates and interrupts runs at random moments, and compares with runs left in peace.

    python tools/interrupt.py [--times 40] [--domains mixtures text]

An atlas, a sweep and a training in turns, each with its own folder, by SIGKILL (every second time
of the first process alone), SIGTERM and SIGINT (of all, as a terminal does). Each goes on from what
is there; one that reaches its end is compared and begun anew, and the last are let go on to theirs.
Tables and weights must be those of a run that nobody disturbed, nothing half-written may be left,
and an interrupted atlas may write no traceback.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

from cfg_tutorial import files
from cfg_tutorial.keys import key_of

SWEEP = """
import sys, cfg_tutorial as ct
domains, folder = sys.argv[2:], sys.argv[1]
found = ct.sweep(domains, [1.0, 3.0], seeds=range(2), n=200, folder=folder, progress=False)
found.to_csv(folder + "/results.csv", index=False)
"""
TRAIN = """
import sys, cfg_tutorial as ct
ct.load(sys.argv[2]).train(folder=sys.argv[1], progress=False)
"""
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)


def commands(folder: Path, domains: list[str]) -> dict[str, list[str]]:
    """Return the three commands, each of which keeps everything in the folder."""
    atlas = ["-m", "cfg_tutorial.app.cli", "atlas", "--domains", *domains, "--seeds", "2"]
    return {
        "atlas": [*atlas, "--samples", "200", "--out", str(folder / "atlas")],
        "sweep": ["-c", SWEEP, str(folder / "sweep"), *domains],
        "train": ["-c", TRAIN, str(folder / "train"), domains[0]],
    }


def start(name: str, folder: Path, domains: list[str]) -> subprocess.Popen:
    """Start one of the commands in a process group of its own, its weights in the folder."""
    command = [sys.executable, *commands(folder, domains)[name]]
    environment = {**os.environ, "CFG_TUTORIAL_CACHE": str(folder / f"cache-{name}")}
    log = (folder / f"{name}.log").open("w", encoding="utf-8")
    return subprocess.Popen(
        command, env=environment, stdout=log, stderr=log, start_new_session=True
    )


def results(folder: Path, name: str) -> dict[str, str]:
    """Return the sums of all tables and weights of a command in a folder, by file."""
    paths = [p for part in (name, f"cache-{name}") for p in (folder / part).rglob("*")]
    read = {".csv": Path.read_bytes, ".safetensors": files.load_tensors}
    return {  # not of the files' bytes: safetensors writes what it is told in any order
        str(path.relative_to(folder)): key_of(read[path.suffix](path))
        for path in sorted(paths)
        if path.suffix in read
    }


def compare(name: str, whole: Path, cut: Path) -> tuple[int, list[str]]:
    """Return how many results of a command were compared, and what is wrong with them."""
    wanted, found = results(whole, name), results(cut, name)
    wrong = [f"{n} differs" for n in {*wanted, *found} if wanted.get(n) != found.get(n)]
    left = [p for kind in ("*.partial", "*.training") for p in cut.rglob(kind)]
    wrong += [f"{p} is left" for p in left if p.parts[-2] in (name, f"cache-{name}")]
    return len(wanted), wrong


def main() -> int:
    """Compare disturbed runs with undisturbed ones; return 0 where all is the same."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--domains", nargs="+", default=["mixtures", "text"])
    args = parser.parse_args()
    luck, hit, seconds = random.Random(0), dict.fromkeys(SIGNALS, 0), {}
    compared, wrong, complaints = 0, [], []
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        whole, cut = Path(one), Path(two)
        names = [*commands(whole, args.domains)]
        for name in tqdm(names, ascii=True, ncols=78, desc="undisturbed"):
            begun = time.monotonic()
            if start(name, whole, args.domains).wait():
                raise SystemExit((whole / f"{name}.log").read_text(encoding="utf-8"))
            seconds[name] = time.monotonic() - begun
        for i in tqdm(range(args.times), ascii=True, ncols=78, desc="disturbed"):
            name, sent = names[i % len(names)], SIGNALS[i // len(names) % len(SIGNALS)]
            run = start(name, cut, args.domains)
            time.sleep(luck.uniform(2.5, min(30, max(5, 0.4 * seconds[name]))))
            alone = sent == signal.SIGKILL and i % 2
            if run.poll() is None:
                (os.kill if alone else os.killpg)(run.pid, sent)
                hit[sent] += 1
            elif run.returncode == 0:
                number, found = compare(name, whole, cut)
                compared, wrong = compared + number, wrong + found
                for part in (name, f"cache-{name}"):
                    shutil.rmtree(cut / part, ignore_errors=True)
            run.wait()
            said = (cut / f"{name}.log").read_text(encoding="utf-8")
            if name == "atlas" and sent == signal.SIGINT and "Traceback" in said:
                complaints.append(said[-1500:])
        for name in tqdm(names, ascii=True, ncols=78, desc="to the end"):
            if start(name, cut, args.domains).wait():
                raise SystemExit((cut / f"{name}.log").read_text(encoding="utf-8"))
            number, found = compare(name, whole, cut)
            compared, wrong = compared + number, wrong + found
    counts = ", ".join(f"{number.name} {count}" for number, count in hit.items())
    print(f"hit a run: {counts}, of {args.times}; compared: {compared} tables and weights")
    print(f"that differ or are half-written: {wrong or 'none'}")
    print(f"tracebacks at Ctrl-C of an atlas: {len(complaints)}", *complaints, sep="\n")
    return int(bool(wrong or complaints))


if __name__ == "__main__":
    raise SystemExit(main())
