"""Traps that well-known code has fallen into, each as a change to one function of the package.

    trap(name, function, {old: new}, *killers)

The function is named as in its module, "guide" or "Guided.forward", wherever that module is; old
and new are Python, compared as syntax trees: every expression, or run of statements, of the
function that equals old becomes new. The killers are the tests that must then fail. The change is
made in place (the function's code object), so that all who hold the function meet the trap.
"""

import ast
import copy
import functools
import importlib
import inspect
import operator
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import cfg_tutorial as ct


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
        test = getattr(importlib.import_module(f"test_{module}"), test)
        wanted = inspect.signature(test).parameters
        arguments = {k: v() if isinstance(v, Made) else v for k, v in self.arguments.items()}
        test(**arguments, **{k: v for k, v in fixtures.items() if k in wanted})


class Stale(Exception):
    """The package has no such function, or the function no such code: renew the mutant."""


Place = tuple[Path, str, str]  # of a function: its file, the module's name, its name in there


@functools.cache
def functions() -> dict[str, list[Place]]:
    """Return where each function of the package is, by its name, bare or after its module's."""
    places: dict[str, list[Place]] = {}
    root = Path(ct.__file__).parent
    for path in sorted(root.rglob("*.py")):
        module = ".".join([root.name, *path.relative_to(root).with_suffix("").parts])
        for name in named(ast.parse(path.read_text(encoding="utf-8"))):
            for key in (name, f"{path.stem}.{name}"):
                places.setdefault(key, []).append((path, module, name))
    return places


def named(tree: ast.AST, before: str = "") -> dict[str, ast.AST]:
    """Return the functions of a module, and the methods of its classes, by name.

    Not the exercises: each has the name of what it checks.
    """
    found: dict[str, ast.AST] = {}
    for node in getattr(tree, "body", ()):
        if isinstance(node, ast.ClassDef):
            found |= named(node, f"{before}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            made_by = [ast.unparse(decorator) for decorator in node.decorator_list]
            if not any(decorator.startswith("exercise(") for decorator in made_by):
                found[before + node.name] = node
    return found


class Change(ast.NodeTransformer):
    """Makes new of all that equals old, and counts how often."""

    def __init__(self, old: str, new: str):
        self.old, self.new, self.count = ast.parse(old).body, ast.parse(new).body, 0
        pair = [*self.old, *self.new]
        if len(pair) == 2 and all(isinstance(node, ast.Expr) for node in pair):
            self.old, self.new = ([node.value] for node in pair)  # anywhere, not as a statement

    def is_old(self, nodes: list[Any]) -> bool:
        return [*map(ast.dump, nodes)] == [*map(ast.dump, self.old)]

    def renewed(self) -> list[Any]:
        self.count += 1
        return copy.deepcopy(self.new)

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node, ast.expr) and self.is_old([node]):
            return self.renewed()[0]
        for name, block in ast.iter_fields(node):
            if name in ("body", "orelse", "finalbody") and isinstance(block, list):
                i, n = 0, len(self.old)
                while i < len(block):
                    if self.is_old(block[i : i + n]):
                        block[i : i + n] = new = self.renewed()
                        i += len(new) - 1
                    i += 1
        return node


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a code object and all inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


@dataclass(frozen=True)
class Mutant:
    """A trap: in ``function``, each piece of code of ``changes`` becomes the one it maps to."""

    trap: str
    function: str
    changes: dict[str, str]
    killers: tuple[Kill, ...]

    @functools.cached_property
    def place(self) -> Place:
        places = functions().get(self.function, [])
        if len(places) != 1:
            where = [module for _, module, _ in places] or "no module"
            raise Stale(f"{self.trap!r}: {self.function} is in {where}, not in just one")
        return places[0]

    @functools.cached_property
    def code(self) -> types.CodeType:
        path, _, name = self.place
        tree = ast.parse(path.read_text(encoding="utf-8"))
        function = named(tree)[name]
        for old, new in self.changes.items():
            change = Change(old, new)
            change.visit(function)
            if not change.count:
                raise Stale(f"{self.trap!r}: {self.function} has no {old!r}")
        module = compile(ast.fix_missing_locations(tree), f"<mutant: {self.trap}>", "exec")
        return next(code for code in codes(module) if code.co_qualname == name)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        code, (_, module, name) = self.code, self.place
        function = inspect.unwrap(operator.attrgetter(name)(importlib.import_module(module)))
        kept, filled = function.__code__, {cache: cache.cache_info() for cache in caches()}
        function.__code__ = code
        try:
            yield
        finally:
            function.__code__ = kept
            for cache in caches():  # what a trap has put there stays in it
                if cache.cache_info() != filled.get(cache):
                    cache.cache_clear()


def caches() -> set[Any]:
    """Return the functions of the package that remember what they returned."""
    modules = [m for name, m in list(sys.modules.items()) if name.startswith("cfg_tutorial")]
    found = [value for module in modules for value in vars(module).values()]
    return {value for value in found if isinstance(value, functools._lru_cache_wrapper)}


def by(name: str, /, **arguments: Any) -> Kill:
    return Kill(name, arguments)


