"""What stands beside a curve: laws in closed form, real data, luck. Knows nothing of sampling."""

import math
from statistics import fmean
from typing import Any

import torch

from cfg_tutorial import measures
from cfg_tutorial.domains import Domain


def names_of(found: measures.Coverage) -> list[str]:
    return [*measures.MEASURES, *found.extra]


def shares_of(counts: torch.Tensor, domain: Domain) -> list[list[float]]:
    counts = counts.reshape(len(domain.classes), -1)
    return (counts / counts.sum(1, keepdim=True)).tolist()


def _law(cell: Any, domain: Domain, key: str, progress: Any) -> dict[str, Any]:
    """Measure a law of modes in closed form, see ``Domain.laws``."""
    law, weights = domain.laws[cell.source], domain.mode_weights
    laws = [[law(s, c) for c in domain.classes] for s in cell.scales]
    each = [[measures.law_measures(p, weights, c) for c, p in enumerate(row)] for row in laws]
    found = {name: [fmean(m[name] for m in row) for row in each] for name in each[0][0]}
    shares = [[p.tolist() for p in row] for row in laws]
    return {"scales": list(cell.scales), "measures": found, "mode_share": shares}


def _real(cell: Any, domain: Domain, key: str, progress: Any) -> dict[str, Any]:
    """Measure fresh real data as if sampled (the floor), and how well the reader reads them."""
    batch = domain.data(2 * cell.n + 40 * len(domain.classes), seed=2, held_out=True)
    label = batch.label if batch.label.ndim == 1 else batch.label[:, 0]
    # As many of each class as are sampled, where data have them in about equal shares.
    wanted = (torch.arange(cell.n) % len(domain.classes)).bincount().tolist()
    rows = [(label == c).nonzero()[:number, 0] for c, number in enumerate(wanted)]
    x, label, mode = (part[torch.cat(rows)] for part in (batch.x, label, batch.mode))
    measured, read = domain.measure(x, label), domain.assign(x)
    found = {name: [getattr(measured, name)] for name in names_of(measured)}
    found["reader_accuracy"] = [(read == mode)[read >= 0].double().mean().item()]
    shares = [shares_of(measured.mode_counts, domain)]
    return {"scales": [math.nan], "measures": found, "mode_share": shares}


def _perfect(cell: Any, domain: Domain, key: str, progress: Any) -> dict[str, Any]:
    """Return the band of a sampler that makes no error, low and high."""
    m = cell.n // len(domain.classes)
    bands = [measures.perfect_band(domain.mode_weights[c], m) for c in domain.classes]
    found = {
        f"{name}_{end}": [fmean(one[name][i] for one in bands)]
        for name in bands[0]
        for i, end in enumerate(("low", "high"))
    }
    return {"scales": [math.nan], "measures": found, "mode_share": []}


# What stands beside a curve: the laws that a domain has, and what real data and luck give.
FLOORS = {"real": _real, "perfect": _perfect}
REFERENCES = {"tilted": _law, "tilted_whole": _law, "equation": _law, **FLOORS}
