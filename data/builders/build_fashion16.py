"""Build data/fashion16.npz from the files of Fashion-MNIST; knows nothing of the package.

    python data/builders/build_fashion16.py --source /usr/share/datasets/fashion-mnist

Source: Xiao, Rasul and Vollgraf 2017, Fashion-MNIST (arXiv 1708.07747).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
from pathlib import Path

import numpy as np

GARMENTS = {  # name -> label in Fashion-MNIST
    "T-shirt": 0,
    "trouser": 1,
    "dress": 3,
    "coat": 4,
    "sandal": 5,
    "sneaker": 7,
    "bag": 8,
    "boot": 9,
}
SOURCE = Path("/usr/share/datasets/fashion-mnist")  # Debian package dataset-fashion-mnist
TARGET = Path(__file__).parents[1] / "fashion16.npz"


def read_idx(path: Path) -> np.ndarray:
    """Return the array of unsigned bytes in a gzipped idx file, of the shape its header states."""
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\x00\x00\x08":
        raise ValueError(
            f"The 'path' parameter of read_idx must be an idx file of bytes. Got {path} instead."
        )
    rank = content[3]
    shape = np.frombuffer(content, ">u4", count=rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def shrink(photographs: np.ndarray) -> np.ndarray:
    """Return (n, 28, 28) photographs as (n, 16, 16): 2 x 2 averages in a black frame, uint8."""
    blocks = photographs.reshape(-1, 14, 2, 14, 2).astype(np.uint16)
    averages = (blocks.sum(axis=(2, 4)) + 2) // 4
    return np.pad(averages.astype(np.uint8), ((0, 0), (1, 1), (1, 1)))


def garments(source: Path, part: str, per_mode: int) -> np.ndarray:
    """Return the first `per_mode` photographs of each garment, uint8 (8, per_mode, 16, 16)."""
    photographs = read_idx(source / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(source / f"{part}-labels-idx1-ubyte.gz")
    return np.stack([shrink(photographs[labels == k][:per_mode]) for k in GARMENTS.values()])


def build(source: Path, target: Path) -> dict[str, np.ndarray]:
    """Write the archive at `target` and return its arrays: names, train and held_out."""
    arrays = {
        "names": np.array(list(GARMENTS)),
        "train": garments(source, "train", 1500),
        "held_out": garments(source, "t10k", 300),
    }
    np.savez_compressed(target, **arrays)
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description="Build data/fashion16.npz.")
    parser.add_argument("--source", type=Path, default=SOURCE, help="folder of the four .gz files")
    parser.add_argument("--target", type=Path, default=TARGET, help="the archive to write")
    options = parser.parse_args()
    for name, array in build(options.source, options.target).items():
        print(f"{hashlib.sha256(array.tobytes()).hexdigest()}  {name} {array.shape} {array.dtype}")
    print(f"{hashlib.sha256(options.target.read_bytes()).hexdigest()}  {options.target.name}")


if __name__ == "__main__":
    main()