def trap(name: str, function: str, changes: dict[str, str], *killers: Kill | str) -> Mutant:
    named = [by(kill) if isinstance(kill, str) else kill for kill in killers]
    return Mutant(name, function, changes, tuple(named))


PAIR = (0, 2, 1, 1, 3)
O2 = by("oracles.test_o2_ode", sampler=ct.sample_heun, numbers=PAIR)
O4 = by("oracles.test_o4_equal_variances", m_u=0, m_c=1, v=1, s=3)
O5 = by("oracles.test_o5_any_schedule", name="window", sampler=ct.sample_heun)
O6 = "oracles.test_o6_a_late_window_below_one_gives_the_variance_back"
LAW = "guidance.test_law_in_one_example"


# A trap takes a few lines: its name and function, the change, the killers.
# fmt: off
LERP = "uncond.lerp(cond, per_row(scale, cond))"
FORMULA = [
    trap("the scale is the paper's w", "guide",
         {"per_row(scale, cond)": "per_row(scale - 1, cond)"}, O2, O4, LAW),
    trap("one more than the scale", "guide",
         {"per_row(scale, cond)": "per_row(scale + 1, cond)"}, O2, O4, LAW),
    trap("the branches change places", "guide",
         {LERP: "cond.lerp(uncond, per_row(scale, cond))"}, O2, O4, LAW),
    trap("a sum that is inexact at 1", "guide",
         {LERP: "uncond + per_row(scale, cond) * (cond - uncond)"},
         "guidance.test_scale_one_is_exact_beside_large_numbers"),
    trap("weights that do not sum to 1", "guide",
         {LERP: "per_row(scale, cond) * cond + (per_row(scale, cond) - 1) * uncond"}, O2, O4, LAW),
    trap("clipped inside the combination", "guide",
         {LERP: "uncond.clamp(-1, 1).lerp(cond.clamp(-1, 1), per_row(scale, cond))"}, LAW, O2),
    trap("only some channels are guided", "guide",
         {LERP: "torch.cat([uncond.lerp(cond, per_row(scale, cond))[:, :1], cond[:, 1:]], 1)"},
         LAW),
    trap("a place that is forbidden becomes NaN", "combine",
         {"total.masked_fill(forbidden, -torch.inf)": "total"},
         by("guidance.test_forbidden_stays_forbidden", scale=2.0)),
    trap("a place with nothing allowed passes", "combine",
         {"forbidden.all(-1).any()": "False"},
         "guidance.test_a_place_with_nothing_allowed_is_an_error"),
    trap("a place is forbidden only where both branches forbid it", "combine",
         {"torch.stack(forbids).any(0)": "torch.stack(forbids).all(0)"},
         by("guidance.test_forbidden_stays_forbidden", scale=2.0)),
]


def exact_at(scale, used):
    return by("guidance.test_scales_zero_and_one_are_exact_and_cost_one_forward",
              scale=scale, label_used=used, kind=float, dtype=torch.float64)


def two_forwards(scale):
    return by("guidance.test_other_scales_cost_two_forwards_in_one_call", scale=scale)


ROWS = "mixtures.test_rows_run_are_counted"
GUIDED_ROWS = "diffusion.test_guided_rows_are_counted_in_the_model"
USED = "[branch for branch in branches if _counts(branch[2])]"
COST = [
    trap("below 1 is conditional", "_rounded",
         {"value = float(scale)": "value = max(float(scale), 1.0)"},
         two_forwards(0.5),
         exact_at(0.0, 3)),
    trap("one unit in the last place pays twice", "_rounded",
         {"ROUNDING": "0"},
         by("guidance.test_a_rounded_one_costs_one_forward", scale=1.0000000000000002),
         by("guidance.test_a_rounded_zero_costs_one_forward", scale=1e-17)),
    trap("near 1 is 1", "_rounded",
         {"ROUNDING": "0.01"}, by("guidance.test_scale_is_continuous", at=1.0, step=1e-4),
         two_forwards(1.0001)),
    trap("two forwards at 0 and 1", "combine",
         {USED: "branches", "len(used) == 1 and _all_one(used[0][2])": "False"},
         exact_at(1.0, None), exact_at(0.0, 3)),
    trap("two forwards at 0", "combine",
         {USED: "[b for i, b in enumerate(branches) if i == 0 or b[2] != 0]"}, exact_at(0.0, 3)),
    trap("rows at 0 or 1 pay for both branches", "predictions",
         {"w.nonzero()[:, 0]": "every"}, ROWS, GUIDED_ROWS),
    trap("calls are counted, not rows", "Exact.forward",
         {"self.rows_run += len(x)": "self.rows_run += 1"}, ROWS),
    trap("a network's calls are counted, not rows", "_Wrapped.forward",
         {"self.rows_run += len(x)": "self.rows_run += 1"}, GUIDED_ROWS),
]

