# %% [markdown]
# # 2 · Does it happen on photographs too?
#
# **The claim of this notebook.** The curve of the mixtures comes back on real photographs: a
# greater guidance scale buys alignment and pays with coverage. Pictures pay a second price that
# points in a plane cannot show: saturation.
#
# Here no formula knows the answer, so we measure with an instrument, a *reader* of garments, and
# the instrument errs. **Afterwards you can** correct counts for a reader's errors, take one step of
# a sampler by hand, guide in an interval of noise levels only, and tell a weak model from a strong
# one by its curve.
#
# | | |
# |---|---|
# | time | 30 to 40 minutes to work through; the code runs for about 1.5 minutes |
# | you know | notebook 01: scale, alignment, effective modes |
# | you need | two cores, no GPU, no network; 1 GiB of memory |

# %% [markdown]
# This cell says which Python runs the notebook. If it stops, do what it says.

# %%
import sys
from importlib.util import find_spec
from pathlib import Path

print("Python", sys.version.split()[0], "at", sys.executable)
try:
    import cfg_tutorial as ct
except ImportError as error:
    what = ".." if Path("../pyproject.toml").exists() else "../.."  # the project's folder
    lacks = (error.name or "cfg_tutorial").replace("-", "_")
    if find_spec("torch"):  # keep the torch that is here: install what is missing, no more
        what = f"--no-deps {what}" if lacks == "cfg_tutorial" else lacks
    raise SystemExit(f"{error}. Run  %pip install {what}  in a new cell, then restart.") from None

# %%
import matplotlib.pyplot as plt
import torch

