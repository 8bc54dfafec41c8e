"""What each convention does around every rule: one row for each.

What a convention does inside of an algorithm's formula stands in the table of that class, `Optimizer.conventions`.
"""

from __future__ import annotations

from typing import NamedTuple


class ConventionFacts(NamedTuple):
    """A row; a convention of a user's own is one of which nothing is said.

    Attributes:
        weight_decay: what it does, where an algorithm says nothing else: "decoupled", on the parameter; "coupled",
            through the gradient; or None, there is none.
        subtracts_decay: whether decoupled decay subtracts a share of the parameter. Elsewhere it multiplies by what is
            left; where both are finite the difference is the nearer one.
        has_maximize: whether there is `maximize`.
        counts_steps_of_each: whether each parameter counts the steps in which it had a gradient; elsewhere all steps
            count for all.
        clipnorm_is_global: whether `clipnorm` is what is `global_clipnorm` elsewhere.
        margin_of_norms: what is added to a norm before it is compared with the limit.
        bad_norm_spreads: whether a global norm that is not finite makes NaN of all gradients.
        gathers_shares: whether a gradient of a window is accumulated as its share in the mean, which never overflows.
            Elsewhere it is accumulated whole, and the update takes the mean.
        has_older_order: whether the arguments of its classes stand in the order of `older_order`.
    """

    weight_decay: str | None = None
    subtracts_decay: bool = False
    has_maximize: bool = False
    counts_steps_of_each: bool = False
    clipnorm_is_global: bool = False
    margin_of_norms: float = 0.0
    bad_norm_spreads: bool = False
    gathers_shares: bool = False
    has_older_order: bool = False


CONVENTIONS = {
    "keras": ConventionFacts(weight_decay="decoupled", bad_norm_spreads=True),
    "keras2": ConventionFacts(clipnorm_is_global=True, bad_norm_spreads=True, has_older_order=True),
    "torch": ConventionFacts(
        weight_decay="coupled", has_maximize=True, counts_steps_of_each=True, margin_of_norms=1e-6
    ),
    "optax": ConventionFacts(subtracts_decay=True, gathers_shares=True),
    # Of the code that came with a paper, nearly all of it classes for torch.
    "authors": ConventionFacts(weight_decay="decoupled", counts_steps_of_each=True),
}

_OF_USERS = ConventionFacts()


def facts_of(convention: str) -> ConventionFacts:
    """The row of a convention."""
    return CONVENTIONS.get(convention, _OF_USERS)
