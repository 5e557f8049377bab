"""Checks under the exercises, gathered from the lessons as ``ct.check``. They know no notebook."""

from cfg_tutorial.lessons.audio import branch_weights, cents, composed, shared_share
from cfg_tutorial.lessons.four_domains import (
    effective_modes,
    endangered,
    modes_left,
    own_law,
    tilted,
)
from cfg_tutorial.lessons.images import (
    best_window,
    correct,
    euler_step,
    interval,
    window_ends,
    window_rows,
)
from cfg_tutorial.lessons.mixtures import (
    drop_labels,
    guide,
    guided,
    own_coverage,
    own_guidance,
    own_sampler,
    two_orders,
)
from cfg_tutorial.lessons.start_here import CONVENTIONS, convert_scale, mode_coverage
from cfg_tutorial.lessons.text_tokens import (
    hide_words,
    masked_loss,
    next_word,
    repeat_prompts,
    reveal_word,
    reweigh,
    token_guide,
)

__all__ = [
    "CONVENTIONS",
    "best_window",
    "branch_weights",
    "cents",
    "composed",
    "convert_scale",
    "correct",
    "drop_labels",
    "effective_modes",
    "endangered",
    "euler_step",
    "guide",
    "guided",
    "hide_words",
    "interval",
    "masked_loss",
    "mode_coverage",
    "modes_left",
    "next_word",
    "own_coverage",
    "own_guidance",
    "own_law",
    "own_sampler",
    "repeat_prompts",
    "reveal_word",
    "reweigh",
    "shared_share",
    "tilted",
    "token_guide",
    "two_orders",
    "window_ends",
    "window_rows",
]