plt.rcParams.update({"figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})
BLACK, BLUE, SKY, RED = "#000000", "#0072B2", "#56B4E9", "#D55E00"

# %% [markdown]
# ## A wardrobe
#
# The photographs are Fashion-MNIST, 16 x 16 pixels, eight garments. We sort them into two
# wardrobes: *summer* (class 0) has all eight garments, but T-shirts most and boots least; *winter*
# (class 1) has the reverse. The garments are the modes, and their weights are those of notebook 01.

# %%
domain = ct.load("images")
batch = domain.data(400, seed=0)
figure = domain.show(batch.x[batch.label == 0][:16], label=0)
for name, weight in zip(domain.mode_names, domain.mode_weights[0].tolist(), strict=True):
    print(f"{name:<8} {weight:.2f} of the summer wardrobe")

# %% [markdown]
# *Figure: 16 photographs of the summer wardrobe in two rows, each with the garment that was read
# off it above: mostly T-shirts, dresses and trousers. A photograph that resembles no other is
# called invalid and crossed out; one in a hundred real ones is.*

# %% [markdown]
# ## The instrument and its error
#
# Nobody can look at thousands of samples, so a classifier reads the garment off each picture. It
# was fitted on training photographs; here it meets photographs that it has never seen. Row: what
# the garment is. Column: what was read.

# %%
table, names = domain.confusion, domain.mode_names
figure, ax = plt.subplots(figsize=(4.6, 4))
ax.imshow(table, cmap="cividis", vmin=0, vmax=1)
for i in range(8):
    for j in range(8):
        if table[i, j] >= 0.005:
            ax.text(j, i, f"{table[i, j]:.2f}", ha="center", va="center", fontsize=8, color="white")
            ax.texts[-1].set_color(BLACK if table[i, j] > 0.6 else "white")
ax.set_xticks(range(8), names, rotation=60)
ax.set_yticks(range(8), names)
ax.set(xlabel="garment read", ylabel="true garment")
print(f"read as what they are: {table.diagonal().mean():.3f}")

# %% [markdown]
# *Figure: a table of 8 x 8 shares, nearly all of it on the diagonal. Most errors are between
# T-shirt, dress and coat, which look alike, and between boot, sandal and sneaker.*
#
# You should see `read as what they are`: 0.92 to 0.98. A few percent sound harmless. But a garment
# that has vanished still gets the errors of all the others, so the reader hides lost modes, the
# very thing that we want to see. The table also says how to undo it.
#
# ## Exercise 1: correct the counts
#
# You know `read` (8 counts) and `confusion` (the table above; every row sums to 1). If `true` were
# the true counts, `read` would be `true @ confusion`. Find `true`.


# %%
def my_correct(read, confusion):
    """Return the true counts (k,) behind those that were read, (k,); confusion is (k, k)."""
    # BEGIN SOLUTION
    return torch.linalg.solve(confusion.T, read)
    # END SOLUTION


# %%
ct.check.correct(my_correct)

# %% [markdown]
# Solving can give a count below 0 where a mode is empty. The package looks for the counts of at
# least 0 under which the readings are most likely, and `domain.measure` always applies it. Try it
# on photographs that are *only* T-shirts and dresses.

# %%
fresh = domain.data(4000, seed=3, held_out=True)
two = fresh.x[fresh.mode < 2]
mode = domain.assign(two)
read = torch.bincount(mode[mode >= 0], minlength=8)
corrected = domain.measure(two, 0).mode_counts
print("garment    read  corrected")
for name, a, b in zip(names, read.tolist(), corrected.tolist(), strict=True):
    print(f"{name:<8}{a:>7}{b:>11.0f}")
print(f"corrected counts outside the two: {corrected[2:].sum() / corrected.sum():.3f}")

# %% [markdown]
# You should see `corrected counts outside the two`: 0.000 to 0.015, down from about 3 percent as
# read.
#
# ## What the model sees
#
# A model takes a noisy picture and returns the clean one that it expects. Here is the shipped
# network (0.7 million parameters, trained for a minute or two), asked about one photograph under
# more and more noise.

# %%
model = domain.pretrained()
sigmas = torch.tensor([0.1, 0.3, 1.0, 3.0, 10.0, 40.0])
photo = fresh.x[fresh.mode == 0][:1].expand(6, -1, -1, -1)
torch.manual_seed(0)
noisy = photo + sigmas[:, None, None, None] * torch.randn(photo.shape[1:])
with torch.no_grad():
    expected = model(noisy, sigmas, torch.zeros(6, dtype=torch.long))
figure, axes = plt.subplots(2, 6, figsize=(8, 2.9))
for column in range(6):
    axes[0, column].imshow(noisy[column, 0], cmap="gray")
    axes[0, column].set_title(f"sigma {sigmas[column]:g}", fontsize=9)
    axes[1, column].imshow(expected[column, 0], cmap="gray")
for ax in axes.flat:
    ax.set_axis_off()

# %% [markdown]
# *Figure: top row, one T-shirt under noise of standard deviation 0.1 to 40; from 1 on we see
# nothing of it. Bottom row, the clean picture that the model expects: the T-shirt up to 3, then a
# blur that is something between shirt, dress and trousers.*
#
# The model sees better than we do, but at high noise its answer is a blur, because it is a *mean*
# over all pictures that fit. A sampler never jumps there: it takes a small step towards it, asks
# again, and the blur sharpens.
#
# ## Exercise 2: one step of the sampler
#
# The state is `x = x0 + sigma * eps`, with noise `eps` of standard deviation 1. The model says what
# `x0` is. Keep that, keep the noise's direction, and shrink the noise from `sigma` to `sigma_next`.


# %%
def my_euler_step(x, x0, sigma, sigma_next):
    """Return the state at sigma_next: x, and the expected x0, are tensors, the sigmas floats."""
    # BEGIN SOLUTION
    eps = (x - x0) / sigma
    return x + (sigma_next - sigma) * eps
    # END SOLUTION


# %%
ct.check.euler_step(my_euler_step)

# %% [markdown]
# The package's sampler is this step in a loop; `lerp` is the same line, written as a mean of `x0`
# and `x`.

# %%
print(ct.source(ct.sample_euler).split('"""')[-1])

# %% [markdown]
# ## The same noise at every scale
#
# A sample's first noise depends on its row's number only, so one can follow a *single* sample from
# scale to scale.
#
# **Predict:** take eight noises of the summer class and turn the scale from 0 to 8. Will each
# picture become a better version of itself, or another garment? What happens to black and white?

# %%
my_guess = "..."

# %%
shown = [0, 1, 2, 4, 8]
scales, rows = torch.tensor(shown).repeat_interleave(8), torch.arange(8).repeat(5)
x = domain.sample(ct.guided(model, scales), 0, n=40, rows=rows, progress=False)
figure = domain.show(x)
for i, scale in enumerate(shown):
    ax = figure.axes[8 * i]
    ax.text(-0.15, 0.5, f"scale {scale}", transform=ax.transAxes, ha="right", va="center")

# %% [markdown]
# *Figure: forty generated garments; columns are eight noises, rows are scales 0, 1, 2, 4, 8 from
# the top. The top row has a coat, a sneaker, a bag and a sandal among others; from scale 2 on all
# are dresses, T-shirts and trousers, and lower rows are whiter than the rows above.*
#
# Follow a column: the picture changes its garment on the way, and always to one of summer's
# favourites. After that it only becomes a harder version of itself. Now count.

# %%
SCALES = [0, 1, 1.5, 2, 3, 5, 8]


def measure_all(model, scales=SCALES, method=ct.guided, label=0, n=200):
    """Measure n samples of a class at each scale, the same n noises at all of them."""
    rows = torch.arange(n).repeat(len(scales))
    each = torch.tensor(scales).repeat_interleave(n)
    x = domain.sample(method(model, each), label, n=len(rows), rows=rows, progress=False)
    return [domain.measure(part, label) for part in x.split(n)]


# %% [markdown]
# Beside the network stands the **exact** model of a data set: the ideal denoiser of 300
# photographs a garment. It is the mixtures' formula with variance 0, it needs no training, and it
# can only ever copy one of its photographs.

# %%
exact = measure_all(domain.exact())
shipped = measure_all(model)
print("scale   alignment      coverage       saturation")
print("        exact shipped  exact shipped  exact shipped")
for scale, a, b in zip(SCALES, exact, shipped, strict=True):
    print(
        f"{scale:<8}{a.alignment:.2f}  {b.alignment:.2f}     {a.mode_coverage:.2f}  "
        f"{b.mode_coverage:.2f}     {a.extra['saturation']:.2f}  {b.extra['saturation']:.2f}"
    )
print(f"alignment at scale 0, shipped: {shipped[0].alignment:.3f}")
print(f"alignment at scale 1, shipped: {shipped[1].alignment:.3f}")

# %% [markdown]
# - **The control that must fail.** At scale 0 no class is asked for, and alignment must be the
#   prior, .5: you should see `alignment at scale 0, shipped`: 0.43 to 0.57.
# - At scale 1 the wardrobe itself has .698; a well-trained network comes near:
#   `alignment at scale 1, shipped`: 0.63 to 0.75.
# - **Saturation** is the share of pixels beyond black or white. The exact model has none, since
#   photographs have none. The network is pushed past anything that it has seen.

# %%
tilted = [domain.tilted_law(scale, 0) for scale in SCALES]
tilted_modes = [torch.special.entr(law).sum().exp().item() for law in tilted]


def draw(ax_scale, ax_aligned, run, scales, name, look, colour):
    """Draw effective modes against the scale and against alignment."""
    modes, aligned = [r.effective_modes for r in run], [r.alignment for r in run]
    ax_scale.plot(scales, modes, look, color=colour, label=name)
    ax_aligned.plot(aligned, modes, look, color=colour)
    ax_scale.set(xlabel="guidance_scale", ylabel="effective garments (of 8)")
    ax_aligned.set(xlabel="alignment, p(class | garment)", ylabel="effective garments (of 8)")


# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
draw(left, right, exact, SCALES, "exact", "^--", BLACK)
draw(left, right, shipped, SCALES, "shipped", "s-", SKY)
left.plot(SCALES, tilted_modes, ":", color=RED, label="tilted law")
left.legend(frameon=False)
for scale, r in zip(SCALES, shipped, strict=True):
    at = (r.alignment, r.effective_modes)
    right.annotate(f"s={scale}", at, (5, 3), textcoords="offset points")
print(f"effective garments at scale 1, shipped: {shipped[1].effective_modes:.2f}")
print(f"effective garments at scale 8, shipped: {shipped[-1].effective_modes:.2f}")

# %% [markdown]
# *Figure (200 samples a scale): left, effective garments fall from nearly 8 at scale 0 to about 3
# at scale 8, for the exact model, the network and the tilted law alike. Right, the same against
# alignment, with the scale at each point of the network.*
#
# It is notebook 01's figure again: `effective garments at scale 1, shipped`: 5.80 to 7.10, and
# `effective garments at scale 8, shipped`: 2.00 to 3.30. Real photographs, a real network, pixels
# in place of points: the same bargain.

# %%
my_explanation = "the exact model loses coverage although it has seen every photograph, because ..."

# %% [markdown]
# ## Guide only where it matters
#
# At high noise guidance decides *which* garment comes, at low noise how *hard* it is drawn. So one
# may guide in a window of noise levels only, and use scale 1 outside. A step belongs to the level
# that it starts from, so the window takes in its upper end and not its lower one: two windows that
# meet then share no step and miss none.
#
# ## Exercise 3: write the window


# %%
def my_interval(level, scale, lo, hi):
    """Return the scale at each level (n,): ``scale`` where lo < level <= hi, and outside ...?"""
    # BEGIN SOLUTION
    inside = (level > lo) & (level <= hi)
    return torch.where(inside, scale, 1.0)
    # END SOLUTION


# %%
ct.check.interval(my_interval)

# %% [markdown]
# **Predict:** with a window, more garments survive at scale 5. Is that a better bargain, or only a
# smaller dose? Which of the two pictures below will tell?

# %%
my_guess = "..."

# %%
strong = [2, 3, 5, 8]
window = measure_all(model, strong, lambda m, s: ct.guided(m, ct.interval(s, lo=0.5, hi=5.0)))
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
draw(left, right, shipped, SCALES, "all noise levels", "s-", SKY)
draw(left, right, window, strong, "window 0.5 to 5", "o-", RED)
left.legend(frameon=False)
for name, found in [("all levels at scale 5", shipped[-2]), ("window at scale 8", window[-1])]:
    print(f"{name}: alignment {found.alignment:.2f}, garments {found.effective_modes:.2f}")
    print(f"{name}, saturation: {found.extra['saturation']:.3f}")

# %% [markdown]
# *Figure (shipped network, 200 samples a scale): left, at each scale more garments are left with
# the window than without. Right, against alignment, both lie on nearly the same line.*
#
# On the left the window looks like a gift; on the right most of the gift is gone: at the same scale
# it also bought less alignment. The window at scale 8 is about where scale 5 was without it.
# **Compare methods at equal alignment, never at equal scale.**
#
# What remains is real: at about equal alignment, `all levels at scale 5, saturation`: 0.05 to 0.13
# becomes `window at scale 8, saturation`: 0.02 to 0.08, and two thirds of the steps pay for one
# branch only.
#
# ## A weak model
#
# It is often said that guidance makes samples *better*. That depends on what there is to mend.
# Train a network in front of you, but stop early: 400 steps instead of 960. (The loop is that of
# notebook 01, with a U-Net in place of the MLP.) It takes 20 to 60 seconds; the weights are kept,
# so the next time it is instant.

# %%
weak = domain.train(seed=0, train_steps=400)

# %% [markdown]
# **Predict:** at scale 1, a network that has not learned to listen well to its label is less
# summery than summer. Which scale brings it nearest to its class? Which the shipped network, and
# which the exact model?

# %%
my_guess = "..."

# %%
few, means = [1, 1.25, 1.5, 2], {}
for name, net in {"weak": weak, "shipped": model, "exact": domain.exact()}.items():
    pairs = zip(*(measure_all(net, few, label=c, n=150) for c in (0, 1)), strict=True)
    means[name] = [
        ((a.alignment + b.alignment) / 2, (a.captured_mass + b.captured_mass) / 2) for a, b in pairs
    ]
    mass = [captured for _, captured in means[name]]
    print(f"{name}: captured mass", ", ".join(f"{m:.3f}" for m in mass))
    print(f"{name}, change of captured mass from scale 1 to 1.5: {mass[2] - mass[0]:.3f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4))
looks = [("weak", "o-", BLUE), ("shipped", "s-", SKY), ("exact", "^--", BLACK)]
for name, look, colour in looks:
    for ax, values in zip(axes, zip(*means[name], strict=True), strict=True):
        ax.plot(few, values, look, color=colour, label=name)
axes[0].axhline(0.698, color="#888888", linestyle=":")
axes[0].text(2, 0.7, "the class itself", color="#888888", ha="right")
axes[0].legend(frameon=False)
axes[0].set(xlabel="guidance_scale", ylabel="alignment, p(class | garment)")
axes[1].set(xlabel="guidance_scale", ylabel="captured mass (share of the law)")
short = means["weak"][0][0] - means["exact"][0][0]
print(f"weak less exact, alignment at scale 1: {short:.3f}")

# %% [markdown]
# *Figure (mean of both classes, 150 samples each a scale): left, alignment rises for all three,
# the weak network below the others throughout. Right, captured mass, the share of the class's law
# that the samples reproduce: the exact model's is highest at scale 1 and falls at once, the weak
# network's rises up to a scale between 1.25 and 1.5 and falls after, the shipped network's
# lies between them at scale 1.*
#
# - From the same noise, the weak network's samples belong less to their class than the exact
#   model's: `weak less exact, alignment at scale 1`: -0.10 to 0.00. A scale between 1 and 2 makes
#   up for it.
# - So guidance has something to mend, and up to 1.5 it costs nothing that we can see:
#   `weak, change of captured mass from scale 1 to 1.5`: -0.03 to 0.07.
# - The exact model has nothing to mend, and pays from the start:
#   `exact, change of captured mass from scale 1 to 1.5`: -0.10 to -0.01.
#
# Published curves of large networks have this shape: nearest to the data at a scale just above 1,
# and nearer to 1 the better the network. But mind the size of it: with 300 samples a point, .02 of
# captured mass is within chance. We see that the networks' curves are flat where the exact one
# falls, not where exactly their peaks are.

# %%
my_explanation = "a scale that was best for one network need not be best for another, because ..."

# %% [markdown]
# ## Play
#
# Change the scale, the class, the window, or the wardrobe (`ct.load("images", mode_weights=...)`
# with `domain.exact()`, which needs no training). Can you make winter wear T-shirts?

# %%
scale, label, window = 4.0, 1, (0.0, 160.0)
schedule = ct.interval(scale, lo=window[0], hi=window[1])
x = domain.sample(ct.guided(model, schedule), label, n=96, seed=1, progress=False)
found = domain.measure(x, label)
figure = domain.show(x[:24], label=label)
print(f"{found.effective_modes:.1f} garments, alignment {found.alignment:.2f}", end=", ")
print(f"saturation {found.extra['saturation']:.2f}")

# %% [markdown]
# *Figure: 24 generated garments of the winter wardrobe at scale 4: boots and sneakers, few others.*

# %% [markdown]
# ## Take away
#
# 1. On photographs, too, guidance buys alignment with coverage; the exact model and a trained
#    network pay nearly the same price.
# 2. An instrument that errs hides lost modes. Measure its errors, correct for them, and say so.
# 3. A window, or any other method, must be compared at equal alignment. At equal scale a smaller
#    dose looks like a better drug.
#
# **Limits.** Pictures of 16 x 16 pixels, eight garments, one reader, one training seed, and
# samples by the hundred: a difference of half a garment is noise. That T-shirts are for summer is
# our story, and its weights set how steep the curve is. Garments that look alike cannot be told
# apart by any correction.
#
# **What next.** `make atlas` draws these curves for several training seeds, with bands. Then try a
# wardrobe of your own: `ct.load("images", mode_weights=...)` and `domain.train()`.
