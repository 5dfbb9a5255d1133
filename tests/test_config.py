import pytest

from tests.building import ALIASES, MODELS, request, tree
from trainbench import config, shipped
from trainbench.errors import UserError


@pytest.mark.parametrize("model", [*MODELS, *ALIASES])
def test_every_model_composes_and_validates(model):
    asked = request(f"model={model}")
    assert asked.model.batch_size > 0
    assert asked.model.optimizer_reason
    assert (asked.model.image_size is None) != (asked.model.sequence_length is None)


def test_aliases_name_the_model_they_stand_for():
    assert request("model=vit").model.name == "vit_b16"
    assert request("model=bert").model.name == "bert_base"


@pytest.mark.parametrize(
    ("model", "optimizer"), [("resnet50", "sgd"), ("vit_b16", "adamw"), ("bert_large", "lamb")]
)
def test_each_model_brings_the_optimizer_of_its_published_runs(model, optimizer):
    assert request(f"model={model}").optimizer.name == optimizer
    assert request(f"model={model}", "optimizer=lars").optimizer.name == "lars", "an override wins"


def test_defaults_are_those_of_the_readme():
    asked = request()
    assert (asked.model.name, asked.precision.name, asked.data.name) == ("resnet50", "bf16", "synthetic")
    assert (asked.batch_size, asked.steps, asked.warmup, asked.input) == (None, None, None, None)


def test_image_size_reaches_the_architecture():
    asked = request("model=vit_s16", "image_size=384")
    assert asked.model.image_size == 384
    assert asked.model.architecture.image_size == 384