FIXED_POINT = "guidance.test_null_label_is_a_fixed_point"
TOGETHER = "guidance.test_all_parts_become_null_together"
DROPPED = "training.test_labels_are_dropped_in_training"
IS_NULL = "(label == null)"
COIN = "torch.rand(len(label), generator=generator, device=device)"
LABELS = [
    trap("the null label is 0", "Scaled.branches",
         {"_like(self.null_label, label)": "_like(0, label)"}, LAW, FIXED_POINT),
    trap("the null label is 1000", "Scaled.branches",
         {"_like(self.null_label, label)": "_like(1000, label)"}, LAW),
    trap("one part alone becomes null", "Scaled.branches",
         {"_like(self.null_label, label)":
          "torch.cat([_like(self.null_label, label)[:, :1], label[:, 1:]], 1)"}, TOGETHER),
    trap("a row with one part missing counts as null", "Scaled.branches",
         {f"{IS_NULL}.all(1)": f"{IS_NULL}.any(1)"}, TOGETHER),
    trap("the null label costs two forwards", "Scaled.branches",
         {"bool(is_null.any())": "False"}, FIXED_POINT),
    trap("one level for a whole batch", "predictions",
         {"_joined([_rows(level, rows[i]) for i in own]) if level.ndim else level":
          "level.flatten()[0]"},
         "guidance.test_levels_of_rows_at_one_scale", "guidance.test_levels_of_rows"),
    trap("one level for all slices", "in_slices",
         {"level.split(batch_size)": "repeat(level[:batch_size])"},
         by("diffusion.test_a_learned_model_slices_its_own_forward", n=512)),
    trap("no slices", "in_slices",
         {"len(x) <= batch_size": "True"},
         by("diffusion.test_a_learned_model_slices_its_own_forward", n=600)),
    trap("a model without label dropout is guided", "check_model",
         {"getattr(model, 'p_uncond', None) != 0": "True"},
         "guidance.test_a_model_without_label_dropout_cannot_be_guided",
         "bad_input.test_guiding_without_an_unconditional_branch"),
    trap("one coin for the whole batch", "drop_labels",
         {"len(label)": "1"}, by("diffusion.test_labels_are_dropped_at_the_rate_asked_for", p=0.5),
         DROPPED),
    trap("a coin for each part of a label", "drop_labels",
         {"len(label)": "label.shape", "heads.reshape(-1, *[1] * (label.ndim - 1))": "heads"},
         by("diffusion.test_parts_of_a_row_share_its_coin", p=0.6)),
    trap("p_uncond is the share that is kept", "drop_labels",
         {f"{COIN} < p_uncond": f"{COIN} >= p_uncond"},
         by("diffusion.test_labels_are_dropped_at_the_rate_asked_for", p=0.1), DROPPED),
    trap("null in training is 0", "fit", {
        "drop_labels(label, dropped, model.null_label, generator)":
        "drop_labels(label, dropped, 0, generator)"}, DROPPED),
    trap("no label dropout in training", "fit",
         {"getattr(model, 'p_uncond', None)": "0.0"}, DROPPED),
]


def constant(sampler):
    return by("samplers.test_scale_is_constant_inside_a_step", sampler=sampler, dtype=torch.float64)


def once(sampler):
    return by("samplers.test_windows_that_meet_cover_each_step_once", sampler=sampler)


INSIDE = "guidance.test_interval_is_one_outside_and_open_below"
ON_GRID = by("samplers.test_sample_puts_the_edges_on_the_grid", dtype=torch.float32)
RAMP = "guidance.test_ramp_is_linear_in_its_power"
WINDOW = "torch.where((low < level) & (level <= high), scale.to(level), 1.0)"
SCHEDULES = [
    trap("unconditional outside the interval", "_in_window",
         {WINDOW: WINDOW.replace("1.0", "0.0")}, INSIDE, O5, O6),
    trap("the complement of the interval", "_in_window",
         {WINDOW: "torch.where((low < level) & (level <= high), 1.0, scale.to(level))"}, INSIDE, O5,
         O6),
    trap("the gate is closed on the wrong side", "_in_window",
         {"low < level": "low <= level", "level <= high": "level < high"}, INSIDE,
         constant(ct.sample_heun), constant(ct.sample_euler)),
    trap("the interval is closed on both sides", "_in_window",
         {"low < level": "low <= level"}, INSIDE, once(ct.sample_dpmpp_2m)),
    trap("the interval is open on both sides", "_in_window",
         {"level <= high": "level < high"}, INSIDE, once(ct.sample_ancestral)),
    trap("edges are compared in float64", "_in_window",
         {"level.dtype": "torch.float64"},
         by("guidance.test_edges_are_compared_in_the_type_of_x", edge=0.2)),
    trap("an interval hides its edges", "interval",
         {"tuple(edge for edge in (lo, hi) if 0 < edge < math.inf)": "()"}, INSIDE, ON_GRID),
    trap("a ramp runs backwards", "_on_ramp",
         {"hi**power - level**power": "level**power - lo**power"}, RAMP),
    trap("a ramp in another power", "ramp",
         {"1 / rho": "1 / 1"}, RAMP,
         by("oracles.test_o5_any_schedule", name="ramp up", sampler=ct.sample_heun)),
    trap("a ramp that goes on beyond its ends", "_on_ramp",
         {"((hi**power - level**power) / (hi**power - lo**power)).clamp(0, 1)":
          "(hi**power - level**power) / (hi**power - lo**power)"}, RAMP),
    trap("edges are not put on the grid", "Gaussian.levels", {"edges": "()"}, ON_GRID),
    trap("an edge is put beside a level that it nearly equals", "insert_levels",
         {"levels[~near]": "levels"},
         by("samplers.test_an_edge_next_to_a_level_does_no_harm", gap=1)),
]


