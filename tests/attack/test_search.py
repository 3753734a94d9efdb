from hypothesis import given
from hypothesis import strategies as st

from robaudit.attack.search import Search, next_trial

searches = st.sampled_from(list(Search))


def conduct(search, fools, n_grid, guess):
    """Run a search to its end; returns the trials in order and the smallest index that fooled."""
    outcomes = {}
    while (trial := next_trial(search, outcomes, n_grid, guess)) is not None:
        assert 0 <= trial < n_grid
        assert trial not in outcomes, "a trial was repeated"
        outcomes[trial] = fools(trial)
    return outcomes, min((trial for trial, fooled in outcomes.items() if fooled), default=None)


@st.composite
def grids(draw):
    n_grid = draw(st.integers(1, 16))
    threshold = draw(st.integers(0, n_grid))
    guess = draw(st.none() | st.integers(0, n_grid - 1))
    return n_grid, threshold, guess


@given(searches, grids())
def test_where_fooling_is_monotone_the_smallest_eps_is_found(search, grid):
    n_grid, threshold, guess = grid
    _, found = conduct(search, lambda trial: trial >= threshold, n_grid, guess)
    assert found == (threshold if threshold < n_grid else None)


@given(searches, st.lists(st.booleans(), min_size=1, max_size=16), st.integers(0, 15))
def test_whatever_fools_the_answer_is_bracketed(search, fooled, guess):
    """The trial below the answer resisted, unless the answer is the smallest eps there is."""
    outcomes, found = conduct(search, fooled.__getitem__, len(fooled), min(guess, len(fooled) - 1))
    if found is None:
        assert not any(outcomes.values())
        assert outcomes[len(fooled) - 1] is False
    elif found > 0:
        assert outcomes[found - 1] is False


@given(grids())
def test_descending_from_the_right_guess_pays_for_one_resisted_trial(grid):
    n_grid, threshold, _ = grid
    guess = threshold if threshold < n_grid else None
    outcomes, _ = conduct(Search.DESCEND, lambda trial: trial >= threshold, n_grid, guess)
    assert sum(not fooled for fooled in outcomes.values()) == (1 if threshold > 0 else 0)
    assert len(outcomes) <= 2