MISTAKES = [
    (["batch_size=0"], "batch_size=0", "positive integer"),
    (["batch_size=-4"], "batch_size=-4", "positive integer"),
    (["batch_size=eight"], "batch_size=eight", "positive integer"),
    (["batch_size=2.5"], "batch_size=2.5", "positive integer"),
    (["batch_size=true"], "batch_size=true", "positive integer"),
    (["batch_size=3000000000"], "batch_size=3000000000 is too large", "2,147,483,647"),
    (["steps=0"], "steps=0", "positive integer"),
    (["steps=5", "warmup=10"], "steps=5 is below warmup=10", "at least warmup"),
    (["steps=10", "steps_per_call=4"], "not a multiple of steps_per_call=4", "multiples of 4"),
    (["batch_size=10", "gradient_accumulation=4"], "gradient_accumulation=4 equal", "multiples of 4"),
    (["batch_size=8", "global_batch_size=64"], "batch_size=8 and global_batch_size=64: which?", "over all"),
    (["global_batch_size=0"], "global_batch_size=0", "positive integer"),
    (["remat=all"], "remat=all is not known", "none, dots, full"),
    (["batch_norm=local"], "batch_norm=local is not known", "per_replica, synchronised"),
    (["parallel.data=0"], "parallel.data=0", "positive integer, at most 2,147,483,647, or rest"),
    (["parallel.tensor=all"], "parallel.tensor=all", "or rest"),
    (["+parallel.pipeline=2"], "parallel.pipeline is not a known key", "parallel.tensor"),
    (["timeout_s=0"], "timeout_s=0", "above 0"),
    (["distributed.cluster=pbs"], "distributed.cluster=pbs", "slurm"),
    (["distributed.coordinator=head"], "distributed.coordinator=head", "HOST:PORT"),
    (["distributed.process_id=-1"], "distributed.process_id=-1", "at least 0"),
    (["checkpoint.every=0"], "checkpoint.every=0", "positive integer"),
    (["checkpoint.keep=0"], "checkpoint.keep=0", "positive integer"),
    (["checkpoint.timed=maybe"], "checkpoint.timed=maybe", "true or false"),
    (["gradient_accumulation=0"], "gradient_accumulation=0", "positive integer"),
    (["gradient_accumulation=1.5"], "gradient_accumulation=1.5", "positive integer"),
    (["steps_per_call=default"], "steps_per_call=default", "positive integer"),
    (["model=vit_b16", "image_size=225"], "225", "16"),
    (["model=vit_b16", "sequence_length=128"], "sequence_length=128 does not apply", "image_size"),
    (["model=bert_base", "image_size=224"], "image_size=224 does not apply", "sequence_length"),
    (["model=bert_base", "sequence_length=1024"], "1024", "512"),
    (["model=bert_tiny", "data=digits"], "data=digits holds images", "kjv"),
    (["model=resnet50", "data=kjv"], "data=kjv holds text", "photos"),
    (["input=real"], "input=real needs a real data set", "digits"),
    (["model=bert_tiny", "input=all"], "input=all needs a real data set", "kjv"),
    (
        ["data=digits", "input=all", "checkpoint.every=5"],
        "checkpoint.every=5 goes with one way of feeding",
        "input=real",
    ),
    (["data=tfds", "data.workers=-1"], "data.workers=-1", "at least 0"),
    (["data=tfds", "data.bad_records=many"], "data.bad_records=many", "at least 0"),
    (["data=tfds", "data.decoder=opencvv"], "data.decoder=opencvv", "opencv, pillow"),
    (["data=tfds", "data.crop=center"], "data.crop=center", "random_resized, whole"),
    (["data=tfds", "data.loader=torch"], "data.loader=torch", "grain, tfdata"),
    (["data=kjv", "model=bert_tiny", "data.packing=best"], "data.packing=best", "concat, none"),
    (["data=tfds", "data.mean=[0.5]"], "data.mean=[0.5] data.std=[0.229,0.224,0.225]", "one number each"),
    (["data=tfds", "data.std=[0,1,1]"], "data.std=[0,1,1]", "above 0"),
    (["data=tfds", "data.name=null"], "data.name=null", "the name of a data set"),
    (["data=tfds", "data.name="], "data.name= is not", "the name of a data set"),
    (["reference.extra="], "reference.extra= is not", "a path"),
    (["data=tfds", "data.kind=sounds"], "data.kind=sounds", "images"),
    (["data=tfds", "data.flip=3"], "data.flip=3", "true or false"),
    (["input=hots"], "input=hots", "host"),
    (["input=[host]"], "input=[host]", "host"),
    (["seed=-1"], "seed=-1", "at least 0"),
    (["seed=4294967296"], "seed=4294967296 is too large", "4,294,967,295"),
    (["seed='???'"], "seed=???", "at least 0"),
    (["~seed"], "seed is missing", ""),
    # Sections
    (["~model"], "model is missing", ""),
    (["~precision"], "precision is missing", ""),
    (["model.architecture=null"], "model.architecture=null is not a group", ""),
    (["model.architecture=3"], "model.architecture=3 is not a group", ""),
    (["~model.name"], "model.name is missing", ""),
    (["+model.foo=1"], "model.foo is not a known key", "model.family"),
    # What a model's and a precision's name stands for
    (["model.name=resnet51"], "model.name=resnet51 is not known", "resnet50"),
    (["model.family=foo"], "model.family=foo is not what model=resnet50 means", "model=resnet50"),
    (["model.family=vit"], "model.family=vit is not what model=resnet50 means", "model=vit_b16"),
    (["model.batch_size=foo"], "model.batch_size=foo is not what model=resnet50 means", ""),
    (["model.batch_size=17"], "model.batch_size=17 is not what model=resnet50 means, which is 256", ""),
    (["model.optimizer_reason=[1]"], "model.optimizer_reason=[1]", ""),
    (["model=vit", "model.image_size=null"], "model.image_size=null", "positive integer"),
    (["precision.name=foo"], "precision.name=foo is not known", "bf16"),
    (["precision.name=fp32"], "precision.compute_dtype=bfloat16 is not what precision=fp32 means", "tf32"),
    (["precision.compute_dtype=float32"], "float32 is not what precision=bf16 means", "precision=fp32"),
    (["precision.matmul_precision=highest"], "matmul_precision=highest is not what precision=bf16", ""),
    # Architectures
    (["model.architecture.depths=3"], "model.architecture.depths=3", "list of positive integers"),
    (["model.architecture.depths=[]"], "model.architecture.depths=[]", "list of positive integers"),
    (["model.architecture.depths=[3,x]"], "model.architecture.depths=[3,x]", "list of positive integers"),
    (["model.architecture.block=narrow"], "'narrow'", "bottleneck"),
    (["model.architecture.stem=3"], "model.architecture.stem=3", "a text"),
    (["model.architecture.zero_init_residual=1"], "zero_init_residual=1", "true or false"),
    (["model.architecture.classes=0"], "model.architecture.classes=0", "positive integer"),
    (["~model.architecture.width"], "model.architecture.width is missing", ""),
    (["model=vit_tiny", "+model.architecture.image_size=64"], "model.architecture.image_size", "patch"),
    (["model=vit_tiny", "model.architecture.depth=foo"], "model.architecture.depth=foo", "positive integer"),
    (["model=vit_tiny", "model.architecture.heads=0"], "model.architecture.heads=0", "positive integer"),
    (["model=vit_tiny", "model.architecture.heads=5"], "cannot be split over 5 heads", "multiple"),
    (["model=vit_tiny", "model.architecture.patch=0"], "model.architecture.patch=0", "positive integer"),
    (["model=vit_tiny", "model.architecture.dropout_rate=2"], "dropout_rate=2", "below 1"),
    (["model=bert_tiny", "model.architecture.heads=3"], "cannot be split over 3 heads", "multiple"),
    # Optimizers
    (["optimizer.learning_rate=fast"], "optimizer.learning_rate=fast", "a number"),
    (["optimizer.learning_rate=nan"], "optimizer.learning_rate=nan", "a number"),
    (["optimizer.learning_rate=inf"], "optimizer.learning_rate=inf", "a number"),
    (["optimizer.learning_rate=-1"], "optimizer.learning_rate=-1", "at least 0"),
    (["optimizer.learning_rate=true"], "optimizer.learning_rate=true", "a number"),
    (["optimizer.learning_rate=null"], "optimizer.learning_rate=null", "a number"),
    (["~optimizer.learning_rate"], "optimizer.learning_rate is missing", ""),
    (["optimizer.nesterov=maybe"], "optimizer.nesterov=maybe", "true or false"),
    (["optimizer.reference_batch=0"], "optimizer.reference_batch=0", "positive integer"),
    (["optimizer.reference_batch=-256"], "optimizer.reference_batch=-256", "positive integer"),
    (["optimizer.momentum=null"], "optimizer.momentum is not set", "optimizer.momentum"),
    (["optimizer.momentum=1"], "optimizer.momentum=1", "below 1"),
    (["optimizer=lars", "optimizer.momentum=null"], "optimizer.momentum is not set", ""),
    (["optimizer=lars", "optimizer.trust_coefficient=null"], "trust_coefficient is not set", ""),
    (["optimizer=adamw", "optimizer.b1=null"], "optimizer.b1 is not set", ""),
    (["optimizer.name=adamw"], "optimizer.momentum has no effect on adamw", ""),
    (["optimizer.name=adam"], "optimizer.name=adam is not known", "adamw"),
    (["+optimizer.b1=0.9"], "optimizer.b1 has no effect on sgd", "optimizer.momentum"),
    # Data and measure
    (["data.name=foo"], "data.name=foo is not known", "synthetic"),
    (["model=vit_tiny", "data=digits", "data.dir=5"], "data.dir=5", "a path"),
    (["measure.blocks=0"], "measure.blocks=0", "positive integer"),
    (["measure.cpu_seconds=abc"], "measure.cpu_seconds=abc", "a number above 0"),
    (["measure.cpu_seconds=-5"], "measure.cpu_seconds=-5", "a number above 0"),
    (["measure.name=null"], "measure.name=null", "a text"),
    (["measure.warmup_max_steps=1"], "measure.warmup_max_steps=1 is below", "at least 10"),
]


