"""Translates the settings of TRL's trainers of Nash-MD, XPO and online DPO into overrides of `nlhf run`.

The losses of pairs have other scales: TRL's loss is 2b times the logistic loss here, and 4/beta times the squared one.
Adam does not depend on the scale, but `prox.clip` and the learning rate of SGD do, so they are scaled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nlhf.config import ConfigError
from nlhf.launch.trl_keys import ADDRESSES, JUDGES, KEYS
from nlhf.launch.trl_settings import OWN_KEYS, TRAINERS, positive
from nlhf.messages import nearest

CONSTANT = {"constant": False, "constant_with_warmup": True}  # schedules with a counterpart, and whether they warm up
OPTIMISERS = {"adam": "adam", "rmsprop": "rmsprop", "sgd": "sgd"}


@dataclass
class Translation:
    """A command, and what it does not say.

    Args:
        overrides: of `nlhf run`: key and value.
        notes: keys whose meaning differs, with the difference.
        missing: settings that nothing replaces, with the reason.
    """

    overrides: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


class Translator:
    """Translates the settings of one script.

    Args:
        trainer: nash_md, xpo or online_dpo.
        settings: settings of the script; they may include TRL's defaults.
        prompts: how many prompts the data set has, if it is here.
    """

    def __init__(self, trainer: str, settings: Mapping[str, Any], prompts: int | None = None) -> None:
        self.trainer, self.settings, self.prompts = trainer, settings, prompts
        self.result = Translation()
        self.scale = 1.0  # TRL's loss in units of the loss here

    def value(self, name: str) -> Any:
        """The value of a key, the last one of a schedule."""
        value = self.settings.get(name, KEYS[name].default)
        if isinstance(value, list) and isinstance(KEYS[name].default, list) and value:
            if len(set(value)) > 1:
                self.result.missing[f"{name}={value}"] = f"nlhf has no schedules: it takes the last value, {value[-1]}"
            return value[-1]
        return value

    def set(self, **overrides: Any) -> None:
        """Add overrides; a double underscore is a dot."""
        self.result.overrides |= {name.replace("__", "."): value for name, value in overrides.items()}

    def translate(self) -> Translation:
        """The translation.

        Raises: ConfigError for settings that no algorithm or judge has.
        """
        for part in (self._algorithm, self._optimiser, self._policy, self._judge, self._prompts, self._steps):
            part()
        for name, value in self.settings.items():
            if name not in KEYS:
                close = nearest(name, KEYS)
                reason = "no key of these configs" + (f": did you mean {close}" if close else "")
                self.result.missing[f"{name}={value}"] = reason
            elif not KEYS[name].target and value != KEYS[name].default:
                self.result.missing[f"{name}={value}"] = KEYS[name].note
        for name, key in KEYS.items():
            changed = name in self.settings and self.settings[name] != key.default
            has_trainer = OWN_KEYS.get(name, self.trainer) == self.trainer
            if key.note and has_trainer and (key.always or (key.target and changed)):
                self.result.notes.setdefault(name, key.note)
        if self.value("max_steps") > 0:
            del self.result.notes["num_train_epochs"]
        if self.value("lr_scheduler_type") in CONSTANT:
            del self.result.notes["lr_scheduler_type"]
        return self.result

    def _algorithm(self) -> None:
        squared, strength = self.value("loss_type") == "ipo", positive("beta", self.value("beta"))
        self.set(algorithm=TRAINERS[self.trainer], beta=strength)
        if self.trainer == "nash_md":
            self.set(algorithm__mixture=self.value("mixture_coef"))
        elif squared and self.trainer == "online_dpo":
            self.scale = 4 / strength
            self.set(algorithm="online_ipo")
        elif squared:
            raise ConfigError("loss_type=ipo has no counterpart for XPO, whose bonus needs the logistic loss: drop it.")
        else:
            self.scale = 2 * strength
            self.set(beta=strength / 4, prox__beta_dpo=4.0)
            self.result.notes["beta"] = KEYS["beta"].note
        if self.trainer == "xpo":
            self.set(prox__alpha=self.value("alpha"))
        if self.trainer != "nash_md":
            self.result.notes["reward"] = (
                "TRL trains on the sign of the difference of two rewards, here the preference is the sigmoid of the "
                "difference; game.judge.scale=1000000 gives TRL's labels"
            )

    def _optimiser(self) -> None:
        name = str(self.value("optim"))
        optimiser = next((kind for start, kind in OPTIMISERS.items() if name.startswith(start)), None)
        if optimiser is None or any(word in name for word in ("8bit", "4bit", "mini", "apex", "paged")):
            self.result.missing[f"optim={name}"] = "prox.optimiser is adam, rmsprop or sgd: adam is used"
            optimiser = "adam"
        rate, clip = self.value("learning_rate"), self.value("max_grad_norm")
        self.set(prox__optimiser=optimiser, prox__learning_rate=rate * (self.scale if optimiser == "sgd" else 1))
        self.set(prox__momentum=self.value("adam_beta1") if optimiser == "adam" else 0.0)
        self.set(prox__clip=clip / self.scale if clip else None)
        if decay := self.value("weight_decay"):
            self.set(prox__weight_decay=decay)

    def _policy(self) -> None:
        model = self.value("model_name_or_path")
        if model is None:
            self.result.missing["model_name_or_path"] = "no model is named: policy.model=bundled stands in"
        half = (self.value("bf16") is not False and not self.value("fp16")) or self.value("dtype") == "bfloat16"
        if self.value("dtype") == "float16" or self.value("fp16"):
            self.result.missing["float16"] = "policy.dtype is float32 or bfloat16"
        self.set(policy__model=model or "bundled", policy__dtype="auto" if half else "float32")
        self.set(policy__lora=bool(self.value("use_peft")))
        if self.value("use_peft"):
            self._adapters()
        for name in ("max_new_tokens", "temperature", "top_p"):
            self.set(**{f"policy__{name}": self.value(name)})
        if self.value("trust_remote_code"):
            self.set(policy__trust_remote_code=True)
        if self.value("use_cpu") is True:
            self.set(device="cpu")

    def _adapters(self) -> None:
        """LoRA matrices."""
        targets, rank = self.value("lora_target_modules") or [], self.value("lora_r")
        named = [targets] if isinstance(targets, str) else list(targets)
        self.set(policy__lora_rank=rank, policy__lora_targets=[] if named == ["all-linear"] else named)
        if not named:
            self.result.notes["lora_target_modules"] = KEYS["lora_target_modules"].note
        if self.value("lora_alpha") != 2 * rank:
            self.result.notes["lora_alpha"] = KEYS["lora_alpha"].note

    def _judge(self) -> None:
        reward, judge = self.value("reward_model_path"), self.value("judge")
        if reward is not None:
            self.set(**{"judge@game__judge": "reward_model"}, game__judge__model=reward)
            if self.value("trust_remote_code"):
                self.set(game__judge__trust_remote_code=True)
        elif judge in JUDGES:
            self.set(**{"judge@game__judge": "openai"}, game__judge__model=JUDGES[judge])
            if ADDRESSES[judge]:
                self.set(game__judge__base_url=ADDRESSES[judge])
        elif judge is not None:
            reason = "loads code of llm-blender" if judge == "pair_rm" else "is a class of its script"
            raise ConfigError(
                f"judge={judge} {reason}, and has no counterpart: give --reward_model_path, --judge openai, or write a "
                "judge of your own (docs/guides/outside.md)."
            )
        else:
            self.result.missing["reward_model_path"] = (
                "no judge is named: the default, judge=panel, stands in; set judge@game.judge=reward_model and "
                "game.judge.model=FOLDER"
            )

    def _prompts(self) -> None:
        name = self.value("dataset_name")
        if name is None:
            self.result.missing["dataset_name"] = "no prompts are named: the bundled prompts stand in"
        elif Path(str(name)).expanduser().is_file():
            self.set(game__path=name)
        else:
            self.set(game__dataset=name, game__split=self.value("dataset_train_split"))

    def _steps(self) -> None:
        rows = int(self.value("per_device_train_batch_size"))
        batch = rows * int(self.value("gradient_accumulation_steps"))
        drawn = 1 if self.trainer == "nash_md" else 2
        self.set(prox__contexts=batch, prox__samples=drawn, policy__micro_batch=rows * drawn)
        self.set(seeds=[self.value("seed")])
        epochs, steps = float(self.value("num_train_epochs")), int(self.value("max_steps"))
        if steps <= 0 and self.prompts is not None:
            steps = math.ceil(epochs * self.prompts / batch)
        self._warm_up(steps)
        if steps > 0:
            self.set(budget__iterations=steps, budget__queries=None, budget__target=None)
        else:
            self.result.missing[f"num_train_epochs={epochs:g}"] = (
                f"the number of prompts is unknown here: set budget.queries=null budget.target=null and "
                f"budget.iterations to {epochs:g} * prompts / {batch}"
            )
        if (folder := self.value("output_dir")) and (study := re.sub(r"[^\w+-]+", "_", Path(folder).name).strip("_")):
            self.set(study=study)
        if "tensorboard" in (self.value("report_to") or ()):
            self.set(tensorboard=True)

    def _warm_up(self, steps: int) -> None:
        """The warm-up of the learning rate; a number below 1 is a share of the steps."""
        warmup = self.value("warmup_steps")
        if not warmup or not CONSTANT.get(self.value("lr_scheduler_type"), True):
            self.result.notes.pop("warmup_steps", None)
        elif warmup >= 1 or steps > 0:
            self.set(prox__warmup_steps=math.ceil(warmup if warmup >= 1 else warmup * steps))
        else:
            self.result.missing[f"warmup_steps={warmup:g}"] = (
                "it is a share of the steps, whose number is unknown here: set prox.warmup_steps"
            )
