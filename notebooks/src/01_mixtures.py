# %% [markdown]
# # 1 · What does guidance do to a known law?
#
# **The claim of this notebook.** Turning up the guidance scale buys alignment (samples look more
# like their class) and pays for it with mode coverage (whole kinds of sample disappear). What
# comes out is *not* the law that guidance is usually said to sample.
#
# Everything here is made of eight Gaussians in the plane, so every answer is known exactly and
# nothing can hide. **Afterwards you can** write guidance and label dropout yourself, train a
# guided model, read a coverage curve, and say why a sampler changes the answer.
#
# | | |
# |---|---|
# | time | 30 to 40 minutes to work through; the code runs for less than 1 minute |
# | you know | Python and a little PyTorch; what a density is |
# | you need | two cores, no GPU, no network |

# %%
import cfg_tutorial as ct

# isort: split

# %%
import matplotlib.pyplot as plt
import torch
from tqdm import trange

plt.rcParams.update({"figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})
BLACK, BLUE, SKY, RED, GREEN = "#000000", "#0072B2", "#56B4E9", "#D55E00", "#009E73"

# %% [markdown]
# ## A law we know
#
# A **law** is a probability distribution; a **mode** is one of the heaps that it is made of. Our
# two classes **share** eight modes and weigh them in opposite order. So a mode never settles
# which class a point is from; it only makes one class more likely. The layout matters, and we
# shall say it under every figure: here the modes stand on a **ring**, in order of weight. Mode 0
# is the heaviest of class 0, mode 7 the heaviest of class 1, and on the ring they are neighbours.

# %%
domain = ct.load("mixtures", layout="ring")
batch = domain.data(2000, seed=0)
figure, axes = plt.subplots(1, 2, figsize=(7, 3.5), layout="constrained")
for label, ax in enumerate(axes):
    domain.show(batch.x[batch.label == label], ax=ax)
    ax.set_title(f"data of class {label}")
print("weights of class 0:", domain.mode_weights[0].tolist())
print("weights of class 1:", domain.mode_weights[1].tolist())

# %% [markdown]
# *Figure (ring, in order of weight): two panels of eight coloured clusters on a circle, numbered
# 0 to 7 anticlockwise. In class 0 the clusters thin out from 0 to 7; in class 1 it is the other
# way round.*
#
# A **model** in this package is a function `(x, sigma, label) -> x0`: given a noisy point, the
# noise's standard deviation and a class, it returns the clean point that it expects. One more
# label, `null_label`, means "no class given". `domain.exact()` is the exact such function, found
# from the formula of the eight Gaussians and not by training.

# %%
model = domain.exact()
x, sigma = torch.tensor([[0.6, 0.0]]), torch.tensor(0.7)
for label in (0, 1, model.null_label):
    x0 = model(x, sigma, torch.tensor([label]))
    name = "no class" if label == model.null_label else f"class {label} "
    print(name, "expects x0 near", [round(v, 2) for v in x0[0].tolist()])

# %% [markdown]
# Three labels, three expectations for one noisy point: class 0 expects it higher up, where its
# heavy modes are, class 1 lower down, and without a class it is something between. Guidance makes
# one prediction of two of them.

# %% [markdown]
# ## Exercise 1: write guidance
#
# `guidance_scale` is 0 for the prediction without a class (`uncond`), 1 for the one with it
# (`cond`), and above 1 you go on past `cond` in the same direction, in a straight line. Hint: if
# `uncond` is 2 and `cond` is 3, scale 2 gives 4.
# (Some papers count from the conditional end; their $w$ is our scale minus 1.)


# %%
def my_guide(cond, uncond, scale):
    """Return the guided prediction; cond and uncond are (n, 2) tensors, scale is a float."""
    # BEGIN SOLUTION
    return uncond + scale * (cond - uncond)
    # END SOLUTION


# %%
ct.check.guide(my_guide)

# %% [markdown]
# When yours is right, compare it with the package's. It is the same line, written so that scales
# 0 and 1 give the two predictions back to the last bit.

# %%
ct.source(ct.guide)

# %% [markdown]
# `ct.guided(model, scale)` does this at every step. What it returns is a model again, so it can
# be sampled, measured, or guided once more.
#
# A **sampler** begins with pure noise and takes the noise away in steps, from one `sigma` to the
# next smaller one. At each step it asks the model for `x0` and moves the point some way towards it.
# If nothing else is random, the path is that of a differential equation (an **ODE**), and equal
# noise ends in equal samples. Such is the default here; another kind comes later.
#
# ## Predict first
#
# Mode 0 holds .30 of class 0, more than any other. Choose, press *Keep my prediction*, give
# yourself a reason, and run on. Come back when shares are printed below.

# %%
ct.predict(
    "At scale 1 mode 0 holds .30 of the samples of class 0. At scale 3 it holds ...",
    ["more than .33", ".27 to .33, about as much", "less than .27"],
    lambda: (
        "more than .33"
        if share_at_3[0] > 0.33
        else ("less than .27" if share_at_3[0] < 0.27 else ".27 to .33, about as much")
    ),
    "Why, is what the bars below are about.",
)

# %%
SCALES = [0, 1, 1.5, 2, 3, 5, 8]


def sample_all(model, domain=domain, n=1000):
    """Return n samples of class 0 at each scale, the same n noises at all of them."""
    return domain.at_scales(model, SCALES, n, label=0, progress=False)


exact_samples = sample_all(model)

# %%
figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), sharey=True)
for ax, scale in zip(axes, (0, 1, 3, 8), strict=True):
    domain.show(exact_samples[SCALES.index(scale)][:500], ax=ax)
    ax.set(title=f"guidance_scale {scale}", ylabel="")
