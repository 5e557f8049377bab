"""Checks under the exercises, gathered from the lessons as ``ct.check``. They know no notebook."""

from cfg_tutorial.lessons.audio import cents, composed
from cfg_tutorial.lessons.four_domains import effective_modes, tilted
from cfg_tutorial.lessons.images import correct, euler_step, interval
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
from cfg_tutorial.lessons.text_tokens import masked_loss, reweigh, token_guide

__all__ = [
    "CONVENTIONS",
    "cents",
    "composed",
    "convert_scale",
    "correct",
    "drop_labels",
    "effective_modes",
    "euler_step",
    "guide",
    "guided",
    "interval",
    "masked_loss",
    "mode_coverage",
    "own_coverage",
    "own_guidance",
    "own_sampler",
    "reweigh",
    "tilted",
    "token_guide",
    "two_orders",
]