def evaluated(sampler):
    return by("samplers.test_sampling_is_in_eval_mode_and_restores_each_mode", sampler=sampler)


def after_an_error(sampler):
    return by("samplers.test_modes_are_restored_after_an_error", sampler=sampler)


def abandoned(sampler):
    return by("samplers.test_modes_are_restored_when_the_states_are_abandoned", sampler=sampler)


def alone(sampler):
    return by("samplers.test_a_row_does_not_depend_on_its_batch", sampler=sampler)


NOISE = "samplers.test_noise_is_a_function_of_seed_row_and_step"
ANCESTRAL = "samplers.test_ancestral_by_hand"
SAMPLERS = [
    trap("Heun's second call belongs to the next step", "sample_heun",
         {"sigma_next.nextafter(sigma)": "sigma_next"}, constant(ct.sample_heun),
         by("samplers.test_calls_of_each_step", sampler=ct.sample_heun)),
    trap("Heun is called a second time where it started", "sample_heun",
         {"sigma_next.nextafter(sigma)": "sigma"}, O2),
    trap("2M remembers across an edge", "sample_dpmpp_2m",
         {"not (sigma == edges).any()": "True"}, "samplers.test_2m_by_hand_with_an_edge",
         by("samplers.test_a_jump_on_the_grid_costs_no_accuracy", sampler=ct.sample_dpmpp_2m)),
    trap("2M looks for edges in float64", "sample_dpmpp_2m",
         {"sigmas.new_tensor": "torch.DoubleTensor"}, "samplers.test_edges_are_met_in_float32"),
    trap("2M forgets", "sample_dpmpp_2m",
         {"previous is not None": "False"}, "samplers.test_2m_by_hand",
         by("oracles.test_o2_order_of_the_samplers", sampler=ct.sample_dpmpp_2m, order=2)),
    trap("Euler takes the wrong side of its step", "sample_euler",
         {"sigma_next / sigma": "1 - sigma_next / sigma"}, O4),
    trap("ancestral steps forget their noise", "sample_ancestral",
         {"sigma_next > 0": "False"}, ANCESTRAL,
         "oracles.test_o3_eighteen_steps_are_too_few_even_for_a_unit_gaussian"),
    trap("ancestral steps go down to sigma_next and add noise on top", "sample_ancestral",
         {"sigma_next**2 / sigma": "sigma_next * 0.999"}, by("oracles.test_o3_sde", numbers=PAIR),
         ANCESTRAL),
    trap("one generator for a batch", "row_noise",
         {"generator.standard_normal(shape)": "generators[0].standard_normal(shape)"}, NOISE,
         alone(ct.sample_heun)),
    trap("noise from torch's own generator", "row_noise",
         {"torch.from_numpy(draws)": "torch.randn(draws.shape)"}, NOISE,
         alone(ct.sample_ancestral)),
    trap("the seed is not used", "row_noise",
         {"[seed, stream, int(row)]": "[0, stream, int(row)]"}, NOISE),
    trap("one stream for the start and the noise on the way", "sample_ancestral",
         {"row_noise(seed, rows, tuple(x.shape[1:]), x, stream=1)":
          "row_noise(seed, rows, tuple(x.shape[1:]), x, stream=0)"},
         "samplers.test_start_and_noise_on_the_way_are_independent", ANCESTRAL),
    trap("rows reach no sampler", "Domain.states",
         {"name in given": "False"}, alone(ct.sample_ancestral)),
    trap("a start by the place in the batch", "Domain.states",
         {"self.diffusion.noise(self.shape, seed, rows, like)":
          "self.diffusion.noise(self.shape, seed, torch.arange(n), like)"}, alone(ct.sample_heun)),
    trap("sampling in training mode", "evaluating",
         {"module.training = False": "pass"}, evaluated(ct.sample_heun),
         evaluated(ct.sample_ancestral)),
    trap("the model stays in evaluation mode", "evaluating",
         {"module.training = mode": "pass"}, evaluated(ct.sample_dpmpp_2m),
         after_an_error(ct.sample_euler), abandoned(ct.sample_euler)),
    trap("all is in training mode afterwards", "evaluating",
         {"module.training = mode": "module.training = True"}, evaluated(ct.sample_euler)),
    trap("the mode is not restored after an error", "evaluating",
         {"yield": "try: yield\nexcept BaseException: modules.clear(); raise"},
         after_an_error(ct.sample_heun)),
    trap("gradients are kept", "evaluating",
         {"torch.no_grad()": "torch.enable_grad()"}, evaluated(ct.sample_heun)),
]


def wrapped(predicts, timestep=False):
    return by("diffusion.test_a_wrapped_network_is_the_exact_model",
              predicts=predicts, sigma_data=0.5, scaled=True, timestep=timestep)


