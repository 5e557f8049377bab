"""Forward processes: how data become noise, and the loss. Knows nothing of guidance or data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cfg_tutorial.guidance import check_label, level_beside, per_row


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
    if num_steps < 1 or not 0 < sigma_min < sigma_max < float("inf") or rho <= 0:
        raise ValueError(
            "The parameters of karras_sigmas must be num_steps >= 1, 0 < sigma_min < sigma_max "
            f"and rho > 0. Got {num_steps}, {sigma_min}, {sigma_max}, {rho} instead."
        )
    ends = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas = torch.linspace(*ends, num_steps, dtype=torch.float64) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)]).to(torch.get_default_dtype())


def insert_levels(levels: Tensor, edges: tuple[float, ...]) -> Tensor:
    """Return the decreasing ``levels`` (k + 1,) with the ``edges`` that lie among them added.

    A level within a thousandth of an edge gives way to it: a step so short would spoil the
    differences that multistep samplers take.
    """
    extra = levels.new_tensor(edges)
    extra = extra[(extra > levels[-1]) & (extra <= levels[0])]
    near = ((levels[:, None] - extra).abs() < 1e-3 * extra).any(1)
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
    if not 0 <= p_uncond <= 1:
        raise ValueError(
            f"The 'p_uncond' parameter of drop_labels must be in [0, 1]. Got {p_uncond} instead."
        )
    heads = torch.rand(len(label), generator=generator, device=label.device) < p_uncond
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
    if seed < 0 or (len(rows) and int(rows.min()) < 0):
        raise ValueError(
            "The 'seed' and 'rows' parameters of row_noise must be >= 0. "
            f"Got seed {seed}, rows {rows.tolist()[:8]} instead."
        )
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
        """Return the sampling levels (num_steps + 1,), decreasing, last 0, and the edges added."""
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
        """Return the mean squared error of the predicted x0, weighted to 1 for any sigma.

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

    def model(self, net: nn.Module, **about: Any) -> "Denoiser":
        """Return a model of a network (scaled x, sigma, label) -> velocity; see ``wrap``."""
        return wrap(net, "v", sigma_data=self.sigma_data, scale_input=True, **about)

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
        if num_steps < 1:
            raise ValueError(
                "The 'num_steps' parameter of Masked.levels must be an int >= 1. "
                f"Got {num_steps} instead."
            )
        return torch.linspace(1, 0, num_steps + 1)

    def noise(self, shape: tuple[int, ...], seed: int, rows: Tensor, like: Tensor) -> Tensor:
        """Return the first state (n, length): all places masked."""
        return torch.full((len(rows), *shape), self.mask_token, device=like.device)

    def corrupt(
        self, x0: Tensor, level: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return x0 (n, length) with a share ``level``, 0-d or (n,), of each row's places masked.

        As many places as that share rounds to, chosen at random.
        """
        real = x0 != self.pad_token if self.pad_token is not None else torch.ones_like(x0).bool()
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
        x0 : Tensor (n, length) of int
        label : Tensor (n,) or (n, k), after label dropout

        Source: Ou et al. 2024 (arXiv 2406.03736), Sahoo et al. 2024 (arXiv 2406.07524). Lesson:
        03_text_tokens.
        """
        real = x0 != self.pad_token if self.pad_token is not None else torch.ones_like(x0).bool()
        length = real.sum(1)
        if self.causal:
            x, level, hidden, weight = x0, torch.zeros(len(x0)), real, torch.ones(len(x0))
        else:
            luck = torch.rand(len(x0), generator=generator)
            quantile = (torch.randperm(len(x0), generator=generator) + luck) / len(x0)
            count = (quantile.to(x0.device) * length).floor().add(1).minimum(length)
            level, weight = count / length, length / count
            x = self.corrupt(x0, level, generator)
            hidden = x == self.mask_token
        words = x0.masked_fill(~real, 0)
        log_prob = model(x, level, label).gather(-1, words[..., None])[..., 0]
        cost = -log_prob.masked_fill(~hidden, 0).sum(1)
        return (weight.to(cost) * cost).mean()

    def model(self, net: nn.Module, **about: Any) -> "TokenModel":
        """Return a model of a network (tokens, level, label) -> logits; see ``wrap``."""
        names = ("vocab_size", "mask_token", "pad_token")
        return wrap(net, "log_probs", **{name: getattr(self, name) for name in names}, **about)

    def is_prediction(self, prediction: Tensor, x: Tensor) -> bool:
        """Return whether ``prediction`` is what a model may answer to x: laws of words."""
        if prediction.shape != (*x.shape, self.vocab_size):
            return False
        return bool((prediction.logsumexp(-1).abs() < 1e-3).all())


def in_slices(
    model: Callable[..., Tensor], batch_size: int, x: Tensor, level: Tensor, label: Tensor
) -> Tensor:
    """Return model(x, level, label), run on ``batch_size`` rows at a time; level 0-d or (n,).

    One huge batch is up to twice as slow as slices: its buffers are fetched anew at each use.
    """
    level = level_beside(x, level)
    if len(x) <= batch_size:
        return model(x, level, label)
    each = level.split(batch_size) if level.ndim else repeat(level)
    parts = zip(x.split(batch_size), each, label.split(batch_size), strict=False)
    return torch.cat([model(*part) for part in parts])


class _Wrapped(nn.Module):
    """A network seen as a model, run in slices, its rows counted."""

    edges: tuple[float, ...] = ()
    num_classes: Any
    null_label: Any
    p_uncond: float | None
    level_input: Any

    def __init__(self, net: Callable[..., Tensor], batch_size: int, about: dict[str, Any]):
        super().__init__()
        self.net, self.batch_size, self.rows_run = net, batch_size, 0
        for name, value in about.items():
            setattr(self, name, value)

    def forward(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        self.rows_run += len(x)
        try:
            return in_slices(self._slice, self.batch_size, x, level, label)
        except (IndexError, RuntimeError):  # checked only now: a step should cost the network
            check_label(label, len(x), self.null_label, "model")
            raise

    def _slice(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        raise NotImplementedError("Denoiser and TokenModel say how.")


class Denoiser(_Wrapped):
    """A network seen as a model: (x, sigma, label) -> x0. ``wrap`` makes it and says how."""

    predicts: str
    sigma_data: float
    scale_input: bool

    def _slice(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        # One level for all rows is a plain number: a step should cost little beyond the network.
        sigma = per_row(level, x) if level.ndim else level.item()
        norm = (sigma**2 + self.sigma_data**2) ** -0.5
        levels = level.expand(len(x))
        output = self.net(
            x * norm if self.scale_input else x,
            self.level_input(levels) if self.level_input else levels,
            label,
        )
        if self.predicts == "x0":
            return output
        if self.predicts == "eps":
            return x - sigma * output
        norm = norm * self.sigma_data
        if isinstance(sigma, float):
            return torch.sub(norm**2 * x, output, alpha=sigma * norm)
        return norm**2 * x - sigma * norm * output


class TokenModel(_Wrapped):
    """A network seen as a model: (tokens, level, label) -> log-probabilities (n, length, words)."""

    vocab_size: int
    mask_token: int
    pad_token: int | None

    def _slice(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        # A label or token out of range would be another token's number to the network: no error.
        check_label(label, len(x), self.null_label, "model")
        check_tokens(x, self, "model")
        levels = level.expand(len(x))
        logits = self.net(x, self.level_input(levels) if self.level_input else levels, label)
        return logits.log_softmax(-1)


def check_tokens(tokens: Any, model: Any, where: str) -> Tensor:
    """Return ``tokens`` (n, length), each a word of the model's, its mask or its padding.

    Raises
    ------
    ValueError : no integers, no rows, no places, or a token that the model does not know
    """
    tokens = torch.as_tensor(tokens)
    whole = not (tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool)
    if not whole or tokens.ndim != 2 or not tokens.numel():
        raise ValueError(
            f"The 'tokens' parameter of {where} must be integers of shape (n, length), both at "
            f"least 1. Got {tokens.dtype} of shape {tuple(tokens.shape)} instead."
        )
    special = {model.mask_token, getattr(model, "pad_token", None)} - {None}
    known = (tokens >= 0) & (tokens < model.vocab_size)
    for token in special:
        known |= tokens == token
    if not known.all():
        raise ValueError(
            f"The 'tokens' parameter of {where} must be below {model.vocab_size} or one of "
            f"{sorted(special)} (mask, padding). Got {tokens[~known][0].item()} instead."
        )
    return tokens.long()


def wrap(
    net: Callable[..., Tensor],
    predicts: str = "x0",
    *,
    num_classes: Any = None,
    null_label: Any = None,
    p_uncond: float | None = None,
    sigma_data: float = 1.0,
    scale_input: bool = False,
    level_input: Callable[[Tensor], Tensor] | None = None,
    batch_size: int = 256,
    vocab_size: int | None = None,
    mask_token: int | None = None,
    pad_token: int | None = None,
) -> Any:
    """Make a model of a network: the edge where eps and v become x0, and logits log-probabilities.

    Parameters
    ----------
    net : callable (x, level, label) -> output, all with n rows; label ``null_label`` means none
    predicts : "x0", "eps" (x = x0 + sigma eps) or "v" (velocity, of data with ``sigma_data``:
        v = (sigma_data^2 eps - sigma x0) / (sigma_data sqrt(sigma^2 + sigma_data^2))); for tokens
        "log_probs" (n, length, words), normalised or not
    num_classes, null_label, p_uncond : as the network was trained; by default ``net``'s own
        attributes, and ``null_label`` is then num_classes. A label of k parts has k of each: (k,)
    sigma_data : float, standard deviation of the data ("v" and ``scale_input`` need it)
    scale_input : bool, give the network x / sqrt(sigma^2 + sigma_data^2), the variance-preserving
        input of most published networks
    level_input : callable (n,) -> (n,), from sigma to what the network takes (a timestep, say)
    batch_size : int, rows in one forward of the network
    vocab_size, mask_token, pad_token : int, of tokens; words are the tokens below vocab_size

    Raises
    ------
    ValueError : an unknown ``predicts``, no number of classes, another null label than that,
        "log_probs" without vocab_size and mask_token

    Source: Karras et al. 2022, table 1; v after Salimans & Ho 2022 (arXiv 2202.00512).
    """
    if predicts not in ("x0", "eps", "v", "log_probs"):
        raise ValueError(
            "The 'predicts' parameter of wrap must be 'x0', 'eps', 'v' or 'log_probs'. "
            f"Got {predicts!r} instead."
        )
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            f"The 'batch_size' parameter of wrap must be an int >= 1. Got {batch_size!r} instead."
        )
    num_classes = getattr(net, "num_classes", None) if num_classes is None else num_classes
    if num_classes is None:
        raise ValueError(
            "The 'num_classes' parameter of wrap must be given where net has no such attribute. "
            "Got None instead."
        )
    null_label = getattr(net, "null_label", num_classes) if null_label is None else null_label
    if isinstance(null_label, int) and null_label != num_classes:
        raise ValueError(
            f"The 'null_label' parameter of wrap must be num_classes, {num_classes}: classes are "
            f"counted from 0. Got {null_label} instead."
        )
    about = {
        "num_classes": num_classes,
        "null_label": null_label,
        "p_uncond": getattr(net, "p_uncond", None) if p_uncond is None else p_uncond,
        "level_input": level_input,
    }
    if predicts == "log_probs":
        if vocab_size is None or mask_token is None:
            raise ValueError(
                "The 'vocab_size' and 'mask_token' parameters of wrap must be given for "
                f"'log_probs'. Got {vocab_size}, {mask_token} instead."
            )
        about |= {"vocab_size": vocab_size, "mask_token": mask_token, "pad_token": pad_token}
        return TokenModel(net, batch_size, about)
    about |= {"predicts": predicts, "sigma_data": sigma_data, "scale_input": scale_input}
    return Denoiser(net, batch_size, about)
