"""What hyperparameters are called elsewhere: in torch.optim, optax, Keras and its older releases, and by people."""

from __future__ import annotations

from typing import Final

SYNONYMS: Final = (
    ("learning_rate", "lr", "eta", "step_size", "stepsize", "base_lr"),
    ("beta_1", "betas", "b1", "beta1"),
    ("beta_2", "betas", "b2", "beta2"),
    ("epsilon", "eps"),
    ("weight_decay", "wd", "l2", "weight_decay_rate"),
    ("rho", "alpha", "decay_rate", "smoothing"),
    ("decay", "lr_decay", "learning_rate_decay"),
    ("schedule_decay", "momentum_decay"),
    ("momentum", "mu"),
    ("initial_accumulator_value", "initial_accumulator"),
    ("eps_in_sqrt", "epsilon_in_sqrt"),
    ("eps_root", "epsilon_root"),
    ("clipnorm", "clip_norm"),
    ("clipvalue", "clip_value"),
    ("global_clipnorm", "global_clip_norm", "max_norm", "max_grad_norm", "grad_clip", "gradient_clip_val"),
    ("gradient_accumulation_steps", "accumulation_steps", "accumulate_grad_batches", "every_k_schedule"),
    ("use_ema", "ema"),
    ("ema_momentum", "ema_decay"),
    ("loss_scale_factor", "loss_scale"),
    ("slot_dtype", "mu_dtype", "accumulator_dtype", "state_dtype"),
    ("jit_compile", "foreach", "fused", "capturable"),
    ("params", "parameters", "variables", "trainable_variables", "var_list"),
    ("bias_correction_mu", "bias_correction"),
    ("bias_correction_nu", "bias_correction"),
)
"""For each meaning its names. Where a name is unknown, what means the same there is what its user looks for."""

CONVENTION_SYNONYMS: Final = (
    ("keras", "keras3", "tensorflow", "tf"),
    ("keras2", "keras 2", "tf.keras"),
    ("torch", "pytorch", "torch.optim"),
    ("optax", "jax", "flax"),
)
"""The same of conventions."""
