import pytest

from trainbench.compiled import attention, hlo

# B 2, T 8, S 16, N 4, K 2, H 32: one product of queries and keys.
PRODUCT = 2 * 2 * 8 * 4 * 32 * 16
CUDNN_OPERANDS = ("bf16[2,8,4,32]", "bf16[2,16,2,32]", "bf16[2,16,2,32]")
SPLASH_OPERANDS = ("s8[1,1,1]", "s8[1,1,1]", "bf16[2,4,8,32]", "bf16[2,2,16,32]", "bf16[2,2,16,32]")


def counted(name, operands, target, backend_config="{}"):
    given = "".join(f"  %p{number} = {shape} parameter({number})\n" for number, shape in enumerate(operands))
    names = ", ".join(f"%p{number}" for number in range(len(operands)))
    module = hlo.parse(
        f"HloModule step\n\nENTRY %main () -> f32[] {{\n{given}"
        f'  ROOT %{name} = f32[] custom-call({names}), custom_call_target="{target}", '
        # As Pallas writes what it knows of a kernel.
        'frontend_attributes={kernel_metadata={\n"xprof_metadata":"{\\"block_q\\": 512}"\n}}, '
        f"backend_config={backend_config}\n}}\n"
    )
    return attention.kernel_flops(module.entry, module.entry.root)


@pytest.mark.parametrize(("mask", "share"), [("NO_MASK", 1), ("PADDING", 1), ("PADDING_CAUSAL", 0.5)])
@pytest.mark.parametrize(("suffix", "products"), [("", 2), ("Backward", 5)])
def test_the_products_of_cudnns_kernels_are_counted(suffix, products, mask, share):
    config = f'{{"cudnn_fmha_backend_config": {{"mask_type": "{mask}"}}}}'
    found = counted("attend.1", CUDNN_OPERANDS, f"__cudnn$fmhaSoftmax{suffix}", config)
    assert found == ("bf16", products * PRODUCT * share)


@pytest.mark.parametrize(("more", "share"), [((), 1), (("s32[2,8,128]",), 1), (("s32[8,128]",), 0.5)])
@pytest.mark.parametrize(("phase", "products"), [("fwd_segmented", 2), ("dq_no", 3), ("dkv_no", 4)])
def test_the_products_of_splash_attention_are_counted(phase, products, more, share):
    found = counted(f"splash_mha_{phase}_residuals.7", (*SPLASH_OPERANDS, *more), "tpu_custom_call")
    assert found == ("bf16", products * PRODUCT * share)


def test_other_kernels_are_none_of_attention():
    assert counted("gather_rows.1", SPLASH_OPERANDS, "tpu_custom_call") is None
    assert counted("matmul.1", ("bf16[8,8]",), "__cublas$gemm") is None
