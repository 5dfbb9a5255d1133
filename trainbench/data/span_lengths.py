"""How many tokens of a text are replaced in span corruption, and how long that makes both sides of a pair.

Raffel et al. 2020 (arXiv:1910.10683), section 3.3.4: 15 % of the tokens, in spans of 3 on average.
The arithmetic is that of random_spans_helper and random_spans_noise_mask in
https://github.com/google-research/text-to-text-transfer-transformer/blob/main/t5/data/preprocessors.py
"""

REPLACED = 0.15
SPAN = 3.0


def replaced(tokens: int) -> tuple[int, int]:
    """(tokens that are replaced, spans that they are in) of a text of that many tokens, 2 or more.

    >>> replaced(568), replaced(2)
    ((85, 28), (1, 1))
    """
    noise = min(max(round(tokens * REPLACED), 1), tokens - 1)
    return noise, max(round(noise / SPAN), 1)


def lengths(tokens: int) -> tuple[int, int]:
    """(inputs, targets) of a text: a sentinel for each span in both, and the end of the text.

    >>> lengths(568)
    (512, 114)
    """
    noise, spans = replaced(tokens)
    return tokens - noise + spans + 1, noise + spans + 1


def text_length(inputs: int) -> int:
    """The longest text that makes no more than so many inputs, 3 or more.

    >>> [text_length(inputs) for inputs in (3, 64, 512)]
    [2, 70, 568]
    """
    tokens = 2
    while lengths(tokens + 1)[0] <= inputs:
        tokens += 1
    return tokens


def target_length(inputs: int) -> int:
    """Targets that go with so many inputs.

    >>> [target_length(inputs) for inputs in (64, 512)]
    [14, 114]
    """
    return lengths(text_length(inputs))[1]


def sentinels(inputs: int) -> int:
    """Token ids that so many inputs need for their spans, at most.

    >>> [sentinels(inputs) for inputs in (64, 512)]
    [3, 28]
    """
    return replaced(text_length(inputs))[1]
