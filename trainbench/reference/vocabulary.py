"""The words of the published table, and what they are called here.

A word that is missing from these tables makes loading fail, so nothing is compared under a guessed meaning.
"""

from collections.abc import Mapping

# Tasks. A task is what one sample costs: a forward and backward pass through the same graph.
IMAGE_CLASSIFICATION = "image_classification"
IMAGE_FINETUNING = "image_finetuning"
MASKED_LANGUAGE_MODEL = "masked_language_model"
CAUSAL_LANGUAGE_MODEL = "causal_language_model"
SPAN_CORRUPTION = "span_corruption"
REPLACED_TOKEN_DETECTION = "replaced_token_detection"
DENOISING = "denoising"
QUESTION_ANSWERING = "question_answering"
TEXT_CLASSIFICATION = "text_classification"
OTHER_FINETUNING = "other_finetuning"
MICROBENCHMARK = "microbenchmark"

# Published model -> (the model here, its variant as far as the source states it). ResNet v1 has its stride in
# the first 1x1 convolution of a block, v1.5 in the 3x3; rows called plain "ResNet-50" state neither.
# T5-v1.1, MPT, GPT-3 and Pax's GPT sizes have other shapes than any model here, so they are absent.
# llm.c's "GPT-2 350M" is absent because its shape is not stated beside the figure.
MODELS = {
    "ResNet-50 v1.5": ("resnet50", "v1.5"),
    "ResNet-50": ("resnet50", "v1 or v1.5, not stated"),
    "ViT-Ti/16": ("vit_ti16", ""),
    "ViT-S/16": ("vit_s16", ""),
    "ViT-B/16": ("vit_b16", ""),
    "ViT-L/16": ("vit_l16", ""),
    "BERT-Base": ("bert_base", ""),
    "BERT-Large": ("bert_large", ""),
    "GPT-2 124M": ("gpt2_124m", ""),
    "GPT-2 345M": ("gpt2_345m", ""),
    "GPT-2 774M": ("gpt2_774m", ""),
    "GPT-2 1558M": ("gpt2_1558m", ""),
}

# Families of published names whose "pretrain" rows train something other than next-token prediction.
_PRETRAINING = {
    "ViT": IMAGE_CLASSIFICATION,  # the Rosetta rows pre-train on ImageNet-1k labels
    "BERT": MASKED_LANGUAGE_MODEL,
    "RoBERTa": MASKED_LANGUAGE_MODEL,
    "ELECTRA": REPLACED_TOKEN_DETECTION,
    "BART": DENOISING,
    "T5": SPAN_CORRUPTION,
}
# Beginnings of the data sets that say what a fine-tuning trains.
_FINETUNING = {"SQuAD": QUESTION_ANSWERING, "GLUE": TEXT_CLASSIFICATION, "ImageNet": IMAGE_FINETUNING}
_OTHER_TASKS = {"classification": IMAGE_CLASSIFICATION, "microbenchmark": MICROBENCHMARK}

# Precisions -> the class within which figures count as alike. On a GPU, fp16 and bf16 run at the same peak;
# fp16-amp, and bf16 here, keep 32-bit master weights. TF32 is no 32-bit rate: 2.3-4.5x separates FP32, TF32
# and 16-bit on one GPU. "fp32 or tf32" is what a source calls FP32 where TF32 may have been active.
PRECISION_CLASSES = {
    "fp32": "fp32",
    "fp32 or tf32": "fp32 or tf32",
    "tf32": "tf32",
    "bf16": "16-bit",
    "bf16_full": "16-bit",
    "fp16": "16-bit",
    "fp16-amp": "16-bit",
    "fp8": "8-bit float",
    "int8": "8-bit integer",
}

# Metrics in samples per second, and whether the value counts all chips (True) or one device (False).
SAMPLE_METRICS = {
    "images/sec": True,
    "sequences/sec": True,
    "samples/sec": True,
    "samples/sec/device": False,
}
# Rates and times that say nothing about samples per second without a further assumption (sequence length,
# batch, FLOPs per token), so none is ever converted.
OTHER_METRICS = frozenset(
    {
        "tokens/sec",
        "tokens/sec/device",
        "TFLOP/s total",
        "TFLOP/s/device",
        "TFLOP/s matmul",
        "MFU%",
        "steps/sec",
        "minutes",
        "hours",
    }
)

# Chip of hardware/chips.yaml -> the accelerator column of the published table.
ACCELERATOR_OF_CHIP = {
    "tpu-v2": "TPU v2",
    "tpu-v3": "TPU v3",
    "tpu-v4": "TPU v4",
    "tpu-v5e": "TPU v5e",
    "tpu-v5p": "TPU v5p",
    "tpu-v6e": "TPU v6e",
    "tpu-7x": "TPU v7x (Ironwood)",
    "v100-sxm2-16gb": "V100",
    "v100-sxm2-32gb": "V100",
    "v100-pcie": "V100",
    "a10": "A10",
    "a10g": "A10G",
    "a100-sxm4-40gb": "A100",
    "a100-sxm4-80gb": "A100",
    "a100-pcie-40gb": "A100",
    "a100-pcie-80gb": "A100",
    "l4": "L4",
    "l40s": "L40S",
    "rtx-3090": "RTX 3090",
    "rtx-4090": "RTX 4090",
    "rtx-a6000": "RTX A6000",
    "h100-sxm5-80gb": "H100",
    "h100-pcie-80gb": "H100",
    "h100-nvl-94gb": "H100",
    "h200-sxm-141gb": "H200",
    "h200-nvl-141gb": "H200",
    "gh200": "GH200",
    "b200-sxm": "B200",
}


def task_of(task: str, model: str, dataset: str) -> str:
    """The task of a published row, from its task, model and dataset columns.

    >>> task_of("finetune", "BERT-Large", "SQuAD v1.1")
    'question_answering'

    Raises:
      ValueError: the task column is not known.
    """
    if task in _OTHER_TASKS:
        return _OTHER_TASKS[task]
    if task == "pretrain":
        return _by_beginning(_PRETRAINING, model, CAUSAL_LANGUAGE_MODEL)
    if task == "finetune":
        return _by_beginning(_FINETUNING, dataset, OTHER_FINETUNING)
    raise ValueError(f"task: {task!r} is not known")


def _by_beginning(table: Mapping[str, str], text: str, default: str) -> str:
    return next((meaning for beginning, meaning in table.items() if text.startswith(beginning)), default)
