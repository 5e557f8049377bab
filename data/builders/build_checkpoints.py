"""Train the models that ship with the package: seed 0 of each domain, and their checksums.

python data/builders/build_checkpoints.py [domain ...]
"""

import hashlib
import sys
from pathlib import Path

import cfg_tutorial as ct
from cfg_tutorial.domains import DOMAINS

DATA = Path(__file__).parents[1]


def main(names: list[str]) -> None:
    for name in names or DOMAINS:
        domain = ct.load(name)
        model = domain.train(seed=0)
        ct.save_checkpoint(DATA / f"{name}.safetensors", model, {**domain.config(), "seed": 0})
        print(f"wrote {name}.safetensors")
    files = sorted([*DATA.glob("*.safetensors"), *DATA.glob("*.npz")])
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (DATA / "checksums.txt").write_text("".join(sums), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