axes[0].set_ylabel("x (second axis)")
figure.tight_layout()

# %% [markdown]
# *Figure (ring, in order of weight; exact model): 500 samples of class 0 at four scales. At 0 all
# eight clusters are full, at 1 they thin out from 0 to 7, at 3 clusters 5 to 7 are nearly empty,
# at 8 most points sit in cluster 1 and a few in 0 and 2.*
#
# Same noise, same class, one number turned up, and most of the ring is gone. Now measure it:
#
# - **alignment**: mean p(class | mode) of the samples, that is, how sure one can be of the class on
#   seeing the mode.
# - **coverage**: share of the class's modes that still get a quarter of what they should.
# - **effective modes**: exp(entropy) of the modes' shares, 8 for eight equal modes, 1 for one.
# - **valid**: share of samples that belong to any mode.

# %%
exact = [domain.measure(x, 0) for x in exact_samples]
print("scale   alignment   coverage   effective modes   valid")
for scale, found in zip(SCALES, exact, strict=True):
    print(
        f"{scale:<8}{found.alignment:<12.2f}{found.mode_coverage:<11.2f}"
        f"{found.effective_modes:<18.2f}{found.validity:.2f}"
    )
print(f"alignment at scale 0: {exact[0].alignment:.3f}")
print(f"alignment at scale 1: {exact[1].alignment:.3f}")

# %% [markdown]
# - **The control that must fail.** At scale 0 the model is never told the class, so its samples
#   must not know it: the prior of two equal classes is .5, and you should see
#   `alignment at scale 0`: 0.46 to 0.54. Were it higher, the measure would leak the label.
# - At scale 1 the class's own value is .698; you should see `alignment at scale 1`: 0.66 to 0.73.
#
# And which modes are left at scale 3?

# %%
counts = exact[SCALES.index(3)].mode_counts
share_at_3 = (counts / counts.sum()).tolist()
for mode, share in enumerate(share_at_3):
    print(f"mode {mode}, share at scale 3: {share:.3f}")

# %% [markdown]
# You should see `mode 0, share at scale 3`: 0.19 to 0.27. Now go back to your prediction.
#
# ## What the books say, and what comes out
#
# Guidance is often said to sample the **tilted law** $p(x|c)^{s}\,p(x)^{1-s}$: the class's law,
# times $(p(x|c)/p(x))^{s-1}$, a bonus for points that speak for the class. The shares that it gives
# our modes are known in closed form (`tilted_law`). So are the shares that the ODE arrives at if
# its steps are infinitely small (`exact_law`). Put both beside the class.

# %%
tilted, guided = domain.tilted_law(3, 0), domain.exact_law(3, 0)
figure, ax = plt.subplots(figsize=(7.5, 3))
k = torch.arange(8)
bars = [("class 0", domain.mode_weights[0], "#888888"), ("tilted", tilted, RED)]
for i, (name, law, colour) in enumerate([*bars, ("guided (ODE)", guided, BLACK)]):
    ax.bar(k + 0.27 * (i - 1), law, width=0.25, color=colour)
    ax.text(5.2, 0.4 - 0.05 * i, "\u25a0 " + name, color=colour, fontsize=12)