@pytest.mark.parametrize(("overrides", "problem", "allowed"), MISTAKES)
def test_mistakes_are_named_with_what_is_allowed_and_the_fix(overrides, problem, allowed):
    with pytest.raises(UserError) as caught:
        request(*overrides)
    assert problem in caught.value.problem
    assert allowed in caught.value.allowed


@pytest.mark.parametrize(("key", "fix"), [("steps=1e3", "steps=1000"), ("steps=2.5", "steps=32")])
def test_a_whole_number_written_as_a_float_is_answered_with_the_whole_one(key, fix):
    with pytest.raises(UserError) as caught:
        request(key)
    assert caught.value.fix == f"for example {fix}"
    assert caught.value.allowed
    assert caught.value.fix


@pytest.mark.parametrize(
    ("overrides", "label"),
    [
        (["model=resnet50"], "resnet50"),
        (["model=vit", "image_size=384"], "vit_b16"),
        (["model=bert_tiny", "model.sequence_length=32"], "bert_tiny"),
        (["model=resnet50", "model.architecture.depths=[3,4,6,3]"], "resnet50"),
        (
            ["model=resnet50", "model.architecture.width=32", "model.architecture.depths=[1,1,1,1]"],
            "resnet50 (modified: depths, width)",
        ),
        (["model=vit", "model.architecture.dropout_rate=0"], "vit_b16"),
        (["model=vit", "model.architecture.dropout_rate=0.1"], "vit_b16 (modified: dropout_rate)"),
    ],
)
def test_a_changed_architecture_does_not_keep_the_published_name(overrides, label):
    model = request(*overrides).model
    assert model.label == label
    assert bool(model.modified) == (label != model.name)


