"""All checks, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.checks.answers import finite_answers
from robaudit.checks.border import answers_turn_gradually
from robaudit.checks.bounds import within_bounds
from robaudit.checks.bpda import front_hides_nothing
from robaudit.checks.convergence import more_steps_change_nothing
from robaudit.checks.evidence import Evidence, Judge
from robaudit.checks.gradient_free import gradients_beat_queries
from robaudit.checks.gradients import gradients_present
from robaudit.checks.last_layer import answers_hide_nothing
from robaudit.checks.margin_loss import margin_agrees_with_entropy
from robaudit.checks.monotone import larger_budgets_fool_more
from robaudit.checks.one_class import predicts_classes
from robaudit.checks.output_kind import output_kind_known
from robaudit.checks.overlap import images_are_new
from robaudit.checks.planted import planted_are_found
from robaudit.checks.random_corners import gradients_beat_luck
from robaudit.checks.realisable import adversarials_survive_rounding
from robaudit.checks.repeatable import repeatable
from robaudit.checks.saturation import saturation
from robaudit.checks.single_step import single_step_is_weaker
from robaudit.checks.smooth import margin_is_smooth
from robaudit.checks.state import state_untouched
from robaudit.checks.still_rising import attacks_arrived
from robaudit.checks.transfer import gradients_beat_transfer
from robaudit.checks.unbounded import unbounded_attacks_succeed
from robaudit.checks.uphill import gradients_lead_up
from robaudit.records import Check

CHECKS: Sequence[Judge] = (
    # The model: would anything measured on it mean what it seems to?
    state_untouched,
    repeatable,
    finite_answers,
    predicts_classes,
    output_kind_known,
    # The attacks: had they something to follow, and did they get there?
    gradients_present,
    gradients_lead_up,
    answers_turn_gradually,
    margin_is_smooth,
    saturation,
    within_bounds,
    single_step_is_weaker,
    larger_budgets_fool_more,
    more_steps_change_nothing,
    attacks_arrived,
    # Another way in: does it find what they missed?
    margin_agrees_with_entropy,
    gradients_beat_queries,
    gradients_beat_luck,
    gradients_beat_transfer,
    front_hides_nothing,
    answers_hide_nothing,
    # Where success is certain: do they succeed?
    unbounded_attacks_succeed,
    planted_are_found,
    # What the number means outside.
    adversarials_survive_rounding,
    images_are_new,
)


def judge(evidence: Evidence) -> tuple[Check, ...]:
    """Every check's answer."""
    return tuple(check(evidence) for check in CHECKS)
