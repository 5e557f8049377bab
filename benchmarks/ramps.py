"""Does a scale that rises while words are revealed keep more topics? Token schedules compared.

    python benchmarks/ramps.py [--exact]

Constant s against ramps between 1 and 2 s - 1, linear in the masked fraction: up is low while much
is masked and high late, down the reverse. Effective modes are read off at matched accuracy, and at
matched alignment, by interpolation between scales; the same noise for all. Exact model, five
sampling seeds, and trained networks, training seeds 0 to 2 (``make atlas`` fills the cache that
they are taken from: CFG_TUTORIAL_CACHE=.cache).
"""

import sys

import numpy as np
import torch

import cfg_tutorial as ct
from cfg_tutorial.measures import t_interval

SCALES = torch.tensor([1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 8.0, 12.0, 20.0])
N = 2000
MATCHED = {"accuracy": (0.90, 0.95, 0.98), "alignment": (0.74, 0.77, 0.80)}
SCHEDULES = {
    "constant": lambda s: s,
    "up": lambda s: ct.ramp(torch.ones_like(s), 2 * s - 1, hi=1, lo=0, rho=1),
    "down": lambda s: ct.ramp(2 * s - 1, torch.ones_like(s), hi=1, lo=0, rho=1),
}


def curve(domain, model, schedule, seed: int) -> dict[str, np.ndarray]:
    """Return each measure against the scale, the mean over both classes."""
    label = torch.arange(N) % 2

    def method(model, scale):
        return ct.guided(model, schedule(scale))

    how = {"label": label, "method": method, "seed": seed, "progress": False}
    found = [domain.measure(x, label) for x in domain.at_scales(model, SCALES, N, **how)]
    names = ("accuracy", "alignment", "effective_modes", "validity")
    return {name: np.array([getattr(one, name) for one in found]) for name in names}


def read_off(found: dict[str, np.ndarray], measure: str, target: float) -> float:
    """Return the effective modes where ``measure`` reaches ``target``, NaN where it never does."""
    reached = np.maximum.accumulate(found[measure])
    return np.interp(target, reached, found["effective_modes"], left=np.nan, right=np.nan)


def main(arguments: list[str]) -> None:
    domain = ct.load("text")
    runs = {"exact": [(domain.exact(), seed) for seed in range(5)]}
    if "--exact" not in arguments:
        runs["trained"] = [(domain.train(seed), seed) for seed in range(3)]
    for source, models in runs.items():
        curves = {
            name: [curve(domain, model, schedule, seed) for model, seed in models]
            for name, schedule in SCHEDULES.items()
        }
        for measure, targets in MATCHED.items():
            for target in targets:
                modes = {
                    name: [read_off(one, measure, target) for one in each]
                    for name, each in curves.items()
                }
                line = f"{source}, {measure} {target:.2f}:"
                line += f" constant {np.mean(modes['constant']):.2f} effective modes"
                for name in ("up", "down"):
                    gain = np.subtract(modes[name], modes["constant"])
                    low, high = t_interval(gain)
                    line += f"; {name} {gain.mean():+.2f} ({low:+.2f} to {high:+.2f})"
                print(line, flush=True)
        for name, each in curves.items():
            means = {m: np.mean([one[m] for one in each], 0).round(3).tolist() for m in each[0]}
            print(f"{source}, {name}: {means}")


if __name__ == "__main__":
    main(sys.argv[1:])