@pytest.mark.parametrize(("model", "default"), [("resnet50", "sgd"), ("vit", "adamw"), ("bert_base", "lamb")])
def test_the_default_optimizer_is_known_beside_the_chosen_one(model, default):
    assert request(f"model={model}").optimizer.name == default
    chosen = request(f"model={model}", "optimizer=lars")
    assert (chosen.model.default_optimizer, chosen.optimizer.name) == (default, "lars")


@pytest.mark.parametrize("optimizer", shipped.names("optimizer"))
def test_every_optimizer_has_what_it_needs(optimizer):
    assert request(f"optimizer={optimizer}").optimizer.name == optimizer


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_the_ends_of_the_seeds_are_accepted(seed):
    assert request(f"seed={seed}").seed == seed


def test_null_keeps_its_meaning():
    asked = request("optimizer.reference_batch=null", "batch_size=null", "input=null")
    assert asked.optimizer.reference_batch is None
    assert (asked.batch_size, asked.input) == (None, None)


def test_a_key_that_was_forced_in_is_refused():
    with pytest.raises(UserError, match="bacth_size") as caught:
        request("+bacth_size=3")
    assert "batch_size" in caught.value.fix


def test_an_architecture_key_that_was_forced_in_is_refused():
    with pytest.raises(UserError, match=r"model\.architecture\.deth") as caught:
        request("model=vit_tiny", "+model.architecture.deth=3")
    assert "model.architecture.depth" in caught.value.fix


def test_the_tree_and_the_code_know_the_same_keys():
    assert set(tree()) == set(config.KEYS)


@pytest.mark.parametrize("data", shipped.names("data"))
def test_every_data_set_composes_with_a_model_that_reads_it(data):
    model = "bert_tiny" if data in ("kjv", "tfds_text") else "resnet_tiny"
    assert request(f"data={data}", f"model={model}").data.name


def test_what_is_left_open_about_data_is_none():
    data = request("data=tfds", "data.name=food101").data
    assert (data.name, data.crop, data.decoder, data.workers, data.threads) == ("food101", *[None] * 4)
