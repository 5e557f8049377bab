"""Methods: each turns a model into a guided model. Know nothing of networks or data.

Sorted in order of increasing complexity; ``guided`` and ``composed`` are in ``guidance``.
"""

from collections.abc import Callable
from typing import Any

from cfg_tutorial.guidance import guided, interval


def in_interval(model: Any, scale: Any, lo: float = 0.2, hi: float = 1.6) -> Any:
    """Guide where lo < level <= hi alone; elsewhere the model is conditional.

    Source: Kynkaanniemi et al. 2024 (arXiv 2404.07724), whose levels these nearly are.
    """
    return guided(model, interval(scale, lo=lo, hi=hi))


METHODS: dict[str, Callable[[Any, Any], Any]] = {"cfg": guided, "interval": in_interval}
