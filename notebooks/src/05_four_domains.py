# %% [markdown]
# # 5 · Is it one phenomenon?
#
# **The claim of this notebook.** Points, photographs, sentences and sounds lose modes to guidance
# along one curve, because the curve is made by the *classes*, by how unlike their modes' weights
# are, and hardly by the kind of data. Where the four part, three things explain it: theory, skew,
# and training that stopped too early.
#
# **Afterwards you can** put different data sets on one axis, say what guidance samples and what it
# does not, and tell whether a curve comes from the method or from a weak network.
#
# | | |
# |---|---|
# | time | 30 minutes to work through; the code runs for about one |
# | you know | notebook 00, and better 01 to 04 as well |
# | you need | two cores, no GPU, no network; 1.5 GiB of memory |

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
COLOURS = {"mixtures": "#0072B2", "images": "#D55E00", "text": "#009E73", "audio": "#CC79A7"}
MARKERS = {"mixtures": "o", "images": "s", "text": "^", "audio": "D"}

# %% [markdown]
# ## Four kinds of data, one design
#
# | | a sample | a mode | classes | noise |
# |---|---|---|---|---|
# | mixtures | a point in the plane | a heap, 8 around a ring | 2 | Gaussian |
# | images | a photograph | a garment, 8 | 2 | Gaussian |
# | text | a sentence | a topic, 8 | 2 | masked words |
# | audio | a melody | a phrase and its instrument, 12 | 4 | Gaussian |
#
# A class is a law of modes. These are the first class of each.

# %%
for name in COLOURS:
    weights = ct.load(name).mode_weights
    print(f"{name:<9}", " ".join(f"{w:.2f}" for w in weights[0].tolist()))

# %% [markdown]
# The first three share their weights, so if the kind of data does not matter, their curves must be
# equal. Audio's classes are other laws: each has six modes of twelve.
#
# ## Exercise 1: how many modes are there, really?
#
# With shares `p` of the modes, `exp(-sum(p log p))` is the *effective* number of modes: 8 if eight
# are equally frequent, 1 if there is only one. You get counts, and some may be 0.


# %%
def my_effective_modes(counts):
    """Return exp of the entropy of the modes' shares; counts is a tensor (k,)."""
    # BEGIN SOLUTION
    share = counts[counts > 0] / counts.sum()
    return (-(share * share.log()).sum()).exp()
    # END SOLUTION


# %%
ct.check.effective_modes(my_effective_modes)

# %% [markdown]
# ## One call, four curves
#
# **Predict:** divide each data set's effective modes by its own at scale 1, and draw them against
# the scale. Will the four fall on one line? And against alignment?

# %%
my_guess = "..."

# %%
SCALES = [0, 1, 2, 3, 5, 8]
largest_first = ["audio", "text", "images", "mixtures"]  # takes less memory so
options = {"seeds": [0], "n": 160, "progress": False}
shipped = ct.sweep(largest_first, SCALES, source="shipped", references=True, **options)
exact = ct.sweep(largest_first, SCALES, source="exact", **options)


def curve(table, domain, measure, source):
    """Return a measure, mean over classes, at each of SCALES."""
    rows = table[(table.domain == domain) & (table.measure == measure) & (table.label == "mean")]
    return rows[rows.source == source].set_index("scale").value.dropna()


# %%
def draw(ax, measure, against="scale"):
    """Draw a measure over that at scale 1, for all data sets, networks solid, exact dashed."""
    for domain, colour in COLOURS.items():
        for table, source, line in [(shipped, "shipped", "-"), (exact, "exact", "--")]:
            y = curve(table, domain, measure, source)
            x = y.index if against == "scale" else curve(table, domain, against, source)
            look = {"color": colour, "linestyle": line, "label": f"{domain}, {source}"}
            marker = MARKERS[domain] if source == "shipped" else None
            ax.plot(x, y / y[1.0], marker=marker, **look)
    ax.set(ylabel=f"{measure.replace('_', ' ')} / that at scale 1", ylim=(0, None))
    ax.set_xlabel("guidance_scale" if against == "scale" else "alignment, mean p(class | mode)")


# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
draw(left, "effective_modes")
draw(right, "effective_modes", against="alignment")
left.legend(frameon=False, fontsize=8)

