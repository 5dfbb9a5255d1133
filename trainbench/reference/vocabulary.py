"""The words of the published table: what each means, and which are allowed.

A word that is missing from these tables makes loading fail, so nothing is compared under a guessed meaning.
Only models and accelerators may be new in a table of the user's own, as long as they are not a known one in
another spelling.
"""

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

# What is trained here, and so can be compared and run again.
TRAINED_TASKS = (IMAGE_CLASSIFICATION, MASKED_LANGUAGE_MODEL, CAUSAL_LANGUAGE_MODEL, SPAN_CORRUPTION)
TASKS = (
    *TRAINED_TASKS,
    *(IMAGE_FINETUNING, QUESTION_ANSWERING, TEXT_CLASSIFICATION, OTHER_FINETUNING),
    *(REPLACED_TOKEN_DETECTION, DENOISING, MICROBENCHMARK),
)

# Every model that is built here; a figure under its name is for the same shape. MPT, Gemma, mixtures of
# experts and Pax's GPT sizes have other shapes than any of these, so the table gives them names of their own;
# and so it does to MaxText's 22B and 52B, whose scripts no longer make models of those sizes. A vocabulary
# that a source rounds up for speed (GPT-3's to 50,304 or 51,200) is no other shape.
MODELS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet_tiny"),
    *("vit_ti16", "vit_s16", "vit_b16", "vit_l16", "vit_tiny"),
    *("bert_base", "bert_large", "bert_tiny"),
    *("gpt2_124m", "gpt2_345m", "gpt2_774m", "gpt2_1558m", "gpt2_tiny"),
    *("gpt3_125m", "gpt3_350m", "gpt3_760m", "gpt3_1_3b", "gpt3_2_7b", "gpt3_6_7b", "gpt3_13b", "gpt3_175b"),
    *("llama_1b", "llama_8b", "llama_70b", "llama_405b", "llama_2_7b", "llama_2_70b", "llama_tiny"),
    *("maxtext_16b", "maxtext_32b", "maxtext_64b", "maxtext_128b", "maxtext_512b"),
    *("t5_small", "t5_base", "t5_large", "t5_xl", "t5_xxl", "t5_tiny"),
)
MODEL_ALIASES = {"vit": "vit_b16", "bert": "bert_base", "gpt2": "gpt2_124m"}
# What a source is called, in small letters -> the part of its repository's name that finds it.
SOURCE_ALIASES = {"mlperf": "mlcommons"}

# Precisions -> the class within which figures count as alike. On a GPU, fp16 and bf16 run at the same peak;
# fp16-amp, and bf16 here, keep 32-bit master weights. TF32 is no 32-bit rate: 2.3-4.5x separates FP32, TF32
# and 16-bit on one GPU. "fp32 or tf32" is what a source calls FP32 where TF32 may have been active: Ampere
# and later run "FP32" matrix products as TF32 unless told otherwise, and the source does not tell.
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
TRAINED_PRECISION_CLASSES = ("fp32", "fp32 or tf32", "tf32", "16-bit")
# Precision -> the rate in hardware/chips.yaml that it cannot exceed.
PEAK_DTYPES = {
    "fp32": "fp32",
    "fp32 or tf32": "tf32",
    "tf32": "tf32",
    "bf16": "bf16",
    "bf16_full": "bf16",
    "fp16": "fp16",
    "fp16-amp": "fp16",
    "fp8": "fp8",
    "int8": "int8",
}

NOT_STATED = "not stated"
# What becomes of rows that a text does not fill. Unless each is padded, a "sequence" is shorter than the
# length printed: MLPerf's GPU runs remove padding, or pack several sequences into a row; NVIDIA's LDDL bins
# rows by length and pads a batch to its longest one.
PADDED = "padded"
SHORTENED = ("removed", "packed", "binned")
PADDING = (PADDED, *SHORTENED)
# What pre-training with masked words optimises. BERT's paper trains both heads (arXiv:1810.04805).
OBJECTIVES = ("MLM", "MLM and next sentence")
OPTIMIZERS = ("adafactor", "adagrad", "adam", "adamw", "lamb", "lars", "lion", "muon", "rmsprop", "sgd")
DATA_KINDS = ("real", "synthetic")

# What a metric counts. TOTAL: over all chips; DEVICE: by one device of the source's; SHARE and TIME: neither.
TOTAL, DEVICE, SHARE, TIME = "total", "device", "share", "time"
SAMPLE_METRICS = {
    "images/sec": TOTAL,
    "sequences/sec": TOTAL,
    "samples/sec": TOTAL,
    "samples/sec/device": DEVICE,
}
TOKEN_METRICS = {"tokens/sec": TOTAL, "tokens/sec/device": DEVICE}
TFLOPS_METRICS = {"TFLOP/s total": TOTAL, "TFLOP/s/device": DEVICE, "TFLOP/s matmul": DEVICE}
MFU = "MFU%"
METRICS = {
    **SAMPLE_METRICS,
    **TOKEN_METRICS,
    **TFLOPS_METRICS,
    MFU: SHARE,
    "steps/sec": TIME,
    "minutes": TIME,
    "hours": TIME,
}

# Chip of hardware/chips.yaml -> the accelerator column of the published table.
ACCELERATOR_OF_CHIP = {
    "tpu-v2": "TPU v2",
    "tpu-v3": "TPU v3",
    "tpu-v4": "TPU v4",
    "tpu-v5e": "TPU v5e",
    "tpu-v5p": "TPU v5p",
    "tpu-v6e": "TPU v6e",
    "tpu-7x": "TPU v7x (Ironwood)",
    "p100-sxm2-16gb": "P100",
    "p100-pcie-16gb": "P100",
    "v100-sxm2-16gb": "V100",
    "v100-sxm2-32gb": "V100",
    "v100-pcie": "V100",
    "t4": "T4",
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
    "gb200": "GB200",
    "mi100": "MI100",
    "mi210": "MI210",
    "mi250x": "MI250X",
    "mi300x": "MI300X",
    "mi325x": "MI325X",
}
# Published accelerators that chips.yaml lacks.
OTHER_ACCELERATORS = (
    *("A30", "L40", "RTX A5000", "RTX 6000 Ada", "Quadro RTX 8000"),
    *("Gaudi", "Gaudi2"),
)
ACCELERATORS = tuple(dict.fromkeys([*ACCELERATOR_OF_CHIP.values(), *OTHER_ACCELERATORS]))


def plain(word: str) -> str:
    """A word without case, spaces and signs, under which two spellings of one are the same.

    >>> plain("ResNet-50") == plain("resnet50")
    True
    """
    return "".join(letter for letter in word.lower() if letter.isalnum())
