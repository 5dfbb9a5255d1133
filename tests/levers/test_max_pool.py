from tests.levers.resnets import IMAGENET, assert_same_losses, assert_unproven, step


def test_slices_give_the_same_losses_are_seen_and_missed_where_they_are_not():
    plain, lever = step(IMAGENET), step(IMAGENET, "max_pool=slices")
    assert_same_losses(lever, plain)
    assert "none of windows" in str(lever.proof("max_pool"))
    assert_unproven(lever, plain, "max_pool", "0 of slices")