# %% [markdown]
# *Figure (160 samples a scale, solid: shipped networks, dashed: exact models without any network):
# left, effective modes over those at scale 1. Mixtures, images and text fall in one bundle from 1.2
# at scale 0 to about .4 at scale 8, networks and exact models alike. Audio starts at 2.2 and falls
# more slowly after scale 1. Right, against alignment: the first three again share one line, audio
# has its own to the left of it, since its prior is 1/4.*

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
draw(left, "mode_coverage")
draw(right, "mode_coverage", against="alignment")

# %% [markdown]
# *Figure: the same with mode coverage, the share of a class's modes that keep a quarter of what the
# class gives them. Up to scale 1 it is 1 or nearly so; then it falls in all four, to between .3
# and .6 at scale 8. Its steps are coarse: one mode of a class is an eighth, or in audio a sixth.*
#
# Now in numbers. Three data sets with the same weights, three kinds of sample, two kinds of noise:

# %%
three = ["mixtures", "images", "text"]
left_over = {}
for domain in COLOURS:
    modes = curve(shipped, domain, "effective_modes", "shipped")
    left_over[domain] = modes[3.0] / modes[1.0]
    print(f"{domain}, left at scale 3: {left_over[domain]:.2f}")
spread = max(left_over[d] for d in three) - min(left_over[d] for d in three)
print(f"greatest difference of the three: {spread:.2f}")

# %% [markdown]
# `mixtures, left at scale 3`: 0.55 to 0.76; `images, left at scale 3`: 0.46 to 0.68;
# `text, left at scale 3`: 0.55 to 0.77; `audio, left at scale 3`: 0.66 to 0.90. The first three
# differ by little, `greatest difference of the three`: 0.00 to 0.20, where scale 1 to 3 costs each
# of them a third or more.
#
# ## The control that must fail
#
# At scale 0 nobody asks for a class. Alignment must be the prior in each, or the rise is not due to
# guidance.

# %%
for domain in COLOURS:
    aligned = curve(shipped, domain, "alignment", "shipped")
    print(f"{domain}, alignment at scale 0: {aligned[0.0]:.3f}")

# %% [markdown]
# `mixtures, alignment at scale 0`: 0.43 to 0.57; `images, alignment at scale 0`: 0.42 to 0.58;
# `text, alignment at scale 0`: 0.42 to 0.58; `audio, alignment at scale 0`: 0.19 to 0.33.
#
# ## What is the same
#
# From each scale to the next, does alignment rise, and do effective modes fall?

# %%
for domain in COLOURS:
    aligned = curve(shipped, domain, "alignment", "shipped").diff().dropna()
    modes = curve(shipped, domain, "effective_modes", "shipped").diff().dropna()
    print(f"{domain}: alignment rises in {(aligned > 0).sum()} of 5 steps", end=", ")
    print(f"modes fall in {(modes < 0).sum()} of 5")
    print(f"{domain}, steps that agree: {(aligned > 0).sum() + (modes < 0).sum()}")

# %% [markdown]
# `mixtures, steps that agree`: 9 to 10; `images, steps that agree`: 9 to 10;
# `text, steps that agree`: 9 to 10; `audio, steps that agree`: 9 to 10. **That is the phenomenon:**
# monotone, both ways, in all four.
#
# ## Where they part, 1: theory
#
# It is often said that guidance samples the *tilted law*, the class's law times how much a mode
# speaks for the class: `p(mode | class)^s * p(mode)^(1 - s)`.
#
# ## Exercise 2: write the tilted law


# %%
def my_tilted(cond, uncond, scale):
    """Return the tilted law (k,): cond and uncond are laws (k,) without zeros, scale a float."""
    # BEGIN SOLUTION
    law = cond**scale * uncond ** (1 - scale)
    return law / law.sum()
    # END SOLUTION


# %%
ct.check.tilted(my_tilted)

# %%
figure = ct.plot_coverage(shipped[shipped.domain.isin(["text", "mixtures"])], "effective_modes")
figure.set_size_inches(10, 3.8)

# %% [markdown]
# *Figure: effective modes against the scale, left for text and right for mixtures, from nearly 8 at
# scale 0 to between 2 and 3 at scale 8. The network's line lies on the exact equation for the
# mixtures, near the tilted law of modes but not on it. For text it lies between the tilted law of
# modes and that of whole sentences, which is highest. The pale band is where a perfect sampler of
# the class would be.*
#
# In the number of modes the laws look alike. Look at *which* modes are left.