VELOCITY = "norm**2 * x - sigma * norm * output"
NETWORKS = [
    trap("eps has the wrong sign", "Denoiser._slice",
         {"x - sigma * output": "x + sigma * output"}, wrapped("eps")),
    trap("eps is not scaled by sigma", "Denoiser._slice",
         {"x - sigma * output": "x - output"}, wrapped("eps")),
    trap("v has the wrong sign", "Denoiser._slice",
         {VELOCITY: "norm**2 * x + sigma * norm * output"}, wrapped("v")),
    trap("the input is not scaled", "Denoiser._slice",
         {"x * norm if self.scale_input or flow else x": "x"}, wrapped("x0")),
    trap("the network gets sigma for its timestep", "_Wrapped._asked",
         {"self.level_input(levels) if self.level_input else levels": "levels"},
         wrapped("x0", timestep=True)),
]

OTHER_MODES = "measures.test_modes_of_other_classes_are_not_asked_for"
LEAST = "(COVERED * counts.sum() * weights.double() - 1e-9)"
MEASURES = [
    trap("the invalid count as the last mode", "count_modes",
         {"mode[mode >= 0]": "mode % num_modes"}, "measures.test_counting_leaves_the_invalid_out"),
    trap("the tilted law at the paper's w", "tilted_law",
         {"scale": "(scale - 1)"},
         by("measures.test_tilted_law_of_the_domains", scale=3, expected=3.80)),
    trap("0 log 0 in the tilted law", "tilted_law",
         {"torch.where(possible, log, -torch.inf)": "log"},
         "measures.test_tilted_law_with_zero_weights"),
    trap("the tilted law in place of guidance's own", "GaussianMixture.guided_weights",
         {"guided_law(self.means, self.variances, own, mean, float(scale))":
          "tilted_law(self.mode_weights, scale, label)"},
         by("oracles.test_o8_table", s=3, ode=0.013818, tilt=0.015385)),
    trap("the divergence keeps its bias", "captured_mass",
         {"((inside > 0).sum() - 1) / (2 * inside.sum())": "0"},
         "measures.test_captured_mass_is_corrected_for_its_bias"),
    trap("samples of other classes' modes are lost from captured mass", "captured_mass",
         {"inside.sum() / counts.sum()": "1.0"}, OTHER_MODES),
    trap("a quarter rounded down", "mode_coverage",
         {f"{LEAST}.ceil()": f"{LEAST}.floor()"},
         "measures.test_a_mode_counts_from_a_quarter_of_its_share"),
    trap("the modes of other classes are asked for", "mode_coverage",
         {"weights > 0": "weights >= 0"}, OTHER_MODES),
    trap("alignment is p(mode | class)", "alignment",
         {"mode_weights[label].double() / mode_weights.double().sum(0)":
          "mode_weights[label].double()"}, "measures.test_alignment_by_hand"),
    trap("spread over all modes together", "spread",
         {"mode == k": "mode >= 0", "real_mode == k": "real_mode >= 0"},
         "measures.test_spread_by_hand"),
    trap("the distance keeps its diagonal", "kernel_distance",
         {"(kernel(a, a).sum() - len(a)) / (len(a) * (len(a) - 1))": "kernel(a, a).mean()"},
         "measures.test_kernel_distance_is_the_unbiased_sum"),
    trap("the confusion matrix is turned over", "correct_counts",
         {"confusion.to(counts)": "confusion.T.to(counts)"},
         by("measures.test_correction_recovers_what_a_reader_blurred", seed=0)),
]

GOES_ON = by("training.test_an_interrupted_run_goes_on_to_the_same_weights", stop=6)
TRAINING = [
    trap("a run goes on one step early", "fit",
         {"{**run, 'step': step + 1, 'begun': begun, 'early': early}":
          "{**run, 'step': step, 'begun': begun, 'early': early}"}, GOES_ON),
    trap("a run forgets its optimiser", "_resume",
         {"optimizer.state[weight] = kept": "pass"}, GOES_ON),
    trap("a run forgets its average", "_resume",
         {"mean.copy_(state[f'{i}.average'])": "pass"}, GOES_ON),
    trap("a checkpoint is written in its place", "replaced",
         {"yield partial; os.replace(partial, path)": "yield path"},
         "training.test_a_failed_save_leaves_the_old_file"),
    trap("another run's checkpoint is taken up", "_resume",
         {"found == run": "True"},
         by("training.test_a_checkpoint_of_another_run_is_refused_and_kept", changed={"lr": 2e-2})),
    trap("buffers are not taken up", "_resume",
         {"buffer.copy_(state[f'buffer.{name}'])": "pass"},
         by("training.test_dropout_batch_norms_and_tied_weights_go_on_bit_for_bit", stop=6)),
    trap("dropout's luck is the process's", "fit", {"seeded(step_seed)": "nullcontext()"},
         by("training.test_dropout_batch_norms_and_tied_weights_go_on_bit_for_bit", stop=6)),
    trap("weights are kept unseen", "_check_finite", {"are_finite(kept)": "True"},
         by("training.test_a_gradient_that_is_not_a_number_spoils_no_checkpoint_and_no_model",
            at=11)),
    trap("a sum is not compared", "load_tensors",
         {"kept.get('sum') != _sum(tensors, kept['config'])": "False"},
         "training.test_a_checkpoint_with_a_flipped_bit_is_refused"),
]

