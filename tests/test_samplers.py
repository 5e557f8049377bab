"""Samplers: which level each step asks for, whose noise it adds, and what they leave behind."""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import torch
from toys import ALL, ODE, Dropping, last

import cfg_tutorial as ct
from cfg_tutorial.diffusion import insert_levels, row_noise


class Recorder:
    """A model that notes the levels that it is asked for."""

    num_classes = null_label = 1
    p_uncond = 0.1

    def __init__(self):
        self.levels = []

    def __call__(self, x, level, label):
        self.levels.append(level)
        return 0.5 * x


def start(n=3, dtype=torch.float64):
    return torch.linspace(-2, 2, 2 * n, dtype=dtype).reshape(n, 2), torch.zeros(n, dtype=torch.long)


def scales_of_steps(sampler, schedule, sigmas):
    """Return the scales that each step of a sampler used, by recording the schedule."""
    asked, steps = [], []

    def recorded(level):
        asked.append(float(schedule(level)))
        return asked[-1]

    x, label = start(dtype=sigmas.dtype)
    for _ in sampler(ct.guided(Recorder(), recorded), x, sigmas, label):
        steps.append(list(asked))
        asked.clear()
    return steps


@pytest.mark.parametrize("sampler", ALL)
def test_calls_of_each_step(sampler):
    model, (x, label) = Recorder(), start()
    sigmas = ct.karras_sigmas(5, 0.1, 10.0).double()
    states = list(sampler(model, x, sigmas, label))
    assert len(states) == 5 and all(state.shape == x.shape for state in states)
    expected = [s.item() for s in sigmas[:-1]]
    if sampler is ct.sample_heun:  # twice a step, once in the last; just above the next level
        pairs = [
            (a.item(), b.nextafter(a).item()) for a, b in zip(sigmas, sigmas[1:], strict=False)
        ]
        expected = [level for pair in pairs[:-1] for level in pair] + [pairs[-1][0]]
    assert [level.item() for level in model.levels] == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sampler", ALL)
def test_scale_is_constant_inside_a_step(sampler, dtype):
    sigmas = ct.karras_sigmas(8, 0.1, 10.0).to(dtype)
    for a in range(9):
        for b in range(a + 1, 9):
            hi = math.inf if a == 0 else sigmas[a].item()
            window = ct.interval(3.0, lo=sigmas[b].item(), hi=hi)
            steps = scales_of_steps(sampler, window, sigmas)
            assert [set(s) for s in steps] == [{3.0 if a <= i < b else 1.0} for i in range(8)]


@pytest.mark.parametrize("sampler", ALL)
def test_windows_that_meet_cover_each_step_once(sampler):
    sigmas = ct.karras_sigmas(8, 0.1, 10.0)
    for a in range(1, 8):
        edge = sigmas[a].item()
        early = scales_of_steps(sampler, ct.interval(3.0, lo=edge), sigmas)
        late = scales_of_steps(sampler, ct.interval(3.0, hi=edge), sigmas)
        for one, other in zip(early, late, strict=True):
            assert [{p, q} for p, q in zip(one, other, strict=True)] == [{1.0, 3.0}] * len(one)


class Jump:
    """An x0 that does not depend on x and jumps at a level: each step is exact but for memory."""

    num_classes = null_label = 1
    p_uncond, edges = 0.1, (1.0,)

    def __call__(self, x, level, label):
        return torch.full_like(x, 5.0 if level > 1.0 else -2.0)


