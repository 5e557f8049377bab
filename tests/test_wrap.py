"""Networks of other libraries as models: our samplers and theirs give the same samples."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toys import last, message

import cfg_tutorial as ct
from cfg_tutorial.keys import key_of

diffusers = pytest.importorskip("diffusers", reason="diffusers, of the extra 'test', is missing")
STEPS, N = 7, 3


def unet():
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16),
        layers_per_block=1, norm_num_groups=4, num_class_embeds=3, add_attention=False,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    ).double().eval()  # fmt: skip


def conditional_unet():
    torch.manual_seed(0)
    return diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16),
        layers_per_block=1, norm_num_groups=4, cross_attention_dim=12, attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).double().eval()  # fmt: skip


def transformer():
    torch.manual_seed(0)
    return diffusers.DiTTransformer2DModel(
        sample_size=8, in_channels=1, out_channels=1, num_layers=1, num_attention_heads=2,
        attention_head_dim=4, patch_size=2, num_embeds_ada_norm=3, norm_num_groups=4,
    ).double().eval()  # fmt: skip


def theirs(scheduler, ask, noise, scale=3.0):
    """Return the samples of the library's own loop, guided as its pipelines do it."""
    scheduler.set_timesteps(STEPS)
    x = noise * scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else noise
    for t in scheduler.timesteps:
        inside = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        cond, uncond = ask(inside, t.expand(N), 0), ask(inside, t.expand(N), 2)
        x = scheduler.step(uncond + scale * (cond - uncond), t, x).prev_sample
    return x


NOISE = torch.from_numpy(np.random.default_rng(0).standard_normal((N, 1, 8, 8)))
VP = {"clip_sample": False, "beta_schedule": "scaled_linear"}


def schedulers():
    flow = diffusers.FlowMatchEulerDiscreteScheduler
    found = {f"ddim {p}": diffusers.DDIMScheduler(prediction_type=p, **VP)
             for p in ("epsilon", "v_prediction", "sample")}  # fmt: skip
    found |= {f"edm {p}": diffusers.EDMEulerScheduler(prediction_type=p)
              for p in ("epsilon", "v_prediction")}  # fmt: skip
    found |= {f"flow {shift}": flow(shift=shift) for shift in (1.0, 3.0)}
    return found | {"euler": diffusers.EulerDiscreteScheduler(**{"beta_schedule": "linear"})}


@torch.no_grad()
@pytest.mark.parametrize("name", schedulers())
@pytest.mark.parametrize("make", [unet, transformer])
def test_round_trip_with_labels(make, name):
    scheduler, net, label = schedulers()[name], make(), torch.zeros(N, dtype=torch.long)
    ask = lambda x, t, c: net(x, t, class_labels=label + c).sample  # noqa: E731
    model = ct.wrap(net, scheduler=scheduler, call="class_labels", num_classes=2, p_uncond=0.1)
    sigmas = model.levels(STEPS).double()
    x = NOISE * model.start_scale(sigmas[0].item())
    ours = last(ct.sample_euler(ct.guided(model, 3.0), x, sigmas, label))
    torch.testing.assert_close(ours, theirs(scheduler, ask, NOISE), rtol=1e-5, atol=2e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["ddim epsilon", "edm v_prediction", "flow 3.0"])
def test_round_trip_with_a_table_of_conditions(name):
    scheduler, net = schedulers()[name], conditional_unet()
    table = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(1)).double()
    ask = lambda x, t, c: net(x, t, table[c].expand(N, 5, 12)).sample  # noqa: E731
    how = {"conditions": table[:2], "null": table[2], "call": "encoder_hidden_states"}
    model = ct.wrap(net, scheduler=scheduler, p_uncond=0.1, **how)
    sigmas, label = model.levels(STEPS).double(), torch.zeros(N, dtype=torch.long)
    x = NOISE * model.start_scale(sigmas[0].item())
    ours = last(ct.sample_euler(ct.guided(model, 3.0), x, sigmas, label))
    torch.testing.assert_close(ours, theirs(scheduler, ask, NOISE), rtol=1e-5, atol=2e-5)


