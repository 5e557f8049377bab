"""Measures of samples: what guidance buys and what it costs. Know nothing of models or domains.

All work on modes: ``mode`` (n,) is the mode of each sample, -1 where it belongs to none.
``counts`` (num_modes,) are numbers of valid samples, ``weights`` (num_modes,) a class's own law.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

# A mode counts as covered when it has this share of the samples that its class would give it.
COVERED = 0.25


@dataclass(frozen=True)
class Coverage:
    """What a set of samples of one class, or a mean over classes, measures.

    validity : share of samples that belong to some mode of the data
    alignment : mean p(class | mode) of the valid samples
    mode_coverage : share of the class's modes that are covered
    captured_mass : share of the class's law that the samples reproduce
    effective_modes : exp(entropy) of the modes' shares
    spread : within-mode standard deviation over that of real data
    kernel_distance : squared MMD to held-out data of the class
    mode_counts : Tensor (num_modes,), or (num_classes, num_modes), corrected for the reader
    extra : the domain's own measures
    """

    validity: float
    alignment: float
    mode_coverage: float
    captured_mass: float
    effective_modes: float
    spread: float
    kernel_distance: float
    mode_counts: Tensor
    extra: dict[str, float] = field(default_factory=dict)

    def __getattr__(self, name: str) -> float:
        extra = self.__dict__.get("extra", {})
        if name not in extra:
            raise AttributeError(f"Coverage has no measure {name!r}")
        return extra[name]


MEASURES = tuple(f.name for f in fields(Coverage) if f.name not in ("mode_counts", "extra"))


def count_modes(mode: Tensor, num_modes: int) -> Tensor:
    """Return how many of ``mode`` (n,) are each mode: (num_modes,) of float64, -1 left out."""
    return torch.bincount(mode[mode >= 0], minlength=num_modes).double()


def correct_counts(counts: Tensor, confusion: Tensor | None, num_steps: int = 2000) -> Tensor:
    """Return the counts that most likely lie behind those that an imperfect reader gave.

    Parameters
    ----------
    counts : Tensor (num_modes,)
    confusion : Tensor (num_modes, num_modes), row true mode, column read, rows sum to 1; None
        for a perfect reader

    Returns
    -------
    Tensor (num_modes,), not negative, with the same sum

    Source: maximum likelihood by expectation-maximisation, Dempster et al. 1977.
    """
    total = counts.sum()
    if confusion is None or total == 0:
        return counts
    share = torch.full_like(counts, 1 / len(counts))
    for _ in range(num_steps):
        share = share * (
            confusion.to(counts) @ (counts / total / (share @ confusion.to(counts) + 1e-300))
        )
    return share * total


def validity(mode: Tensor) -> float:
    """Return the share of samples that belong to some mode."""
    return (mode >= 0).double().mean().item()


def alignment(counts: Tensor, mode_weights: Tensor, label: int) -> float:
    """Return the mean p(class | mode) of the samples, the classes being equally likely.

    Parameters
    ----------
    mode_weights : Tensor (num_classes, num_modes)
    """
    share = mode_weights[label].double() / mode_weights.double().sum(0)
    return (counts / counts.sum() * share.nan_to_num(0)).sum().item()


def mode_coverage(counts: Tensor, weights: Tensor) -> float:
    """Return the share of the class's modes with count >= max(1, ceil(m weight / 4)), m samples."""
    own = weights > 0
    least = (COVERED * counts.sum() * weights.double() - 1e-9).ceil().clamp(min=1)
    return (counts[own] >= least[own] - 1e-6).double().mean().item()


def captured_mass(counts: Tensor, weights: Tensor) -> float:
    """Return the share of the class's law that the samples reproduce, 1 for a perfect sampler.

    The share of samples in the class's own modes times exp(-KL(samples || class)), the KL less its
    bias of (modes hit - 1) / (2 samples). Samples of the class's law cut to a set of modes S give
    the mass of S.
    """
    own = weights > 0
    inside = counts[own]
    if inside.sum() == 0:
        return 0.0
    p, q = inside / inside.sum(), weights[own].double() / weights[own].double().sum()
    kl = torch.xlogy(p, p / q).sum() - ((inside > 0).sum() - 1) / (2 * inside.sum())
    return (inside.sum() / counts.sum() * (-kl.clamp(min=0)).exp()).item()


