"""Forward processes: how data become noise, and the loss. Knows nothing of guidance or data."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cfg_tutorial.arguments import check_count, require
from cfg_tutorial.guidance import per_row


def karras_sigmas(num_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Return ``num_steps`` noise levels, evenly spaced in sigma^(1/rho), and a last 0.

    Returns
    -------
    Tensor (num_steps + 1,), strictly decreasing from sigma_max to sigma_min, then 0

    Raises
    ------
    ValueError : num_steps < 1, rho <= 0, or not 0 < sigma_min < sigma_max

    Source: Karras et al. 2022, equation 5 (arXiv 2206.00364).
    """
    ok = num_steps >= 1 and 0 < sigma_min < sigma_max < float("inf") and rho > 0
    names, got = "num_steps, sigma_min, sigma_max, rho", (num_steps, sigma_min, sigma_max, rho)
    expected = "num_steps >= 1, 0 < sigma_min < sigma_max and rho > 0"
    require(ok, "karras_sigmas", names, expected, got)
    ends = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas = torch.linspace(*ends, num_steps, dtype=torch.float64) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)]).to(torch.get_default_dtype())


def insert_levels(levels: Tensor, edges: tuple[float, ...]) -> Tensor:
    """Return the decreasing ``levels`` (k + 1,) with the ``edges`` that lie among them added.

    A level within a thousandth of an edge gives way to it, but for the first, at which the noise
    is: a step so short would spoil the differences that multistep samplers take.
    """
    extra = levels.new_tensor(edges)
    extra = extra[(extra > levels[-1]) & (extra <= levels[0])]
    near = ((levels[:, None] - extra).abs() < 1e-3 * extra).any(1)
    near[0] = False
    return torch.cat([levels[~near], extra]).unique().flip(0)


