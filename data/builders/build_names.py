"""Build data/names.csv from the lists in the PyPI package ``names``; knows nothing of ours.

    pip install names
    python data/builders/build_names.py [--source FOLDER]

The FREQUENT most frequent names of each list that have at most LONGEST letters, and the share, in
per cent, of the people counted who have each. Source: US Census Bureau, names of 1990.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
from pathlib import Path

LISTS = {"female": "dist.female.first", "male": "dist.male.first", "surname": "dist.all.last"}
FREQUENT, LONGEST = 500, 9
TARGET = Path(__file__).parents[1] / "names.csv"


def installed() -> Path:
    """Return the folder of the installed package ``names``."""
    found = importlib.util.find_spec("names")
    if found is None or found.origin is None:
        raise SystemExit("The lists are in the PyPI package 'names': pip install names")
    return Path(found.origin).parent


def build(source: Path) -> str:
    """Return the table as text: list, name in small letters, share in per cent."""
    lines = ["list,name,share"]
    for kind, file in LISTS.items():
        rows = [line.split() for line in (source / file).read_text(encoding="ascii").splitlines()]
        short = [(name.lower(), share) for name, share, *_ in rows if len(name) <= LONGEST]
        lines += [f"{kind},{name},{share}" for name, share in short[:FREQUENT]]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, help="folder with the dist.* files")
    parser.add_argument("--target", type=Path, default=TARGET)
    args = parser.parse_args()
    text = build(args.source or installed())
    args.target.write_text(text, encoding="utf-8", newline="\n")
    print(f"{args.target.name}: SHA-256 {hashlib.sha256(text.encode()).hexdigest()}")


if __name__ == "__main__":
    main()