ax.set(xlabel="mode", ylabel="share of samples at scale 3", xticks=range(8))
print(f"mode 0, tilted law: {tilted[0]:.3f}")
print(f"mode 0, guided: {guided[0]:.3f}")
print(f"mode 1, guided: {guided[1]:.3f}")

# %% [markdown]
# *Figure (ring, in order of weight; both laws exact): bars per mode at scale 3. The tilted law
# falls steadily from mode 0. The guided law is highest at mode 1, and its mode 0 is below what the
# class gives it.*
#
# You should see `mode 0, tilted law`: 0.44 to 0.47, `mode 0, guided`: 0.22 to 0.25, and
# `mode 1, guided`: 0.41 to 0.45. Guidance **abandons the heaviest mode**, and our samples above
# agree with its law, not with the tilted one. Mode 0 has the other class's favourite for a
# neighbour, and guidance pushes away from wherever the other class is. Was your prediction on the
# tilted side?
#
# Move `guidance_scale` below, from 1 up, and watch the bar of mode 0: at which scale does it begin
# to shrink? Then take class 1: which mode is abandoned there, and whose neighbour is it?

# %%
ct.explore(domain, domain.exact())

# %% [markdown]
# *Figure (ring; exact model, 400 samples of class 0 at guidance_scale 3; with a kernel, a slider
# moves it): left, the points; right, each mode's share, with a line at the class's own weight. Mode
# 0 is below its line, modes 1 and 2 are far above theirs, and modes 4 to 7 have lost most or all.*

# %%
my_explanation = "mode 1 wins over mode 0 because ..."

# %% [markdown]
# ## The sampler changes the law
#
# Why is "guidance samples the tilted law" false? Strip the problem down to one dimension: no class
# is $N(0, 2)$, the class is $N(1, 1)$. Here three answers exist in closed form: the tilted law's
# variance, the one that the ODE reaches, and the one that an **SDE** reaches, a sampler that takes
# away more noise at each step than it should and adds fresh noise to make up for it. Without
# guidance both samplers arrive at the same law.
#
# A model is any callable, so we write this one by hand. What a Gaussian expects of a noisy point is
# a mean of the point and its own centre, weighted by their variances:


# %%
class TwoGaussians:
    """Without a class N(0, 2), with class 0 N(1, 1): the exact model of both."""

    num_classes = null_label = 1
    mean, variance = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 2.0])

    def __call__(self, x, sigma, label):
        mean, variance = self.mean[label, None], self.variance[label, None]
        return (variance * x + sigma**2 * mean) / (variance + sigma**2)


# %% [markdown]
# **Predict:** at scale 3, will the SDE's samples be wider than the ODE's, narrower, or the same?
# Unguided, both give variance 1.

# %%
my_guess = "wider / narrower / the same, because ..."

# %% [markdown]
# 1,000 samples at each of six scales, in 300 steps (`sigmas`) from noise of standard deviation 400.
# That noise is not drawn: we take its 1,000 quantiles, so that only the SDE is left to chance.

# %%
few, n = [1, 1.5, 2, 3, 4, 5], 1000
scales, rows = torch.tensor(few).repeat_interleave(n), torch.arange(n).repeat(len(few))
start = 400 * torch.special.ndtri((torch.arange(n) + 0.5) / n)[rows, None]
toy = ct.guided(TwoGaussians(), scales)
label = torch.zeros(len(rows), dtype=torch.long)


def variances(num_steps):
    """Return the variance of the samples at each of ``few`` scales, {"ODE": ..., "SDE": ...}."""
    sigmas = ct.karras_sigmas(num_steps, sigma_min=0.01, sigma_max=400.0)
    *_, ode = ct.sample_heun(toy, start, sigmas, label)
    *_, sde = ct.sample_ancestral(toy, start, sigmas, label, rows=rows)
    return {k: [p.var().item() for p in x.split(n)] for k, x in {"ODE": ode, "SDE": sde}.items()}


