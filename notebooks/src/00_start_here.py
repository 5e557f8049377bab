# %% [markdown]
# # 0 · Start here: does it run, and what will I see?
#
# **The claim of this notebook.** A generative model can be told what to make more or less firmly.
# The firmer, the more its samples are what was asked for, and the more alike they become. It is so
# for points, photographs, sentences and sounds, and you see all four within a minute.
#
# **Afterwards you can** read the one curve of this package, convert a guidance scale from any
# paper or library into ours, and count what guidance loses.
#
# | | |
# |---|---|
# | time | 15 to 20 minutes to work through; the code runs for less than 1 minute |
# | you know | Python, a little PyTorch |
# | you need | two cores, no GPU, no network; 1.5 GiB of memory |

# %%
import cfg_tutorial as ct

# isort: split

# %%
import matplotlib.pyplot as plt
import pandas as pd

plt.rcParams.update({"figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})
COLOURS = {"mixtures": "#0072B2", "images": "#D55E00", "text": "#009E73", "audio": "#CC79A7"}
MARKERS = {"mixtures": "o", "images": "s", "text": "^", "audio": "D"}

# %% [markdown]
# ## What guidance is
#
# A diffusion model makes a sample from noise, step by step. At each step it predicts the clean
# sample. Trained with labels, and with the label hidden now and then, it can predict twice: once
# knowing the class, `cond`, and once not knowing it, `uncond`. Classifier-free guidance starts at
# `uncond`, walks to `cond`, and on in the same direction. Here with one number each:

# %%
uncond, cond = 0.2, 0.5
for scale in (0, 1, 2, 3):
    print(f"scale {scale}: {uncond + scale * (cond - uncond):.1f}")

# %% [markdown]
# Scale 0 ignores the class, scale 1 is the model as trained, and above 1 we go *beyond* what the
# model believes, away from what it would make for no class in particular.
#
# ## Modes and classes
#
# There are four data sets. Each has a few **modes**, kinds of sample: eight heaps of points, eight
# garments, eight topics of a review, twelve melodies with their instruments. A **class** chooses
# among the modes by weights of its own. In `images` the classes are two wardrobes:

# %%
images = ct.load("images")
print(f"{'':<9}{'summer':>8}{'winter':>8}   p(summer | mode)")
for mode, summer, winter in zip(images.mode_names, *images.mode_weights.tolist(), strict=True):
    print(f"{mode:<9}{summer:>8.2f}{winter:>8.2f}{summer / (summer + winter):>11.2f}")

# %% [markdown]
# Most garments are in both wardrobes, so a sandal says little about its wardrobe, and a T-shirt
# says much. Two numbers tell what guidance does to samples of a class:
#
# - **alignment**: the mean of the last column over the samples. How sure can one be of the class
#   that was asked for, on seeing what kind of sample came out?
# - **effective modes**: how many modes are left; one that is rare counts for less than one that is
#   frequent, and eight equally frequent ones count 8.
#
# ## The first curve
#
# **Predict.** Choose, press *Keep my prediction*, and run on. When the numbers are there, come back
# and press *Show what was measured*.

# %%
ct.predict(
    "From scale 1 to scale 8, the effective modes of a class become ...",
    ["fewer in all four data sets", "fewer in some of the four", "fewer in none of the four"],
    lambda: (
        "fewer in all four data sets"
        if all(lost)
        else ("fewer in some of the four" if any(lost) else "fewer in none of the four")
    ),
    "A data set counts as losing modes if more than a twentieth of them is gone.",
)

# %%
SCALES = [0, 1, 2, 3, 5, 8]
# Samples a scale: coverage needs ten a mode of every class, and audio has twelve modes in four.
SAMPLES = {"audio": 480, "text": 200, "images": 200, "mixtures": 200}
each = {"seeds": [0], "source": "shipped", "progress": False}
table = pd.concat(ct.sweep([domain], SCALES, n=n, **each) for domain, n in SAMPLES.items())
means = table[table.label == "mean"]  # over the classes


def curve(domain, measure):
    """Return a measure of a domain at each of SCALES."""
    rows = means[(means.domain == domain) & (means.measure == measure)]
    return rows.set_index("scale").value


# %% [markdown]
# That was 6,480 samples of four trained networks, whose weights ship with the package.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
for domain, colour in COLOURS.items():
    look = {"color": colour, "marker": MARKERS[domain], "label": domain}
    left.plot(curve(domain, "alignment"), **look)
    modes = curve(domain, "effective_modes")
    right.plot(modes / modes[1.0], **look)
for ax in (left, right):
    ax.axvline(1, color="#888888", linewidth=0.8, linestyle=":")
    ax.set(xlabel="guidance_scale (0 none, 1 conditional)", xticks=SCALES)
left.set(ylabel="alignment, mean p(class | mode)", ylim=(0, 1), title="what it buys")
right.set(ylabel="effective modes / those at scale 1", ylim=(0, None), title="what it costs")
legend = left.legend(frameon=False)

# %% [markdown]
# *Figure (shipped networks, 200 samples a scale, 480 of audio): left, alignment rises with the
# scale in all four data sets, fast up to scale 2 and slowly after; audio starts lower, since it has
# four classes and the others two. Right, effective modes as a share of those at scale 1: all four
# fall throughout. Points, photographs and sentences lie close together and end near .4 at scale 8;
# audio, whose classes have six of twelve modes, falls by half from scale 0 to 1 and ends near .55.*

# %%
print("share of effective modes left at scale 8")
left_at_8 = {
    d: curve(d, "effective_modes")[8.0] / curve(d, "effective_modes")[1.0] for d in COLOURS
}
for domain, share in left_at_8.items():
    print(f"{domain}, left at scale 8: {share:.2f}")
lost = [share < 0.95 for share in left_at_8.values()]

# %% [markdown]
# You should see `mixtures, left at scale 8`: 0.28 to 0.45; `images, left at scale 8`: 0.28 to 0.45;
# `text, left at scale 8`: 0.33 to 0.52; `audio, left at scale 8`: 0.50 to 0.72. Go back to your
# prediction.
#
# This is the package in one picture: **guidance buys alignment, and pays with coverage.** It is
# often said that guidance makes samples more diverse. Within a class, it does the reverse here.
#
# Why should the one cost the other? Look at the table of the wardrobes again, and end the sentence:

# %%
my_explanation = "asked more firmly for summer, the model makes fewer sneakers, because ..."

# %% [markdown]
# ## Turn the scale yourself
#
# Move `guidance_scale`, or press the player beside it, and watch the bars: each is a mode's share
# of the samples, and the line across it marks what the class itself would give that mode. Which
# modes go first, and does the heaviest one, mode 0, gain?

# %%
ct.explore("mixtures")

# %% [markdown]
# *Figure (400 samples of class 0 at guidance_scale 3; with a kernel, a slider moves it): left, the
# points, coloured and numbered by mode around a ring; right, each mode's share of the samples, with
# a line at the class's own weight. Modes 4 to 7, which are more often of the other class, have
# lost most or all of their share. Mode 1 has about twice its weight. Mode 0, the heaviest, has not
# gained.*
#
# That the heaviest mode does not gain has a reason, which notebook 01 is about. In the cell above,
# `"images"`, `"text"` and `"audio"` work as well (they take longer to open), and
# `cfg-tutorial playground`, typed in a terminal, has all four in one page.
#
# The widget names two more numbers. **Mode coverage** is the share of the class's modes that are
# still there: you write it in exercise 2. **Validity** is the share of samples that belong to any
# mode at all.

# %% [markdown]
# ## The control that must fail
#
# At scale 0 nobody asks for a class, so asking cannot succeed: alignment must be what guessing
# gives, 1/2 with two classes and 1/4 with four. If it were higher, our measure would deceive us.

# %%
for domain in COLOURS:
    print(f"{domain}, alignment at scale 0: {curve(domain, 'alignment')[0.0]:.3f}")

# %% [markdown]
# `mixtures, alignment at scale 0`: 0.44 to 0.56; `images, alignment at scale 0`: 0.43 to 0.57;
# `text, alignment at scale 0`: 0.43 to 0.57; `audio, alignment at scale 0`: 0.20 to 0.32.
#
# ## What it looks like
#
# The same noise, at scale 1 and at scale 8: a sample can be compared with the one at its place.

# %%


def both(name, n, label=0):
    """Return a domain and samples of one class at scales 1 and 8, from the same noise."""
    domain = ct.load(name)
    x = domain.at_scales(domain.pretrained(), [1, 8], n, label=label, progress=False)
    return domain, x.flatten(0, 1)


# %%
domain, x = both("mixtures", 300)
figure, axes = plt.subplots(1, 2, figsize=(7, 3.6), layout="constrained")
for ax, part, scale in zip(axes, x.split(300), (1, 8), strict=True):
    domain.show(part, ax=ax)
    ax.set_title(f"guidance_scale {scale}")

# %% [markdown]
# *Figure: 300 points of class 0 at each scale, modes numbered around a ring. Left, scale 1: most
# points are at modes 0, 1 and 2, some at all others. Right, scale 8: most are at mode 1, a few at
# modes 0 and 2, and the other modes are empty, or nearly so.*

# %%
domain, x = both("images", 8)
domain.show(x)

# %% [markdown]
# *Figure: eight generated garments of the summer wardrobe at scale 1, above, and at scale 8, below,
# from the same noises, each with the garment that was read off it. Below there are fewer kinds, in
# harder black and white.*

# %%
domain, x = both("text", 8)
figure = domain.show(x)
for top, scale in ((0.98, 1), (0.47, 8)):
    figure.text(0.99, top, f"scale {scale}", ha="right", va="top", fontsize=9)
line = figure.axes[0].axhline(0.487, color="#888888", linewidth=0.8)
figure

# %% [markdown]
# *Figure: sixteen generated sentences of the class "good", each after its topic. The first eight,
# above the line, are at scale 1 and have five topics; the last eight are at scale 8, and nearly all
# are on food.*

# %%
domain, x = both("audio", 4)
domain.show(x, label=0)

# %% [markdown]
# *Figure: eight generated melodies of style A, the first four at scale 1 and the last four at scale
# 8. Each has its spectrogram, time to the right and pitch upwards, and its waveform below. A guitar
# of the first row has become a piano in the second. (Notebook 04 plays them.)*

# %% [markdown]
# ## Which scale do you mean?
#
# Papers and libraries count from different zeros. This package, and this table, count so:
#
# | where | its number | no class at all | as trained | our `guidance_scale` 3 is |
# |---|---|---|---|---|
# | this package | s | 0 | 1 | 3 |
# | Ho & Salimans, the first paper | w = s - 1 | -1 | 0 | 2 |
# | diffusers, `guidance_scale` | s | 0 | 1 | 3 |
# | EDM2 | s | 0 | 1 | 3 |
# | MusicGen | s | 0 | 1 | 3 |
# | LLaDA, `cfg_scale` | s - 1 | -1 | 0 | 2 |
#
# ## Exercise 1: convert a scale
#
# A paper says 2.5: what is that in the library that you use? `source` and `target` are one of
# "ours", "Ho & Salimans", "diffusers", "EDM2", "MusicGen" and "LLaDA" each. Hint: convert to ours
# first, and from there to the target.


# %%
def my_convert(value, source, target):
    """Return the scale, as target counts it, that source calls value (a float)."""
    # BEGIN SOLUTION
    from_zero = ("Ho & Salimans", "LLaDA")
    ours = value + 1 if source in from_zero else value
    return ours - 1 if target in from_zero else ours
    # END SOLUTION


# %%
ct.check.convert_scale(my_convert)

# %% [markdown]
# ## Exercise 2: count what is lost
#
# Effective modes are smooth; **mode coverage** is blunt, and easy to explain: the share of the
# class's modes that are still there. `counts` says how many samples each mode has, `weights` how
# often the class has it. A mode is covered if it has at least a quarter of the samples that its
# weight promises: in 100 samples, weight .2 promises 20, and 5 are enough. Modes of weight 0 are
# not the class's, and count neither way. Hint: the mean of a tensor of True and False, as numbers,
# is a share.


# %%
def my_coverage(counts, weights):
    """Return the share (0 to 1) of the class's modes that are covered; tensors (k,)."""
    # BEGIN SOLUTION
    covered = counts >= 0.25 * counts.sum() * weights
    return covered[weights > 0].double().mean()
    # END SOLUTION


# %%
ct.check.mode_coverage(my_coverage)

# %% [markdown]
# The package counts in the same way. Here is its mode coverage in the sweep from above:

# %%
print("scale   " + "".join(f"{domain:>10}" for domain in COLOURS))
for scale in SCALES:
    covered = [curve(domain, "mode_coverage")[float(scale)] for domain in COLOURS]
    print(f"{scale:<8}" + "".join(f"{share:>10.2f}" for share in covered))

# %% [markdown]
# At scale 1 all modes are there, or all but one that chance missed (audio has 50 samples a class).
# At scale 8 between a third and a half of them are. At scale 0 audio misses some: about half of
# what is made there lies in modes that the class does not have, so its own get less than promised.
#
# ## Play
#
# Change the data set, the class, the scale. From which scale on could *you* name the class?

# %%
domain = ct.load("images")  # or "mixtures", "text", "audio"
scale, label = 3.0, 1
model = ct.guided(domain.pretrained(), scale)
x = domain.sample(model, label, n=120, progress=False)
found = domain.measure(x, label)
print(f"alignment {found.alignment:.2f}, effective modes {found.effective_modes:.1f}")
domain.show(x[:16], label=label)

# %% [markdown]
# *Figure: sixteen generated garments of the winter wardrobe at scale 3: boots, sneakers, coats and
# bags, and no T-shirt, dress or trousers.*

# %% [markdown]
# ## Take away
#
# 1. Guidance is one line: start at the prediction without the class and go past the one with it.
# 2. In four kinds of data it does the same: alignment up, coverage down.
# 3. Ask which zero a scale counts from before you compare two numbers.
#
# **Limits.** Small data sets, one trained network each, 200 or 480 samples a point: differences
# of a twentieth are within chance. That the shapes agree says nothing yet about *why* they do.
#
# **What next.** Notebook 01 takes points in a plane, where the right answer is known exactly;
# notebook 05 puts the four data sets on one axis and asks where they part. `make atlas` trains all
# networks anew and draws the curves with bands.
