"""Networks seen as models: eps and v become x0, logits log-probabilities. Knows no domain."""

from collections.abc import Callable
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn

from cfg_tutorial.arguments import check_label, check_tokens, require
from cfg_tutorial.guidance import level_beside, per_row


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
        if label.dtype != torch.int64:
            label = check_label(label, len(x), self.null_label, "model")
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
    kinds = ("x0", "eps", "v", "log_probs")
    require(predicts in kinds, "wrap", "predicts", f"one of {kinds}", repr(predicts))
    ok = isinstance(batch_size, int) and batch_size >= 1
    require(ok, "wrap", "batch_size", "an int >= 1", repr(batch_size))
    num_classes = getattr(net, "num_classes", None) if num_classes is None else num_classes
    expected = "given where net has no such attribute"
    require(num_classes is not None, "wrap", "num_classes", expected, None)
    null_label = getattr(net, "null_label", num_classes) if null_label is None else null_label
    ok = not isinstance(null_label, int) or null_label == num_classes
    expected = f"num_classes, {num_classes}: classes are counted from 0"
    require(ok, "wrap", "null_label", expected, null_label)
    about = {
        "num_classes": num_classes,
        "null_label": null_label,
        "p_uncond": getattr(net, "p_uncond", None) if p_uncond is None else p_uncond,
        "level_input": level_input,
    }
    if predicts == "log_probs":
        ok, got = vocab_size is not None and mask_token is not None, f"{vocab_size}, {mask_token}"
        require(ok, "wrap", "vocab_size, mask_token", "given for 'log_probs'", got)
        about |= {"vocab_size": vocab_size, "mask_token": mask_token, "pad_token": pad_token}
        return TokenModel(net, batch_size, about)
    about |= {"predicts": predicts, "sigma_data": sigma_data, "scale_input": scale_input}
    return Denoiser(net, batch_size, about)