# %%
variance = variances(300)
s = torch.linspace(1, 5, 100)
laws = {
    "tilted": (2 / (1 + s), RED, (4.4, 0.41)),
    "SDE": (2 ** (2 - 2 * s) * (2 ** (2 * s - 1) - 1) / (2 * s - 1), GREEN, (4.4, 0.27)),
    "ODE": (2 ** (1 - s), BLACK, (4.4, 0.13)),
}
figure, ax = plt.subplots(figsize=(6, 3.4))
for name, (curve, colour, at) in laws.items():
    ax.plot(s, curve, "--" if name == "tilted" else "-", color=colour)
    ax.text(*at, name, color=colour)
    ax.plot(few, variance.get(name, [torch.nan] * len(few)), "o", color=colour)
limits = ax.set(xlabel="guidance_scale", ylabel="variance of the samples", ylim=(0, 1.1))

# %% [markdown]
# *Figure (one dimension, one Gaussian each; lines are formulas, dots are 1,000 samples of 300
# steps): variance falls with the scale for all three, slowest for the tilted law, fastest for the
# ODE, with the SDE between. The dots lie on the lines of the ODE and the SDE.*

# %%
print(f"ODE, variance at scale 3: {variance['ODE'][3]:.2f}")
print(f"SDE, variance at scale 3: {variance['SDE'][3]:.2f}")
short = variances(18)
print(f"ODE, 18 steps, variance at scale 1: {short['ODE'][0]:.2f}")
print(f"SDE, 18 steps, variance at scale 1: {short['SDE'][0]:.2f}")

# %% [markdown]
# At scale 3 the formulas say .25 for the ODE, .39 for the SDE and .50 for the tilted law; you
# should see `ODE, variance at scale 3`: 0.24 to 0.26 and `SDE, variance at scale 3`: 0.32 to 0.44
# (noise enters its samples at every step, so they scatter more). Same model, same scale, three
# laws. (It is proved by Bradley and Nakkiran, 2024, arXiv 2408.09000, where the formulas are.)
#
# Steps matter. In 18 of them the SDE is far too narrow even without guidance, where 1 is right:
# `SDE, 18 steps, variance at scale 1`: 0.20 to 0.70. (The ODE is off the other way, and by
# less.) Compare samplers only when both have converged.

# %% [markdown]
# ## A model that learned
#
# Real models are trained, and one network must give both predictions. The trick is **label
# dropout**: during training, now and then, a sample's label is replaced by `null_label`, so that
# the network learns to do without.
#
# ### Exercise 2: write label dropout
#
# Each label has a chance of its own. Hint: `torch.rand(n)` gives n numbers between 0 and 1, and
# `torch.where(condition, a, b)` takes from `a` where the condition is true, else from `b`.


# %%
def my_drop_labels(label, p_uncond, null_label):
    """Return the labels (n,), each one null_label instead with probability p_uncond."""
    # BEGIN SOLUTION
    dropped = torch.rand(len(label)) < p_uncond
    return torch.where(dropped, null_label, label)
    # END SOLUTION


# %%
ct.check.drop_labels(my_drop_labels)

# %% [markdown]
# ### The training loop, all of it
#
# Take clean points `x0`, add noise of a random size `sigma`, ask the network for `x0` back, and
# compare. Much noise makes great errors; the weight, in which `spread` is the standard deviation of
# the data, makes errors at all noise levels count about alike.


# %%
def loss_of(model, x0, label):
    """Return the mean squared error of the predicted x0, each noise level weighted to 1."""
    sigma = domain.diffusion.training_levels(len(x0))[:, None]
    noisy = x0 + sigma * torch.randn_like(x0)
    error = model(noisy, sigma[:, 0], label) - x0
    spread = domain.diffusion.sigma_data
    weight = (sigma**2 + spread**2) / (sigma * spread) ** 2
    return (weight * error**2).mean()