@torch.no_grad()
def test_dpm_solver_is_our_2m():
    scheduler = diffusers.DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++", final_sigmas_type="zero", beta_schedule="linear"
    )
    net, label = unet(), torch.zeros(N, dtype=torch.long)
    ask = lambda x, t, c: net(x, t, class_labels=label + c).sample  # noqa: E731
    model = ct.wrap(net, scheduler=scheduler, call="class_labels", num_classes=2, p_uncond=0.1)
    sigmas = model.levels(STEPS).double()
    x = NOISE * model.start_scale(sigmas[0].item())
    ours = last(ct.sample_dpmpp_2m(ct.guided(model, 3.0), x, sigmas, label))
    # The library's last two steps are of first order by choice; ours is one.
    expected = theirs(scheduler, ask, NOISE)
    assert (ours - expected).abs().mean() < 0.05 * expected.std()


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 50), st.sampled_from(["ddim", "edm", "flow"]))
def test_every_prediction_is_the_same_x0(sigma, kind):
    """A network that knows x0 and eps answers in each convention; the model says x0."""
    scheduler = {"ddim": diffusers.DDIMScheduler(), "edm": diffusers.EDMEulerScheduler(),
                 "flow": diffusers.FlowMatchEulerDiscreteScheduler()}[kind]  # fmt: skip
    x0 = torch.linspace(-1, 1, 6).double().view(2, 3)
    eps = torch.linspace(2, -1, 6).double().view(2, 3)
    level, label = torch.tensor(sigma).double(), torch.zeros(2, dtype=torch.long)
    d = scheduler.config.sigma_data if kind == "edm" else 1.0
    v = (d**2 * eps - level * x0) / (d * (level**2 + d**2).sqrt())
    answers = {"sample": x0, "v_prediction": v, "flow_prediction": eps - x0}
    answers["epsilon"] = -v if kind == "edm" else eps  # EDM calls the sign epsilon
    known = {"ddim": ["sample", "v_prediction", "epsilon"], "edm": ["epsilon", "v_prediction"]}
    for predicts in known.get(kind, ["flow_prediction"]):
        net = lambda x, t, c, answer=answers[predicts]: answer  # noqa: E731
        model = ct.wrap(net, predicts, scheduler=scheduler, num_classes=2)
        found = model(x0 + level * eps, level, label)
        torch.testing.assert_close(found, x0, rtol=1e-6, atol=1e-6)


def test_timesteps_are_those_of_the_table():
    scheduler, seen = diffusers.DDIMScheduler(), []
    model = ct.wrap(lambda x, t, c: seen.append(t) or x, scheduler=scheduler, num_classes=1)
    label = torch.zeros(2, dtype=torch.long)
    for sigma in model.levels(10)[:-1]:
        model(torch.zeros(2, 3), sigma, label)
    scheduler.set_timesteps(10)
    assert [t.unique().tolist() for t in seen] == [[float(t)] for t in scheduler.timesteps]


def test_a_net_without_a_scheduler_and_a_function_that_calls_it():
    class Backwards(nn.Module):
        def forward(self, condition, t, *, picture):
            return {"x0": picture * 0 + condition[:, :1] + t[:, None]}

    call = lambda net, x, level, c: net(c, level, picture=x)["x0"]  # noqa: E731
    table = torch.tensor([[1.0, 0], [2.0, 0]])
    model = ct.wrap(Backwards(), call=call, conditions=list(table), null=torch.zeros(2))
    assert (model.num_classes, model.null_label) == (2, 2)
    x, level = torch.zeros(3, 4), torch.tensor(0.5)
    got = model(x, level, torch.tensor([0, 1, 2]))[:, 0]
    assert got.tolist() == [1.5, 2.5, 0.5]
    model.p_uncond = 0.1
    asked = ct.composed(model, {0: 3.0, 1: -2.0})(x, level, torch.zeros(3, dtype=torch.long))
    assert asked[:, 0].tolist() == [-0.5] * 3  # a negative prompt: 1: 3, 2: 1 - 3


