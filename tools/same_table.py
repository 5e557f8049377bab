"""Holds a change to its promise to change no number: the table of a sweep, kept and compared.

    python tools/same_table.py keep FILE.csv      before the change
    python tools/same_table.py compare FILE.csv   after it: prints the rows that differ, 0 if none

All four domains, shipped and exact models, scales 0 1 3 8, with the references beside them.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

import cfg_tutorial as ct

DOMAINS, SCALES = ["mixtures", "images", "text", "audio"], [0, 1, 3, 8]


def table(n: int) -> pd.DataFrame:
    """Return the table of both sources, floats written so that every bit shows."""
    torch.set_num_threads(1)
    parts = [
        ct.sweep(DOMAINS, SCALES, ["cfg", "interval"], [0], source=source, references=True, n=n)
        for source in ("shipped", "exact")
    ]
    whole = pd.concat(parts, ignore_index=True)
    return whole.map(lambda value: value.hex() if isinstance(value, float) else str(value))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("keep", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--samples", type=int, default=1000, metavar="N", help="samples per scale")
    args = parser.parse_args()
    now = table(args.samples)
    if args.what == "keep":
        now.to_csv(args.file, index=False)
        print(f"{len(now)} rows kept in {args.file}")
        return 0
    before = pd.read_csv(args.file, dtype=str, keep_default_na=False)
    if len(before) != len(now) or list(before) != list(now):
        print(f"{len(before)} rows of {list(before)}; now {len(now)} of {list(now)}")
        return 1
    differ = (before != now).any(axis=1)
    print(f"{differ.sum()} of {len(now)} rows differ")
    print(
        pd.concat([before[differ], now[differ]], axis=1).to_string() if differ.any() else "", end=""
    )
    return int(differ.any())


if __name__ == "__main__":
    raise SystemExit(main())