# %%
def train(train_steps):
    model = domain.model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, train_steps)
    for step in trange(train_steps, desc="training", ascii=True, ncols=78):
        batch = domain.data(256, seed=step, stratified=True)  # each mode in its exact share
        label = ct.drop_labels(batch.label, p_uncond=0.15, null_label=model.null_label)
        loss = loss_of(model, batch.x, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


# %% [markdown]
# It takes 10 to 20 seconds. If you would rather not wait, set `READY_MADE = True`: the same
# network, trained twice as long, ships with the package.

# %%
READY_MADE = False
torch.manual_seed(0)
learned = domain.pretrained() if READY_MADE else train(1500)

# %% [markdown]
# **Predict:** the network never saw a formula. Where will its curve leave the exact one: at small
# scales, at large ones, nowhere?

# %%
my_guess = "at ... because ..."

# %%
mine = [domain.measure(x, 0) for x in sample_all(learned)]
shipped = [domain.measure(x, 0) for x in sample_all(domain.pretrained())]
modes = {
    name: [found.effective_modes for found in run]
    for name, run in {"exact": exact, "learned here": mine, "shipped": shipped}.items()
}
for i in (1, 4, 6):
    row = ", ".join(f"{name} {values[i]:.2f}" for name, values in modes.items())
    print(f"effective modes at scale {SCALES[i]}: {row}")
gap = (torch.tensor(modes["learned here"]) - torch.tensor(modes["exact"])).abs()
print(f"learned here against exact, greatest gap up to scale 3: {gap[:5].max():.2f}")
print(f"learned here against exact, greatest gap beyond: {gap[5:].max():.2f}")

# %%
tilted_laws = [domain.tilted_law(scale, 0) for scale in SCALES]
modes["tilted law"] = [torch.special.entr(law).sum().exp().item() for law in tilted_laws]
looks = [(BLACK, "-"), (BLUE, "o-"), (SKY, "s:"), (RED, "--")]


def draw(ax, x, names, xlabel):
    """Draw effective modes against x, {name: values}."""
    for name, (colour, style) in zip(names, looks, strict=False):
        ax.plot(x[name], modes[name], style, color=colour, label=name)
    ax.set(xlabel=xlabel, ylabel="effective modes (of 8)")


# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
draw(left, dict.fromkeys(modes, SCALES), modes, "guidance_scale")
left.legend(frameon=False)
runs = {"exact": exact, "learned here": mine, "shipped": shipped}
aligned = {name: [found.alignment for found in run] for name, run in runs.items()}
draw(right, aligned, runs, "alignment, p(class | mode)")
for scale, x, y in zip(SCALES, aligned["exact"], modes["exact"], strict=True):
    right.annotate(f"s={scale}", (x, y), (5, 3), textcoords="offset points")

# %% [markdown]
# *Figure (ring, in order of weight; 1,000 samples a scale): left, effective modes fall from nearly
# 8 at scale 0 to between 1.5 and 3 at scale 8; the learned curves lie on the exact one up to scale
# 3 and leave it a little after, downwards. The tilted law's curve, dashed, stays near the exact
# one. Right, the same against alignment, the scale s written at each exact point.*
#
# This is the picture of the whole course: **to the right you gain alignment, downwards you lose
# modes**. The network was told none of it, and yet you should see
# `greatest gap up to scale 3`: 0.00 to 0.30 (in modes). At 5 and 8 it is on its own:
# `greatest gap beyond`: 0.05 to 1.20. There guidance multiplies the difference of two predictions,
# and with it the small errors in both. The shipped network, trained twice as long, strays
# less here.
#
# The tilted curve looks close too. But the bars above have shown how different the modes behind it
# are: never trust one number.

# %%
my_explanation = "at scale 8 errors weigh more than at scale 1 because ..."

# %% [markdown]
# ## Exercise 3: what does guidance cost?
#
# Guidance asks the network twice. But not always: at which scales is one answer enough? Write a
# guided prediction that calls `model(x, level, label)` only as often as that one scale needs; the
# check counts the calls' rows. Hint: `torch.full_like(label, model.null_label)` is the label "no
# class" for every row, and `ct.guide(cond, uncond, scale)` is the formula.


# %%
def my_guided(model, x, level, label, scale):
    """Return the guided prediction of x (n, 2); scale is a float, label (n,) has no nulls."""
    # BEGIN SOLUTION
    if scale == 1:
        return model(x, level, label)
    uncond = model(x, level, torch.full_like(label, model.null_label))
    if scale == 0:
        return uncond
    return ct.guide(model(x, level, label), uncond, scale)
    # END SOLUTION


# %%
ct.check.guided(my_guided)

# %%
for scale in (0, 1, 3):
    learned.rows_run = 0
    domain.sample(ct.guided(learned, scale), 0, n=100, num_steps=18, progress=False)
    print(f"scale {scale}: {learned.rows_run / 100:.0f} rows of the network a sample")

# %% [markdown]
# 18 steps, one evaluation each: 18 rows a sample, and twice that where both branches are needed.

# %% [markdown]
# ## When does guidance cost nothing?
#
# How steep the curve is depends on how much the modes say about the class. Two extremes: modes
# that say **nothing** (both classes weigh them alike) and modes that say **everything** (class 0
# lives on 0 to 3, class 1 on 4 to 7; still the ring).
#
# **Predict** both curves. In the second, samples are perfectly aligned at scale 1 already.

# %%
my_guess = "nothing: the curve ...; everything: the curve ..."

# %%
half = [0.25] * 4 + [0.0] * 4
contrast = {"say nothing": [[1 / 8] * 8] * 2, "say everything": [half, half[::-1]]}
figure, ax = plt.subplots(figsize=(6, 3.4))
for (name, weights), colour in zip(contrast.items(), (GREEN, BLUE), strict=True):
    other = ct.load("mixtures", mode_weights=weights)
    found = [other.measure(x, 0) for x in sample_all(other.exact(), other)]
    kept = [r.effective_modes for r in found]
    ax.plot(SCALES, kept, "o-", color=colour)
    ax.text(8.2, kept[-1], f"modes {name}", color=colour, va="center")
    print(f"modes {name}, effective modes at scale 8: {kept[-1]:.2f}")
ax.set(xlabel="guidance_scale", ylabel="effective modes (of 8)")
limits = ax.set(xlim=(0, 11), xticks=[0, 1, 2, 3, 5, 8])

# %% [markdown]
# *Figure (ring; exact models, 1,000 samples a scale): a flat line at 8 where modes say nothing; the
# other falls from 8 without a label to 4 at scale 1 and on to about 2 at scale 8.*

# %%
print("modes say everything, shares of modes 0 to 3")
for scale in (1, 3, 8):
    shares = other.exact_law(scale, 0)[:4].tolist()
    print(f"scale {scale}:", " ".join(f"{share:.2f}" for share in shares))

# %% [markdown]
# Where modes say nothing, the two predictions agree and there is nothing to scale: you should see
# `modes say nothing, effective modes at scale 8`: 7.80 to 8.00. Where they say everything, guidance
# cannot buy alignment any more (it is 1 at scale 1) and **still** throws modes away: you should see
# `modes say everything, effective modes at scale 8`: 2.00 to 2.60. The tilted law would keep all
# four for ever. Modes 0 and 3 border the other class, and it is they that go: guidance flees the
# border.

# %% [markdown]
# ## Play
#
# Change anything: the scale, the layout (`"ring"`, `"grid"`, `"line"`), the label, a window such as
# `ct.interval(5.0, lo=0.2, hi=1.6)` in place of the number, which guides only while the noise level
# is between `lo` and `hi`. Which change keeps the most modes, and how much alignment does it give
# up? (The slider above has the window too, as *guided levels*.)

# %%
layout, scale, label = "grid", 4.0, 0
toy = ct.load("mixtures", layout=layout)
x = toy.sample(ct.guided(toy.exact(), scale), label, n=1000, progress=False)
found = toy.measure(x, label)
figure, ax = plt.subplots(figsize=(3.6, 3.6))
toy.show(x, ax=ax)
title = ax.set_title(
    f"{layout}: {found.effective_modes:.1f} modes, alignment {found.alignment:.2f}"
)

# %% [markdown]
# *Figure (eight modes on a grid, three rows from 0 to 7; exact model): 1,000 samples of class 0 at
# scale 4. Only the lowest row, modes 0 to 2, has points, and mode 0 in the corner has most: here
# the heaviest mode is far from the other class, and keeps its place.*

# %% [markdown]
# ## Take away
#
# 1. Guidance is one line, `uncond + scale * (cond - uncond)`, and label dropout is what makes both
#    predictions available from one network.
# 2. A greater scale gives more alignment and fewer modes. It pushes away from the *other* class, so
#    a mode near it can lose even if it is the heaviest of its own.
# 3. Guided samples do not follow $p(x|c)^{s}\,p(x)^{1-s}$, and which law they do follow depends on
#    the sampler.
#
# **Limits.** A plane exaggerates: in many dimensions guidance distorts less (arXiv 2502.07849,
# 2602.00716). Eight equal Gaussians on a ring are one layout of many, and the steepness of the
# curve is that of *our* weights. One training run is one run: the atlas (`make atlas`) draws bands
# over several.
#
# **What next.** `02_images` asks the same of photographs, where no formula knows the answer.
