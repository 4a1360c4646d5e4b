"""Losses, gradients and mixture samples of TRL 1.13.0, its last release with Nash-MD and XPO, on a tiny model.

    pip install --no-deps --target FOLDER trl==1.13.0
    PYTHONPATH=FOLDER python -m benchmarks.trl_losses

FOLDER is outside the repository and serves this command alone. The command writes tests/data/trl_losses.json, which
tests/test_trl_losses.py compares with the losses of nlhf, and prints what docs/guides/trl.md quotes.
"""

from __future__ import annotations

import json
import tempfile
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import trl_case as case

DATA = Path(__file__).resolve().parents[1] / "tests" / "data" / "trl_losses.json"
STEPS = 5  # tokens that the mixture draws
DRAWS = 8


def trainer(name: str, **options: Any) -> Any:
    """A trainer of TRL for the tiny policy and its reference, with rewards of the case."""
    from datasets import Dataset
    from trl.experimental import nash_md, online_dpo, xpo

    configs = {
        "nash_md": (nash_md.NashMDTrainer, nash_md.NashMDConfig),
        "xpo": (xpo.XPOTrainer, xpo.XPOConfig),
        "online_dpo": (online_dpo.OnlineDPOTrainer, online_dpo.OnlineDPOConfig),
    }
    kind, config = configs[name]
    made: Any = kind(
        model=case.model(case.POLICY),
        ref_model=case.model(case.REFERENCE),
        reward_funcs=lambda **_: [reward for side in case.REWARDS for reward in side],
        args=config(
            output_dir=tempfile.mkdtemp(),
            beta=[case.BETA],
            max_new_tokens=case.LONGEST,
            report_to=[],
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            **options,
        ),
        processing_class=case.tokenizer(),
        train_dataset=Dataset.from_dict({"prompt": list(case.PROMPTS)}),
    )
    return made


def padded(completions: Any) -> Tensor:
    """Token ids with padding on the right."""
    length = max(map(len, completions))
    return torch.tensor([[*tokens, *[1] * (length - len(tokens))] for tokens in completions])


def loss(name: str, first: Any = case.FIRST, **options: Any) -> dict[str, Any]:
    """The loss of one training step of TRL on the pairs of the case, and its gradient."""
    peer = trainer(name, **options)
    if name == "online_dpo":
        prompts = case.tokenizer()(list(case.PROMPTS), return_tensors="pt", padding=True)
        ids, mask = (prompts[key].repeat(2, 1) for key in ("input_ids", "attention_mask"))
        both = padded([*first, *case.SECOND])
        peer._generate = lambda *_: (ids, mask, both, (both != 1).long())
    else:

        def generated(model: Any, prompts: Any) -> tuple[Tensor, Tensor]:
            ids = (prompts if isinstance(prompts, dict) else model)["input_ids"]  # XPO swaps both arguments
            return torch.cat([ids, padded(first)], 1), torch.cat([ids, padded(case.SECOND)], 1)

        peer._generate_completions = generated
        peer._compute_rewards = lambda *_: tuple(map(torch.tensor, case.REWARDS))
    value = peer.training_step(peer.model, {"prompt": list(case.PROMPTS)})
    gradient = dict(peer.model.named_parameters())[case.GRADIENT].grad
    return {"loss": float(value), "gradient": gradient.tolist()}


def kl_gradient() -> dict[str, list[float]]:
    """The expectation of the gradient of Nash-MD's KL term over all completions of two tokens, beside the exact one."""
    peer = trainer("nash_md", mixture_coef=[case.MIXTURE])
    tokens = range(len(case.WORDS))
    rows = [(0,), *((one, two) for one, two in product(tokens, tokens) if one)]
    prompt = case.tokenizer()(case.PROMPTS[0], return_tensors="pt").input_ids
    ids = torch.cat([prompt.expand(len(rows), -1), padded(rows)], 1)
    mask = torch.tensor([[1] * prompt.shape[1] + [1, len(row) - 1] for row in rows])
    data = {"input_ids": ids, "attention_mask": mask}
    log_policy, log_reference = peer._compute_logprobs(peer.model, data, prompt.shape[1])
    weights = log_policy.sum(1).exp()
    losses = [
        peer._compute_losses(log_policy[[row]], log_reference[[row]], torch.tensor([0.5]))[0]
        for row in range(len(rows))
    ]
    expected = weights.detach() @ torch.stack(losses)
    exact = case.BETA * (weights * (log_policy - log_reference).sum(1)).sum()
    parameter = dict(peer.model.named_parameters())[case.GRADIENT]
    (peer_gradient,) = torch.autograd.grad(expected, parameter, retain_graph=True)
    (exact_gradient,) = torch.autograd.grad(exact, parameter)
    return {"peer": peer_gradient.tolist(), "exact": exact_gradient.tolist()}


