"""How close two sets of tensors are, and the one place where a tolerance stands."""

import numpy as np

from tests.parity.hugging_face import Outcome
from tests.parity.weights import Arrays

# Largest difference over largest magnitude, per tensor, float32 against float32.
TOLERANCE = 1e-4


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """max |ours - theirs| / max |theirs|."""
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), np.finfo(np.float32).tiny))


def assert_close(ours: Arrays, theirs: Arrays) -> None:
    """Fails, naming the tensors, unless both sides have the same ones and each agrees within TOLERANCE."""
    assert set(ours) == set(theirs)
    errors = {path: relative_error(ours[path], theirs[path]) for path in theirs}
    wrong = {path: error for path, error in errors.items() if not error < TOLERANCE}
    assert not wrong, wrong


def assert_gradients_close(ours: Arrays, theirs: Arrays) -> None:
    """As `assert_close`, except for the gradient of attention's key bias, which is exactly zero.

    That bias adds the same number to all logits of a query, and the softmax ignores it. Both sides return
    rounding noise, so there is nothing to compare, but both must be noise: below TOLERANCE of the gradient of
    the query bias.
    """
    for path in theirs:
        if path.endswith("/key/bias"):
            floor = TOLERANCE * np.abs(theirs[path.replace("/key/", "/query/")]).max()
            assert max(np.abs(ours[path]).max(), np.abs(theirs[path]).max()) < floor, path
    assert_close(_without_key_bias(ours), _without_key_bias(theirs))


def _without_key_bias(gradients: Arrays) -> Arrays:
    return {path: array for path, array in gradients.items() if not path.endswith("/key/bias")}


def assert_same_outcome(ours: Outcome, theirs: Outcome) -> None:
    """Logits, loss, every gradient and every parameter and running statistic agree."""
    assert ours.logits.shape == theirs.logits.shape
    assert relative_error(ours.logits, theirs.logits) < TOLERANCE
    assert abs(ours.loss - theirs.loss) < TOLERANCE * abs(theirs.loss)
    assert_gradients_close(ours.gradients, theirs.gradients)
    assert_close(ours.state, theirs.state)


def assert_all_moved(before: Arrays, after: Arrays) -> None:
    """Every tensor changed by far more than the tolerance, so that agreement afterwards means something."""
    still = {path for path in before if relative_error(after[path], before[path]) < 10 * TOLERANCE}
    assert not still, still
