"""Train the models that ship with the package: seed 0 of each domain, and their checksums.

python data/builders/build_checkpoints.py [file ...]     as "text-prompt"; all of them unless given
"""

import hashlib
import sys
from pathlib import Path

import cfg_tutorial as ct

DATA = Path(__file__).parents[1]
SHIPPED = [
    ct.load("mixtures"),
    ct.load("images"),
    ct.load("text"),
    ct.load("text", prompt=True),
    ct.load("text", autoregressive=True),
    ct.load("audio"),
]


def main(names: list[str]) -> None:
    for domain in SHIPPED:
        if names and domain.file_name not in names:
            continue
        model = domain.train(seed=0)
        path = DATA / f"{domain.file_name}.safetensors"
        ct.save_checkpoint(path, model, {**domain.config(), "seed": 0})
        path.chmod(0o644)  # the writer keeps it from others
        print(f"wrote {path.name}")
    files = sorted(
        path for kind in ("safetensors", "npz", "csv") for path in DATA.glob(f"*.{kind}")
    )
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (DATA / "checksums.txt").write_text("".join(sums), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