def mixture_errors(policy: Any, reference: Any, exact: Any, use_cache: bool) -> list[float]:
    """The total variation between the distribution that TRL draws each token from and the mixture, at every step.

    Args:
        policy, reference: the models that TRL mixes.
        exact: returns the logits of both for whole rows of tokens, without a cache.
        use_cache: the key of the generation config, the opposite of `gradient_checkpointing`.
    """
    from transformers import GenerationConfig
    from trl.experimental.nash_md.nash_md_trainer import GeometricMixtureWrapper

    drawn_from: list[Tensor] = []

    class Recording(GeometricMixtureWrapper):  # type: ignore[misc]
        """Records the logits of every step."""

        def forward(self, *args: Any, **options: Any) -> Any:
            output = super().forward(*args, **options)
            drawn_from.append(output.logits[:, -1].softmax(-1))
            return output

    limits = {"max_new_tokens": STEPS, "min_new_tokens": STEPS, "eos_token_id": 0, "pad_token_id": 1, "top_k": 0}
    config = GenerationConfig(do_sample=True, use_cache=use_cache, **limits)
    prompt = case.tokenizer()(case.PROMPTS[1], return_tensors="pt").input_ids.expand(DRAWS, -1)
    torch.manual_seed(0)
    ids = Recording(policy, reference, config, case.MIXTURE, device=prompt.device).generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), generation_config=config
    )
    with torch.no_grad():
        log_policy, log_reference = (logits.log_softmax(-1) for logits in exact(ids))
    mixture = ((1 - case.MIXTURE) * log_policy + case.MIXTURE * log_reference).softmax(-1)
    starts = range(prompt.shape[1] - 1, ids.shape[1] - 1)
    return [
        float((probabilities - mixture[:, start]).abs().sum(-1).mean() / 2)
        for start, probabilities in zip(starts, drawn_from, strict=True)
    ]


def with_adapters() -> list[float]:
    """The same for LoRA without a reference model, where TRL takes `get_base_model()` for the reference."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    torch.manual_seed(0)
    policy = get_peft_model(case.model(case.REFERENCE), config).double().eval()

    def exact(ids: Tensor) -> tuple[Tensor, Tensor]:
        with policy.disable_adapter():
            reference = policy(ids).logits
        return policy(ids).logits, reference

    return mixture_errors(policy, policy.get_base_model(), exact, use_cache=False)


def defaults() -> dict[str, dict[str, Any]]:
    """The keys of the configs of TRL with their defaults, as the parser of its scripts makes them."""
    from dataclasses import MISSING, fields

    from trl import ModelConfig, ScriptArguments
    from trl.experimental import nash_md, online_dpo, xpo

    configs = (ScriptArguments, ModelConfig, online_dpo.OnlineDPOConfig, nash_md.NashMDConfig, xpo.XPOConfig)
    return {
        config.__name__: {
            field.name: field.default_factory() if field.default_factory is not MISSING else field.default
            for field in fields(config)
        }
        for config in configs
    }


def main() -> None:
    """Write the file."""
    policy, reference = case.model(case.POLICY), case.model(case.REFERENCE)
    both = lambda ids: (policy(ids).logits, reference(ids).logits)  # noqa: E731
    nash_md = {"mixture_coef": [case.MIXTURE]}
    content: dict[str, Any] = {
        "versions": {name: version(name) for name in ("trl", "transformers", "torch", "peft")},
        "defaults": defaults(),
        "losses": {
            "nash_md": loss("nash_md", **nash_md),
            "nash_md_one_token": loss("nash_md", case.ONE_TOKEN, **nash_md),
            "xpo": loss("xpo", alpha=[case.ALPHA]),
            "online_dpo": loss("online_dpo"),
            "online_ipo": loss("online_dpo", loss_type="ipo"),
        },
        "kl_gradient": kl_gradient(),
        "total_variation": {
            "no_cache": mixture_errors(policy, reference, both, use_cache=False),
            "cache": mixture_errors(policy, reference, both, use_cache=True),
            "adapters": with_adapters(),
        },
    }
    DATA.write_text(json.dumps(content, indent=2) + "\n")
    kl = {name: torch.tensor(gradient) for name, gradient in content["kl_gradient"].items()}
    print(f"KL gradient: cosine {torch.cosine_similarity(kl['peer'], kl['exact'], 0):.3f}, ratio of norms "
          f"{kl['peer'].norm() / kl['exact'].norm():.3f}")  # fmt: skip
    for name, distances in content["total_variation"].items():
        print(f"mixture, {name}: total variation {', '.join(f'{distance:.2f}' for distance in distances)}")


if __name__ == "__main__":
    main()
