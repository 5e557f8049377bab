"""Reviews, good or bad, of eight topics, from a grammar. Knows nothing of how they are learned."""

from typing import Any

import torch
from torch import Tensor

from cfg_tutorial.arguments import check_law, require
from cfg_tutorial.domains.base import SKEWED
from cfg_tutorial.domains.text import Corpus, Text
from cfg_tutorial.models import TokenMixture

# What is reviewed, and its parts. Every word belongs to one topic.
TOPICS = {
    "food": (["soup", "curry", "pizza"], ["garnish", "sauce", "crust"]),
    "film": (["film", "sequel", "comedy"], ["plot", "cast", "ending"]),
    "hotel": (["hotel", "hostel", "suite"], ["bed", "lobby", "shower"]),
    "music": (["album", "song", "concert"], ["chorus", "rhythm", "melody"]),
    "book": (["novel", "memoir", "thriller"], ["prose", "cover", "preface"]),
    "phone": (["phone", "tablet", "laptop"], ["screen", "battery", "camera"]),
    "car": (["car", "van", "scooter"], ["engine", "brake", "seat"]),
    "coat": (["coat", "jacket", "raincoat"], ["lining", "collar", "zip"]),
}
GOOD = ["superb", "great", "lovely", "brilliant"]
BAD = ["awful", "poor", "dreadful", "shoddy"]
DETERMINERS, VERBS, OWNERS = ["the", "this", "that"], ["was", "seemed", "proved"], ["its", "the"]
WRONG = 0.3  # how often a judgement does not fit the class; the two judge independently


def reviews(mode_weights: Tensor) -> Corpus:
    """Return reviews such as "the soup was superb and its garnish great".

    A class, good or bad, weighs the topics and chooses two judgements, each of them wrong with
    probability WRONG, independently; they are joined by "and" if they agree, else by "but".
    """
    topics = list(TOPICS)[: mode_weights.shape[1]]
    judged = [*GOOD, *BAD]
    places: list[list[str]] = [DETERMINERS, [], VERBS, judged, ["and", "but"], OWNERS, [], judged]
    places[1] = [word for topic in topics for word in TOPICS[topic][0]]
    places[6] = [word for topic in topics for word in TOPICS[topic][1]]
    words = list(dict.fromkeys(word for place in places for word in place))

    def even(chosen: list[str]) -> Tensor:
        table = torch.zeros(len(words), dtype=torch.float64)
        table[[words.index(word) for word in chosen]] = 1 / len(chosen)
        return table

    tables, joint = [], []
    for k, topic in enumerate(topics):
        things, parts = TOPICS[topic]
        for first in (GOOD, BAD):
            for second in (GOOD, BAD):
                joined = ["and"] if first is second else ["but"]
                row = [DETERMINERS, things, VERBS, first, joined, OWNERS, parts, second]
                tables.append(torch.stack([even(chosen) for chosen in row]))
                fits = [[1 - WRONG if j is own else WRONG for j in (first, second)]
                        for own in (GOOD, BAD)]  # fmt: skip
                joint.append([mode_weights[c, k] * a * b for c, (a, b) in enumerate(fits)])
    weights = torch.tensor(joint, dtype=torch.float64).T
    modes = torch.arange(len(topics)).repeat_interleave(4)
    law = TokenMixture(torch.stack(tables), weights, modes)
    return Corpus("", words, " ", law, topics, ["good", "bad"], mode_weights)


class Reviews(Text):
    """Reviews, good or bad, of eight topics that both classes share.

    Parameters
    ----------
    mode_weights : Tensor (2, num_modes), at most 8 topics, in the order of ``mode_names``
    options : prompt, autoregressive; see ``Text``

    Raises
    ------
    ValueError : mode_weights that are no laws, or of other than two classes
    """

    def __init__(self, mode_weights: Any = None, **options: Any):
        mode_weights = SKEWED if mode_weights is None else mode_weights
        expected = "(2, num_modes), at most 8 modes, each row a law that sums to 1"
        weights = check_law(mode_weights, "load('text')", "mode_weights", expected)
        ok, got = len(weights) == 2 and weights.shape[1] <= len(TOPICS), tuple(weights.shape)
        require(ok, "load('text')", "mode_weights", expected, f"shape {got}")
        super().__init__(reviews(weights), **options)
