"""How long training takes, and how good it is: seed 0 of each domain, on all cores.

python benchmarks/training.py [domain ...]
"""

import os
import sys
import tempfile
import time

import cfg_tutorial as ct
from cfg_tutorial.domains import DOMAINS


def main(names: list[str]) -> None:
    for name in names or DOMAINS:
        domain = ct.load(name)
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            model = domain.train(seed=0, folder=folder)
            seconds = time.perf_counter() - begun
        size = sum(p.numel() for p in model.parameters())
        found = domain.measure(domain.sample(model, label=0, n=1000), 0)
        print(
            f"{name}: {seconds:.0f} s on {os.cpu_count()} cores, {size / 1e6:.2f} M parameters; "
            f"scale 1, class 0: validity {found.validity:.3f}, alignment {found.alignment:.3f}, "
            f"captured mass {found.captured_mass:.3f}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