# %%
from cfg_tutorial.plots import plot_modes

mixtures = ct.load("mixtures")
figure = plot_modes(shipped, "mixtures", mixtures.mode_weights, scales=(1.0, 3.0, 8.0))
figure.set_size_inches(10, 3.4)
handles = figure.axes[-1].get_legend_handles_labels()
figure.axes[-1].get_legend().remove()
figure.axes[0].legend(*handles, fontsize=7, frameon=False, loc="upper right")
print(f"mode 0 at scale 8, tilted: {mixtures.tilted_law(8.0, 0)[0]:.3f}")
print(f"mode 0 at scale 8, guided: {mixtures.exact_law(8.0, 0)[0]:.3f}")

# %% [markdown]
# *Figure: shares of the eight modes in class 0 at scales 1, 3 and 8: bars the network, crosses the
# exact equation, triangles the tilted law, outlines the class. At scale 1 all agree, up to chance
# (80 samples). At scale 8 network and equation have three quarters or more of the samples at mode
# 1, where the tilted law has most at mode 0.*
#
# `mode 0 at scale 8, tilted`: 0.60 to 0.67, but `mode 0 at scale 8, guided`: 0.05 to 0.11. Guidance
# has abandoned the heaviest mode of the class! The modes lie on a ring in this order, so mode 0
# borders mode 7, which belongs to the other class. A point on its way feels both, and guidance
# pushes it away from the border. So **CFG does not sample the tilted law**; it cares where modes
# lie. In another layout another mode would lose. For whole sentences, words tell of the class as
# well as the topic does, which takes part of the burden off the topic.

# %%
my_explanation = "two laws can have the same number of effective modes and yet ..."

# %% [markdown]
# ## Where they part, 2: skew
#
# Audio fell more slowly. Is it sound, or its weights? Keep the points, and change the weights only:
# as shipped, half as skewed, and both classes alike. First, what the weights alone foretell:

# %%
for domain in ("mixtures", "audio"):
    modes = curve(shipped, domain, "effective_modes", "tilted")
    print(f"{domain}, the weights alone, left at scale 3: {modes[3.0] / modes[1.0]:.2f}")

# %% [markdown]
# So a good part of audio's slowness is in its weights: the tilted law, which knows of nothing else,
# has `audio, the weights alone, left at scale 3`: 0.67 to 0.71 against
# `mixtures, the weights alone, left at scale 3`: 0.59 to 0.63. Now the experiment.
#
#
# **Predict:** the number of modes left at scale 8, in each.

# %%
my_guess = "..."

# %%
ours = mixtures.mode_weights
even = torch.full_like(ours, 1 / 8)
figure, ax = plt.subplots(figsize=(5.6, 3.4))
for name, weights in {"as shipped": ours, "half": (ours + even) / 2, "none": even}.items():
    points = ct.load("mixtures", mode_weights=weights)
    table = ct.sweep([points], SCALES, source="exact", **options | {"n": 400})
    modes = curve(table, "mixtures", "effective_modes", "exact")
    ax.plot(modes / modes[1.0], "o-")
    ax.annotate(name, (8, modes[8.0] / modes[1.0]), (6, -3), textcoords="offset points")
    print(f"skew {name}, left at scale 8: {modes[8.0] / modes[1.0]:.2f}")
ax.set(xlabel="guidance_scale", ylabel="effective modes / those at scale 1", ylim=(0, 1.3))

# %% [markdown]
# *Figure (exact models, 400 samples a scale): three lines from scale 0 to 8. Without skew the line
# is flat at 1. With half the skew it falls to about .5, with all of it to about .4.*
#
# `skew none, left at scale 8`: 0.97 to 1.03; `skew half, left at scale 8`: 0.40 to 0.58;
# `skew as shipped, left at scale 8`: 0.30 to 0.46. **Modes that say nothing about the class cost
# nothing**: with equal classes `cond` and `uncond` are the same, and any multiple of their
# difference is zero. How much guidance takes is a matter of the weights; same points, same model.
#
# ## Where they part, 3: training that stopped too early
#
# An exact model has nothing to mend. Train a network in front of you, but stop after 120 steps of
# 3,000, and look at another number: *validity*, the share of samples that belong to any mode.

