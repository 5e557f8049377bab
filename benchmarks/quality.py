"""How good the learned models are beside the exact ones: the targets, over training seeds 0 to 2.

    python benchmarks/quality.py [domain ...]

Trains what the cache does not hold (``make atlas`` fills it: CFG_TUTORIAL_CACHE=.cache).
"""

import sys

import cfg_tutorial as ct
from cfg_tutorial.domains import DOMAINS

NAMES = [
    "validity",
    "alignment",
    "accuracy",
    "mode_coverage",
    "captured_mass",
    "effective_modes",
    "spread",
]


def main(names: list[str]) -> None:
    for name in names or DOMAINS:
        tables = {
            "trained": ct.sweep([name], references=True),
            "exact": ct.sweep([name], seeds=[0], source="exact"),
        }
        for source, table in tables.items():
            means = table[(table.label == "mean") & table.measure.isin(NAMES)]
            wanted = means[means.source.isin([source, "tilted"])]
            shown = wanted.pivot_table(
                index=["source", "seed", "scale"], columns="measure", values="value"
            )
            print(f"\n{name}\n{shown.round(3).to_string()}")


if __name__ == "__main__":
    main(sys.argv[1:])
