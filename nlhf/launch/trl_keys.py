"""The keys of TRL 1.13.0's NashMDConfig, XPOConfig and OnlineDPOConfig, and of its scripts, and what replaces them.

The table is the one source of the command `nlhf from-trl` and of the documentation. Keys of TRL 1.0.0 that name a judge
are included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrlKey:
    """A key of TRL.

    Args:
        default: its value if it is not given.
        target: the overrides of `nlhf run` that replace it; empty if there are none.
        note: how the meaning differs, or why nothing replaces it; empty if both mean the same.
        always: print the note also where the key has its default.
    """

    default: Any
    target: str = ""
    note: str = ""
    always: bool = False


def _without(note: str, **defaults: Any) -> dict[str, TrlKey]:
    """Keys that nothing replaces, with one reason."""
    return {name: TrlKey(default, note=note) for name, default in defaults.items()}


# Endpoints and default models of the judges of TRL 1.0.0 that have a counterpart
ADDRESSES = {"openai": None, "hf": "https://router.huggingface.co/v1"}
JUDGES = {"openai": "gpt-4-turbo-preview", "hf": "meta-llama/Meta-Llama-3-70B-Instruct"}  # TRL's default models
SCALED = "the losses have the scale of the gradient of the game here, so the limit is scaled too"
TRANSLATED = {
    "model_name_or_path": TrlKey(None, "policy.model"),
    "dtype": TrlKey("float32", "policy.dtype"),
    "bf16": TrlKey(None, "policy.dtype",
                   "`auto` is bfloat16 on a GPU and float32 on a CPU; trained weights are float32"),
    "trust_remote_code": TrlKey(False, "policy.trust_remote_code, game.judge.trust_remote_code"),
    "use_peft": TrlKey(False, "policy.lora"),
    "lora_r": TrlKey(16, "policy.lora_rank"),
    "lora_alpha": TrlKey(32, "policy.lora_rank", "it is always twice the rank"),
    "lora_target_modules": TrlKey(None, "policy.lora_targets", "without names all linear layers get matrices"),
    "reward_model_path": TrlKey(None, "judge@game.judge=reward_model game.judge.model",
                                "the reward model reads the prompt and the answer as text, with its own tokenizer and "
                                "chat template; TRL's Nash-MD and XPO pass it the tokens of the policy"),
    "judge": TrlKey(None, "judge@game.judge=openai game.judge.model",
                    "both orders are asked and averaged; TRL draws one, and an invalid reply is a loss of the first"),
    "dataset_name": TrlKey(None, "game.dataset or game.path"),
    "dataset_train_split": TrlKey("train", "game.split"),
    "max_new_tokens": TrlKey(64, "policy.max_new_tokens"),
    "temperature": TrlKey(0.9, "policy.temperature",
                          "TRL divides logits by it when it draws only, so its losses belong to another policy; "
                          "here it divides the logits of all policies, in draws, losses and divergences", always=True),
    "top_p": TrlKey(1.0, "policy.top_p"),
    "beta": TrlKey([0.1], "beta, prox.beta_dpo",
                   "for Nash-MD and IPO it is beta; for DPO and XPO it is prox.beta_dpo times beta, and beta is a "
                   "quarter of it, as the equilibrium at that beta is close to their fixed point"),
    "loss_type": TrlKey("sigmoid", "algorithm", "`ipo` is `online_ipo`; no algorithm has XPO's bonus with this loss"),
    "mixture_coef": TrlKey([0.5], "algorithm.mixture", "one value, without a schedule"),
    "alpha": TrlKey([1e-5], "prox.alpha", "one value, without a schedule"),
    "learning_rate": TrlKey(5e-7, "prox.learning_rate", "of `sgd` it is scaled as the loss"),
    "optim": TrlKey("adamw_torch_fused", "prox.optimiser", "adam, rmsprop or sgd"),
    "adam_beta1": TrlKey(0.9, "prox.momentum"),
    "max_grad_norm": TrlKey(1.0, "prox.clip", SCALED),
    "weight_decay": TrlKey(0.0, "prox.weight_decay", "TRL does not decay biases and the weights of norms"),
    "warmup_steps": TrlKey(0, "prox.warmup_steps", "the first step has the learning rate 1/warmup_steps, in TRL 0"),
    "lr_scheduler_type": TrlKey("linear", "prox.warmup_steps", "after warm-up the learning rate is constant, or falls "
                                "as 1/sqrt(1 + t/prox.decay_steps); no schedule depends on the budget", always=True),
    "per_device_train_batch_size": TrlKey(8, "prox.contexts, policy.micro_batch",
                                          "prompts of a step, of one process; they are drawn with replacement"),
    "gradient_accumulation_steps": TrlKey(1, "prox.contexts", "it multiplies the prompts of a step"),
    "max_steps": TrlKey(-1, "budget.iterations"),
    "num_train_epochs": TrlKey(3.0, "budget.iterations",
                               "prompts are drawn with replacement, so an epoch is as many steps as give each prompt "
                               "one turn on average", always=True),
    "seed": TrlKey(42, "seeds"),
    "output_dir": TrlKey(None, "study", "a run makes its own folder in runs/STUDY"),
    "report_to": TrlKey("none", "tensorboard", "rows are always written to metrics.csv"),
    "use_cpu": TrlKey(False, "device"),
}  # fmt: skip
UNTRANSLATED = {
    **_without("schedules have no further settings", lr_scheduler_kwargs=None),
    **_without("the optimisers have torch's defaults", adam_beta2=0.999,
               adam_epsilon=1e-8, optim_args=None, optim_target_modules=None),
    **_without("prompts are never cut: game.long_prompts refuses or skips those that leave no room", max_length=512),
    **_without("completions are drawn from the policy itself, at policy.temperature and policy.top_p", top_k=0,
               min_p=None, repetition_penalty=1.0, generation_kwargs=None),
    **_without("a judge compares texts; unfinished completions have no penalty of their own", missing_eos_penalty=None),
    **_without("there is one judge; judge@game.judge=ensemble averages the probabilities of several",
               reward_weights=None),
    **_without("the policy is measured on the last game.test_prompts prompts of the same file, or of game.test_path",
               dataset_test_split="test", eval_strategy="no", eval_steps=None, eval_delay=0, do_eval=False,
               per_device_eval_batch_size=8, prediction_loss_only=False, eval_on_start=False,
               eval_do_concat_batches=True, eval_use_gather_object=False, eval_accumulation_steps=None,
               include_for_metrics=[], batch_eval_metrics=False, bf16_full_eval=False, fp16_full_eval=False,
               do_train=False, do_predict=False),
    **_without("a hub's dataset has one configuration here; save another one as a file and give game.path",
               dataset_config=None, dataset_streaming=False),
    **_without("LoRA matrices have no dropout, and are plain", lora_dropout=0.05, lora_target_parameters=None,
               lora_modules_to_save=None, lora_task_type="CAUSAL_LM", use_rslora=False, use_dora=False),
    **_without("models are not quantised", load_in_8bit=False, load_in_4bit=False, bnb_4bit_quant_type="nf4",
               use_bnb_nested_quant=False, bnb_4bit_quant_storage=None),
    **_without("download the revision and give its folder as policy.model", model_revision="main"),
    **_without("models are loaded with the options that policy=causal_lm lists", attn_implementation=None,
               model_init_kwargs=None, fp16=False, tf32=None, use_liger_kernel=False, liger_kernel_config=None,
               neftune_noise_alpha=None, torch_compile=False, torch_compile_backend=None, torch_compile_mode=None),
    **_without("dropout is always off", disable_dropout=True),
    **_without("the backward pass of several micro-batches always computes activations again",
               gradient_checkpointing=True, gradient_checkpointing_kwargs=None, activation_checkpointing=None,
               activation_checkpointing_kwargs=None, torch_empty_cache_steps=None, auto_find_batch_size=False),
    **_without("the sampler keeps a cache for each model", use_cache=False, cache_implementation=None,
               use_transformers_paged=False),
    **_without("completions are drawn in the same process", use_vllm=False, vllm_model_impl="vllm",
               vllm_structured_outputs_regex=None, vllm_gpu_memory_utilization=0.55, vllm_mode="colocate",
               vllm_server_base_url=None, vllm_server_host="0.0.0.0", vllm_server_port=8000,
               vllm_server_timeout=240.0, vllm_group_port=51216, vllm_tensor_parallel_size=1,
               vllm_enable_sleep_mode=False, ds3_gather_for_generation=True),
    **_without("several processes start with torchrun, without further keys", deepspeed=None, fsdp=None,
               fsdp_config=None, accelerator_config=None, parallelism_config=None, local_rank=-1,
               ddp_find_unused_parameters=None, ddp_bucket_cap_mb=None, ddp_broadcast_buffers=None,
               ddp_static_graph=None, ddp_backend=None, ddp_timeout=1800, average_tokens_across_devices=True,
               ignore_bias_buffers=False, enable_jit_checkpoint=False),
    **_without("rows follow a schedule of iterations, and the log is in the run folder", logging_strategy="steps",
               logging_steps=10, logging_first_step=False, log_on_each_node=True, logging_nan_inf_filter=True,
               include_num_input_tokens_seen="no", log_level="passive", log_level_replica="warning", disable_tqdm=None,
               run_name=None, project="huggingface", trackio_space_id=None, trackio_bucket_id=None,
               trackio_static_space_id=None, skip_memory_metrics=True, debug=""),
    **_without("checkpoint_seconds sets the time between checkpoints, and the same command resumes a run",
               save_strategy="steps", save_steps=500, save_only_model=False, save_on_each_node=False,
               save_total_limit=None, resume_from_checkpoint=None, ignore_data_skip=False,
               restore_callback_states_from_checkpoint=False),
    **_without("the last policy is saved, whatever its measurements are", load_best_model_at_end=False,
               metric_for_best_model=None, greater_is_better=None),
    **_without("nothing is sent to a hub", push_to_hub=False, hub_token=None, hub_private_repo=None, hub_model_id=None,
               hub_strategy="every_save", hub_always_push=False, hub_revision=None),
    **_without("results depend on `seeds` alone", data_seed=None, full_determinism=False),
    **_without("prompts are in memory, and no column is needed beside them", dataloader_drop_last=False,
               dataloader_num_workers=0, dataloader_pin_memory=True, dataloader_persistent_workers=False,
               dataloader_prefetch_factor=None, dataloader_multiprocessing_context=None, dataloader_in_order=True,
               remove_unused_columns=False, label_names=None, train_sampling_strategy="random",
               length_column_name="length", label_smoothing_factor=0.0),
}  # fmt: skip
KEYS: Mapping[str, TrlKey] = {**TRANSLATED, **UNTRANSLATED}
