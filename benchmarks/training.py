"""How long training and sampling take, and how good they are: seed 0 of each domain, all cores.

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
        begun = time.perf_counter()
        domain.sample(ct.guided(model, 3.0), label=0, n=1000)
        sampling = time.perf_counter() - begun
        print(
            f"{name}: {seconds:.0f} s on {os.cpu_count()} cores, {size / 1e6:.2f} M parameters; "
            f"1,000 samples at scale 3 in {sampling:.2f} s; "
            f"scale 1, class 0: validity {found.validity:.3f}, alignment {found.alignment:.3f}, "
            f"captured mass {found.captured_mass:.3f}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