CELLS = "keys.test_a_cells_key_knows_domain_sampler_steps_and_model"
NETWORK = "keys.test_a_network_is_known_by_what_it_is"
TRAINED = "keys.test_other_data_and_another_layer_are_trained_anew"
KEYS = [
    trap("a key without the sampler", "cell_key", {"domain.sampler": "None"}, CELLS),
    trap("a key without the domain's steps", "cell_key",
         {"cell.num_steps or domain.num_steps": "cell.num_steps"}, CELLS),
    trap("a key without the network", "cell_key", {"domain.first_model(cell.seed)": "None"},
         NETWORK),
    trap("a key without the recipe", "cell_key", {"domain.recipe": "None"}, CELLS),
    trap("weights' key without the network", "Domain.train", {"key_of(model)": "''"}, NETWORK),
    trap("weights' key without the data", "Domain.train", {"self.key()": "''"}, TRAINED),
]

REVIEWS, PROMPTED = ct.load("text"), ct.load("text", prompt=True)
BERT, GPT = Made("test_text.network_of", (False,)), Made("test_text.network_of", (True,))
SMALL = Made("test_tokens.make_mixture")
WEIGHTS = by("tokens.test_weights_repair_the_law", order="random")
PRODUCT = "tokens.test_weight_is_the_product_of_the_normalisers"
STEPS = "tokens.test_any_number_of_steps_reveals_each_place_once"
FALL = "tokens.test_masked_count_falls_as_the_levels_say"
VISIBLE = by("tokens.test_visible_places_stay", order="random", top=0.5)
COST_OF_MASKED = "tokens.test_loss_is_the_weighted_cost_of_what_was_masked"
ONE_PLACE = by("tokens.test_o13_one_place_is_the_tilted_law", scale=3.0)
EVEN_ORDERS = "tokens.test_random_orders_of_rows_differ_and_are_even"
CARRIED = by("tokens.test_rows_carry_their_luck_along", order="random")
EVENLY = "tokens.test_corrupt_chooses_places_evenly_and_for_each_row"
OTHER_PLACES = "tokens.test_loss_masks_other_places_in_each_row"
ORDER = "next(row_noise(seed, rows, shape, like, stream=2))"
LOG_Z = "torch.where(shown, log_z, 0.0)"
WORD = "torch.searchsorted(cdf, luck[:, None], right=True)"
LUCK = "torch.rand(x0.shape, generator=generator)"

