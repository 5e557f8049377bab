"""A journal of results, a line each, whole or not used. Knows nothing of how they are made."""

import codecs
import hashlib
import json
import os
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from cfg_tutorial import files

SCHEMA = 2  # of the lines


@dataclass(frozen=True)
class Record:
    """What a cell measured: a line of the journal.

    scales : NaN alone, where what is measured has no scale
    measures : name to one value per scale
    mode_share : one list per scale, in it one per class, in it one share per mode
    rows : network rows that sampling ran
    weights : SHA-256 of the model's weights
    """

    key: str
    domain: str
    source: str
    method: str
    seed: int
    n: int
    num_steps: int
    mode_names: list[str]
    version: str
    torch: str
    scales: list[float]
    measures: dict[str, list[float]]
    mode_share: list[list[list[float]]]
    rows: int = 0
    weights: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


# What a line must hold. Names may be numbers, in a domain of one's own.
KINDS = {**get_type_hints(Record), "mode_names": list}


def read_journal(path: str | Path) -> list[Record]:
    """Return the records in a journal; no file is no records.

    A last line cut short is dropped. So is a damaged line, or one of another version of the
    package's journals, with a warning that names it: its cell is then run again.

    Raises
    ------
    ValueError : it is a folder, or may not be read
    """
    path = Path(path)
    try:
        if not (path.is_file() or path.is_dir()):
            return []
        *lines, _ = path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    except OSError as error:
        raise ValueError(
            "The 'path' parameter of read_journal must be a file that can be read. "
            f"Got {path} ({error.strerror or error}) instead."
        ) from error
    found = [(i, _record(line)) for i, line in enumerate(lines, 1) if line.strip()]
    bad = [str(i) for i, record in found if record is None]
    if bad:
        warnings.warn(
            f"{path}: damaged, or of another version, in line {', '.join(bad)}. What it holds is "
            "not used, and run again.",
            stacklevel=2,
        )
    return [record for _, record in found if record is not None]


def _record(line: bytes) -> Record | None:
    """Return the record of a journal's line, None where it is not what was written."""
    try:
        kept = json.loads(line)
        ok = kept.pop("schema") == SCHEMA and kept.pop("sum") == _sum(kept)
        ok = ok and all(files.fits(kept[name], kind) for name, kind in KINDS.items())
        return Record(**kept) if ok and _is_even(Record(**kept)) else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _is_even(record: Record) -> bool:
    """Return whether there is as much of everything as there are scales, and modes."""
    lengths = {len(one) for one in record.measures.values()} | {len(record.mode_share)} - {0}
    shares = {len(share) for classes in record.mode_share for share in classes}
    return lengths <= {len(record.scales)} and shares <= {len(record.mode_names)}


def _sum(kept: dict[str, Any]) -> str:
    return hashlib.sha256(files.to_json(kept).encode()).hexdigest()[:16]


def append(path: Path, record: Record) -> None:
    """Add one line; what an interrupted writer left of a line is cut off first."""
    kept = asdict(record)
    line = files.to_json({**kept, "schema": SCHEMA, "sum": _sum(kept)}).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(path), open(path, "ab+") as file:
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