def effective_modes(counts: Tensor) -> float:
    """Return exp(entropy) of the modes' shares: 8 for eight even modes, 1 for one."""
    return torch.special.entr(counts / counts.sum()).sum().exp().item()


def spread(features: Tensor, mode: Tensor, real_features: Tensor, real_mode: Tensor) -> float:
    """Return the root of the within-mode variance over that of real data, weighted by samples.

    Modes with fewer than 10 samples, or real data, or real data that do not vary, are left out; NaN
    where none is left.

    Parameters
    ----------
    features, real_features : Tensor (n, d)
    """
    within = total = 0.0
    for k in mode[mode >= 0].unique().tolist():
        ours, real = features[mode == k].double(), real_features[real_mode == k].double()
        if min(len(ours), len(real)) >= 10 and (varies := real.var(0).sum().item()):
            within += len(ours) * ours.var(0).sum().item() / varies
            total += len(ours)
    return math.sqrt(within / total) if total else math.nan


def kernel_distance(features: Tensor, real: Tensor, width: float) -> float:
    """Return the unbiased squared maximum mean discrepancy, RBF kernel of standard deviation width.

    Parameters
    ----------
    features, real : Tensor (n, d) and (m, d), n and m at least 2

    Source: Gretton et al. 2012, equation 3 (JMLR 13).
    """
    x, y = features.double(), real.double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        # In place: with thousands of samples each copy would be a hundred megabytes.
        return torch.cdist(a, b).square_().div_(-2 * width**2).exp_()

    def mean_off_diagonal(a: Tensor) -> Tensor:
        return (kernel(a, a).sum() - len(a)) / (len(a) * (len(a) - 1))

    return (mean_off_diagonal(x) + mean_off_diagonal(y) - 2 * kernel(x, y).mean()).item()


def law_measures(law: Tensor, mode_weights: Tensor, label: int) -> dict[str, float]:
    """Return what infinitely many samples of a law of modes (num_modes,) would measure."""
    counts = law.double() * 1e12
    return {
        "alignment": alignment(counts, mode_weights, label),
        "mode_coverage": mode_coverage(counts, mode_weights[label]),
        "captured_mass": captured_mass(counts, mode_weights[label]),
        "effective_modes": effective_modes(counts),
    }


def perfect_band(
    weights: Tensor, m: int, quantiles: tuple[float, float] = (0.025, 0.975), seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the band in which a perfect sampler's measures lie, from 2,000 multinomial draws.

    Parameters
    ----------
    weights : Tensor (num_modes,), the law that is sampled
    m : int, samples in a draw
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(
        weights.double().expand(2000, -1), m, replacement=True, generator=generator
    )
    draws = [count_modes(mode, len(weights)) for mode in drawn]
    measures = {"mode_coverage": [mode_coverage(counts, weights) for counts in draws]}
    measures["captured_mass"] = [captured_mass(counts, weights) for counts in draws]
    measures["effective_modes"] = [effective_modes(counts) for counts in draws]
    ends = torch.tensor(quantiles, dtype=torch.float64)
    bands = {}
    for name, values in measures.items():
        low, high = torch.tensor(values, dtype=torch.float64).quantile(ends).tolist()
        bands[name] = (low, high)
    return bands


def t_interval(values: Any, confidence: float = 0.95) -> tuple[float, float]:
    """Return the t interval of a mean over training seeds: (low, high), NaN for fewer than two."""
    from scipy.stats import t

    sample = torch.tensor(values, dtype=torch.float64)
    sample = sample[~sample.isnan()]
    if len(sample) < 2:
        return math.nan, math.nan
    half = t.ppf((1 + confidence) / 2, len(sample) - 1) * sample.std().item() / len(sample) ** 0.5
    return sample.mean().item() - half, sample.mean().item() + half