TOKENS = [
    trap("luck is drawn only where something is revealed", "sample_unmask",
         {"luck = next(noise)": "pass", "luck": "next(noise)"},
         by("tokens.test_a_row_does_not_depend_on_how_much_of_another_is_masked", order="random")),
    trap("words are drawn before they are normalised", "samplers._draw",
         {"(prediction - log_z[:, None]).exp()": "prediction.exp()",
          "torch.special.ndtr(noise[at]) * cdf[:, -1]": "torch.special.ndtr(noise[at])",
          WORD: f"{WORD}.clamp(max=prediction.shape[1] - 1)"}, ONE_PLACE),
    trap("the likeliest word is taken", "samplers._draw",
         {WORD: "prediction.argmax(1, keepdim=True)"},
         "tokens.test_words_are_drawn_not_the_likeliest_taken", ONE_PLACE),
    trap("the mask is drawn as a word", "samplers._draw",
         {"prediction[:, model.mask_token] = -torch.inf": "pass"},
         "tokens.test_the_mask_is_never_drawn_though_it_be_a_word"),
    trap("the weight has the wrong sign", "sample_unmask",
         {LOG_Z: "torch.where(shown, -log_z, 0.0)"}, WEIGHTS, PRODUCT),
    trap("the weight is left out", "sample_unmask",
         {LOG_Z: "torch.where(shown, 0 * log_z, 0.0)"}, WEIGHTS, PRODUCT),
    trap("the weight is that of the last step", "sample_unmask",
         {f"log_weight + {LOG_Z}.sum(1)": f"{LOG_Z}.sum(1)"}, WEIGHTS, PRODUCT),
    trap("the level of a step is that of its end", "sample_unmask",
         {"_draw(model, tokens, level, label, shown, luck)":
          "_draw(model, tokens, level_next, label, shown, luck)"},
         "tokens.test_schedules_take_the_masked_fraction_at_the_start_of_a_step", FALL),
    trap("visible places are drawn again", "sample_unmask",
         {"torch.where(shown, drawn, tokens)": "torch.where(shown | ~masked, drawn, tokens)"},
         VISIBLE, STEPS),
    trap("all places are drawn anew at each step", "sample_unmask",
         {"masked = tokens == model.mask_token": "masked = tokens == tokens"}, VISIBLE,
         "tokens.test_all_places_visible_come_back_unchanged_at_no_cost"),
    trap("the least likely words stay", "sample_unmask",
         {"_rank(-log_prob, masked)": "_rank(log_prob, masked)"},
         "tokens.test_confidence_favours_likely_words_even_without_guidance"),
    trap("random order is from left to right", "sample_unmask",
         {"order == 'random'": "False"}, EVEN_ORDERS,
         "tokens.test_o13_random_order_is_no_other_law"),
    trap("one order for a batch", "sample_unmask",
         {ORDER: f"{ORDER}[:1].expand(tokens.shape)"}, EVEN_ORDERS, CARRIED),
    trap("orders belong to places in the batch", "sample_unmask",
         {ORDER: ORDER.replace("rows", "torch.arange(len(rows))")}, CARRIED),
    trap("one stream for the order and the words", "sample_unmask",
         {ORDER: ORDER.replace("stream=2", "stream=1")},
         by("tokens.test_o13_random_order", scale=1.0)),
    trap("a step reveals a place too many", "sample_unmask",
         {"(at_first * (level_next / levels[0]) - 1e-4).ceil()":
          "(at_first * (level_next / levels[0]) - 1e-4).floor()"}, FALL),
    trap("a start below level 1 reveals too much at once", "sample_unmask",
         {"level_next / levels[0]": "level_next"},
         "tokens.test_masked_places_are_spread_over_levels_that_begin_below_one"),
    trap("the share of all places stays, not of those masked at the start", "sample_unmask",
         {"(tokens == model.mask_token).sum(1)": "(tokens == tokens).sum(1)"}, STEPS, VISIBLE),
    trap("an order is taken for the ranks", "_rank",
         {"turn.masked_fill(~masked, torch.inf).argsort(1).argsort(1)":
          "turn.masked_fill(~masked, torch.inf).argsort(1)"}, STEPS),
    trap("no weight in the loss", "Masked.loss",
         {"length / count.clamp(min=1)": "torch.ones(len(x0))"}, COST_OF_MASKED,
         by("text.test_nelbo_of_the_exact_model_is_the_entropy_of_the_grammar",
            domain=REVIEWS, label=0)),
    trap("the weight of the loss is inverted", "Masked.loss",
         {"length / count.clamp(min=1)": "count / length"}, COST_OF_MASKED),
    trap("the loss counts what is visible", "Masked.loss", {"~hidden": "hidden"}, COST_OF_MASKED),
    trap("one number of masked places for a batch", "Masked.loss",
         {"quantile.to(x0.device)": "quantile[:1].to(x0.device)"}, COST_OF_MASKED),
    trap("padding counts as length", "Masked.loss",
         {"real.sum(1)": "(x0 == x0).sum(1)"},
         by("tokens.test_padding_does_not_change_the_loss", causal=False)),
    trap("padding is learned", "Masked.loss",
         {"x0, torch.zeros(len(x0)), real, torch.ones(len(x0))":
          "x0, torch.zeros(len(x0)), x0 == x0, torch.ones(len(x0))"},
         by("tokens.test_padding_does_not_change_the_loss", causal=True)),
    trap("the same places are masked in a whole batch", "Masked.corrupt",
         {LUCK: "torch.rand(1, x0.shape[1], generator=generator).expand(x0.shape)"}, EVENLY,
         OTHER_PLACES),
    trap("a coin for each place", "Masked.corrupt",
         {"luck.argsort(1).argsort(1) < count[:, None]": "luck < (count / real.sum(1))[:, None]"},
         "tokens.test_corrupt_masks_the_share_in_each_row", COST_OF_MASKED),
    trap("the first places are masked", "Masked.corrupt",
         {"luck.argsort(1).argsort(1)": "torch.arange(x0.shape[1])"}, EVENLY, OTHER_PLACES),
    trap("padding is masked", "Masked.corrupt",
         {f"{LUCK}.to(x0.device).masked_fill(~real, torch.inf)": f"{LUCK}.to(x0.device)"},
         "tokens.test_corrupt_never_masks_padding"),
    trap("logits are taken for log-probabilities", "TokenModel._slice",
         {"self._asked(x, level.expand(len(x)), label).log_softmax(-1)":
          "self._asked(x, level.expand(len(x)), label)"},
         "tokens.test_wrapped_logits_become_log_probabilities",
         by("text.test_networks_are_told_the_label_and_answer_with_laws_of_words", learned=BERT)),
    trap("a label out of range is another token", "TokenModel._slice",
         {"check_label(label, len(x), self.null_label, 'model')": "pass"},
         "bad_input.test_a_class_out_of_range_of_a_network_of_tokens"),
    trap("a word out of the vocabulary is a prompt", "TokenModel._slice",
         {"check_tokens(x, self, 'model')": "pass"},
         by("bad_input.test_tokens_out_of_the_vocabulary", token=67)),
]

TOLD_APART = by("text.test_prompts_of_networks_have_tokens_of_their_own", prompted=PROMPTED)
COUNTED = by("text.test_validity_and_accuracy_count_what_is_measured", domain=REVIEWS)
PARTS_SHOWN = by("text.test_training_shows_class_topic_or_both_in_equal_parts", prompted=PROMPTED)
NOTHING = by("text.test_label_dropout_adds_the_prompt_of_nothing", prompted=PROMPTED)


def invalid(text):
    return by("text.test_what_the_grammar_does_not_make_is_invalid", domain=REVIEWS, text=text)


