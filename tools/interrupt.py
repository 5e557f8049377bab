"""Kills the atlas at random moments, goes on, and compares with a run that nobody disturbed.

    python tools/interrupt.py [--kills 10] [--domains mixtures text]

Every second time only the first process is killed, not its workers. Takes about four times as
long as the run itself.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tqdm import tqdm


def start(folder: Path, domains: list[str]) -> subprocess.Popen:
    """Start an atlas that keeps everything in a folder, in a process group of its own."""
    command = [sys.executable, "-m", "cfg_tutorial.app.cli", "atlas", "--domains", *domains]
    command += ["--out", str(folder / "atlas"), "--seeds", "2", "--samples", "200"]
    environment = {**os.environ, "CFG_TUTORIAL_CACHE": str(folder / "cache")}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
    )


def main() -> int:
    """Compare a killed atlas with an undisturbed one; return 0 where they are the same."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--domains", nargs="+", default=["mixtures", "text"])
    args = parser.parse_args()
    luck, killed, partial = random.Random(0), 0, 0
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        whole, cut = Path(one), Path(two)
        begun = time.monotonic()
        if start(whole, args.domains).wait():
            raise SystemExit("The undisturbed run failed.")
        seconds = time.monotonic() - begun
        for i in tqdm(range(args.kills), ascii=True, ncols=78, desc="kills"):
            run = start(cut, args.domains)
            time.sleep(luck.uniform(4, max(6, 0.4 * seconds)))
            (os.killpg if i % 2 else os.kill)(run.pid, signal.SIGKILL)
            killed += run.wait() == -signal.SIGKILL
            partial += any((cut / "cache").glob("*.training"))
        if start(cut, args.domains).wait():
            raise SystemExit("The last run failed.")
        tables = [
            (folder / "atlas/results.csv").read_text(encoding="utf-8").splitlines()
            for folder in (whole, cut)
        ]
        left = [path.name for path in cut.rglob("*.partial")]
    same = tables[0] == tables[1]
    verdict = "the same, bit for bit" if same else "NOT the same"
    print(
        f"{killed} of {args.kills} kills hit a run ({partial} left a half-trained network); "
        f"undisturbed {seconds:.0f} s; the tables are {verdict}; "
        f"half-written files: {left or 'none'}"
    )
    differ = [pair for pair in zip(*tables, strict=False) if pair[0] != pair[1]]
    print("\n".join(f"- {a}\n+ {b}" for a, b in differ[:20]), end="")
    return 0 if same and not left else 1


if __name__ == "__main__":
    raise SystemExit(main())
