"""How close two sets of tensors are, and the one place where a tolerance stands."""

import numpy as np

from tests.parity.hugging_face import Outcome
from tests.parity.weights import Arrays

# Largest difference over largest magnitude, per tensor, float32 against float32.
TOLERANCE = 1e-4


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """max |ours - theirs| / max |theirs|."""
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), np.finfo(np.float32).tiny))


def assert_close(ours: Arrays, theirs: Arrays, *, noise: dict[str, float] | None = None) -> None:
    """Fails, naming the tensors, unless both sides have the same ones and each agrees within TOLERANCE.

    Args:
      noise: by the end of a path, the absolute size below which that tensor is rounding noise on both sides.
    """
    assert set(ours) == set(theirs)
    wrong = {
        path: relative_error(ours[path], theirs[path])
        for path in theirs
        if relative_error(ours[path], theirs[path]) >= TOLERANCE
        and not np.abs(ours[path] - theirs[path]).max() < floor_of(path, noise or {})
    }
    assert not wrong, wrong


def floor_of(path: str, noise: dict[str, float]) -> float:
    """The absolute floor of a path, 0 when none is given for it."""
    return max((floor for end, floor in noise.items() if path.endswith(end)), default=0.0)


def assert_same_outcome(ours: Outcome, theirs: Outcome, *, noise: dict[str, float] | None = None) -> None:
    """Logits, loss, every gradient and every parameter and running statistic agree."""
    assert ours.logits.shape == theirs.logits.shape
    assert relative_error(ours.logits, theirs.logits) < TOLERANCE
    assert abs(ours.loss - theirs.loss) < TOLERANCE * abs(theirs.loss)
    assert_close(ours.gradients, theirs.gradients, noise=noise)
    assert_close(ours.state, theirs.state)


def assert_all_moved(before: Arrays, after: Arrays) -> None:
    """Every tensor changed by far more than the tolerance, so that agreement afterwards means something."""
    still = {path for path in before if relative_error(after[path], before[path]) < 10 * TOLERANCE}
    assert not still, still