TEXT = [
    trap("padding is seen", "Transformer.forward",
         {"(~padded).long() if padded.any() else None": "None"},
         by("text.test_padding_never_changes_the_guided_logits_of_real_places", learned=BERT),
         by("text.test_rows_of_different_lengths_do_not_meet", learned=BERT)),
    trap("a causal network sees the word that it predicts", "Transformer.forward",
         {"self.causal": "False"},
         by("text.test_a_causal_network_sees_only_what_stands_before", learned=GPT)),
    trap("a network is not told the label", "Transformer.prompt",
         {"label.reshape(len(label), -1)": "0 * label.reshape(len(label), -1)"},
         by("text.test_networks_are_told_the_label_and_answer_with_laws_of_words", learned=GPT),
         TOLD_APART),
    trap("class and topic share their prompt tokens", "Transformer.prompt",
         {"self.first": "self.first[0]"}, TOLD_APART),
    trap("the exact model forgets the label", "TokenMixture._log_joint",
         {"self._weights_of(label, len(tokens))": "self._weights_of(None, len(tokens))"},
         by("tokens.test_log_prob_is_the_law", mixture=SMALL, label=0)),
    trap("a word that is seen is not certain", "TokenMixture._predict",
         {"torch.where(known[..., None], certain.to(law), law)": "law"},
         by("tokens.test_conditionals_are_those_of_the_law", mixture=SMALL, label=0)),
    trap("the tilted law without its unconditional part", "TokenMixture.tilted_weights",
         {"(1 - scale) * null": "0 * null"},
         by("tokens.test_tilted_weights_by_enumeration", scale=3.0, label=0),
         by("text.test_figures_of_the_two_tilted_laws",
            domain=REVIEWS, s=3, whole=4.58, topics=3.80)),
    trap("the entropy inside the components alone", "TokenMixture.entropy",
         {"torch.special.entr(law).sum()": "0"}, by("tokens.test_entropy_by_enumeration", label=0),
         by("text.test_log_prob_and_entropy_of_the_grammar", domain=REVIEWS, label=0)),
    trap("data of one class", "Text.data",
         {"weights[c]": "weights[0 * c]"},
         by("text.test_data_follow_the_law", domain=REVIEWS, label=1)),
    trap("the topics' tilted law for that of whole sentences", "Text.whole_law",
         {"self.law.tilted_weights(scale, label)": "self.tilted_law(scale, label)"},
         by("text.test_law_of_whole_sentences_by_components", domain=REVIEWS, scale=3.0, label=0)),
    trap("any conjunction is valid", "Text._assign",
         {"self.law.log_prob(rows)":
          "self.law.log_prob(rows.index_fill(1, torch.tensor(4), self.law.mask_token))"},
         invalid("the soup was superb but its garnish great"), COUNTED),
    trap("a mask that is left is valid", "Text._assign",
         {"x < self.law.vocab_size": "x <= self.law.vocab_size"},
         invalid("the soup was superb and its garnish _")),
    trap("invalid rows have a class", "Text.extra_measures",
         {"x[self.assign(x) >= 0]": "x"}, COUNTED),
    trap("a coin for each part of a prompt", "Text.training_batch",
         {"torch.stack([kind == 1, kind == 0], 1)":
          "torch.rand(n, 2, generator=self.generator(seed)) < 1 / 3"}, PARTS_SHOWN, NOTHING),
    trap("prompts are always whole in training", "Text.training_batch",
         {"torch.where(hidden, self.num_classes, batch.label)": "batch.label"}, PARTS_SHOWN),
    trap("one kind of prompt for a batch", "Text.training_batch",
         {"torch.randint(3, (n,), generator=apart)":
          "torch.randint(3, (1,), generator=apart).expand(n)"}, NOTHING),
    trap("the last of two classes is the prompt's", "Text.prompt",
         {"part is not None and label[part] == null[part]": "part is not None"},
         by("bad_input.test_prompts_with_unknown_words", words=("good", "bad"), found="bad")),
]

SHOWN = by("widgets.test_what_is_shown_is_what_is_sampled", explorer=Made("test_widgets.opened"))


def anew(control, value):
    return by("widgets.test_a_parameter_samples_anew", control=control, value=value)


WIDGETS = [
    trap("each place of the slider has a noise of its own", "Domain.states_at_scales",
         {"check_rows(rows, n, 'at_scales').repeat(k)": "torch.arange(n * k)"}, SHOWN),
    trap("the slider guides nothing", "Domain.states_at_scales",
         {"method(model, scale.repeat_interleave(n))": "model"}, SHOWN),
    trap("the guided levels are all of them", "Explorer.work",
         {"functools.partial(_windowed, self.method, lo, hi)": "guided"}, anew("hi", 3)),
    trap("the bars' lines are another class's weights", "_bars",
         {"domain.mode_weights[label]": "domain.mode_weights[0]"}, anew("label", 1)),
    trap("what is overtaken goes on", "Explorer._change",
         {"self.task.cancel()": "pass"}, "widgets.test_what_is_overtaken_is_given_up"),
    trap("a prediction forgets those that are kept", "Prediction._keep",
         {"{**_read(self.path), self.question: self.choice.value}":
          "{self.question: self.choice.value}"}, "widgets.test_a_prediction_is_there_again"),
]

MUTANTS = [*FORMULA, *COST, *LABELS, *SCHEDULES, *SAMPLERS, *NETWORKS, *MEASURES, *TRAINING, *KEYS]
MUTANTS += [*TOKENS, *TEXT, *WIDGETS]
