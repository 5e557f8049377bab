"""A model that remembers a run is told of its start and of each step, under every sampler."""

import pytest
import torch

import cfg_tutorial as ct
from cfg_tutorial.guidance import guide

MIX = ct.GaussianMixture([[-1.0], [1.0]], [0.1, 0.1], [[0.8, 0.2], [0.3, 0.7]])
WORDS = ct.TokenMixture([[[0.9, 0.1]] * 3, [[0.2, 0.8]] * 3], [[0.7, 0.3], [0.4, 0.6]])


class Remembers:
    """A model that writes down what it is told and how often it is asked."""

    def __init__(self, model):
        self.model, self.told = model, []
        for name in ("num_classes", "null_label", "mask_token", "pad_token", "vocab_size"):
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))

    def start(self, label, rows):
        self.told.append(("start", label.tolist(), rows.tolist()))

    def step(self, level):
        self.told.append(("step", round(level.item(), 4)))

    def __call__(self, x, level, label):
        self.told.append("asked")
        return self.model(x, level, label)


SAMPLERS = [ct.sample_euler, ct.sample_heun, ct.sample_dpmpp_2m, ct.sample_ancestral]


@pytest.mark.parametrize("wrapped", [0, 1, 2])
@pytest.mark.parametrize("sampler", [*SAMPLERS, ct.sample_unmask])
def test_start_comes_first_and_step_once_a_step_before_it_is_asked(sampler, wrapped):
    tokens = sampler is ct.sample_unmask
    model = told = Remembers(WORDS if tokens else MIX)
    for _ in range(wrapped):
        model = ct.composed(model, {1: 2.0})
    x = torch.full((2, 3), 2) if tokens else torch.randn(2, 1)
    levels = torch.tensor([1.0, 0.6, 0.3, 0.0])
    label, rows = torch.tensor([0, 1]), torch.tensor([7, 3])
    list(sampler(model, x, levels, label, rows=rows))
    assert told.told[0] == ("start", [0, 1], [7, 3])
    steps = [("step", 1.0), ("step", 0.6), ("step", 0.3)]
    assert [what for what in told.told[1:] if what != "asked"] == steps
    assert told.told[1] == steps[0] and told.told[-1] == "asked"


@pytest.mark.parametrize("seed", range(6))
def test_the_packer_is_the_plain_formula(seed):
    draw = torch.Generator().manual_seed(seed)
    x, level = torch.randn(12, 1, generator=draw, dtype=torch.float64), torch.tensor(0.7)
    label = torch.randint(3, (12,), generator=draw)  # the null label too
    null = torch.full_like(label, 2)
    kinds = torch.tensor([0.0, 1.0, 0.3, 2.5, -1.5], dtype=torch.float64)
    scale = kinds[torch.randint(5, (12,), generator=draw)]
    plain = guide(MIX(x, level, label), MIX(x, level, null), scale)
    torch.testing.assert_close(ct.guided(MIX, scale)(x, level, label), plain)
    a, b = (MIX(x, level, torch.full_like(label, c)) for c in (0, 1))
    uncond = MIX(x, level, null)
    sum_ = uncond + scale[:, None] * (a - uncond) - 0.5 * (b - uncond)
    plain = torch.where((label == 2)[:, None], uncond, sum_)
    torch.testing.assert_close(ct.composed(MIX, {0: scale, 1: -0.5})(x, level, label), plain)
