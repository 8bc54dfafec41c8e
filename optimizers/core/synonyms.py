"""What hyperparameters are called elsewhere: in torch.optim, optax, Keras and its older releases, and by people."""

from __future__ import annotations

from typing import Final

from ...backends.wording import Synonyms, same

_SAME: Final = same(
    ("learning_rate", "lr", "eta", "step_size", "stepsize", "base_lr"),
    ("beta_1", "b1", "beta1"),
    ("beta_2", "b2", "beta2"),
    ("epsilon", "eps"),
    ("weight_decay", "wd", "l2", "weight_decay_rate"),
    ("rho", "alpha", "decay_rate"),
    ("lr_decay", "learning_rate_decay"),
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
    ("params", "parameters", "variables", "trainable_variables", "var_list"),
)
_AVERAGING = [("momentum",)]
"""What remembers gradients without averaging them is what is nearest to that."""
_FIRST, _SECOND = [("betas",)], [("betas",), ("rho",), ("alpha",)]
# What stands for several stands for all or none of them; these do not stand for it everywhere.
_DIRECTED: Final[Synonyms] = {
    "betas": [("beta_1", "beta_2"), ("b1", "b2")],
    **{name: [*_SAME[name], *_FIRST, *_AVERAGING] for name in ("beta_1", "b1", "beta1")},
    **{name: [*_SAME[name], *_SECOND] for name in ("beta_2", "b2", "beta2")},
    "bias_correction": [("bias_correction_mu", "bias_correction_nu")],
    **{name: [("jit_compile",)] for name in ("foreach", "fused", "capturable")},
}

SYNONYMS: Final[Synonyms] = {**_SAME, **_DIRECTED}
"""By what is meant by a name elsewhere: where it is unknown, that is what its user looks for.

A name that means different things in different places, as `alpha` does, has only what it can mean where that is there.
"""

CONVENTION_SYNONYMS: Final = same(
    ("keras", "keras3", "tensorflow", "tf"),
    ("keras2", "keras 2", "tf.keras"),
    ("torch", "pytorch", "torch.optim"),
    ("optax", "jax", "flax"),
    ("authors", "author", "paper", "original"),
)
"""The same of conventions."""

_WARM_UP = "take a schedule as the rate, such as gradwise.schedules.warmup(1e-3, steps=100)"
_SCHEDULE = "take the schedule as the rate, such as gradwise.schedules.CosineDecay(1e-3, decay_steps=100)"
_PARAMETERS = (
    "call build, apply or init, which take them; or take the optimizers of gradwise.frontends.torch, which take them "
    "first"
)

NO_ARGUMENTS: Final = {
    "warmup": _WARM_UP,
    "warmup_steps": _WARM_UP,
    "num_warmup_steps": _WARM_UP,
    **dict.fromkeys(("schedule", "scheduler", "lr_schedule", "lr_scheduler", "learning_rate_scheduler"), _SCHEDULE),
    "params": _PARAMETERS,
    "parameters": _PARAMETERS,
}
"""What is often given to an optimizer, and belongs elsewhere, with what to do: "For `warmup` take ..."."""

NO_ATTRIBUTES: Final = {
    **NO_ARGUMENTS,
    **dict.fromkeys(
        [name for name, remedy in NO_ARGUMENTS.items() if remedy == _WARM_UP],
        "write `optimizer.learning_rate = gradwise.schedules.warmup(optimizer.learning_rate, steps=100)`",
    ),
    **dict.fromkeys(
        [name for name, remedy in NO_ARGUMENTS.items() if remedy == _SCHEDULE],
        "write `optimizer.learning_rate = schedule`, with one of gradwise.schedules",
    ),
}
"""The same of what is set on an optimizer."""

CALLED_HERE: Final = {
    "zero_grad": "it keeps no gradients. Leave the call out, and give them to apply(grads, variables)",
    "param_groups": (
        "set its attributes, such as optimizer.learning_rate = 0.01; for groups of parameters with values of their own "
        "take optimizers.MultiOptimizer"
    ),
    "add_param_group": "take optimizers.MultiOptimizer for groups of parameters",
    "state_dict": "pickle.dumps(optimizer) saves its settings and its state, and pickle.loads restores them",
    "load_state_dict": "pickle.loads(text) gives one with its state; set_weights(weights) sets the state alone",
    "state": "it keeps its `variables`; of pure steps the state is what init(params) returns",
    "get_weights": "write `[variable.numpy() for variable in optimizer.variables]`",
    "get_slot": "slots are among its `variables`; of pure steps they are state.slots",
    "update": (
        "write `params, state = optimizer.step(params, grads, state)`; optax's interface is that of "
        "`gradwise.frontends.optax.from_optimizer(optimizer)`"
    ),
    "minimize": "compute the gradients of the loss, and call apply(grads, variables)",
    "lower": "as a method of scipy.optimize.minimize give gradwise.frontends.scipy.minimize_method(optimizer)",
    "get_gradients": "gradients come from the framework; give them to apply(grads, variables)",
    "iterations": "to go on from another number call optimizer.cells.iterations.assign(number)",
    "variables": "call set_weights(weights) to set what the optimizer keeps",
    "learning_rate_schedule": "set `learning_rate` to the schedule",
}
"""Attributes that optimizers have elsewhere, or that cannot be set, with what to do here."""

ASKED_BY: Final = {
    "torch": (
        "no optimizer of torch, and torch's tools, such as GradScaler and schedulers, need one. Give them "
        "`gradwise.frontends.torch.wrap(optimizer, model.parameters())`"
    ),
    "optax": "no transformation of optax. Write `gradwise.frontends.optax.from_optimizer(optimizer)`",
    "scipy": "no method of scipy.optimize.minimize. Write `gradwise.frontends.scipy.minimize_method(optimizer)`",
}
"""What an optimizer is not for a library that looks for such an attribute, and what to give it."""
