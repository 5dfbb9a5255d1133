"""The requested data set, opened for the requested model.

Imported only by runs that read real data: TFDS and Grain take seconds to import.
"""

from trainbench.config import ModelConfig, Request
from trainbench.data.image_set import ImageSet, open_images
from trainbench.data.reading import Surroundings
from trainbench.data.settings import ImageData, TextData
from trainbench.data.text_causal import CausalRows
from trainbench.data.text_masked import MaskedRows
from trainbench.data.text_rows import Rows
from trainbench.data.text_set import TextSet, open_text
from trainbench.data.text_spans import SpanRows
from trainbench.data.tf_image_set import TfImageSet, open_tf_images
from trainbench.models import bert


def open_data(request: Request, surroundings: Surroundings) -> ImageSet | TfImageSet | TextSet:
    """The data set; one that is shipped is prepared on first use.

    Raises:
      UserError: it is not there, lacks what the request names, or does not fit the model.
    """
    data, model = request.data, request.model
    if isinstance(data, ImageData):
        assert model.image_size is not None
        opened = open_tf_images if data.loader == "tfdata" else open_images
        return opened(data, surroundings, model.image_size)
    assert isinstance(data, TextData)
    return open_text(data, surroundings, _rows(model, data.packing), model.architecture.vocabulary)


def _rows(model: ModelConfig, packing: str) -> Rows:
    length = model.sequence_length
    assert length is not None
    if model.task == "causal_language_model":
        return CausalRows(length, packing)
    if model.task == "span_corruption":
        return SpanRows(length, model.architecture.vocabulary, packing)
    return MaskedRows(length, bert.predictions_per_sequence(length), packing)