def drop_labels(
    label: Tensor,
    p_uncond: float,
    null_label: int | Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Replace each row's label by the null label with probability ``p_uncond``: one coin a row.

    Parameters
    ----------
    label : Tensor (n,) or (n, k) of int; all k parts of a row share its coin
    p_uncond : float in [0, 1]
    null_label : int, or Tensor (k,)

    Raises
    ------
    ValueError : p_uncond is not in [0, 1]

    Source: Ho & Salimans 2022, algorithm 1 (arXiv 2207.12598). Lesson: 01_mixtures.
    """
    require(0 <= p_uncond <= 1, "drop_labels", "p_uncond", "in [0, 1]", p_uncond)
    device = generator.device if generator else label.device
    heads = (torch.rand(len(label), generator=generator, device=device) < p_uncond).to(label.device)
    heads = heads.reshape(-1, *[1] * (label.ndim - 1))
    return torch.where(heads, torch.as_tensor(null_label).to(label), label)


def row_noise(
    seed: int, rows: Tensor, shape: tuple[int, ...], like: Tensor, stream: int = 0
) -> Iterator[Tensor]:
    """Yield standard normal noise (n, *shape), step after step.

    A row's noise is a function of (seed, row, step) alone, never of the batch it is drawn in.

    Parameters
    ----------
    rows : Tensor (n,) of int >= 0, the identities of the rows
    like : Tensor whose type and device the noise has
    stream : int, separates uses of one seed (0 starts a sample, 1 is noise added on the way,
        2 the order in which places are revealed)

    Raises
    ------
    ValueError : a negative seed or row
    """
    ok = seed >= 0 and not (len(rows) and int(rows.min()) < 0)
    got = f"seed {seed}, rows {rows[:8].tolist()}"
    require(ok, "row_noise", "seed, rows", ">= 0", got)
    generators = [np.random.default_rng([seed, stream, int(row)]) for row in rows]
    while True:
        draws = np.stack([generator.standard_normal(shape) for generator in generators])
        yield torch.from_numpy(draws).to(like)


@dataclass(frozen=True)
class Gaussian:
    """The process x = x0 + sigma * eps, its noise levels for training and for sampling.

    Source: Karras et al. 2022 (arXiv 2206.00364), whose defaults p_mean, p_std and rho are.
    """

    sigma_min: float = 0.02
    sigma_max: float = 40.0
    sigma_data: float = 0.5
    p_mean: float = -1.2
    p_std: float = 1.2
    rho: float = 7.0

    def levels(
        self, num_steps: int, edges: tuple[float, ...] = (), dtype: torch.dtype | None = None
    ) -> Tensor:
        """Return the sampling levels (num_steps + 1,), decreasing, last 0, and the edges added.

        ``dtype`` is to be that of x, so that a window's edge is a level to the last bit.
        """
        sigmas = karras_sigmas(num_steps, self.sigma_min, self.sigma_max, self.rho)
        return insert_levels(sigmas.to(dtype or sigmas.dtype), edges)

    def noise(self, shape: tuple[int, ...], seed: int, rows: Tensor, like: Tensor) -> Tensor:
        """Return the first state (n, *shape): noise of standard deviation sigma_max."""
        return self.sigma_max * next(row_noise(seed, rows, shape, like))

    def training_levels(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return n log-normal sigmas (n,), one from each n-th part of the law, in random order."""
        order = torch.randperm(n, generator=generator)
        quantile = (order + torch.rand(n, generator=generator)) / n
        normal = torch.special.ndtri(quantile.clamp(1e-6, 1 - 1e-6))
        return (self.p_mean + self.p_std * normal).exp()

    def corrupt(
        self, x0: Tensor, sigma: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return x0 + sigma * eps, (n, *shape); sigma 0-d or (n,)."""
        return x0 + per_row(sigma, x0) * torch.randn(x0.shape, generator=generator).to(x0)

    def loss(
        self, model: Any, x0: Tensor, label: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean squared error of the predicted x0, weighted so that each noise level
        counts about equally: a network that has learned nothing yet has about 1 at any sigma.

        Parameters
        ----------
        x0 : Tensor (n, *shape)
        label : Tensor (n,), after label dropout

        Source: Karras et al. 2022, table 1 (arXiv 2206.00364). Lesson: 01_mixtures.
        """
        sigma = self.training_levels(len(x0), generator).to(x0)
        error = model(self.corrupt(x0, sigma, generator), sigma, label) - x0
        weight = (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2
        return (per_row(weight, x0) * error**2).mean()

    @property
    def convention(self) -> dict[str, Any]:
        """What ``wrap`` is told of a network of this process: (scaled x, sigma, label) -> v."""
        return {"predicts": "v", "sigma_data": self.sigma_data, "scale_input": True}

    def is_prediction(self, prediction: Tensor, x: Tensor) -> bool:
        """Return whether ``prediction`` is what a model may answer to x: numbers, of its shape."""
        return prediction.shape == x.shape and bool(torch.isfinite(prediction).all())


@dataclass(frozen=True)
class Masked:
    """The process that hides tokens (n, length) place by place; level is the masked fraction.

    Parameters
    ----------
    vocab_size : int, words are the tokens below it
    mask_token, pad_token : int; a padded place is none, and is never hidden or learned
    causal : bool, the network sees only what stands before a place, so that every place is
        learned from the whole row at once, and samples go from left to right

    Source: absorbing diffusion, Austin et al. 2021 (arXiv 2107.03006). Lesson: 03_text_tokens.
    """

    vocab_size: int
    mask_token: int
    pad_token: int | None = None
    causal: bool = False

    def levels(
        self, num_steps: int, edges: tuple[float, ...] = (), dtype: torch.dtype | None = None
    ) -> Tensor:
        """Return the levels from 1 to 0, (num_steps + 1,); the level at a step's start decides,
        so that edges need no level of their own.

        Raises
        ------
        ValueError : num_steps < 1
        """
        check_count(num_steps, "Masked.levels", "num_steps")
        fractions = torch.arange(num_steps, -1, -1, dtype=torch.float64) / num_steps
        return fractions.to(torch.get_default_dtype())  # rounded once: a window may begin at one

    def noise(self, shape: tuple[int, ...], seed: int, rows: Tensor, like: Tensor) -> Tensor:
        """Return the first state (n, length): all places masked."""
        return torch.full((len(rows), *shape), self.mask_token, device=like.device)

    def _real(self, x0: Tensor) -> Tensor:
        """Return which places are no padding: (n, length) of bool."""
        return x0 != self.pad_token if self.pad_token is not None else torch.ones_like(x0).bool()

    def corrupt(
        self, x0: Tensor, level: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return x0 (n, length) with a share ``level``, 0-d or (n,), of each row's places masked.

        As many places as that share rounds to, chosen at random.
        """
        real = self._real(x0)
        count = (torch.as_tensor(level, device=x0.device) * real.sum(1)).round()
        luck = torch.rand(x0.shape, generator=generator).to(x0.device).masked_fill(~real, torch.inf)
        return x0.masked_fill(luck.argsort(1).argsort(1) < count[:, None], self.mask_token)

    def loss(
        self, model: Any, x0: Tensor, label: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return a bound on -log p(x0 | label) in nats a row, tight for the exact model.

        A number of places from 1 to the length is masked, each number equally often in a batch;
        what a row's masked places cost counts (length / number) times: the cost of revealing one
        place after the other in random order.

        Parameters
        ----------
        model : returns normalised log-probabilities, which a guided model's are not
        x0 : Tensor (n, length) of int; a row of nothing but padding costs nothing
        label : Tensor (n,) or (n, k), after label dropout

        Source: Ou et al. 2024 (arXiv 2406.03736), Sahoo et al. 2024 (arXiv 2406.07524). Lesson:
        03_text_tokens.
        """
        real = self._real(x0)
        length = real.sum(1)
        if self.causal:
            x, level, hidden, weight = x0, torch.zeros(len(x0)), real, torch.ones(len(x0))
        else:
            luck = torch.rand(len(x0), generator=generator)
            quantile = (torch.randperm(len(x0), generator=generator) + luck) / len(x0)
            count = (quantile.to(x0.device) * length).floor().add(1).minimum(length)
            level, weight = count / length.clamp(min=1), length / count.clamp(min=1)
            x = self.corrupt(x0, level, generator)
            hidden = x == self.mask_token
        words = x0.masked_fill(~real, 0)
        log_prob = model(x, level, label).gather(-1, words[..., None])[..., 0]
        cost = -log_prob.masked_fill(~hidden, 0).sum(1)
        return (weight.to(cost) * cost).mean()

    @property
    def convention(self) -> dict[str, Any]:
        """What ``wrap`` is told of a network of this process: (tokens, level, label) -> logits."""
        names = ("vocab_size", "mask_token", "pad_token")
        return {"predicts": "log_probs", **{name: getattr(self, name) for name in names}}

    def is_prediction(self, prediction: Tensor, x: Tensor) -> bool:
        """Return whether ``prediction`` is what a model may answer to x: laws of words."""
        if prediction.shape != (*x.shape, self.vocab_size):
            return False
        return bool((prediction.logsumexp(-1).abs() < 1e-3).all())
