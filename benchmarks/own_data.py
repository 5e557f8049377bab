"""Data sets of one's own, nothing given but the data: trained, swept, drawn. Prints one table.

python benchmarks/own_data.py [digits iris wine cancer blobs]
"""

import sys
import time
import warnings

import numpy as np
import torch
from sklearn import datasets

import cfg_tutorial as ct


def blobs():
    """Return 2,000 points of eight heaps in five dimensions, two classes and the heaps."""
    x, mode = datasets.make_blobs(2000, 5, centers=8, random_state=0)
    first = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1])[mode]
    return x, (np.random.default_rng(0).random(2000) > first).astype(int), mode


def digits():
    """Return scikit-learn's digits, odd and even, and the digits."""
    found = datasets.load_digits()
    return found.images, found.target % 2, found.target


DATA = {
    "digits": digits,
    "iris": lambda: datasets.load_iris(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "blobs": blobs,
}


def main(names):
    """Print a row for each data set."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in names or DATA:
        domain = ct.from_arrays(*DATA[name](), name=name, quiet=True)
        begun = time.perf_counter()
        model = domain.train(progress=False)
        trained = time.perf_counter()
        how = {"n": 1000, "seeds": [0], "progress": False, "references": True}
        table = ct.sweep([domain], [0, 1, 1.5, 2, 3, 5, 8], models={"net": model}, **how)
        ct.plot_coverage(table)
        ended = time.perf_counter()
        at_1 = table[(table.label == "mean") & ((table.scale == 1) | table.scale.isna())]
        net = at_1[at_1.source == "net"].set_index("measure").value
        real = at_1[at_1.source == "real"].set_index("measure").value
        rows = sum(len(part.x) for part in domain.rows.values())
        print(
            f"| {name} | {rows} | {net.validity:.2f} | {net.mode_coverage:.2f} | "
            f"{net.alignment:.2f} ({real.alignment:.2f}) | "
            f"{trained - begun:.0f}, {ended - trained:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
