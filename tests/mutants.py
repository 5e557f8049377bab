"""Traps that well-known code has fallen into, each as a change to one function of the package.

A mutant names the function, the text to change, what it becomes, and the tests that must fail.
The change is made in place (the function's code object), so that all who hold it meet the trap.
"""

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

import cfg_tutorial as ct
from cfg_tutorial import diffusion, guidance, measures, networks, samplers, training
from cfg_tutorial.app import widgets
from cfg_tutorial.domains import base, mixtures, text


@dataclass(frozen=True)
class Made:
    """An argument that a function of a test's file makes when the test is called."""

    name: str
    values: tuple[Any, ...] = ()

    def __call__(self) -> Any:
        module, make = self.name.split(".")
        return getattr(importlib.import_module(module), make)(*self.values)


@dataclass(frozen=True)
class Kill:
    """A test by name, "file.test", and the arguments to call it with."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def __call__(self, **fixtures: Any) -> None:
        module, test = self.name.split(".")
        test = getattr(importlib.import_module(module), test)
        wanted = inspect.signature(test).parameters
        arguments = {k: v() if isinstance(v, Made) else v for k, v in self.arguments.items()}
        test(**arguments, **{k: v for k, v in fixtures.items() if k in wanted})


def by(name: str, /, **arguments: Any) -> Kill:
    return Kill(f"test_{name}", arguments)


@dataclass(frozen=True)
class Mutant:
    """A trap: in ``function``, each text of ``changes`` becomes the one it maps to."""

    trap: str
    function: Any
    changes: dict[str, str]
    killers: tuple[Kill, ...]

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        function = inspect.unwrap(self.function)
        source = textwrap.dedent(inspect.getsource(function))
        for old, new in self.changes.items():
            assert old in source, f"{function.__qualname__} no longer has {old!r}: renew the mutant"
            source = source.replace(old, new)
        namespace = dict(function.__globals__)
        exec(compile(source, f"<mutant: {self.trap}>", "exec"), namespace)
        kept = function.__code__
        function.__code__ = inspect.unwrap(namespace[function.__name__]).__code__
        try:
            yield
        finally:
            function.__code__ = kept


def trap(name: str, function: Any, old: str, new: str, *killers: Kill) -> Mutant:
    return Mutant(name, function, {old: new}, killers)


Guided, Denoiser, Domain = guidance.Guided, diffusion.Denoiser, base.Domain
PAIR = (0, 2, 1, 1, 3)
O2 = by("oracles.test_o2_ode", sampler=ct.sample_heun, numbers=PAIR)
O4 = by("oracles.test_o4_equal_variances", m_u=0, m_c=1, v=1, s=3)
O5 = by("oracles.test_o5_any_schedule", name="window", sampler=ct.sample_heun)
O6 = by("oracles.test_o6_a_late_window_below_one_gives_the_variance_back")
LAW = by("guidance.test_law_in_one_example")
LERP = "return uncond.lerp(cond, per_row(scale, cond))"
INSIDE = by("guidance.test_interval_is_one_outside_and_open_below")


def constant(sampler):
    return by("samplers.test_scale_is_constant_inside_a_step", sampler=sampler, dtype=torch.float64)


def once(sampler):
    return by("samplers.test_windows_that_meet_cover_each_step_once", sampler=sampler)


def evaluated(sampler):
    return by("samplers.test_sampling_is_in_eval_mode_and_restores_each_mode", sampler=sampler)


def exact_at(scale, used):
    return by(
        "guidance.test_scales_zero_and_one_are_exact_and_cost_one_forward",
        scale=scale,
        label_used=used,
        kind=float,
        dtype=torch.float64,
    )


FORMULA = [
    trap("the scale is the paper's w", guidance.guide, "(scale,", "(scale - 1,", O2, O4, LAW),
    trap("one more than the scale", guidance.guide, "(scale,", "(scale + 1,", O2, O4, LAW),
    trap(
        "the branches change places",
        guidance.guide,
        LERP,
        "return cond.lerp(uncond, per_row(scale, cond))",
        O2,
        O4,
        LAW,
    ),
    trap(
        "a sum that is inexact at 1",
        guidance.guide,
        LERP,
        "return uncond + per_row(scale, cond) * (cond - uncond)",
        by("guidance.test_scale_one_is_exact_beside_large_numbers"),
    ),
    trap(
        "weights that do not sum to 1",
        guidance.guide,
        LERP,
        "scale = per_row(scale, cond); return scale * cond + (scale - 1) * uncond",
        O2,
        O4,
        LAW,
    ),
    trap(
        "clipped inside the combination",
        guidance.guide,
        LERP,
        "return uncond.clamp(-1, 1).lerp(cond.clamp(-1, 1), per_row(scale, cond))",
        LAW,
        O2,
    ),
    trap(
        "only some channels are guided",
        guidance.guide,
        LERP,
        "return torch.cat([uncond.lerp(cond, per_row(scale, cond))[:, :1], cond[:, 1:]], 1)",
        LAW,
    ),
    trap(
        "a place that is forbidden becomes NaN",
        guidance._combine,
        "return combined.masked_fill(forbidden, -torch.inf)",
        "return combined",
        by("guidance.test_forbidden_stays_forbidden", scale=2.0),
    ),
    trap(
        "a place with nothing allowed passes",
        guidance._combine,
        "if forbidden.all(-1).any():",
        "if False:",
        by("guidance.test_a_place_with_nothing_allowed_is_an_error"),
    ),
    trap(
        "a place is forbidden only where both branches forbid it",
        guidance._combine,
        "cond.isneginf() | uncond.isneginf()",
        "cond.isneginf() & uncond.isneginf()",
        by("guidance.test_forbidden_stays_forbidden", scale=2.0),
    ),
]

COST = [
    trap(
        "below 1 is conditional",
        guidance._rounded,
        "if not scale.ndim:",
        "scale = scale.clamp(min=1)\n    if not scale.ndim:",
        by("guidance.test_other_scales_cost_two_forwards_in_one_call", scale=0.5),
        exact_at(0.0, 3),
    ),
    trap(
        "one unit in the last place pays twice",
        guidance._rounded,
        "< ROUNDING",
        "== 0",
        by("guidance.test_a_rounded_one_costs_one_forward", scale=1.0000000000000002),
        by("guidance.test_a_rounded_zero_costs_one_forward", scale=1e-17),
    ),
    trap(
        "near 1 is 1",
        guidance._rounded,
        "< ROUNDING",
        "< 0.01",
        by("guidance.test_scale_is_continuous", at=1.0, step=1e-4),
        by("guidance.test_other_scales_cost_two_forwards_in_one_call", scale=1.0001),
    ),
    trap(
        "two forwards at 0 and 1",
        Guided._all_rows,
        "if scale in (0.0, 1.0):",
        "if False:",
        exact_at(1.0, None),
        exact_at(0.0, 3),
    ),
    trap(
        "two forwards at 0",
        Guided._all_rows,
        "if scale in (0.0, 1.0):",
        "if scale == 1.0:",
        exact_at(0.0, 3),
    ),
    trap(
        "rows at 0 or 1 pay for both branches",
        Guided.forward,
        "scale != 0, scale != 1",
        "scale == scale, scale == scale",
        by("mixtures.test_rows_run_are_counted"),
        by("diffusion.test_guided_rows_are_counted_in_the_model"),
    ),
    trap(
        "calls are counted, not rows",
        mixtures.GaussianMixture.forward,
        "+= len(x)",
        "+= 1",
        by("mixtures.test_rows_run_are_counted"),
    ),
    trap(
        "a network's calls are counted, not rows",
        diffusion._Wrapped.forward,
        "+= len(x)",
        "+= 1",
        by("diffusion.test_guided_rows_are_counted_in_the_model"),
    ),
]

LABELS = [
    trap(
        "the null label is 0",
        guidance._null_like,
        "(label, null_label)",
        "(label, 0)",
        LAW,
        by("guidance.test_null_label_is_a_fixed_point"),
    ),
    trap(
        "the null label is 1000", guidance._null_like, "(label, null_label)", "(label, 1000)", LAW
    ),
    trap(
        "one part alone becomes null",
        guidance._null_like,
        "return torch.as_tensor(null_label).to(label).expand_as(label)",
        "null = label.clone(); null[:, 0] = null_label[0]; return null",
        by("guidance.test_all_parts_become_null_together"),
    ),
    trap(
        "a row with one part missing counts as null",
        Guided.forward,
        "is_null.all(1)",
        "is_null.any(1)",
        by("guidance.test_all_parts_become_null_together"),
    ),
    trap(
        "the null label costs two forwards",
        Guided.forward,
        "not is_null.any()",
        "True",
        by("guidance.test_null_label_is_a_fixed_point"),
    ),
    trap(
        "one level for a whole batch",
        Guided._all_rows,
        "torch.cat([level, level]) if level.ndim else level",
        "level.flatten()[0]",
        by("guidance.test_levels_of_rows_at_one_scale"),
    ),
    trap(
        "one level for a batch of mixed scales",
        Guided.forward,
        "level[rows] if level.ndim else level",
        "level.flatten()[0]",
        by("guidance.test_levels_of_rows"),
    ),
    trap(
        "one level for all slices",
        diffusion.in_slices,
        "level.split(batch_size)",
        "repeat(level[:batch_size])",
        by("diffusion.test_a_learned_model_slices_its_own_forward", n=512),
    ),
    trap(
        "no slices",
        diffusion.in_slices,
        "if len(x) <= batch_size:",
        "if True:",
        by("diffusion.test_a_learned_model_slices_its_own_forward", n=600),
    ),
    trap(
        "a model without label dropout is guided",
        guidance.guided,
        "== 0:",
        "== -1:",
        by("guidance.test_a_model_without_label_dropout_cannot_be_guided"),
        by("bad_input.test_guiding_without_an_unconditional_branch"),
    ),
    trap(
        "one coin for the whole batch",
        diffusion.drop_labels,
        "torch.rand(len(label),",
        "torch.rand(1,",
        by("diffusion.test_labels_are_dropped_at_the_rate_asked_for", p=0.5),
        by("training.test_labels_are_dropped_in_training"),
    ),
    Mutant(
        "a coin for each part of a label",
        diffusion.drop_labels,
        {
            "torch.rand(len(label),": "torch.rand(label.shape,",
            "heads.reshape(-1, *[1] * (label.ndim - 1))": "heads",
        },
        (by("diffusion.test_parts_of_a_row_share_its_coin", p=0.6),),
    ),
    trap(
        "p_uncond is the share that is kept",
        diffusion.drop_labels,
        "< p_uncond",
        ">= p_uncond",
        by("diffusion.test_labels_are_dropped_at_the_rate_asked_for", p=0.1),
        by("training.test_labels_are_dropped_in_training"),
    ),
    trap(
        "null in training is 0",
        training.fit,
        "model.p_uncond, model.null_label",
        "model.p_uncond, 0",
        by("training.test_labels_are_dropped_in_training"),
    ),
    trap(
        "no label dropout in training",
        training.fit,
        "drop_labels(label, model.p_uncond",
        "drop_labels(label, 0.0",
        by("training.test_labels_are_dropped_in_training"),
    ),
]

SCHEDULES = [
    trap(
        "unconditional outside the interval",
        guidance.interval,
        "scale.to(level), 1.0)",
        "scale.to(level), 0.0)",
        INSIDE,
        O5,
        O6,
    ),
    trap(
        "the complement of the interval",
        guidance.interval,
        "torch.where((low < level) & (level <= high), scale.to(level), 1.0)",
        "torch.where((low < level) & (level <= high), 1.0, scale.to(level))",
        INSIDE,
        O5,
        O6,
    ),
    trap(
        "the gate is closed on the wrong side",
        guidance.interval,
        "(low < level) & (level <= high)",
        "(low <= level) & (level < high)",
        INSIDE,
        constant(ct.sample_heun),
        constant(ct.sample_euler),
    ),
    trap(
        "the interval is closed on both sides",
        guidance.interval,
        "(low < level)",
        "(low <= level)",
        INSIDE,
        once(ct.sample_dpmpp_2m),
    ),
    trap(
        "the interval is open on both sides",
        guidance.interval,
        "(level <= high)",
        "(level < high)",
        INSIDE,
        once(ct.sample_ancestral),
    ),
    trap(
        "edges are compared in float64",
        guidance.interval,
        "dtype=level.dtype",
        "dtype=torch.float64",
        by("guidance.test_edges_are_compared_in_the_type_of_x", edge=0.2),
    ),
    trap(
        "an interval hides its edges",
        guidance.interval,
        "return Schedule(at,",
        "return Schedule(at) or (",
        INSIDE,
        by("samplers.test_sample_puts_the_edges_on_the_grid", dtype=torch.float32),
    ),
    trap(
        "a ramp runs backwards",
        guidance.ramp,
        "(top - level ** (1 / rho))",
        "(level ** (1 / rho) - bottom)",
        by("guidance.test_ramp_is_linear_in_its_power"),
    ),
    trap(
        "a ramp in another power",
        guidance.ramp,
        "1 / rho",
        "1 / 1",
        by("guidance.test_ramp_is_linear_in_its_power"),
        by("oracles.test_o5_any_schedule", name="ramp up", sampler=ct.sample_heun),
    ),
    trap(
        "a ramp that goes on beyond its ends",
        guidance.ramp,
        ".clamp(0, 1)",
        "",
        by("guidance.test_ramp_is_linear_in_its_power"),
    ),
    trap(
        "edges are not put on the grid",
        diffusion.Gaussian.levels,
        "insert_levels(sigmas.to(dtype or sigmas.dtype), edges)",
        "sigmas.to(dtype or sigmas.dtype)",
        by("samplers.test_sample_puts_the_edges_on_the_grid", dtype=torch.float32),
    ),
    trap(
        "an edge is put beside a level that it nearly equals",
        diffusion.insert_levels,
        "levels[~near]",
        "levels",
        by("samplers.test_an_edge_next_to_a_level_does_no_harm", gap=1),
    ),
]

SAMPLERS = [
    trap(
        "Heun's second call belongs to the next step",
        samplers.sample_heun,
        "sigma_next.nextafter(sigma)",
        "sigma_next",
        constant(ct.sample_heun),
        by("samplers.test_calls_of_each_step", sampler=ct.sample_heun),
    ),
    trap(
        "Heun is called a second time where it started",
        samplers.sample_heun,
        "sigma_next.nextafter(sigma)",
        "sigma",
        O2,
    ),
    trap(
        "2M remembers across an edge",
        samplers.sample_dpmpp_2m,
        "and not (sigma == edges).any()",
        "",
        by("samplers.test_2m_by_hand_with_an_edge"),
        by("samplers.test_a_jump_on_the_grid_costs_no_accuracy", sampler=ct.sample_dpmpp_2m),
    ),
    trap(
        "2M looks for edges in float64",
        samplers.sample_dpmpp_2m,
        "sigmas.new_tensor(",
        "torch.DoubleTensor(",
        by("samplers.test_edges_are_met_in_float32"),
    ),
    trap(
        "2M forgets",
        samplers.sample_dpmpp_2m,
        "if previous is not None",
        "if False",
        by("samplers.test_2m_by_hand"),
        by("oracles.test_o2_order_of_the_samplers", sampler=ct.sample_dpmpp_2m, order=2),
    ),
    trap(
        "Euler takes the wrong side of its step",
        samplers.sample_euler,
        "sigma_next / sigma",
        "1 - sigma_next / sigma",
        by("oracles.test_o4_equal_variances", m_u=0, m_c=1, v=1, s=3),
    ),
    trap(
        "ancestral steps forget their noise",
        samplers.sample_ancestral,
        "if sigma_next > 0:",
        "if False:",
        by("samplers.test_ancestral_by_hand"),
        by("oracles.test_o3_eighteen_steps_are_too_few_even_for_a_unit_gaussian"),
    ),
    trap(
        "ancestral steps go down to sigma_next and add noise on top",
        samplers.sample_ancestral,
        "down = sigma_next**2 / sigma",
        "down = sigma_next * 0.999",
        by("oracles.test_o3_sde", numbers=PAIR),
        by("samplers.test_ancestral_by_hand"),
    ),
    trap(
        "one generator for a batch",
        diffusion.row_noise,
        "[generator.standard_normal(shape) for generator in generators]",
        "[generators[0].standard_normal(shape) for generator in generators]",
        by("samplers.test_noise_is_a_function_of_seed_row_and_step"),
        by("samplers.test_a_row_does_not_depend_on_its_batch", sampler=ct.sample_heun),
    ),
    trap(
        "noise from torch's own generator",
        diffusion.row_noise,
        "yield torch.from_numpy(draws).to(like)",
        "yield torch.randn(draws.shape).to(like)",
        by("samplers.test_noise_is_a_function_of_seed_row_and_step"),
        by("samplers.test_a_row_does_not_depend_on_its_batch", sampler=ct.sample_ancestral),
    ),
    trap(
        "the seed is not used",
        diffusion.row_noise,
        "default_rng([seed, stream,",
        "default_rng([0, stream,",
        by("samplers.test_noise_is_a_function_of_seed_row_and_step"),
    ),
    trap(
        "one stream for the start and the noise on the way",
        samplers.sample_ancestral,
        "stream=1",
        "stream=0",
        by("samplers.test_start_and_noise_on_the_way_are_independent"),
        by("samplers.test_ancestral_by_hand"),
    ),
    trap(
        "rows reach no sampler",
        Domain.states,
        '{"seed": seed, "rows": rows} if _takes_noise(sampler) else {}',
        "{}",
        by("samplers.test_a_row_does_not_depend_on_its_batch", sampler=ct.sample_ancestral),
    ),
    trap(
        "a start by the place in the batch",
        Domain.states,
        "self.diffusion.noise(self.shape, seed, rows, like)",
        "self.diffusion.noise(self.shape, seed, torch.arange(n), like)",
        by("samplers.test_a_row_does_not_depend_on_its_batch", sampler=ct.sample_heun),
    ),
    trap(
        "sampling in training mode",
        samplers._evaluate,
        "module.training = False",
        "pass",
        evaluated(ct.sample_heun),
        evaluated(ct.sample_ancestral),
    ),
    trap(
        "the model stays in evaluation mode",
        samplers._evaluate,
        "module.training = training",
        "pass",
        evaluated(ct.sample_dpmpp_2m),
        by("samplers.test_modes_are_restored_after_an_error", sampler=ct.sample_euler),
        by(
            "samplers.test_modes_are_restored_when_the_states_are_abandoned",
            sampler=ct.sample_euler,
        ),
    ),
    trap(
        "all is in training mode afterwards",
        samplers._evaluate,
        "module.training = training",
        "module.training = True",
        evaluated(ct.sample_euler),
    ),
    trap(
        "the mode is not restored after an error",
        samplers._evaluate,
        "finally:",
        "except ZeroDivisionError:\n        pass\n    else:",
        by("samplers.test_modes_are_restored_after_an_error", sampler=ct.sample_heun),
        by(
            "samplers.test_modes_are_restored_when_the_states_are_abandoned", sampler=ct.sample_heun
        ),
    ),
    trap(
        "gradients are kept",
        samplers._evaluate,
        "yield from states",
        "torch.set_grad_enabled(True); yield from states",
        evaluated(ct.sample_heun),
    ),
]

EDGE = {"sigma_data": 0.5, "scaled": True, "timestep": False}
wrapped = "diffusion.test_a_wrapped_network_is_the_exact_model"
NETWORKS = [
    trap(
        "eps has the wrong sign",
        Denoiser._slice,
        "x - sigma * output",
        "x + sigma * output",
        by(wrapped, predicts="eps", **EDGE),
    ),
    trap(
        "eps is not scaled by sigma",
        Denoiser._slice,
        "x - sigma * output",
        "x - output",
        by(wrapped, predicts="eps", **EDGE),
    ),
    trap(
        "v has the wrong sign",
        Denoiser._slice,
        "x - sigma * norm * output",
        "x + sigma * norm * output",
        by(wrapped, predicts="v", **EDGE),
    ),
    trap(
        "the input is not scaled",
        Denoiser._slice,
        "x * norm if self.scale_input else x",
        "x",
        by(wrapped, predicts="x0", **EDGE),
    ),
    trap(
        "the network gets sigma for its timestep",
        Denoiser._slice,
        "self.level_input(levels) if self.level_input else levels",
        "levels",
        by(wrapped, predicts="x0", **{**EDGE, "timestep": True}),
    ),
]

MEASURES = [
    trap(
        "the invalid count as the last mode",
        measures.count_modes,
        "mode[mode >= 0]",
        "mode % num_modes",
        by("measures.test_counting_leaves_the_invalid_out"),
    ),
    trap(
        "the tilted law at the paper's w",
        measures.tilted_law,
        "own, mean =",
        "scale = scale - 1\n    own, mean =",
        by("measures.test_tilted_law_of_the_domains", scale=3, expected=3.80),
    ),
    trap(
        "0 log 0 in the tilted law",
        measures.tilted_law,
        "torch.where(possible, log, -torch.inf)",
        "log",
        by("measures.test_tilted_law_with_zero_weights"),
    ),
    trap(
        "the tilted law in place of guidance's own",
        mixtures.GaussianMixture.guided_weights,
        "return _guided_weights(self, float(scale), int(label))",
        "return tilted_law(self.mode_weights, scale, label)",
        by("oracles.test_o8_table", s=3, ode=0.013818, tilt=0.015385),
    ),
    trap(
        "the divergence keeps its bias",
        measures.captured_mass,
        "/ (2 * inside.sum())",
        "* 0",
        by("measures.test_captured_mass_is_corrected_for_its_bias"),
    ),
    trap(
        "samples of other classes' modes are lost from captured mass",
        measures.captured_mass,
        "inside.sum() / counts.sum() *",
        "1.0 *",
        by("measures.test_modes_of_other_classes_are_not_asked_for"),
    ),
    trap(
        "a quarter rounded down",
        measures.mode_coverage,
        ".ceil()",
        ".floor()",
        by("measures.test_a_mode_counts_from_a_quarter_of_its_share"),
    ),
    trap(
        "the modes of other classes are asked for",
        measures.mode_coverage,
        "own = weights > 0",
        "own = weights >= 0",
        by("measures.test_modes_of_other_classes_are_not_asked_for"),
    ),
    trap(
        "alignment is p(mode | class)",
        measures.alignment,
        "/ mode_weights.double().sum(0)",
        "",
        by("measures.test_alignment_by_hand"),
    ),
    trap(
        "spread over all modes together",
        measures.spread,
        "mode == k",
        "mode >= 0",
        by("measures.test_spread_by_hand"),
    ),
    trap(
        "the distance keeps its diagonal",
        measures.kernel_distance,
        "(kernel(a, a).sum() - len(a)) / (len(a) * (len(a) - 1))",
        "kernel(a, a).mean()",
        by("measures.test_kernel_distance_is_the_unbiased_sum"),
    ),
    trap(
        "the confusion matrix is turned over",
        measures.correct_counts,
        "confusion.to(counts)",
        "confusion.T.to(counts)",
        by("measures.test_correction_recovers_what_a_reader_blurred", seed=0),
    ),
]

TRAINING = [
    trap(
        "a run goes on one step early",
        training.fit,
        '"step": step + 1',
        '"step": step',
        by("training.test_an_interrupted_run_goes_on_to_the_same_weights", stop=6),
    ),
    trap(
        "a run forgets its optimiser",
        training._resume,
        "optimizer.state[weight] =",
        "_ =",
        by("training.test_an_interrupted_run_goes_on_to_the_same_weights", stop=6),
    ),
    trap(
        "a run forgets its average",
        training._resume,
        'mean.copy_(state[f"{i}.average"])',
        "pass",
        by("training.test_an_interrupted_run_goes_on_to_the_same_weights", stop=6),
    ),
    Mutant(
        "a checkpoint is written in its place",
        training.replaced,
        {"yield partial": "yield path", "os.replace(partial, path)": "pass"},
        (by("training.test_a_failed_save_leaves_the_old_file"),),
    ),
    trap(
        "another run's checkpoint is taken up",
        training._resume,
        "!= json.loads(json.dumps(run))",
        "!= found",
        by("training.test_a_checkpoint_of_another_run_is_refused_and_kept", changed={"lr": 2e-2}),
    ),
]

UNMASK, MIXTURE, LOSS = samplers._unmask, text.TokenMixture, diffusion.Masked.loss
REVIEWS, PROMPTED = ct.load("text"), ct.load("text", prompt=True)
BERT, GPT = Made("test_text.network_of", (False,)), Made("test_text.network_of", (True,))
SMALL = Made("test_tokens.make_mixture")
WEIGHTS = by("tokens.test_weights_repair_the_law", order="random")
PRODUCT = by("tokens.test_weight_is_the_product_of_the_normalisers")
STEPS = by("tokens.test_any_number_of_steps_reveals_each_place_once")
FALL = by("tokens.test_masked_count_falls_as_the_levels_say")
VISIBLE = by("tokens.test_visible_places_stay", order="random", top=0.5)
COST_OF_MASKED = by("tokens.test_loss_is_the_weighted_cost_of_what_was_masked")
ONE_PLACE = by("tokens.test_o13_one_place_is_the_tilted_law", scale=3.0)

TOKENS = [
    Mutant(
        "luck is drawn only where something is revealed",
        UNMASK,
        {
            "luck = next(noise)": "pass",
            "shown, luck)": "shown, next(noise))",
        },
        (by("tokens.test_a_row_does_not_depend_on_how_much_of_another_is_masked", order="random"),),
    ),
    Mutant(
        "words are drawn before they are normalised",
        samplers._draw,
        {
            "(prediction - log_z[:, None]).exp()": "prediction.exp()",
            "ndtr(noise[at]) * cdf[:, -1]": "ndtr(noise[at])",
            "right=True)": "right=True).clamp(max=prediction.shape[1] - 1)",
        },
        (ONE_PLACE,),
    ),
    trap(
        "the likeliest word is taken",
        samplers._draw,
        "torch.searchsorted(cdf, luck[:, None], right=True)",
        "prediction.argmax(1, keepdim=True)",
        by("tokens.test_words_are_drawn_not_the_likeliest_taken"),
        ONE_PLACE,
    ),
    trap(
        "the mask is drawn as a word",
        samplers._draw,
        "prediction[:, model.mask_token] = -torch.inf",
        "pass",
        by("tokens.test_the_mask_is_never_drawn_though_it_be_a_word"),
    ),
    trap(
        "the weight has the wrong sign",
        UNMASK,
        "torch.where(shown, log_z, 0.0)",
        "torch.where(shown, -log_z, 0.0)",
        WEIGHTS,
        PRODUCT,
    ),
    trap(
        "the weight is left out",
        UNMASK,
        "torch.where(shown, log_z, 0.0)",
        "torch.where(shown, 0 * log_z, 0.0)",
        WEIGHTS,
        PRODUCT,
    ),
    trap(
        "the weight is that of the last step",
        UNMASK,
        "log_weight = log_weight + torch",
        "log_weight = torch",
        WEIGHTS,
        PRODUCT,
    ),
    trap(
        "the level of a step is that of its end",
        UNMASK,
        "_draw(model, tokens, level, label,",
        "_draw(model, tokens, level_next, label,",
        by("tokens.test_schedules_take_the_masked_fraction_at_the_start_of_a_step"),
        FALL,
    ),
    trap(
        "visible places are drawn again",
        UNMASK,
        "tokens = torch.where(shown, drawn, tokens)",
        "tokens = torch.where(shown | ~masked, drawn, tokens)",
        VISIBLE,
        STEPS,
    ),
    trap(
        "all places are drawn anew at each step",
        UNMASK,
        "masked = tokens == model.mask_token",
        "masked = tokens == tokens",
        VISIBLE,
        by("tokens.test_all_places_visible_come_back_unchanged_at_no_cost"),
    ),
    trap(
        "the least likely words stay",
        UNMASK,
        "_rank(-log_prob, masked)",
        "_rank(log_prob, masked)",
        by("tokens.test_confidence_favours_likely_words_even_without_guidance"),
    ),
    trap(
        "random order is from left to right",
        UNMASK,
        'if order == "random":',
        "if False:",
        by("tokens.test_random_orders_of_rows_differ_and_are_even"),
        by("tokens.test_o13_random_order_is_no_other_law"),
    ),
    trap(
        "one order for a batch",
        UNMASK,
        "stream=2))",
        "stream=2))[:1].expand(tokens.shape)",
        by("tokens.test_random_orders_of_rows_differ_and_are_even"),
        by("tokens.test_rows_carry_their_luck_along", order="random"),
    ),
    trap(
        "orders belong to places in the batch",
        UNMASK,
        "next(row_noise(seed, rows,",
        "next(row_noise(seed, torch.arange(len(rows)),",
        by("tokens.test_rows_carry_their_luck_along", order="random"),
    ),
    trap(
        "one stream for the order and the words",
        UNMASK,
        "stream=2",
        "stream=1",
        by("tokens.test_o13_random_order", scale=1.0),
    ),
    trap(
        "a step reveals a place too many",
        UNMASK,
        ".ceil()",
        ".floor()",
        FALL,
    ),
    trap(
        "a start below level 1 reveals too much at once",
        UNMASK,
        "(level_next / levels[0])",
        "level_next",
        by("tokens.test_masked_places_are_spread_over_levels_that_begin_below_one"),
    ),
    trap(
        "the share of all places stays, not of those masked at the start",
        UNMASK,
        "at_first = (tokens == model.mask_token).sum(1)",
        "at_first = (tokens == tokens).sum(1)",
        STEPS,
        VISIBLE,
    ),
    trap(
        "an order is taken for the ranks",
        samplers._rank,
        ".argsort(1).argsort(1)",
        ".argsort(1)",
        STEPS,
    ),
    trap(
        "no weight in the loss",
        LOSS,
        "count / length, length / count",
        "count / length, torch.ones(len(x0))",
        COST_OF_MASKED,
        by(
            "text.test_nelbo_of_the_exact_model_is_the_entropy_of_the_grammar",
            domain=REVIEWS,
            label=0,
        ),
    ),
    trap(
        "the weight of the loss is inverted",
        LOSS,
        "count / length, length / count",
        "count / length, count / length",
        COST_OF_MASKED,
    ),
    trap(
        "the loss counts what is visible",
        LOSS,
        "masked_fill(~hidden, 0)",
        "masked_fill(hidden, 0)",
        COST_OF_MASKED,
    ),
    trap(
        "one number of masked places for a batch",
        LOSS,
        "(quantile.to(x0.device) * length)",
        "(quantile[:1].to(x0.device) * length)",
        COST_OF_MASKED,
    ),
    trap(
        "padding counts as length",
        LOSS,
        "length = real.sum(1)",
        "length = (x0 == x0).sum(1)",
        by("tokens.test_padding_does_not_change_the_loss", causal=False),
    ),
    trap(
        "padding is learned",
        LOSS,
        "x0, torch.zeros(len(x0)), real,",
        "x0, torch.zeros(len(x0)), x0 == x0,",
        by("tokens.test_padding_does_not_change_the_loss", causal=True),
    ),
    trap(
        "the same places are masked in a whole batch",
        diffusion.Masked.corrupt,
        "torch.rand(x0.shape, generator=generator)",
        "torch.rand(1, x0.shape[1], generator=generator).expand(x0.shape)",
        by("tokens.test_corrupt_chooses_places_evenly_and_for_each_row"),
        by("tokens.test_loss_masks_other_places_in_each_row"),
    ),
    trap(
        "a coin for each place",
        diffusion.Masked.corrupt,
        "luck.argsort(1).argsort(1) < count[:, None]",
        "luck < (count / real.sum(1))[:, None]",
        by("tokens.test_corrupt_masks_the_share_in_each_row"),
        COST_OF_MASKED,
    ),
    trap(
        "the first places are masked",
        diffusion.Masked.corrupt,
        "luck.argsort(1).argsort(1) <",
        "torch.arange(x0.shape[1]) <",
        by("tokens.test_corrupt_chooses_places_evenly_and_for_each_row"),
        by("tokens.test_loss_masks_other_places_in_each_row"),
    ),
    trap(
        "padding is masked",
        diffusion.Masked.corrupt,
        ".masked_fill(~real, torch.inf)",
        "",
        by("tokens.test_corrupt_never_masks_padding"),
    ),
    trap(
        "logits are taken for log-probabilities",
        diffusion.TokenModel._slice,
        "logits.log_softmax(-1)",
        "logits",
        by("tokens.test_wrapped_logits_become_log_probabilities"),
        by("text.test_networks_are_told_the_label_and_answer_with_laws_of_words", learned=BERT),
    ),
    trap(
        "a label out of range is another token",
        diffusion.TokenModel._slice,
        'check_label(label, len(x), self.null_label, "model")',
        "pass",
        by("bad_input.test_a_class_out_of_range_of_a_network_of_tokens"),
    ),
    trap(
        "a word out of the vocabulary is a prompt",
        diffusion.TokenModel._slice,
        'check_tokens(x, self, "model")',
        "pass",
        by("bad_input.test_tokens_out_of_the_vocabulary", token=67),
    ),
]

TEXT = [
    trap(
        "padding is seen",
        networks.Transformer.forward,
        "(~padded).long() if padded.any() else None",
        "None",
        by("text.test_padding_never_changes_the_guided_logits_of_real_places", learned=BERT),
        by("text.test_rows_of_different_lengths_do_not_meet", learned=BERT),
    ),
    trap(
        "a causal network sees the word that it predicts",
        networks.Transformer.forward,
        "if self.causal:",
        "if False:",
        by("text.test_a_causal_network_sees_only_what_stands_before", learned=GPT),
    ),
    trap(
        "a network is not told the label",
        networks.Transformer.prompt,
        "label.reshape(len(label), -1) +",
        "0 * label.reshape(len(label), -1) +",
        by("text.test_networks_are_told_the_label_and_answer_with_laws_of_words", learned=GPT),
        by("text.test_prompts_of_networks_have_tokens_of_their_own", prompted=PROMPTED),
    ),
    trap(
        "class and topic share their prompt tokens",
        networks.Transformer.prompt,
        "+ self.first",
        "+ self.first[0]",
        by("text.test_prompts_of_networks_have_tokens_of_their_own", prompted=PROMPTED),
    ),
    trap(
        "the exact model forgets the label",
        MIXTURE._log_joint,
        "self._weights_of(label, len(tokens))",
        "self._weights_of(None, len(tokens))",
        by("tokens.test_log_prob_is_the_law", mixture=SMALL, label=0),
    ),
    trap(
        "a word that is seen is not certain",
        MIXTURE._predict,
        "torch.where(known[..., None], certain.to(law), law)",
        "law",
        by("tokens.test_conditionals_are_those_of_the_law", mixture=SMALL, label=0),
    ),
    trap(
        "the tilted law without its unconditional part",
        MIXTURE.tilted_weights,
        "(1 - scale) * null",
        "0 * null",
        by("tokens.test_tilted_weights_by_enumeration", scale=3.0, label=0),
        by(
            "text.test_figures_of_the_two_tilted_laws", domain=REVIEWS, s=3, whole=4.58, topics=3.80
        ),
    ),
    trap(
        "the entropy inside the components alone",
        MIXTURE.entropy,
        "torch.special.entr(law).sum() +",
        "0 +",
        by("tokens.test_entropy_by_enumeration", label=0),
        by("text.test_log_prob_and_entropy_of_the_grammar", domain=REVIEWS, label=0),
    ),
    trap(
        "data of one class",
        text.Text.data,
        "weights[c]",
        "weights[0 * c]",
        by("text.test_data_follow_the_law", domain=REVIEWS, label=1),
    ),
    trap(
        "the topics' tilted law for that of whole sentences",
        text.Text.whole_law,
        "self.law.tilted_weights(scale, label)",
        "self.tilted_law(scale, label)",
        by("text.test_law_of_whole_sentences_by_components", domain=REVIEWS, scale=3.0, label=0),
    ),
    trap(
        "any conjunction is valid",
        text.Text._assign,
        "self.law.log_prob(rows)",
        "self.law.log_prob(rows.index_fill(1, torch.tensor(4), self.law.mask_token))",
        by(
            "text.test_what_the_grammar_does_not_make_is_invalid",
            domain=REVIEWS,
            text="the soup was superb but its garnish great",
        ),
        by("text.test_validity_and_accuracy_count_what_is_measured", domain=REVIEWS),
    ),
    trap(
        "a mask that is left is valid",
        text.Text._assign,
        "(x < self.law.vocab_size)",
        "(x <= self.law.vocab_size)",
        by(
            "text.test_what_the_grammar_does_not_make_is_invalid",
            domain=REVIEWS,
            text="the soup was superb and its garnish _",
        ),
    ),
    trap(
        "invalid rows have a class",
        text.Text.extra_measures,
        "x[self.assign(x) >= 0]",
        "x",
        by("text.test_validity_and_accuracy_count_what_is_measured", domain=REVIEWS),
    ),
    trap(
        "a coin for each part of a prompt",
        text.Text.training_batch,
        "torch.stack([kind == 1, kind == 0], 1)",
        "torch.rand(n, 2, generator=self.generator(seed)) < 1 / 3",
        by("text.test_training_shows_class_topic_or_both_in_equal_parts", prompted=PROMPTED),
        by("text.test_label_dropout_adds_the_prompt_of_nothing", prompted=PROMPTED),
    ),
    trap(
        "prompts are always whole in training",
        text.Text.training_batch,
        "torch.where(hidden, self.num_classes, batch.label)",
        "batch.label",
        by("text.test_training_shows_class_topic_or_both_in_equal_parts", prompted=PROMPTED),
    ),
    trap(
        "one kind of prompt for a batch",
        text.Text.training_batch,
        "torch.randint(3, (n,), generator=self.generator(seed))",
        "torch.randint(3, (1,), generator=self.generator(seed)).expand(n)",
        by("text.test_label_dropout_adds_the_prompt_of_nothing", prompted=PROMPTED),
    ),
    trap(
        "the last of two classes is the prompt's",
        text.Text.prompt,
        "if part is None or label[part] != null[part]:",
        "if part is None:",
        by("bad_input.test_prompts_with_unknown_words", words=("good", "bad"), found="bad"),
    ),
]

OPENED = Made("test_widgets.opened")
SHOWN = by("widgets.test_what_is_shown_is_what_is_sampled", explorer=OPENED)

WIDGETS = [
    trap(
        "each place of the slider has a noise of its own",
        widgets.Explorer.work,
        "rows=torch.arange(n).repeat(k)",
        "rows=torch.arange(n * k)",
        SHOWN,
    ),
    trap(
        "the slider guides nothing",
        widgets.Explorer.work,
        "guided(self.model, scale)",
        "self.model",
        SHOWN,
    ),
    trap(
        "the guided levels are all of them",
        widgets.Explorer.work,
        "scale = interval(scale, lo=lo, hi=hi)",
        "pass",
        by("widgets.test_a_parameter_samples_anew", control="hi", value=3),
    ),
    trap(
        "the bars' lines are another class's weights",
        widgets._bars,
        "domain.mode_weights[label]",
        "domain.mode_weights[0]",
        by("widgets.test_a_parameter_samples_anew", control="label", value=1),
    ),
    trap(
        "what is overtaken goes on",
        widgets.Explorer._change,
        "self.task.cancel()",
        "pass",
        by("widgets.test_what_is_overtaken_is_given_up"),
    ),
    trap(
        "a prediction forgets those that are kept",
        widgets.Prediction._keep,
        "**_read(self.path), ",
        "",
        by("widgets.test_a_prediction_is_there_again"),
    ),
]

MUTANTS = [
    *FORMULA,
    *COST,
    *LABELS,
    *SCHEDULES,
    *SAMPLERS,
    *NETWORKS,
    *MEASURES,
    *TRAINING,
    *TOKENS,
    *TEXT,
    *WIDGETS,
]
