"""How fast the slider of ``ct.explore`` redraws in the kernel, and what opening it costs.

    python benchmarks/slider.py

One thread, shipped weights. A move is timed from the slider's new value to the message that is
ready for the browser; the target is 100 ms for 95 of 100 moves.
"""

import json
import random
import statistics
import time

import torch
from tqdm import tqdm

import cfg_tutorial as ct
from cfg_tutorial.domains import DOMAINS

MOVES = 200


def main() -> None:
    torch.set_num_threads(1)
    lines = []
    for name in tqdm(DOMAINS, ascii=True, ncols=78):
        begun = time.perf_counter()
        explorer = ct.explore(name, progress=False)
        opening, times = time.perf_counter() - begun, []
        for _ in range(MOVES):
            places = set(range(len(explorer.scales))) - {explorer.slider.index}
            place = random.choice(sorted(places))
            begun = time.perf_counter()
            explorer.slider.index = place
            json.dumps(explorer.view.get_state("value"))
            times.append(1000 * (time.perf_counter() - begun))
        high = statistics.quantiles(times, n=20)[-1]
        size = len(explorer.view.value) / 1e3
        lines.append(
            f"{name:9} a move {statistics.median(times):5.2f} ms, 95 of 100 under {high:5.2f} ms "
            f"(target 100); opening {opening:.1f} s; a frame {size:.0f} kB"
        )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
