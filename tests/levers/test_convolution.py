from tests.levers.resnets import assert_same_losses, assert_unproven, step


def test_products_give_the_same_losses_are_seen_and_missed_where_they_are_not():
    plain, lever = step(), step("convolution=pointwise_dot")
    assert_same_losses(lever, plain)
    assert "for 1 1x1 kernels" in str(lever.proof("convolution"))
    assert_unproven(lever, plain, "convolution", "has 0 products for 1 1x1 kernels")
    assert lever.executable.flops.total == plain.executable.flops.total


def test_products_are_kept_where_only_they_are_to_be():
    kept = step("convolution=pointwise_dot", "remat=dots")
    assert kept.executable.flops.total == step("convolution=pointwise_dot").executable.flops.total
