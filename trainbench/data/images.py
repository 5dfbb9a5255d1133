"""How the images of each data set travel to the device."""

from trainbench.training.task import ImageWire, imagenet_like

# Mean and standard deviation of the digits' pixels scaled to [0, 1]: 4.884 / 16 and 6.017 / 16.
DIGITS = ImageWire(height=8, width=8, channels=1, classes=10, mean=(0.3053,), std=(0.3760,))


def wire(data: str, image_size: int, classes: int) -> ImageWire:
    """The wire format of a data set; synthetic images have the model's own size and classes."""
    return DIGITS if data == "digits" else imagenet_like(image_size, classes)
