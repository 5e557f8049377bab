"""What guidance costs beyond the network, and what sweeping in one call saves. Ratios in one run.

    python benchmarks/overhead.py

One thread. Each ratio is the median over rounds of times taken side by side; the network's own
time is the least over slice sizes of running the same 2n rows through it.
"""

import platform
import statistics
import time

import torch
from tqdm import tqdm

import cfg_tutorial as ct

ROUNDS = 15


def seconds(function) -> float:
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def guided_step(domain, n: int) -> float:
    """Return a guided step's time over that of the network alone on 2n rows."""
    model = domain.model().eval()
    guided = ct.guided(model, 3.0)
    x = torch.randn(n, *domain.shape)
    label, level = torch.zeros(n, dtype=torch.long), torch.tensor(1.0)
    doubled, labels = torch.cat([x, x]), torch.cat([label, label + domain.num_classes])
    levels = level.expand(2 * n)

    def network(size: int):
        for part in zip(doubled.split(size), levels.split(size), labels.split(size), strict=True):
            model.net(*part)

    repeats = max(1, 2000 // n) if doubled[0].numel() < 10 else 1
    sizes = [size for size in (64, 128, 256, 512, 2 * n) if size <= 2 * n]

    def repeat(function) -> float:
        return seconds(lambda: [function() for _ in range(repeats)])

    with torch.no_grad():
        best = min(sizes, key=lambda size: min(repeat(lambda: network(size)) for _ in range(4)))
        ratios = [
            repeat(lambda: guided(x, level, label)) / repeat(lambda: network(best))
            for _ in range(ROUNDS)
        ]
    return statistics.median(ratios)


def one_call(domain, n: int) -> float:
    """Return the time of a sweep over seven scales in one call over that of seven calls."""
    model = domain.model().eval()
    scales = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)

    def together():
        domain.at_scales(model, scales, n, progress=False)

    def apart():
        for one in scales:
            domain.sample(ct.guided(model, one), 0, n, progress=False)

    together()
    rounds = 3 if domain.name == "images" else ROUNDS
    return statistics.median(seconds(together) / seconds(apart) for _ in range(rounds))


def main() -> None:
    torch.set_num_threads(1)
    mixtures, images, text, audio = map(ct.load, ("mixtures", "images", "text", "audio"))
    work = [
        ("guided step / network, MLP, 64 rows (target 1.25)", guided_step, mixtures, 64),
        ("guided step / network, U-Net, 64 rows (target 1.10)", guided_step, images, 64),
        ("guided step / network, U-Net, 256 rows (target 1.10)", guided_step, images, 256),
        ("guided step / network, U-Net, 1000 rows (target 1.10)", guided_step, images, 1000),
        ("7 scales in one call / 7 calls, mixtures, 250 per scale (1.05)", one_call, mixtures, 250),
        ("7 scales in one call / 7 calls, images, 64 per scale (1.05)", one_call, images, 64),
        ("7 scales in one call / 7 calls, mixtures, 32 per scale (.91)", one_call, mixtures, 32),
        ("7 scales in one call / 7 calls, text, 32 per scale (.91)", one_call, text, 32),
        ("7 scales in one call / 7 calls, audio, 32 per scale (.91)", one_call, audio, 32),
        ("7 scales in one call / 7 calls, text, 250 per scale (1.05)", one_call, text, 250),
        ("7 scales in one call / 7 calls, audio, 250 per scale (1.05)", one_call, audio, 250),
    ]
    lines = []
    for words, function, domain, n in tqdm(work, ascii=True, ncols=78):
        lines.append(f"{function(domain, n):6.3f}  {words}")
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
