"""Which sampler, and how many steps? The table that the default was chosen by.

    python benchmarks/samplers.py

On exact mixtures (ring and grid) at guidance scales 1, 3 and 8: the share of samples that end in
another mode than the converged ODE takes the same noise to, against forwards per sample. Ancestral
sampling is no ODE and has no such share; what its modes' law differs by is the total variation.
"""

import torch
from tqdm import tqdm

import cfg_tutorial as ct

N = 4000
STEPS = (6, 9, 12, 18, 25, 35, 50)
SAMPLERS = {
    "euler": ct.sample_euler,
    "heun": ct.sample_heun,
    "dpmpp_2m": ct.sample_dpmpp_2m,
}


def main() -> None:
    torch.set_num_threads(1)
    table = {}
    work = [(layout, scale) for layout in ("ring", "grid") for scale in (1.0, 3.0, 8.0)]
    for layout, scale in tqdm(work, ascii=True, ncols=78):
        domain = ct.load("mixtures", layout=layout)
        model = ct.guided(domain.exact(), scale)

        def draw(sampler, steps, domain=domain, model=model):
            x = domain.sample(model, label=0, n=N, num_steps=steps, sampler=sampler, progress=False)
            return torch.cdist(x.double(), domain.mixture.means).argmin(1)

        converged = draw(ct.sample_heun, 400)
        for name, sampler in SAMPLERS.items():
            for steps in STEPS:
                moved = (draw(sampler, steps) != converged).double().mean().item()
                table.setdefault((name, steps), []).append(moved)
    print(f"share of {N} samples that end in another mode than the converged ODE's (Heun, 400)")
    print(f"{'sampler':10s} {'steps':>5s} {'forwards':>8s}", end="")
    print("".join(f"  {layout} s={scale:g}" for layout, scale in work))
    for (name, steps), shares in sorted(table.items(), key=lambda row: forwards(*row[0])):
        print(f"{name:10s} {steps:5d} {forwards(name, steps):8d}", end="")
        print("".join(f"{share:10.2%}" for share in shares))


def forwards(name: str, steps: int) -> int:
    """Return evaluations of the model a sample: Heun takes two a step, one in the last."""
    return 2 * steps - 1 if name == "heun" else steps


if __name__ == "__main__":
    main()
