# %% [markdown]
# # What guidance buys, and what it costs: the notebooks
#
# ## How to use this page
#
# Open a notebook by its name and run its cells from top to bottom. Where it says **Predict**, write
# your guess down before you run on. Under each exercise a cell checks your answer, and says what is
# wrong with it. No later cell needs your answer, so you may skip an exercise and come back.
#
# Begin with 00. Then 01: the notebooks 02, 03 and 04 build on it, and can be read in any order; 03b
# goes on where 03 ends, and is optional. 05 puts all four kinds of data on one axis. Close a
# notebook and its kernel before you open the next: each takes up to 1.5 GiB of memory. None needs a
# GPU, or a network once all is installed.
#
# ## The notebooks
#
# Minutes of code are measured: all cells once, training included, one thread, no GPU, while other
# work ran beside it.
#
# | notebook | question | minutes to work through | minutes that the code runs | needs | exercises |
# |---|---|---|---|---|---|
# | [00_start_here](00_start_here.ipynb) | Does it run, and what will I see? | 15 to 20 | 0.7 | a little PyTorch; 1.5 GiB | 2: convert a scale · count what is lost |
# | [01_mixtures](01_mixtures.ipynb) | What does guidance do to a known law? | about 35 | 0.5 | a little PyTorch, what a density is | 7: write guidance · noise and tilt, in two orders · write label dropout · what does guidance cost? · the whole curve, from nothing |
# | [02_images](02_images.ipynb) | Does it happen on photographs too? | about 30 | 2.2 | notebook 01; 1 GiB | 6: correct the counts · one step of a sampler · write the window · find the window |
# | [03_text_tokens](03_text_tokens.ipynb) | Is it the same without noise levels? | 20 to 25 | 1.1 | notebook 01; 1.5 GiB | 4: guide words · masked diffusion for two words |
# | [03b_text_more](03b_text_more.ipynb) | What else takes words away? | about 20 | 1.2 | notebook 03; 1.5 GiB | 3: repair the law · repeat the prompts · draw the next word |
# | [04_audio](04_audio.ipynb) | Can you hear it? | about 25 | 1.0 | notebook 01; 1.5 GiB; loudspeakers if you have them | 4: cents · style mixing |
# | [05_four_domains](05_four_domains.ipynb) | Is it one phenomenon? | 30 | 1.2 | notebook 00, better 01 to 04 as well; 1.5 GiB | 5: how many modes are there, really? · write the tilted law · a law of one's own |

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
# [Conventions](../docs/conventions.md) says the same of noise levels, tokens and measures.
#
# ## Where is what
#
# - **Solutions.** Solved copies, in the folder `solutions`:
#   [00](solutions/00_start_here.ipynb), [01](solutions/01_mixtures.ipynb),
#   [02](solutions/02_images.ipynb), [03](solutions/03_text_tokens.ipynb),
#   [03b](solutions/03b_text_more.ipynb), [04](solutions/04_audio.ipynb),
#   [05](solutions/05_four_domains.ipynb). All cells are as in the notebooks here, but for the
#   exercises.
# - **Glossary.** [Each term](../docs/glossary.md), and the section that introduces it.
# - **Teaching.** [A plan for one hour](../docs/teaching/one-hour.md) with a room of thirty.
# - **Playground.** `cfg-tutorial playground` opens a page for this machine alone, with the sliders
#   of all four kinds of data; the notebook [playground](playground.ipynb) has the same.
# - **Atlas.** `cfg-tutorial atlas --quick` draws the curves of the shipped networks into
#   `atlas/index.html`, one file that needs no other; without `--quick` it trains them anew.
# - **A question, or a wrong number?** [Contributing](../CONTRIBUTING.md) says how to tell us.
#
# ## Does it run here?
#
# The first cell says which Python runs the notebook. If it stops, do what it says. On a hosted
# notebook, bring the whole project there first; the torch that is there stays as it is.

# %%
import cfg_tutorial as ct

# isort: split

# %% [markdown]
# The second lists what this machine lacks, each with its remedy. (Below is the answer of the
# machine that made this page, until you run the cell on yours.)

# %%
import contextlib
import io

from IPython.display import Markdown

from cfg_tutorial.app import doctor

print("cfg_tutorial", ct.__version__)
with contextlib.redirect_stdout(io.StringIO()) as said:
    doctor.main()
lines = said.getvalue().splitlines()
problems = [line for line in lines if line.startswith("[problem]")]
Markdown("\n\n".join(problems) or f"Nothing is missing: {len(lines) - 1} requirements are met.")