# %%
weak = mixtures.train(seed=0, train_steps=120)

# %%
few, label, found = [1, 1.5, 2, 3, 5], torch.arange(1000) % 2, {}
for name, model in {"weak": weak, "exact": mixtures.exact()}.items():
    each = [mixtures.sample(ct.guided(model, s), label, progress=False) for s in few]
    found[name] = [mixtures.measure(x, label) for x in each]
    pairs = [(r.validity, r.validity * r.captured_mass) for r in found[name]]
    valid, usable = zip(*pairs, strict=True)
    print(f"{name}, validity:", " ".join(f"{v:.2f}" for v in valid))
    print(f"{name}, usable:  ", " ".join(f"{u:.2f}" for u in usable))
    print(f"{name}, change of validity from scale 1 to 3: {valid[3] - valid[0]:.3f}")
    print(f"{name}, change of usable from scale 1 to 2: {usable[2] - usable[0]:.3f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2))
for name, look in {"weak": "o-", "exact": "k^--"}.items():
    left.plot(few, [r.validity for r in found[name]], look, label=name)
    right.plot(few, [r.validity * r.captured_mass for r in found[name]], look)
left.set(xlabel="guidance_scale", ylabel="validity (share of samples)", ylim=(0, 1.05))
right.set(xlabel="guidance_scale", ylabel="usable (validity x captured mass)", ylim=(0, 1.05))
left.legend(frameon=False)

# %% [markdown]
# *Figure (1,000 samples a scale): left, the weak network's validity rises with the scale from
# about .75 to .9, the exact model's is 1 throughout. Right, validity times captured mass, the share
# of the class's law that is left: the exact model's falls at once, the weak network's stays level
# up to scale 2 or 3 before it falls.*
#
# The weak network puts many points between the modes, and guidance pulls them in:
# `weak, change of validity from scale 1 to 3`: 0.04 to 0.25. That pays for the modes it loses:
# `weak, change of usable from scale 1 to 2`: -0.05 to 0.09, while the exact model pays from the
# start, `exact, change of usable from scale 1 to 2`: -0.14 to -0.05. So a published curve whose
# best scale is well above 1 says something about its *network* too: the better the network, the
# nearer to 1 its best scale. Coverage falls in both.

# %%
my_explanation = "the best scale of a model tells me about the model that ..."

# %% [markdown]
# ## Play
#
# Make classes of your own: eight weights each, in ring order. These two share no mode, so the
# tilted law at any scale is the class itself, and yet something happens. Can you find two unlike
# classes that lose *nothing* from scale 1 to 8? (Whom does each mode border?)

# %%
yours = [[5, 1, 0, 0, 5, 1, 0, 0], [0, 0, 5, 1, 0, 0, 5, 1]]
weights = torch.tensor(yours, dtype=torch.float64)
points = ct.load("mixtures", mode_weights=weights / weights.sum(1, keepdim=True))
table = ct.sweep([points], SCALES, source="exact", **options | {"n": 400})
figure = plot_modes(table, "mixtures", points.mode_weights, scales=(1.0, 3.0, 8.0))
figure.set_size_inches(10, 3)
figure.axes[-1].get_legend().set_loc("center right")

# %% [markdown]
# *Figure: shares of the eight modes at scales 1, 3 and 8 for two classes that share no mode. Bars
# are the exact model's samples, outlines the class. Modes 1 and 5, rare and next to the other
# class, are gone at scale 3, and modes 0 and 4 share what they had.*

# %% [markdown]
# ## Take away
#
# 1. It is one phenomenon: alignment up, coverage down, at every step, in four kinds of data; with
#    equal weights even the curves are nearly equal.
# 2. What guidance costs depends on what tells the classes apart. Which modes it costs depends on
#    where they lie: guidance does not sample the tilted law.
# 3. A weak network gains from guidance what a good one does not need. Do not take the mending of a
#    network for a gift of the method.
#
# **Limits.** One training seed and 160 samples a point: a difference of .05 is within chance.
# `make atlas` draws bands over seeds. Three of four data sets have our weights by design. Toys in
# two dimensions exaggerate how far guidance strays from the tilted law.
#
# **What next.** If the price is set by the classes, can another method pay less of it at the same
# alignment? Compare methods at equal alignment: try `methods=["cfg", "interval"]` in the sweep.