def test_conditions_are_part_of_the_key_and_move_with_the_model():
    table = torch.ones(2, 3)
    models = [ct.wrap(nn.Identity(), call=lambda net, x, t, c: x, conditions=k * table,
                      null=table[0]) for k in (1, 1, 2)]  # fmt: skip
    keys = [key_of(model) for model in models]
    assert keys[0] == keys[1] != keys[2]
    assert models[0].double().table.dtype == torch.float64
    assert models[0].to("meta").table.device.type == "meta"


def test_the_key_of_a_scheduled_model_knows_its_scheduler():
    net = nn.Linear(2, 2)
    keys = {
        key_of(ct.wrap(net, call=lambda net, x, t, c: net(x), scheduler=one, num_classes=1))
        for one in schedulers().values()
    }
    assert len(keys) == len(schedulers())


def test_a_masked_language_model():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(vocab_size=10, intermediate_size=16, **small)
    net = transformers.BertForMaskedLM(config).eval()

    def call(net, tokens, level, prompt):
        asked = net(input_ids=torch.cat([prompt, tokens], 1))
        return asked.logits[:, prompt.shape[1] :, :6]

    prompts = torch.tensor([[7], [8]])
    how = {"vocab_size": 6, "mask_token": 6, "p_uncond": 0.1}
    model = ct.wrap(net, "log_probs", call=call, conditions=prompts, null=prompts[0] + 2, **how)
    start, label = torch.full((5, 4), 6), torch.zeros(5, dtype=torch.long)
    with torch.no_grad():
        x = last(ct.sample_unmask(ct.guided(model, 2.0), start, torch.linspace(1, 0, 5), label))
        log_probs = model(start, torch.tensor(1.0), label)
    assert x.shape == (5, 4) and (x < 6).all()
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(5, 4))


def test_what_cannot_be_wrapped_is_named():
    def net(x, level, label):
        return x

    how = {"num_classes": 2}
    x, label = torch.zeros(2, 3), torch.zeros(2, dtype=torch.long)
    asked = x, torch.tensor(1.0), label
    two = ct.wrap(lambda x, t: x, **how)
    message(lambda: two(*asked), "'net'", "(x, level, label)", "(x, t)")
    message(lambda: ct.guided(two, 2.0)(*asked), "'net'", "(x, t)")
    message(lambda: ct.wrap(unet(), call="text", **how)(*asked), "'net'", "text")
    message(lambda: ct.wrap(net, call=lambda x: x, **how)(*asked), "'call'", "condition")
    message(lambda: ct.wrap(net, call=3, **how), "'call'", "3")
    message(lambda: ct.wrap(net, "noise", **how), "'predicts'", "noise")
    message(lambda: ct.wrap(net, scheduler=object(), **how), "'scheduler'", "object")
    strange = diffusers.DDIMScheduler(prediction_type="noise")
    message(lambda: ct.wrap(net, scheduler=strange, **how), "'predicts'", "noise")
    message(lambda: ct.wrap(net, conditions=torch.ones(2, 3)), "'null'", "(3,)", None)
    message(lambda: ct.wrap(net, conditions=torch.ones(2, 3), null=torch.ones(4)), "'null'", "(4,)")
    ragged = [torch.ones(2), torch.ones(3)]
    message(lambda: ct.wrap(net, conditions=ragged, null=torch.ones(2)), "'conditions'", "list")
    message(lambda: ct.wrap(net, null=torch.ones(2), **how), "'null'", "conditions")
    odd = ct.wrap(lambda x, level, label: {"x": x}, **how)
    message(lambda: odd(x, torch.tensor(1.0), label), "'net'", "dict", ".sample")
    table = ct.wrap(
        net, call=lambda net, x, t, c: x, conditions=torch.ones(2, 3), null=torch.ones(3)
    )
    message(lambda: table(x, torch.tensor(1.0), label + 3), "'label'", "3")
