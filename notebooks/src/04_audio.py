# %% [markdown]
# # 4 · Can you hear it?
#
# **The claim of this notebook.** The curve of the other notebooks can be heard. Turn the guidance
# scale up, and melodies become more typical of their style, until most of the style's melodies are
# gone.
#
# The sounds are real: notes of four recorded instruments, put together to short melodies.
# **Afterwards you can** measure pitch in cents, judge an instrument that reads melodies by the
# junk that it accepts, compose two labels and steer away from one, and say when guidance costs
# nothing.
#
# | | |
# |---|---|
# | time | 30 to 40 minutes to work through; the code runs for about 1 minute |
# | you know | notebook 01: scale, alignment, coverage, the tilted law |
# | you need | two cores, no GPU, no network; 1.5 GiB of memory; loudspeakers if you have them |

# %% [markdown]
# This cell says which Python runs the notebook. If it stops, do what it says.

# %%
import sys

print("Python", sys.version.split()[0], "at", sys.executable)
try:
    import cfg_tutorial as ct
except ImportError:
    here = f'"{sys.executable}" -m pip install -e .'
    raise SystemExit(
        f"The package is missing here. Run  {here}  in the project's folder, then restart."
    ) from None

# %%
import matplotlib.pyplot as plt
import torch

from cfg_tutorial.domains import audio

