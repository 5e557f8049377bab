"""The contract of a domain, one's own too. Knows no domain."""

import torch

from cfg_tutorial import measures
from cfg_tutorial.domains.base import Domain

NUM_COUNTED = 4000  # rows by which shares are told


def check_domain(domain: Domain) -> list[str]:
    """Run the contract on a domain, your own too; return the names of the checks that it passed.

    Needs no training. Takes seconds.

    Raises
    ------
    ValueError : the first promise that the domain breaks, and what was expected
    """
    passed = []

    def check(name: str, ok: bool, expected: str) -> None:
        if not ok:
            raise ValueError(
                f"The domain {domain.name!r} fails the check '{name}': expected {expected}."
            )
        passed.append(name)

    k, weights = domain.num_modes, domain.mode_weights
    check(
        "weights are laws",
        bool(torch.allclose(weights.sum(1), weights.new_ones(()))),
        "rows that sum to 1",
    )
    named = len(domain.mode_names) == k and len(domain.class_names) == len(domain.classes)
    check("modes and classes have names", named, "one name per mode and one per class")

    batch = domain.data(400, seed=0)
    again, other, fresh = (
        domain.data(400, seed=0),
        domain.data(400, seed=1),
        domain.data(400, held_out=True),
    )
    recipe = getattr(domain, "recipe", None)
    known = isinstance(recipe, dict) and {"train_steps", "batch_size"} <= recipe.keys()
    check("recipe", known, "train_steps and batch_size, by which it is trained")
    shapes = len(batch.x) == len(batch.label) == 400 and batch.mode.shape == (400,)
    check("data have rows", shapes, "x (n, *shape), label (n,), mode (n,)")
    in_range = bool(
        (batch.label < torch.as_tensor(domain.num_classes)).all()
        and (batch.mode < k).all()
        and (batch.mode >= 0).all()
    )
    check("labels and modes in range", in_range, "classes and modes counted from 0")
    finite = not batch.x.is_floating_point() or bool(torch.isfinite(batch.x).all())
    check("data are finite", finite, "numbers alone, no NaN")
    check(
        "same seed, same data",
        bool(torch.isclose(batch.x, again.x, rtol=0, atol=0, equal_nan=True).all()),
        "data to be a function of the seed",
    )
    check(
        "other seed, other data", not torch.equal(batch.x, other.x), "data to differ with the seed"
    )
    check("held-out data differ", not torch.equal(batch.x, fresh.x), "held-out data of their own")
    many = domain.data(NUM_COUNTED, seed=3)
    for name, part in (("data", many), ("held-out data", domain.data(NUM_COUNTED, 4, True))):
        label = part.label if part.label.ndim == 1 else part.label[:, 0]
        cell = label * k + part.mode
        share = torch.bincount(cell, minlength=k * len(domain.classes)).double() / NUM_COUNTED
        wanted = (weights / len(domain.classes)).flatten()
        far = (share - wanted).abs() / (wanted * (1 - wanted) / NUM_COUNTED + 1e-12).sqrt()
        said = "classes evenly, and modes in each as mode_weights says"
        check(f"{name} follow the law", bool((far < 6).all()), said)
    if many.x.is_floating_point():  # tokens are few, and may well be the same
        kept = {row.numpy().tobytes() for row in many.x.flatten(1)}
        shared = sum(row.numpy().tobytes() in kept for row in fresh.x.flatten(1)) / len(fresh.x)
        check("held-out data are held out", shared < 0.01, "none of the rows that training sees")
        deviation = many.x.double().std().item()
        data = getattr(domain.diffusion, "sigma_data", deviation)
        ok = 0.2 * data < deviation < 5 * data
        check(
            "sigma_data", ok, f"the data's standard deviation, {deviation:.3g}, and not {data:.3g}"
        )

    read = domain.assign(fresh.x)
    ok = read.shape == (400,) and bool((read >= -1).all() and (read < k).all())
    check("assign gives modes", ok, f"(n,) of -1 to {k - 1}")
    check(
        "real data are valid",
        (read >= 0).double().mean().item() > 0.9,
        "at least .9 of them with a mode",
    )
    right = (read == fresh.mode)[read >= 0].double().mean().item()
    check("modes are read", right > 0.85, "at least .85 of real data read as the mode they are")
    features = domain.features(batch.x)
    check("features", features.ndim == 2 and len(features) == 400, "a matrix (n, d)")

    for name, model in {"exact": domain.exact(), "network": domain.model().eval()}.items():
        label, level = batch.label[:6], domain.diffusion.levels(4)[1]
        x = domain.diffusion.corrupt(batch.x[:6], level, domain.generator(0))
        nothing = torch.as_tensor(model.null_label).expand_as(label)
        with torch.no_grad():
            whole, part = model(x, level, label), model(x[:3], level, label[:3])
            null = model(x, level, nothing)
        sound = all(domain.diffusion.is_prediction(answer, x) for answer in (whole, null))
        check(f"{name}: is a model", sound, "(x, level, label) -> prediction, finite, of x's shape")
        check(
            f"{name}: rows are independent",
            bool(torch.allclose(whole[:3], part, atol=1e-4)),
            "no mixing of rows",
        )

    model, n = domain.exact(), max(10 * k, 200)
    for c in domain.classes:
        x = domain.sample(model, label=c, n=n, seed=0, progress=False)
        first = domain.sample(model, label=c, n=3, seed=0, progress=False)
        check(
            f"class {c}: a sample ignores its batch",
            bool(torch.allclose(x[:3], first, atol=1e-3)),
            "row i alone",
        )
        found = domain.measure(x, c)
        check(f"class {c}: exact samples are valid", found.validity > 0.9, "validity above .9")
        low = measures.perfect_band(weights[c], n, quantiles=(0.0005, 0.9995))["captured_mass"][0]
        check(
            f"class {c}: exact samples follow the law",
            found.captured_mass > low - 0.05,
            f"captured mass above {low - 0.05:.3f}",
        )
    shown = domain.show(x[:4])
    drawn = hasattr(shown, "savefig") and bool(shown.axes)
    check("show", drawn, "a matplotlib figure with axes (a notebook shows none without)")
    return passed
