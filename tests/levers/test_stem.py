import pytest

from tests.levers.resnets import IMAGENET, assert_same_losses, assert_unproven, step
from trainbench.errors import UserError


def test_squares_of_pixels_give_the_same_losses_are_seen_and_missed_where_they_are_not():
    plain, lever = step(IMAGENET), step(IMAGENET, "stem=space_to_depth")
    assert_same_losses(lever, plain)
    assert "4x4 window" in str(lever.proof("stem"))
    assert_unproven(lever, plain, "stem", "no convolution of the compiled step has its 4x4 window")


def test_another_stem_has_no_such_lever():
    with pytest.raises(UserError, match="stem=space_to_depth does not apply to model=resnet_tiny"):
        step("stem=space_to_depth")
