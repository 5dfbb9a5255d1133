"""The `data` section of the configuration: which data set, and how it is read."""

from dataclasses import dataclass

SYNTHETIC = "synthetic"
CROPS = ("random_resized", "whole")
DECODERS = ("opencv", "pillow")
LOADERS = ("grain", "tfdata")
PACKINGS = ("concat", "none")
# As many damaged records as the shipped configurations let be left out.
BAD_RECORDS = 10


@dataclass(frozen=True)
class SyntheticData:
    """Random samples of the model's own shapes."""

    name: str = SYNTHETIC


@dataclass(frozen=True)
class ImageData:
    """A TFDS image set, or one that trainbench ships.

    Attributes:
      name: of the TFDS builder ("imagenet2012", "food101/2.0.0"), or "digits", "photos".
      dir: where TFDS data sets live; None is the cache.
      split: what is trained on, in TFDS's notation ("train", "train[:10%]").
      held_out: the split whose accuracy is measured after the training; None measures none.
      image_key, label_key: names in the set's features.
      crop: "random_resized" (Szegedy et al. 2014, arXiv:1409.4842) to the model's size on the host; "whole"
        sends images as stored, all of one size, and they are resized on the device; None is chosen.
      flip: mirror every second image at random.
      mean, std: per channel, of pixels scaled to [0, 1]; applied on the device.
      decoder: None takes the fastest that is installed.
      loader: "grain" reads ArrayRecord without TensorFlow; "tfdata" reads TFRecord with it, and is refused
        settings that only Grain's pipeline follows.
      workers: processes that decode, 0 for threads only; threads: in each process. None is chosen.
      bad_records: how many damaged records may be left out before the run stops.
      download: whether a set that is not prepared may be fetched over the network.
      manual_dir: where files lie that preparing needs and that have to be fetched by hand.
    """

    name: str
    split: str
    image_key: str
    label_key: str
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    loader: str
    bad_records: int
    download: bool
    dir: str | None = None
    held_out: str | None = None
    crop: str | None = None
    decoder: str | None = None
    workers: int | None = None
    threads: int | None = None
    manual_dir: str | None = None


@dataclass(frozen=True)
class TextData:
    """A TFDS text set, or one that trainbench ships.

    Attributes:
      name: of the TFDS builder ("wikipedia/20230601.en"), or "kjv".
      dir, split, held_out, workers, threads, bad_records, download, manual_dir: as in `ImageData`.
      text_key: name in the set's features.
      tokenizer: a file: `tokenizer.json`, or a BERT `vocab.txt`; None trains a WordPiece vocabulary of the
        model's size on the data and keeps it in the cache.
      packing: "concat" joins documents and cuts rows of full length; "none" gives every document a row of
        its own, cut or padded.
    """

    name: str
    split: str
    text_key: str
    packing: str
    bad_records: int
    download: bool
    dir: str | None = None
    held_out: str | None = None
    tokenizer: str | None = None
    workers: int | None = None
    threads: int | None = None
    manual_dir: str | None = None


DataConfig = SyntheticData | ImageData | TextData