@pytest.mark.parametrize("sampler", ODE)
def test_a_jump_on_the_grid_costs_no_accuracy(sampler):
    # With the memory kept at the edge, 2M ends .1 to 1 away.
    sigmas = torch.tensor([8.0, 4, 2, 1, 0.5, 0.25, 0], dtype=torch.float64)
    x, label = start()
    states = list(sampler(Jump(), x, sigmas, label))
    at_edge = 5 + (x - 5) / 8
    torch.testing.assert_close(states[2], at_edge, atol=1e-12, rtol=1e-12)
    half = -2 + (at_edge + 2) / 2
    torch.testing.assert_close(states[3], half, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(states[4], -2 + (at_edge + 2) / 4, atol=1e-12, rtol=1e-12)


class Ramp:
    """An x0 that is linear in log(sigma): what 2M's memory makes exact to second order."""

    num_classes = null_label = 1
    edges = ()

    def __call__(self, x, level, label):
        return torch.full_like(x, 1.0) * level.log()


def test_2m_by_hand():
    sigmas = torch.tensor([4.0, 2, 1, 0], dtype=torch.float64)
    x, label = start()
    first, second, _ = ct.sample_dpmpp_2m(Ramp(), x, sigmas, label)
    d0, d1 = math.log(4), math.log(2)
    torch.testing.assert_close(first, d0 + (x - d0) / 2, atol=1e-12, rtol=1e-12)
    ahead = d1 + (d1 - d0) / 2  # half a step ahead, the steps in log(sigma) being equal
    torch.testing.assert_close(second, ahead + (first - ahead) / 2, atol=1e-12, rtol=1e-12)


def test_2m_by_hand_with_an_edge():
    model = Ramp()
    model.edges = (2.0,)
    sigmas = torch.tensor([4.0, 2, 1, 0], dtype=torch.float64)
    x, label = start()
    first, second, _ = ct.sample_dpmpp_2m(model, x, sigmas, label)
    d1 = math.log(2)
    torch.testing.assert_close(second, d1 + (first - d1) / 2, atol=1e-12, rtol=1e-12)


def test_edges_are_met_in_float32():
    # As float64, .2 is on no float32 grid and 2M would not restart.
    sigmas = insert_levels(torch.tensor([4.0, 1, 0.1, 0]), (0.2,))
    assert len(sigmas) == 5
    model, (x, label) = Ramp(), start(dtype=torch.float32)
    model.edges = (0.2,)
    *_, before, after, _ = ct.sample_dpmpp_2m(model, x, sigmas, label)
    d = math.log(0.2)
    torch.testing.assert_close(after, d + (before - d) / 2, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("gap", [0, 1, -1])
def test_an_edge_next_to_a_level_does_no_harm(gap):
    # 2M divides by the step between them: one float apart, its memory would be rounding alone.
    domain = ct.load("mixtures")
    level = domain.diffusion.levels(18)[9]
    edge = level.nextafter(torch.tensor(float(gap) * 99)).item() if gap else level.item()
    model = domain.exact()
    found, expected = (
        domain.sample(ct.guided(model, ct.interval(3.0, hi=hi)), label=0, n=50, progress=False)
        for hi in (edge, level.item())
    )
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=0)


def edges_in_sample(edges, dtype=torch.float32, num_steps=6, domain=None):
    """Return the levels that domain.sample gives its sampler."""
    domain, seen = domain or ct.load("mixtures"), []

    def spy(model, x, sigmas, label):
        seen.append(sigmas)
        yield x

    model = domain.exact()
    for edge in edges:
        model = ct.guided(model, ct.interval(2.0, lo=edge))
    domain.sample(model, label=0, n=2, sampler=spy, num_steps=num_steps, dtype=dtype)
    return seen[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sample_puts_the_edges_on_the_grid(dtype):
    grid = edges_in_sample((), dtype)
    assert len(grid) == 7 and grid.dtype == dtype
    found = edges_in_sample((0.2, 1.7), dtype)
    edges = torch.tensor([1.7, 0.2], dtype=dtype)
    assert len(found) == 9 and torch.isin(edges, found).all() and torch.isin(grid, found).all()
    assert (found.diff() < 0).all() and found[-1] == 0
    assert torch.equal(edges_in_sample((100.0,), dtype), grid)  # above sigma_max
    assert len(edges_in_sample((0.001,), dtype)) == 8  # below sigma_min, above 0
    assert torch.equal(edges_in_sample((grid[2].item(),), dtype), grid)


# Noise belongs to rows


def test_noise_is_a_function_of_seed_row_and_step():
    like = torch.empty(0, dtype=torch.float64)

    def draws(seed, rows, stream=0):
        noise = row_noise(seed, torch.tensor(rows), (2, 3), like, stream)
        return torch.stack([next(noise) for _ in range(3)], 1)

    whole = draws(5, range(6))
    assert torch.equal(draws(5, range(4)), whole[:4])
    assert torch.equal(draws(5, [4, 1, 1]), whole[[4, 1, 1]])
    assert torch.equal(draws(5, range(6)), whole)
    other = [draws(6, range(6)), draws(5, range(6), stream=1), draws(5, range(6, 12))]
    for pair in (*((whole, o) for o in other), (whole[:, 0], whole[:, 1])):
        assert (pair[0] == pair[1]).sum() == 0
    assert whole.dtype == torch.float64 and whole.shape == (6, 3, 2, 3)


def test_noise_is_standard_normal():
    noise = row_noise(0, torch.arange(40), (1000,), torch.empty(0, dtype=torch.float64))
    first, second = next(noise), next(noise)
    for draws in (first, second):
        assert abs(draws.mean()) < 0.02 and abs(draws.std() - 1) < 0.015
    assert abs((first * second).mean()) < 0.02
    correlation = torch.corrcoef(first) - torch.eye(40)
    assert correlation.abs().max() < 0.16  # five standard errors of rows of one another


@pytest.mark.parametrize("sampler", ALL)
def test_a_row_does_not_depend_on_its_batch(sampler):
    domain = ct.load("mixtures")
    scales = torch.tensor([0, 1, 2, 3, 5.0])
    order = torch.tensor([3, 0, 4, 2])

    def sample(rows):
        model = ct.guided(domain.exact(), scales[rows])
        return domain.sample(
            model, label=rows % 2, sampler=sampler, num_steps=30, rows=rows, seed=3
        )

    whole = sample(torch.arange(5))
    torch.testing.assert_close(sample(torch.arange(3)), whole[:3], atol=1e-5, rtol=0)
    torch.testing.assert_close(sample(order), whole[order], atol=1e-5, rtol=0)
    assert torch.equal(sample(torch.arange(5)), whole)
    assert whole.std() > 0.1


def test_a_row_is_followed_from_scale_to_scale():
    # The same rows give the same start and the same noise on the way at each scale.
    domain = ct.load("mixtures")
    options = dict(label=0, n=4, sampler=ct.sample_ancestral, num_steps=20, seed=1)
    near = [domain.sample(ct.guided(domain.exact(), s), **options) for s in (2.0, 2.001)]
    assert (near[0] - near[1]).abs().max() < 0.05
    other = domain.sample(ct.guided(domain.exact(), 2.0), **{**options, "seed": 2})
    assert (near[0] - other).abs().max() > 0.05


def test_start_and_noise_on_the_way_are_independent():
    # One stream for both would start each sample with the noise of its first step.
    domain, rows = ct.load("mixtures"), torch.arange(500)
    like = torch.empty(0, dtype=torch.float64)
    first = domain.diffusion.noise((2,), 7, rows, like)
    model, label = Recorder(), torch.zeros(500, dtype=torch.long)
    sigmas = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
    x, _ = ct.sample_ancestral(model, 0 * first, sigmas, label, seed=7, rows=rows)
    added = x / math.sqrt(1 - 0.25)
    assert abs(added.std() - 1) < 0.1
    for axis in range(2):
        pair = torch.stack([first[:, axis], added[:, axis]])
        assert abs(torch.corrcoef(pair)[0, 1]) < 0.18


def test_ancestral_by_hand():
    # No noise in the last step, sigma_down = sigma_next^2 / sigma in each.
    model, (x, label) = Recorder(), start()
    sigmas = torch.tensor([4.0, 2, 0], dtype=torch.float64)
    first, second = ct.sample_ancestral(model, x, sigmas, label, seed=2)
    noise = next(row_noise(2, torch.arange(3), (2,), x, stream=1))
    expected = 0.5 * x + 0.25 * 0.5 * x + math.sqrt(4 - 1) * noise
    torch.testing.assert_close(first, expected, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(second, 0.5 * first, atol=1e-12, rtol=1e-12)


# Evaluation mode, no gradients


SIGMAS = torch.tensor([4.0, 2, 1, 0.5, 0])


@pytest.mark.parametrize("sampler", ALL)
def test_sampling_is_in_eval_mode_and_restores_each_mode(sampler):
    net = Dropping().train()
    net.layer.eval()
    x, label = start(dtype=torch.float32)
    result = last(sampler(ct.guided(net, 2.0), x, SIGMAS, label))
    assert set(net.seen) == {(False, False, False)}
    assert (net.training, net.layer.training, net.drop.training) == (True, False, True)
    assert not result.requires_grad and torch.is_grad_enabled()
    net.eval()
    last(sampler(net, x, SIGMAS, label))
    assert not any(module.training for module in net.modules())


@pytest.mark.parametrize("sampler", ALL)
def test_modes_are_restored_after_an_error(sampler):
    net, (x, label) = Dropping(fails=True).train(), start(dtype=torch.float32)
    with pytest.raises(RuntimeError, match="broken"):
        last(sampler(net, x, SIGMAS, label))
    assert net.training and net.drop.training and torch.is_grad_enabled()


@pytest.mark.parametrize("sampler", ALL)
def test_modes_are_restored_when_the_states_are_abandoned(sampler):
    net, (x, label) = Dropping().train(), start(dtype=torch.float32)
    states = sampler(net, x, SIGMAS, label)
    next(states)
    assert net.training and net.drop.training and torch.is_grad_enabled()  # also in between
    states.close()
    assert net.training and net.drop.training


@pytest.mark.parametrize("sampler", ALL)
@pytest.mark.parametrize("training", [False, True])
def test_two_runs_in_turns_leave_the_model_as_it_was(sampler, training):
    """Two runs of one model, step about, are in evaluation mode and leave it as it was.

    Before: dropout was on in one of them, or stayed off.
    """
    net, (x, label) = Dropping().train(training), start(dtype=torch.float32)
    short, long = (sampler(net, x, s, label) for s in (SIGMAS[2:], SIGMAS))
    next(long)
    list(short)  # begins after the other and ends before it
    list(long)
    assert set(net.seen) == {(False, False, False)}
    assert net.training == net.drop.training == training


def test_runs_in_threads_are_all_in_evaluation_mode():
    """Runs in several threads are all in evaluation mode.

    Before: the first to end switched dropout on for the others.
    """
    net, (x, label) = Dropping().train(), start(dtype=torch.float32)
    sigmas = torch.cat([torch.linspace(4, 1, 100), torch.zeros(1)])
    guided = [ct.guided(net, 2.0), net, ct.guided(net, 3.0), net]  # round the same network
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda model: last(ct.sample_euler(model, x, sigmas, label)), guided))
    assert set(net.seen) == {(False, False, False)}
    assert net.training and net.drop.training


def test_a_sampler_of_ones_own_is_run_as_ours_are():
    """A sampler of one's own runs without gradients and in evaluation mode.

    Before: with gradients, and with dropout.
    """

    def own(model, x, sigmas, label):
        for sigma, sigma_next in pairwise(sigmas):
            x = model(x, sigma, label).lerp(x, sigma_next / sigma)
            yield x

    domain, net = ct.load("mixtures"), Dropping().train()
    x = domain.sample(net, 0, n=3, num_steps=4, sampler=own, progress=False)
    assert set(net.seen) == {(False, False, False)} and len(net.seen) == 4
    assert net.training and not x.requires_grad


def test_the_start_is_not_changed():
    x, label = start()
    for sampler in ALL:
        before = x.clone()
        last(sampler(Recorder(), x, SIGMAS, label))
        assert torch.equal(x, before)
