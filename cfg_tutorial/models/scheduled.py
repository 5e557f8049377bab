"""A scheduler of diffusers, read by its attributes into our convention. Imports no such library.

Our state is x = x0 + sigma eps. A variance-preserving scheduler has z = x / sqrt(1 + sigma^2), a
flow z = (1 - t) x0 + t eps = x / (1 + sigma) with sigma = t / (1 - t), EDM has x itself.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor

from cfg_tutorial.arguments import require

CAP = 1e6  # the sigma at which a flow begins: at t = 1 it would be infinite
PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0", "flow_prediction": "flow"}


class Scheduled:
    """What a scheduler says: kind ("vp", "edm" or "flow"), what is predicted, levels, timesteps.

    Parameters
    ----------
    scheduler : object with ``set_timesteps`` and ``config``, and ``alphas_cumprod`` (DDIM, DDPM,
        DPM-Solver, Euler, ...), or ``sigma_data`` in its config (EDM), or flow sigmas

    Raises
    ------
    ValueError : none of these
    """

    def __init__(self, scheduler: Any):
        config = getattr(scheduler, "config", {})
        known = hasattr(scheduler, "set_timesteps")
        flows = hasattr(scheduler, "sigmas") and hasattr(scheduler, "shift")
        kinds = {
            "vp": hasattr(scheduler, "alphas_cumprod"),
            "edm": config.get("sigma_data") is not None,
            "flow": flows or bool(config.get("use_flow_sigmas")),
        }
        kind = next((name for name in ("flow", "edm", "vp") if kinds[name]), "")
        expected = "one with set_timesteps and alphas_cumprod, config.sigma_data or flow sigmas"
        got = type(scheduler).__name__
        require(known and kind, "wrap", "scheduler", expected, got)
        self.scheduler, self.kind = copy.deepcopy(scheduler), kind
        self.sigma_data = float(config["sigma_data"]) if kind == "edm" else 1.0
        self.num_train = int(config.get("num_train_timesteps", 1000))
        self.prediction = str(config.get("prediction_type", "flow_prediction"))
        if kind == "vp":
            kept = torch.as_tensor(scheduler.alphas_cumprod).double()
            self.table = ((1 - kept) / kept).sqrt()

    def predicts(self, given: str | None) -> str:
        """Return what the network predicts in our words; unless given, as the scheduler has it."""
        if given is None and self.kind == "flow":
            return "flow"
        name = self.prediction if given is None else given
        name = PREDICTIONS.get(name, name)
        known = ("eps", "v", "x0", "flow")
        expected = f"one of {[*PREDICTIONS]} or {known}"
        require(name in known, "wrap", "predicts", expected, f"{name!r} of the scheduler")
        return f"edm_{name}" if self.kind == "edm" and name == "eps" else name

    def levels(self, num_steps: int) -> Tensor:
        """Return the scheduler's noise levels as sigmas (num_steps + 1,), decreasing, last 0."""
        scheduler = copy.deepcopy(self.scheduler)
        scheduler.set_timesteps(num_steps)
        if hasattr(scheduler, "sigmas") and len(scheduler.sigmas) == num_steps + 1:
            sigmas = torch.as_tensor(scheduler.sigmas).double()
            if self.kind == "flow":
                sigmas = (sigmas / (1 - sigmas)).clamp(max=CAP)
        else:
            steps = torch.as_tensor(scheduler.timesteps).long().cpu()
            sigmas = torch.cat([self.table[steps], torch.zeros(1).double()])
        sigmas[-1] = 0
        return sigmas.to(torch.get_default_dtype())

    def timestep(self, sigma: Tensor) -> Tensor:
        """Return what the network is told of noise levels (n,): (n,), of their type."""
        level = sigma.double()
        if self.kind == "edm":
            return (level.log() / 4).to(sigma)
        if self.kind == "flow":
            t = torch.where(level >= 0.99 * CAP, 1.0, level / (1 + level))
            return (self.num_train * t).to(sigma)
        table = self.table.to(level.device)
        high = torch.searchsorted(table, level).clamp(1, len(table) - 1)
        low = high - 1
        step = low + ((level - table[low]) / (table[high] - table[low])).clamp(0, 1)
        near = step.round()  # on the grid to rounding: an embedding may be of whole steps
        return torch.where((step - near).abs() < 1e-3, near, step).to(sigma)

    def start_scale(self, first: float) -> float:
        """Return the standard deviation of the first state, at the level ``first``."""
        begun = float(getattr(self.scheduler, "init_noise_sigma", 1.0))
        # Some begin with the noise alone, and others with that of data of deviation 1 beside it.
        alone = self.kind == "vp" and math.isclose(begun, self.table.max().item(), rel_tol=1e-4)
        return first if alone or self.kind == "flow" else math.sqrt(first**2 + 1)
