"""First names and surnames, letter by letter. Knows nothing of how they are learned."""

import functools
from typing import Any

import torch
from torch import nn

from cfg_tutorial.domains.text import END, Corpus, Text
from cfg_tutorial.files import data_path
from cfg_tutorial.models import TokenMixture

NAME_LENGTH = 9


@functools.cache
def names() -> Corpus:
    """Return first names and surnames of the US census of 1990, letter by letter.

    Class: the list (female, male, surname), equally likely; mode: the initial. A name is as likely
    as in its list, cut to the most frequent.
    """
    text = data_path("names.csv").read_text(encoding="utf-8").splitlines()[1:]
    lines = [line.split(",") for line in text]
    class_names = list(dict.fromkeys(line[0] for line in lines))
    found = list(dict.fromkeys(line[1] for line in lines))
    words = [END, *"abcdefghijklmnopqrstuvwxyz"]
    rows = torch.tensor([[words.index(c) for c in name.ljust(NAME_LENGTH, END)] for name in found])
    weights = torch.zeros(len(class_names), len(found), dtype=torch.float64)
    for own, name, share in lines:
        weights[class_names.index(own), found.index(name)] = float(share)
    weights /= weights.sum(1, keepdim=True)
    initials = [name[0] for name in found]
    mode_names = sorted(set(initials))
    modes = torch.tensor([mode_names.index(initial) for initial in initials])
    by_mode = torch.zeros(len(class_names), len(mode_names), dtype=torch.float64)
    by_mode.index_add_(1, modes, weights)
    law = TokenMixture(nn.functional.one_hot(rows, len(words)), weights, modes)
    return Corpus("-names", words, "", law, mode_names, class_names, by_mode)


class Names(Text):
    """Names of the US census of 1990; class: list, mode: initial. The law is that of the lists.

    Parameters
    ----------
    options : prompt, autoregressive; see ``Text``
    """

    def __init__(self, **options: Any):
        super().__init__(names(), **options)
