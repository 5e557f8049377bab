"""Networks seen as models: eps, v and flow become x0, logits log-probabilities. Knows no domain."""

import inspect
from collections.abc import Callable
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn

from cfg_tutorial.arguments import check_label, check_tokens, require
from cfg_tutorial.guidance import level_beside, per_row
from cfg_tutorial.models.scheduled import PREDICTIONS, Scheduled


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
    call: Any

    table: Tensor | None

    def __init__(self, net: Callable[..., Any], batch_size: int, about: dict[str, Any]):
        super().__init__()
        self.net, self.batch_size, self.rows_run = net, batch_size, 0
        self.register_buffer("table", about.pop("table"), persistent=False)
        for name, value in about.items():
            setattr(self, name, value)

    def _asked(self, x: Tensor, levels: Tensor, label: Tensor) -> Tensor:
        """Return what the network answers: of an object of a library, its tensor."""
        levels = self.level_input(levels) if self.level_input else levels
        condition = label if self.table is None else self.table[label]
        if self.call is None:
            answer = self.net(x, levels, condition)
        elif callable(self.call):
            answer = self.call(self.net, x, levels, condition)
        else:
            answer = self.net(x, levels, **{self.call: condition})
        if isinstance(answer, Tensor):
            return answer
        named = [getattr(answer, name, None) for name in ("sample", "logits")]
        parts = [*named, *(answer if isinstance(answer, tuple | list) else ())]
        found = [part for part in parts if isinstance(part, Tensor)]
        expected = "one that answers with a tensor, or an object with .sample or .logits"
        require(found, "wrap", "net", expected, lambda: type(answer).__name__)
        return found[0]

    def forward(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        self.rows_run += len(x)
        if label.dtype != torch.int64:
            label = check_label(label, len(x), self.null_label, "model")
        try:
            return in_slices(self._slice, self.batch_size, x, level, label)
        except (IndexError, RuntimeError):  # checked only now: a step should cost the network
            check_label(label, len(x), self.null_label, "model")
            raise
        except TypeError:
            _check_takes(self.net, self.call)
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
        flow = self.predicts == "flow"
        norm = 1 / (1 + sigma) if flow else (sigma**2 + self.sigma_data**2) ** -0.5
        inside = x * norm if self.scale_input or flow else x
        output = self._asked(inside, level.expand(len(x)), label)
        if self.predicts == "x0":
            return output
        if self.predicts == "eps":
            return x - sigma * output
        if flow:
            return norm * (x - sigma * output)
        if self.predicts == "edm_eps":  # EDM has its eps with the other sign of v
            output = -output
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
        return self._asked(x, level.expand(len(x)), label).log_softmax(-1)


def _table(conditions: Any, null: Any) -> Tensor | None:
    """Return conditions and null as one tensor (num_classes + 1, ...), null last."""
    if conditions is None:
        require(null is None, "wrap", "null", "left out without conditions", "one")
        return None
    expected = "a tensor (num_classes, ...) or a list of tensors of one shape"
    try:
        rows = [torch.as_tensor(one) for one in conditions]
        table = torch.stack(rows)
    except (TypeError, ValueError, RuntimeError) as error:
        require(False, "wrap", "conditions", expected, f"{type(conditions).__name__} ({error})")
        raise
    ok = null is not None and torch.as_tensor(null).shape == table.shape[1:]
    expected = f"a tensor of the shape of one condition, {tuple(table.shape[1:])}"
    got = None if null is None else tuple(torch.as_tensor(null).shape)
    require(ok, "wrap", "null", expected, got)
    return torch.cat([table, torch.as_tensor(null).to(table)[None]])


def _check_takes(net: Any, call: Any) -> None:
    """Raise a ValueError where a network cannot be called with such arguments."""
    asked = call if callable(call) else net.forward if isinstance(net, nn.Module) else net
    try:
        given = inspect.signature(asked)
        if callable(call):
            given.bind(net, 0, 0, 0)
        elif call is None:
            given.bind(0, 0, 0)
        else:
            given.bind(0, 0, **{call: 0})
    except TypeError as error:
        names = f"({', '.join(inspect.signature(asked).parameters)})"
        wanted = "(net, x, level, condition)" if callable(call) else "(x, level, label)"
        name = "call" if callable(call) else "net"
        require(False, "wrap", name, f"callable as {wanted}; see call", f"{names}: {error}")
    except ValueError:  # it says nothing of its arguments
        pass


def wrap(
    net: Callable[..., Tensor],
    predicts: str | None = None,
    *,
    scheduler: Any = None,
    call: str | Callable[..., Any] | None = None,
    conditions: Any = None,
    null: Any = None,
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
    predicts : "x0" (unless given, or as the scheduler has it), "eps" (x = x0 + sigma eps), "v"
        (velocity, of data with ``sigma_data``: v = (sigma_data^2 eps - sigma x0) / (sigma_data
        sqrt(sigma^2 + sigma_data^2))) or "flow" (eps - x0, the input x / (1 + sigma)); "sample",
        "epsilon", "v_prediction" and "flow_prediction" are the same four in other words; for tokens
        "log_probs" (n, length, words), normalised or not
    scheduler : one of diffusers, that the network was trained for: variance-preserving, EDM or
        flow. It says timesteps, scaling and what is predicted. The model then has ``levels(n)``,
        the scheduler's sigmas, and ``start_scale(sigma)``, the deviation of the first state
    call : how ``net`` is called: net(x, level, label) unless given; the name of the argument that
        takes the condition, as "class_labels" or "encoder_hidden_states"; or a function
        (net, x, level, condition) -> answer. Of an answer that is no tensor, .sample or .logits is
        taken
    conditions : Tensor (num_classes, ...) or a list of as many, what the network is given in place
        of a label: embeddings, vectors, pictures, prompts. Labels index it, so that guidance and
        samplers stay as they are: a negative prompt is ``composed(model, {yes: s, no: 1 - s})``
    null : Tensor (...), what it is given for no condition; needed with ``conditions``
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
        "log_probs" without vocab_size and mask_token, conditions without null or of other shapes,
        a net that takes other arguments

    Source: Karras et al. 2022, table 1; v after Salimans & Ho 2022 (arXiv 2202.00512).
    """
    reader = None if scheduler is None else Scheduled(scheduler)
    if reader and predicts != "log_probs":
        predicts, sigma_data, scale_input = reader.predicts(predicts), reader.sigma_data, True
        level_input = level_input or reader.timestep
    predicts = PREDICTIONS.get(predicts or "x0", predicts or "x0")
    kinds = ("x0", "eps", "v", "flow", "log_probs", *(["edm_eps"] if reader else []))
    require(predicts in kinds, "wrap", "predicts", f"one of {kinds}", repr(predicts))
    ok = isinstance(batch_size, int) and batch_size >= 1
    require(ok, "wrap", "batch_size", "an int >= 1", repr(batch_size))
    table = _table(conditions, null)
    num_classes = len(table) - 1 if table is not None else num_classes
    num_classes = getattr(net, "num_classes", None) if num_classes is None else num_classes
    ok = call is None or callable(call) or isinstance(call, str)
    require(ok, "wrap", "call", "a function, or an argument's name", repr(call))
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
        "call": call,
        "table": table,
    }
    if predicts == "log_probs":
        ok, got = vocab_size is not None and mask_token is not None, f"{vocab_size}, {mask_token}"
        require(ok, "wrap", "vocab_size, mask_token", "given for 'log_probs'", got)
        about |= {"vocab_size": vocab_size, "mask_token": mask_token, "pad_token": pad_token}
        return TokenModel(net, batch_size, about)
    about |= {"predicts": predicts, "sigma_data": sigma_data, "scale_input": scale_input}
    if reader:
        about |= {"levels": reader.levels, "start_scale": reader.start_scale}
    return Denoiser(net, batch_size, about)
