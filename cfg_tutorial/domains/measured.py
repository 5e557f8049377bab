"""How samples of a domain are measured, written once. Knows nothing of models or training."""

import functools
import math
import statistics
import warnings
from typing import Any

import torch
from torch import Tensor

from cfg_tutorial import measures
from cfg_tutorial.arguments import check_filled, check_label
from cfg_tutorial.measures import Coverage

COMPARED = 2000  # valid samples, the first, in the kernel distance: its memory grows as the square


class Measured:
    """The verb ``measure`` of a domain, on its hooks data, assign and features."""

    name: str
    classes: range
    num_modes: int
    mode_weights: Tensor
    data: Any
    assign: Any
    features: Any
    reader_errors: Any
    extra_measures: Any

    @functools.cached_property
    def confusion(self) -> Tensor | None:
        """What ``reader_errors`` returns, found once."""
        return self.reader_errors()

    @property
    def samples_needed(self) -> int:
        """How many samples of a class mode coverage needs: 10 per mode."""
        return 10 * self.num_modes

    def measure(self, x: Tensor, label: Any) -> Coverage:
        """Return what samples x (n, *shape) of ``label`` measure: per class, then the mean.

        Parameters
        ----------
        label : int, or Tensor (n,) of int below num_classes

        Raises
        ------
        ValueError : no samples, or a label that is no class

        Warns
        -----
        UserWarning : a class with fewer than 10 samples per mode; what needs them is NaN, and so is
            the mean over classes
        """
        check_filled(x, "measure")
        label = check_label(label, len(x), len(self.classes) - 1, "measure")
        mode, classes, needed = self.assign(x), label.unique().tolist(), self.samples_needed
        few = {c: m for c in classes if (m := int((label == c).sum())) < needed}
        if few:
            got = ", ".join(f"{m} of class {c}" for c, m in few.items())
            warnings.warn(
                f"Mode coverage of {self.name} needs at least {needed} samples (10 a mode) of each "
                f"class. Got {got}: it is NaN.",
                stacklevel=2,
            )
        each = [
            self._measure_class(x[label == c], mode[label == c], c, c not in few) for c in classes
        ]
        if len(each) == 1:
            return each[0]
        mean, extra = (
            {name: statistics.fmean(getattr(one, name) for one in each) for name in names}
            for names in (measures.MEASURES, each[0].extra)
        )
        counts = torch.stack([one.mode_counts for one in each])
        return Coverage(**mean, mode_counts=counts, extra=extra)

    def _measure_class(self, x: Tensor, mode: Tensor, label: int, enough: bool) -> Coverage:
        read, valid = measures.count_modes(mode, self.num_modes), mode >= 0
        counts, weights = measures.correct_counts(read, self.confusion), self.mode_weights[label]
        found = dict.fromkeys(measures.MEASURES, math.nan) | {"validity": measures.validity(mode)}
        if valid.any():
            found["alignment"] = measures.alignment(counts, self.mode_weights, label)
        if valid.any() and enough:
            real, real_label, real_mode, width = self._held_out
            features = self.features(x[valid])
            found["mode_coverage"] = measures.mode_coverage(counts, weights)
            found["captured_mass"] = measures.captured_mass(counts, weights)
            found["effective_modes"] = measures.effective_modes(counts)
            found["spread"] = measures.spread(features, mode[valid], real, real_mode)
            ours, own = features[:COMPARED], real[real_label == label][:1000]
            if min(len(ours), len(own)) > 1 and width > 0:
                found["kernel_distance"] = measures.kernel_distance(ours, own, width)
        return Coverage(**found, mode_counts=counts, extra=self.extra_measures(x, label))

    @functools.cached_property
    def _held_out(self) -> tuple[Tensor, Tensor, Tensor, float]:
        """Held-out features (n, d), labels (n,), modes (n,), and their median distance."""
        batch = self.data(2000 * len(self.classes), seed=1, held_out=True)
        features, label = self.features(batch.x), batch.label
        width = torch.pdist(features[:500].float()).median().item()
        label = label if label.ndim == 1 else label[:, 0]
        return features, label, self.assign(batch.x), width
