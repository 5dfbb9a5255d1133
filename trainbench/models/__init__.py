"""The architectures that trainbench can train, one file each; no harness knowledge in here.

Every family module offers the same names: `Config` (frozen dataclass), `Model` (NNX module), `TASK`,
`BATCH_NORM` (whether it has batch normalisation), `LIKE_BLOCKS` (whether `blocks.make_blocks` makes its
blocks), `validate`, `attention_calls`, `forward_macs` and `first_layer_macs`.
"""

from types import ModuleType

from trainbench.models import bert, gpt2, llama, resnet, t5, vit

FAMILIES: dict[str, ModuleType] = {
    "resnet": resnet,
    "vit": vit,
    "bert": bert,
    "gpt2": gpt2,
    "llama": llama,
    "t5": t5,
}