plt.rcParams.update({"figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})
BLACK, BLUE, RED, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"

# %% [markdown]
# ## Twelve phrases in four styles
#
# A clip has four notes. There are twelve **phrases**, each on one instrument: they are the modes.
# A **style** is a class; it owns six phrases and plays some often, others seldom. Each phrase
# belongs to two styles, so hearing it never settles the style.

# %%
domain = ct.load("audio")
for c, name in enumerate(domain.class_names):
    law = domain.mode_weights[c]
    own = [f"{domain.mode_names[k]} {law[k]:.2f}" for k in law.argsort(descending=True)[:6]]
    print(f"{name}: {', '.join(own)}")

# %%
batch = domain.data(400, seed=0)
few = batch.x[batch.label == 0][:4]
figure = domain.show(few, label=0)

# %% [markdown]
# *Figure: four clips of style A. Above, the spectrogram, time from left to right and frequency
# upwards, with the note and instrument that were read in each of four slots; below, the waveform.
# No two clips are alike: loudness, tuning, timing and gain of each note differ.*

# %%
domain.play(few[:2])

# %% [markdown]
# (Where your editor shows no player, the waveforms above are all of it.)
#
# The model works on 32 principal components of the spectrogram, so `x` is (n, 32). To hear a
# sample, the spectrogram is turned into sound by an old method, Griffin and Lim's, which finds
# phases that fit. `domain.to_sound` does it.
#
# ## An instrument that judges must be judged
#
# Coverage needs somebody who says which phrase is heard. A *reader* compares each slot with the 24
# notes that it knows and accepts what is near enough. Its limit was fixed before any sample was
# drawn. How often does it accept what is no melody at all?

# %%
for kind in ["noise", "backwards", *audio.JUNK, "blend"]:
    junk = audio.junk(kind, n=200)
    heard = domain.phrase(audio.reader().read(junk))
    print(f"{kind}, accepted: {(heard >= 0).double().mean():.2f}")

# %% [markdown]
# Noise, backwards clips and clips a semitone off are refused. Notes 25 cents off, a quarter of a
# semitone, are accepted now and then, and a blend of two clips, .8 of one and .2 of the other,
# half of the time: the louder one is heard. So validity means *a melody of ours is heard*, no
# more. You should see `noise, accepted`: 0.00 to 0.01 and `blend, accepted`: 0.30 to 0.70.
#
# ## Exercise 1: cents
#
# Pitch is measured in **cents**: 100 to a semitone, 1,200 to an octave, and an octave is a factor
# of two in frequency. How many cents is one frequency above another?


# %%
def my_cents(heard, wanted):
    """Return how many cents heard (n,) lies above wanted (n,), both in hertz."""
    # BEGIN SOLUTION
    return 1200 * (heard / wanted).log2()
    # END SOLUTION


# %%
ct.check.cents(my_cents)

# %% [markdown]
# Now the vocoder. Take real clips, turn them into `x` and back into sound, and measure.

# %%
fresh = domain.data(100, seed=3, held_out=True)
sound = domain.to_sound(fresh.x)
heard = domain.phrase(domain.read_sound(sound))
print(f"same phrase heard after the vocoder: {(heard == fresh.mode).double().mean():.3f}")
off = audio.cents(sound, audio.phrases()[fresh.mode]).abs()
print(f"median pitch error: {off.median():.1f} cents")

# %% [markdown]
# You should see `same phrase heard after the vocoder`: 0.97 to 1.00 and `median pitch error`: 1.0
# to 7.0 cents, some of it the notes' own tuning.
#
# A popular short cut is a *mel* spectrogram: 32 bands in place of 257 frequencies. Can the pitch
# come back out of it?

# %%
from torchaudio.transforms import GriffinLim, InverseMelScale, MelScale, Spectrogram

real = domain.sound(40, seed=3)
amplitude = Spectrogram(512, hop_length=128, power=1)(real.x)
blurred = InverseMelScale(257, 32, 8000)(MelScale(32, 8000, n_stft=257)(amplitude))
make = GriffinLim(512, hop_length=128, power=1, length=8192)
pitch = audio.phrases()[real.mode]
torch.manual_seed(0)
for name, one in {"257 frequencies": amplitude, "32 mel bands": blurred}.items():
    off = audio.cents(make(one), pitch).abs().median()
    print(f"{name}, median pitch error: {off:.1f} cents")

# %% [markdown]
# No: a band of 32 is wider than a semitone up here, and what lies inside it is lost. You should
# see `32 mel bands, median pitch error`: 10.0 to 60.0 cents. Mel bands are for telling words
# apart, not for melodies.
#
# ## Guidance, measured
#
# `domain.pretrained()` is a small network on the 32 components. **Predict:** style A plays its
# first phrase with .36. There are twelve phrases, six of them A's. How many effective phrases
# will be left at scale 8, and which?

# %%
my_guess = "about ... phrases, namely ... because ..."

# %%
SCALES = [0, 1, 1.5, 2, 3, 5, 8]
model = domain.pretrained()


def measure_all(model, domain=domain, n=500):
    """Measure n samples of class 0 at each scale, the same n noises at all of them."""
    scales = torch.tensor(SCALES).repeat_interleave(n)
    rows = torch.arange(n).repeat(len(SCALES))
    x = domain.sample(ct.guided(model, scales), 0, n=len(rows), rows=rows, progress=False)
    return [domain.measure(part, 0) for part in x.split(n)]


learned, exact = measure_all(model), measure_all(domain.exact())

# %%
print("scale   alignment   coverage   effective phrases   valid")
for scale, r in zip(SCALES, learned, strict=True):
    print(
        f"{scale:<8}{r.alignment:<12.2f}{r.mode_coverage:<11.2f}"
        f"{r.effective_modes:<20.2f}{r.validity:.3f}"
    )
print(f"alignment at scale 0: {learned[0].alignment:.3f}")
print(f"validity at scale 1: {learned[1].validity:.3f}")
print(f"effective phrases at scale 1: {learned[1].effective_modes:.2f}")
print(f"effective phrases at scale 8: {learned[-1].effective_modes:.2f}")

# %% [markdown]
# - **The control that must fail.** At scale 0 nobody asked for a style. There are four, so
#   alignment must be the prior of one, .25: `alignment at scale 0`: 0.20 to 0.31.
# - At scale 1 the model plays what the style plays: `validity at scale 1`: 0.97 to 1.00 and
#   `effective phrases at scale 1`: 4.40 to 5.40 of six.
# - And `effective phrases at scale 8`: 2.20 to 3.40.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
laws = [domain.tilted_law(s, 0) for s in SCALES]
tilted = [torch.special.entr(law).sum().exp().item() for law in laws]
left.plot(SCALES, tilted, "--", color=RED, label="tilted law of phrases")
for name, run, colour in (("exact model", exact, BLACK), ("learned", learned, BLUE)):
    modes, aligned = [r.effective_modes for r in run], [r.alignment for r in run]
    left.plot(SCALES, modes, "o-", color=colour, label=name)
    right.plot(aligned, modes, "o-", color=colour)
for s, r in zip(SCALES, learned, strict=True):
    right.annotate(f"s={s}", (r.alignment, r.effective_modes), (4, 4), textcoords="offset points")
left.legend(frameon=False)
for ax, name in ((left, "guidance_scale"), (right, "alignment, p(style | phrase)")):
    ax.set(xlabel=name, ylabel="effective phrases (of 12)")

# %% [markdown]
# *Figure (style A, 500 clips a scale): left, effective phrases fall from nearly 11 at scale 0,
# where all styles play, to about 5 at scale 1 and below 3 at scale 8; the learned curve and the
# exact model's lie above the tilted law. Right, the same against alignment: one line.*
#
# It is the curve of the other notebooks, with twelve modes and four classes. (The exact model
# here is the ideal denoiser of a set of clips: it plays nothing but those. The learned one does
# not: see below.)
#
# ## Hear one clip move
#
# The same noise at three scales: what guidance does to one melody.

# %%
few = [1, 3, 8]
rows = torch.arange(4).repeat(3)
scales = torch.tensor(few).repeat_interleave(4)
x = domain.sample(ct.guided(model, scales), 0, n=12, rows=rows, seed=1, progress=False).split(4)
figure = domain.compare({f"scale {s}": part for s, part in zip(few, x, strict=True)})

# %% [markdown]
# *Figure: four clips (columns) at scales 1, 3 and 8 (rows), each spectrogram with the notes that
# were read. Going down, some columns change their phrase to one of the style's own; others stay.*

# %%
domain.play({f"scale {s}": part[:2] for s, part in zip(few, x, strict=True)})

# %%
my_explanation = "the clip in column ... changed to ... because that phrase is ..."

# %% [markdown]
# The clips that stay are not all alike, and they are no copies: samples lie as far from the nearest
# training clip as fresh clips do (`tests/test_shipped.py` measures it on every change).
#
# ## Exercise 2: two styles at once
#
# Guidance is a step from the prediction without a class towards the one with it. With several
# labels there are several steps, each with a scale of its own; a negative scale leads away. Write
# it.


# %%
def my_composed(uncond, conds, scales):
    """Return the prediction guided by k labels: lists of k tensors (n, d) and k floats."""
    # BEGIN SOLUTION
    return uncond + sum(s * (cond - uncond) for s, cond in zip(scales, conds, strict=True))
    # END SOLUTION


# %%
ct.check.composed(my_composed)

# %% [markdown]
# The package's is `ct.composed(model, {label: scale})`, and what it returns is a model. Guidance
# is its case of one label. Styles A and B share three phrases. **Predict** what A and B together
# play, and what A but not B plays.

# %%
my_guess = "A and B: ...; A, not B: ..."

# %%
asked = {"A": {0: 1.0}, "A and B": {0: 1.0, 1: 1.0}, "A, not B": {0: 1.5, 1: -0.5}}
shared = (domain.mode_weights[0] > 0) & (domain.mode_weights[1] > 0)
for name, scales in asked.items():
    x = domain.sample(ct.composed(model, scales), 0, n=500, progress=False)
    mode = domain.assign(x)
    share = torch.bincount(mode[mode >= 0], minlength=12) / (mode >= 0).sum()
    valid = (mode >= 0).double().mean()
    print(f"{name}, phrases that both own: {share[shared].sum():.2f}, valid {valid:.2f}")
    top = share.argsort(descending=True)[:3]
    print("   most often:", ", ".join(f"{domain.mode_names[k]} {share[k]:.2f}" for k in top))

# %% [markdown]
# `A, phrases that both own`: 0.15 to 0.32 becomes
# `A and B, phrases that both own`: 0.45 to 1.00, the phrases that only one of them plays being
# unlikely under the other. And `A, not B, phrases that both own`: 0.00 to 0.17: A keeps what is its
# own. Nobody trained a model of "A and B"; composition made it. But read validity beside it: where
# two styles ask for different phrases, their sum may be none.
#
# ## When it costs nothing
#
# Make the class something that says nothing of the phrase: the *instrument* that plays it. All
# four instruments play the twelve phrases with the same weights.

# %%
players = ct.load("audio", layout="instruments")
found = measure_all(players.exact(), players)
for i in (1, 4, 6):
    r = found[i]
    print(f"scale {SCALES[i]}: {r.effective_modes:.2f} phrases, right instrument {r.accuracy:.2f}")
print(f"phrases kept at scale 8: {found[-1].effective_modes:.2f}")

# %% [markdown]
# The exact model keeps nine tenths of its phrases: `phrases kept at scale 8`: 7.8 to 9.3, where
# the styles kept six tenths. (Not quite all: it plays a set of clips, and some clips lie nearer
# to other instruments.) Guidance costs the modes that the class knows something about. Where it
# knows nothing, there is little to lose, and the instrument is right anyway.
#
# ## Play
#
# Change the style, the scale, the seed; write a composition in place of `ct.guided`.

# %%
style, scale, seed = 2, 3.0, 0
x = domain.sample(ct.guided(model, scale), style, n=4, seed=seed, progress=False)
figure = domain.show(x, label=style)

# %% [markdown]
# *Figure: four clips of style C at scale 3, with the notes read in them.*
#
# To keep one as a file: `ct.save_wav("melody.wav", domain.to_sound(x)[0])`. To use sounds of your
# own, put WAV or FLAC files in folders, a folder a class, and load them with
# `ct.Recordings(folder)`.

# %% [markdown]
# ## Take away
#
# 1. The bargain can be heard: a greater scale plays a style's most typical phrases, and fewer of
#    them.
# 2. A measure needs a reader, and a reader must be judged on junk, with its limit fixed beforehand.
# 3. Composition is guidance with several steps, and guidance costs only those modes that the class
#    knows something about.
#
# **Limits.** Clips of one second, four slots, 23 recordings behind 96 notes: nothing here is
# music. The reader accepts half of the blends, so validity flatters. Pitch goes through a vocoder
# with an error of a few cents. One network, one seed: the atlas draws bands over three.
#
# **What next.** `make atlas` puts the four domains side by side and lets you move one slider for
# all of them.
